//! The state of the screen and how it changes: pure state, without terminal, clock or files. It
//! takes news from the session and returns [`ChatSessionCommand`]s to it.

mod heard;
mod input;
mod orders;
mod rows;

use crate::chat::FriendChatView;
use crate::editor::LineEditor;
use crate::secret::Secret;
use crate::session_messages::{
    ChatContactListFriend, ChatContactListFriendRequest, ChatSessionCommand, ServerLinkStatus,
};
pub(crate) use rows::ChatContactListRow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long a sentence is shown at the bottom.
const SAID_FOR: Duration = Duration::from_secs(20);

/// The part of the screen that gets the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Focus {
    #[default]
    List,
    Chat,
}

/// A window in front of the others.
#[derive(Clone, Debug)]
pub(crate) enum Popup {
    /// Text to read.
    Text { title: String, text: String, scroll: usize },
    /// A question before something that cannot be undone.
    Confirm { question: String, order: ChatSessionCommand },
    /// A secret, which is not shown.
    Secret { label: String, editor: LineEditor, then: SecretPromptPurpose },
}

/// The use of the secret that is asked for.
#[derive(Clone, Debug)]
pub(crate) enum SecretPromptPurpose {
    Export { file: PathBuf },
    ExportAgain { file: PathBuf, passphrase: Secret },
    Import { file: PathBuf },
    OldPassword,
    NewPassword { old: Secret },
    NewPasswordAgain { old: Secret, new: Secret },
    Delete,
}

/// The whole screen.
#[derive(Clone, Debug)]
pub(crate) struct ChatApp {
    pub(crate) own_name: String,
    pub(crate) server: String,
    pub(crate) link: ServerLinkStatus,
    pub(crate) friends: BTreeMap<String, ChatContactListFriend>,
    pub(crate) incoming: Vec<ChatContactListFriendRequest>,
    pub(crate) outgoing: Vec<ChatContactListFriendRequest>,
    pub(crate) chats: BTreeMap<String, FriendChatView>,
    pub(crate) selected: Option<ChatContactListRow>,
    /// The friend whose chat is open.
    pub(crate) open: Option<String>,
    pub(crate) focus: Focus,
    /// The input line while no chat is open.
    pub(crate) list_editor: LineEditor,
    pub(crate) popup: Option<Popup>,
    /// Text to show that arrived while a question was waiting for its answer.
    next_popup: Option<Popup>,
    /// The sentence at the bottom, and whether it is a warning.
    pub(crate) status_line: (String, bool),
    /// How long it has been shown; for a warning, the time since the next key.
    status_age: Duration,
    is_status_seen: bool,
    pub(crate) size: (u16, u16),
    /// The offset of local time from UTC, in seconds.
    pub(crate) offset: i32,
    /// Another program has written on the terminal, so the screen must be redrawn.
    pub(crate) wants_redraw: bool,
    pub(crate) has_quit: bool,
    /// Set when the session has ended: the reason, and whether the log-in was refused. `None` if
    /// the user ends the program.
    pub(crate) end_reason: Option<(String, bool)>,
}

impl ChatApp {
    pub(crate) fn new(me: &str, server: &str, offset: i32) -> Self {
        Self {
            own_name: me.to_owned(),
            server: server.to_owned(),
            link: ServerLinkStatus::Connecting,
            friends: BTreeMap::new(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            chats: BTreeMap::new(),
            selected: None,
            open: None,
            focus: Focus::List,
            list_editor: LineEditor::default(),
            popup: None,
            next_popup: None,
            status_line: (String::new(), false),
            status_age: Duration::ZERO,
            is_status_seen: false,
            size: (80, 24),
            offset,
            wants_redraw: false,
            has_quit: false,
            end_reason: None,
        }
    }

    pub(crate) fn chat(&self) -> Option<&FriendChatView> {
        self.chats.get(self.open.as_ref()?)
    }

    pub(crate) fn chat_mut(&mut self) -> Option<&mut FriendChatView> {
        self.chats.get_mut(self.open.as_ref()?)
    }

    /// The line in which the user writes.
    pub(crate) fn editor(&self) -> &LineEditor {
        self.chat().map_or(&self.list_editor, |chat| &chat.draft)
    }

    fn editor_mut(&mut self) -> &mut LineEditor {
        match self.open.as_ref().and_then(|open| self.chats.get_mut(open)) {
            Some(chat) => &mut chat.draft,
            None => &mut self.list_editor,
        }
    }

    pub(crate) fn show_status(&mut self, sentence: impl Into<String>) {
        self.status_line = (sentence.into(), false);
        (self.status_age, self.is_status_seen) = (Duration::ZERO, true);
    }

    pub(crate) fn warn(&mut self, sentence: impl Into<String>) {
        self.status_line = (sentence.into(), true);
        (self.status_age, self.is_status_seen) = (Duration::ZERO, false);
    }

    /// Handles the passing of time; true if that changed something. A sentence disappears after a
    /// while, a warning only after the user has pressed a key, and so has had a chance to see it.
    pub(crate) fn on_time_passed(&mut self, time: Duration) -> bool {
        if self.is_status_seen {
            self.status_age = self.status_age.saturating_add(time);
        }
        let goes = self.status_age >= SAID_FOR && !self.status_line.0.is_empty();
        if goes {
            self.show_status("");
        }
        goes
    }

    /// Opens a chat.
    pub(crate) fn enter(&mut self, name: &str) -> Vec<ChatSessionCommand> {
        self.open = Some(name.to_owned());
        self.focus = Focus::Chat;
        self.chats.entry(name.to_owned()).or_default();
        self.select(name);
        let mut orders = vec![ChatSessionCommand::LookAt(name.to_owned())];
        orders.extend(self.mark_seen());
        orders
    }

    /// Marks the newest messages of the open chat as seen, if the chat is not scrolled back.
    pub(super) fn mark_seen(&mut self) -> Option<ChatSessionCommand> {
        if self.focus != Focus::Chat {
            return None;
        }
        let with = self.open.clone()?;
        let chat = self.chats.get_mut(&with).filter(|chat| chat.scroll == 0 && chat.search.is_none())?;
        let time = chat.mark_all_seen()?;
        Some(ChatSessionCommand::Saw { with, time })
    }
}

#[cfg(test)]
mod tests;
