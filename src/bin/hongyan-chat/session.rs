//! The half of the program that may block, on the server and on the disk. It executes the orders of
//! the screen one after another, and reports the results.

mod account;
mod incoming;
mod outbox;
mod shared;
mod trust;

use crate::history::{ChatHistoryFile, ChatHistoryFileLimits};
use crate::keyring::E2eKeyring;
use crate::message::ChatHistoryMessageState;
use crate::session_messages::{ChatSessionCommand, ChatSessionEvent, ServerLinkStatus};
use crate::setup::ChatClientSetup;
use hongyan::client::{Client, ClientEndReason, Error};
use outbox::ChatOutbox;
use shared::{ChatSessionEventSender, ChatSessionShared, ChatSessionThreadTask};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many orders may wait.
const TASKS_MAX: usize = 4_096;
/// How often the results of messages that are being sent are checked.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(1);

/// The session as the screen uses it.
pub(crate) struct ChatSession {
    shared: Arc<ChatSessionShared>,
    tasks: SyncSender<ChatSessionThreadTask>,
    thread: Option<JoinHandle<()>>,
}

impl ChatSession {
    /// Starts a session: reads the files, and begins to connect.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn start(setup: ChatClientSetup, event_sender: ChatSessionEventSender) -> Result<Self, String> {
        let path = setup.folder.file("messages");
        let history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default())
            .map_err(|error| format!("cannot read the messages in {}: {error}", path.display()))?;
        let keyring = E2eKeyring::open(&setup.user, &setup.folder, setup.keys.as_deref())?;
        let seen = history.seen().iter().map(|(with, time)| (with.clone(), *time)).collect();
        event_sender(ChatSessionEvent::Kept { messages: history.messages().to_vec(), seen });
        let mut outbox = ChatOutbox::default();
        // For these messages the server's promise did not arrive before the program ended, or they
        // were never sent.
        for message in history.messages().iter().filter(|message| message.way == ChatHistoryMessageState::Sent) {
            outbox.push(&message.with, &message.id);
        }
        let shared =
            Arc::new(ChatSessionShared { history: Mutex::new(history), keyring: Mutex::new(keyring), event_sender });
        let (tasks, waiting) = sync_channel(TASKS_MAX);
        let client = setup.start().map_err(|error| error.to_string())?;
        let mut worker = ChatSessionWorker {
            shared: Arc::clone(&shared),
            setup,
            client: None,
            tasks: tasks.clone(),
            outbox,
            checked_friends: BTreeMap::new(),
            is_online: false,
            knows_own_keys: false,
        };
        worker.listen_to(client)?;
        let run = move || worker.run(&waiting);
        let thread = thread::Builder::new().name("session".to_owned()).spawn(run).map_err(|error| error.to_string())?;
        Ok(Self { shared, tasks, thread: Some(thread) })
    }

    /// Gives an order, and returns the news for the screen that it causes at once. Never waits for
    /// the server. After this a message to send is on the disk.
    pub(crate) fn execute(&self, order: ChatSessionCommand) -> Vec<ChatSessionEvent> {
        if let ChatSessionCommand::Send { to, text } = order {
            return outbox::store_and_queue(&self.shared, &self.tasks, to, text);
        }
        match self.tasks.try_send(ChatSessionThreadTask::Order(order)) {
            Ok(()) => Vec::new(),
            Err(_) => vec![ChatSessionEvent::Warned("too much waits already: try again".to_owned())],
        }
    }

    /// Waits for the session to end, after the order to do so, for at most `limit`.
    pub(crate) fn finish(mut self, limit: Duration) {
        if let Some(thread) = self.thread.take() {
            wait_for_end(&thread, limit);
        }
    }
}

/// Waits for a thread to end, for at most `limit`.
pub(crate) fn wait_for_end(thread: &JoinHandle<()>, limit: Duration) {
    let until = Instant::now() + limit;
    while !thread.is_finished() && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
}

/// The thread that executes the orders.
struct ChatSessionWorker {
    shared: Arc<ChatSessionShared>,
    setup: ChatClientSetup,
    client: Option<Client>,
    tasks: SyncSender<ChatSessionThreadTask>,
    outbox: ChatOutbox,
    /// Friends whose keys were compared since the last log-in, with the time of that if the keys
    /// allow sending.
    checked_friends: BTreeMap<String, Option<Instant>>,
    is_online: bool,
    /// Has the user's own profile been compared with the keys on this machine?
    knows_own_keys: bool,
}

impl ChatSessionWorker {
    fn run(mut self, waiting: &Receiver<ChatSessionThreadTask>) {
        loop {
            let wait = if self.outbox.is_empty() || !self.is_online { IDLE } else { LOOK_EVERY };
            match waiting.recv_timeout(wait) {
                Ok(ChatSessionThreadTask::Order(ChatSessionCommand::Quit)) | Err(RecvTimeoutError::Disconnected) => {
                    break;
                }
                Ok(ChatSessionThreadTask::Order(order)) => self.execute(order),
                Ok(ChatSessionThreadTask::Send { to, id }) => self.outbox.push(&to, &id),
                Ok(ChatSessionThreadTask::Online) => self.come_online(),
                Ok(ChatSessionThreadTask::Refresh) => self.refresh(),
                Ok(ChatSessionThreadTask::Over(end)) => self.end(&end),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.work_outbox();
        }
        if let Some(client) = self.client.take() {
            client.close();
        }
    }

    /// Starts a thread that passes on the events of this client until the client ends.
    fn listen_to(&mut self, client: Client) -> Result<(), String> {
        let (desk, tasks, listened) = (Arc::clone(&self.shared), self.tasks.clone(), client.clone());
        let run = move || incoming::listen(&desk, &listened, &tasks);
        thread::Builder::new().name("incoming".to_owned()).spawn(run).map_err(|error| error.to_string())?;
        self.client = Some(client);
        Ok(())
    }

    /// The client, if it is logged in. Requests need this.
    fn online(&self) -> Option<Client> {
        let client = self.client.clone().filter(|client| client.is_online());
        if client.is_none() {
            self.shared.warn("not connected: nothing was done");
        }
        client
    }

    fn come_online(&mut self) {
        self.is_online = true;
        self.checked_friends.clear();
        self.shared.emit(ChatSessionEvent::Link(ServerLinkStatus::Here));
        self.check_own_keys();
        self.refresh();
    }

    fn end(&mut self, end: &ClientEndReason) {
        self.is_online = false;
        match end {
            ClientEndReason::WrongPassword => {
                self.shared.emit(ChatSessionEvent::Ended { reason: end.to_string(), is_refused: true })
            }
            ClientEndReason::Closed => {}
            end => self.shared.emit(ChatSessionEvent::Link(ServerLinkStatus::Over(end.to_string()))),
        }
    }

    fn connect(&mut self) {
        if self.client.as_ref().is_some_and(Client::is_online) {
            self.shared.emit_sentence("already connected");
            return;
        }
        if let Some(client) = self.client.take() {
            client.close();
        }
        self.shared.emit(ChatSessionEvent::Link(ServerLinkStatus::Connecting));
        let started = self.setup.start().map_err(|error| error.to_string());
        if let Err(why) = started.and_then(|client| self.listen_to(client)) {
            self.shared.emit(ChatSessionEvent::Link(ServerLinkStatus::Over(why)));
        }
    }

    /// Reports the result of a request that has no other result than success or failure.
    fn report<T>(&self, result: Result<T, Error>, done: &str) -> bool {
        match &result {
            Ok(_) => self.shared.emit_sentence(done),
            Err(error) => self.shared.warn(error.to_string()),
        }
        result.is_ok()
    }
}

#[cfg(test)]
mod tests;
