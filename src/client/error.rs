//! The errors of the library, and what a program should do about each.

use crate::protocol::error::ErrorCode;
use std::fmt;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An option, a name or an address cannot be used.
    Setting(String),
    /// No connection, or no answer to the log-in, within the limit; holds the reason of the last
    /// failure.
    Unreachable(String),
    /// The client has stopped for good.
    Ended(ClientEndReason),
    /// The name is taken (sign-up).
    NameTaken,
    /// The receiver is not a friend, or there is no such user: the server does not say which.
    NotFriends,
    /// The server refused this request.
    Refused(ServerRefusal),
    /// The request is larger than the server accepts; it was not sent.
    TooLarge {
        /// The size of its envelope.
        bytes: usize,
        /// The limit of the server
        /// ([`ClientOptions::frame_bytes_max`](super::ClientOptions::frame_bytes_max)).
        max: usize,
    },
    /// No answer within the limit. The server did not confirm the request, but it may have been
    /// executed, or may still be executed. A message can be sent again under the same id.
    TimedOut,
    /// The connection was lost before the answer to a request that must not be sent twice (a new
    /// password, a deletion). The request may have been executed.
    Unknown,
    /// Too many requests are waiting for their answers
    /// ([`ClientOptions::requests_max`](super::ClientOptions::requests_max)).
    Busy,
    /// The server's answer does not follow the protocol.
    BadAnswer(String),
    /// The resume token could not be stored or removed.
    Token(String),
}

/// An RE_ERROR of the server about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRefusal {
    /// The code; `None` if this library does not know it.
    pub code: Option<ErrorCode>,
    /// The whole text, code included: for people.
    pub text: String,
}

/// Why a client has stopped for good. It does not connect again by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEndReason {
    /// The user logged in elsewhere. Two clients that reconnect automatically would replace each
    /// other for ever, so ask the user first.
    Replaced,
    /// The name or the password is wrong, or the password was changed.
    WrongPassword,
    /// The operator banned or deleted the account, or set another password; holds the server's
    /// sentence.
    Forbidden(String),
    /// The account was deleted at the user's request.
    Deleted,
    /// The program closed it.
    Closed,
    /// The server violated the protocol, or the client has a bug.
    Fault(String),
}

/// The action that a program should take, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecommendedAction {
    /// Fix the program: the server can never accept this request.
    FixTheClient,
    /// Change the request (shorten it, correct a field); unchanged it is refused again.
    ChangeTheRequest,
    /// Log in first.
    LogIn,
    /// Ask the user: for another name, for the password, or whether to continue on this device.
    AskTheUser,
    /// Remove the item from the screen, and do not repeat the request.
    ForgetIt,
    /// Send fewer requests, and try again after some seconds, up to a minute.
    SlowDown,
    /// Try again under the same id: after 1 s, then 2 s, 4 s, … up to a minute. The library has
    /// already done so until its limit.
    TryAgain,
    /// Try again under the same id, after minutes; tell the user.
    TryLater,
    /// Connect again. The library does so by itself.
    Reconnect,
    /// Show the sentence and stop. Only the operator can help.
    Stop,
}

impl RecommendedAction {
    /// The advice for a code of RE_ERROR (docs/protocol.md §4). `None`: an unknown code.
    #[must_use]
    pub fn for_code(code: Option<ErrorCode>) -> Self {
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
    /// The recommended reaction to it.
    #[must_use]
    pub fn recommended_action(&self) -> RecommendedAction {
        match self {
            Self::Setting(_) => RecommendedAction::FixTheClient,
            Self::Unreachable(_) | Self::TimedOut => RecommendedAction::TryAgain,
            Self::Ended(ClientEndReason::Replaced | ClientEndReason::WrongPassword)
            | Self::NameTaken
            | Self::NotFriends
            | Self::Unknown => RecommendedAction::AskTheUser,
            Self::Ended(_) | Self::BadAnswer(_) | Self::Token(_) => RecommendedAction::Stop,
            Self::Refused(refusal) => RecommendedAction::for_code(refusal.code),
            Self::TooLarge { .. } => RecommendedAction::ChangeTheRequest,
            Self::Busy => RecommendedAction::SlowDown,
        }
    }
}

impl Error {
    /// Could the request have been executed, although the server did not confirm it?
    #[must_use]
    pub fn may_have_been_executed(&self) -> bool {
        match self {
            Self::Unknown | Self::TimedOut | Self::BadAnswer(_) | Self::Ended(_) => true,
            Self::Refused(refusal) => matches!(refusal.code, Some(ErrorCode::Unavailable | ErrorCode::ShuttingDown)),
            _ => false,
        }
    }
}

impl ServerRefusal {
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

impl fmt::Display for ClientEndReason {
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
