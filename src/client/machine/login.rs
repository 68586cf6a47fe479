//! The log-in: with a token if there is one, otherwise with the password; and what follows when it
//! is refused and when it succeeds.

use super::{ClientCredentialChoice, ClientMachine, ClientMachineOutput, ClientPhase, LIMITED_MS};
use crate::client::connection_state::ConnectionToServerState;
use crate::client::error::{ClientEndReason, ServerRefusal};
use crate::client::frames::{self, OutgoingClientRequestFrame, ServerFrame};
use crate::protocol::error::ErrorCode;
use serde_json::Value;

impl ClientMachine {
    /// The credentials that can be tried, in this order.
    pub(super) fn credentials(&self) -> Vec<ClientCredentialChoice> {
        let all = [
            (self.has_token, ClientCredentialChoice::Token),
            (self.has_new_password, ClientCredentialChoice::NewPassword),
            (self.has_password, ClientCredentialChoice::Password),
        ];
        all.into_iter().filter_map(|(has, with)| has.then_some(with)).collect()
    }

    pub(super) fn log_in(&mut self, now: u64, with: ClientCredentialChoice) {
        // The server answers within 10 s; a queue in front of it may take as long again.
        self.phase = ClientPhase::LoggingIn { with, until: now + 2 * self.rules.answer_ms };
        self.out.push(ClientMachineOutput::LogIn(with));
    }

    pub(super) fn log_in_reply(&mut self, now: u64, with: ClientCredentialChoice, kind: &str, content: &Value) {
        match (kind, content.as_str()) {
            ("RE_SIGNUP", Some("LS")) => self.on_logged_in(now, with),
            ("RE_SIGNUP", Some("LF")) => {
                self.phase = ClientPhase::Refused { with, until: now + self.rules.answer_ms };
                // The answer to this heartbeat arrives after the frame that gives the reason, if
                // there is one.
                let id = self.own_id();
                self.out.push(ClientMachineOutput::Send(frames::heartbeat(&id)));
            }
            // A frame that belongs to an earlier log-in on this connection, or that was not
            // requested.
            _ => {}
        }
    }

    /// Handles the frame after an `LF`.
    pub(super) fn log_in_refused(&mut self, now: u64, with: ClientCredentialChoice, frame: &ServerFrame) {
        match frame {
            ServerFrame::Error { refusal, .. } => match refusal.code {
                // The answer to the heartbeat: no reason came before it.
                Some(ErrorCode::NotLoggedIn) => self.on_wrong_credential(now, with),
                _ => self.on_login_refused(now, refusal),
            },
            _ => self.on_wrong_credential(now, with),
        }
    }

    fn on_login_refused(&mut self, now: u64, refusal: &ServerRefusal) {
        let text = refusal.text.clone();
        match refusal.code {
            Some(ErrorCode::Forbidden) => self.end(ClientEndReason::Forbidden(text)),
            Some(ErrorCode::BadField | ErrorCode::BadJson | ErrorCode::UnknownType) => {
                self.end(ClientEndReason::Fault(text))
            }
            Some(ErrorCode::RateLimited) => self.go(now, text, LIMITED_MS),
            _ => self.go(now, text, 0),
        }
    }

    /// This credential was refused: tries the next one.
    pub(super) fn on_wrong_credential(&mut self, now: u64, with: ClientCredentialChoice) {
        let all = self.credentials();
        let next = all.iter().position(|it| *it == with).and_then(|at| all.get(at + 1)).copied();
        if with == ClientCredentialChoice::Token {
            self.has_token = false;
        }
        match next {
            Some(with) => self.log_in(now, with),
            None => self.end(ClientEndReason::WrongPassword),
        }
    }

    fn on_logged_in(&mut self, now: u64, with: ClientCredentialChoice) {
        self.phase = ClientPhase::Online { since: now };
        self.beat_at = now + self.rules.heartbeat_ms;
        self.dead_at = None;
        self.out.push(ClientMachineOutput::Connection(ConnectionToServerState::Online));
        match with {
            ClientCredentialChoice::Token => {}
            ClientCredentialChoice::Password => self.ask_for_token(now),
            ClientCredentialChoice::NewPassword => {
                self.has_new_password = false;
                self.has_password = true;
                self.out.push(ClientMachineOutput::PasswordIs(ClientCredentialChoice::NewPassword));
                self.ask_for_token(now);
            }
        }
        if self.watch {
            self.watch_again(now, None);
        }
        self.write_requests(now);
    }

    /// Requests a token for the next log-in.
    pub(super) fn ask_for_token(&mut self, now: u64) {
        if self.wants_token && matches!(self.phase, ClientPhase::Online { .. }) {
            let id = self.own_id();
            let request = OutgoingClientRequestFrame::word("TOKEN", &id, &serde_json::json!({"want": "new"}));
            self.requests.add_own(request.not_repeatable(), now + self.rules.request_ms);
            self.write_requests(now);
        }
    }

    /// Subscribes to presence again on a new connection, and asks which friends are online now.
    pub(super) fn watch_again(&mut self, now: u64, after: Option<&str>) {
        let id = self.own_id();
        self.requests.add_own(
            OutgoingClientRequestFrame::roster(&id, after, true).not_repeatable(),
            now + self.rules.request_ms,
        );
    }
}
