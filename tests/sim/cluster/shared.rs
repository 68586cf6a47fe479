//! A node's use of what all share: its jobs in the store, its lease, the view and the inbox.

use super::Cluster;
use super::store::{Done, InboxRecord};
use hongyan::chat::ServerCore;
use hongyan::chat::contract::{CoreInput, Job, JobOutcome, JobTicket, NodeIncarnation, NodeMessage};

/// The time without renewal after which a lease lets another node fence.
const LEASE_MS: u64 = 5_000;
/// The minimum distance of the clock's limit from the present time.
const CLOCK_AHEAD_MS: u64 = 10_000;

pub(super) fn lane_of(job: &Job) -> Option<String> {
    Some(match job {
        Job::Hash { .. } | Job::Verify { .. } | Job::GetProfile { .. } => return None,
        Job::LogIn { user, .. } | Job::Prove { user, .. } | Job::Load { user, .. } | Job::LoadPage { user, .. } => {
            user.as_str().into()
        }
        Job::Cluster { user, .. } | Job::Admin { user, .. } | Job::Account { user, .. } => user.as_str().into(),
        Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => push.receiver().into(),
        Job::DeletePush { receiver, .. } => receiver.as_str().into(),
        Job::Unfriend { other, .. } => other.as_str().into(),
        job => panic!("{job:?}"),
    })
}

impl Cluster {
    pub(super) fn latency(&mut self) -> u64 {
        if self.acks_at_once {
            // All are quick.
            return 1 + self.random.below(11);
        }
        if self.random.chance(950) { 1 + self.random.below(11) } else { 20 + self.random.below(380) }
    }

    pub(super) fn submit(&mut self, node: usize, ticket: JobTicket, job: Job) {
        let takes_ms = self.latency();
        let entry = &mut self.nodes[node];
        let (life, Some(me)) = (entry.life, entry.me) else { return };
        let lane = lane_of(&job);
        let mut at_ms = self.now_ms + takes_ms;
        if let Some(lane) = &lane {
            let end = entry.lanes.entry(lane.clone()).or_default();
            at_ms = at_ms.max(end.0 + 1);
            end.0 = at_ms;
        }
        self.say(|| format!("node {node} asks {job:?}"));
        self.oracle.asked(&job);
        self.later(at_ms - self.now_ms, move |cluster| cluster.work((node, life, me), ticket, job, lane));
    }

    pub(super) fn work(
        &mut self,
        (node, life, me): (usize, u64, NodeIncarnation),
        ticket: JobTicket,
        job: Job,
        lane: Option<String>,
    ) {
        let lives = self.nodes[node].life == life;
        if !lives {
            // A job that was submitted before may still be done.
            if self.random.chance(500) {
                self.store.execute(me, &job);
            }
            return;
        }
        if self.nodes[node].paused {
            let stuck = lane.as_ref().is_some_and(|lane| self.nodes[node].stuck.contains(lane));
            if stuck || self.random.chance(500) {
                let entry = &mut self.nodes[node];
                entry.stuck.extend(lane.clone());
                entry.resumes.push(Box::new(move |cluster: &mut Self| {
                    cluster.work((node, life, me), ticket, job, lane);
                }));
                return;
            }
        }
        let is_lost = self.random.chance(self.faults.jobs);
        let done = if is_lost && self.random.chance(500) {
            None
        } else {
            self.oracle.count("jobs");
            Some(self.store.execute(me, &job))
        };
        let is_fenced = matches!(done, Some(Done::Fenced));
        let takes_ms = self.random.below(3);
        let entry = &mut self.nodes[node];
        let mut at_ms = self.now_ms + takes_ms;
        if let Some(lane) = &lane {
            let end = entry.lanes.entry(lane.clone()).or_default();
            at_ms = at_ms.max(end.1);
            end.1 = at_ms;
        }
        let done = done.filter(|_| !is_lost);
        self.later(at_ms - self.now_ms, move |cluster| {
            let outcome = done.map_or(JobOutcome::Failed, |done| cluster.store.read_behind(done));
            cluster.when_running(node, life, move |cluster| {
                if is_fenced {
                    return cluster.fenced(node);
                }
                cluster.say(|| format!("node {node} is answered {job:?}: {outcome:?}"));
                cluster.feed(node, CoreInput::Finished { ticket, outcome });
            });
        });
    }

    // The lease, the view and the inbox.

    pub(super) fn poll_on(&mut self, node: usize, life: u64) {
        if self.nodes[node].life == life {
            let every_ms = self.poll_every_ms;
            self.poll(node, life);
            self.later(every_ms, move |cluster| cluster.poll_on(node, life));
        }
    }

    pub(super) fn poll(&mut self, node: usize, life: u64) {
        let takes_ms = self.latency();
        let is_lost = self.random.chance(self.faults.jobs);
        let entry = &mut self.nodes[node];
        let (true, false, false, Some(me)) = (entry.life == life, entry.polls, entry.paused, entry.me) else {
            return;
        };
        let Some(clock) = entry.chat.as_ref().map(ServerCore::next_seq) else { return };
        entry.polls = true;
        self.later(takes_ms, move |cluster| {
            if cluster.nodes[node].life != life {
                return;
            }
            let ahead = CLOCK_AHEAD_MS << 20;
            let wall_ms = cluster.nodes[node].wall_ms(cluster.now_ms);
            let is_current = cluster.store.is_current(me);
            if is_current {
                let row = cluster.store.row(me);
                row.renewed += 1;
                row.hlc_limit = row.hlc_limit.max((wall_ms << 20) + ahead).max(clock + ahead);
            }
            let (view, mut records) = (cluster.store.read_view(), Vec::new());
            if !is_lost {
                let all = std::mem::take(&mut cluster.store.inboxes);
                let (mine, others): (Vec<InboxRecord>, Vec<InboxRecord>) =
                    all.into_iter().partition(|one| one.to.node == me.node);
                cluster.store.inboxes = others;
                records.extend(mine.into_iter().filter(|record| record.to == me));
            }
            let leases: Vec<(u64, u64)> = cluster.store.nodes.iter().map(|row| (row.epoch, row.renewed)).collect();
            cluster.when_running(node, life, move |cluster| {
                cluster.nodes[node].polls = false;
                if is_lost {
                    return;
                }
                if !is_current {
                    return cluster.fenced(node);
                }
                cluster.look_at_leases(node, me, &leases);
                cluster.feed(node, CoreInput::View(view));
                for InboxRecord { from, record, .. } in records {
                    if cluster.nodes[node].life == life {
                        cluster.say(|| format!("node {node} reads from {from:?}: {record:?}"));
                        cluster.feed(node, CoreInput::Record { from, record });
                    }
                }
            });
        });
    }

    pub(super) fn look_at_leases(&mut self, node: usize, me: NodeIncarnation, leases: &[(u64, u64)]) {
        for (other, &lease) in leases.iter().enumerate().filter(|(other, _)| *other != node) {
            let seen = self.nodes[node].seen.entry(other).or_insert((lease, self.now_ms));
            if seen.0 != lease {
                *seen = (lease, self.now_ms);
            } else if self.now_ms - seen.1 > LEASE_MS && self.store.nodes[other].lives {
                *seen = (lease, self.now_ms);
                let dead = NodeIncarnation { node: super::store::node_id(other), epoch: lease.0 };
                self.say(|| format!("node {node} fences {dead:?}"));
                let takes_ms = self.latency();
                self.later(takes_ms, move |cluster| {
                    if cluster.store.is_current(me) {
                        cluster.store.fence(dead);
                    }
                });
            }
        }
    }

    pub(super) fn send(&mut self, node: usize, to: NodeIncarnation, record: NodeMessage) {
        let late_ms =
            if self.faults.late > 0 && self.random.chance(self.faults.late) { self.random.below(3_000) } else { 0 };
        let takes_ms = self.latency() + late_ms;
        let entry = &mut self.nodes[node];
        let (life, Some(from)) = (entry.life, entry.me) else { return };
        entry.records_written_ms = entry.records_written_ms.max(self.now_ms + takes_ms);
        let at_ms = entry.records_written_ms;
        let record = if self.random.chance(self.faults.lost) { NodeMessage::RecordsMissed } else { record };
        let is_twice = self.random.chance(self.faults.twice);
        self.oracle.count("records");
        self.say(|| format!("node {node} sends {to:?}: {record:?}"));
        self.later(at_ms - self.now_ms, move |cluster| cluster.write_record((node, life), from, to, record, is_twice));
    }

    pub(super) fn write_record(
        &mut self,
        (node, life): (usize, u64),
        from: NodeIncarnation,
        to: NodeIncarnation,
        record: NodeMessage,
        is_twice: bool,
    ) {
        let lives = self.nodes[node].life == life;
        if lives && self.nodes[node].paused && (self.nodes[node].stuck.contains("records") || self.random.chance(500)) {
            let entry = &mut self.nodes[node];
            entry.stuck.insert("records".into());
            entry.resumes.push(Box::new(move |cluster: &mut Self| {
                cluster.write_record((node, life), from, to, record, is_twice);
            }));
            return;
        }
        if (lives || self.random.chance(500)) && self.store.is_current(from) {
            for _ in 0..1 + u64::from(is_twice) {
                self.store.write_to_inbox(InboxRecord { from, to, record: record.clone() });
            }
        }
    }
}
