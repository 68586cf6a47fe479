//! The codes of `RE_ERROR`.

/// The code of an `RE_ERROR` frame: the word before the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The input is no JSON object, or not JSON at all.
    BadJson,
    /// CONTENT does not fit its TYPE, or a field is not valid.
    BadField,
    /// TYPE is not known.
    UnknownType,
    /// The envelope is larger than the server takes. The connection is closed after it.
    TooLarge,
    /// The request needs a log-in.
    NotLoggedIn,
    /// The client may not do this: for example, the sender is another user.
    Forbidden,
    /// The user to be asked or blocked does not exist.
    NoSuchUser,
    /// An answer to a friend request that is not pending.
    NoSuchRequest,
    /// More than the server accepts from one client.
    RateLimited,
    /// The store did not do it, or not in time: nothing is promised; the client should try again.
    Unavailable,
    /// The receiver's mailbox, or this sender's share of it, has no room: nothing is promised.
    Full,
    /// The client was idle for too long. The connection is closed after it.
    Idle,
    /// The same user logged in on another connection. The connection is closed after it.
    Replaced,
    /// The server stops. The connection is closed after it.
    ShuttingDown,
}

/// All codes, for reading them back.
const ALL: [ErrorCode; 14] = [
    ErrorCode::BadJson,
    ErrorCode::BadField,
    ErrorCode::UnknownType,
    ErrorCode::TooLarge,
    ErrorCode::NotLoggedIn,
    ErrorCode::Forbidden,
    ErrorCode::NoSuchUser,
    ErrorCode::NoSuchRequest,
    ErrorCode::RateLimited,
    ErrorCode::Unavailable,
    ErrorCode::Full,
    ErrorCode::Idle,
    ErrorCode::Replaced,
    ErrorCode::ShuttingDown,
];

impl ErrorCode {
    /// The code with this text on the wire, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// The code's text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "BAD_JSON",
            Self::BadField => "BAD_FIELD",
            Self::UnknownType => "UNKNOWN_TYPE",
            Self::TooLarge => "TOO_LARGE",
            Self::NotLoggedIn => "NOT_LOGGED_IN",
            Self::Forbidden => "FORBIDDEN",
            Self::NoSuchUser => "NO_SUCH_USER",
            Self::NoSuchRequest => "NO_SUCH_REQUEST",
            Self::RateLimited => "RATE_LIMITED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Full => "FULL",
            Self::Idle => "IDLE",
            Self::Replaced => "REPLACED",
            Self::ShuttingDown => "SHUTTING_DOWN",
        }
    }
}
