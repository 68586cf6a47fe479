//! Handles each line that the user enters: a message, or a command after a slash.

use super::{ChatApp, Popup, SecretPromptPurpose};
use crate::commands::{self, COMMANDS, InputCommand};
use crate::message::{ChatHistoryMessageState, KeyTrust};
use crate::session_messages::ChatSessionCommand;
use crate::text;

impl ChatApp {
    /// Handles Enter: sends the line, or executes its command.
    pub(super) fn enter_line(&mut self) -> Vec<ChatSessionCommand> {
        let line = self.editor().text().to_owned();
        if line.trim().is_empty() {
            return Vec::new();
        }
        if let Some(command) = line.strip_prefix('/').filter(|rest| !rest.starts_with('/')) {
            self.editor_mut().clear();
            let open = self.open.clone();
            let orders = self.command(command);
            open.iter().for_each(|name| self.restore_unsent(name));
            return orders;
        }
        let Some(to) = self.open.clone() else {
            self.warn("no chat is open: choose a friend in the list, or /request NAME");
            return Vec::new();
        };
        if self.blocks_sending(&to).is_some() {
            self.refuse(&to, &line);
            return Vec::new();
        }
        self.editor_mut().clear();
        self.restore_unsent(&to);
        let text = line.strip_prefix('/').unwrap_or(&line).to_owned();
        vec![ChatSessionCommand::Send { to, text }]
    }

    /// Puts aside a text that cannot be sent, so that the line is free for a command. The sentence
    /// of [`Self::blocks_sending`] names this command.
    fn refuse(&mut self, to: &str, line: &str) {
        let comes_back = to != "system" && self.editor_mut().keep_unsent(line);
        if comes_back {
            self.editor_mut().clear();
            self.warn("nothing is sent, see above; your text comes back when the chat goes on");
        } else {
            // The text stays in the line.
            self.warn("nothing is sent, see above");
        }
    }

    /// Puts the text that was put aside into the line again, if it can be sent now.
    pub(super) fn restore_unsent(&mut self, name: &str) {
        if self.blocks_sending(name).is_none()
            && let Some(chat) = self.chats.get_mut(name)
        {
            chat.draft.restore_unsent();
        }
    }

    /// The reason why nothing can be sent in a chat; `None` if sending is possible.
    pub(crate) fn blocks_sending(&self, to: &str) -> Option<String> {
        let name = text::line(to);
        match self.chats.get(to).map(|chat| &chat.trust) {
            Some(KeyTrust::Changed { .. }) => {
                Some(format!("nothing is sent: {name} has new keys. Compare the safety number (/safety), then /agree"))
            }
            Some(KeyTrust::Gone) => {
                Some(format!("nothing is sent: {name} has no keys any more. /agree writes without encryption"))
            }
            Some(KeyTrust::CannotSeal) => {
                Some(format!("nothing is sent: {name} has keys and you have none here. /import FILE, or /newkeys"))
            }
            _ if to == "system" => Some("the operator's notices cannot be answered".to_owned()),
            _ => None,
        }
    }

    /// Executes a command, given without its slash.
    pub(super) fn command(&mut self, line: &str) -> Vec<ChatSessionCommand> {
        let command = match commands::parse(line.trim(), self.open.as_deref()) {
            Ok(command) => command,
            Err(why) => {
                self.warn(text::line(&why));
                return Vec::new();
            }
        };
        match command {
            InputCommand::Help => self.show_help(),
            InputCommand::Quit => {
                self.has_quit = true;
                return vec![ChatSessionCommand::Quit];
            }
            InputCommand::Open(name) => return self.enter(&name),
            InputCommand::Find(name) => return vec![ChatSessionCommand::Find(name)],
            InputCommand::Request { name, text } => return vec![ChatSessionCommand::Ask { name, text }],
            InputCommand::Withdraw(name) => match self.outgoing.iter().find(|ask| ask.name == name) {
                Some(ask) => return vec![ChatSessionCommand::Withdraw(ask.clone())],
                None => self.warn(format!("you have not asked {}", text::line(&name))),
            },
            InputCommand::Accept(name) => return self.answer(&name, true),
            InputCommand::Reject(name) => return self.answer(&name, false),
            InputCommand::Remove(name) => {
                self.confirm(
                    &format!("End the friendship with {}?", text::line(&name)),
                    ChatSessionCommand::Remove(name),
                );
            }
            InputCommand::Block(name) => {
                let question = format!("Block {}? It ends the friendship, and they are not told.", text::line(&name));
                self.confirm(&question, ChatSessionCommand::Block(name));
            }
            InputCommand::Unblock(name) => return vec![ChatSessionCommand::Unblock(name)],
            InputCommand::Blocked => return vec![ChatSessionCommand::Blocked],
            InputCommand::Search(text) => self.search(text),
            InputCommand::Safety => self.show_safety(),
            InputCommand::Agree => self.ask_to_accept_keys(),
            InputCommand::Retry => return self.retry(),
            InputCommand::Export(file) => {
                self.ask_secret(
                    "A passphrase for the file, of at least 12 characters",
                    SecretPromptPurpose::Export { file },
                );
            }
            InputCommand::Import(file) => {
                self.ask_secret("The passphrase of the file", SecretPromptPurpose::Import { file })
            }
            InputCommand::NewKeys => {
                self.confirm("Make new keys? Your friends are warned.", ChatSessionCommand::NewKeys)
            }
            InputCommand::Profile { key, value } => {
                return vec![ChatSessionCommand::Profile { key: key.to_owned(), value }];
            }
            InputCommand::Password => self.ask_secret("The old password", SecretPromptPurpose::OldPassword),
            InputCommand::DeleteAccount => {
                self.ask_secret("Your password, to delete your account for good", SecretPromptPurpose::Delete);
            }
            InputCommand::Connect => return vec![ChatSessionCommand::Connect],
            InputCommand::LogOut => return vec![ChatSessionCommand::LogOut],
            #[cfg(debug_assertions)]
            InputCommand::Panic => panic!("as the test asked"),
        }
        Vec::new()
    }

    fn confirm(&mut self, question: &str, order: ChatSessionCommand) {
        self.popup = Some(Popup::Confirm { question: question.to_owned(), order });
    }

    fn answer(&mut self, name: &str, is_accepted: bool) -> Vec<ChatSessionCommand> {
        let Some(ask) = self.incoming.iter().find(|ask| ask.name == name) else {
            self.warn(format!("{} has not asked", text::line(name)));
            return Vec::new();
        };
        vec![ChatSessionCommand::Answer { ask: ask.clone(), is_accepted }]
    }

    /// Asks the user to accept the change of keys. The question has the safety number of exactly
    /// the keys that the user accepts: by the time of the answer, the profile may have other keys.
    fn ask_to_accept_keys(&mut self) {
        let trust = self.chat().map(|chat| chat.trust.clone());
        let (Some(name), Some(trust)) = (self.open.clone(), trust) else {
            self.warn("no chat is open");
            return;
        };
        let shown = text::line(&name);
        match trust {
            KeyTrust::Changed { safety, keys } if safety.is_empty() => {
                let question =
                    format!("Trust the new keys of {shown}? Without keys of yours there is no safety number.");
                self.confirm(&question, ChatSessionCommand::Agree { name, keys });
            }
            KeyTrust::Changed { safety, keys } => {
                let question = format!(
                    "Trust the new keys of {shown}? This is the safety number with them:\n\n{}\n\nDoes {shown} see the \
                     same one? Compare it face to face, or by a call.",
                    format_in_rows(&safety)
                );
                self.confirm(&question, ChatSessionCommand::Agree { name, keys });
            }
            KeyTrust::Gone => {
                let question = format!("{shown} has no keys any more. Write to {shown} without encryption?");
                self.confirm(&question, ChatSessionCommand::Agree { name, keys: String::new() });
            }
            _ => self.show_status("there is nothing to agree to"),
        }
    }

    /// Retries all messages of the open chat that failed, oldest first.
    pub(super) fn retry(&mut self) -> Vec<ChatSessionCommand> {
        let (Some(with), Some(chat)) = (self.open.clone(), self.chat_mut()) else { return Vec::new() };
        let ids: Vec<String> = chat.failed().map(|message| message.id.clone()).collect();
        ids.iter().for_each(|id| chat.set_state(id, ChatHistoryMessageState::Sent));
        ids.into_iter().map(|id| ChatSessionCommand::Retry { with: with.clone(), id }).collect()
    }

    fn search(&mut self, wanted: String) {
        match self.chat_mut() {
            Some(chat) => {
                chat.search = Some(wanted);
                chat.scroll = 0;
            }
            None => self.warn("no chat is open to search in"),
        }
    }

    pub(super) fn show(&mut self, title: &str, text: &str) {
        let popup = Some(Popup::Text { title: title.to_owned(), text: text.to_owned(), scroll: 0 });
        match self.popup {
            // Show it later: users who type a secret must not type the rest of it anywhere else.
            Some(Popup::Secret { .. } | Popup::Confirm { .. }) => self.next_popup = popup,
            _ => self.popup = popup,
        }
    }

    fn show_safety(&mut self) {
        let Some(name) = self.open.clone() else {
            self.warn("no chat is open");
            return;
        };
        let name = text::line(&name);
        let (head, safety) = match self.chat().map(|chat| chat.trust.clone()).unwrap_or_default() {
            KeyTrust::Pinned { safety } => (String::new(), safety),
            KeyTrust::Changed { safety, .. } => {
                (format!("With the NEW keys of {name}, which you have not agreed to:\n\n"), safety)
            }
            KeyTrust::NoKeys | KeyTrust::Gone => {
                self.show_status(format!("{name} has no keys: messages are not encrypted"));
                return;
            }
            KeyTrust::CannotSeal => {
                self.show_status("you have no keys here: /import FILE, or /newkeys");
                return;
            }
            KeyTrust::Unknown => {
                self.show_status("the keys are not known yet");
                return;
            }
        };
        let text = format!(
            "{head}{}\n\nCompare it with {name} where nobody can change it: face to face, or by a call. If both see \
             the same number, nobody else can read your messages.",
            format_in_rows(&safety)
        );
        self.show("Safety number", &text);
    }

    pub(super) fn show_help(&mut self) {
        let width = COMMANDS.iter().map(|(name, usage, _)| name.len() + usage.len() + 2).max().unwrap_or(0);
        let commands =
            COMMANDS.iter().map(|(name, usage, what)| format!("{:<width$} {what}", format!("/{name} {usage}")));
        let commands: Vec<String> = commands.collect();
        let keys = "Tab          switch between the list and the chat\n\
            Enter        open the chosen chat; send\n\
            Alt-Enter    start a new line (also Ctrl-J)\n\
            Ctrl-U       clear the line; Ctrl-W: delete its last word\n\
            PgUp, PgDn   scroll back (also Up, Down)\n\
            Ctrl-N       open the next chat with unread messages\n\
            Ctrl-R       send failed messages again\n\
            Ctrl-L       redraw the screen\n\
            Ctrl-Q       leave (also Ctrl-C)\n\
            In the list: a accept, r reject, w withdraw, d remove, b block\n\n\
            · sent   ✓ the server has promised to deliver it   ✗ failed\n\n";
        self.show("Help", &format!("{keys}{}", commands.join("\n")));
    }
}

/// A safety number in rows, for reading aloud.
fn format_in_rows(safety: &str) -> String {
    let groups: Vec<&str> = safety.split(' ').collect();
    groups.chunks(4).map(|row| row.join(" ")).collect::<Vec<_>>().join("\n")
}
