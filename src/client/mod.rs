//! A client library: small, and blocking. It keeps the rules that every client has to keep, so that
//! a bot or a program with a screen need not.
//!
//! - [`Client::send`] returns when the server has promised the message (`MS`). It sends the same
//!   message again, under the same id, when the connection was lost or the server could not take
//!   it.
//! - [`Client::receive`] acks a push after the handler has returned, and drops duplicates.
//! - A thread of its own keeps the connection: a heartbeat every 30 s, and when the connection is
//!   lost, a new one after a random delay that grows. It stops for good when the user logged in
//!   elsewhere, when the password was changed, and when the operator ended the account.
//! - A log-in uses a resume token if there is one ([`TokenStore`]), and the password otherwise.
//! - Every queue has a bound, and every wait has a limit.
//!
//! ```no_run
//! use hongyan::client::{Client, Options, TokenFile};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), hongyan::client::Error> {
//! let options = Options::new("tls://chat.example.com:1102", "goose")
//!     .password("correct horse battery staple")
//!     .tokens(TokenFile::new("goose.token"));
//! let client = Client::connect(options)?;
//! client.send("ann", "The geese are back!")?;
//! loop {
//!     // Acked when this handler has returned.
//! client.receive(Duration::from_secs(60), |push| println!("{}: {}", push.sender, push.content))?;
//! }
//! # }
//! ```
//!
//! The texts of others are given as they came: a program that shows them must not let them control
//! its screen. `docs/protocol.md` is the protocol, and `examples/echo_bot.rs` is a whole bot. With
//! the feature `client`, the module `e2e` encrypts messages between friends (docs/e2e.md).

mod account;
mod backoff;
mod delivery;
mod driver;
#[cfg(feature = "client")]
pub mod e2e;
mod error;
mod frames;
mod link;
mod machine;
mod options;
mod password;
mod profile;
mod push;
mod seen;
mod shared;
mod sign_up;
mod target;
mod tls;
mod token;
mod ws;

pub use crate::protocol::error::ErrorCode;
pub use crate::protocol::push::PushKind;
pub use account::ProfileChange;
pub use delivery::{Connection, Delivery, Event};
pub use error::{End, Error, Refusal, WhatToDo};
pub use options::Options;
pub use password::hash_value;
pub use profile::{Friend, PendingRequest, Profile, Roster};
pub use push::Push;
pub use sign_up::sign_up;
pub use token::{TokenFile, TokenStore, write_private};

use frames::{Answer, Request};
use machine::Order;
use shared::{Handle, Shared};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// A user who is logged in, or will be again. A clone is the same user on the same connection, and
/// may be used by another thread. The connection ends when the last clone is dropped.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _handle: Arc<Handle>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("user", &self.user()).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and logs in, or says why not within the limit ([`Options::connect_limit`]).
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Unreachable`], or the end ([`Error::Ended`]) if the server does
    /// not let the user in.
    pub fn connect(options: Options) -> Result<Self, Error> {
        let limit = options.connect_limit;
        let client = Self::start(options)?;
        client.shared.wait_online(limit)?;
        Ok(client)
    }

    /// The same, but returns at once: the server may be away, and is tried until it is there.
    /// [`Client::next`] tells when it is.
    ///
    /// # Errors
    /// [`Error::Setting`]: the options cannot be used.
    pub fn start(options: Options) -> Result<Self, Error> {
        let (shared, handle) = driver::start(options)?;
        Ok(Self { shared, _handle: Arc::new(handle) })
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.shared.user
    }

    /// Is the user logged in at this moment?
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.shared.is_online()
    }

    /// Sends a message to a friend, and returns its id when the server has promised to deliver it.
    ///
    /// The limit is [`Options::request_limit`]. Messages that one thread sends one after another
    /// arrive in their order.
    ///
    /// # Errors
    /// [`Error::NotFriends`]; [`Error::Refused`], for example FULL; [`Error::TooLarge`];
    /// [`Error::TimedOut`]: not promised, but it may arrive. [`Error::what_to_do`] says more.
    pub fn send(&self, receiver: &str, text: &str) -> Result<String, Error> {
        let sending = self.begin_send(receiver, text)?;
        let id = sending.id.clone();
        sending.wait().map(|()| id)
    }

    /// The same under an id that the caller chose, so that a message that timed out can be sent
    /// again without being delivered twice. Use each id for one message only: the server takes
    /// another text under the same id for a duplicate, and does not deliver it.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_with_id(&self, id: &str, receiver: &str, text: &str) -> Result<(), Error> {
        self.begin_send_with_id(id, receiver, text)?.wait()
    }

    /// Begins to send a message and does not wait: for a program that sends many at a time, or
    /// shows a message while it is on its way.
    ///
    /// # Errors
    /// [`Error::Busy`]: too many requests wait already; [`Error::TooLarge`]; [`Error::Ended`].
    pub fn begin_send(&self, receiver: &str, text: &str) -> Result<Sending, Error> {
        self.begin_send_with_id(&new_id()?, receiver, text)
    }

    /// The same under an id of the caller's.
    ///
    /// # Errors
    /// As [`Client::begin_send`].
    pub fn begin_send_with_id(&self, id: &str, receiver: &str, text: &str) -> Result<Sending, Error> {
        let request = Request::message(id, self.user(), receiver, text);
        Ok(Sending { id: id.to_owned(), answer: self.begin(request)?, until: self.until() })
    }

    /// Waits for the next push, for at most `limit`, gives it to `handler`, and acks it when the
    /// handler has returned. A push whose handler panicked is not acked, and comes again. Tells
    /// whether there was a push.
    ///
    /// Other events (presence, the connection) are passed over: [`Client::next`] gives them, too.
    ///
    /// # Errors
    /// [`Error::Ended`], once nothing more can come.
    pub fn receive(&self, limit: Duration, handler: impl FnOnce(&Push)) -> Result<bool, Error> {
        let until = Instant::now() + limit;
        loop {
            match self.next(until.saturating_duration_since(Instant::now()))? {
                Some(Event::Push(delivery)) => {
                    handler(&delivery);
                    delivery.ack();
                    return Ok(true);
                }
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    /// Waits for whatever happens next, for at most `limit`; `None` if nothing did. A push is acked
    /// by [`Delivery::ack`], and comes again if it is dropped without.
    ///
    /// # Errors
    /// [`Error::Ended`], once nothing more can come.
    pub fn next(&self, limit: Duration) -> Result<Option<Event>, Error> {
        shared::next(&self.shared, limit)
    }

    /// Ends the connection and waits until it is ended: all acks are on their way then. Others who
    /// have a clone get [`End::Closed`].
    pub fn close(self) {
        self.shared.close(Duration::from_secs(2));
    }

    fn until(&self) -> Instant {
        // The machine's own limit ends a request; this one is for a machine that cannot.
        Instant::now() + self.shared.request_limit + Duration::from_secs(30)
    }

    fn begin(&self, request: Request) -> Result<Receiver<Result<Answer, Error>>, Error> {
        self.shared.begin(request)
    }

    /// One request and its answer.
    fn ask(&self, request: Request) -> Result<Answer, Error> {
        let until = self.until();
        wait_for(&self.begin(request)?, until)
    }

    fn order(&self, order: Order) {
        self.shared.order(order);
    }
}

/// A message that is on its way to the server.
#[derive(Debug)]
pub struct Sending {
    id: String,
    answer: Receiver<Result<Answer, Error>>,
    until: Instant,
}

impl Sending {
    /// The message's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the server's promise.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn wait(self) -> Result<(), Error> {
        wait_for(&self.answer, self.until).map(|_| ())
    }

    /// The result, if it is known; it is given once.
    #[must_use]
    pub fn result(&self) -> Option<Result<(), Error>> {
        match self.answer.try_recv() {
            Ok(result) => Some(result.map(|_| ())),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(Error::Ended(End::Closed))),
        }
    }
}

fn wait_for(answer: &Receiver<Result<Answer, Error>>, until: Instant) -> Result<Answer, Error> {
    match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(Error::TimedOut),
        Err(RecvTimeoutError::Disconnected) => Err(Error::Ended(End::Closed)),
    }
}

/// An id that nobody uses twice, for [`Client::send_with_id`]: 128 random bits.
///
/// # Errors
/// [`Error::Setting`]: the system has no random numbers.
pub fn new_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Setting(format!("there are no random numbers: {error}")))?;
    Ok(password::hex(&bytes))
}
