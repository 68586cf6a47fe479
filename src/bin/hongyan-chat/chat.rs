//! The chat with one friend, as it is shown.

use crate::editor::LineEditor;
use crate::message::{ChatHistoryMessage, ChatHistoryMessageState, KeyTrust, MessageEncryptionStatus};
use crate::text;

/// How many messages of one chat can be scrolled back to.
const MESSAGES_MAX: usize = 10_000;

/// Everything about one friend that the screen needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct FriendChatView {
    messages: Vec<ChatHistoryMessage>,
    pub(crate) trust: KeyTrust,
    pub(crate) draft: LineEditor,
    /// The time up to which the user has seen the received messages.
    seen_until: u64,
    pub(crate) unread: usize,
    /// How many rows are below the lower edge of the screen.
    pub(crate) scroll: usize,
    /// Only messages that contain this text are shown.
    pub(crate) search: Option<String>,
}

impl FriendChatView {
    pub(crate) fn messages(&self) -> &[ChatHistoryMessage] {
        &self.messages
    }

    /// The messages to show, newest first.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &ChatHistoryMessage> {
        let wanted = self.search.as_ref().map(|search| search.to_lowercase());
        self.messages.iter().rev().filter(move |message| {
            wanted.as_ref().is_none_or(|wanted| visible(message).to_lowercase().contains(wanted))
        })
    }

    pub(crate) fn add(&mut self, message: ChatHistoryMessage) {
        if message.way == ChatHistoryMessageState::Received && message.time > self.seen_until {
            self.unread += 1;
        }
        self.messages.push(message);
        if self.messages.len() > MESSAGES_MAX + MESSAGES_MAX / 10 {
            self.messages.drain(..MESSAGES_MAX / 10);
        }
    }

    pub(crate) fn set_state(&mut self, id: &str, way: ChatHistoryMessageState) {
        let mine = self.messages.iter_mut().rev().find(|message| message.is_own() && message.id == id);
        if let Some(message) = mine {
            message.way = way;
        }
    }

    pub(crate) fn clear(&mut self, clear: ChatHistoryMessage) {
        let same = |message: &&mut ChatHistoryMessage| {
            message.is_own() == clear.is_own() && message.id == clear.id && message.time == clear.time
        };
        if let Some(message) = self.messages.iter_mut().rev().find(same) {
            *message = clear;
        }
    }

    pub(crate) fn set_seen(&mut self, time: u64) {
        self.seen_until = self.seen_until.max(time);
        self.unread = self
            .messages
            .iter()
            .filter(|it| it.way == ChatHistoryMessageState::Received && it.time > self.seen_until)
            .count();
    }

    /// Marks everything as seen. Returns the time up to which it is seen, if anything was new.
    pub(crate) fn mark_all_seen(&mut self) -> Option<u64> {
        let newest =
            self.messages.iter().filter(|it| it.way == ChatHistoryMessageState::Received).map(|it| it.time).max()?;
        let is_new = newest > self.seen_until;
        self.set_seen(newest);
        is_new.then_some(newest)
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &ChatHistoryMessage> {
        self.messages.iter().filter(|message| matches!(message.way, ChatHistoryMessageState::Failed(_)))
    }
}

/// The text of a message, or the text that is shown in its place.
pub(crate) fn visible(message: &ChatHistoryMessage) -> String {
    match message.seal {
        MessageEncryptionStatus::Doubtful => {
            "(not shown: not signed with the keys that you trust, or not readable)".to_owned()
        }
        _ => message.text.clone(),
    }
}

/// The mark that shows the state of a message.
pub(crate) fn mark(message: &ChatHistoryMessage) -> &'static str {
    match message.way {
        ChatHistoryMessageState::Received => " ",
        ChatHistoryMessageState::Sent => "·",
        ChatHistoryMessageState::Safe => "✓",
        ChatHistoryMessageState::Failed(_) => "✗",
    }
}

/// The remark that must be shown with a message, besides its text.
pub(crate) fn remark(message: &ChatHistoryMessage, is_sealed_usually: bool) -> Option<String> {
    if let ChatHistoryMessageState::Failed(why) = &message.way {
        return Some(format!("{}; /retry sends it again", text::line(why)));
    }
    match message.seal {
        MessageEncryptionStatus::Unsealed => Some("NOT ENCRYPTED, although your friend has keys".to_owned()),
        MessageEncryptionStatus::Doubtful => Some("NOT GENUINE as far as can be told".to_owned()),
        // The keys are compared when it is sent.
        MessageEncryptionStatus::Plain if is_sealed_usually && message.way != ChatHistoryMessageState::Sent => {
            Some("not encrypted".to_owned())
        }
        MessageEncryptionStatus::Plain | MessageEncryptionStatus::Sealed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, time: u64, way: ChatHistoryMessageState) -> ChatHistoryMessage {
        ChatHistoryMessage {
            with: "bob".into(),
            id: id.into(),
            time,
            text: format!("Text {id}"),
            way,
            seal: MessageEncryptionStatus::Sealed,
        }
    }

    #[test]
    fn an_unread_message_is_counted_until_it_is_seen() {
        let mut chat = FriendChatView::default();
        chat.add(message("1", 5, ChatHistoryMessageState::Received));
        chat.add(message("2", 6, ChatHistoryMessageState::Sent));
        chat.add(message("3", 7, ChatHistoryMessageState::Received));
        assert_eq!(chat.unread, 2);
        chat.set_seen(5);
        assert_eq!(chat.unread, 1);
        assert_eq!((chat.mark_all_seen(), chat.mark_all_seen(), chat.unread), (Some(7), None, 0));
    }

    #[test]
    fn a_search_finds_whatever_the_case() {
        let mut chat = FriendChatView { search: Some("TEXT 2".into()), ..FriendChatView::default() };
        (1..30).for_each(|id| chat.add(message(&id.to_string(), id, ChatHistoryMessageState::Received)));
        chat.add(ChatHistoryMessage {
            seal: MessageEncryptionStatus::Doubtful,
            ..message("2", 99, ChatHistoryMessageState::Received)
        });
        assert_eq!(chat.shown().count(), 11, "2 and 20 to 29, and nothing that is not shown");
    }

    #[test]
    fn a_message_changes_its_mark() {
        let mut chat = FriendChatView::default();
        chat.add(message("1", 5, ChatHistoryMessageState::Sent));
        assert_eq!(mark(&chat.messages()[0]), "·");
        chat.set_state("1", ChatHistoryMessageState::Failed("no\nway".into()));
        assert_eq!((mark(&chat.messages()[0]), chat.failed().count()), ("✗", 1));
        assert!(remark(&chat.messages()[0], true).is_some_and(|remark| remark.contains("no⏎way")));
        chat.set_state("1", ChatHistoryMessageState::Safe);
        assert_eq!((mark(&chat.messages()[0]), chat.failed().count()), ("✓", 0));
    }
}
