//! One node, driven by hand: the tests answer its jobs one by one, and check what it sends to other
//! nodes.

mod coming;
mod endings;
mod figures;
mod handed_over;
mod handing_over;
mod moving_on;
mod owner_notices;
mod presence;
mod questions;
mod release;
mod steps;
mod waiting_frames;

use super::contract::{
    BusFrame, ClusterStoreJob, ClusterStoreJobOutcome, ClusterView, HandoverReceiversWithUnnotifiedOwners, NodeId,
    NodeIncarnation, NodeMessage, NodeRow, UserHandoverData, UserOwner,
};
use crate::chat::ServerCore;
use crate::chat::contract::{
    AdminAnswerFromCore, ConnId, CoreAction, CoreInput, CoreSettings, Job, JobOutcome, JobTicket, PushPage,
    TurnTimestamp,
};
use crate::protocol::field::{MessageId, Secret, UserName, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use crate::protocol::reply::Reply;
use crate::protocol::request::{ClientRequest, ContentAsStringOrObject, Credential};
use std::borrow::Cow;
use std::collections::VecDeque;

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// The incarnation of a node with this epoch.
fn life(node: u16, epoch: u64) -> NodeIncarnation {
    NodeIncarnation { node: NodeId::new(node).unwrap(), epoch }
}

/// The view with this number, in which node 1 and these others live.
fn view(number: u64, others: &[(u16, u64)]) -> ClusterView {
    let state = |&(node, epoch)| NodeRow { last: life(node, epoch), hlc_limit: 1 << 40, is_alive: true };
    ClusterView { number, nodes: [(1, 1)].iter().chain(others).map(state).collect() }
}

/// A row of the whereabouts.
fn owner(at: NodeIncarnation, epoch: u64) -> UserOwner {
    UserOwner { incarnation: Some(at), epoch, floor: 0 }
}

/// The push was saved, and the store has read this owner of its receiver.
fn saved(at: Option<UserOwner>) -> JobOutcome {
    JobOutcome::Cluster(Box::new(ClusterStoreJobOutcome::Saved { is_first: true, owner: at }))
}

fn owned(by: UserOwner) -> JobOutcome {
    JobOutcome::Cluster(Box::new(ClusterStoreJobOutcome::Owner(by)))
}

fn elsewhere(at: NodeIncarnation, epoch: u64) -> JobOutcome {
    JobOutcome::Cluster(Box::new(ClusterStoreJobOutcome::Elsewhere(owner(at, epoch))))
}

fn loaded(epoch: u64, friends: &[&str], page: PushPage) -> JobOutcome {
    let friends = friends.iter().map(|name| user(name)).collect();
    JobOutcome::Cluster(Box::new(ClusterStoreJobOutcome::Loaded { epoch, friends, page }))
}

/// Dirty receivers with these names; the other fields have their defaults.
fn dirty(names: &[&str]) -> HandoverReceiversWithUnnotifiedOwners {
    HandoverReceiversWithUnnotifiedOwners {
        listed: names.iter().map(|name| user(name)).collect(),
        ..HandoverReceiversWithUnnotifiedOwners::default()
    }
}

fn message(seq: u64, sender: &str, id: &str, receiver: &str) -> Push {
    message_at(1, (seq, sender, id, receiver), "hello")
}

fn message_at(time_ms: u64, (seq, sender, id, receiver): (u64, &str, &str, &str), text: &str) -> Push {
    let (id, sender) = (MessageId::new(id).unwrap(), UserNameRef::new(sender).unwrap());
    Push::new(seq, time_ms, PushKind::Message, &id, &sender, user(receiver), text)
}

fn page(pushes: Vec<Push>) -> PushPage {
    PushPage { pushes, has_more: false }
}

/// Node 1, which knows node 2 and perhaps others, each in its first life.
struct TestNode {
    chat: ServerCore,
    now: TurnTimestamp,
    /// The jobs that are submitted and not answered.
    jobs: VecDeque<(JobTicket, Job)>,
    /// The records sent to other nodes.
    sent: Vec<(NodeIncarnation, NodeMessage)>,
    /// The frames published on the bus, for any node.
    published: Vec<BusFrame>,
    views_asked: usize,
    replies: Vec<(ConnId, Reply)>,
    pushes: Vec<(ConnId, Push)>,
    closed: Vec<ConnId>,
    /// The answers to the operator.
    told: Vec<AdminAnswerFromCore>,
    conns: u32,
}

const OTHER: u16 = 2;

impl TestNode {
    fn new() -> Self {
        Self::with(CoreSettings::default())
    }

    fn with(rules: CoreSettings) -> Self {
        let rules = CoreSettings { requests_per_second_max: 10_000_000, ..rules };
        let mut chat = ServerCore::new(rules, 1 << 30, [1, 2]);
        chat.join(life(1, 1), view(1, &[(OTHER, 1)]));
        Self {
            chat,
            now: TurnTimestamp { mono_ms: 1_000, wall_ms: 1_000 },
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

    fn event(&mut self, event: CoreInput<'_>) {
        let mut actions = Vec::new();
        self.chat.handle(self.now, event, &mut actions);
        for action in actions {
            match action {
                CoreAction::Submit { ticket, job } => self.jobs.push_back((ticket, job)),
                CoreAction::Send { to, record } => self.sent.push((to, record)),
                CoreAction::Publish { frame, .. } => self.published.push(*frame),
                CoreAction::ReadView => self.views_asked += 1,
                CoreAction::Reply { conn, reply, .. } | CoreAction::Refuse { conn, reply, .. } => {
                    self.replies.push((conn, reply));
                }
                CoreAction::Push { conn, push, .. } => self.pushes.push((conn, push)),
                CoreAction::Close { conn, .. } => self.closed.push(conn),
                CoreAction::Admin { answer, .. } => self.told.push(answer),
                _ => {}
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        self.event(CoreInput::Tick { input_read_until_ms: self.now.mono_ms });
    }

    fn frame(&mut self, record: NodeMessage) {
        self.event(CoreInput::Record { from: life(OTHER, 1), record });
    }

    /// The place of the first job that `is_it` accepts.
    fn place_of(&self, is_it: impl Fn(&Job) -> bool) -> Option<usize> {
        self.jobs.iter().position(|(_, job)| is_it(job))
    }

    /// Answers the first job that `is_it` accepts; there must be one.
    fn answer(&mut self, is_it: impl Fn(&Job) -> bool, outcome: JobOutcome) {
        let place = self.place_of(is_it).unwrap_or_else(|| panic!("no such job among {:?}", self.jobs));
        let (ticket, _) = self.jobs.remove(place).unwrap();
        self.event(CoreInput::Finished { ticket, outcome });
    }

    /// Begins a log-in; the caller must answer its job `LogIn`.
    fn ask_log_in(&mut self, name: &str) -> ConnId {
        let conn = ConnId { slot: self.conns, generation: 0 };
        self.conns += 1;
        self.event(CoreInput::Opened { conn, address_key: None });
        let credential = Credential::Password(Secret::new("secret"));
        let (mid, form) = (Some(MessageId::new("l").unwrap()), ContentAsStringOrObject::Text);
        let input = Ok(ClientRequest::Login { mid, form, user: UserNameRef::new(name).unwrap(), credential });
        self.event(CoreInput::Input { conn, input });
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
        let (id, sender, receiver) =
            (MessageId::new(id).unwrap(), UserNameRef::new(sender).unwrap(), UserNameRef::new(receiver).unwrap());
        let (form, content) = (ContentAsStringOrObject::Text, Cow::Borrowed("hello"));
        let input = Ok(ClientRequest::Message { form, id, sender, receiver, content, escape_free: true });
        self.event(CoreInput::Input { conn, input });
    }

    fn ack(&mut self, conn: ConnId, id: &str) {
        let input = Ok(ClientRequest::Ack {
            form: ContentAsStringOrObject::Text,
            id: MessageId::new(id).unwrap(),
            sender: None,
        });
        self.event(CoreInput::Input { conn, input });
    }

    /// Node 2 asks this node to release a user.
    fn release(&mut self, name: &str, epoch: u64, claim: u64) {
        self.frame(NodeMessage::Release { user: user(name), epoch, claim });
    }

    /// The answers to such requests.
    fn released(&self) -> Vec<&UserHandoverData> {
        let all = self.sent.iter().filter_map(|(_, record)| match record {
            NodeMessage::Released(released) => Some(&**released),
            _ => None,
        });
        all.collect()
    }

    fn has_sent(&self, record: &NodeMessage) -> bool {
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

fn cluster_job(job: &Job, name: &str, is_it: impl Fn(&ClusterStoreJob) -> bool) -> bool {
    matches!(job, Job::Cluster { user, job } if user.as_str() == name && is_it(job))
}

fn owner_of(name: &str) -> impl Fn(&Job) -> bool {
    move |job| cluster_job(job, name, |job| matches!(job, ClusterStoreJob::Owner))
}

fn page_of(name: &str) -> impl Fn(&Job) -> bool {
    move |job| cluster_job(job, name, |job| matches!(job, ClusterStoreJob::Page { .. }))
}

fn claim_of(name: &str) -> impl Fn(&Job) -> bool {
    move |job| cluster_job(job, name, |job| matches!(job, ClusterStoreJob::Claim { .. }))
}
