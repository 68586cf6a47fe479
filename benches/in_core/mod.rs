//! The core without sockets, with a store that succeeds at once: to measure, not to check results.
#![allow(dead_code, unreachable_pub, reason = "each user needs its part of it")]

use hongyan::chat::ServerCore;
use hongyan::chat::contract::{
    ClusterStoreJobOutcome, ClusterView, ConnId, CoreAction, CoreInput, CoreSettings, Job, JobOutcome, NodeId,
    NodeIncarnation, NodeRow, PushPage, TurnTimestamp,
};
use hongyan::protocol::encode_fast::write_push;
use hongyan::protocol::envelope::{UnescapedContentBuffer, parse};
use hongyan::protocol::field::UserName;
use hongyan::protocol::reply::{Reply, write_reply};

/// Users form a ring, and each is a friend of so many users before and so many behind.
pub const NEIGHBOURS: usize = 5;

pub fn name(number: usize) -> String {
    format!("user{number:06}")
}

/// A user's friends in a ring of this size.
pub fn friends(number: usize, users: usize) -> Vec<UserName> {
    let near = |step: usize| [number + step, number + users - step].map(|at| UserName::new(&name(at % users)));
    (1..=NEIGHBOURS.min((users - 1) / 2)).flat_map(near).map(|name| name.expect("a name")).collect()
}

/// The answer of a store without errors and without waiting pushes.
pub fn answer(job: &Job, users: usize) -> JobOutcome {
    answer_by(job, users, friends)
}

/// In a star, user 0 is a friend of every other user.
fn friends_in_star(number: usize, users: usize) -> Vec<UserName> {
    let all = if number == 0 { 1..users } else { 0..1 };
    all.map(|number| UserName::new(&name(number)).expect("a name")).collect()
}

fn answer_by(job: &Job, users: usize, friends: fn(usize, usize) -> Vec<UserName>) -> JobOutcome {
    match job {
        Job::LogIn { user, .. } => {
            let number = user.as_str()["user".len()..].parse().expect("a name of the ring");
            JobOutcome::Loaded { friends: friends(number, users), page: PushPage::default() }
        }
        Job::Prove { .. } => JobOutcome::Proven,
        Job::SavePush { .. } => JobOutcome::Saved,
        Job::DeletePush { .. } => JobOutcome::Deleted,
        other => panic!("nobody asked for {other:?}"),
    }
}

/// The outcome on the node to which the user belongs.
fn of_node(outcome: JobOutcome) -> JobOutcome {
    match outcome {
        JobOutcome::Loaded { friends, page } => {
            JobOutcome::Cluster(Box::new(ClusterStoreJobOutcome::Loaded { epoch: 1, friends, page }))
        }
        outcome => outcome,
    }
}

/// A log-in as a client sends it.
pub fn login(number: usize) -> String {
    let content = format!(r#"{{\"PASS\":\"secret\",\"USER\":\"{}\"}}"#, name(number));
    format!(r#"{{"MID":"login","CONTENT":"{content}","TYPE":"2"}}"#)
}

/// A message to the next in the ring, in the string form.
pub fn message(id: u64, from: usize, to: usize, content: &str) -> String {
    let (from, to) = (name(from), name(to));
    format!(
        r#"{{"CONTENT":"{{\"messageId\":\"{id:010}\",\"sender\":\"{from}\",\"receiver\":\"{to}\",\"content\":\"{content}\"}}","TYPE":"4"}}"#
    )
}

/// Writes another id into such a frame, or into an ack.
pub fn put_id(frame: &mut [u8], id: u64) {
    const AT: usize = r#"{"CONTENT":"{\"messageId\":\""#.len();
    let mut rest = id;
    for byte in frame[AT..AT + 10].iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Its ack.
pub fn ack(id: u64) -> String {
    format!(r#"{{"CONTENT":"{{\"MessageId\":\"{id:010}\"}}","TYPE":"5"}}"#)
}

/// The core, and the state that the shell around it keeps from turn to turn.
pub struct Core {
    pub chat: ServerCore,
    pub now: TurnTimestamp,
    /// The output to all connections since it was last cleared.
    pub output: Vec<u8>,
    pub pushes: u64,
    pub replies: u64,
    users: usize,
    friends: fn(usize, usize) -> Vec<UserName>,
    /// It is a node of a cluster, to which all users belong.
    is_node: bool,
    conns: u32,
    actions: Vec<CoreAction>,
    scratch: UnescapedContentBuffer,
}

impl Core {
    /// With a ring of so many users, none of them logged in.
    pub fn new(rules: CoreSettings, users: usize) -> Self {
        Self {
            chat: ServerCore::new(rules, 1, [1, 2]),
            now: TurnTimestamp { mono_ms: 1, wall_ms: 1_652_804_254_778 },
            output: Vec::with_capacity(64 * 1024),
            pushes: 0,
            replies: 0,
            users,
            friends,
            is_node: false,
            conns: 0,
            actions: Vec::with_capacity(64),
            scratch: UnescapedContentBuffer::default(),
        }
    }

    /// With a star of so many users, none of them logged in.
    pub fn of_star(rules: CoreSettings, users: usize) -> Self {
        Self { friends: friends_in_star, ..Self::new(rules, users) }
    }

    /// With a ring of so many users, as a node of a cluster in which another node lives.
    pub fn of_node(rules: CoreSettings, users: usize) -> Self {
        let mut core = Self { is_node: true, ..Self::new(rules, users) };
        let [me, other] = [1, 2].map(|node| NodeIncarnation { node: NodeId::new(node).expect("a number"), epoch: 1 });
        let row = |last| NodeRow { last, hlc_limit: u64::MAX, is_alive: true };
        core.chat.join(me, ClusterView { number: 1, nodes: [row(me), row(other)].into() });
        core
    }

    /// A connection on which this user is logged in.
    pub fn log_in(&mut self, number: usize) -> ConnId {
        let conn = ConnId { slot: self.conns, generation: 0 };
        self.conns += 1;
        self.event(CoreInput::Opened { conn, address_key: None });
        self.input(conn, login(number).as_bytes());
        conn
    }

    /// Hands one envelope in, and does all that follows from it.
    pub fn input(&mut self, conn: ConnId, envelope: &[u8]) {
        let input = parse(envelope, &mut self.scratch);
        self.chat.handle(self.now, CoreInput::Input { conn, input }, &mut self.actions);
        self.apply();
    }

    /// Moves the clock on, and handles all deadlines up to then.
    pub fn wait_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        if self.chat.next_deadline().is_some_and(|deadline| deadline <= self.now.mono_ms) {
            self.event(CoreInput::Tick { input_read_until_ms: self.now.mono_ms });
        }
    }

    pub fn event(&mut self, event: CoreInput<'_>) {
        self.chat.handle(self.now, event, &mut self.actions);
        self.apply();
    }

    fn apply(&mut self) {
        let mut finished = Vec::new();
        loop {
            for action in self.actions.drain(..) {
                match action {
                    CoreAction::Reply { form, id, reply, .. } => {
                        write_reply(&mut self.output, form, id.as_str(), &reply);
                        self.replies += 1;
                    }
                    CoreAction::Refuse { form, id, reply, code, explanation, .. } => {
                        write_reply(&mut self.output, form, id.as_str(), &reply);
                        write_reply(&mut self.output, form, id.as_str(), &Reply::Error { code, explanation });
                        self.replies += 2;
                    }
                    CoreAction::Push { form, push, .. } => {
                        write_push(&mut self.output, form, &push);
                        self.pushes += 1;
                    }
                    CoreAction::Submit { ticket, job } => {
                        let outcome = answer_by(&job, self.users, self.friends);
                        finished.push((ticket, if self.is_node { of_node(outcome) } else { outcome }));
                    }
                    CoreAction::Send { .. } | CoreAction::ReadView if self.is_node => {}
                    CoreAction::Pause { .. }
                    | CoreAction::Resume { .. }
                    | CoreAction::LoggedIn { .. }
                    | CoreAction::PauseRequests { .. }
                    | CoreAction::ResumeRequests { .. }
                    | CoreAction::PushHook(_)
                    | CoreAction::Presence { .. }
                    | CoreAction::Log(_) => {}
                    CoreAction::Close { .. }
                    | CoreAction::Admin { .. }
                    | CoreAction::Send { .. }
                    | CoreAction::Publish { .. }
                    | CoreAction::Draining { .. }
                    | CoreAction::ReadView
                    | CoreAction::Stopped => {
                        panic!("nobody asked for {action:?}")
                    }
                }
            }
            if finished.is_empty() {
                return;
            }
            for (ticket, outcome) in finished.drain(..) {
                self.chat.handle(self.now, CoreInput::Finished { ticket, outcome }, &mut self.actions);
            }
        }
    }
}
