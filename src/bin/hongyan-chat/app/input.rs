//! How the state changes when a key is pressed.

use super::{ChatApp, ChatContactListRow, Focus, Popup, SecretPromptPurpose};
use crate::editor::LineEditor;
use crate::secret::Secret;
use crate::session_messages::{ChatSessionCommand, ServerLinkStatus};
use crate::text;
use crate::view;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The same as on the web page. Anybody who has the file can try passphrases for as long as they
/// like.
const PASSPHRASE_CHARS_MIN: usize = 12;

impl ChatApp {
    /// Handles a key.
    pub(crate) fn on_key(&mut self, key: KeyEvent) -> Vec<ChatSessionCommand> {
        if key.kind == KeyEventKind::Release {
            return Vec::new();
        }
        self.is_status_seen = true;
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && matches!(key.code, KeyCode::Char('q' | 'c')) {
            self.has_quit = true;
            return vec![ChatSessionCommand::Quit];
        }
        if is_control && key.code == KeyCode::Char('l') {
            self.wants_redraw = true;
            return Vec::new();
        }
        if self.popup.is_some() {
            let orders = self.press_in_popup(key);
            if self.popup.is_none() {
                self.popup = self.next_popup.take();
            }
            return orders;
        }
        match (key.code, is_control) {
            (KeyCode::F(1), _) => self.show_help(),
            (KeyCode::Tab | KeyCode::BackTab, _) => return self.switch_focus(),
            (KeyCode::Char('n'), true) => {
                return self.next_unread().map(|name| self.enter(&name)).unwrap_or_default();
            }
            (KeyCode::Char('r'), true) => return self.retry(),
            _ if self.focus == Focus::List => return self.on_key_in_list(key),
            _ => return self.press_in_chat(key, is_control),
        }
        Vec::new()
    }

    /// Handles pasted text. It is never taken as commands or keys.
    pub(crate) fn paste(&mut self, text: &str) {
        match &mut self.popup {
            Some(Popup::Secret { editor, .. }) => editor.insert(text.lines().next().unwrap_or_default()),
            Some(_) => {}
            None => {
                self.focus = Focus::Chat;
                self.editor_mut().insert(text);
            }
        }
    }

    pub(crate) fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
        self.limit_scroll();
    }

    fn switch_focus(&mut self) -> Vec<ChatSessionCommand> {
        self.focus = if self.focus == Focus::List { Focus::Chat } else { Focus::List };
        self.mark_seen().into_iter().collect()
    }

    fn on_key_in_list(&mut self, key: KeyEvent) -> Vec<ChatSessionCommand> {
        match key.code {
            KeyCode::Up => self.step(-1),
            KeyCode::Down => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Enter | KeyCode::Right => return self.enter_row(),
            KeyCode::Char('?') => self.show_help(),
            KeyCode::Char('/') => self.begin_command(),
            KeyCode::Char(letter @ ('a' | 'r' | 'b' | 'w' | 'd')) => return self.on_shortcut(letter),
            _ => {}
        }
        Vec::new()
    }

    fn begin_command(&mut self) {
        self.focus = Focus::Chat;
        let draft = self.editor().text().to_owned();
        // The text that is being written comes back after the command.
        if draft.is_empty() || self.editor_mut().keep_unsent(&draft) {
            self.editor_mut().set("/");
        }
    }

    fn enter_row(&mut self) -> Vec<ChatSessionCommand> {
        match self.current_row() {
            Some(ChatContactListRow::Friend(name) | ChatContactListRow::Other(name)) => self.enter(&name),
            Some(ChatContactListRow::Asks(name)) => {
                self.show_request(&name);
                Vec::new()
            }
            Some(ChatContactListRow::Asked(name)) => vec![ChatSessionCommand::Find(name)],
            None => Vec::new(),
        }
    }

    /// Shows the text of a friend request.
    fn show_request(&mut self, name: &str) {
        let Some(ask) = self.incoming.iter().find(|ask| ask.name == name) else { return };
        let words = if ask.text.trim().is_empty() { "(without words)" } else { &ask.text };
        let name = text::line(name);
        let text = format!(
            "{name} asks to become your friend:\n\n{words}\n\nType /accept {name} or /reject {name}; /find {name} shows \
             the profile."
        );
        self.show("Friend request", &text);
    }

    /// Handles a letter in the list: a shortcut for a command about the chosen row.
    fn on_shortcut(&mut self, letter: char) -> Vec<ChatSessionCommand> {
        let command = match (letter, self.current_row()) {
            ('a', Some(ChatContactListRow::Asks(name))) => format!("accept {name}"),
            ('r', Some(ChatContactListRow::Asks(name))) => format!("reject {name}"),
            ('w', Some(ChatContactListRow::Asked(name))) => format!("withdraw {name}"),
            ('d', Some(ChatContactListRow::Friend(name))) => format!("remove {name}"),
            ('b', Some(row)) => format!("block {}", row.name()),
            _ => return Vec::new(),
        };
        self.command(&command)
    }

    fn press_in_chat(&mut self, key: KeyEvent, is_control: bool) -> Vec<ChatSessionCommand> {
        let is_alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter if is_alt => self.editor_mut().insert("\n"),
            KeyCode::Char('j') if is_control => self.editor_mut().insert("\n"),
            KeyCode::Enter => return self.enter_line(),
            KeyCode::Esc => return self.on_escape(),
            KeyCode::PageUp => self.scroll(view::page(self)),
            KeyCode::PageDown => return self.scroll_down(view::page(self)),
            KeyCode::Up => self.scroll(1),
            KeyCode::Down => return self.scroll_down(1),
            KeyCode::Char('w') if is_control => self.editor_mut().delete_word(),
            KeyCode::Char('u') if is_control => self.editor_mut().clear(),
            KeyCode::Char('a') if is_control => self.editor_mut().home(),
            KeyCode::Char('e') if is_control => self.editor_mut().end(),
            KeyCode::Char(_) if is_control => {}
            KeyCode::Char(char) if !is_alt => self.editor_mut().insert(char.encode_utf8(&mut [0; 4])),
            code => edit(self.editor_mut(), code),
        }
        Vec::new()
    }

    /// Handles Esc: it ends the search first, then scrolling back, then the chat.
    fn on_escape(&mut self) -> Vec<ChatSessionCommand> {
        let Some(chat) = self.chat_mut() else {
            self.focus = Focus::List;
            return Vec::new();
        };
        if chat.search.take().is_some() || chat.scroll > 0 {
            chat.scroll = 0;
            return self.mark_seen().into_iter().collect();
        }
        self.focus = Focus::List;
        Vec::new()
    }

    fn scroll(&mut self, by: usize) {
        if let Some(chat) = self.chat_mut() {
            chat.scroll = chat.scroll.saturating_add(by);
        }
        self.limit_scroll();
    }

    fn scroll_down(&mut self, by: usize) -> Vec<ChatSessionCommand> {
        if let Some(chat) = self.chat_mut() {
            chat.scroll = chat.scroll.saturating_sub(by);
        }
        self.mark_seen().into_iter().collect()
    }

    fn limit_scroll(&mut self) {
        let max = view::scroll_max(self);
        if let Some(chat) = self.chat_mut() {
            chat.scroll = chat.scroll.min(max);
        }
    }

    fn press_in_popup(&mut self, key: KeyEvent) -> Vec<ChatSessionCommand> {
        let last = self.popup.as_ref().map_or(0, |popup| view::popup_scroll_max(popup, self.size));
        match (&mut self.popup, key.code) {
            (_, KeyCode::Esc) => self.popup = None,
            (Some(Popup::Text { scroll, .. }), KeyCode::Up) => *scroll = scroll.saturating_sub(1),
            (Some(Popup::Text { scroll, .. }), KeyCode::PageUp) => *scroll = scroll.saturating_sub(10),
            (Some(Popup::Text { scroll, .. }), KeyCode::Down) => *scroll = (*scroll + 1).min(last),
            (Some(Popup::Text { scroll, .. }), KeyCode::PageDown) => *scroll = (*scroll + 10).min(last),
            (Some(Popup::Text { .. }), KeyCode::Enter) => self.popup = None,
            // Letters do not close the window: the rest of the word would go somewhere else
            // unnoticed, perhaps to a friend.
            (Some(Popup::Text { .. } | Popup::Confirm { .. }), KeyCode::Char('/')) => {
                self.popup = None;
                self.begin_command();
            }
            (Some(Popup::Confirm { .. }), KeyCode::Char('y' | 'Y')) => {
                if let Some(Popup::Confirm { order, .. }) = self.popup.take() {
                    return vec![order];
                }
            }
            (Some(Popup::Confirm { .. }), KeyCode::Char('n' | 'N')) => self.popup = None,
            (Some(Popup::Secret { .. }), KeyCode::Enter) => {
                if let Some(Popup::Secret { label, mut editor, then }) = self.popup.take() {
                    return self.take_secret(&label, editor.take().into(), then);
                }
            }
            (Some(Popup::Secret { editor, .. }), KeyCode::Char(char))
                if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) =>
            {
                editor.insert(char.encode_utf8(&mut [0; 4]));
            }
            (Some(Popup::Secret { editor, .. }), code) => edit(editor, code),
            _ => {}
        }
        Vec::new()
    }

    /// Asks again if the secret cannot be used. If the window closed, the user might enter the
    /// secret once more, and send it to a friend.
    fn take_secret(&mut self, label: &str, secret: Secret, then: SecretPromptPurpose) -> Vec<ChatSessionCommand> {
        if secret.is_empty() {
            self.warn("nothing was entered; Esc leaves");
            self.ask_secret(label, then);
            return Vec::new();
        }
        match then {
            SecretPromptPurpose::Export { file } if secret.chars().count() < PASSPHRASE_CHARS_MIN => {
                self.ask_secret(
                    "Too short. A passphrase of at least 12 characters",
                    SecretPromptPurpose::Export { file },
                );
            }
            SecretPromptPurpose::Export { file } => {
                self.ask_secret(
                    "The same passphrase again",
                    SecretPromptPurpose::ExportAgain { file, passphrase: secret },
                );
            }
            SecretPromptPurpose::OldPassword => {
                self.ask_secret("The new password", SecretPromptPurpose::NewPassword { old: secret })
            }
            SecretPromptPurpose::NewPassword { old } => {
                self.ask_secret("The new password again", SecretPromptPurpose::NewPasswordAgain { old, new: secret });
            }
            SecretPromptPurpose::ExportAgain { file, passphrase } if passphrase != secret => {
                self.ask_secret(
                    "The two were not the same. A passphrase for the file",
                    SecretPromptPurpose::Export { file },
                );
            }
            SecretPromptPurpose::NewPasswordAgain { old, new } if new != secret => {
                self.ask_secret(
                    "The two were not the same. The new password",
                    SecretPromptPurpose::NewPassword { old },
                );
            }
            SecretPromptPurpose::ExportAgain { file, passphrase } => {
                return vec![ChatSessionCommand::Export { file, passphrase }];
            }
            SecretPromptPurpose::NewPasswordAgain { old, new } => {
                return vec![ChatSessionCommand::Password { old, new }];
            }
            SecretPromptPurpose::Import { file } => {
                return vec![ChatSessionCommand::Import { file, passphrase: secret }];
            }
            SecretPromptPurpose::Delete => return vec![ChatSessionCommand::DeleteAccount { password: secret }],
        }
        Vec::new()
    }

    pub(super) fn ask_secret(&mut self, label: &str, then: SecretPromptPurpose) {
        self.popup = Some(Popup::Secret { label: label.to_owned(), editor: LineEditor::default(), then });
    }

    /// A sentence about a problem of the connection, if there is one.
    pub(crate) fn connection_problem(&self) -> Option<String> {
        match &self.link {
            ServerLinkStatus::Here => None,
            ServerLinkStatus::Connecting => Some("connecting".to_owned()),
            ServerLinkStatus::Away(why) => Some(format!("not connected, trying again: {why}")),
            ServerLinkStatus::Over(why) => Some(format!("not connected: {why}; /connect connects again")),
        }
    }
}

fn edit(editor: &mut LineEditor, code: KeyCode) {
    match code {
        KeyCode::Backspace => editor.delete_before(),
        KeyCode::Delete => editor.delete_behind(),
        KeyCode::Left => editor.left(),
        KeyCode::Right => editor.right(),
        KeyCode::Home => editor.home(),
        KeyCode::End => editor.end(),
        _ => {}
    }
}
