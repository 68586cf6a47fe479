//! Watches a world and says when a promise of the protocol is broken. It knows the protocol, and
//! nothing of the core.

use super::say::{Frame, Say};

mod accounts;
mod jobs;
mod log_events;
mod operator;
mod pushes;
use super::store::{MessageKey, Model, key_of};
use super::world::{EPOCH_MS, Seen};
use hongyan::chat::contract::{
    ConnId, CoreCloseCause, CoreSettings, FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome,
};
use hongyan::protocol::error::ErrorCode;
use hongyan::protocol::field::RESERVED_NAME;
use hongyan::protocol::push::{Push, PushKind};
use hongyan::protocol::reply::Reply;
use hongyan::protocol::request::{ContentAsStringOrObject, FriendVerb};
use std::collections::{BTreeMap, BTreeSet};

pub fn pair_of(one: &str, other: &str) -> (String, String) {
    (one.min(other).to_owned(), one.max(other).to_owned())
}

/// The pair whose friendship a job is about.
fn pair_in(job: &Job) -> Option<(String, String)> {
    match job {
        Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => Some(pair_of(push.sender(), push.receiver())),
        Job::Unfriend { user, other } => Some(pair_of(user.as_str(), other.as_str())),
        Job::Account { user, job } => job.other().map(|other| pair_of(user.as_str(), other.as_str())),
        _ => None,
    }
}

/// A push that was sent on a connection and not acked there.
#[derive(Clone, Debug)]
pub struct Outstanding {
    pub push: Push,
    sent_ms: u64,
    /// The store has one of this id. Whether the core has dropped this one depends on what it alone
    /// knows.
    in_question: bool,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    /// Of a message.
    sender: String,
    due_ms: u64,
}

/// The knowledge of a client (and the oracle) about one connection.
#[derive(Debug, Default)]
pub struct View {
    pub user: Option<String>,
    attempt: Option<String>,
    /// Of the log-in that came last, unless it was a token.
    password: Option<String>,
    last_active_ms: u64,
    pub blocked: bool,
    flushed_ms: u64,
    pub outstanding: BTreeMap<u64, Outstanding>,
    waiting: Vec<Waiting>,
    /// Its user asked to be told who comes and goes, since they logged in on it.
    watches: bool,
    /// And was shown who is online.
    has_roster: bool,
    /// The friends of its user, as the user knows them: are they online?
    known: BTreeMap<String, bool>,
}

impl View {
    /// The pushes that are outstanding for sure.
    fn certain(&self) -> impl Iterator<Item = &Outstanding> {
        self.outstanding.values().filter(|item| !item.in_question)
    }

    /// Output that had been blocked and goes on counts as speaking.
    fn took_some(&mut self, at_ms: u64) {
        if self.blocked && self.user.is_some() {
            self.last_active_ms = at_ms;
        }
    }
}

#[derive(Debug)]
pub struct Oracle {
    rules: CoreSettings,
    pub conns: BTreeMap<ConnId, View>,
    incarnation: u32,
    /// Messages that were committed at some time, or acked.
    committed: BTreeSet<MessageKey>,
    acked: BTreeSet<MessageKey>,
    /// Pushes that were acked, with the incarnation.
    acked_seqs: BTreeMap<u64, u32>,
    /// Pushes whose deletion has failed and not yet been made good: a duplicate may be of one of
    /// them, so that nothing is taken off for it.
    undeleted: BTreeSet<u64>,
    /// Pushes that the store has deleted without the core knowing it yet. The core may have
    /// submitted the deletion late, for want of room.
    untold_deletions: BTreeSet<u64>,
    /// Pushes that the store has, or may have. Of an acked one the core may not have been able to
    /// submit the deletion, which nobody sees.
    stored: BTreeSet<u64>,
    /// Pushes of requests by asker and asked; and those of them that do not matter any more, since
    /// the two became friends.
    requests: BTreeMap<(String, String), Vec<u64>>,
    moot: BTreeSet<u64>,
    /// Pushes of friend requests and answers of which the core does not know what became.
    lost: BTreeSet<u64>,
    /// Messages whose `MS` went out: the incarnation and the time of each.
    promised: BTreeMap<MessageKey, Vec<(u32, u64)>>,
    /// Pushes that were sent at all, and the last of each message.
    sent: BTreeSet<u64>,
    last_sent: BTreeMap<MessageKey, (u64, u64)>,
    last_of_pair: BTreeMap<(String, String), u64>,
    /// Ids of friend requests and answers (and deletions) that the store has done or found done.
    befriended: BTreeSet<String>,
    /// The pairs of friends, by the jobs that the store has done.
    pub friends: BTreeSet<(String, String)>,
    /// Pairs about whom the store has done a job whose outcome the core was not told yet.
    unsettled: BTreeSet<(String, String)>,
    /// Requests that are pending in the store, by who asks whom, with their pushes.
    pending: BTreeMap<(String, String), u64>,
    /// Pushes of requests that were withdrawn in the store; and those of them of which the core was
    /// told: they never come again.
    withdrawn: BTreeSet<u64>,
    gone: BTreeSet<u64>,
    /// An `MF` after which no error has been heard yet: the two are no friends, it says.
    refused: Option<(ConnId, String, (String, String))>,
    /// The answer that was noted and comes next.
    noted: Option<(ConnId, &'static str)>,
    /// The users who were announced to the push hook and have not logged in since, and when.
    announced: BTreeMap<String, u64>,
    /// Ids of pushes for which the store had no room, as the core was told.
    full: BTreeSet<String>,
    /// Requests and deletions by id: the users that each is about.
    wanted: BTreeMap<String, (FriendVerb, (String, String))>,
    /// The acts of the operator on each account.
    accounts: BTreeMap<String, operator::Governed>,
    /// The acts of users on their own accounts.
    owned: accounts::Owned,
    /// Pairs of which the core was told that the store could not say what became of them.
    doubted: BTreeSet<(String, String)>,
    /// Notices of which the operator was told that they are stored.
    noticed: BTreeSet<MessageKey>,
    /// The numbers of the events, to show that the simulation is worth its time.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Oracle {
    pub fn new(rules: CoreSettings) -> Self {
        Self {
            rules,
            conns: BTreeMap::new(),
            incarnation: 0,
            committed: BTreeSet::new(),
            acked: BTreeSet::new(),
            acked_seqs: BTreeMap::new(),
            undeleted: BTreeSet::new(),
            untold_deletions: BTreeSet::new(),
            stored: BTreeSet::new(),
            requests: BTreeMap::new(),
            moot: BTreeSet::new(),
            lost: BTreeSet::new(),
            promised: BTreeMap::new(),
            sent: BTreeSet::new(),
            last_sent: BTreeMap::new(),
            last_of_pair: BTreeMap::new(),
            befriended: BTreeSet::new(),
            friends: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            pending: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            gone: BTreeSet::new(),
            refused: None,
            noted: None,
            announced: BTreeMap::new(),
            full: BTreeSet::new(),
            wanted: BTreeMap::new(),
            accounts: BTreeMap::new(),
            owned: accounts::Owned::default(),
            doubted: BTreeSet::new(),
            noticed: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn view(&mut self, conn: ConnId) -> &mut View {
        self.conns.get_mut(&conn).expect("it is open")
    }

    pub fn see(&mut self, at_ms: u64, seen: &Seen) {
        self.check_noted(seen);
        self.check_announced(at_ms, seen);
        if let Some((conn, id, pair)) = self.refused.take() {
            let why = matches!(seen, Seen::Heard(to, Frame::Reply { id: of, reply: Reply::Error { .. } })
                if *to == conn && of.as_str() == id);
            let friends = self.friends.contains(&pair) && !self.unsettled.contains(&pair);
            assert!(why || !friends, "MF between friends: {id} {pair:?}");
        }
        match seen {
            Seen::Opened(conn) => {
                self.conns.insert(*conn, View { last_active_ms: at_ms, ..View::default() });
            }
            Seen::Fed(conn, say) => self.fed(at_ms, *conn, say),
            Seen::Pinged(conn) => {
                let view = self.view(*conn);
                if view.user.is_some() {
                    view.last_active_ms = at_ms;
                }
            }
            Seen::Blocked(conn) => self.view(*conn).blocked = true,
            Seen::Drained(conn) => {
                self.count("drained");
                self.view(*conn).took_some(at_ms);
            }
            Seen::Flushed(conn) => {
                let view = self.view(*conn);
                view.took_some(at_ms);
                view.blocked = false;
                view.flushed_ms = at_ms;
            }
            Seen::PeerClosed(conn) => {
                self.conns.remove(conn);
            }
            Seen::Heard(conn, Frame::Push(push)) => self.pushed(at_ms, *conn, push),
            Seen::Heard(conn, Frame::Reply { id, reply }) => self.replied(at_ms, *conn, id.as_str(), reply),
            Seen::Heard(conn, Frame::Presence { user, online }) => self.told_presence(*conn, user.as_str(), *online),
            Seen::Heard(conn, Frame::Closed(cause)) => self.closed(at_ms, *conn, *cause),
            Seen::Done(job, outcome) => {
                self.governed(job, outcome, false);
                self.owned_done(job, outcome);
                self.done(job, outcome);
            }
            Seen::Told(job, outcome) => {
                self.governed(job, outcome, true);
                self.owned_told(job, outcome);
                self.told(job, outcome);
            }
            Seen::Logged(_) | Seen::Announced(_) | Seen::Stopped => {}
            Seen::Crashed => {
                self.count("crashes");
                self.conns.clear();
                self.unsettled.clear();
                self.doubted.clear();
                self.undeleted.clear();
                self.untold_deletions.clear();
                self.owned_anew();
                self.incarnation += 1;
                self.governed_anew();
            }
        }
    }

    fn fed(&mut self, at_ms: u64, conn: ConnId, say: &Say) {
        let due_ms = at_ms + self.rules.answer_within_ms;
        let view = self.conns.get_mut(&conn).expect("it is open");
        let logged_in = view.user.is_some();
        let (counts, waits) = match say {
            Say::Login { mid, user, password } => {
                (view.attempt, view.password) = (Some(user.clone()), Some(password.clone()));
                (true, Some(mid))
            }
            Say::Resume { mid, user, .. } => {
                (view.attempt, view.password) = (Some(user.clone()), None);
                (true, Some(mid))
            }
            Say::SignUp { mid, .. } => (!logged_in, Some(mid)),
            Say::GetUser { mid, .. } => (false, logged_in.then_some(mid)),
            Say::Token { mid, .. } => (false, Some(mid)),
            Say::Roster { mid, watch, .. } => {
                view.watches |= *watch && logged_in;
                (false, Some(mid))
            }
            Say::Profile { mid, .. }
            | Say::Password { mid, .. }
            | Say::Block { mid, .. }
            | Say::DeleteAccount { mid, .. } => (false, Some(mid)),
            Say::Message { id, .. } | Say::Friend { id, .. } => (logged_in, Some(id)),
            Say::Heartbeat { mid } => (logged_in, Some(mid)),
            Say::Ack { .. } => (logged_in, None),
            Say::Bad { .. } => (false, None),
        };
        if counts {
            view.last_active_ms = at_ms;
        }
        self.asked(say);
        let view = self.conns.get_mut(&conn).expect("it is open");
        if let Some(id) = waits {
            let sender = match say {
                Say::Message { sender, .. } => sender.clone(),
                _ => String::new(),
            };
            view.waiting.push(Waiting { id: id.clone(), sender, due_ms });
        }
        if let Say::Friend { id, sender, receiver, verb: verb @ (FriendVerb::Request | FriendVerb::Delete), .. } = say {
            self.wanted.insert(id.clone(), (*verb, pair_of(sender, receiver)));
        }
        if let Say::Ack { id, sender } = say {
            let is_it = |item: &&Outstanding| {
                item.push.id() == id && sender.as_ref().is_none_or(|sender| sender == item.push.sender())
            };
            let mut found: Vec<&Outstanding> = view.outstanding.values().filter(is_it).collect();
            found.sort_by_key(|item| item.in_question);
            if let Some(push) = found.first().map(|item| item.push.clone()) {
                view.outstanding.remove(&push.seq);
                self.acked_seqs.insert(push.seq, self.incarnation);
                if push.kind == PushKind::Message {
                    self.acked.insert(key_of(&push));
                }
                self.count("acks");
            } else {
                self.count("acks of nothing that is known to wait");
            }
        }
    }

    fn take_waiting(&mut self, conn: ConnId, id: &str) -> Option<Waiting> {
        self.take_waiting_that(conn, id, |_| true)
    }

    fn take_waiting_that(&mut self, conn: ConnId, id: &str, is_it: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        let waiting = &mut self.view(conn).waiting;
        let place = waiting.iter().position(|waiting| waiting.id == id && is_it(waiting))?;
        Some(waiting.remove(place))
    }

    fn replied(&mut self, at_ms: u64, conn: ConnId, id: &str, reply: &Reply) {
        if let Reply::Error { code, .. } = reply {
            if *code == ErrorCode::Full {
                assert!(self.full.contains(id), "FULL although there was room: {id}");
                self.count("FULL");
            }
            // The seed's own answer came first where there is one.
            if id.starts_with(['a', 'f', 'g', 'h']) {
                self.owned.remove(id);
                assert!(self.take_waiting(conn, id).is_some(), "an error for {id}, which nobody asked");
            }
            return;
        }
        // Two messages may wait under one id: one in another's name is refused at once, ahead of
        // any that wait before it.
        let taken = match reply {
            Reply::Message { is_durable } => Some(*is_durable),
            _ => None,
        };
        let me = self.view(conn).user.clone();
        let waiting = self.take_waiting_that(conn, id, |waiting| match taken {
            Some(taken) => taken == (Some(&waiting.sender) == me.as_ref()),
            None => true,
        });
        let Some(waiting) = waiting.or_else(|| self.take_waiting(conn, id)) else {
            // A request that could not be read has no id, and waited for nothing.
            assert!(id.is_empty(), "an answer to {id}, which nobody asked: {reply:?}");
            return;
        };
        self.owner_answered(conn, id, reply);
        match reply {
            Reply::Message { is_durable: true } => {
                let receiver = id.split_once('>').map(|(_, receiver)| receiver.to_owned()).unwrap_or_default();
                let key = (waiting.sender, receiver, id.to_owned());
                let durable = self.committed.contains(&key) || self.acked.contains(&key);
                assert!(durable, "MS before it was durable: {key:?}");
                self.promised.entry(key).or_default().push((self.incarnation, at_ms));
                self.count("MS");
            }
            Reply::Message { is_durable: false } => {
                let receiver = id.split_once('>').map_or("", |(_, receiver)| receiver);
                self.refused = Some((conn, id.to_owned(), pair_of(&waiting.sender, receiver)));
                self.count("MF");
            }
            Reply::Friend { .. } => {
                let done = match self.wanted.get(id) {
                    // The end of an account ends its friendships, whatever happens in between.
                    Some((FriendVerb::Delete, pair)) => {
                        !self.friends.contains(pair) || self.is_deleted(&pair.0) || self.is_deleted(&pair.1)
                    }
                    Some((_, pair)) if self.friends.contains(pair) => true,
                    _ => self.befriended.contains(id),
                };
                assert!(done, "RE_FRI_REQ before the commit: {id}");
                self.count("RE_FRI_REQ");
            }
            Reply::Login { done: true } => self.logged_in(conn),
            _ => {}
        }
    }

    fn logged_in(&mut self, conn: ConnId) {
        self.count("log-ins");
        let view = self.view(conn);
        let before = std::mem::replace(&mut view.user, view.attempt.take());
        let changed = before.is_some() && before != view.user;
        assert!(!changed || view.waiting.is_empty(), "somebody else's answers are still to come: {view:?}");
        view.outstanding.clear();
        (view.watches, view.has_roster) = (false, false);
        view.known.clear();
        if changed {
            self.count("changes of user on a connection");
        }
    }

    fn closed(&mut self, at_ms: u64, conn: ConnId, cause: CoreCloseCause) {
        let Some(view) = self.conns.remove(&conn) else {
            return;
        };
        match cause {
            CoreCloseCause::Idle => {
                self.count("idle closes");
                assert_eq!(at_ms, self.look_ms(view.last_active_ms), "closed as idle at the wrong time");
            }
            CoreCloseCause::Replaced => {
                self.count("take-overs");
                let other = self.conns.values().any(|other| other.user == view.user);
                // The new one's `LS` comes right after.
                let coming = self.conns.values().any(|other| other.attempt == view.user);
                // Or the password was changed on another one.
                let changed = self.owned.changed == view.user;
                assert!(view.user.is_some() && (other || coming || changed), "replaced by nobody");
            }
            _ => {}
        }
    }

    fn look_ms(&self, last_active_ms: u64) -> u64 {
        let every = self.rules.idle_check_ms;
        ((last_active_ms + self.rules.idle_timeout_ms) / every + 1) * every
    }

    pub fn has_outstanding(&self) -> bool {
        self.conns.values().any(|view| view.certain().next().is_some())
    }

    /// The checks whenever time has passed.
    pub fn check(&self, now_ms: u64) {
        let mut online = BTreeSet::new();
        for view in self.conns.values() {
            if let Some(user) = &view.user {
                assert!(online.insert(user), "two live connections of {user}");
            }
            assert!(now_ms < self.look_ms(view.last_active_ms), "idle for too long: {view:?}");
            for waiting in &view.waiting {
                assert!(now_ms <= waiting.due_ms, "not answered in time: {waiting:?}");
            }
            for item in view.certain().filter(|_| !view.blocked) {
                let due_ms = (item.sent_ms + self.rules.resend_every_ms).max(view.flushed_ms + 2);
                assert!(now_ms <= due_ms, "{now_ms}: not sent again in time, due at {due_ms}: {:?}", item.push);
            }
        }
    }

    /// A message that was promised and not acked must be in the store, whatever process was killed.
    pub fn check_crash(&self, model: &Model) {
        for key in self.deliverable().filter(|key| !self.acked.contains(*key)) {
            assert!(model.has_message(key), "promised and lost: {key:?}");
        }
    }

    /// The messages to be delivered: promised, and not to somebody who is deleted.
    fn deliverable(&self) -> impl Iterator<Item = &MessageKey> {
        self.promised.keys().chain(&self.noticed).filter(|(_, receiver, _)| !self.is_deleted(receiver))
    }

    /// With the faults over, everything is done.
    pub fn check_end(&self, model: &Model) {
        for key in self.deliverable() {
            assert!(self.acked.contains(key), "promised and never delivered: {key:?}");
        }
        let left: Vec<_> = model.pushes().collect();
        assert!(left.is_empty(), "still in the store: {left:?}");
        for view in self.conns.values() {
            assert!(view.certain().next().is_none() && view.waiting.is_empty(), "still waiting: {view:?}");
        }
        self.check_owned(model);
    }
}
