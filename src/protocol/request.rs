//! The requests of clients, with checked fields, borrowed from the read buffer.

use super::account::OwnAccountRequest;
use super::error::ErrorCode;
use super::field::{MessageId, Profile, Secret, UserNameRef};
use std::borrow::Cow;

/// The form of CONTENT: a JSON text inside a string, or a plain object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ContentAsStringOrObject {
    /// `"CONTENT":"{\"MessageId\":…}"`, the form of older clients, and of a connection that has not
    /// shown its form.
    #[default]
    Text,
    /// `"CONTENT":{"MessageId":…}`.
    Object,
}

/// The TYPE of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestType {
    /// TYPE 0.
    Heartbeat,
    /// TYPE 1.
    SignUp,
    /// TYPE 2.
    Login,
    /// TYPE 3.
    GetUser,
    /// TYPE 4.
    Message,
    /// TYPE 5.
    Ack,
    /// TYPE 6.
    Friend,
    /// TYPE TOKEN.
    Token,
    /// TYPE ROSTER.
    Roster,
    /// TYPE PROFILE.
    Profile,
    /// TYPE PASSWORD.
    Password,
    /// TYPE BLOCK.
    Block,
    /// TYPE ACCOUNT.
    Account,
}

impl RequestType {
    /// Is its TYPE a word? Such a request needs a log-in, is answered in its own form, and leaves
    /// its connection's form as it is.
    #[must_use]
    pub fn is_word(self) -> bool {
        matches!(self, Self::Token | Self::Roster | Self::Profile | Self::Password | Self::Block | Self::Account)
    }
}

/// A proof of who the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// PASS: the client's own hash of the password, which to the server is the password.
    Password(Secret),
    /// TOKEN: a resume token from an earlier log-in.
    Token(Secret),
}

/// The operation on resume tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResumeTokenVerb {
    /// A new one.
    New,
    /// Revokes all of them.
    Revoke,
}

/// The inner `type` of a TYPE 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FriendVerb {
    /// 1: asks another user to become friends.
    Request,
    /// 2: accepts another user's request.
    Accept,
    /// 3: says no to it.
    Reject,
    /// 4: ends a friendship.
    Delete,
}

/// One well-formed request.
///
/// `mid` is the envelope's `MID`, `None` when it is missing (the reply's `MessageId` is then
/// empty).
#[derive(Debug)]
pub enum ClientRequest<'a> {
    /// TYPE 1.
    SignUp {
        /// The request's id.
        mid: Option<MessageId<'a>>,
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// Everything but the password. Boxed: sign-ups are rare and this is large.
        profile: Box<Profile>,
        /// The client's own hash of the password: to the server it is the password.
        secret: Secret,
    },
    /// TYPE 2.
    Login {
        /// The request's id.
        mid: Option<MessageId<'a>>,
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The user to log in as.
        user: UserNameRef<'a>,
        /// The password, or what stands for it.
        credential: Credential,
    },
    /// TYPE 3.
    GetUser {
        /// The request's id.
        mid: Option<MessageId<'a>>,
        /// The user of the profile.
        user: UserNameRef<'a>,
    },
    /// TYPE 4.
    Message {
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The client's id of the message.
        id: MessageId<'a>,
        /// The user who claims to send it.
        sender: UserNameRef<'a>,
        /// The receiver's name.
        receiver: UserNameRef<'a>,
        /// The text.
        content: Cow<'a, str>,
        /// Can all its texts be written into a JSON string without escaping? The parser knows it,
        /// so the writer need not scan them again.
        escape_free: bool,
    },
    /// TYPE 5.
    Ack {
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The id of the push that was received.
        id: MessageId<'a>,
        /// The sender of the push, if the client gave it.
        sender: Option<UserNameRef<'a>>,
    },
    /// TYPE 6.
    Friend {
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The client's id of the request.
        id: MessageId<'a>,
        /// The user who asked (or, in a delete, deletes).
        sender: UserNameRef<'a>,
        /// The user who was asked (or is deleted).
        receiver: UserNameRef<'a>,
        /// The operation.
        verb: FriendVerb,
        /// A text to go with it.
        content: Cow<'a, str>,
    },
    /// TYPE TOKEN.
    Token {
        /// The request's id.
        mid: Option<MessageId<'a>>,
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The operation.
        verb: ResumeTokenVerb,
    },
    /// TYPE ROSTER, PROFILE, PASSWORD, BLOCK or ACCOUNT.
    Account {
        /// The request's id.
        mid: Option<MessageId<'a>>,
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The request itself.
        request: OwnAccountRequest<'a>,
    },
    /// TYPE 0.
    Heartbeat {
        /// The request's id.
        mid: Option<MessageId<'a>>,
    },
}

impl OwnAccountRequest<'_> {
    /// Its TYPE.
    #[must_use]
    pub fn request_type(&self) -> RequestType {
        match self {
            Self::Roster { .. } => RequestType::Roster,
            Self::Profile(_) => RequestType::Profile,
            Self::Password { .. } => RequestType::Password,
            Self::Block(_) => RequestType::Block,
            Self::Delete { .. } => RequestType::Account,
        }
    }
}

impl ClientRequest<'_> {
    /// Is it handled while the requests of its connection are paused? Acks, heartbeats and log-ins
    /// are: a client whose acks had to wait for its own unread output could be blocked for ever.
    #[must_use]
    pub fn passes_paused_requests(&self) -> bool {
        matches!(self, ClientRequest::Ack { .. } | ClientRequest::Heartbeat { .. } | ClientRequest::Login { .. })
    }
}

/// An input that is no well-formed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadInput {
    /// Its TYPE, if it could be read: 1, 2 and 4 get their own answer before the error.
    pub request_type: Option<RequestType>,
    /// The form of its CONTENT, if it could be read: a string or an object, whatever its content.
    pub form: Option<ContentAsStringOrObject>,
    /// The id that the answer names, if it could be read and is within its bounds; else empty. The
    /// MID of a 1, 2, 3, 0 or unknown TYPE, the `messageId` of a 4 or 6, and always empty for a 5.
    pub id: Box<str>,
    /// The kind of fault.
    pub code: ErrorCode,
    /// The fault as a sentence that a person understands, without the code and without a full stop.
    pub explanation: &'static str,
}

impl BadInput {
    /// The fault of an input of which nothing could be read.
    #[must_use]
    pub fn unreadable(code: ErrorCode, explanation: &'static str) -> Self {
        Self { request_type: None, form: None, id: "".into(), code, explanation }
    }
}
