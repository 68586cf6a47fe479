//! The user's own keys and the trusted keys of friends. They decide which message is encrypted,
//! which one is genuine, and where a change of keys stops a chat.

use crate::files::{self, ChatUserDataDir};
use crate::message::{KeyTrust, MessageEncryptionStatus};
use hongyan::client::Push;
use hongyan::client::e2e::{
    E2eEncryptionError, E2eKeyPairs, E2eMessageContext, E2ePublicKeys, FriendKeysCheckResult, PinnedKeys, is_encrypted,
    safety_number,
};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The suffix of the file with new keys that are not in the profile yet.
const NEXT: &str = "next";
/// The suffix of the file with the previous keys.
const OLD: &str = "old";
/// The maximum length of a file of exported keys.
const EXPORT_BYTES_MAX: u64 = 64 * 1024;

/// The keys that a user has and trusts, and their files.
#[derive(Debug)]
pub(crate) struct E2eKeyring {
    own_name: String,
    keys: Option<E2eKeyPairs>,
    /// New keys, which replace `keys` once the user's own profile shows them.
    next: Option<E2eKeyPairs>,
    /// False while the user's profile shows other keys: messages signed with these keys would cause
    /// warnings at friends.
    is_published: bool,
    pins: PinnedKeys,
    /// Friends whose keys have changed or disappeared: nothing is encrypted for them.
    stopped_friends: BTreeSet<String>,
    keys_path: PathBuf,
    pins_path: PathBuf,
    lock_path: PathBuf,
}

/// A text in the form in which it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChatOutgoingText {
    pub(crate) content: String,
    pub(crate) seal: MessageEncryptionStatus,
}

/// The result of comparing the user's own profile with the keys on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnEncryptionKeysCheckResult {
    /// The profile has the keys that are on this machine.
    Good,
    /// There are no keys, neither in the profile nor on this machine.
    None,
    /// There are keys on this machine only: they must be published.
    Unpublished,
    /// The profile has other keys than this machine.
    Others,
}

impl E2eKeyring {
    /// Reads the files that exist.
    ///
    /// # Errors
    /// One sentence. Without the trusted keys a change of keys could not be detected, so the
    /// program does not start.
    pub(crate) fn open(own_name: &str, folder: &ChatUserDataDir, keys_path: Option<&Path>) -> Result<Self, String> {
        let keys_path = keys_path.map_or_else(|| folder.file("keys"), Path::to_owned);
        let (keys, next) = (load_keys(own_name, &keys_path)?, load_keys(own_name, &keys_path.with_extension(NEXT))?);
        let (pins_path, lock_path) = (folder.file("pins"), folder.file("pins.lock"));
        let pins = load_pins(&pins_path)?;
        let (own_name, stopped_friends) = (own_name.to_owned(), BTreeSet::new());
        Ok(Self { own_name, keys, next, is_published: true, pins, stopped_friends, keys_path, pins_path, lock_path })
    }

    /// The keys that can be used now.
    fn usable(&self) -> Option<&E2eKeyPairs> {
        self.keys.as_ref().filter(|_| self.is_published)
    }

    /// The text of the public keys for the profile.
    pub(crate) fn public_text(&self) -> Option<String> {
        self.keys.as_ref().map(|keys| keys.public().text())
    }

    /// Compares the user's own profile with the keys on this machine.
    pub(crate) fn check_own_keys(&mut self, in_profile: &str) -> OwnEncryptionKeysCheckResult {
        let published = E2ePublicKeys::read(in_profile).ok();
        let own = match (&self.keys, published) {
            (None, None) => OwnEncryptionKeysCheckResult::None,
            (Some(_), None) => OwnEncryptionKeysCheckResult::Unpublished,
            (Some(keys), Some(published)) if *keys.public() == published => OwnEncryptionKeysCheckResult::Good,
            (_, Some(_)) => OwnEncryptionKeysCheckResult::Others,
        };
        self.is_published =
            matches!(own, OwnEncryptionKeysCheckResult::Good | OwnEncryptionKeysCheckResult::Unpublished);
        own
    }

    /// Generates new keys and stores them beside the present ones. Returns the text to publish.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn generate_next_keys(&mut self) -> Result<String, String> {
        let keys = self.generate()?;
        let path = self.keys_path.with_extension(NEXT);
        keys.save(&path).map_err(|error| format!("cannot write the keys to {}: {error}", path.display()))?;
        Ok(self.next.insert(keys).public().text())
    }

    /// Makes the new keys the present ones if the user's profile shows them. If not, the new keys
    /// are kept, because the profile may still change. Returns whether they became the present
    /// ones.
    ///
    /// # Errors
    /// One sentence: they cannot be stored.
    pub(crate) fn take_next(&mut self, in_profile: &str) -> Result<bool, String> {
        let published = E2ePublicKeys::read(in_profile).ok();
        if published.is_none() || self.next.as_ref().map(E2eKeyPairs::public) != published.as_ref() {
            return Ok(false);
        }
        let cannot = |error: io::Error| format!("cannot write the keys to {}: {error}", self.keys_path.display());
        if let Some(before) = &self.keys {
            before.save(self.keys_path.with_extension(OLD)).map_err(cannot)?;
        }
        std::fs::rename(self.keys_path.with_extension(NEXT), &self.keys_path).map_err(cannot)?;
        self.keys = self.next.take();
        self.is_published = true;
        Ok(true)
    }

    fn generate(&self) -> Result<E2eKeyPairs, String> {
        E2eKeyPairs::generate(&self.own_name).map_err(|fault| format!("cannot make keys: {fault}"))
    }

    /// Generates new keys and stores them; the previous ones stay in another file beside.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn renew(&mut self) -> Result<String, String> {
        self.store_keys(self.generate()?)
    }

    fn store_keys(&mut self, keys: E2eKeyPairs) -> Result<String, String> {
        let cannot = |error: io::Error| format!("cannot write the keys to {}: {error}", self.keys_path.display());
        if let Some(before) = &self.keys {
            before.save(self.keys_path.with_extension(OLD)).map_err(cannot)?;
        }
        keys.save(&self.keys_path).map_err(cannot)?;
        let text = keys.public().text();
        self.keys = Some(keys);
        self.is_published = true;
        Ok(text)
    }

    /// Removes keys that were never published.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn remove_unpublished(&mut self) -> Result<(), String> {
        self.keys = None;
        let path = &self.keys_path;
        std::fs::remove_file(path).map_err(|error| format!("cannot remove {}: {error}", path.display()))
    }

    /// Writes the user's keys to a new file, encrypted with a passphrase.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn export(&self, file: &Path, passphrase: &str) -> Result<(), String> {
        let keys = self.keys.as_ref().ok_or("there are no keys to export")?;
        let text = keys.export(passphrase).map_err(|fault| fault.to_string())?;
        files::create(file, text.as_bytes()).map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    /// Reads exported keys. They must be those that the user's profile shows.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn import(&mut self, file: &Path, passphrase: &str, in_profile: &str) -> Result<(), String> {
        let cannot = |why: &dyn std::fmt::Display| format!("cannot read the keys in {}: {why}", file.display());
        let bytes = files::read_up_to(file, EXPORT_BYTES_MAX).map_err(|error| cannot(&error))?;
        let bytes = bytes.ok_or_else(|| cannot(&"there is no such file"))?;
        let text = String::from_utf8(bytes).map_err(|_| cannot(&"it is no text"))?;
        let keys = E2eKeyPairs::import(&text, passphrase).map_err(|fault| cannot(&fault))?;
        if keys.user() != self.own_name {
            return Err(cannot(&"they belong to another user"));
        }
        if E2ePublicKeys::read(in_profile).is_ok_and(|published| published != *keys.public()) {
            return Err(cannot(&"your account shows other keys by now"));
        }
        self.store_keys(keys).map(|_| ())
    }

    /// Compares the keys in a friend's profile with the trusted ones; trusts them if they are the
    /// friend's first ones.
    ///
    /// # Errors
    /// One sentence: the trusted keys cannot be stored.
    pub(crate) fn check_friend_keys(&mut self, name: &str, in_profile: &str) -> Result<KeyTrust, String> {
        let mut standing = self.pins.check_keys(name, in_profile);
        if let FriendKeysCheckResult::Known(keys) = &standing
            && load_pins(&self.pins_path)?.keys_of(name) != Some(keys)
        {
            self.change_pins(|pins| drop(pins.check_keys(name, in_profile)))?;
            // Another process may have trusted other keys meanwhile, so the keys are compared
            // again.
            standing = self.pins.check_keys(name, in_profile);
        }
        if let FriendKeysCheckResult::Changed(_) = standing {
            self.stopped_friends.insert(name.to_owned());
        } else {
            self.stopped_friends.remove(name);
        }
        Ok(self.trust_of(name, standing))
    }

    fn trust_of(&self, name: &str, standing: FriendKeysCheckResult) -> KeyTrust {
        match (standing, self.usable()) {
            (FriendKeysCheckResult::NoKeys, _) => KeyTrust::NoKeys,
            (FriendKeysCheckResult::Changed(None), _) => KeyTrust::Gone,
            (FriendKeysCheckResult::Known(_), None) => KeyTrust::CannotSeal,
            (FriendKeysCheckResult::Changed(Some(keys)), own) => KeyTrust::Changed {
                safety: own.map(|own| self.safety(own, name, &keys)).unwrap_or_default(),
                keys: keys.text(),
            },
            (FriendKeysCheckResult::Known(keys), Some(own)) => {
                KeyTrust::Pinned { safety: self.safety(own, name, &keys) }
            }
        }
    }

    fn safety(&self, own: &E2eKeyPairs, name: &str, keys: &E2ePublicKeys) -> String {
        safety_number((&self.own_name, own.public()), (name, keys))
    }

    /// The user agrees to the keys that they were shown, as [`KeyTrust::Changed`] has them, or to
    /// no keys (an empty text). If the profile shows others meanwhile, nothing is changed.
    ///
    /// # Errors
    /// One sentence: it cannot be stored.
    pub(crate) fn accept_keys(&mut self, name: &str, shown: &str, in_profile: &str) -> Result<KeyTrust, String> {
        let found = E2ePublicKeys::read(in_profile).map(|keys| keys.text()).unwrap_or_default();
        if found == shown {
            self.change_pins(|pins| pins.accept_keys(name, in_profile))?;
        }
        self.check_friend_keys(name, in_profile)
    }

    /// Reads the file again, changes it and writes it, under a lock against other processes.
    fn change_pins(&mut self, change: impl FnOnce(&mut PinnedKeys)) -> Result<(), String> {
        let cannot = |error: io::Error| format!("cannot keep the keys in {}: {error}", self.pins_path.display());
        let lock: File =
            files::owner_only(OpenOptions::new().create(true).append(true)).open(&self.lock_path).map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        let mut pins = load_pins(&self.pins_path)?;
        change(&mut pins);
        pins.save(&self.pins_path).map_err(cannot)?;
        self.pins = pins;
        Ok(())
    }

    pub(crate) fn has_pinned(&self, name: &str) -> bool {
        self.pins.keys_of(name).is_some()
    }

    /// Is this an encrypted message of a user whose keys are not known?
    pub(crate) fn needs_keys_of(&self, push: &Push) -> bool {
        is_encrypted(&push.content) && !self.has_pinned(&push.sender)
    }

    /// Prepares a text for sending, if the trusted keys allow it.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn seal(&self, to: &str, id: &str, text: &str) -> Result<ChatOutgoingText, String> {
        if self.stopped_friends.contains(to) {
            return Err("the keys have changed, and you have not agreed to that".to_owned());
        }
        let Some(keys) = self.pins.keys_of(to) else {
            return Ok(ChatOutgoingText { content: text.to_owned(), seal: MessageEncryptionStatus::Plain });
        };
        let own = self.usable().ok_or("you have no keys here")?;
        let letter = E2eMessageContext { sender: &self.own_name, receiver: to, message_id: id };
        let content = own.seal(keys, letter, text).map_err(|fault| format!("it cannot be encrypted: {fault}"))?;
        Ok(ChatOutgoingText { content, seal: MessageEncryptionStatus::Sealed })
    }

    /// Returns the text of a message and its [`MessageEncryptionStatus`]. The text of a doubtful
    /// message is its content as received.
    pub(crate) fn open_message(&self, sender: &str, id: &str, content: &str) -> (String, MessageEncryptionStatus) {
        let pinned = self.pins.keys_of(sender);
        if !is_encrypted(content) {
            let seal =
                if pinned.is_some() { MessageEncryptionStatus::Unsealed } else { MessageEncryptionStatus::Plain };
            return (content.to_owned(), seal);
        }
        let letter = E2eMessageContext { sender, receiver: &self.own_name, message_id: id };
        let opened = match (pinned, &self.keys) {
            (Some(pinned), Some(own)) => own.open(pinned, letter, content),
            _ => Err(E2eEncryptionError::NotForUs),
        };
        opened.map_or_else(
            |_| (content.to_owned(), MessageEncryptionStatus::Doubtful),
            |text| (text, MessageEncryptionStatus::Sealed),
        )
    }
}

fn load_keys(me: &str, path: &Path) -> Result<Option<E2eKeyPairs>, String> {
    match E2eKeyPairs::load(path) {
        Ok(keys) if keys.user() == me => Ok(Some(keys)),
        Ok(_) => Err(format!("{} holds the keys of another user", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read the keys in {}: {error}", path.display())),
    }
}

fn load_pins(path: &Path) -> Result<PinnedKeys, String> {
    PinnedKeys::load(path).map_err(|error| format!("cannot read the trusted keys in {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct User {
        ring: E2eKeyring,
        _folder: tempfile::TempDir,
    }

    fn user(name: &str) -> User {
        let base = tempfile::tempdir().unwrap();
        let folder = ChatUserDataDir::open(base.path(), "server", name).unwrap();
        User { ring: E2eKeyring::open(name, &folder, None).unwrap(), _folder: base }
    }

    #[test]
    fn friends_read_each_other_and_a_change_of_keys_stops_everything() {
        let (mut ann, mut bob) = (user("ann"), user("bob"));
        assert_eq!(ann.ring.check_friend_keys("bob", "").unwrap(), KeyTrust::NoKeys);
        assert_eq!(ann.ring.seal("bob", "1", "open").unwrap().seal, MessageEncryptionStatus::Plain);
        let (of_ann, of_bob) = (ann.ring.renew().unwrap(), bob.ring.renew().unwrap());
        let KeyTrust::Pinned { safety } = ann.ring.check_friend_keys("bob", &of_bob).unwrap() else { panic!() };
        assert_eq!(bob.ring.check_friend_keys("ann", &of_ann).unwrap(), KeyTrust::Pinned { safety });
        let sealed = ann.ring.seal("bob", "1", "secret").unwrap();
        assert!(sealed.seal == MessageEncryptionStatus::Sealed && !sealed.content.contains("secret"));
        assert_eq!(
            bob.ring.open_message("ann", "1", &sealed.content),
            ("secret".into(), MessageEncryptionStatus::Sealed)
        );
        assert_eq!(
            bob.ring.open_message("ann", "2", &sealed.content).1,
            MessageEncryptionStatus::Doubtful,
            "under another id"
        );
        assert_eq!(bob.ring.open_message("ann", "3", "plain"), ("plain".into(), MessageEncryptionStatus::Unsealed));

        let new = ann.ring.renew().unwrap();
        let sealed = ann.ring.seal("bob", "4", "with new keys").unwrap();
        assert_eq!(bob.ring.open_message("ann", "4", &sealed.content).1, MessageEncryptionStatus::Doubtful);
        assert!(bob.ring.seal("ann", "5", "to the pinned keys").is_ok(), "nobody has looked yet");
        let KeyTrust::Changed { keys: shown, .. } = bob.ring.check_friend_keys("ann", &new).unwrap() else { panic!() };
        assert!(bob.ring.seal("ann", "5", "to the pinned keys").is_err());
        assert_eq!(bob.ring.check_friend_keys("ann", "").unwrap(), KeyTrust::Gone);
        assert!(bob.ring.seal("ann", "5", "to the pinned keys").is_err());
        // The keys in the profile are no longer those that the user was shown.
        for other in [of_bob.as_str(), &of_ann, ""] {
            bob.ring.accept_keys("ann", &shown, other).unwrap();
            assert_eq!(bob.ring.open_message("ann", "4", &sealed.content).1, MessageEncryptionStatus::Doubtful);
        }
        assert!(matches!(bob.ring.accept_keys("ann", "", &new).unwrap(), KeyTrust::Changed { .. }));
        assert!(matches!(bob.ring.accept_keys("ann", &shown, &new).unwrap(), KeyTrust::Pinned { .. }));
        assert_eq!(
            bob.ring.open_message("ann", "4", &sealed.content),
            ("with new keys".into(), MessageEncryptionStatus::Sealed)
        );
    }

    #[test]
    fn keys_and_pins_are_there_after_a_restart_and_can_move() {
        let (mut ann, mut bob) = (user("ann"), user("bob"));
        let (of_ann, of_bob) = (ann.ring.renew().unwrap(), bob.ring.renew().unwrap());
        ann.ring.check_friend_keys("bob", &of_bob).unwrap();
        let folder = ChatUserDataDir::open(ann._folder.path(), "server", "ann").unwrap();
        let mut again = E2eKeyring::open("ann", &folder, None).unwrap();
        assert!(again.has_pinned("bob") && again.check_own_keys(&of_ann) == OwnEncryptionKeysCheckResult::Good);
        assert_eq!(again.check_own_keys(""), OwnEncryptionKeysCheckResult::Unpublished);
        let file = folder.file("export");
        again.export(&file, "passphrase").unwrap();
        let mut other = user("ann");
        assert_eq!(other.ring.check_own_keys(&of_ann), OwnEncryptionKeysCheckResult::Others);
        assert_eq!(other.ring.check_friend_keys("bob", &of_bob).unwrap(), KeyTrust::CannotSeal);
        assert!(other.ring.import(&file, "wrong", &of_ann).is_err());
        assert!(other.ring.import(&file, "passphrase", &of_bob).unwrap_err().contains("other keys"));
        other.ring.import(&file, "passphrase", &of_ann).unwrap();
        assert!(matches!(other.ring.check_friend_keys("bob", &of_bob).unwrap(), KeyTrust::Pinned { .. }));
        assert!(bob.ring.import(&file, "passphrase", "").unwrap_err().contains("another user"));
    }

    #[test]
    fn new_keys_are_used_once_the_profile_shows_them_and_are_not_lost_until_then() {
        let mut ann = user("ann");
        let first = ann.ring.renew().unwrap();
        let second = ann.ring.generate_next_keys().unwrap();
        // The change was refused, or its result is unknown: the present keys remain the user's
        // keys.
        assert!(!ann.ring.take_next(&first).unwrap() && !ann.ring.take_next("").unwrap());
        assert_eq!(ann.ring.check_own_keys(&first), OwnEncryptionKeysCheckResult::Good);
        // The change was made after all, and the program was killed meanwhile.
        let folder = ChatUserDataDir::open(ann._folder.path(), "server", "ann").unwrap();
        let mut again = E2eKeyring::open("ann", &folder, None).unwrap();
        assert_eq!(again.public_text().as_ref(), Some(&first));
        assert!(again.take_next(&second).unwrap() && !again.take_next(&second).unwrap());
        assert_eq!(again.check_own_keys(&second), OwnEncryptionKeysCheckResult::Good);
        let again = E2eKeyring::open("ann", &folder, None).unwrap();
        assert_eq!((again.public_text(), again.next.is_none()), (Some(second), true));
        assert_eq!(E2eKeyPairs::load(folder.file("keys.old")).unwrap().public().text(), first);
    }

    #[test]
    fn two_processes_trust_the_same_keys() {
        let (mut one, mut other) = (user("ann"), user("bob"));
        let (first, second) = (one.ring.renew().unwrap(), other.ring.renew().unwrap());
        let folder = ChatUserDataDir::open(one._folder.path(), "server", "ann").unwrap();
        let mut beside = E2eKeyring::open("ann", &folder, None).unwrap();
        assert!(matches!(beside.check_friend_keys("carl", &first).unwrap(), KeyTrust::Pinned { .. }));
        assert!(matches!(one.ring.check_friend_keys("carl", &second).unwrap(), KeyTrust::Changed { .. }));
    }
}
