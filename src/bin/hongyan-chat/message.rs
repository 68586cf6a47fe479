//! One message of a chat, as it is stored and shown.

use serde::{Deserialize, Serialize};

/// A message, sent or received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChatHistoryMessage {
    /// The friend at the other end.
    pub(crate) with: String,
    pub(crate) id: String,
    /// In ms since the epoch: the server's time for a received message, this machine's time for one
    /// that was written here.
    pub(crate) time: u64,
    pub(crate) text: String,
    pub(crate) way: ChatHistoryMessageState,
    pub(crate) seal: MessageEncryptionStatus,
}

impl ChatHistoryMessage {
    pub(crate) fn is_own(&self) -> bool {
        !matches!(self.way, ChatHistoryMessageState::Received)
    }

    /// Is this message a repetition of `old`, which has the same id, the same friend and the same
    /// writer?
    ///
    /// When the server repeats a push, the push has the same time. After a restart the server may
    /// deliver an acked message again with another time; then the text is the same, and the id was
    /// chosen at random. If both messages are signed, any id suffices, because the signature covers
    /// the id.
    pub(crate) fn is_repetition_of(&self, old: &Self) -> bool {
        if self.is_own() || self.time == old.time {
            return true;
        }
        let [is_sealed, was_sealed] = [self, old].map(|message| message.seal == MessageEncryptionStatus::Sealed);
        self.text == old.text && is_sealed == was_sealed && (is_sealed || is_random(&self.id))
    }
}

/// Is it 128 bits in hexadecimal digits, as in a UUID? Nobody uses such an id twice.
fn is_random(id: &str) -> bool {
    let is_place = |at| matches!(at, 8 | 12 | 16 | 20);
    let mut digits = 0;
    let mut was_dash = true;
    for byte in id.bytes() {
        if byte == b'-' && is_place(digits) && !was_dash {
            was_dash = true;
        } else if byte.is_ascii_hexdigit() {
            (digits, was_dash) = (digits + 1, false);
        } else {
            return false;
        }
    }
    digits == 32
}

/// Whether the message was received or sent, and the state of a sent one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChatHistoryMessageState {
    Received,
    /// Sent, but the server has not promised yet to deliver it.
    Sent,
    /// The server has promised to deliver it.
    Safe,
    /// The server will not deliver it, for this reason.
    Failed(String),
}

/// How well a message is protected: could others have read or written it?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MessageEncryptionStatus {
    /// Encrypted from end to end, and signed with the pinned keys.
    Sealed,
    /// The operator of the server can read it.
    Plain,
    /// Plain text from a friend who has keys: anybody may have written it.
    Unsealed,
    /// Signed with other keys than the pinned ones, or not readable. The text is the content as
    /// received, and is not shown.
    Doubtful,
}

/// The keys of a friend, compared with those that are pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyTrust {
    /// Not fetched yet.
    #[default]
    Unknown,
    /// The friend never had keys: plain text.
    NoKeys,
    /// The keys are the pinned ones.
    Pinned { safety: String },
    /// The keys differ from the pinned ones (`keys`, as given in the profile); nothing is sent
    /// until the user agrees. The safety number is that of the new keys; empty if this user has no
    /// keys.
    Changed { safety: String, keys: String },
    /// The friend had keys, and has none now.
    Gone,
    /// The friend has keys and this user has none.
    CannotSeal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_were_drawn_at_random_are_told_from_others() {
        for id in [
            "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c",
            "5F0C5F0C-5F0C-5F0C-5F0C-5F0C5F0C5F0C",
            "5f0c5f0c5f0c-5f0c5f0c-5f0c5f0c5f0c",
        ] {
            assert!(is_random(id), "{id}");
        }
        for id in [
            "",
            "1",
            "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0",
            "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c0",
            "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0g",
            "5f0c5f0c--5f0c-5f0c-5f0c-5f0c5f0c5f0c",
            "5f0c5-f0c5f0c5f0c5f0c5f0c5f0c5f0c",
            "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c-",
        ] {
            assert!(!is_random(id), "{id}");
        }
    }

    #[test]
    fn a_repetition_with_another_time_is_told_from_a_new_message() {
        let message = |id: &str, time, seal| {
            let (with, text) = ("bob".into(), "the geese fly".into());
            ChatHistoryMessage { with, id: id.into(), time, text, way: ChatHistoryMessageState::Received, seal }
        };
        let random = "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c";
        assert!(
            message("1", 7, MessageEncryptionStatus::Doubtful).is_repetition_of(&message(
                "1",
                7,
                MessageEncryptionStatus::Sealed
            )),
            "the same push"
        );
        assert!(message(random, 8, MessageEncryptionStatus::Plain).is_repetition_of(&message(
            random,
            7,
            MessageEncryptionStatus::Unsealed
        )));
        assert!(
            message("1", 8, MessageEncryptionStatus::Sealed).is_repetition_of(&message(
                "1",
                7,
                MessageEncryptionStatus::Sealed
            )),
            "both are signed"
        );
        assert!(
            !message("1", 8, MessageEncryptionStatus::Plain).is_repetition_of(&message(
                "1",
                7,
                MessageEncryptionStatus::Plain
            )),
            "somebody counts"
        );
        assert!(
            !message(random, 8, MessageEncryptionStatus::Unsealed).is_repetition_of(&message(
                random,
                7,
                MessageEncryptionStatus::Sealed
            )),
            "plain by now"
        );
        let other =
            ChatHistoryMessage { text: "other words".into(), ..message(random, 8, MessageEncryptionStatus::Sealed) };
        assert!(!other.is_repetition_of(&message(random, 7, MessageEncryptionStatus::Sealed)));
    }
}
