//! Orders about friends and the account.

use super::ChatSessionWorker;
use crate::session_messages::{
    ChatContactListFriend, ChatContactListFriendRequest, ChatContactListSnapshot, ChatSessionCommand, ChatSessionEvent,
};
use crate::text;
use hongyan::client::{ClientRosterFriendRequest, Error, ErrorCode, ProfileChange, hash_value};

impl ChatSessionWorker {
    pub(super) fn execute(&mut self, order: ChatSessionCommand) {
        match order {
            ChatSessionCommand::Retry { with, id } => self.retry(&with, &id),
            ChatSessionCommand::Saw { with, time } => {
                let kept = self.shared.update_history(|history| history.store_seen(&with, time));
                if let Err(error) = kept {
                    self.shared.warn(format!("cannot write the messages: {error}"));
                }
            }
            ChatSessionCommand::LookAt(name) => {
                if name != "system" && self.is_online {
                    self.trust(&name);
                }
            }
            ChatSessionCommand::Agree { name, keys } => self.accept_keys(&name, &keys),
            ChatSessionCommand::Export { .. } => self.export(&order),
            ChatSessionCommand::Import { .. } => self.import(&order),
            ChatSessionCommand::NewKeys => self.new_keys(),
            ChatSessionCommand::Connect => self.connect(),
            ChatSessionCommand::LogOut => self.log_out(),
            ChatSessionCommand::DeleteAccount { password } => self.delete_account(&password),
            ChatSessionCommand::Password { old, new } => self.change_password(&old, &new),
            ChatSessionCommand::Profile { key, value } => self.change_profile(&key, value),
            // These orders are handled by the session itself.
            ChatSessionCommand::Send { .. } | ChatSessionCommand::Quit => {}
            other => self.execute_about_other(other),
        }
    }

    /// Executes orders about one other user. They may change the roster.
    fn execute_about_other(&mut self, order: ChatSessionCommand) {
        let Some(client) = self.online() else { return };
        match order {
            ChatSessionCommand::Find(name) => {
                match client.profile(&name) {
                    Ok(Some(profile)) => {
                        let keys = if profile.rsa_public_key.is_empty() { "none" } else { "yes" };
                        let rows = [
                            ("Name", profile.user_name.as_str()),
                            ("Nick", &profile.nick_name),
                            ("Mail", &profile.email_address),
                            ("Picture", &profile.profile_picture),
                            ("Location", &profile.location),
                            ("About", &profile.personal_description),
                            ("Keys", keys),
                        ];
                        let rows: Vec<String> = rows
                            .iter()
                            .filter(|(_, text)| !text.is_empty())
                            .map(|(label, text)| format!("{label:<9} {text}"))
                            .collect();
                        let hint = format!("\n\n/request {} asks to become friends.", text::line(&profile.user_name));
                        self.shared.emit(ChatSessionEvent::Shown {
                            title: "Profile".to_owned(),
                            text: rows.join("\n") + &hint,
                        });
                    }
                    Ok(None) => self.shared.emit_sentence(format!("there is no user {name}")),
                    Err(error) => self.shared.warn(error.to_string()),
                }
                return;
            }
            ChatSessionCommand::Ask { name, text } => {
                self.report(client.ask_friend(&name, &text), &format!("{name} was asked"));
            }
            ChatSessionCommand::Withdraw(ask) => {
                self.report(client.end_friendship(&ask.name), &format!("your request to {} is withdrawn", ask.name));
            }
            ChatSessionCommand::Answer { ask, is_accepted } => {
                let verb = if is_accepted { "you and {} are friends" } else { "the request of {} is rejected" };
                let answered = client.answer_request(is_accepted, &ask.id, &ask.name, "");
                self.report(answered, &verb.replace("{}", &ask.name));
            }
            ChatSessionCommand::Remove(name) => {
                self.report(client.end_friendship(&name), &format!("{name} is not your friend any more"));
            }
            ChatSessionCommand::Block(name) => {
                self.report(client.block(&name), &format!("{name} is blocked"));
            }
            ChatSessionCommand::Unblock(name) => {
                self.report(client.unblock(&name), &format!("{name} is not blocked any more"));
            }
            ChatSessionCommand::Blocked => {
                match client.blocked() {
                    Ok(names) if names.is_empty() => self.shared.emit_sentence("you have blocked nobody"),
                    Ok(names) => self
                        .shared
                        .emit(ChatSessionEvent::Shown { title: "Blocked".to_owned(), text: names.join("\n") }),
                    Err(error) => self.shared.warn(error.to_string()),
                }
                return;
            }
            _ => return,
        }
        self.refresh();
    }

    /// Fetches friends and requests.
    pub(super) fn refresh(&mut self) {
        let Some(client) = self.client.clone().filter(|client| client.is_online()) else { return };
        let ask = |request: ClientRosterFriendRequest| ChatContactListFriendRequest {
            name: request.user_name,
            id: request.message_id,
            text: request.content,
        };
        match client.roster(true) {
            Ok(roster) => {
                let friends = roster.friends.into_iter().map(|friend| ChatContactListFriend {
                    name: friend.user_name,
                    nick: friend.nick_name,
                    is_online: friend.online,
                });
                self.shared.emit(ChatSessionEvent::Roster(ChatContactListSnapshot {
                    friends: friends.collect(),
                    incoming: roster.incoming.into_iter().map(ask).collect(),
                    outgoing: roster.outgoing.into_iter().map(ask).collect(),
                }));
            }
            Err(Error::Refused(refusal)) if refusal.code == Some(ErrorCode::UnknownType) => {
                self.shared.warn("this server is too old to tell who your friends are");
            }
            Err(Error::Ended(_) | Error::TimedOut) => {}
            Err(error) => self.shared.warn(error.to_string()),
        }
    }

    fn change_profile(&self, key: &str, value: String) {
        let Some(client) = self.online() else { return };
        let mut change = ProfileChange::default();
        let place = match key {
            "nickName" => &mut change.nick_name,
            "emailAddress" => &mut change.email_address,
            "profilePicture" => &mut change.profile_picture,
            "location" => &mut change.location,
            _ => &mut change.personal_description,
        };
        *place = Some(value);
        self.report(client.change_profile(&change), "your profile is changed");
    }

    fn change_password(&mut self, old: &str, new: &str) {
        let Some(client) = self.online() else { return };
        if self.report(client.change_password(old, new), "your password is changed") {
            self.setup.hash = Some(hash_value(&self.setup.user, new).into());
        }
    }

    fn log_out(&mut self) {
        let Some(client) = self.online() else { return };
        match client.log_out() {
            Ok(()) => self.shared.emit(ChatSessionEvent::Ended { reason: "logged out".to_owned(), is_refused: false }),
            Err(error) => self.shared.warn(error.to_string()),
        }
    }

    fn delete_account(&mut self, password: &str) {
        let Some(client) = self.online() else { return };
        match client.delete_account(password) {
            Ok(()) => {
                let reason = "your account is deleted; your messages stay on this machine".to_owned();
                self.shared.emit(ChatSessionEvent::Ended { reason, is_refused: false });
            }
            Err(error) => self.shared.warn(error.to_string()),
        }
    }
}
