//! Server frames: what answers a request or tells a client something, and how it is written.
//!
//! Frames are written compactly, keys in the order of the protocol page, into the caller's buffer, without a line end:
//! the wire adds its own framing.

use super::error::ErrorCode;
use super::field::Profile;
use super::push::Push;
use super::request::Spelling;
use std::sync::Arc;

/// The id a reply names.
#[derive(Clone, Debug)]
pub enum ReplyId {
    /// The request had none, or it could not be read.
    Empty,
    /// The request's own.
    Text(Box<str>),
    /// That of a push (which the answer to a message names): no copy is made.
    OfPush(Arc<Push>),
}

impl ReplyId {
    /// The id itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::Text(text) => text,
            Self::OfPush(push) => push.id(),
        }
    }
}

/// What a reply says.
#[derive(Clone, Debug)]
pub enum Reply {
    /// RE_SIGNUP: `SS` or `SF`.
    SignUp {
        /// Done?
        done: bool,
    },
    /// RE_SIGNUP: `LS` or `LF`.
    Login {
        /// Done?
        done: bool,
    },
    /// RE_GETUSER_SUC.
    Profile(Box<Profile>),
    /// RE_GETUSER_FAILED: `User could not be found`.
    NoSuchProfile,
    /// RE_MESSAGE: `MS` or `MF`.
    Message {
        /// Taken, and safe from now on?
        taken: bool,
    },
    /// RE_FRI_REQ.
    Friend {
        /// The server's time in ms since the epoch.
        time_ms: u64,
    },
    /// RE_HEARTBEAT.
    Heartbeat {
        /// The server's time in ms since the epoch.
        time_ms: u64,
    },
    /// RE_ERROR: `CODE: sentence`.
    Error {
        /// The code.
        code: ErrorCode,
        /// The sentence, without code and full stop; the writer adds neither a full stop.
        why: &'static str,
    },
}

/// Appends one reply frame to `out`, without a line end.
pub fn write_reply(out: &mut Vec<u8>, spelling: Spelling, id: &str, reply: &Reply) {
    let _ = (out, spelling, id, reply);
}

/// Appends one push frame (TYPE 4 or 6) to `out`, without a line end.
pub fn write_push(out: &mut Vec<u8>, spelling: Spelling, push: &Push) {
    let _ = (out, spelling, push);
}
