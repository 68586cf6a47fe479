//! The sent and received messages, in a file of lines of JSON. Each message is on the disk before
//! it is sent or acked, and the number of messages is limited.

use crate::files;
use crate::message::{ChatHistoryMessage, ChatHistoryMessageState};
use hongyan::client::write_private;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How much is kept at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChatHistoryFileLimits {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: u64,
}

impl Default for ChatHistoryFileLimits {
    fn default() -> Self {
        Self { messages_max: 10_000, bytes_max: 32 * 1024 * 1024 }
    }
}

/// If the file cannot be rewritten, it may grow to this many times its limit.
const GROWTH_MAX: u64 = 4;
/// How many lines are written before rewriting is tried again.
const PATIENCE: u32 = 100;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ChatHistoryFileLine {
    Message(ChatHistoryMessage),
    /// The new state of a sent message.
    Became {
        with: String,
        id: String,
        way: ChatHistoryMessageState,
    },
    /// A message was handed to a connection for the first time, or for the first time since the
    /// user asked to send it again.
    Tried {
        with: String,
        id: String,
        time: u64,
    },
    /// A message that was doubtful and can be read now.
    Cleared(ChatHistoryMessage),
    /// The user has seen everything from this friend up to this time.
    Seen {
        with: String,
        time: u64,
    },
}

/// The friend, whether this user wrote the message, and its id. A friend may use one id for several
/// messages.
type ChatHistoryMessageKey = (String, bool, String);

fn key_of(message: &ChatHistoryMessage) -> ChatHistoryMessageKey {
    (message.with.clone(), message.is_own(), message.id.clone())
}

/// The stored messages, and their file.
#[derive(Debug)]
pub(crate) struct ChatHistoryFile {
    path: PathBuf,
    /// `None` when the path may refer to another file than the open one.
    file: Option<File>,
    bytes: u64,
    bounds: ChatHistoryFileLimits,
    stored: ChatHistoryFileContents,
    /// The reason why the file could not be rewritten, until it is reported; and how many lines are
    /// written before that is tried again.
    rewrite_error: Option<io::Error>,
    lines_until_retry: u32,
}

#[derive(Debug, Default)]
struct ChatHistoryFileContents {
    messages: Vec<ChatHistoryMessage>,
    indexes: HashMap<ChatHistoryMessageKey, Vec<usize>>,
    /// When each message whose result is unknown was first tried, by friend and id.
    first_tries: BTreeMap<(String, String), u64>,
    seen: BTreeMap<String, u64>,
}

impl ChatHistoryFile {
    /// Opens the file and reads its messages. The last line may have been cut off by a crash; in
    /// that case its message was not acked.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn open(path: &Path, bounds: ChatHistoryFileLimits) -> io::Result<Self> {
        let bytes = files::read_up_to(path, bounds.bytes_max.saturating_mul(GROWTH_MAX))?.unwrap_or_default();
        let mut stored = ChatHistoryFileContents::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            // An unknown line is skipped, rather than losing all others.
            if let Ok(record) = serde_json::from_slice(line) {
                stored.take(record);
            }
        }
        let mut history = Self {
            path: path.to_owned(),
            file: None,
            bytes: bytes.len() as u64,
            bounds,
            stored,
            rewrite_error: None,
            lines_until_retry: 0,
        };
        history.file()?;
        let is_whole = bytes.is_empty() || bytes.ends_with(b"\n");
        if !is_whole {
            history.rewrite()?;
        }
        history.shrink();
        Ok(history)
    }

    /// All stored messages, in the order in which they were written.
    pub(crate) fn messages(&self) -> &[ChatHistoryMessage] {
        &self.stored.messages
    }

    /// For each friend, the time up to which the user has seen the friend's messages.
    pub(crate) fn seen(&self) -> &BTreeMap<String, u64> {
        &self.stored.seen
    }

    pub(crate) fn find(&self, with: &str, id: &str) -> Option<&ChatHistoryMessage> {
        self.stored.messages_of(&(with.to_owned(), true, id.to_owned())).next()
    }

    /// Stores a message; false if it is stored already
    /// (see [`ChatHistoryMessage::is_repetition_of`]).
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn add(&mut self, message: &ChatHistoryMessage) -> io::Result<bool> {
        if self.stored.messages_of(&key_of(message)).any(|old| message.is_repetition_of(old)) {
            return Ok(false);
        }
        self.write(ChatHistoryFileLine::Message(message.clone()))?;
        Ok(true)
    }

    /// Stores the new state of a sent message.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn store_state(&mut self, with: &str, id: &str, way: &ChatHistoryMessageState) -> io::Result<()> {
        self.write(ChatHistoryFileLine::Became { with: with.to_owned(), id: id.to_owned(), way: way.clone() })
    }

    /// Stores the time at which a message is first handed to a connection. To be called before that
    /// happens.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn store_first_try(&mut self, with: &str, id: &str, time: u64) -> io::Result<()> {
        self.write(ChatHistoryFileLine::Tried { with: with.to_owned(), id: id.to_owned(), time })
    }

    /// The time stored by [`ChatHistoryFile::store_first_try`], if there is one.
    pub(crate) fn first_try(&self, with: &str, id: &str) -> Option<u64> {
        self.stored.first_tries.get(&(with.to_owned(), id.to_owned())).copied()
    }

    /// Replaces a message that was doubtful.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn clear(&mut self, message: &ChatHistoryMessage) -> io::Result<()> {
        self.write(ChatHistoryFileLine::Cleared(message.clone()))
    }

    /// Stores how far the user has read.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn store_seen(&mut self, with: &str, time: u64) -> io::Result<()> {
        if self.stored.seen.get(with).is_some_and(|seen| *seen >= time) {
            return Ok(());
        }
        self.write(ChatHistoryFileLine::Seen { with: with.to_owned(), time })
    }

    /// The reason why the file has grown beyond its limit. Each reason is returned once.
    pub(crate) fn take_rewrite_error(&mut self) -> Option<io::Error> {
        self.rewrite_error.take()
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => files::owner_only(OpenOptions::new().create(true).append(true)).open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }

    fn write(&mut self, record: ChatHistoryFileLine) -> io::Result<()> {
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        let bytes = self.bytes + line.len() as u64;
        if bytes > self.bounds.bytes_max.saturating_mul(GROWTH_MAX) {
            // If it grew larger, it could not be read again.
            self.rewrite()?;
        }
        let length = self.bytes;
        let file = self.file()?;
        if let Err(error) = file.write_all(&line).and_then(|()| file.sync_data()) {
            // Half a line must not be joined with the next one.
            file.set_len(length)?;
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.stored.take(record);
        self.shrink();
        Ok(())
    }

    /// Rewrites the file if it is too large. Whether that succeeds or not, the last line is on the
    /// disk.
    fn shrink(&mut self) {
        if self.lines_until_retry > 0 {
            self.lines_until_retry -= 1;
        } else if self.is_too_large()
            && let Err(error) = self.rewrite()
        {
            (self.rewrite_error, self.lines_until_retry) = (Some(error), PATIENCE);
        }
    }

    fn is_too_large(&self) -> bool {
        self.stored.messages.len() >= self.bounds.messages_max.saturating_mul(2) || self.bytes > self.bounds.bytes_max
    }

    /// Writes the newest messages to a new file: as many as the limit of messages allows, and up to
    /// half of the limit of bytes, so that rewriting is rare.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut first = self.stored.messages.len();
        let mut bytes = 0;
        for message in self.stored.messages.iter().rev().take(self.bounds.messages_max) {
            let line = serde_json::to_vec(&ChatHistoryFileLine::Message(message.clone()))?;
            bytes += line.len() as u64 + 1;
            if bytes > self.bounds.bytes_max / 2 {
                break;
            }
            lines.push(line);
            first -= 1;
        }
        lines.reverse();
        for (with, time) in &self.stored.seen {
            lines.push(serde_json::to_vec(&ChatHistoryFileLine::Seen { with: with.clone(), time: *time })?);
        }
        for ((with, id), time) in &self.stored.first_tries {
            lines.push(serde_json::to_vec(&ChatHistoryFileLine::Tried {
                with: with.clone(),
                id: id.clone(),
                time: *time,
            })?);
        }
        let mut text = lines.join(&b'\n');
        if !text.is_empty() {
            text.push(b'\n');
        }
        // After an error, too, the path may already refer to the new file.
        self.file = None;
        let replaced = write_private(&self.path, &text);
        self.bytes = self.file()?.metadata()?.len();
        replaced?;
        self.stored.messages.drain(..first);
        self.stored.find_places();
        Ok(())
    }
}

impl ChatHistoryFileContents {
    fn take(&mut self, record: ChatHistoryFileLine) {
        match record {
            ChatHistoryFileLine::Message(message) => {
                self.indexes.entry(key_of(&message)).or_default().push(self.messages.len());
                self.messages.push(message);
            }
            ChatHistoryFileLine::Tried { with, id, time } => {
                self.first_tries.insert((with, id), time);
            }
            ChatHistoryFileLine::Became { with, id, way } => {
                self.first_tries.remove(&(with.clone(), id.clone()));
                if let Some(message) = self.find_message(&(with, true, id), None) {
                    message.way = way;
                }
            }
            ChatHistoryFileLine::Cleared(clear) => {
                // The time of the user's own messages is that of this machine, and each of their
                // ids occurs once.
                let time = if clear.is_own() { None } else { Some(clear.time) };
                if let Some(message) = self.find_message(&key_of(&clear), time) {
                    *message = clear;
                }
            }
            ChatHistoryFileLine::Seen { with, time } => {
                self.seen.insert(with, time);
            }
        }
    }

    /// All messages of this key.
    fn messages_of(&self, key: &ChatHistoryMessageKey) -> impl Iterator<Item = &ChatHistoryMessage> {
        self.indexes.get(key).into_iter().flatten().filter_map(|place| self.messages.get(*place))
    }

    fn find_message(&mut self, key: &ChatHistoryMessageKey, time: Option<u64>) -> Option<&mut ChatHistoryMessage> {
        let mut places = self.indexes.get(key)?.iter();
        let place =
            places.find(|at| self.messages.get(**at).is_some_and(|it| time.is_none_or(|time| it.time == time)))?;
        self.messages.get_mut(*place)
    }

    fn find_places(&mut self) {
        self.indexes.clear();
        for (place, message) in self.messages.iter().enumerate() {
            self.indexes.entry(key_of(message)).or_default().push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageEncryptionStatus;

    fn message(id: &str, time: u64, way: ChatHistoryMessageState) -> ChatHistoryMessage {
        ChatHistoryMessage {
            with: "bob".into(),
            id: id.into(),
            time,
            text: format!("text of {id}\n鸿"),
            way,
            seal: MessageEncryptionStatus::Plain,
        }
    }

    #[test]
    fn a_kept_message_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap();
        assert!(history.add(&message("1", 7, ChatHistoryMessageState::Received)).unwrap());
        assert!(!history.add(&message("1", 7, ChatHistoryMessageState::Received)).unwrap(), "sent again by the server");
        let other =
            ChatHistoryMessage { text: "something new".into(), ..message("1", 8, ChatHistoryMessageState::Received) };
        assert!(history.add(&other).unwrap(), "under the same id");
        let random = "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c";
        assert!(history.add(&message(random, 7, ChatHistoryMessageState::Received)).unwrap());
        assert!(
            !history.add(&message(random, 9, ChatHistoryMessageState::Received)).unwrap(),
            "repeated by a server that was restarted"
        );
        assert!(history.add(&message("1", 9, ChatHistoryMessageState::Sent)).unwrap());
        history.store_state("bob", "1", &ChatHistoryMessageState::Safe).unwrap();
        history.store_seen("bob", 8).unwrap();
        history.store_seen("bob", 3).unwrap();
        let kept = history.messages().to_vec();
        let history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap();
        assert_eq!(history.messages(), kept);
        assert_eq!(history.find("bob", "1").unwrap().way, ChatHistoryMessageState::Safe);
        assert_eq!(history.seen()["bob"], 8);
    }

    #[test]
    fn a_line_that_a_crash_has_cut_off_hides_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap();
        history.add(&message("1", 1, ChatHistoryMessageState::Received)).unwrap();
        history.add(&message("2", 2, ChatHistoryMessageState::Received)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let mut history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap();
            let before = history.messages().len();
            history.add(&message("3", 3, ChatHistoryMessageState::Received)).unwrap();
            assert_eq!(
                ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap().messages().len(),
                before + 1,
                "{length}"
            );
        }
    }

    #[test]
    fn only_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        for bounds in [
            ChatHistoryFileLimits { messages_max: 10, bytes_max: 1 << 20 },
            ChatHistoryFileLimits { messages_max: 1_000, bytes_max: 2_000 },
        ] {
            let mut history = ChatHistoryFile::open(&path, bounds).unwrap();
            for id in 0..100 {
                history.add(&message(&id.to_string(), id, ChatHistoryMessageState::Sent)).unwrap();
                assert!(history.messages().len() <= 20 && history.bytes <= 4_000);
                assert_eq!(history.bytes, path.metadata().unwrap().len());
                assert_eq!(history.messages().last().unwrap().id, id.to_string());
                history.store_state("bob", &id.to_string(), &ChatHistoryMessageState::Safe).unwrap();
            }
            assert_eq!(history.find("bob", "99").unwrap().way, ChatHistoryMessageState::Safe);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_line_that_is_safe_is_no_failure_while_the_file_cannot_be_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let bounds = ChatHistoryFileLimits { messages_max: 1_000, bytes_max: 2_000 };
        let mut history = ChatHistoryFile::open(&path, bounds).unwrap();
        // A folder has the name of the temporary file for rewriting.
        let beside = folder.path().join(format!("history.{}.new", std::process::id()));
        std::fs::create_dir(&beside).unwrap();
        let is_full = |history: &ChatHistoryFile| history.bytes > 7_800;
        let mut id = 0;
        while !is_full(&history) {
            assert!(history.add(&message(&id.to_string(), id, ChatHistoryMessageState::Received)).unwrap());
            id += 1;
        }
        assert!(history.take_rewrite_error().is_some() && history.take_rewrite_error().is_none());
        assert_eq!(ChatHistoryFile::open(&path, bounds).unwrap().messages().len() as u64, id);
        // The growth is limited; a message that is not stored is reported as such.
        assert!((0..10).any(|more| {
            history.add(&message(&(id + more).to_string(), id, ChatHistoryMessageState::Received)).is_err()
        }));
        assert!(ChatHistoryFile::open(&path, bounds).is_ok());
        std::fs::remove_dir(&beside).unwrap();
        assert!(history.add(&message("last", 999, ChatHistoryMessageState::Received)).unwrap());
        assert!(history.bytes <= 2_000 && history.bytes == path.metadata().unwrap().len());
        assert_eq!(ChatHistoryFile::open(&path, bounds).unwrap().messages(), history.messages());
    }

    #[test]
    fn it_is_known_when_a_message_was_tried_until_its_fate_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap();
        history.add(&message("1", 1, ChatHistoryMessageState::Sent)).unwrap();
        assert_eq!(history.first_try("bob", "1"), None);
        history.store_first_try("bob", "1", 5).unwrap();
        history.rewrite().unwrap();
        let mut history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap();
        assert_eq!(history.first_try("bob", "1"), Some(5));
        // The user asks to send it again: the time starts anew.
        history.store_state("bob", "1", &ChatHistoryMessageState::Sent).unwrap();
        assert_eq!(ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap().first_try("bob", "1"), None);
    }

    #[test]
    fn a_doubtful_message_can_be_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap();
        history
            .add(&ChatHistoryMessage {
                seal: MessageEncryptionStatus::Doubtful,
                ..message("1", 1, ChatHistoryMessageState::Received)
            })
            .unwrap();
        history
            .clear(&ChatHistoryMessage {
                seal: MessageEncryptionStatus::Sealed,
                ..message("1", 1, ChatHistoryMessageState::Received)
            })
            .unwrap();
        assert_eq!(
            ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap().messages()[0].seal,
            MessageEncryptionStatus::Sealed
        );
    }
}
