//! Why the core closes a connection.

/// Why a connection was closed. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Silent for longer than the idle time-out.
    Idle,
    /// The same user logged in elsewhere.
    Replaced,
    /// Too many bad inputs in a row.
    Garbage,
    /// An envelope larger than allowed.
    TooLarge,
    /// It went on trying passwords, tokens or sign-ups that were refused.
    TooManyTries,
    /// More requests than allowed.
    TooFast,
    /// The operator ended it, or the account on it.
    ByOperator,
    /// Its user has deleted their account.
    AccountDeleted,
    /// The server stops.
    ShuttingDown,
}
