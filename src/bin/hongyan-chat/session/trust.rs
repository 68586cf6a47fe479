//! Keys: the user's own in the profile, and those of friends.

use super::ChatSessionWorker;
use super::shared::ChatSessionShared;
use crate::keyring::OwnEncryptionKeysCheckResult;
use crate::message::{ChatHistoryMessage, ChatHistoryMessageState, KeyTrust, MessageEncryptionStatus};
use crate::session_messages::{ChatSessionCommand, ChatSessionEvent};
use hongyan::client::{Client, Error, ProfileChange, UserProfile};
use std::time::{Duration, Instant};

const FRESH: Duration = Duration::from_secs(5);

/// Fetches a friend's keys, compares them and reports the result. `None` if there was no answer.
pub(super) fn fetch_and_check_keys(desk: &ChatSessionShared, client: &Client, name: &str) -> Option<KeyTrust> {
    let in_profile = profile(desk, client, name)?.rsa_public_key;
    let looked = desk.keyring().check_friend_keys(name, &in_profile);
    match looked {
        Ok(trust) => {
            desk.emit(ChatSessionEvent::Trust { name: name.to_owned(), trust: trust.clone() });
            Some(trust)
        }
        Err(why) => {
            desk.warn(why);
            None
        }
    }
}

/// The profile; an empty one if there is no such user (any more).
fn profile(desk: &ChatSessionShared, client: &Client, name: &str) -> Option<UserProfile> {
    match client.profile(name) {
        Ok(profile) => Some(profile.unwrap_or_default()),
        Err(Error::Ended(_)) => None,
        Err(error) => {
            desk.warn(error.to_string());
            None
        }
    }
}

impl ChatSessionWorker {
    /// Compares the friend's keys now.
    pub(super) fn trust(&mut self, name: &str) -> Option<KeyTrust> {
        let client = self.client.clone().filter(|client| self.is_online && client.is_online())?;
        let trust = fetch_and_check_keys(&self.shared, &client, name)?;
        // An answer that stops a message must not let the next one pass for some seconds.
        let allows = matches!(trust, KeyTrust::NoKeys | KeyTrust::Pinned { .. });
        self.checked_friends.insert(name.to_owned(), allows.then(Instant::now));
        Some(trust)
    }

    /// Were the friend's keys compared a moment ago, and allowed sending? A person writes several
    /// messages in a row, and keys rarely change.
    pub(super) fn is_fresh(&self, name: &str) -> bool {
        self.checked_friends.get(name).copied().flatten().is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Compares the keys in the user's own profile, and acts on the result.
    pub(super) fn check_own_keys(&mut self) {
        let Some(client) = self.client.clone().filter(Client::is_online) else { return };
        let Some(own) = profile(&self.shared, &client, &self.setup.user.clone()) else { return };
        self.knows_own_keys = true;
        self.take_next_keys(&own.rsa_public_key);
        let standing = self.shared.keyring().check_own_keys(&own.rsa_public_key);
        match standing {
            OwnEncryptionKeysCheckResult::Good => {}
            OwnEncryptionKeysCheckResult::None => self.make_keys(&client),
            OwnEncryptionKeysCheckResult::Unpublished => {
                let text = self.shared.keyring().public_text();
                self.publish(&client, text.unwrap_or_default());
            }
            OwnEncryptionKeysCheckResult::Others => self.shared.warn(
                "your account has keys that are not here: /import FILE brings them from where you exported them, \
                 /newkeys makes new ones",
            ),
        }
    }

    /// Generates the user's first keys.
    fn make_keys(&mut self, client: &Client) {
        let made = self.shared.keyring().renew();
        match made {
            Ok(text) => {
                self.publish(client, text);
            }
            Err(why) => self.shared.warn(why),
        }
    }

    fn publish(&mut self, client: &Client, text: String) -> bool {
        let change = ProfileChange { rsa_public_key: Some(text), ..ProfileChange::default() };
        let published = client.change_profile(&change);
        if let Err(error) = &published {
            let may_be = if error.may_have_been_executed() {
                "it is not known whether your keys are"
            } else {
                "your keys are not"
            };
            self.shared.warn(format!("{may_be} in your profile: {error}"));
        }
        self.checked_friends.clear();
        published.is_ok()
    }

    /// Replaces the user's keys. The new keys are on the disk before they are published, and used
    /// only when they are. So the keys that friends see are always those that sign, and no keys are
    /// lost, whatever fails.
    pub(super) fn new_keys(&mut self) {
        let Some(client) = self.online() else { return };
        let made = self.shared.keyring().generate_next_keys();
        let text = match made {
            Ok(text) => text,
            Err(why) => return self.shared.warn(why),
        };
        if !self.publish(&client, text.clone()) {
            // The new keys may be in the profile all the same: the profile is checked before the
            // next message.
            self.knows_own_keys = false;
        } else if self.take_next_keys(&text) {
            self.shared.emit_sentence("you have new keys; your friends are warned");
            self.recheck_stopped();
        }
    }

    fn take_next_keys(&self, in_profile: &str) -> bool {
        let taken = self.shared.keyring().take_next(in_profile);
        let is_taken = taken.unwrap_or_else(|why| {
            self.shared.warn(why);
            false
        });
        if is_taken {
            // Messages that friends have encrypted for the new keys meanwhile.
            self.read_again(None);
        }
        is_taken
    }

    pub(super) fn export(&self, order: &ChatSessionCommand) {
        let ChatSessionCommand::Export { file, passphrase } = order else { return };
        let exported = self.shared.keyring().export(file, passphrase);
        match exported {
            Ok(()) => self.shared.emit_sentence(format!("your keys are in {}", file.display())),
            Err(why) => self.shared.warn(why),
        }
    }

    pub(super) fn import(&mut self, order: &ChatSessionCommand) {
        let ChatSessionCommand::Import { file, passphrase } = order else { return };
        let Some(client) = self.online() else { return };
        let Some(own) = profile(&self.shared, &client, &self.setup.user.clone()) else { return };
        let imported = self.shared.keyring().import(file, passphrase, &own.rsa_public_key);
        match imported {
            Ok(()) => {
                self.shared.emit_sentence("your keys are here now");
                self.check_own_keys();
                self.recheck_stopped();
                self.read_again(None);
            }
            Err(why) => self.shared.warn(why),
        }
    }

    /// Compares again the keys of stopped chats: the reason may no longer exist.
    fn recheck_stopped(&mut self) {
        let names = std::mem::take(&mut self.checked_friends);
        for name in names.keys() {
            self.trust(name);
        }
    }

    pub(super) fn accept_keys(&mut self, name: &str, shown: &str) {
        let Some(client) = self.online() else { return };
        let Some(theirs) = profile(&self.shared, &client, name) else { return };
        let agreed = self.shared.keyring().accept_keys(name, shown, &theirs.rsa_public_key);
        match agreed {
            Ok(trust) => {
                let is_other = matches!(trust, KeyTrust::Changed { .. } | KeyTrust::Gone);
                self.shared.emit(ChatSessionEvent::Trust { name: name.to_owned(), trust });
                if is_other {
                    self.shared.warn(format!(
                        "nothing was agreed to: the keys of {name} have changed again; /agree once more"
                    ));
                    return;
                }
                self.shared.emit_sentence("agreed");
                self.read_again(Some(name));
            }
            Err(why) => self.shared.warn(why),
        }
    }

    /// Reads doubtful messages again: with the keys that are known now they may be readable.
    fn read_again(&self, of: Option<&str>) {
        let is_meant = |message: &&ChatHistoryMessage| {
            message.way == ChatHistoryMessageState::Received
                && message.seal == MessageEncryptionStatus::Doubtful
                && of.is_none_or(|name| message.with == name)
        };
        let doubtful: Vec<ChatHistoryMessage> =
            self.shared.history().messages().iter().filter(is_meant).cloned().collect();
        for message in doubtful {
            let (text, seal) = self.shared.keyring().open_message(&message.with, &message.id, &message.text);
            if seal != MessageEncryptionStatus::Sealed {
                continue;
            }
            let clear = ChatHistoryMessage { text, seal, ..message };
            let kept = self.shared.update_history(|history| history.clear(&clear));
            match kept {
                Ok(()) => self.shared.emit(ChatSessionEvent::Cleared(clear)),
                Err(error) => self.shared.warn(format!("a message cannot be kept: {error}")),
            }
        }
    }
}
