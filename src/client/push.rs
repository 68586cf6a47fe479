//! A push as the program sees it.

use crate::protocol::push::PushKind;
use ring::digest;

/// A message, a friend request, or an answer to one. All texts come from the sender and may contain
/// anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Its kind.
    pub kind: PushKind,
    /// The id that its sender gave it. Two senders may use the same one.
    pub message_id: String,
    /// The user who sent it; `system` is the operator of the server.
    pub sender: String,
    /// The user who receives it.
    pub receiver: String,
    /// The server's time at which it accepted the push, in ms since the epoch.
    pub time: String,
    /// The text.
    pub content: String,
}

/// The key by which a repeated push is recognised.
pub(super) type PushDedupKey = [u8; 16];

impl Push {
    /// The server's time as a number; 0 if the text is not a number.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time.parse().unwrap_or(0)
    }

    /// Is it a notice from the operator of the server?
    #[must_use]
    pub fn is_notice(&self) -> bool {
        self.kind == PushKind::Message && self.sender == crate::protocol::field::RESERVED_NAME
    }

    /// A hash of all that identifies a push: (TYPE, inner type, sender, messageId, time). Since
    /// senders choose the ids, it is a cryptographic hash, for which nobody can construct
    /// collisions.
    #[must_use]
    pub fn key(&self) -> [u8; 16] {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&[self.kind.code()]);
        for text in [&self.sender, &self.message_id, &self.time] {
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let mut key = PushDedupKey::default();
        key.copy_from_slice(&hash.finish().as_ref()[..16]);
        key
    }

    /// About how much memory it uses.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.message_id, &self.sender, &self.receiver, &self.time, &self.content];
        size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}
