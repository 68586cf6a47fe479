//! What the two halves tell each other: the screen, which never waits, and the session, which does.

use crate::message::{Message, Trust, Way};
use crate::secret::Secret;
use std::path::PathBuf;

/// From the session to the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// What the files hold, once at the start.
    Kept {
        messages: Vec<Message>,
        seen: Vec<(String, u64)>,
    },
    Link(Link),
    Roster(Roster),
    Presence {
        name: String,
        is_online: bool,
    },
    /// A message that is on the disk: one that came, or one that was written here.
    Message(Message),
    /// A message that was entered and is neither on the disk nor sent.
    NotKept {
        with: String,
        text: String,
        why: String,
    },
    Became {
        with: String,
        id: String,
        way: Way,
    },
    /// A message that was in doubt can be read now.
    Cleared(Message),
    Asked(Ask),
    Answered {
        name: String,
        is_accepted: bool,
        text: String,
    },
    Trust {
        name: String,
        trust: Trust,
    },
    /// Something that the user asked for, in a window of its own.
    Shown {
        title: String,
        text: String,
    },
    /// One sentence.
    Said(String),
    /// One sentence that the user must not miss.
    Warned(String),
    /// The session is over: the program ends with this sentence.
    Ended {
        why: String,
        is_refused: bool,
    },
}

/// How the server can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    #[default]
    Connecting,
    Here,
    /// It is tried again by itself.
    Away(String),
    /// It is not, until the user says so.
    Over(String),
}

/// Friends and pending requests, as the server knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    pub(crate) friends: Vec<Friend>,
    pub(crate) incoming: Vec<Ask>,
    pub(crate) outgoing: Vec<Ask>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Friend {
    pub(crate) name: String,
    pub(crate) nick: String,
    pub(crate) is_online: bool,
}

/// A friend request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The other one: who asked, or who was asked.
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) text: String,
}

/// From the screen to the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
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
    /// A chat was opened: are the friend's keys the pinned ones?
    LookAt(String),
    /// To these keys, which the user was shown; an empty text: to none.
    Agree {
        name: String,
        keys: String,
    },
    Find(String),
    Ask {
        name: String,
        text: String,
    },
    Withdraw(Ask),
    Answer {
        ask: Ask,
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
