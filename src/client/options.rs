//! What a client is told before it starts.

use super::error::Error;
use super::password::hash_value;
use super::target::Target;
use super::token::TokenStore;
use crate::protocol::field::Name;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a user proves who they are, beside a resume token.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Password {
    /// None: the token must do.
    None,
    /// As the user types it. It is hashed when it is needed, which takes some tenths of a second.
    Plain(String),
    /// The `hashValue` itself.
    Hash(String),
}

impl Password {
    /// What stands in `hashValue` and `PASS`.
    pub(super) fn hash(&self, user: &str) -> Option<String> {
        match self {
            Self::None => None,
            Self::Plain(password) => Some(hash_value(user, password)),
            Self::Hash(hash) => Some(hash.clone()),
        }
    }
}

/// Where to connect, as whom, and the limits. Times and sizes that are not set have good values.
pub struct Options {
    pub(super) url: String,
    pub(super) user: String,
    pub(super) password: Password,
    pub(super) tokens: Option<Box<dyn TokenStore>>,
    pub(super) ca_file: Option<PathBuf>,
    /// How long [`Client::connect`](super::Client::connect) tries. 30 s.
    pub connect_limit: Duration,
    /// How long a request waits for its answer, over all its tries. 60 s.
    pub request_limit: Duration,
    /// Requests that may wait for their answers at a time. 256.
    pub requests_max: usize,
    /// Pushes that may wait for the program; while so many wait, no more are taken. 1,024.
    ///
    /// Nothing is read then, unless an answer is to come: pushes before it are dropped, and come
    /// again after 15 s, perhaps in another order. A server that sends at most 256 pushes ahead of
    /// their acks (the default of its `--page-max`) never gets that far.
    pub inbox_max: usize,
    /// The memory that these may take. 32 MiB.
    pub inbox_bytes_max: usize,
    /// Pushes that are remembered, so that duplicates are dropped. 8,192.
    pub seen_max: usize,
    /// The largest envelope that the server takes (its `--max-frame`). 64 KiB.
    pub frame_bytes_max: usize,
    /// The largest frame that is read. 1 MiB.
    pub answer_bytes_max: usize,
    /// The time between two heartbeats. 30 s.
    pub heartbeat_every: Duration,
    /// How long the server may take for a heartbeat or a log-in before the connection counts as
    /// lost. 10 s.
    pub answer_limit: Duration,
    /// The first delay before a new connection, about; each next one is twice as long. 2 s.
    pub backoff_first: Duration,
    /// The longest such delay. 60 s.
    pub backoff_max: Duration,
    /// How often a request that the server could not do is sent again at first. 1 s, then twice as
    /// long each time.
    pub retry_first: Duration,
}

impl Options {
    /// A server by its URL, and a user. The scheme is `tcp`, `tls` (raw, the first without
    /// encryption), `ws` or `wss` (WebSocket); the port is 1102 if there is none.
    #[must_use]
    pub fn new(url: &str, user: &str) -> Self {
        Self {
            url: url.to_owned(),
            user: user.to_owned(),
            password: Password::None,
            tokens: None,
            ca_file: None,
            connect_limit: Duration::from_secs(30),
            request_limit: Duration::from_secs(60),
            requests_max: 256,
            inbox_max: 1_024,
            inbox_bytes_max: 32 * 1024 * 1024,
            seen_max: 8_192,
            frame_bytes_max: 64 * 1024,
            answer_bytes_max: 1024 * 1024,
            heartbeat_every: Duration::from_secs(30),
            answer_limit: Duration::from_secs(10),
            backoff_first: Duration::from_secs(2),
            backoff_max: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
        }
    }

    /// The user's password, as they type it.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Password::Plain(password.to_owned());
        self
    }

    /// Instead of the password, its `hashValue` (see [`hash_value`]).
    #[must_use]
    pub fn password_hash(mut self, hash: &str) -> Self {
        self.password = Password::Hash(hash.to_owned());
        self
    }

    /// Where the resume token is kept. Without this the client keeps its token in memory, and logs
    /// in with the password when the program starts again.
    #[must_use]
    pub fn tokens(mut self, tokens: impl TokenStore + 'static) -> Self {
        self.tokens = Some(Box::new(tokens));
        self
    }

    /// A file of certificates (PEM) to trust for TLS, instead of those of the web.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Checks what can be checked before a connection.
    pub(super) fn target(&self) -> Result<Target, Error> {
        Name::new(self.user.as_str()).map_err(|fault| Error::Setting(fault.to_owned()))?;
        let times = [self.heartbeat_every, self.answer_limit, self.backoff_first, self.backoff_max, self.retry_first];
        if times.iter().any(Duration::is_zero) {
            return Err(Error::Setting("no time of the options may be zero".to_owned()));
        }
        let counts = [self.requests_max, self.inbox_max, self.inbox_bytes_max, self.seen_max, self.frame_bytes_max];
        if counts.contains(&0) || self.answer_bytes_max == 0 {
            return Err(Error::Setting("no limit of the options may be zero".to_owned()));
        }
        Target::read(&self.url)
    }
}

/// The password is not shown.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &self.url).field("user", &self.user).finish_non_exhaustive()
    }
}
