//! The data that the program's threads and the client's own thread share: commands in one
//! direction, events in the other.

use super::connection_state::ConnectionToServerState;
use super::error::{ClientEndReason, Error};
use super::frames::{ClientMachineRequestAnswer, OutgoingClientRequestFrame};
use super::machine::ProgramOrderToClientMachine;
use super::options::ClientOptions;
use super::push::{Push, PushDedupKey};
use mio::Waker;
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many friends' presence may wait for the program.
const PRESENCE_MAX: usize = 10_000;

pub(super) type ClientRequestAnswerSender = SyncSender<Result<ClientMachineRequestAnswer, Error>>;

pub(super) enum ClientThreadCommand {
    Begin(OutgoingClientRequestFrame, ClientRequestAnswerSender),
    Order(ProgramOrderToClientMachine),
    DoneWith { key: PushDedupKey, message_id: String, sender: String, acked: bool },
}

#[derive(Default)]
struct ClientCommandQueue {
    queue: Vec<ClientThreadCommand>,
    /// How many requests are waiting for their answers, in this queue or already taken from it.
    unanswered_count: usize,
}

/// The events that wait for the program.
#[derive(Default)]
struct ClientInbox {
    pushes: VecDeque<Push>,
    bytes: usize,
    presence: BTreeMap<String, bool>,
    connection: Option<ConnectionToServerState>,
    online: bool,
    /// Why not.
    disconnect_reason: String,
    ended: Option<ClientEndReason>,
    /// Is the inbox full? The client's thread takes no pushes until there is room.
    full: bool,
    /// The next event is a presence event, even while many pushes arrive.
    is_presence_next: bool,
}

/// One of them, taken out.
pub(super) enum ClientInboxEvent {
    Push(Push),
    Presence { user_name: String, online: bool },
    Connection(ConnectionToServerState),
}

pub(super) struct ClientShared {
    pub(super) user: String,
    pub(super) request_limit: Duration,
    requests_max: usize,
    frame_bytes_max: usize,
    inbox_max: usize,
    inbox_bytes_max: usize,
    commands: Mutex<ClientCommandQueue>,
    inbox: Mutex<ClientInbox>,
    changed: Condvar,
    waker: Waker,
}

/// After a panic of another thread the data are still consistent, because each change is a single
/// step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientShared {
    pub(super) fn new(options: &ClientOptions, waker: Waker) -> Self {
        Self {
            user: options.user.clone(),
            request_limit: options.request_limit,
            requests_max: options.requests_max,
            frame_bytes_max: options.frame_bytes_max,
            inbox_max: options.inbox_max,
            inbox_bytes_max: options.inbox_bytes_max,
            commands: Mutex::default(),
            inbox: Mutex::default(),
            changed: Condvar::new(),
            waker,
        }
    }

    fn command(&self, command: ClientThreadCommand) {
        lock(&self.commands).queue.push(command);
        // This fails only if the thread is gone, and then the client has ended.
        self.waker.wake().ok();
    }

    /// Hands a request to the client's thread; the answer comes later.
    pub(super) fn begin(
        &self,
        request: OutgoingClientRequestFrame,
    ) -> Result<Receiver<Result<ClientMachineRequestAnswer, Error>>, Error> {
        let bytes = request.envelope.len();
        if bytes > self.frame_bytes_max {
            return Err(Error::TooLarge { bytes, max: self.frame_bytes_max });
        }
        if let Some(end) = self.ended() {
            return Err(Error::Ended(end));
        }
        let (reply, answer) = sync_channel(1);
        {
            let mut commands = lock(&self.commands);
            if commands.unanswered_count >= self.requests_max {
                return Err(Error::Busy);
            }
            commands.unanswered_count += 1;
            commands.queue.push(ClientThreadCommand::Begin(request, reply));
        }
        self.waker.wake().ok();
        // The client may have ended meanwhile, and then nobody takes the request.
        self.ended().map_or(Ok(answer), |end| Err(Error::Ended(end)))
    }

    pub(super) fn send_order(&self, order: ProgramOrderToClientMachine) {
        self.command(ClientThreadCommand::Order(order));
    }

    pub(super) fn finish_push(&self, push: &Push, acked: bool) {
        let (message_id, sender) = (push.message_id.clone(), push.sender.clone());
        self.command(ClientThreadCommand::DoneWith { key: push.key(), message_id, sender, acked });
    }

    pub(super) fn close(&self, limit: Duration) {
        self.send_order(ProgramOrderToClientMachine::End(ClientEndReason::Closed));
        drop(self.wait(limit, |inbox| inbox.ended.is_some()));
    }

    /// Waits until `holds` returns true, or the limit is reached.
    fn wait(&self, limit: Duration, mut holds: impl FnMut(&ClientInbox) -> bool) -> MutexGuard<'_, ClientInbox> {
        let inbox = lock(&self.inbox);
        let waited = self.changed.wait_timeout_while(inbox, limit, |inbox| !holds(inbox));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn is_online(&self) -> bool {
        lock(&self.inbox).online
    }

    fn ended(&self) -> Option<ClientEndReason> {
        lock(&self.inbox).ended.clone()
    }

    pub(super) fn wait_online(&self, limit: Duration) -> Result<(), Error> {
        let inbox = self.wait(limit, |inbox| inbox.online || inbox.ended.is_some());
        match &inbox.ended {
            Some(end) => Err(Error::Ended(end.clone())),
            None if inbox.online => Ok(()),
            None if inbox.disconnect_reason.is_empty() => Err(Error::Unreachable("it does not answer".to_owned())),
            None => Err(Error::Unreachable(inbox.disconnect_reason.clone())),
        }
    }

    /// The next event for the program.
    pub(super) fn next(&self, limit: Duration) -> Result<Option<ClientInboxEvent>, Error> {
        let some = |inbox: &ClientInbox| {
            !inbox.pushes.is_empty()
                || !inbox.presence.is_empty()
                || inbox.connection.is_some()
                || inbox.ended.is_some()
        };
        let mut inbox = self.wait(limit, some);
        if let Some(connection) = inbox.connection.take() {
            return Ok(Some(ClientInboxEvent::Connection(connection)));
        }
        let presence_next = std::mem::take(&mut inbox.is_presence_next) || inbox.pushes.is_empty();
        if presence_next && let Some((user_name, online)) = inbox.presence.pop_first() {
            return Ok(Some(ClientInboxEvent::Presence { user_name, online }));
        }
        if let Some(push) = inbox.pushes.pop_front() {
            inbox.bytes = inbox.bytes.saturating_sub(push.bytes());
            inbox.is_presence_next = true;
            if std::mem::take(&mut inbox.full) {
                self.waker.wake().ok();
            }
            return Ok(Some(ClientInboxEvent::Push(push)));
        }
        match &inbox.ended {
            Some(end) => Err(Error::Ended(end.clone())),
            None => Ok(None),
        }
    }
}

/// The end of the client's thread.
impl ClientShared {
    pub(super) fn commands(&self) -> Vec<ClientThreadCommand> {
        std::mem::take(&mut lock(&self.commands).queue)
    }

    pub(super) fn note_answer(&self) {
        let mut commands = lock(&self.commands);
        commands.unanswered_count = commands.unanswered_count.saturating_sub(1);
    }

    pub(super) fn put_push(&self, push: Push) {
        let mut inbox = lock(&self.inbox);
        inbox.bytes += push.bytes();
        inbox.pushes.push_back(push);
        self.changed.notify_all();
    }

    pub(super) fn put_presence(&self, name: String, online: bool) {
        let mut inbox = lock(&self.inbox);
        if inbox.presence.len() < PRESENCE_MAX || inbox.presence.contains_key(&name) {
            inbox.presence.insert(name, online);
            self.changed.notify_all();
        }
    }

    pub(super) fn put_connection(&self, connection: ConnectionToServerState) {
        let mut inbox = lock(&self.inbox);
        inbox.online = connection == ConnectionToServerState::Online;
        match &connection {
            ConnectionToServerState::Offline { reason, .. } => inbox.disconnect_reason.clone_from(reason),
            ConnectionToServerState::Ended(end) => inbox.ended = Some(end.clone()),
            ConnectionToServerState::Online => {}
        }
        inbox.connection = Some(connection);
        self.changed.notify_all();
    }

    /// Is there room for another push? If not, the client's thread is woken when the program takes
    /// one out.
    pub(super) fn has_room(&self) -> bool {
        let mut inbox = lock(&self.inbox);
        inbox.full = inbox.pushes.len() >= self.inbox_max || inbox.bytes >= self.inbox_bytes_max;
        !inbox.full
    }
}

/// Ends the client when the last clone of it is gone.
pub(super) struct EndClientOnDrop {
    pub(super) shared: Arc<ClientShared>,
}

impl Drop for EndClientOnDrop {
    fn drop(&mut self) {
        self.shared.send_order(ProgramOrderToClientMachine::End(ClientEndReason::Closed));
    }
}
