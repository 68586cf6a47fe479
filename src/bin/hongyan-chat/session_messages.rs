//! The messages between the two halves of the program: the screen, which never blocks, and the
//! session, which does.

use crate::message::{ChatHistoryMessage, ChatHistoryMessageState, KeyTrust};
use crate::secret::Secret;
use std::path::PathBuf;

/// From the session to the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChatSessionEvent {
    /// The contents of the files, once at the start.
    Kept {
        messages: Vec<ChatHistoryMessage>,
        seen: Vec<(String, u64)>,
    },
    Link(ServerLinkStatus),
    Roster(ChatContactListSnapshot),
    Presence {
        name: String,
        is_online: bool,
    },
    /// A message that is on the disk: one that was received, or one that was written here.
    Message(ChatHistoryMessage),
    /// A message that was entered but could not be written to the disk, and so was not sent.
    NotKept {
        with: String,
        text: String,
        reason: String,
    },
    Became {
        with: String,
        id: String,
        way: ChatHistoryMessageState,
    },
    /// A message that was doubtful and can be read now.
    Cleared(ChatHistoryMessage),
    Asked(ChatContactListFriendRequest),
    Answered {
        name: String,
        is_accepted: bool,
        text: String,
    },
    Trust {
        name: String,
        trust: KeyTrust,
    },
    /// A text that the user asked for, to be shown in its own window.
    Shown {
        title: String,
        text: String,
    },
    /// A sentence for the bottom of the screen.
    Said(String),
    /// A warning: a sentence that the user must not miss.
    Warned(String),
    /// The session is over: the program ends with this sentence.
    Ended {
        reason: String,
        is_refused: bool,
    },
}

/// How the server can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ServerLinkStatus {
    #[default]
    Connecting,
    Here,
    /// Not reachable; the client tries again automatically.
    Away(String),
    /// The client has stopped, and connects again only if the user asks for it.
    Over(String),
}

/// Friends and pending requests, as stored on the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChatContactListSnapshot {
    pub(crate) friends: Vec<ChatContactListFriend>,
    pub(crate) incoming: Vec<ChatContactListFriendRequest>,
    pub(crate) outgoing: Vec<ChatContactListFriendRequest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatContactListFriend {
    pub(crate) name: String,
    pub(crate) nick: String,
    pub(crate) is_online: bool,
}

/// A friend request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatContactListFriendRequest {
    /// The other user: the one who asked, or the one who was asked.
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) text: String,
}

/// From the screen to the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChatSessionCommand {
    Send {
        to: String,
        text: String,
    },
    Retry {
        with: String,
        id: String,
    },
    Saw {
        with: String,
        time: u64,
    },
    /// A chat was opened: compare the friend's keys to the pinned ones.
    LookAt(String),
    /// The user agrees to these keys, which they were shown; an empty text means no keys.
    Agree {
        name: String,
        keys: String,
    },
    Find(String),
    Ask {
        name: String,
        text: String,
    },
    Withdraw(ChatContactListFriendRequest),
    Answer {
        ask: ChatContactListFriendRequest,
        is_accepted: bool,
    },
    Remove(String),
    Block(String),
    Unblock(String),
    Blocked,
    Profile {
        key: String,
        value: String,
    },
    Password {
        old: Secret,
        new: Secret,
    },
    Export {
        file: PathBuf,
        passphrase: Secret,
    },
    Import {
        file: PathBuf,
        passphrase: Secret,
    },
    NewKeys,
    Connect,
    LogOut,
    DeleteAccount {
        password: Secret,
    },
    Quit,
}
