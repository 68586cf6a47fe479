//! A sign-up, on a connection of its own.

use super::error::{Error, ServerRefusal};
use super::frames::{self, ServerFrame};
use super::link::{ClientTransport, ClientTransportReadResult, SOCKET};
use super::options::ClientOptions;
use super::profile::UserProfile;
use super::tls;
use crate::protocol::error::ErrorCode;
use mio::{Events, Poll};
use std::time::Instant;

/// Creates an account with the user and the password of the options, and with the other fields of
/// the profile (its `user_name` is ignored). Every user who is logged in can read the profile.
///
/// # Errors
/// [`Error::NameTaken`]; [`Error::Refused`]: BAD_FIELD says what is wrong with the name,
/// RATE_LIMITED means to try later; after [`Error::TimedOut`] the account may exist: try to log in.
pub fn sign_up(options: &ClientOptions, profile: &UserProfile) -> Result<(), Error> {
    let target = options.target()?;
    let tls = target.tls.then(|| tls::config(options.ca_file.as_deref())).transpose()?;
    let Some(hash) = options.password.hash(&options.user) else {
        return Err(Error::Setting("a sign-up needs a password".to_owned()));
    };
    let profile = UserProfile { user_name: options.user.clone(), ..profile.clone() };
    let request = frames::sign_up("sign-up", &profile, &hash);
    if request.len() > options.frame_bytes_max {
        return Err(Error::TooLarge { bytes: request.len(), max: options.frame_bytes_max });
    }
    let until = Instant::now() + options.request_limit.min(options.answer_limit * 2);
    let mut link = ClientTransport::open(&target, tls.as_ref(), options.answer_limit, options.answer_bytes_max)
        .map_err(Error::Unreachable)?;
    let io = |error: std::io::Error| Error::Setting(format!("no poll: {error}"));
    let mut poll = Poll::new().map_err(io)?;
    let mut events = Events::with_capacity(16);
    link.register(poll.registry()).map_err(io)?;
    link.send(&request);
    let mut verdict = ClientSignUpProgress::default();
    loop {
        link.flush().map_err(Error::Unreachable)?;
        let mut texts = Vec::new();
        let progress = link.read(&mut texts);
        for text in texts {
            let frame = ServerFrame::read(&text).ok_or_else(|| Error::BadAnswer("no frame".to_owned()))?;
            if let Some(result) = verdict.handle_frame(&frame) {
                return result;
            }
            if verdict.must_send_heartbeat() {
                link.send(&frames::heartbeat("why"));
            }
        }
        // The limit holds also while bytes arrive: a server that sends without end has not
        // answered.
        let left = until.saturating_duration_since(Instant::now());
        match progress {
            ClientTransportReadResult::Over(_) if verdict.failed => return Err(Error::NameTaken),
            // The request may have been written, and its answer lost.
            ClientTransportReadResult::Over(_) => return Err(Error::Unknown),
            _ if left.is_zero() => return Err(if verdict.failed { Error::NameTaken } else { Error::TimedOut }),
            ClientTransportReadResult::Some => continue,
            ClientTransportReadResult::Nothing => link.flush().map_err(Error::Unreachable)?,
        }
        if let Err(error) = poll.poll(&mut events, Some(left))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(io(error));
        }
        debug_assert!(events.iter().all(|event| event.token() == SOCKET));
    }
}

/// The result of a sign-up, from the frames of the server.
#[derive(Debug, Default)]
struct ClientSignUpProgress {
    /// `SF` has arrived: the next frame says the reason, or the name is taken.
    failed: bool,
    has_asked: bool,
}

impl ClientSignUpProgress {
    fn handle_frame(&mut self, frame: &ServerFrame) -> Option<Result<(), Error>> {
        match frame {
            ServerFrame::Reply { kind, content, .. } if kind == "RE_SIGNUP" && !self.failed => match content.as_str() {
                Some("SS") => Some(Ok(())),
                _ => {
                    self.failed = true;
                    None
                }
            },
            ServerFrame::Error { refusal, .. } if refusal.code == Some(ErrorCode::NotLoggedIn) => {
                self.failed.then_some(Err(Error::NameTaken))
            }
            ServerFrame::Error { refusal, .. } => Some(Err(Error::Refused(ServerRefusal::clone(refusal)))),
            _ => self.failed.then_some(Err(Error::NameTaken)),
        }
    }

    /// Is a heartbeat to be sent now? Only once. Its answer, of any kind, arrives after the frame
    /// that gives the reason, if there is one.
    fn must_send_heartbeat(&mut self) -> bool {
        self.failed && !std::mem::replace(&mut self.has_asked, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: &str, content: &str) -> ServerFrame {
        let content = serde_json::json!({"MessageId": "sign-up", "Content": content});
        ServerFrame::read(&serde_json::json!({"TYPE": kind, "CONTENT": content}).to_string()).unwrap()
    }

    #[test]
    fn the_frame_behind_a_failure_says_why() {
        let failed = || {
            let mut verdict = ClientSignUpProgress::default();
            assert_eq!(verdict.handle_frame(&frame("RE_SIGNUP", "SF")), None);
            assert!(verdict.must_send_heartbeat() && !verdict.must_send_heartbeat());
            verdict
        };
        assert_eq!(ClientSignUpProgress::default().handle_frame(&frame("RE_SIGNUP", "SS")), Some(Ok(())));
        assert_eq!(
            failed().handle_frame(&frame("RE_ERROR", "NOT_LOGGED_IN: log in first")),
            Some(Err(Error::NameTaken))
        );
        assert_eq!(failed().handle_frame(&frame("RE_HEARTBEAT", "1")), Some(Err(Error::NameTaken)));
        let said = failed().handle_frame(&frame("RE_ERROR", "BAD_FIELD: the name system is reserved"));
        assert!(matches!(said, Some(Err(Error::Refused(refusal))) if refusal.code == Some(ErrorCode::BadField)));
    }
}
