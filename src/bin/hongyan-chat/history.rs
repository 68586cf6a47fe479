//! What was written and read, in a file of lines of JSON: each is on the disk before anything else
//! happens with it, and there are only so many.

use crate::files;
use crate::message::{Message, Way};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is kept at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { messages_max: 10_000, bytes_max: 32 * 1024 * 1024 }
    }
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Record {
    Message(Message),
    /// What became of a message that was sent.
    Became {
        with: String,
        id: String,
        way: Way,
    },
    /// What was in doubt, and is not any more.
    Cleared(Message),
    /// The user has seen everything from this friend up to here.
    Seen {
        with: String,
        time: u64,
    },
}

/// Where a message is among others: who wrote it, its id and time, as the server repeats them.
type Key = (String, bool, String, u64);

fn key_of(message: &Message) -> Key {
    // What is sent again keeps its id, and the time is our own.
    let time = if message.is_mine() { 0 } else { message.time };
    (message.with.clone(), message.is_mine(), message.id.clone(), time)
}

/// The messages that are kept, and the file that they are in.
#[derive(Debug)]
pub(crate) struct History {
    path: PathBuf,
    file: File,
    bytes: u64,
    bounds: Bounds,
    kept: Kept,
}

#[derive(Debug, Default)]
struct Kept {
    messages: Vec<Message>,
    places: HashMap<Key, usize>,
    seen: BTreeMap<String, u64>,
}

impl History {
    /// Reads what there is. The last line may have been cut off by a crash; it was not acked then.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn open(path: &Path, bounds: Bounds) -> io::Result<Self> {
        // Twice the bound: a file grows up to that before it is written anew.
        let bytes = files::read_up_to(path, bounds.bytes_max.saturating_mul(4))?.unwrap_or_default();
        let mut kept = Kept::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            // A line that is not ours is not worth the loss of all others.
            if let Ok(record) = serde_json::from_slice(line) {
                kept.take(record);
            }
        }
        let mut history = Self {
            path: path.to_owned(),
            file: files::private(OpenOptions::new().create(true).append(true)).open(path)?,
            bytes: bytes.len() as u64,
            bounds,
            kept,
        };
        let is_whole = bytes.is_empty() || bytes.ends_with(b"\n");
        if !is_whole || history.is_too_large() {
            history.write_anew()?;
        }
        Ok(history)
    }

    /// All that is kept, in the order in which it was written.
    pub(crate) fn messages(&self) -> &[Message] {
        &self.kept.messages
    }

    /// Up to when the user has seen what each friend wrote.
    pub(crate) fn seen(&self) -> &BTreeMap<String, u64> {
        &self.kept.seen
    }

    pub(crate) fn find(&self, with: &str, id: &str) -> Option<&Message> {
        let place = self.kept.places.get(&(with.to_owned(), true, id.to_owned(), 0))?;
        self.kept.messages.get(*place)
    }

    /// Keeps a message; false if it is here already.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn add(&mut self, message: &Message) -> io::Result<bool> {
        if self.kept.places.contains_key(&key_of(message)) {
            return Ok(false);
        }
        self.write(Record::Message(message.clone()))?;
        Ok(true)
    }

    /// Keeps what became of a message that was sent.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn became(&mut self, with: &str, id: &str, way: &Way) -> io::Result<()> {
        self.write(Record::Became { with: with.to_owned(), id: id.to_owned(), way: way.clone() })
    }

    /// Replaces a message that was in doubt.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn clear(&mut self, message: &Message) -> io::Result<()> {
        self.write(Record::Cleared(message.clone()))
    }

    /// Keeps how far the user has read.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) fn saw(&mut self, with: &str, time: u64) -> io::Result<()> {
        if self.kept.seen.get(with).is_some_and(|seen| *seen >= time) {
            return Ok(());
        }
        self.write(Record::Seen { with: with.to_owned(), time })
    }

    fn write(&mut self, record: Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // Half a line must not become one with the next.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.kept.take(record);
        if self.is_too_large() { self.write_anew() } else { Ok(()) }
    }

    fn is_too_large(&self) -> bool {
        self.kept.messages.len() >= self.bounds.messages_max.saturating_mul(2) || self.bytes > self.bounds.bytes_max
    }

    /// The newest messages into a new file: as many as the bounds allow, and half of the bytes, so
    /// that this is seldom.
    fn write_anew(&mut self) -> io::Result<()> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut first = self.kept.messages.len();
        let mut bytes = 0;
        for message in self.kept.messages.iter().rev().take(self.bounds.messages_max) {
            let line = serde_json::to_vec(&Record::Message(message.clone()))?;
            bytes += line.len() as u64 + 1;
            if bytes > self.bounds.bytes_max / 2 {
                break;
            }
            lines.push(line);
            first -= 1;
        }
        lines.reverse();
        for (with, time) in &self.kept.seen {
            lines.push(serde_json::to_vec(&Record::Seen { with: with.clone(), time: *time })?);
        }
        let mut text = lines.join(&b'\n');
        if !text.is_empty() {
            text.push(b'\n');
        }
        files::replace(&self.path, &text)?;
        self.file = files::private(OpenOptions::new().create(true).append(true)).open(&self.path)?;
        self.bytes = text.len() as u64;
        self.kept.messages.drain(..first);
        self.kept.places = self.kept.messages.iter().enumerate().map(|(at, message)| (key_of(message), at)).collect();
        Ok(())
    }
}

impl Kept {
    fn take(&mut self, record: Record) {
        match record {
            Record::Message(message) => {
                let place = self.messages.len();
                self.places.entry(key_of(&message)).or_insert(place);
                self.messages.push(message);
            }
            Record::Became { with, id, way } => {
                if let Some(message) = self.place((with, true, id, 0)) {
                    message.way = way;
                }
            }
            Record::Cleared(clear) => {
                if let Some(message) = self.place(key_of(&clear)) {
                    *message = clear;
                }
            }
            Record::Seen { with, time } => {
                self.seen.insert(with, time);
            }
        }
    }

    fn place(&mut self, key: Key) -> Option<&mut Message> {
        let place = self.places.get(&key)?;
        self.messages.get_mut(*place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Seal;

    fn message(id: &str, time: u64, way: Way) -> Message {
        Message { with: "bob".into(), id: id.into(), time, text: format!("text of {id}\n鸿"), way, seal: Seal::Plain }
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut history = History::open(&path, Bounds::default()).unwrap();
        assert!(history.add(&message("1", 7, Way::Received)).unwrap());
        assert!(!history.add(&message("1", 7, Way::Received)).unwrap(), "sent again by the server");
        assert!(history.add(&message("1", 8, Way::Received)).unwrap(), "the same id for something new");
        assert!(history.add(&message("1", 9, Way::Sent)).unwrap());
        history.became("bob", "1", &Way::Safe).unwrap();
        history.saw("bob", 8).unwrap();
        history.saw("bob", 3).unwrap();
        let kept = history.messages().to_vec();
        let history = History::open(&path, Bounds::default()).unwrap();
        assert_eq!(history.messages(), kept);
        assert_eq!(history.find("bob", "1").unwrap().way, Way::Safe);
        assert_eq!(history.seen()["bob"], 8);
    }

    #[test]
    fn a_line_that_a_crash_has_cut_off_hides_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut history = History::open(&path, Bounds::default()).unwrap();
        history.add(&message("1", 1, Way::Received)).unwrap();
        history.add(&message("2", 2, Way::Received)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let mut history = History::open(&path, Bounds::default()).unwrap();
            let before = history.messages().len();
            history.add(&message("3", 3, Way::Received)).unwrap();
            assert_eq!(History::open(&path, Bounds::default()).unwrap().messages().len(), before + 1, "{length}");
        }
    }

    #[test]
    fn only_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        for bounds in
            [Bounds { messages_max: 10, bytes_max: 1 << 20 }, Bounds { messages_max: 1_000, bytes_max: 2_000 }]
        {
            let mut history = History::open(&path, bounds).unwrap();
            for id in 0..100 {
                history.add(&message(&id.to_string(), id, Way::Sent)).unwrap();
                assert!(history.messages().len() <= 20 && history.bytes <= 4_000);
                assert_eq!(history.bytes, path.metadata().unwrap().len());
                assert_eq!(history.messages().last().unwrap().id, id.to_string());
                history.became("bob", &id.to_string(), &Way::Safe).unwrap();
            }
            assert_eq!(history.find("bob", "99").unwrap().way, Way::Safe);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_was_in_doubt_can_be_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut history = History::open(&path, Bounds::default()).unwrap();
        history.add(&Message { seal: Seal::Doubtful, ..message("1", 1, Way::Received) }).unwrap();
        history.clear(&Message { seal: Seal::Sealed, ..message("1", 1, Way::Received) }).unwrap();
        assert_eq!(History::open(&path, Bounds::default()).unwrap().messages()[0].seal, Seal::Sealed);
    }
}
