//! A push: what the server sends of its own accord and has on an ACK list until it is acked.

use super::field::{Id, Name, UserName};
use super::plain::is_plain;
use super::reply::escaped_bytes;
use super::request::ContentForm;
use std::cell::RefCell;
use std::sync::Arc;

/// The kind of a push. It decides TYPE and the inner `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PushKind {
    /// TYPE 4.
    Message,
    /// TYPE 6, inner type 1.
    FriendRequest,
    /// TYPE 6, inner type 2.
    FriendAccept,
    /// TYPE 6, inner type 3.
    FriendReject,
}

impl PushKind {
    /// The number under which stores keep the kind: the TYPE 4 is 0, a TYPE 6 its inner type.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Message => 0,
            Self::FriendRequest => 1,
            Self::FriendAccept => 2,
            Self::FriendReject => 3,
        }
    }

    /// The kind of a stored number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Message,
            1 => Self::FriendRequest,
            2 => Self::FriendAccept,
            3 => Self::FriendReject,
            _ => return None,
        })
    }
}

/// One push. Its four texts stand in one allocation, which its clones share: a clone copies no
/// text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The place in the order of all pushes: given by the chat core when the push is taken, never
    /// used twice.
    pub seq: u64,
    /// The server's time when it was taken, in ms since the epoch.
    pub time_ms: u64,
    /// Its kind.
    pub kind: PushKind,
    id_end: u16,
    sender_end: u16,
    receiver_end: u16,
    plain: bool,
    text: Arc<str>,
}

thread_local! {
    /// A buffer in which texts are joined before their size is known, so that a push costs one
    /// allocation and not two.
    static JOINED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The bytes that are written beside the texts of a push, in each form, with the inner `type` of a
/// friend request.
const TEXT_BETWEEN_BYTES: usize = 140;
const OBJECT_BETWEEN_BYTES: usize = 112;

/// More than this is not kept of it.
const JOINED_KEPT_BYTES: usize = 16 * 1024;

fn joined(texts: [&str; 4]) -> Arc<str> {
    JOINED.with_borrow_mut(|all| {
        all.clear();
        texts.into_iter().for_each(|text| all.push_str(text));
        let text = Arc::from(all.as_str());
        if all.capacity() > JOINED_KEPT_BYTES {
            *all = String::new();
        }
        text
    })
}

impl Push {
    /// The size of its four texts.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Puts a push together.
    #[must_use]
    pub fn new(
        seq: u64,
        time_ms: u64,
        kind: PushKind,
        id: &Id<'_>,
        sender: &Name<'_>,
        receiver: &Name<'_>,
        content: &str,
    ) -> Self {
        let texts = [id.as_str(), sender.as_str(), receiver.as_str(), content];
        Self::join(seq, time_ms, kind, texts, texts.into_iter().all(is_plain))
    }

    /// Makes a message a push.
    ///
    /// `plain` tells whether all its texts stand in a JSON string as they are.
    #[must_use]
    pub fn message(
        seq: u64,
        time_ms: u64,
        id: &Id<'_>,
        sender: &Name<'_>,
        receiver: &Name<'_>,
        content: &str,
        plain: bool,
    ) -> Self {
        let texts = [id.as_str(), sender.as_str(), receiver.as_str(), content];
        debug_assert_eq!(plain, texts.into_iter().all(is_plain));
        Self::join(seq, time_ms, PushKind::Message, texts, plain)
    }

    fn join(seq: u64, time_ms: u64, kind: PushKind, texts: [&str; 4], plain: bool) -> Self {
        let [id, sender, receiver, _] = texts;
        let text = joined(texts);
        // An id has at most 128 bytes and a name at most 64 * 4, so the ends fit 16 bits.
        let id_end = id.len() as u16;
        let sender_end = id_end + sender.len() as u16;
        let receiver_end = sender_end + receiver.len() as u16;
        Self { seq, time_ms, kind, id_end, sender_end, receiver_end, plain, text }
    }

    /// The sender's id of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[..usize::from(self.id_end)]
    }

    /// The sender.
    #[must_use]
    pub fn sender(&self) -> &str {
        &self.text[usize::from(self.id_end)..usize::from(self.sender_end)]
    }

    /// Whom it is for.
    #[must_use]
    pub fn receiver(&self) -> &str {
        &self.text[usize::from(self.sender_end)..usize::from(self.receiver_end)]
    }

    /// The text.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.text[usize::from(self.receiver_end)..]
    }

    /// Do all four texts stand in a JSON string as they are?
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The written size in bytes, without the digits of its time. It looks at each byte only if
    /// something in it is escaped.
    #[must_use]
    pub fn written_bytes(&self, form: ContentForm) -> usize {
        // Quotes inside a string are escaped, too.
        let (between, levels) = match form {
            ContentForm::Text => (TEXT_BETWEEN_BYTES, 2),
            ContentForm::Object => (OBJECT_BETWEEN_BYTES, 1),
        };
        between + if self.plain { self.text.len() } else { escaped_bytes(&self.text, levels) }
    }

    /// The bytes of memory that it stands for.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }

    /// Builds a push from what a store read back.
    ///
    /// # Errors The fault in the row: it was not written by this server.
    pub fn from_row(
        seq: u64,
        time_ms: u64,
        kind: u8,
        id: &str,
        sender: &str,
        receiver: &UserName,
        content: &str,
    ) -> Result<Self, super::field::FieldFault> {
        let kind = PushKind::from_code(kind).ok_or("an unknown kind of push")?;
        let receiver = Name::new(receiver.as_str())?;
        Ok(Self::new(seq, time_ms, kind, &Id::new(id)?, &Name::new(sender)?, &receiver, content))
    }
}
