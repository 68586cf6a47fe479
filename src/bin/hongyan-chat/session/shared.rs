//! The parts of a session that both of its threads use.

use crate::history::ChatHistoryFile;
use crate::keyring::E2eKeyring;
use crate::session_messages::{ChatSessionCommand, ChatSessionEvent};
use hongyan::client::ClientEndReason;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The tasks of the session's thread.
#[derive(Debug)]
pub(super) enum ChatSessionThreadTask {
    Order(ChatSessionCommand),
    /// A message is stored and must be sent.
    Send {
        to: String,
        id: String,
    },
    /// The client has logged in, for the first time or again.
    Online,
    /// Friends or requests have changed.
    Refresh,
    /// The client has stopped for good.
    Over(ClientEndReason),
}

/// The receiver of news: a closure, because the screen has one queue for news and keys.
pub(super) type ChatSessionEventSender = Arc<dyn Fn(ChatSessionEvent) + Send + Sync>;

/// The state that the two threads of a session share.
pub(super) struct ChatSessionShared {
    pub(super) history: Mutex<ChatHistoryFile>,
    pub(super) keyring: Mutex<E2eKeyring>,
    pub(super) event_sender: ChatSessionEventSender,
}

impl ChatSessionShared {
    pub(super) fn history(&self) -> MutexGuard<'_, ChatHistoryFile> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the stored messages, and reports any problem of the file to the screen.
    pub(super) fn update_history<T>(
        &self,
        change: impl FnOnce(&mut ChatHistoryFile) -> io::Result<T>,
    ) -> io::Result<T> {
        let (kept, news) = self.change(change);
        news.into_iter().for_each(|news| self.emit(news));
        kept
    }

    /// Does the same for the screen's own thread, which cannot receive news meanwhile, and so gets
    /// them as a result.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut ChatHistoryFile) -> io::Result<T>,
    ) -> (io::Result<T>, Vec<ChatSessionEvent>) {
        let mut history = self.history();
        let kept = change(&mut history);
        let grows = |error| format!("the file of the messages grows, and cannot be written anew: {error}");
        (kept, history.take_rewrite_error().map(|error| ChatSessionEvent::Warned(grows(error))).into_iter().collect())
    }

    pub(super) fn keyring(&self) -> MutexGuard<'_, E2eKeyring> {
        self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn emit(&self, news: ChatSessionEvent) {
        (self.event_sender)(news);
    }

    pub(super) fn emit_sentence(&self, sentence: impl Into<String>) {
        self.emit(ChatSessionEvent::Said(sentence.into()));
    }

    pub(super) fn warn(&self, sentence: impl Into<String>) {
        self.emit(ChatSessionEvent::Warned(sentence.into()));
    }
}
