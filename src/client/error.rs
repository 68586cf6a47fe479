//! What can go wrong, and what a program should do about it.

use crate::protocol::error::ErrorCode;
use std::fmt;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An option, a name or an address cannot be used.
    Setting(String),
    /// No connection, or no answer to the log-in, within the limit; the last reason.
    Unreachable(String),
    /// The client has stopped for good.
    Ended(End),
    /// The name is taken (sign-up).
    NameTaken,
    /// The receiver is no friend, or there is no such user: the server does not tell which.
    NotFriends,
    /// The server refused this request.
    Refused(Refusal),
    /// The request is larger than the server takes; it was not sent.
    TooLarge {
        /// The size of its envelope.
        bytes: usize,
        /// What the server takes ([`Options::frame_bytes_max`](super::Options::frame_bytes_max)).
        max: usize,
    },
    /// No answer within the limit. It was not promised, but it may have been done, or be done yet.
    /// A message can be sent again under the same id.
    TimedOut,
    /// The connection was lost before the answer to a request that must not be sent twice (a new
    /// password, a deletion). It may have been done.
    Unknown,
    /// Too many requests wait for their answers
    /// ([`Options::requests_max`](super::Options::requests_max)).
    Busy,
    /// The server's answer made no sense.
    BadAnswer(String),
    /// The resume token could not be kept or removed.
    Token(String),
}

/// An RE_ERROR of the server about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code; `None` for one that this library does not know.
    pub code: Option<ErrorCode>,
    /// The whole text, code included: for people.
    pub text: String,
}

/// Why a client has stopped for good. It does not connect again by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The user logged in elsewhere. Two clients that came back by themselves would replace each
    /// other for ever: ask the user.
    Replaced,
    /// The name or the password is wrong, or the password was changed.
    WrongPassword,
    /// The operator banned or deleted the account or gave it another password; the server's
    /// sentence.
    Forbidden(String),
    /// The account was deleted, as the user asked.
    Deleted,
    /// The program closed it.
    Closed,
    /// The server did what no server of this protocol does, or the client has a fault.
    Fault(String),
}

/// What a program should do, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhatToDo {
    /// Fix the program: the request can never be taken.
    FixTheClient,
    /// Change the request (shorten it, correct a field); unchanged it is refused again.
    ChangeTheRequest,
    /// Log in first.
    LogIn,
    /// Ask the user: for another name, for the password, or whether to go on here.
    AskTheUser,
    /// Take it off the screen, and do not repeat it.
    ForgetIt,
    /// Do less, and try again after seconds to a minute.
    SlowDown,
    /// Try again under the same id: after 1 s, then 2 s, 4 s, … up to a minute. The library has
    /// done so until its limit.
    TryAgain,
    /// Try again under the same id, after minutes; tell the user.
    TryLater,
    /// Connect again. The library does so by itself.
    Reconnect,
    /// Show the sentence and stop. Only the operator can help.
    Stop,
}

impl WhatToDo {
    /// The advice for a code of RE_ERROR (docs/protocol.md §4). `None`: an unknown code.
    #[must_use]
    pub fn about(code: Option<ErrorCode>) -> Self {
        match code {
            Some(ErrorCode::BadJson | ErrorCode::UnknownType) => Self::FixTheClient,
            Some(ErrorCode::BadField | ErrorCode::TooLarge) => Self::ChangeTheRequest,
            Some(ErrorCode::NotLoggedIn) => Self::LogIn,
            Some(ErrorCode::Forbidden) | None => Self::Stop,
            Some(ErrorCode::NoSuchUser | ErrorCode::Replaced) => Self::AskTheUser,
            Some(ErrorCode::NoSuchRequest) => Self::ForgetIt,
            Some(ErrorCode::RateLimited) => Self::SlowDown,
            Some(ErrorCode::Unavailable) => Self::TryAgain,
            Some(ErrorCode::Full) => Self::TryLater,
            Some(ErrorCode::Idle | ErrorCode::ShuttingDown) => Self::Reconnect,
        }
    }
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn what_to_do(&self) -> WhatToDo {
        match self {
            Self::Setting(_) => WhatToDo::FixTheClient,
            Self::Unreachable(_) | Self::TimedOut => WhatToDo::TryAgain,
            Self::Ended(End::Replaced | End::WrongPassword) | Self::NameTaken | Self::NotFriends | Self::Unknown => {
                WhatToDo::AskTheUser
            }
            Self::Ended(_) | Self::BadAnswer(_) | Self::Token(_) => WhatToDo::Stop,
            Self::Refused(refusal) => WhatToDo::about(refusal.code),
            Self::TooLarge { .. } => WhatToDo::ChangeTheRequest,
            Self::Busy => WhatToDo::SlowDown,
        }
    }
}

impl Error {
    /// Was it perhaps done, although nothing was promised?
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Unknown | Self::TimedOut | Self::BadAnswer(_) | Self::Ended(_) => true,
            Self::Refused(refusal) => matches!(refusal.code, Some(ErrorCode::Unavailable | ErrorCode::ShuttingDown)),
            _ => false,
        }
    }
}

impl Refusal {
    /// Reads `CODE: sentence`.
    pub(super) fn read(text: &str) -> Self {
        let code = text.split_once(':').map_or(text, |(code, _)| code);
        Self { code: ErrorCode::from_text(code), text: text.to_owned() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(why) => f.write_str(why),
            Self::Unreachable(why) => write!(f, "the server cannot be reached: {why}"),
            Self::Ended(end) => end.fmt(f),
            Self::NameTaken => f.write_str("this name is taken"),
            Self::NotFriends => f.write_str("the receiver is not a friend, or there is no such user"),
            Self::Refused(refusal) => f.write_str(&refusal.text),
            Self::TooLarge { bytes, max } => write!(f, "it has {bytes} bytes, and the server takes {max}"),
            Self::TimedOut => f.write_str("the server did not answer in time; it may have been done"),
            Self::Unknown => f.write_str("the connection was lost before the answer; it may have been done"),
            Self::Busy => f.write_str("too many requests wait for their answers"),
            Self::BadAnswer(why) => write!(f, "the server's answer makes no sense: {why}"),
            Self::Token(why) => write!(f, "the resume token cannot be kept: {why}"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced => f.write_str("the user logged in elsewhere"),
            Self::WrongPassword => f.write_str("the name or the password is wrong, or the password was changed"),
            Self::Forbidden(sentence) | Self::Fault(sentence) => f.write_str(sentence),
            Self::Deleted => f.write_str("the account was deleted"),
            Self::Closed => f.write_str("the client was closed"),
        }
    }
}

impl std::error::Error for Error {}
