//! Invariants that hold after every event. Debug builds only.

use super::ServerCore;
use super::answer::pauses_input;
use super::contract::{ConnId, CoreSettings};
use super::deliveries::DeliverySaveState;
use super::ids::{LoginStageTicket, UserSlot};
use super::in_flight::units;
use super::job::JobPurpose;
use super::login_stage::LoginStage;
use super::users::UserRoute;
use crate::protocol::request::RequestType;
use std::collections::{HashMap, HashSet};

/// With more users, sessions and deliveries than this, a check follows only every `EVERY`th event:
/// otherwise large tests would take too long.
const SMALL: usize = 64;
const EVERY: u64 = 257;

/// The limits that the invariants check, each at its highest value so far.
#[derive(Debug)]
pub(super) struct HighestSettingsForInvariants(CoreSettings);

impl HighestSettingsForInvariants {
    pub(super) fn new(rules: &CoreSettings) -> Self {
        Self(rules.clone())
    }

    pub(super) fn raise(&mut self, rules: &CoreSettings) {
        let highest = &mut self.0;
        highest.jobs_max = highest.jobs_max.max(rules.jobs_max);
        highest.dedup_messages_max = highest.dedup_messages_max.max(rules.dedup_messages_max);
        highest.dedup_bytes_max = highest.dedup_bytes_max.max(rules.dedup_bytes_max);
        highest.outstanding_max = highest.outstanding_max.max(rules.outstanding_max);
        highest.list_max = highest.list_max.max(rules.list_max);
        highest.page_max = highest.page_max.max(rules.page_max);
        highest.auth_jobs_max = highest.auth_jobs_max.max(rules.auth_jobs_max);
        highest.auth_running_max = highest.auth_running_max.max(rules.auth_running_max);
        highest.log_ins_waiting_per_user_max =
            highest.log_ins_waiting_per_user_max.max(rules.log_ins_waiting_per_user_max);
        highest.undecided_max = highest.undecided_max.max(rules.undecided_max);
    }

    pub(super) fn rules(&self) -> &CoreSettings {
        &self.0
    }
}

impl ServerCore {
    pub(super) fn check_invariants(&mut self) {
        self.checks = self.checks.wrapping_add(1);
        let size = self.users.len() + self.sessions.len() + self.deliveries.len();
        if size > SMALL && !self.checks.is_multiple_of(EVERY) {
            return;
        }
        self.check_bounds();
        self.check_online();
        self.check_references();
    }

    fn check_bounds(&self) {
        let rules = self.ceilings.rules();
        self.jobs.check(rules);
        self.check_in_flight();
        self.check_packed();
        self.check_logins();
        self.check_stated_names();
        self.check_friendships();
        self.check_push_hook();
        self.check_unanswered();
        if let Some(cluster) = &self.cluster {
            cluster.check(&self.users);
            cluster.check_taken(&self.deliveries);
            assert!(self.needs_check_after_event);
        }
        assert!(self.needs_check_after_event || !self.stopping);
        let watching = self.sessions.ids().filter_map(|conn| self.sessions.get(conn)).filter(|session| session.watches);
        self.presence.check(watching.count());
        self.save_delay.check();
        self.answer_deadlines.check();
        let friends: usize = self.users.iter().map(|(_, user, _)| user.friends.len()).sum();
        assert_eq!(self.users.friends_len(), friends);
        let dedup = self.users.iter().filter_map(|(_, user, _)| user.dedup.as_ref().map(|dedup| dedup.memory_bytes()));
        assert_eq!(self.dedup_bytes, dedup.sum::<usize>());
        let weights: usize = self.deliveries.iter().map(super::deliveries::Delivery::weight_bytes).sum();
        assert_eq!(self.deliveries.memory_bytes(), weights + self.deliveries.len() * super::deliveries::DELIVERY_BYTES);
        let outstanding = self.users.iter().filter_map(|(_, user, _)| user.list.as_ref());
        let outstanding: usize = outstanding.map(|list| list.cursor.outstanding_len()).sum();
        assert_eq!(self.outstanding, outstanding as u64);
        for (_, user, _) in self.users.iter() {
            if let Some(dedup) = &user.dedup {
                assert!(dedup.len() <= rules.dedup_messages_max as usize);
            }
            if let Some(list) = &user.list {
                list.check(&self.deliveries);
                let (count, _) = list.cursor.outstanding();
                assert!(count <= rules.outstanding_max as usize);
                // A page is requested when half of the list is free, and pushes that were taken in
                // the meantime follow it. Pushes of friend requests may come late, after a slow
                // commit: one at a time for each pair of users.
                let (list_max, page_max) = (rules.list_max as usize, rules.page_max as usize);
                let late_max = 2 * self.users.len();
                assert!(list.mailbox.tail_len() <= list_max);
                assert!(
                    list.mailbox.len() <= list_max + list_max / 2 + page_max + late_max,
                    "{} on a list",
                    list.mailbox.len()
                );
            }
        }
    }

    /// Each log-in is in exactly one place, the one that its state requires.
    fn check_logins(&self) {
        self.auth_queue.check(self.ceilings.rules());
        let mut elsewhere = 0;
        let mut all_are = |ids: &mut dyn Iterator<Item = LoginStageTicket>, belongs: fn(&LoginStage) -> bool| {
            for id in ids {
                let login = self.logins.get(id).map(|one| &one.login);
                assert!(login.is_some_and(belongs), "{login:?} in the wrong place");
                elsewhere += 1;
            }
        };
        let working = self.jobs.values().filter_map(|job| match job.purpose {
            JobPurpose::Login(id) => Some(id),
            _ => None,
        });
        all_are(&mut { working }, |login| {
            !matches!(
                login,
                LoginStage::Admitted { .. }
                    | LoginStage::Queued { .. }
                    | LoginStage::WaitingToLoad
                    | LoginStage::Claiming { .. }
            )
        });
        let claims = self.cluster.iter().flat_map(|cluster| cluster.claiming());
        all_are(&mut { claims }, |login| matches!(login, LoginStage::Claiming { .. }));
        all_are(&mut self.auth_queue.log_ins(), |login| matches!(login, LoginStage::Queued { .. }));
        let loading = self.users.iter().filter_map(|(_, user, _)| user.loading.as_ref());
        all_are(&mut loading.flat_map(|loading| loading.waiting()), |login| matches!(login, LoginStage::WaitingToLoad));
        self.logins.check(elsewhere, self.sessions.len());
        let tried = self.logins.values().filter(|one| one.login.attempt().is_some());
        assert_eq!(tried.count(), self.auth_attempts.open(), "each try is settled once");
        let hashes = |purpose: &JobPurpose| {
            matches!(purpose, JobPurpose::Hash { .. } | JobPurpose::NewPassword(_) | JobPurpose::AdminHash(_))
        };
        let sign_ups = self.jobs.values().filter(|job| hashes(&job.purpose));
        let log_ins = self.logins.values().filter(|one| one.login.hashes());
        assert_eq!(sign_ups.count() + log_ins.count(), self.auth_queue.running());
    }

    /// Exactly the waiting log-ins and sign-ups have a stated user name.
    fn check_stated_names(&self) {
        let named = self
            .requests
            .values()
            .filter(|pending| matches!(pending.request_type, RequestType::SignUp | RequestType::Login));
        assert_eq!(named.count(), self.stated_names.len());
        assert!(self.stated_names.keys().all(|request| self.requests.contains(*request)));
    }

    /// The count of unanswered requests of each connection is right, and all are of its present
    /// user: after a log-in, no request of another user is answered on it.
    fn check_unanswered(&self) {
        let mut unanswered: HashMap<ConnId, u32> = HashMap::new();
        for pending in self.requests.values().filter(|pending| !pauses_input(pending.request_type)) {
            *unanswered.entry(pending.conn).or_default() += 1;
        }
        for delivery in self.deliveries.iter() {
            for conn in delivery.waiting_conns() {
                *unanswered.entry(conn).or_default() += 1;
                let user = self.sessions.get(conn).map(|session| session.user);
                assert!(user.is_none_or(|user| user == delivery.sender), "another user waits for {:?}", delivery.body);
            }
        }
        for conn in self.sessions.ids() {
            let session = self.sessions.get(conn).map(|session| session.unanswered);
            assert_eq!(session, Some(unanswered.get(&conn).copied().unwrap_or(0)), "unanswered on {conn:?}");
        }
    }

    /// The count of each user's jobs in flight is right.
    fn check_in_flight(&self) {
        let mut counted: HashMap<UserSlot, u32> = HashMap::new();
        for (user, units) in self.jobs.values().filter_map(|job| job.charged_load) {
            *counted.entry(user).or_default() += units;
        }
        for delivery in self.deliveries.iter().filter(|delivery| delivery.counts_in_load) {
            assert!(
                !delivery.is_durable && delivery.waits() && delivery.save_state != DeliverySaveState::InFlight,
                "it counts for a job that it does not need, or has already: {delivery:?}"
            );
            assert!(delivery.sender.is_some(), "only messages count");
            if let Some(sender) = delivery.sender {
                *counted.entry(sender).or_default() += units(delivery.weight_bytes());
            }
        }
        assert_eq!(self.in_flight.all().collect::<HashMap<_, _>>(), counted);
    }

    /// Each user has at most one live connection, and user and connection refer to each other.
    fn check_online(&self) {
        self.sessions.check_looks();
        let mut online: HashMap<UserSlot, ConnId> = HashMap::new();
        for conn in self.sessions.ids() {
            let Some(user) = self.sessions.get(conn).and_then(|session| session.user) else {
                continue;
            };
            assert_eq!(online.insert(user, conn), None, "two live connections of one user");
            assert_eq!(self.users.route(user), UserRoute::Here(conn));
        }
        for (id, user, _) in self.users.iter() {
            assert_eq!(
                user.route().local_conn(),
                online.get(&id).copied(),
                "the users and the sessions disagree where {:?} is online",
                user.name
            );
            assert!(user.is_here() || user.friends.is_empty());
            assert!(user.friends.is_sorted());
            assert!(user.is_here() || user.loading.is_some() || user.list.is_none(), "a list of an absent user");
        }
    }

    /// Each busy pair has one operation under way: it has a job in flight, or is undecided.
    fn check_friendships(&self) {
        self.friendship_ops.check(self.ceilings.rules().undecided_max);
        let running = self.jobs.values().filter(|job| matches!(job.purpose, JobPurpose::Friendship(_)));
        assert_eq!(running.count(), self.friendship_ops.running());
        self.in_doubt.check(self.friendship_ops.has_undecided());
    }

    fn check_push_hook(&self) {
        let counting = self.jobs.values().filter(|job| matches!(job.purpose, JobPurpose::Count { .. })).count();
        match &self.push_hook {
            Some(hook) => hook.check(counting),
            None => assert_eq!(counting, 0),
        }
    }

    /// The reference count of every user is right.
    fn check_references(&self) {
        let mut counted: HashMap<UserSlot, u32> = HashMap::new();
        let mut count = |user: UserSlot| *counted.entry(user).or_default() += 1;
        for (_, user, _) in self.users.iter() {
            user.friends.iter().copied().for_each(&mut count);
            if let Some(loading) = &user.loading {
                assert_eq!(loading.count, 1, "only one log-in of a user reads at a time");
                assert!(loading.waiting().count() <= self.ceilings.rules().log_ins_waiting_per_user_max as usize);
                loading.changes.iter().for_each(|&(other, _)| count(other));
                let others: HashSet<UserSlot> = loading.changes.iter().map(|&(other, _)| other).collect();
                assert_eq!(others.len(), loading.changes.len(), "one change for each friend");
            }
        }
        for delivery in self.deliveries.iter() {
            count(delivery.receiver);
            delivery.sender.into_iter().for_each(&mut count);
        }
        self.in_flight.all().for_each(|(user, _)| count(user));
        for job in self.jobs.values() {
            match &job.purpose {
                JobPurpose::Page(user)
                | JobPurpose::Friends(user)
                | JobPurpose::Count { user, .. }
                | JobPurpose::Lost { receiver: user, .. } => count(*user),
                JobPurpose::Friendship(friendship) => friendship.refs().into_iter().for_each(&mut count),
                _ => {}
            }
        }
        self.friendship_ops.refs().chain(self.in_doubt.refs()).for_each(&mut count);
        self.presence.refs().for_each(&mut count);
        self.cluster.iter().flat_map(|cluster| cluster.refs()).for_each(&mut count);
        self.push_hook.iter().flat_map(|hook| hook.refs()).for_each(&mut count);
        let loading = self.logins.values().filter(|one| one.login.loads());
        loading.filter_map(|one| self.users.find(one.user.as_str())).for_each(&mut count);
        for (id, user, refs) in self.users.iter() {
            assert_eq!(refs, counted.get(&id).copied().unwrap_or(0), "references to {:?}", user.name);
        }
    }
}
