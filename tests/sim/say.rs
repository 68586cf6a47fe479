//! The frames of clients, owned, and the frames to clients, as short lines.

use super::store::profile;
use hongyan::chat::contract::CoreCloseCause;
use hongyan::protocol::account::{BlockVerb, OwnAccountRequest, ProfileChange};
use hongyan::protocol::error::ErrorCode;
use hongyan::protocol::field::{MessageId, Secret, UserName, UserNameRef};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::protocol::reply::{Reply, ReplyId};
use hongyan::protocol::request::{
    BadInput, ClientRequest, ContentAsStringOrObject, Credential, FriendVerb, RequestType, ResumeTokenVerb,
};
use std::borrow::Cow;

/// One input.
#[derive(Clone, Debug)]
pub enum Say {
    SignUp {
        mid: String,
        user: String,
        password: String,
    },
    Login {
        mid: String,
        user: String,
        password: String,
    },
    Resume {
        mid: String,
        user: String,
        token: String,
    },
    Token {
        mid: String,
        verb: ResumeTokenVerb,
    },
    GetUser {
        mid: String,
        user: String,
    },
    Message {
        id: String,
        sender: String,
        receiver: String,
        content: String,
    },
    Ack {
        id: String,
        sender: Option<String>,
    },
    Friend {
        id: String,
        sender: String,
        receiver: String,
        verb: FriendVerb,
        content: String,
    },
    Heartbeat {
        mid: String,
    },
    Roster {
        mid: String,
        after: Option<String>,
        watch: bool,
    },
    Profile {
        mid: String,
        change: ProfileChange,
    },
    Password {
        mid: String,
        old: String,
        new: String,
    },
    /// Blocks this user, or (`false`) does so no longer; asks who is blocked.
    Block {
        mid: String,
        other: Option<(String, bool)>,
    },
    DeleteAccount {
        mid: String,
        password: String,
    },
    Bad {
        code: ErrorCode,
        request_type: Option<RequestType>,
    },
}

fn name(text: &str) -> UserNameRef<'_> {
    UserNameRef::new(text).unwrap()
}

fn id(text: &str) -> MessageId<'_> {
    MessageId::new(text).unwrap()
}

fn account<'a>(mid: &'a str, request: OwnAccountRequest<'a>) -> ClientRequest<'a> {
    ClientRequest::Account { mid: Some(id(mid)), form: ContentAsStringOrObject::Text, request }
}

fn log_in<'a>(mid: &'a str, user: &'a str, credential: Credential) -> ClientRequest<'a> {
    ClientRequest::Login { mid: Some(id(mid)), form: ContentAsStringOrObject::Text, user: name(user), credential }
}

/// Has it nothing that JSON escapes?
fn is_escape_free(text: &str) -> bool {
    !text.contains(|char| matches!(char, '"' | '\\' | '\0'..' '))
}

impl Say {
    pub fn request(&self) -> Result<ClientRequest<'_>, BadInput> {
        let form = ContentAsStringOrObject::Text;
        Ok(match self {
            Self::SignUp { mid, user, password } => ClientRequest::SignUp {
                mid: Some(id(mid)),
                form,
                profile: Box::new(profile(user)),
                secret: Secret::new(password),
            },
            Self::Login { mid, user, password } => log_in(mid, user, Credential::Password(Secret::new(password))),
            Self::Resume { mid, user, token } => log_in(mid, user, Credential::Token(Secret::new(token))),
            Self::Token { mid, verb } => ClientRequest::Token { mid: Some(id(mid)), form, verb: *verb },
            Self::GetUser { mid, user } => ClientRequest::GetUser { mid: Some(id(mid)), user: name(user) },
            Self::Message { id: of, sender, receiver, content } => ClientRequest::Message {
                form,
                id: id(of),
                sender: name(sender),
                receiver: name(receiver),
                content: Cow::Borrowed(content),
                escape_free: [of, sender, receiver, content].into_iter().all(|text| is_escape_free(text)),
            },
            Self::Ack { id: of, sender } => {
                ClientRequest::Ack { form, id: id(of), sender: sender.as_ref().map(|sender| name(sender)) }
            }
            Self::Friend { id: of, sender, receiver, verb, content } => ClientRequest::Friend {
                form,
                id: id(of),
                sender: name(sender),
                receiver: name(receiver),
                verb: *verb,
                content: Cow::Borrowed(content),
            },
            Self::Heartbeat { mid } => ClientRequest::Heartbeat { mid: Some(id(mid)) },
            Self::Roster { mid, after, watch } => account(
                mid,
                OwnAccountRequest::Roster { after: after.as_ref().map(|after| name(after)), watch: *watch },
            ),
            Self::Profile { mid, change } => account(mid, OwnAccountRequest::Profile(Box::new(change.clone()))),
            Self::Password { mid, old, new } => {
                account(mid, OwnAccountRequest::Password { old: Secret::new(old), new: Secret::new(new) })
            }
            Self::Block { mid, other } => account(
                mid,
                OwnAccountRequest::Block(match other {
                    Some((other, true)) => BlockVerb::Block(name(other)),
                    Some((other, false)) => BlockVerb::Unblock(name(other)),
                    None => BlockVerb::List,
                }),
            ),
            Self::DeleteAccount { mid, password } => {
                account(mid, OwnAccountRequest::Delete { password: Secret::new(password) })
            }
            Self::Bad { code, request_type } => {
                return Err(BadInput {
                    request_type: *request_type,
                    form: None,
                    id: "".into(),
                    code: *code,
                    explanation: "it is bad",
                });
            }
        })
    }
}

/// One thing that a client hears.
#[derive(Clone, Debug)]
pub enum Frame {
    Reply { id: ReplyId, reply: Reply },
    Push(Push),
    Presence { user: UserName, online: bool },
    Closed(CoreCloseCause),
}

impl Frame {
    /// `MS m1`, `msg bob m1`, `UNAVAILABLE f1`, `on ann`, `off ann`, `closed Idle`.
    pub fn line(&self) -> String {
        let (word, id) = match self {
            Self::Closed(cause) => return format!("closed {cause:?}"),
            Self::Push(push) => {
                let word = match push.kind {
                    PushKind::Message => "msg",
                    PushKind::FriendRequest => "ask",
                    PushKind::FriendAccept => "yes",
                    PushKind::FriendReject => "no",
                };
                return format!("{word} {} {}", push.sender(), push.id());
            }
            Self::Presence { user, online } => return format!("{} {user}", if *online { "on" } else { "off" }),
            Self::Reply { id, reply } => (word_of(reply), id.as_str()),
        };
        format!("{word} {id}").trim_end().to_owned()
    }
}

pub fn word_of(reply: &Reply) -> &'static str {
    match reply {
        Reply::SignUp { done: true } => "SS",
        Reply::SignUp { done: false } => "SF",
        Reply::Login { done: true } => "LS",
        Reply::Login { done: false } => "LF",
        Reply::Message { is_durable: true } => "MS",
        Reply::Message { is_durable: false } => "MF",
        Reply::Profile(_) => "PROFILE",
        Reply::NoSuchProfile => "NOBODY",
        Reply::Friend { .. } => "OK",
        Reply::Token(_) => "TOKEN",
        Reply::TokensRevoked => "REVOKED",
        Reply::Roster(_) => "ROSTER",
        Reply::ProfileChanged | Reply::PasswordChanged => "CHANGED",
        Reply::Blocked(_) => "BLOCKED",
        Reply::AccountDeleted => "DELETED",
        Reply::Heartbeat { .. } => "BEAT",
        Reply::Error { code, .. } => code.as_str(),
    }
}
