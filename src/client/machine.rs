//! The state machine of a client, without a clock and without a socket. It decides what to do next
//! when the connection is established or lost, when a frame arrives, when the program asks for
//! something, and when time has passed.

mod login;
mod requests;
#[cfg(test)]
mod tests;

use super::backoff::{Backoff, Jitter};
use super::connection_state::ConnectionToServerState;
use super::error::{ClientEndReason, Error, ServerRefusal};
use super::frames::{self, ClientMachineRequestAnswer, OutgoingClientRequestFrame, ServerFrame};
use super::options::{ClientOptions, ClientPassword};
use super::push::{Push, PushDedupKey};
use super::seen::SeenPushes;
use crate::protocol::error::ErrorCode;
use requests::{ClientUnansweredRequests, FailureAwaitingReason};
use std::collections::HashSet;
use std::time::Duration;

/// After a connection that lasted this long, the delays start again from the first one.
const GOOD_MS: u64 = 30_000;
/// The shortest delay after RATE_LIMITED for passwords and after SHUTTING_DOWN.
const LIMITED_MS: u64 = 6_000;
const SHUTTING_DOWN_MS: u64 = 2_000;

/// A number that the driver gave a request.
pub(super) type ClientMachineTicket = u64;

/// An order of the program, besides requests.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum ProgramOrderToClientMachine {
    /// Ask for presence after every log-in.
    Watch,
    /// The password is about to be changed: from now on this other password may be the valid one.
    Password(ClientPassword),
    /// The password was changed, or was not.
    PasswordChanged(bool),
    /// The token must not be used again, and no new one is requested.
    RemoveToken,
    /// Stop.
    End(ClientEndReason),
}

/// The credential of a log-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCredentialChoice {
    Token,
    Password,
    /// The new password of a change whose result is not known.
    NewPassword,
}

/// An event that the machine handles.
pub(super) enum ClientMachineInput {
    Connected,
    /// No connection could be established, or the present one has ended.
    Lost(String),
    Frame(ServerFrame),
    /// A frame that cannot be read.
    Garbage,
    /// Bytes have arrived, whatever they are.
    Bytes,
    Begin(ClientMachineTicket, OutgoingClientRequestFrame),
    Order(ProgramOrderToClientMachine),
    /// The program has finished with a push, and wants it acked or not.
    DoneWith {
        key: PushDedupKey,
        message_id: String,
        sender: String,
        acked: bool,
    },
}

/// A task of the driver for the machine.
#[derive(Debug, PartialEq)]
pub(super) enum ClientMachineOutput {
    Connect,
    Disconnect,
    LogIn(ClientCredentialChoice),
    Send(String),
    /// An ack that may be left out if a lot of output is waiting: the server then sends the push
    /// again.
    AckAgain(String),
    Push(Push),
    Presence(String, bool),
    Connection(ConnectionToServerState),
    Done(ClientMachineTicket, Result<ClientMachineRequestAnswer, Error>),
    KeepToken(String),
    RemoveToken,
    /// The password of this log-in is now the valid one; the other one is to be forgotten.
    PasswordIs(ClientCredentialChoice),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientPhase {
    /// Waiting until the next attempt to connect.
    Waiting {
        until: u64,
    },
    /// A connection is being made.
    Connecting,
    /// The log-in has been sent and not answered.
    LoggingIn {
        with: ClientCredentialChoice,
        until: u64,
    },
    /// `LF` has arrived, and the next frame says the reason.
    Refused {
        with: ClientCredentialChoice,
        until: u64,
    },
    Online {
        since: u64,
    },
    Ended,
}

/// The times (in ms) and counts of the options.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientMachineSettings {
    pub(super) heartbeat_ms: u64,
    pub(super) answer_ms: u64,
    pub(super) request_ms: u64,
    pub(super) retry: Backoff,
    pub(super) backoff: Backoff,
    pub(super) seen_max: usize,
}

impl ClientMachineSettings {
    pub(super) fn of(options: &ClientOptions) -> Self {
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
pub(super) struct ClientMachine {
    rules: ClientMachineSettings,
    phase: ClientPhase,
    jitter: Jitter,
    /// How many connections in a row did not last.
    failures: u32,
    /// Which credentials exist, and which were refused.
    has_token: bool,
    has_password: bool,
    has_new_password: bool,
    /// Is a token requested after a log-in without one?
    wants_token: bool,
    watch: bool,
    requests: ClientUnansweredRequests,
    /// An `MF` whose reason the next frame may give.
    suspect: Option<FailureAwaitingReason>,
    seen: SeenPushes,
    /// Pushes that the program has, or will get.
    in_hand: HashSet<PushDedupKey>,
    /// When the next heartbeat is due.
    beat_at: u64,
    /// When the connection counts as lost, unless something arrives before.
    dead_at: Option<u64>,
    ids: u64,
    out: Vec<ClientMachineOutput>,
}

impl ClientMachine {
    pub(super) fn new(rules: ClientMachineSettings, seed: u64, has_token: bool, has_password: bool) -> Self {
        Self {
            rules,
            phase: ClientPhase::Waiting { until: 0 },
            jitter: Jitter::new(seed),
            failures: 0,
            has_token,
            has_password,
            has_new_password: false,
            wants_token: true,
            watch: false,
            requests: ClientUnansweredRequests::default(),
            suspect: None,
            seen: SeenPushes::new(rules.seen_max),
            in_hand: HashSet::new(),
            beat_at: 0,
            dead_at: None,
            ids: 0,
            out: Vec::new(),
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        self.phase == ClientPhase::Ended
    }

    /// Takes the outputs, which are to be carried out in this order.
    pub(super) fn take(&mut self) -> Vec<ClientMachineOutput> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn handle(&mut self, now: u64, input: ClientMachineInput) {
        match input {
            ClientMachineInput::Begin(ticket, request) => self.begin(now, ticket, request),
            ClientMachineInput::DoneWith { key, message_id, sender, acked } => {
                self.done_with(key, &message_id, &sender, acked)
            }
            _ if self.is_ended() => {}
            ClientMachineInput::Connected => self.connected(now),
            ClientMachineInput::Lost(why) => self.on_lost(now, why, 0),
            ClientMachineInput::Bytes => self.dead_at = None,
            ClientMachineInput::Frame(frame) => self.frame(now, frame),
            ClientMachineInput::Garbage => self.drop_connection(now, "the server sent something that is no frame"),
            ClientMachineInput::Order(order) => self.order(now, order),
        }
    }

    /// Handles the passing of time.
    pub(super) fn tick(&mut self, now: u64) {
        for (ticket, error) in self.requests.take_expired(now) {
            self.out.push(ClientMachineOutput::Done(ticket, Err(error)));
        }
        match self.phase {
            ClientPhase::Waiting { until } if now >= until => {
                self.phase = ClientPhase::Connecting;
                self.out.push(ClientMachineOutput::Connect);
            }
            ClientPhase::LoggingIn { until, .. } if now >= until => {
                self.drop_connection(now, "the server did not answer the log-in");
            }
            // No frame followed: the reason is the usual one.
            ClientPhase::Refused { with, until } if now >= until => self.on_wrong_credential(now, with),
            ClientPhase::Online { .. } => self.online_tick(now),
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
        self.out.push(ClientMachineOutput::Send(frames::heartbeat(&id)));
    }

    /// The latest time at which [`ClientMachine::tick`] must be called.
    pub(super) fn deadline(&self) -> Option<u64> {
        let phase = match self.phase {
            ClientPhase::Waiting { until }
            | ClientPhase::LoggingIn { until, .. }
            | ClientPhase::Refused { until, .. } => Some(until),
            ClientPhase::Online { .. } => Some(self.dead_at.map_or(self.beat_at, |at| at.min(self.beat_at))),
            ClientPhase::Connecting | ClientPhase::Ended => None,
        };
        let requests = self.requests.deadline(matches!(self.phase, ClientPhase::Online { .. }));
        phase.into_iter().chain(requests).min()
    }

    /// Is a reply expected (to a log-in or a request), which must be read even if the program takes
    /// no pushes?
    pub(super) fn waits_for_answer(&self) -> bool {
        !matches!(self.phase, ClientPhase::Online { .. }) || self.requests.has_written()
    }

    /// The driver reads nothing at present, so silence does not mean that the connection is lost.
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
            None => self.end(ClientEndReason::WrongPassword),
        }
    }

    /// Drops the present connection.
    fn drop_connection(&mut self, now: u64, why: &str) {
        self.out.push(ClientMachineOutput::Disconnect);
        self.on_lost(now, why.to_owned(), 0);
    }

    fn on_lost(&mut self, now: u64, reason: String, least_ms: u64) {
        if let ClientPhase::Online { since } = self.phase
            && now.saturating_sub(since) >= GOOD_MS
        {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.suspect = None;
        self.dead_at = None;
        for (ticket, error) in self.requests.on_connection_lost() {
            self.out.push(ClientMachineOutput::Done(ticket, Err(error)));
        }
        let delay = self.rules.backoff.delay_ms(self.failures, least_ms, &mut self.jitter);
        self.phase = ClientPhase::Waiting { until: now.saturating_add(delay) };
        self.out.push(ClientMachineOutput::Connection(ConnectionToServerState::Offline {
            reason,
            retry_in: Duration::from_millis(delay),
        }));
    }

    fn end(&mut self, end: ClientEndReason) {
        if self.is_ended() {
            return;
        }
        self.phase = ClientPhase::Ended;
        for ticket in self.requests.take_all() {
            self.out.push(ClientMachineOutput::Done(ticket, Err(Error::Ended(end.clone()))));
        }
        self.out.push(ClientMachineOutput::Disconnect);
        self.out.push(ClientMachineOutput::Connection(ConnectionToServerState::Ended(end)));
    }

    fn order(&mut self, now: u64, order: ProgramOrderToClientMachine) {
        match order {
            ProgramOrderToClientMachine::Watch => self.watch = true,
            ProgramOrderToClientMachine::Password(_) => self.has_new_password = true,
            ProgramOrderToClientMachine::PasswordChanged(done) => {
                self.has_new_password = false;
                self.out.push(ClientMachineOutput::PasswordIs(if done {
                    ClientCredentialChoice::NewPassword
                } else {
                    ClientCredentialChoice::Password
                }));
                if done {
                    self.has_password = true;
                    // The server has invalidated all tokens.
                    self.has_token = false;
                    self.ask_for_token(now);
                }
            }
            ProgramOrderToClientMachine::RemoveToken => {
                (self.has_token, self.wants_token) = (false, false);
                self.out.push(ClientMachineOutput::RemoveToken);
            }
            ProgramOrderToClientMachine::End(end) => self.end(end),
        }
    }

    fn frame(&mut self, now: u64, frame: ServerFrame) {
        // The frame after an LF or MF either gives the reason, or the reason is the usual one.
        if let ClientPhase::Refused { with, .. } = self.phase {
            return self.log_in_refused(now, with, &frame);
        }
        if let Some(suspect) = self.suspect.take() {
            match &frame {
                ServerFrame::Error { id, refusal } if *id == suspect.id => return self.error(now, id, refusal),
                _ => self.finish(suspect.serial, Err(Error::NotFriends)),
            }
        }
        match frame {
            ServerFrame::Error { id, refusal } if id.is_empty() => self.told(now, &refusal),
            ServerFrame::Error { id, refusal } => self.error(now, &id, &refusal),
            ServerFrame::Reply { kind, id, content } => match self.phase {
                ClientPhase::LoggingIn { with, .. } => self.log_in_reply(now, with, &kind, &content),
                _ => self.reply(now, &kind, &id, &content),
            },
            ServerFrame::Push(push) => self.push(push),
            ServerFrame::Presence { user_name, online } => {
                self.out.push(ClientMachineOutput::Presence(user_name, online))
            }
            ServerFrame::Other => {}
        }
    }

    /// Handles an error of the server that concerns the whole connection.
    fn told(&mut self, now: u64, refusal: &ServerRefusal) {
        let text = refusal.text.clone();
        match refusal.code {
            Some(ErrorCode::Replaced) => self.end(ClientEndReason::Replaced),
            Some(ErrorCode::Forbidden) => self.end(ClientEndReason::Forbidden(text)),
            Some(ErrorCode::ShuttingDown) => self.go(now, text, SHUTTING_DOWN_MS),
            Some(ErrorCode::RateLimited) => self.go(now, text, LIMITED_MS),
            Some(ErrorCode::Idle | ErrorCode::Unavailable) => self.go(now, text, 0),
            Some(ErrorCode::TooLarge) => {
                if let Some(serial) = self.requests.largest_written() {
                    self.finish(serial, Err(Error::Refused(refusal.clone())));
                }
                // A server issued this token, but this server rejects it as too large: it is not
                // sent again.
                if matches!(self.phase, ClientPhase::LoggingIn { with: ClientCredentialChoice::Token, .. }) {
                    self.has_token = false;
                }
                self.go(now, text, 0);
            }
            _ => {}
        }
    }

    fn go(&mut self, now: u64, why: String, least_ms: u64) {
        self.out.push(ClientMachineOutput::Disconnect);
        self.on_lost(now, why, least_ms);
    }

    fn push(&mut self, push: Push) {
        let key = push.key();
        if self.seen.contains(&key) {
            self.out.push(ClientMachineOutput::AckAgain(frames::ack(&push.message_id, &push.sender)));
        } else if self.in_hand.insert(key) {
            self.out.push(ClientMachineOutput::Push(push));
        }
    }

    fn done_with(&mut self, key: PushDedupKey, message_id: &str, sender: &str, acked: bool) {
        self.in_hand.remove(&key);
        if !acked {
            return;
        }
        self.seen.insert(key);
        if matches!(self.phase, ClientPhase::Online { .. }) {
            self.out.push(ClientMachineOutput::Send(frames::ack(message_id, sender)));
        }
    }
}
