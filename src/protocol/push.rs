//! A push: a frame that the server sends without a request, and keeps on an ACK list until it is
//! acked.
//!
//! A [`PushBody`] is its content. One body can go to many receivers: each gets a [`Push`] with its
//! own `seq`.

use super::escape::escaped_bytes;
use super::escape_free::is_escape_free;
use super::field::{MessageId, UserName, UserNameRef};
use super::request::ContentAsStringOrObject;
use std::cell::RefCell;
use std::ops::Deref;
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
    /// The number under which stores keep the kind: 0 for TYPE 4, the inner type for TYPE 6.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Message => 0,
            Self::FriendRequest => 1,
            Self::FriendAccept => 2,
            Self::FriendReject => 3,
        }
    }

    /// The word for the kind in what operators get: the answers of the admin interface and the
    /// requests of the push hook.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::FriendRequest => "request",
            Self::FriendAccept => "accept",
            Self::FriendReject => "reject",
        }
    }

    /// The kind with this stored number, if there is one.
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

/// The content of a push, the same for all receivers. Its three texts are in one allocation, which
/// clones share: a clone copies no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushBody {
    /// The server's time when it took the push, in ms since the Unix epoch.
    pub time_ms: u64,
    /// Its kind.
    pub kind: PushKind,
    id_end: u16,
    sender_end: u16,
    escape_free: bool,
    text: Arc<str>,
}

/// One receiver's copy of a push. A clone copies no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The number of the push, in the order of all pushes: assigned by the core when the push is
    /// taken, and never used twice.
    pub seq: u64,
    /// The receiver's name.
    pub receiver: UserName,
    /// Its content.
    pub body: PushBody,
}

/// A push has all properties of its body.
impl Deref for Push {
    type Target = PushBody;

    fn deref(&self) -> &PushBody {
        &self.body
    }
}

thread_local! {
    /// A buffer in which texts are joined before they are allocated, so that a push costs one
    /// allocation and not two.
    static JOINED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The bytes of a written push other than its texts, in the string form, with the inner `type` of a
/// friend request.
const TEXT_BETWEEN_BYTES: usize = 140;
/// The same in the object form.
const OBJECT_BETWEEN_BYTES: usize = 112;

/// A message that has the sender, receiver and id of another one, and was taken within this time of
/// it, is a repetition of it, whatever its text ([`PushBody::is_repetition_of`]).
const REPEATED_WITHIN_MS: u64 = 10 * 60 * 1_000;

/// If the capacity of `JOINED` exceeds this, the buffer is freed after use.
const JOINED_KEPT_BYTES: usize = 16 * 1024;

fn concat_texts(texts: [&str; 3]) -> Arc<str> {
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

impl PushBody {
    /// Makes a body.
    #[must_use]
    pub fn new(time_ms: u64, kind: PushKind, id: &MessageId<'_>, sender: &UserNameRef<'_>, content: &str) -> Self {
        let texts = [id.as_str(), sender.as_str(), content];
        Self::join(time_ms, kind, texts, texts.into_iter().all(is_escape_free))
    }

    /// Makes the body of a message.
    ///
    /// `escape_free`: all its texts can be written into a JSON string without escaping; `false` is
    /// always correct.
    #[must_use]
    pub fn message(
        time_ms: u64,
        id: &MessageId<'_>,
        sender: &UserNameRef<'_>,
        content: &str,
        escape_free: bool,
    ) -> Self {
        let texts = [id.as_str(), sender.as_str(), content];
        debug_assert!(!escape_free || texts.into_iter().all(is_escape_free));
        Self::join(time_ms, PushKind::Message, texts, escape_free)
    }

    fn join(time_ms: u64, kind: PushKind, texts: [&str; 3], escape_free: bool) -> Self {
        let [id, sender, _] = texts;
        let text = concat_texts(texts);
        // An id has at most 128 bytes and a name at most 64 * 4, so the ends fit 16 bits.
        let id_end = id.len() as u16;
        let sender_end = id_end + sender.len() as u16;
        Self { time_ms, kind, id_end, sender_end, escape_free, text }
    }

    /// The id that the sender gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[..usize::from(self.id_end)]
    }

    /// The sender.
    #[must_use]
    pub fn sender(&self) -> &str {
        &self.text[usize::from(self.id_end)..usize::from(self.sender_end)]
    }

    /// The text.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.text[usize::from(self.sender_end)..]
    }

    /// Is this message a repetition of the one with the same sender, receiver and id that was taken
    /// at `time_ms`? A client may use an id again for a new message after the ack, and a node of a
    /// cluster may not know yet what another node has seen acked. A repetition can have another
    /// text: a client that encrypts its messages may send another text at each try, for some
    /// minutes.
    #[must_use]
    pub fn is_repetition_of(&self, time_ms: u64, content: &str) -> bool {
        self.content() == content || self.time_ms.abs_diff(time_ms) <= REPEATED_WITHIN_MS
    }

    /// Can all three texts be written into a JSON string without escaping?
    pub(super) fn is_escape_free(&self) -> bool {
        self.escape_free
    }

    /// The written size of a push with this body to `receiver`, in bytes, without the digits of its
    /// time. The texts are scanned only if something in them is escaped.
    #[must_use]
    pub fn written_bytes_to(&self, receiver: &UserName, form: ContentAsStringOrObject) -> usize {
        // Quotes inside a string are escaped, too.
        let (between, levels) = match form {
            ContentAsStringOrObject::Text => (TEXT_BETWEEN_BYTES, 2),
            ContentAsStringOrObject::Object => (OBJECT_BETWEEN_BYTES, 1),
        };
        let of = |text: &str, escape_free| if escape_free { text.len() } else { escaped_bytes(text, levels) };
        let receiver = receiver.as_str();
        between + of(&self.text, self.escape_free) + of(receiver, is_escape_free(receiver))
    }

    /// The weight in bytes of a push with this body to a receiver whose name has `receiver_bytes`.
    /// The name counts although it is shared in memory, because the store keeps it with each push.
    #[must_use]
    pub fn weight_bytes_to(&self, receiver_bytes: usize) -> usize {
        size_of::<(u64, Self)>() + self.text.len() + receiver_bytes
    }
}

impl Push {
    /// Makes a push.
    #[must_use]
    pub fn new(
        seq: u64,
        time_ms: u64,
        kind: PushKind,
        id: &MessageId<'_>,
        sender: &UserNameRef<'_>,
        receiver: impl Into<UserName>,
        content: &str,
    ) -> Self {
        Self { seq, receiver: receiver.into(), body: PushBody::new(time_ms, kind, id, sender, content) }
    }

    /// The receiver's name.
    #[must_use]
    pub fn receiver(&self) -> &str {
        self.receiver.as_str()
    }

    /// The size of its texts and its receiver's name.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.body.text.len() + self.receiver().len()
    }

    /// The written size in bytes, without the digits of its time.
    #[must_use]
    pub fn written_bytes(&self, form: ContentAsStringOrObject) -> usize {
        self.body.written_bytes_to(&self.receiver, form)
    }

    /// Its weight in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.body.weight_bytes_to(self.receiver().len())
    }

    /// Builds a push from what a store read back.
    ///
    /// # Errors
    /// The fault in the row, which hongyan cannot have written.
    pub fn from_row(
        seq: u64,
        time_ms: u64,
        kind: u8,
        id: &str,
        sender: &str,
        receiver: &UserName,
        content: &str,
    ) -> Result<Self, super::field::BadFieldExplanation> {
        let kind = PushKind::from_code(kind).ok_or("an unknown kind of push")?;
        Ok(Self::new(seq, time_ms, kind, &MessageId::new(id)?, &UserNameRef::new(sender)?, receiver, content))
    }
}
