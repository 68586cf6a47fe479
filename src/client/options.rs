//! The options of a client.

use super::error::Error;
use super::password_hash::hash_value;
use super::target::ServerAddress;
use super::token::ResumeTokenStore;
use crate::protocol::field::UserNameRef;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a user authenticates, besides a resume token.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum ClientPassword {
    /// No password: only the token can be used.
    None,
    /// As the user types it. It is hashed when it is first needed, which takes some tenths of a
    /// second.
    Plain(String),
    /// The `hashValue` itself.
    Hash(String),
}

impl ClientPassword {
    /// The text for `hashValue` and `PASS`.
    pub(super) fn hash(&self, user: &str) -> Option<String> {
        match self {
            Self::None => None,
            Self::Plain(password) => Some(hash_value(user, password)),
            Self::Hash(hash) => Some(hash.clone()),
        }
    }
}

/// Where to connect, as which user, and the limits. The defaults of times and sizes are good for
/// most programs; each description ends with the default.
pub struct ClientOptions {
    pub(super) url: String,
    pub(super) user: String,
    pub(super) password: ClientPassword,
    pub(super) tokens: Option<Box<dyn ResumeTokenStore>>,
    pub(super) ca_file: Option<PathBuf>,
    /// How long [`Client::connect`](super::Client::connect) tries to log in. 30 s.
    pub connect_limit: Duration,
    /// How long a request waits for its answer, over all its tries. 60 s.
    pub request_limit: Duration,
    /// How many requests may wait for their answers at a time. 256.
    pub requests_max: usize,
    /// How many pushes may wait for the program. While this many are waiting, no more are
    /// accepted. 1,024.
    ///
    /// Meanwhile the client reads nothing, unless it expects an answer: pushes that arrive before
    /// the answer are dropped, and the server sends them again after 15 s, perhaps in another
    /// order. With a server that sends at most 256 pushes ahead of their acks (the default of its
    /// `--outstanding-max`) this never happens.
    pub inbox_max: usize,
    /// How much memory the waiting pushes may use. 32 MiB.
    pub inbox_bytes_max: usize,
    /// How many pushes are remembered to detect duplicates. 8,192.
    pub seen_max: usize,
    /// The largest envelope that the server accepts (its `--max-frame`). 64 KiB.
    pub frame_bytes_max: usize,
    /// The largest frame that the client accepts. 1 MiB.
    pub answer_bytes_max: usize,
    /// The time between two heartbeats. 30 s.
    pub heartbeat_every: Duration,
    /// How long the server may take to answer a heartbeat or a log-in before the connection counts
    /// as lost. 10 s.
    pub answer_limit: Duration,
    /// The approximate first delay before a new connection; each following one is twice as long.
    /// 2 s.
    pub backoff_first: Duration,
    /// The longest such delay. 60 s.
    pub backoff_max: Duration,
    /// The first delay before a request that the server could not execute is sent again; each
    /// following one is twice as long. 1 s.
    pub retry_first: Duration,
}

impl ClientOptions {
    /// A server by its URL, and a user. The scheme is `tcp`, `tls` (raw, the first without
    /// encryption), `ws` or `wss` (WebSocket); the port is 1102 if the URL has none.
    #[must_use]
    pub fn new(url: &str, user: &str) -> Self {
        Self {
            url: url.to_owned(),
            user: user.to_owned(),
            password: ClientPassword::None,
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
        self.password = ClientPassword::Plain(password.to_owned());
        self
    }

    /// Sets the `hashValue` of the password, instead of the password itself (see [`hash_value`]).
    #[must_use]
    pub fn password_hash(mut self, hash: &str) -> Self {
        self.password = ClientPassword::Hash(hash.to_owned());
        self
    }

    /// Sets where the resume token is stored. By default the client keeps its token in memory only,
    /// and logs in with the password when the program starts again.
    #[must_use]
    pub fn tokens(mut self, tokens: impl ResumeTokenStore + 'static) -> Self {
        self.tokens = Some(Box::new(tokens));
        self
    }

    /// Sets a file of certificates (PEM) to trust for TLS, instead of the public certificate
    /// authorities.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Checks the options as far as that is possible without a connection.
    pub(super) fn target(&self) -> Result<ServerAddress, Error> {
        UserNameRef::new(self.user.as_str()).map_err(|fault| Error::Setting(fault.to_owned()))?;
        let times = [self.heartbeat_every, self.answer_limit, self.backoff_first, self.backoff_max, self.retry_first];
        if times.iter().any(Duration::is_zero) {
            return Err(Error::Setting("no time of the options may be zero".to_owned()));
        }
        let counts = [self.requests_max, self.inbox_max, self.inbox_bytes_max, self.seen_max, self.frame_bytes_max];
        if counts.contains(&0) || self.answer_bytes_max == 0 {
            return Err(Error::Setting("no limit of the options may be zero".to_owned()));
        }
        ServerAddress::read(&self.url)
    }
}

/// The password is not shown.
impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions").field("url", &self.url).field("user", &self.user).finish_non_exhaustive()
    }
}
