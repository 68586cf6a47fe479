//! Why the core closes a connection.

/// Why a connection was closed. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoreCloseCause {
    /// Silent for longer than the idle time-out.
    Idle,
    /// The same user logged in elsewhere.
    Replaced,
    /// Too many inputs in a row that were not JSON objects.
    Garbage,
    /// An envelope larger than allowed.
    TooLarge,
    /// It kept trying passwords, tokens or sign-ups after they were refused.
    TooManyTries,
    /// More requests than allowed.
    TooFast,
    /// The operator ended the connection, or banned or deleted the account.
    ByOperator,
    /// Its user has deleted their account.
    AccountDeleted,
    /// The server stops.
    ShuttingDown,
}
