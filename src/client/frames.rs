//! The texts that a client writes and reads: requests, with the type of their answers, and the
//! frames of the server.

use super::error::{Error, ServerRefusal};
use super::profile::{ClientRoster, UserProfile};
use super::push::Push;
use crate::protocol::field::USER_NAME_CHARS_MAX;
use crate::protocol::push::PushKind;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A request in the form in which it is written, and written again after a reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutgoingClientRequestFrame {
    /// The request's `MID`, or its `messageId`.
    pub(super) id: String,
    /// The TYPE of its answer.
    pub(super) answer: &'static str,
    pub(super) envelope: String,
    /// May the request be sent again when its answer was lost?
    pub(super) is_repeatable: bool,
    /// For this request RATE_LIMITED means only "too fast", so another try may succeed.
    pub(super) retry_when_limited: bool,
}

impl OutgoingClientRequestFrame {
    fn new(id: &str, answer: &'static str, envelope: &Value) -> Self {
        let (id, envelope) = (id.to_owned(), envelope.to_string());
        Self { id, answer, envelope, is_repeatable: true, retry_when_limited: false }
    }

    pub(super) fn message(id: &str, sender: &str, receiver: &str, text: &str) -> Self {
        let content = json!({"messageId": id, "sender": sender, "receiver": receiver, "content": text});
        let request = Self::new(id, "RE_MESSAGE", &json!({"TYPE": "4", "CONTENT": content}));
        Self { retry_when_limited: true, ..request }
    }

    pub(super) fn friend(kind: &str, id: &str, sender: &str, receiver: &str, words: &str) -> Self {
        let content = json!({"messageId": id, "sender": sender, "receiver": receiver, "content": words, "type": kind});
        Self::new(id, "RE_FRI_REQ", &json!({"TYPE": "6", "CONTENT": content}))
    }

    pub(super) fn get_user(id: &str, name: &str) -> Self {
        Self::new(id, "RE_GETUSER_SUC", &json!({"TYPE": "3", "MID": id, "CONTENT": name}))
    }

    /// A request whose TYPE is a word; its answer is `RE_` and the word.
    pub(super) fn word(word: &str, id: &str, content: &Value) -> Self {
        let answer = match word {
            "TOKEN" => "RE_TOKEN",
            "ROSTER" => "RE_ROSTER",
            "PROFILE" => "RE_PROFILE",
            "PASSWORD" => "RE_PASSWORD",
            "BLOCK" => "RE_BLOCK",
            _ => "RE_ACCOUNT",
        };
        Self::new(id, answer, &json!({"TYPE": word, "MID": id, "CONTENT": content}))
    }

    pub(super) fn roster(id: &str, after: Option<&str>, watch: bool) -> Self {
        let mut content = serde_json::Map::new();
        if let Some(after) = after {
            content.insert("after".to_owned(), after.into());
        }
        if watch {
            content.insert("watch".to_owned(), true.into());
        }
        Self::word("ROSTER", id, &Value::Object(content))
    }

    /// Marks the request as one that must not be sent again when its answer was lost.
    pub(super) fn not_repeatable(self) -> Self {
        Self { is_repeatable: false, ..self }
    }
}

pub(super) fn sign_up(id: &str, profile: &UserProfile, hash: &str) -> String {
    let mut content = serde_json::to_value(profile).unwrap_or_default();
    content["hashValue"] = hash.into();
    json!({"TYPE": "1", "MID": id, "CONTENT": content}).to_string()
}

pub(super) fn log_in(id: &str, user: &str, key: &str, secret: &str) -> String {
    let mut content = serde_json::Map::new();
    content.insert("USER".to_owned(), user.into());
    content.insert(key.to_owned(), secret.into());
    json!({"TYPE": "2", "MID": id, "CONTENT": content}).to_string()
}

pub(super) fn ack(message_id: &str, sender: &str) -> String {
    json!({"TYPE": "5", "CONTENT": {"MessageId": message_id, "sender": sender}}).to_string()
}

pub(super) fn heartbeat(id: &str) -> String {
    json!({"TYPE": "0", "MID": id, "CONTENT": {}}).to_string()
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ServerFrame {
    Reply {
        kind: String,
        id: String,
        content: Value,
    },
    Error {
        id: String,
        refusal: ServerRefusal,
    },
    Push(Push),
    Presence {
        user_name: String,
        online: bool,
    },
    /// A well-formed frame of a TYPE that this library does not know.
    Other,
}

impl ServerFrame {
    /// Reads a frame, with CONTENT in either of its two forms. `None` if the text is not a frame.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut frame: Value = serde_json::from_str(text).ok()?;
        let kind = frame.get("TYPE")?.as_str()?.to_owned();
        let content = match frame.get_mut("CONTENT")?.take() {
            Value::String(text) => serde_json::from_str(&text).ok()?,
            content => content,
        };
        let text = |key: &str| content.get(key).and_then(Value::as_str).map(str::to_owned);
        match kind.as_str() {
            "4" | "6" => {
                let kind = match (kind.as_str(), content.get("type").and_then(Value::as_str)) {
                    ("4", _) => PushKind::Message,
                    (_, Some("1")) => PushKind::FriendRequest,
                    (_, Some("2")) => PushKind::FriendAccept,
                    (_, Some("3")) => PushKind::FriendReject,
                    _ => return None,
                };
                Some(Self::Push(Push {
                    kind,
                    message_id: text("messageId")?,
                    sender: text("sender")?,
                    receiver: text("receiver")?,
                    time: text("time")?,
                    content: text("content")?,
                }))
            }
            "PRESENCE" => {
                let user_name = text("userName").filter(|name| name.len() <= USER_NAME_CHARS_MAX * 4)?;
                Some(Self::Presence { user_name, online: content.get("online")?.as_bool()? })
            }
            "RE_ERROR" => Some(Self::Error { id: text("MessageId")?, refusal: ServerRefusal::read(&text("Content")?) }),
            _ if kind.starts_with("RE_") => {
                let id = text("MessageId")?;
                let mut content = content;
                let content = content.get_mut("Content")?.take();
                Some(Self::Reply { kind, id, content })
            }
            _ => Some(Self::Other),
        }
    }
}

/// The answer to a request that was executed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ClientMachineRequestAnswer {
    /// MS.
    Taken,
    /// RE_FRI_REQ.
    Time(u64),
    Profile(Option<UserProfile>),
    Roster(ClientRoster),
    Blocked(Vec<String>),
    Text(String),
}

impl ClientMachineRequestAnswer {
    /// Reads the content of a reply of this TYPE.
    pub(super) fn read(kind: &str, content: &Value) -> Result<Self, Error> {
        let bad = || Error::BadAnswer(format!("a {kind} that cannot be read"));
        let text = || content.as_str().ok_or_else(bad);
        match kind {
            "RE_MESSAGE" => Ok(Self::Taken),
            "RE_FRI_REQ" => text()?.parse().map(Self::Time).map_err(|_| bad()),
            "RE_GETUSER_SUC" => parse_object(content).map(|profile| Self::Profile(Some(profile))).ok_or_else(bad),
            "RE_GETUSER_FAILED" => Ok(Self::Profile(None)),
            "RE_ROSTER" => parse_object(content).map(Self::Roster).ok_or_else(bad),
            "RE_BLOCK" => {
                let blocked = parse_object::<ClientBlockedListAnswer>(content).ok_or_else(bad)?;
                Ok(Self::Blocked(blocked.blocked))
            }
            _ => Ok(Self::Text(text()?.to_owned())),
        }
    }

    pub(super) fn time(&self) -> Result<u64, Error> {
        match self {
            Self::Time(time) => Ok(*time),
            other => Err(other.bad()),
        }
    }

    /// Checks that the answer is this word.
    pub(super) fn word(&self, word: &str) -> Result<(), Error> {
        match self {
            Self::Text(text) if text == word => Ok(()),
            other => Err(other.bad()),
        }
    }

    pub(super) fn bad(&self) -> Error {
        Error::BadAnswer("an answer to another request".to_owned())
    }
}

#[derive(serde::Deserialize)]
struct ClientBlockedListAnswer {
    blocked: Vec<String>,
}

/// Reads an object that is given directly, or as JSON text inside a string.
fn parse_object<T: DeserializeOwned>(content: &Value) -> Option<T> {
    match content {
        Value::String(text) => serde_json::from_str(text).ok(),
        content => T::deserialize(content).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(kind: &str, content: &Value) -> ServerFrame {
        let object = json!({"CONTENT": content, "TYPE": kind}).to_string();
        let text = json!({"CONTENT": content.to_string(), "TYPE": kind}).to_string();
        let frame = ServerFrame::read(&object).unwrap();
        assert_eq!(ServerFrame::read(&text).as_ref(), Some(&frame), "both forms say the same");
        frame
    }

    #[test]
    fn frames_are_read_in_both_forms() {
        let push = json!({"messageId": "m", "sender": "a\u{202e}", "receiver": "b", "time": "17", "content": "\"🪿\""});
        let ServerFrame::Push(push) = both("4", &push) else { panic!("a push") };
        assert_eq!((push.kind, push.content.as_str(), push.time_ms()), (PushKind::Message, "\"🪿\"", 17));
        let friend = json!({"messageId": "m", "sender": "a", "receiver": "b", "time": "x", "content": "", "type": "3"});
        let ServerFrame::Push(push) = both("6", &friend) else { panic!("a push") };
        assert_eq!((push.kind, push.time_ms()), (PushKind::FriendReject, 0));
        let error = both("RE_ERROR", &json!({"MessageId": "m", "Content": "FULL: no room"}));
        let refusal =
            ServerRefusal { code: Some(crate::protocol::error::ErrorCode::Full), text: "FULL: no room".into() };
        assert_eq!(error, ServerFrame::Error { id: "m".into(), refusal });
        assert_eq!(ServerRefusal::read("NEW_CODE: what").code, None);
        assert_eq!(
            both("PRESENCE", &json!({"userName": "ann", "online": true})),
            ServerFrame::Presence { user_name: "ann".into(), online: true }
        );
        assert_eq!(both("NEWS", &json!({})), ServerFrame::Other);
    }

    #[test]
    fn a_profile_is_an_object_or_a_text() {
        let profile = json!({"userName": "ann", "nickName": "Ann", "new": 1});
        for content in [profile.clone(), Value::String(profile.to_string())] {
            let ClientMachineRequestAnswer::Profile(Some(read)) =
                ClientMachineRequestAnswer::read("RE_GETUSER_SUC", &content).unwrap()
            else {
                panic!()
            };
            assert_eq!((read.user_name.as_str(), read.nick_name.as_str(), read.location.as_str()), ("ann", "Ann", ""));
        }
        assert!(ClientMachineRequestAnswer::read("RE_GETUSER_SUC", &json!([1])).is_err());
        assert!(ClientMachineRequestAnswer::read("RE_FRI_REQ", &json!("soon")).is_err());
    }

    #[test]
    fn the_times_of_a_roster_may_be_texts_or_numbers() {
        let request = |time: Value| json!({"userName": "ann", "messageId": "m", "content": "", "time": time});
        for time in [json!("17"), json!(17)] {
            let roster = json!({"friends": [], "incoming": [request(time)], "outgoing": [], "more": false});
            let ClientMachineRequestAnswer::Roster(roster) =
                ClientMachineRequestAnswer::read("RE_ROSTER", &roster).unwrap()
            else {
                panic!()
            };
            assert_eq!(roster.incoming[0].time, "17");
        }
    }

    #[test]
    fn a_text_that_is_no_frame_is_refused() {
        let deep = format!("{{\"TYPE\":\"4\",\"CONTENT\":{}}}", "[".repeat(100_000));
        let long = json!({"TYPE": "PRESENCE", "CONTENT": {"userName": "x".repeat(300), "online": true}}).to_string();
        for text in [
            "",
            "null",
            "[]",
            "{}",
            "{\"TYPE\":4,\"CONTENT\":{}}",
            "{\"TYPE\":\"4\"}",
            "{\"TYPE\":\"4\",\"CONTENT\":\"{\"}",
            "{\"TYPE\":\"4\",\"CONTENT\":{\"messageId\":1}}",
            "{\"TYPE\":\"6\",\"CONTENT\":{\"type\":\"9\"}}",
            "{\"TYPE\":\"RE_ERROR\",\"CONTENT\":{\"MessageId\":\"x\"}}",
            "{\"TYPE\":\"RE_X\",\"CONTENT\":[]}",
            deep.as_str(),
            long.as_str(),
        ] {
            assert_eq!(ServerFrame::read(text), None, "{}", &text[..text.len().min(60)]);
        }
    }
}
