//! Requests that are waiting for their answers. They are written when the user is online, written
//! again after a reconnect and when the server could not execute them, and given up when their time
//! is over.

use super::{ClientMachine, ClientMachineOutput, ClientMachineTicket, ClientPhase};
use crate::client::backoff::{Backoff, Jitter};
use crate::client::error::{ClientEndReason, Error, ServerRefusal};
use crate::client::frames::{self, ClientMachineRequestAnswer, OutgoingClientRequestFrame};
use crate::protocol::error::ErrorCode;
use serde_json::Value;

/// Identifies a request. Its id cannot, because the program chooses the ids.
pub(super) type ClientMachineRequestSerial = u64;

/// A request that is waiting.
#[derive(Debug)]
struct ClientUnansweredRequest {
    serial: ClientMachineRequestSerial,
    /// `None` for a request of the library itself.
    ticket: Option<ClientMachineTicket>,
    request: OutgoingClientRequestFrame,
    deadline_ms: u64,
    /// Has it been written on the present connection? It is not answered yet.
    is_written: bool,
    /// It is not written before this time.
    not_before_ms: u64,
    try_count: u32,
    /// The server's latest error for this request.
    refusal: Option<ServerRefusal>,
}

/// An `MF` whose reason may follow.
#[derive(Debug)]
pub(super) struct FailureAwaitingReason {
    pub(super) id: String,
    pub(super) serial: ClientMachineRequestSerial,
}

/// All waiting requests, in the order in which they were begun.
#[derive(Debug, Default)]
pub(super) struct ClientUnansweredRequests {
    all: Vec<ClientUnansweredRequest>,
    last_serial: ClientMachineRequestSerial,
}

impl ClientUnansweredRequests {
    fn add(&mut self, ticket: Option<ClientMachineTicket>, request: OutgoingClientRequestFrame, deadline_ms: u64) {
        self.last_serial += 1;
        let (serial, is_written, not_before_ms, try_count, refusal) = (self.last_serial, false, 0, 0, None);
        self.all.push(ClientUnansweredRequest {
            serial,
            ticket,
            request,
            deadline_ms,
            is_written,
            not_before_ms,
            try_count,
            refusal,
        });
    }

    /// Adds a request of the library itself. These are few, and are not repeated.
    pub(super) fn add_own(&mut self, request: OutgoingClientRequestFrame, until: u64) {
        self.add(None, request, until);
    }

    /// Removes and returns the requests whose time is over.
    pub(super) fn take_expired(&mut self, now: u64) -> Vec<(ClientMachineTicket, Error)> {
        let late = self.all.extract_if(.., |waiting| now >= waiting.deadline_ms);
        late.filter_map(|waiting| {
            let error = waiting.refusal.map_or(Error::TimedOut, Error::Refused);
            Some((waiting.ticket?, error))
        })
        .collect()
    }

    /// Removes and returns the requests that must not be written again; the others wait for the
    /// next connection.
    pub(super) fn on_connection_lost(&mut self) -> Vec<(ClientMachineTicket, Error)> {
        let lost: Vec<ClientUnansweredRequest> = self
            .all
            .extract_if(.., |waiting| {
                waiting.ticket.is_none() || (waiting.is_written && !waiting.request.is_repeatable)
            })
            .collect();
        self.all.iter_mut().for_each(|waiting| waiting.is_written = false);
        lost.into_iter().filter_map(|waiting| Some((waiting.ticket?, Error::Unknown))).collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<ClientMachineTicket> {
        self.all.drain(..).filter_map(|waiting| waiting.ticket).collect()
    }

    /// Is an answer of the server expected?
    pub(super) fn has_written(&self) -> bool {
        self.all.iter().any(|waiting| waiting.is_written)
    }

    /// The largest request that was written: it must be the one that was too large.
    pub(super) fn largest_written(&self) -> Option<ClientMachineRequestSerial> {
        let written = self.all.iter().filter(|waiting| waiting.is_written);
        written.max_by_key(|waiting| waiting.request.envelope.len()).map(|waiting| waiting.serial)
    }

    pub(super) fn deadline(&self, online: bool) -> Option<u64> {
        let retry = |waiting: &ClientUnansweredRequest| {
            (online && !waiting.is_written && waiting.not_before_ms > 0).then_some(waiting.not_before_ms)
        };
        self.all.iter().flat_map(|waiting| retry(waiting).into_iter().chain([waiting.deadline_ms])).min()
    }

    /// Returns what can be written now. Two requests with the same id are never written at the same
    /// time: their answers could not be told apart.
    fn write(&mut self, now: u64) -> Vec<String> {
        let mut lines = Vec::new();
        for at in 0..self.all.len() {
            let waiting = &self.all[at];
            let has_same_id =
                |other: &ClientUnansweredRequest| other.is_written && other.request.id == waiting.request.id;
            if waiting.is_written || now < waiting.not_before_ms {
                continue;
            }
            if self.all.iter().any(has_same_id) {
                // It becomes due when the other one ends, not at a time.
                self.all[at].not_before_ms = 0;
                continue;
            }
            lines.push(waiting.request.envelope.clone());
            self.all[at].is_written = true;
        }
        lines
    }

    fn find_written(&self, fits: impl Fn(&ClientUnansweredRequest) -> bool) -> Option<usize> {
        self.all.iter().position(|waiting| waiting.is_written && fits(waiting))
    }

    /// The server could not execute the request: it is tried again later.
    fn retry_later(&mut self, at: usize, now: u64, refusal: &ServerRefusal, backoff: Backoff, jitter: &mut Jitter) {
        let waiting = &mut self.all[at];
        waiting.is_written = false;
        waiting.try_count = waiting.try_count.saturating_add(1);
        waiting.refusal = Some(refusal.clone());
        // A random value from the whole delay up to one and a half times the delay.
        let delay = backoff.delay_ms(waiting.try_count.saturating_add(1), 0, jitter);
        waiting.not_before_ms = now.saturating_add(delay).max(1);
    }
}

impl ClientMachine {
    pub(super) fn begin(&mut self, now: u64, ticket: ClientMachineTicket, request: OutgoingClientRequestFrame) {
        if self.is_ended() {
            self.out.push(ClientMachineOutput::Done(ticket, Err(Error::Ended(ClientEndReason::Closed))));
            return;
        }
        self.requests.add(Some(ticket), request, now + self.rules.request_ms);
        self.write_requests(now);
    }

    pub(super) fn write_requests(&mut self, now: u64) {
        if matches!(self.phase, ClientPhase::Online { .. }) {
            self.out.extend(self.requests.write(now).into_iter().map(ClientMachineOutput::Send));
        }
    }

    /// Ends a request of the program, or of the library itself.
    pub(super) fn finish(
        &mut self,
        serial: ClientMachineRequestSerial,
        result: Result<ClientMachineRequestAnswer, Error>,
    ) {
        if let Some(at) = self.requests.find_written(|waiting| waiting.serial == serial)
            && let Some(ticket) = self.requests.all.remove(at).ticket
        {
            self.out.push(ClientMachineOutput::Done(ticket, result));
        }
    }

    pub(super) fn reply(&mut self, now: u64, kind: &str, id: &str, content: &Value) {
        let answers = |ClientUnansweredRequest { request, .. }: &ClientUnansweredRequest| {
            request.id == id
                && (request.answer == kind || (request.answer == "RE_GETUSER_SUC" && kind == "RE_GETUSER_FAILED"))
        };
        let Some(at) = self.requests.find_written(answers) else { return };
        if kind == "RE_MESSAGE" && content.as_str() != Some("MS") {
            self.suspect = Some(FailureAwaitingReason { id: id.to_owned(), serial: self.requests.all[at].serial });
            // The answer to this heartbeat arrives after the frame that gives the reason, if there
            // is one.
            let id = self.own_id();
            self.out.push(ClientMachineOutput::Send(frames::heartbeat(&id)));
            return;
        }
        let answer = ClientMachineRequestAnswer::read(kind, content);
        match self.requests.all.remove(at).ticket {
            Some(ticket) => self.out.push(ClientMachineOutput::Done(ticket, answer)),
            None => self.own_answer(now, answer),
        }
        // A request with the same id may have been waiting for this.
        self.write_requests(now);
    }

    /// Handles the answer to a request of the library itself.
    fn own_answer(&mut self, now: u64, answer: Result<ClientMachineRequestAnswer, Error>) {
        match answer {
            Ok(ClientMachineRequestAnswer::Text(token)) if self.wants_token && !token.is_empty() => {
                self.has_token = true;
                self.out.push(ClientMachineOutput::KeepToken(token));
            }
            Ok(ClientMachineRequestAnswer::Roster(page)) => {
                let last = page.friends.last().map(|friend| friend.user_name.clone());
                self.out.extend(
                    page.friends
                        .into_iter()
                        .map(|friend| ClientMachineOutput::Presence(friend.user_name, friend.online)),
                );
                if let Some(last) = last.filter(|_| page.more) {
                    self.watch_again(now, Some(&last));
                    self.write_requests(now);
                }
            }
            _ => {}
        }
    }

    /// Handles an RE_ERROR that has an id.
    pub(super) fn error(&mut self, now: u64, id: &str, refusal: &ServerRefusal) {
        if refusal.code == Some(ErrorCode::NotLoggedIn) {
            // The server no longer counts this connection as logged in; it has executed none of the
            // requests.
            return self.drop_connection(now, &refusal.text);
        }
        // Two requests with the same id are never written at the same time.
        let Some(at) = self.requests.find_written(|waiting| waiting.request.id == id) else { return };
        let request = &self.requests.all[at].request;
        let again = match refusal.code {
            // A server that is stopping has not executed it; the next server may.
            Some(ErrorCode::Unavailable | ErrorCode::ShuttingDown) => request.is_repeatable,
            Some(ErrorCode::RateLimited) => request.retry_when_limited,
            _ => false,
        };
        if again {
            self.requests.retry_later(at, now, refusal, self.rules.retry, &mut self.jitter);
        } else {
            self.finish(self.requests.all[at].serial, Err(Error::Refused(refusal.clone())));
        }
    }
}
