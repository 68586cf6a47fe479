//! The list beside the chat: users who have sent a friend request, friends, other users with whom
//! there was a chat, and users to whom this user has sent a request.

use super::ChatApp;

/// One row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChatContactListRow {
    /// A user who has sent a friend request.
    Asks(String),
    Friend(String),
    /// Not a friend, or a former one. There are messages with this user.
    Other(String),
    /// A user to whom this user has sent a request.
    Asked(String),
}

impl ChatContactListRow {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Asks(name) | Self::Friend(name) | Self::Other(name) | Self::Asked(name) => name,
        }
    }
}

impl ChatApp {
    pub(crate) fn rows(&self) -> Vec<ChatContactListRow> {
        let asks = self.incoming.iter().map(|ask| ChatContactListRow::Asks(ask.name.clone()));
        let friends = self.friends.keys().cloned().map(ChatContactListRow::Friend);
        let others = self.chats.iter().filter(|(name, chat)| {
            let is_open = self.open.as_ref() == Some(*name);
            !self.friends.contains_key(*name) && (is_open || !chat.messages().is_empty())
        });
        let others = others.map(|(name, _)| ChatContactListRow::Other(name.clone()));
        let asked = self.outgoing.iter().map(|ask| ChatContactListRow::Asked(ask.name.clone()));
        asks.chain(friends).chain(others).chain(asked).collect()
    }

    /// The row that keys act on; the first one if the chosen one is gone.
    pub(crate) fn current_row(&self) -> Option<ChatContactListRow> {
        let rows = self.rows();
        let chosen = self.selected.as_ref().filter(|row| rows.contains(row));
        chosen.or(rows.first()).cloned()
    }

    /// Chooses the row with this name.
    pub(crate) fn select(&mut self, name: &str) {
        let rows = self.rows();
        let is_chat =
            |row: &&ChatContactListRow| matches!(row, ChatContactListRow::Friend(_) | ChatContactListRow::Other(_));
        let row = rows.iter().filter(is_chat).find(|row| row.name() == name);
        if let Some(row) = row.or_else(|| rows.iter().find(|row| row.name() == name)) {
            self.selected = Some(row.clone());
        }
    }

    /// Moves the selection by a number of rows.
    pub(super) fn step(&mut self, by: isize) {
        let rows = self.rows();
        let Some(current) = self.current_row() else { return };
        let at = rows.iter().position(|row| *row == current).unwrap_or(0);
        let last = rows.len().saturating_sub(1);
        self.selected = rows.get(at.saturating_add_signed(by).min(last)).cloned();
    }

    /// The next chat after the open one that has unread messages; after the last one, the first.
    pub(super) fn next_unread(&self) -> Option<String> {
        let names: Vec<&String> = self.chats.iter().filter(|(_, chat)| chat.unread > 0).map(|(name, _)| name).collect();
        let open = self.open.clone().unwrap_or_default();
        let behind = names.iter().find(|name| ***name > open);
        behind.or(names.first()).map(|name| (*name).clone())
    }
}
