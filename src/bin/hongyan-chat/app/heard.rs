//! How the state changes when news arrive from the session.

use super::ChatApp;
use crate::message::{ChatHistoryMessage, KeyTrust};
use crate::session_messages::{
    ChatContactListFriendRequest, ChatContactListSnapshot, ChatSessionCommand, ChatSessionEvent, ServerLinkStatus,
};
use crate::text;
use crate::view;

/// How many requests the screen keeps in each direction; the server never sends more.
const ASKS_MAX: usize = 200;

impl ChatApp {
    /// Handles news from the session.
    pub(crate) fn on_event(&mut self, news: ChatSessionEvent) -> Vec<ChatSessionCommand> {
        match news {
            ChatSessionEvent::Kept { messages, seen } => {
                for message in messages {
                    self.chats.entry(message.with.clone()).or_default().add(message);
                }
                for (with, time) in seen {
                    self.chats.entry(with).or_default().set_seen(time);
                }
            }
            ChatSessionEvent::Link(link) => return self.on_link_status(link),
            ChatSessionEvent::Roster(roster) => self.on_roster(roster),
            ChatSessionEvent::Presence { name, is_online } => {
                if let Some(friend) = self.friends.get_mut(&name) {
                    friend.is_online = is_online;
                }
            }
            ChatSessionEvent::Message(message) => return self.on_message(message),
            ChatSessionEvent::NotKept { with, text, reason } => {
                self.warn(text::line(&reason));
                // The text as it was entered.
                let slash = if text.starts_with('/') { "/" } else { "" };
                let draft = &mut self.chats.entry(with).or_default().draft;
                draft.keep_unsent(&format!("{slash}{text}"));
                draft.restore_unsent();
            }
            ChatSessionEvent::Became { with, id, way } => {
                self.chats.entry(with).or_default().set_state(&id, way);
            }
            ChatSessionEvent::Cleared(message) => self.chats.entry(message.with.clone()).or_default().clear(message),
            ChatSessionEvent::Asked(ask) => {
                let name = text::line(&ask.name);
                self.show_status(format!("{name} asks to become your friend: /accept {name} or /reject {name}"));
                add_request(&mut self.incoming, ask);
            }
            ChatSessionEvent::Answered { name, is_accepted, text } => {
                self.outgoing.retain(|ask| ask.name != name);
                let words = if text.is_empty() { String::new() } else { format!(": {}", text::line(&text)) };
                let verb = if is_accepted { "accepted" } else { "rejected" };
                self.show_status(format!("{} {verb} your request{words}", text::line(&name)));
            }
            ChatSessionEvent::Trust { name, trust } => {
                if let KeyTrust::Changed { .. } | KeyTrust::Gone = trust {
                    self.warn(format!("the keys of {} have changed", text::line(&name)));
                }
                self.chats.entry(name.clone()).or_default().trust = trust;
                self.restore_unsent(&name);
            }
            ChatSessionEvent::Shown { title, text } => self.show(&title, &text),
            ChatSessionEvent::Said(sentence) => self.show_status(text::line(&sentence)),
            ChatSessionEvent::Warned(sentence) => self.warn(text::line(&sentence)),
            ChatSessionEvent::Ended { reason, is_refused } => {
                self.end_reason = Some((text::line(&reason), is_refused));
                self.has_quit = true;
            }
        }
        Vec::new()
    }

    fn on_message(&mut self, message: ChatHistoryMessage) -> Vec<ChatSessionCommand> {
        let (with, is_mine) = (message.with.clone(), message.is_own());
        let rows = view::rows_of(self, &message);
        let is_open = self.open.as_ref() == Some(&with);
        let chat = self.chats.entry(with).or_default();
        chat.add(message);
        if is_mine {
            chat.scroll = 0;
        } else if is_open && chat.scroll > 0 && chat.search.is_none() {
            // The messages that the user is looking at stay where they are.
            chat.scroll += rows;
        }
        if is_open { self.mark_seen().into_iter().collect() } else { Vec::new() }
    }

    fn on_link_status(&mut self, link: ServerLinkStatus) -> Vec<ChatSessionCommand> {
        if let ServerLinkStatus::Over(why) = &link {
            self.warn(format!("{}; /connect connects again", text::line(why)));
        }
        if link != ServerLinkStatus::Here {
            self.friends.values_mut().for_each(|friend| friend.is_online = false);
        }
        let is_here = link == ServerLinkStatus::Here;
        self.link = link;
        match &self.open {
            Some(open) if is_here => vec![ChatSessionCommand::LookAt(open.clone())],
            _ => Vec::new(),
        }
    }

    fn on_roster(&mut self, roster: ChatContactListSnapshot) {
        self.friends = roster.friends.into_iter().map(|friend| (friend.name.clone(), friend)).collect();
        self.incoming = roster.incoming;
        self.outgoing = roster.outgoing;
    }
}

/// Adds a request; one that is reported twice is kept once.
fn add_request(asks: &mut Vec<ChatContactListFriendRequest>, ask: ChatContactListFriendRequest) {
    asks.retain(|known| known.name != ask.name);
    if asks.len() < ASKS_MAX {
        asks.push(ask);
    }
}
