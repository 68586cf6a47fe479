//! The rules of a client, without a clock and without a socket: what is to be done next when the
//! connection is there or gone, a frame has come, the program asks for something, or time has
//! passed.

mod login;
mod requests;
#[cfg(test)]
mod tests;

use super::backoff::{Backoff, Jitter};
use super::delivery::Connection;
use super::error::{End, Error, Refusal};
use super::frames::{self, Answer, Frame, Request};
use super::options::{Options, Password};
use super::push::{Push, PushKey};
use super::seen::Seen;
use crate::protocol::error::ErrorCode;
use requests::{Requests, Suspect};
use std::collections::HashSet;
use std::time::Duration;

/// A connection that held so long was a good one: the delays begin anew.
const GOOD_MS: u64 = 30_000;
/// After RATE_LIMITED about passwords, and after SHUTTING_DOWN: the least delay.
const LIMITED_MS: u64 = 6_000;
const SHUTTING_DOWN_MS: u64 = 2_000;

/// A number that the driver gave a request.
pub(super) type Ticket = u64;

/// What the program wants, beside requests.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Presence, after every log-in.
    Watch,
    /// Another password may hold from now on: it is about to be changed.
    Password(Password),
    /// It was changed, or was not.
    PasswordChanged(bool),
    /// The token is not to be used again, nor a new one to be asked for.
    ForgetToken,
    /// Stop.
    End(End),
}

/// The credential of a log-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum With {
    Token,
    Password,
    /// One that is about to be the password.
    NewPassword,
}

/// What happens to the machine.
pub(super) enum Input {
    Connected,
    /// No connection, or the present one is over.
    Lost(String),
    Frame(Frame),
    /// A frame that cannot be read.
    Garbage,
    /// Bytes have come, whatever they are.
    Heard,
    Begin(Ticket, Request),
    Order(Order),
    /// The program is done with a push, and wants it acked or not.
    DoneWith {
        key: PushKey,
        message_id: String,
        sender: String,
        acked: bool,
    },
}

/// What the machine wants.
#[derive(Debug, PartialEq)]
pub(super) enum Output {
    Connect,
    Disconnect,
    LogIn(With),
    Send(String),
    /// An ack that may be left out if much waits to be written: the push comes again.
    AckAgain(String),
    Push(Push),
    Presence(String, bool),
    Connection(Connection),
    Done(Ticket, Result<Answer, Error>),
    KeepToken(String),
    ForgetToken,
    /// The password of this log-in is the password now, and the other one is forgotten.
    PasswordIs(With),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until a connection is tried.
    Waiting {
        until: u64,
    },
    /// A connection is being made.
    Connecting,
    /// The log-in is on its way.
    LoggingIn {
        with: With,
        until: u64,
    },
    /// `LF` has come, and the next frame says why.
    Refused {
        with: With,
        until: u64,
    },
    Online {
        since: u64,
    },
    Ended,
}

/// Times and counts of the options, in ms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) heartbeat_ms: u64,
    pub(super) answer_ms: u64,
    pub(super) request_ms: u64,
    pub(super) retry: Backoff,
    pub(super) backoff: Backoff,
    pub(super) seen_max: usize,
}

impl Rules {
    pub(super) fn of(options: &Options) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4).clamp(1, u64::MAX / 4);
        Self {
            heartbeat_ms: ms(options.heartbeat_every),
            answer_ms: ms(options.answer_limit),
            request_ms: ms(options.request_limit),
            retry: Backoff { first_ms: ms(options.retry_first), max_ms: 60_000 },
            backoff: Backoff { first_ms: ms(options.backoff_first), max_ms: ms(options.backoff_max) },
            seen_max: options.seen_max,
        }
    }
}

/// A user's client.
pub(super) struct Machine {
    rules: Rules,
    phase: Phase,
    jitter: Jitter,
    /// Connections in a row that did not hold.
    failures: u32,
    /// Which credentials there are, and which did not work.
    has_token: bool,
    has_password: bool,
    has_new_password: bool,
    /// A token is asked for after a log-in without one.
    wants_token: bool,
    watch: bool,
    requests: Requests,
    /// An `MF` that the next frame may explain.
    suspect: Option<Suspect>,
    seen: Seen,
    /// Pushes that the program has, or will be given.
    in_hand: HashSet<PushKey>,
    /// When the next heartbeat is sent.
    beat_at: u64,
    /// When the connection counts as lost unless something was heard.
    dead_at: Option<u64>,
    ids: u64,
    out: Vec<Output>,
}

impl Machine {
    pub(super) fn new(rules: Rules, seed: u64, has_token: bool, has_password: bool) -> Self {
        Self {
            rules,
            phase: Phase::Waiting { until: 0 },
            jitter: Jitter::new(seed),
            failures: 0,
            has_token,
            has_password,
            has_new_password: false,
            wants_token: true,
            watch: false,
            requests: Requests::default(),
            suspect: None,
            seen: Seen::new(rules.seen_max),
            in_hand: HashSet::new(),
            beat_at: 0,
            dead_at: None,
            ids: 0,
            out: Vec::new(),
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// What is to be done now, in this order.
    pub(super) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn handle(&mut self, now: u64, input: Input) {
        match input {
            Input::Begin(ticket, request) => self.begin(now, ticket, request),
            Input::DoneWith { key, message_id, sender, acked } => self.done_with(key, &message_id, &sender, acked),
            _ if self.is_ended() => {}
            Input::Connected => self.connected(now),
            Input::Lost(why) => self.lost(now, why, 0),
            Input::Heard => self.dead_at = None,
            Input::Frame(frame) => self.frame(now, frame),
            Input::Garbage => self.drop_connection(now, "the server sent something that is no frame"),
            Input::Order(order) => self.order(now, order),
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: u64) {
        for (ticket, error) in self.requests.take_late(now) {
            self.out.push(Output::Done(ticket, Err(error)));
        }
        match self.phase {
            Phase::Waiting { until } if now >= until => {
                self.phase = Phase::Connecting;
                self.out.push(Output::Connect);
            }
            Phase::LoggingIn { until, .. } if now >= until => {
                self.drop_connection(now, "the server did not answer the log-in");
            }
            // Nothing followed: the cause is the usual one.
            Phase::Refused { with, until } if now >= until => self.wrong(now, with),
            Phase::Online { .. } => self.online_tick(now),
            _ => {}
        }
    }

    fn online_tick(&mut self, now: u64) {
        if self.dead_at.is_some_and(|at| now >= at) {
            self.drop_connection(now, "the server does not answer");
            return;
        }
        if now >= self.beat_at {
            self.beat(now);
        }
        self.write_requests(now);
    }

    fn beat(&mut self, now: u64) {
        self.beat_at = now + self.rules.heartbeat_ms;
        self.dead_at.get_or_insert(now + self.rules.answer_ms);
        let id = self.own_id();
        self.out.push(Output::Send(frames::heartbeat(&id)));
    }

    /// When [`Machine::tick`] has something to do at the latest.
    pub(super) fn deadline(&self) -> Option<u64> {
        let phase = match self.phase {
            Phase::Waiting { until } | Phase::LoggingIn { until, .. } | Phase::Refused { until, .. } => Some(until),
            Phase::Online { .. } => Some(self.dead_at.map_or(self.beat_at, |at| at.min(self.beat_at))),
            Phase::Connecting | Phase::Ended => None,
        };
        let requests = self.requests.deadline(matches!(self.phase, Phase::Online { .. }));
        phase.into_iter().chain(requests).min()
    }

    /// Is something to be heard soon, even if the program takes no pushes? A log-in, or an answer.
    pub(super) fn waits_for_answer(&self) -> bool {
        !matches!(self.phase, Phase::Online { .. }) || self.requests.any_written()
    }

    /// The program reads nothing at present, so nothing can be heard.
    pub(super) fn deaf(&mut self) {
        self.dead_at = None;
    }

    /// An id of the library's own requests.
    fn own_id(&mut self) -> String {
        self.ids += 1;
        format!("hongyan-client-{}", self.ids)
    }

    fn connected(&mut self, now: u64) {
        match self.credentials().first() {
            Some(&with) => self.log_in(now, with),
            None => self.end(End::WrongPassword),
        }
    }

    /// The present connection is of no use.
    fn drop_connection(&mut self, now: u64, why: &str) {
        self.out.push(Output::Disconnect);
        self.lost(now, why.to_owned(), 0);
    }

    fn lost(&mut self, now: u64, why: String, least_ms: u64) {
        if let Phase::Online { since } = self.phase
            && now.saturating_sub(since) >= GOOD_MS
        {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.suspect = None;
        self.dead_at = None;
        for (ticket, error) in self.requests.connection_lost() {
            self.out.push(Output::Done(ticket, Err(error)));
        }
        let delay = self.rules.backoff.delay_ms(self.failures, least_ms, &mut self.jitter);
        self.phase = Phase::Waiting { until: now.saturating_add(delay) };
        self.out.push(Output::Connection(Connection::Offline { why, again_in: Duration::from_millis(delay) }));
    }

    fn end(&mut self, end: End) {
        if self.is_ended() {
            return;
        }
        self.phase = Phase::Ended;
        for ticket in self.requests.take_all() {
            self.out.push(Output::Done(ticket, Err(Error::Ended(end.clone()))));
        }
        self.out.push(Output::Disconnect);
        self.out.push(Output::Connection(Connection::Ended(end)));
    }

    fn order(&mut self, now: u64, order: Order) {
        match order {
            Order::Watch => self.watch = true,
            Order::Password(_) => self.has_new_password = true,
            Order::PasswordChanged(done) => {
                self.has_new_password = false;
                self.out.push(Output::PasswordIs(if done { With::NewPassword } else { With::Password }));
                if done {
                    self.has_password = true;
                    // All tokens have ended.
                    self.has_token = false;
                    self.ask_for_token(now);
                }
            }
            Order::ForgetToken => {
                (self.has_token, self.wants_token) = (false, false);
                self.out.push(Output::ForgetToken);
            }
            Order::End(end) => self.end(end),
        }
    }

    fn frame(&mut self, now: u64, frame: Frame) {
        // Whatever comes behind an LF or MF: it says why, or the cause is the usual one.
        if let Phase::Refused { with, .. } = self.phase {
            return self.log_in_refused(now, with, &frame);
        }
        if let Some(suspect) = self.suspect.take() {
            match &frame {
                Frame::Error { id, refusal } if *id == suspect.id => return self.error(now, id, refusal),
                _ => self.finish(suspect.serial, Err(Error::NotFriends)),
            }
        }
        match frame {
            Frame::Error { id, refusal } if id.is_empty() => self.told(now, &refusal),
            Frame::Error { id, refusal } => self.error(now, &id, &refusal),
            Frame::Reply { kind, id, content } => match self.phase {
                Phase::LoggingIn { with, .. } => self.log_in_reply(now, with, &kind, &content),
                _ => self.reply(now, &kind, &id, &content),
            },
            Frame::Push(push) => self.push(push),
            Frame::Presence { user_name, online } => self.out.push(Output::Presence(user_name, online)),
            Frame::Other => {}
        }
    }

    /// The server says something about the connection.
    fn told(&mut self, now: u64, refusal: &Refusal) {
        let text = refusal.text.clone();
        match refusal.code {
            Some(ErrorCode::Replaced) => self.end(End::Replaced),
            Some(ErrorCode::Forbidden) => self.end(End::Forbidden(text)),
            Some(ErrorCode::ShuttingDown) => self.go(now, text, SHUTTING_DOWN_MS),
            Some(ErrorCode::RateLimited) => self.go(now, text, LIMITED_MS),
            Some(ErrorCode::Idle | ErrorCode::Unavailable) => self.go(now, text, 0),
            Some(ErrorCode::TooLarge) => {
                if let Some(serial) = self.requests.largest_written() {
                    self.finish(serial, Err(Error::Refused(refusal.clone())));
                }
                // A token that a server gave, and none takes: it is not sent again.
                if matches!(self.phase, Phase::LoggingIn { with: With::Token, .. }) {
                    self.has_token = false;
                }
                self.go(now, text, 0);
            }
            _ => {}
        }
    }

    fn go(&mut self, now: u64, why: String, least_ms: u64) {
        self.out.push(Output::Disconnect);
        self.lost(now, why, least_ms);
    }

    fn push(&mut self, push: Push) {
        let key = push.key();
        if self.seen.contains(&key) {
            self.out.push(Output::AckAgain(frames::ack(&push.message_id, &push.sender)));
        } else if self.in_hand.insert(key) {
            self.out.push(Output::Push(push));
        }
    }

    fn done_with(&mut self, key: PushKey, message_id: &str, sender: &str, acked: bool) {
        self.in_hand.remove(&key);
        if !acked {
            return;
        }
        self.seen.insert(key);
        if matches!(self.phase, Phase::Online { .. }) {
            self.out.push(Output::Send(frames::ack(message_id, sender)));
        }
    }
}
