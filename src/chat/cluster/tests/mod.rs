//! One node by hand: its jobs are answered one by one, as the test says, and what it says to others
//! is looked at.

mod coming;
mod endings;
mod figures;
mod handed_over;
mod handing_over;
mod letting_go;
mod presence;
mod questions;
mod steps;
mod telling;
mod waiting_frames;

use super::contract::{
    BusFrame, ClusterJob, ClusterOutcome, ClusterView, Incarnation, NodeId, NodeRecord, NodeState, ReleasedUser,
    UserOwner,
};
use crate::chat::Chat;
use crate::chat::contract::{Action, AdminAnswer, ConnId, Event, Job, Outcome, PushPage, Rules, Ticket, TurnTime};
use crate::protocol::field::{Id, Name, Secret, UserName};
use crate::protocol::push::{Push, PushKind};
use crate::protocol::reply::Reply;
use crate::protocol::request::{ContentForm, Credential, Request};
use std::borrow::Cow;
use std::collections::VecDeque;

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// Life `epoch` of a node.
fn life(node: u16, epoch: u64) -> Incarnation {
    Incarnation { node: NodeId::new(node).unwrap(), epoch }
}

/// The view with this number, in which node 1 and these others live.
fn view(number: u64, others: &[(u16, u64)]) -> ClusterView {
    let state = |&(node, epoch)| NodeState { last: life(node, epoch), hlc_limit: 1 << 40, lives: true };
    ClusterView { number, nodes: [(1, 1)].iter().chain(others).map(state).collect() }
}

/// A row of the whereabouts.
fn owner(at: Incarnation, epoch: u64) -> UserOwner {
    UserOwner { at: Some(at), epoch, floor: 0 }
}

/// It is saved, and the receiver belongs to this one.
fn saved(at: Option<UserOwner>) -> Outcome {
    Outcome::Cluster(Box::new(ClusterOutcome::Saved { is_first: true, owner: at }))
}

fn owned(by: UserOwner) -> Outcome {
    Outcome::Cluster(Box::new(ClusterOutcome::Owner(by)))
}

fn elsewhere(at: Incarnation, epoch: u64) -> Outcome {
    Outcome::Cluster(Box::new(ClusterOutcome::Elsewhere(owner(at, epoch))))
}

fn loaded(epoch: u64, friends: &[&str], page: PushPage) -> Outcome {
    let friends = friends.iter().map(|name| user(name)).collect();
    Outcome::Cluster(Box::new(ClusterOutcome::Loaded { epoch, friends, page }))
}

fn message(seq: u64, sender: &str, id: &str, receiver: &str) -> Push {
    let (id, sender) = (Id::new(id).unwrap(), Name::new(sender).unwrap());
    Push::new(seq, 1, PushKind::Message, &id, &sender, user(receiver), "hello")
}

fn page(pushes: Vec<Push>) -> PushPage {
    PushPage { pushes, more: false }
}

/// Node 1, which knows node 2 and perhaps others, each in its first life.
struct TestNode {
    chat: Chat,
    now: TurnTime,
    /// Submitted and not answered.
    jobs: VecDeque<(Ticket, Job)>,
    /// Said to others.
    sent: Vec<(Incarnation, NodeRecord)>,
    /// For node 2, over the bus.
    published: Vec<BusFrame>,
    views_asked: usize,
    replies: Vec<(ConnId, Reply)>,
    pushes: Vec<(ConnId, Push)>,
    closed: Vec<ConnId>,
    /// To the operator.
    told: Vec<AdminAnswer>,
    conns: u32,
}

const OTHER: u16 = 2;

impl TestNode {
    fn new() -> Self {
        Self::with(Rules::default())
    }

    fn with(rules: Rules) -> Self {
        let rules = Rules { requests_per_second_max: 10_000_000, ..rules };
        let mut chat = Chat::new(rules, 1 << 30, [1, 2]);
        chat.join(life(1, 1), view(1, &[(OTHER, 1)]));
        Self {
            chat,
            now: TurnTime { mono_ms: 1_000, wall_ms: 1_000 },
            jobs: VecDeque::new(),
            sent: Vec::new(),
            published: Vec::new(),
            views_asked: 0,
            replies: Vec::new(),
            pushes: Vec::new(),
            closed: Vec::new(),
            told: Vec::new(),
            conns: 0,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        let mut actions = Vec::new();
        self.chat.handle(self.now, event, &mut actions);
        for action in actions {
            match action {
                Action::Submit { ticket, job } => self.jobs.push_back((ticket, job)),
                Action::Send { to, record } => self.sent.push((to, record)),
                Action::Publish { frame, .. } => self.published.push(*frame),
                Action::ReadView => self.views_asked += 1,
                Action::Reply { conn, reply, .. } | Action::Refuse { conn, reply, .. } => {
                    self.replies.push((conn, reply));
                }
                Action::Push { conn, push, .. } => self.pushes.push((conn, push)),
                Action::Close { conn, .. } => self.closed.push(conn),
                Action::Admin { answer, .. } => self.told.push(answer),
                _ => {}
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        self.event(Event::Tick { heard_ms: self.now.mono_ms });
    }

    fn frame(&mut self, record: NodeRecord) {
        self.event(Event::Frame { from: life(OTHER, 1), record });
    }

    /// The first job of which this is true.
    fn place_of(&self, is_it: impl Fn(&Job) -> bool) -> Option<usize> {
        self.jobs.iter().position(|(_, job)| is_it(job))
    }

    /// Answers the first job of which this is true; there must be one.
    fn answer(&mut self, is_it: impl Fn(&Job) -> bool, outcome: Outcome) {
        let place = self.place_of(is_it).unwrap_or_else(|| panic!("no such job among {:?}", self.jobs));
        let (ticket, _) = self.jobs.remove(place).unwrap();
        self.event(Event::Finished { ticket, outcome });
    }

    /// Begins a log-in; its job `LogIn` is to be answered.
    fn ask_log_in(&mut self, name: &str) -> ConnId {
        let conn = ConnId { slot: self.conns, generation: 0 };
        self.conns += 1;
        self.event(Event::Opened { conn, address_key: None });
        let credential = Credential::Password(Secret::new("secret"));
        let (mid, form) = (Some(Id::new("l").unwrap()), ContentForm::Text);
        let input = Ok(Request::Login { mid, form, user: Name::new(name).unwrap(), credential });
        self.event(Event::Input { conn, input });
        conn
    }

    /// A user who belongs to this node logs in.
    fn log_in(&mut self, name: &str, friends: &[&str]) -> ConnId {
        let conn = self.ask_log_in(name);
        self.answer(log_in_of(name), loaded(1, friends, PushPage::default()));
        assert!(self.is_on(conn), "{name} is here");
        conn
    }

    fn is_on(&self, conn: ConnId) -> bool {
        self.replies.iter().any(|(to, reply)| *to == conn && matches!(reply, Reply::Login { done: true }))
    }

    fn say(&mut self, conn: ConnId, sender: &str, id: &str, receiver: &str) {
        let (id, sender, receiver) = (Id::new(id).unwrap(), Name::new(sender).unwrap(), Name::new(receiver).unwrap());
        let (form, content) = (ContentForm::Text, Cow::Borrowed("hello"));
        let input = Ok(Request::Message { form, id, sender, receiver, content, escape_free: true });
        self.event(Event::Input { conn, input });
    }

    fn ack(&mut self, conn: ConnId, id: &str) {
        let input = Ok(Request::Ack { form: ContentForm::Text, id: Id::new(id).unwrap(), sender: None });
        self.event(Event::Input { conn, input });
    }

    /// Node 2 wants a user.
    fn release(&mut self, name: &str, epoch: u64, claim: u64) {
        self.frame(NodeRecord::Release { user: user(name), epoch, claim });
    }

    /// The answers to that.
    fn released(&self) -> Vec<&ReleasedUser> {
        let all = self.sent.iter().filter_map(|(_, record)| match record {
            NodeRecord::Released(released) => Some(&**released),
            _ => None,
        });
        all.collect()
    }

    fn has_sent(&self, record: &NodeRecord) -> bool {
        self.sent.iter().any(|(_, sent)| sent == record)
    }

    fn count(&self, is_it: impl Fn(&Job) -> bool) -> usize {
        self.jobs.iter().filter(|(_, job)| is_it(job)).count()
    }
}

fn log_in_of(name: &str) -> impl Fn(&Job) -> bool {
    move |job| matches!(job, Job::LogIn { user, .. } if user.as_str() == name)
}

fn save_of(id: &str) -> impl Fn(&Job) -> bool {
    move |job| matches!(job, Job::SavePush { push } if push.id() == id)
}

fn delete_of(seq: u64) -> impl Fn(&Job) -> bool {
    move |job| matches!(job, Job::DeletePush { seq: of, .. } if *of == seq)
}

fn cluster_job(job: &Job, name: &str, is_it: impl Fn(&ClusterJob) -> bool) -> bool {
    matches!(job, Job::Cluster { user, job } if user.as_str() == name && is_it(job))
}

fn owner_of(name: &str) -> impl Fn(&Job) -> bool {
    move |job| cluster_job(job, name, |job| matches!(job, ClusterJob::Owner))
}

fn page_of(name: &str) -> impl Fn(&Job) -> bool {
    move |job| cluster_job(job, name, |job| matches!(job, ClusterJob::Page { .. }))
}

fn claim_of(name: &str) -> impl Fn(&Job) -> bool {
    move |job| cluster_job(job, name, |job| matches!(job, ClusterJob::Claim { .. }))
}
