//! The codes of `RE_ERROR`.

/// The code of an `RE_ERROR` frame: the word before the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The input is no JSON object, or not JSON at all.
    BadJson,
    /// CONTENT is not what its TYPE needs.
    BadField,
    /// TYPE is not known.
    UnknownType,
    /// The envelope is larger than the server takes. The connection is closed after it.
    TooLarge,
    /// The request needs a log-in.
    NotLoggedIn,
    /// Somebody tried to speak for another.
    Forbidden,
    /// A friend request to nobody.
    NoSuchUser,
    /// An answer to a friend request that is not pending.
    NoSuchRequest,
    /// More than the server takes of one client.
    RateLimited,
    /// The store did not do it, or not in time: nothing was promised, try again.
    Unavailable,
    /// The receiver, or this sender's share of what waits there, has no room: nothing was promised.
    Full,
    /// Nothing was heard of the client for too long. The connection is closed after it.
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
    /// The code that stands on the wire, if it is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// The code as it stands on the wire.
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
