//! A small, blocking client library. It implements the rules that every client has to follow, so
//! that the author of a bot or of a program with a user interface need not.
//!
//! - [`Client::send`] returns when the server has promised the message (`MS`). It sends the same
//!   message again, under the same id, when the connection was lost or the server could not accept
//!   it.
//! - [`Client::receive`] acks a push after the handler has returned, and drops duplicates.
//! - A separate thread maintains the connection: it sends a heartbeat every 30 s, and when the
//!   connection is lost, it reconnects after a random delay that grows. The client stops for good
//!   when the user logged in elsewhere, when the password was changed, and when the operator banned
//!   or deleted the account.
//! - A log-in uses a resume token if there is one ([`ResumeTokenStore`]), and the password
//!   otherwise.
//! - Every queue has a maximum length, and every wait has a limit.
//!
//! ```no_run
//! use hongyan::client::{Client, ClientOptions, ResumeTokenFile};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), hongyan::client::Error> {
//! let options = ClientOptions::new("tls://chat.example.com:1102", "goose")
//!     .password("correct horse battery staple")
//!     .tokens(ResumeTokenFile::new("goose.token"));
//! let client = Client::connect(options)?;
//! client.send("ann", "The geese are back!")?;
//! loop {
//!     // Acked when this handler has returned.
//!     client.receive(Duration::from_secs(60), |push| {
//!         println!("{}: {}", push.sender, push.content);
//!     })?;
//! }
//! # }
//! ```
//!
//! The texts of other users are passed on unchanged: a program that shows them must not let them
//! control its screen. `docs/protocol.md` describes the protocol, and `examples/echo_bot.rs` is a
//! complete bot. With the feature `client`, the module `e2e` encrypts messages between friends
//! (docs/e2e.md).

mod account;
mod backoff;
mod connection_state;
mod delivery;
mod driver;
#[cfg(feature = "client")]
pub mod e2e;
mod error;
mod frames;
mod link;
mod machine;
mod options;
mod password_hash;
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
pub use connection_state::ConnectionToServerState;
pub use delivery::{ClientEvent, ReceivedPush};
pub use error::{ClientEndReason, Error, RecommendedAction, ServerRefusal};
pub use options::ClientOptions;
pub use password_hash::hash_value;
pub use profile::{ClientRoster, ClientRosterFriend, ClientRosterFriendRequest, UserProfile};
pub use push::Push;
pub use sign_up::sign_up;
pub use token::{ResumeTokenFile, ResumeTokenStore, write_private};

use frames::{ClientMachineRequestAnswer, OutgoingClientRequestFrame};
use machine::ProgramOrderToClientMachine;
use shared::{ClientShared, EndClientOnDrop};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// A user who is logged in, or will be again after a reconnect. A clone uses the same connection,
/// and may be used by another thread. The connection ends when the last clone is dropped.
#[derive(Clone)]
pub struct Client {
    shared: Arc<ClientShared>,
    _handle: Arc<EndClientOnDrop>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("user", &self.user()).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and logs in, or returns the reason of the failure within the limit
    /// ([`ClientOptions::connect_limit`]).
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Unreachable`], or [`Error::Ended`] if the server refuses the
    /// log-in.
    pub fn connect(options: ClientOptions) -> Result<Self, Error> {
        let limit = options.connect_limit;
        let client = Self::start(options)?;
        client.shared.wait_online(limit)?;
        Ok(client)
    }

    /// Starts a client as [`Client::connect`] does, but returns at once. If the server is not
    /// reachable, the client tries until it is. [`Client::next`] reports when the user is logged
    /// in.
    ///
    /// # Errors
    /// [`Error::Setting`]: the options cannot be used.
    pub fn start(options: ClientOptions) -> Result<Self, Error> {
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
    /// The limit is [`ClientOptions::request_limit`]. Messages that one thread sends one after
    /// another arrive in their order.
    ///
    /// # Errors
    /// [`Error::NotFriends`]; [`Error::Refused`], for example FULL; [`Error::TooLarge`];
    /// [`Error::TimedOut`]: not promised, but it may arrive. [`Error::recommended_action`] says
    /// more.
    pub fn send(&self, receiver: &str, text: &str) -> Result<String, Error> {
        let sending = self.begin_send(receiver, text)?;
        let id = sending.id.clone();
        sending.wait().map(|()| id)
    }

    /// Sends a message as [`Client::send`] does, but under an id that the caller chose, so that a
    /// message that timed out can be sent again without being delivered twice. Use each id for one
    /// message only: the server treats another text under the same id as a duplicate, and does not
    /// deliver it.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_with_id(&self, id: &str, receiver: &str, text: &str) -> Result<(), Error> {
        self.begin_send_with_id(id, receiver, text)?.wait()
    }

    /// Begins to send a message and does not wait. This is for a program that sends many messages
    /// at a time, or that shows a message while it is being sent.
    ///
    /// # Errors
    /// [`Error::Busy`]: too many requests are waiting already; [`Error::TooLarge`];
    /// [`Error::Ended`].
    pub fn begin_send(&self, receiver: &str, text: &str) -> Result<PendingSend, Error> {
        self.begin_send_with_id(&new_id()?, receiver, text)
    }

    /// Begins to send a message as [`Client::begin_send`] does, but under an id that the caller
    /// chose.
    ///
    /// # Errors
    /// As [`Client::begin_send`].
    pub fn begin_send_with_id(&self, id: &str, receiver: &str, text: &str) -> Result<PendingSend, Error> {
        let request = OutgoingClientRequestFrame::message(id, self.user(), receiver, text);
        Ok(PendingSend { id: id.to_owned(), answer: self.begin(request)?, until: self.until() })
    }

    /// Waits for the next push, for at most `limit`, gives it to `handler`, and acks it when the
    /// handler has returned. A push whose handler panicked is not acked, and the server sends it
    /// again. Returns whether there was a push.
    ///
    /// Other events (presence, state of the connection) are skipped; [`Client::next`] returns all
    /// events.
    ///
    /// # Errors
    /// [`Error::Ended`], once nothing more can come.
    pub fn receive(&self, limit: Duration, handler: impl FnOnce(&Push)) -> Result<bool, Error> {
        let until = Instant::now() + limit;
        loop {
            match self.next(until.saturating_duration_since(Instant::now()))? {
                Some(ClientEvent::Push(delivery)) => {
                    handler(&delivery);
                    delivery.ack();
                    return Ok(true);
                }
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    /// Waits for the next event, for at most `limit`; `None` if there was none. The program acks a
    /// push with [`ReceivedPush::ack`]; if it drops the push without an ack, the server sends it
    /// again.
    ///
    /// # Errors
    /// [`Error::Ended`], once nothing more can come.
    pub fn next(&self, limit: Duration) -> Result<Option<ClientEvent>, Error> {
        delivery::next(&self.shared, limit)
    }

    /// Closes the connection and waits until it is closed; all acks have been written then. Other
    /// owners of a clone get [`ClientEndReason::Closed`].
    pub fn close(self) {
        self.shared.close(Duration::from_secs(2));
    }

    fn until(&self) -> Instant {
        // Normally the limit in the state machine ends a request. This one is for the case that the
        // client's thread hangs.
        Instant::now() + self.shared.request_limit + Duration::from_secs(30)
    }

    fn begin(
        &self,
        request: OutgoingClientRequestFrame,
    ) -> Result<Receiver<Result<ClientMachineRequestAnswer, Error>>, Error> {
        self.shared.begin(request)
    }

    /// Sends one request and waits for its answer.
    fn ask(&self, request: OutgoingClientRequestFrame) -> Result<ClientMachineRequestAnswer, Error> {
        let until = self.until();
        wait_for(&self.begin(request)?, until)
    }

    fn order(&self, order: ProgramOrderToClientMachine) {
        self.shared.send_order(order);
    }
}

/// A message that is being sent to the server.
#[derive(Debug)]
pub struct PendingSend {
    id: String,
    answer: Receiver<Result<ClientMachineRequestAnswer, Error>>,
    until: Instant,
}

impl PendingSend {
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

    /// The result, if it is known. It is returned once only.
    #[must_use]
    pub fn result(&self) -> Option<Result<(), Error>> {
        match self.answer.try_recv() {
            Ok(result) => Some(result.map(|_| ())),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(Error::Ended(ClientEndReason::Closed))),
        }
    }
}

fn wait_for(
    answer: &Receiver<Result<ClientMachineRequestAnswer, Error>>,
    until: Instant,
) -> Result<ClientMachineRequestAnswer, Error> {
    match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(Error::TimedOut),
        Err(RecvTimeoutError::Disconnected) => Err(Error::Ended(ClientEndReason::Closed)),
    }
}

/// A unique id for [`Client::send_with_id`]: 128 random bits.
///
/// # Errors
/// [`Error::Setting`]: the operating system gives no random numbers.
pub fn new_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Setting(format!("there are no random numbers: {error}")))?;
    Ok(password_hash::hex(&bytes))
}
