//! The server's frames: answers to requests and frames without a request, and how they are written.
//!
//! Frames are written compactly, keys in the order of the protocol page, into the caller's buffer,
//! without a line end: the wire adds its own framing.

use super::account::RosterReplyWithPresence;
use super::encode_fast::write_message_answer;
use super::error::ErrorCode;
use super::escape::{escape, number, quote};
use super::field::{Profile, Secret, UserName};
use super::push::PushBody;
use super::request::ContentAsStringOrObject;

mod account;
pub use account::write_presence;

/// The id in a reply.
#[derive(Clone, Debug)]
pub enum ReplyId {
    /// Empty: the request had no id, or could not be read.
    Empty,
    /// The id of the request.
    Text(Box<str>),
    /// The id of a message's body, without a copy.
    OfBody(PushBody),
}

impl ReplyId {
    /// The id itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::Text(text) => text,
            Self::OfBody(body) => body.id(),
        }
    }
}

/// The content of a reply.
#[derive(Clone, Debug)]
pub enum Reply {
    /// RE_SIGNUP: `SS` or `SF`.
    SignUp {
        /// Was it done?
        done: bool,
    },
    /// RE_SIGNUP: `LS` or `LF`.
    Login {
        /// Was it done?
        done: bool,
    },
    /// RE_GETUSER_SUC.
    Profile(Box<Profile>),
    /// RE_GETUSER_FAILED: `User could not be found`.
    NoSuchProfile,
    /// RE_MESSAGE: `MS` or `MF`.
    Message {
        /// `MS`: the message is durable; otherwise `MF`.
        is_durable: bool,
    },
    /// RE_FRI_REQ.
    Friend {
        /// The server's time in ms since the epoch.
        time_ms: u64,
    },
    /// RE_TOKEN: a new resume token.
    Token(Secret),
    /// RE_TOKEN: `revoked`.
    TokensRevoked,
    /// RE_ROSTER.
    Roster(Box<RosterReplyWithPresence>),
    /// RE_PROFILE: `changed`.
    ProfileChanged,
    /// RE_PASSWORD: `changed`.
    PasswordChanged,
    /// RE_BLOCK: all users whom the user blocks.
    Blocked(Vec<UserName>),
    /// RE_ACCOUNT: `deleted`.
    AccountDeleted,
    /// RE_HEARTBEAT.
    Heartbeat {
        /// The server's time in ms since the epoch.
        time_ms: u64,
    },
    /// RE_ERROR: `CODE: sentence`.
    Error {
        /// The code.
        code: ErrorCode,
        /// The sentence, without the code and without a full stop.
        explanation: &'static str,
    },
}

/// Writes one frame, and tracks in how many strings the present text is nested.
struct ClientReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The number of strings around the text that is being written.
    depth: u32,
    text: bool,
}

impl<'a> ClientReplyWriter<'a> {
    fn begin(out: &'a mut Vec<u8>, form: ContentAsStringOrObject) -> Self {
        let text = form == ContentAsStringOrObject::Text;
        out.extend_from_slice(if text { b"{\"CONTENT\":\"{" } else { b"{\"CONTENT\":{" });
        Self { out, depth: u32::from(text), text }
    }

    fn quote(&mut self) {
        quote(self.out, self.depth);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn key(&mut self, key: &str) {
        self.quote();
        self.raw(key.as_bytes());
        self.quote();
        self.raw(b":");
    }

    /// `"key":"text"`
    fn string(&mut self, key: &str, text: &str) {
        self.key(key);
        self.quote();
        escape(self.out, text, self.depth + 1);
        self.quote();
    }

    /// Writes a content that is a text alone, and gives the type of its frame.
    fn word(&mut self, content: &str, kind: &'static str) -> &'static str {
        self.string("Content", content);
        kind
    }

    /// `"key":"1652791027673"`
    fn number(&mut self, key: &str, of: u64) {
        self.key(key);
        self.quote();
        number(self.out, of);
        self.quote();
    }

    fn comma(&mut self) {
        self.raw(b",");
    }

    /// `"Content":{…}`, which in the string form is one more JSON text inside a string.
    fn content_object(&mut self, write: impl FnOnce(&mut Self)) {
        self.key("Content");
        if self.text {
            self.quote();
            self.depth += 1;
        }
        self.raw(b"{");
        write(self);
        self.raw(b"}");
        if self.text {
            self.depth -= 1;
            self.quote();
        }
    }

    fn end(self, kind: &str) {
        self.out.extend_from_slice(if self.text { b"}\",\"TYPE\":\"" } else { b"},\"TYPE\":\"" });
        self.out.extend_from_slice(kind.as_bytes());
        self.out.extend_from_slice(b"\"}");
    }
}

fn write_profile(frame: &mut ClientReplyWriter<'_>, profile: &Profile) {
    let fields = [
        ("userName", profile.user_name.as_str()),
        ("emailAddress", &profile.email_address),
        ("nickName", &profile.nick_name),
        ("profilePicture", &profile.profile_picture),
        ("location", &profile.location),
        ("personalDescription", &profile.personal_description),
        ("rsaPublicKey", &profile.rsa_public_key),
    ];
    frame.content_object(|frame| {
        for (place, (key, value)) in fields.into_iter().enumerate() {
            if place > 0 {
                frame.comma();
            }
            frame.string(key, value);
        }
    });
}

/// Appends one reply frame to `out`, without a line end.
pub fn write_reply(out: &mut Vec<u8>, form: ContentAsStringOrObject, id: &str, reply: &Reply) {
    if let Reply::Message { is_durable } = reply {
        return write_message_answer(out, form, id, *is_durable);
    }
    let mut frame = ClientReplyWriter::begin(out, form);
    frame.string("MessageId", id);
    frame.comma();
    let kind = match reply {
        Reply::SignUp { done } => frame.word(if *done { "SS" } else { "SF" }, "RE_SIGNUP"),
        // The protocol's own type for it.
        Reply::Login { done } => frame.word(if *done { "LS" } else { "LF" }, "RE_SIGNUP"),
        Reply::Profile(profile) => {
            write_profile(&mut frame, profile);
            "RE_GETUSER_SUC"
        }
        Reply::NoSuchProfile => frame.word("User could not be found", "RE_GETUSER_FAILED"),
        // Written above, because it is the most frequent one.
        Reply::Message { .. } => return,
        Reply::Friend { time_ms } => {
            frame.number("Content", *time_ms);
            "RE_FRI_REQ"
        }
        Reply::Token(token) => frame.word(token.expose(), "RE_TOKEN"),
        Reply::TokensRevoked => frame.word("revoked", "RE_TOKEN"),
        Reply::Roster(shown) => {
            account::write_roster(&mut frame, shown);
            "RE_ROSTER"
        }
        Reply::ProfileChanged => frame.word("changed", "RE_PROFILE"),
        Reply::PasswordChanged => frame.word("changed", "RE_PASSWORD"),
        Reply::Blocked(names) => {
            account::write_blocked(&mut frame, names);
            "RE_BLOCK"
        }
        Reply::AccountDeleted => frame.word("deleted", "RE_ACCOUNT"),
        Reply::Heartbeat { time_ms } => {
            frame.number("Content", *time_ms);
            "RE_HEARTBEAT"
        }
        Reply::Error { code, explanation } => {
            frame.key("Content");
            frame.quote();
            frame.raw(code.as_str().as_bytes());
            frame.raw(b": ");
            let depth = frame.depth + 1;
            escape(frame.out, explanation, depth);
            frame.quote();
            "RE_ERROR"
        }
    };
    frame.end(kind);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::field::UserName;
    use serde_json::{Value, json};

    fn written(form: ContentAsStringOrObject, id: &str, reply: &Reply) -> String {
        let mut out = Vec::new();
        write_reply(&mut out, form, id, reply);
        String::from_utf8(out).unwrap()
    }

    fn profile(description: &str) -> Box<Profile> {
        Box::new(Profile {
            user_name: UserName::new("vincent313").unwrap(),
            email_address: "v@example.com".into(),
            nick_name: "zhiyong".into(),
            profile_picture: "personalfilepicture.com/link".into(),
            location: "longyan".into(),
            personal_description: description.into(),
            rsa_public_key: "24sdfqwrwer".into(),
        })
    }

    #[test]
    fn replies_are_those_of_the_protocol_page() {
        assert_eq!(
            written(ContentAsStringOrObject::Text, "signupmessageID001", &Reply::SignUp { done: true }),
            r#"{"CONTENT":"{\"MessageId\":\"signupmessageID001\",\"Content\":\"SS\"}","TYPE":"RE_SIGNUP"}"#
        );
        assert_eq!(
            written(ContentAsStringOrObject::Object, "loginmessage0001", &Reply::Login { done: false }),
            r#"{"CONTENT":{"MessageId":"loginmessage0001","Content":"LF"},"TYPE":"RE_SIGNUP"}"#
        );
        assert_eq!(
            written(ContentAsStringOrObject::Text, "getuserinfo0010001", &Reply::Profile(profile("cooking man"))),
            r#"{"CONTENT":"{\"MessageId\":\"getuserinfo0010001\",\"Content\":\"{\\\"userName\\\":\\\"vincent313\\\",\\\"emailAddress\\\":\\\"v@example.com\\\",\\\"nickName\\\":\\\"zhiyong\\\",\\\"profilePicture\\\":\\\"personalfilepicture.com/link\\\",\\\"location\\\":\\\"longyan\\\",\\\"personalDescription\\\":\\\"cooking man\\\",\\\"rsaPublicKey\\\":\\\"24sdfqwrwer\\\"}\"}","TYPE":"RE_GETUSER_SUC"}"#
        );
        assert_eq!(
            written(
                ContentAsStringOrObject::Text,
                "",
                &Reply::Error { code: ErrorCode::BadJson, explanation: "not a JSON \"object\"" }
            ),
            r#"{"CONTENT":"{\"MessageId\":\"\",\"Content\":\"BAD_JSON: not a JSON \\\"object\\\"\"}","TYPE":"RE_ERROR"}"#
        );
        assert_eq!(
            written(ContentAsStringOrObject::Object, "h", &Reply::Heartbeat { time_ms: 1_652_791_027_673 }),
            r#"{"CONTENT":{"MessageId":"h","Content":"1652791027673"},"TYPE":"RE_HEARTBEAT"}"#
        );
    }

    /// The hand-made escaper against serde_json, one to three strings deep.
    #[test]
    fn escapes_are_those_of_serde_json() {
        let mut random = fastrand::Rng::with_seed(1);
        for round in 0..3_000 {
            let mut text = String::new();
            for _ in 0..round % 40 {
                let choice = random.u32(..);
                text.push(match random.u8(..5) {
                    0 => char::from((choice % 0x20) as u8),
                    1 => ['"', '\\', '/', '\u{7f}', '\u{2028}'][choice as usize % 5],
                    2 => char::from_u32(choice % 0x11_0000).unwrap_or('雁'),
                    _ => char::from((0x20 + choice % 0x5f) as u8),
                });
            }
            let inner = json!({"MessageId": text, "Content": "MS"});
            let as_text = written(ContentAsStringOrObject::Text, &text, &Reply::Message { is_durable: true });
            let as_object = written(ContentAsStringOrObject::Object, &text, &Reply::Message { is_durable: true });
            // serde_json keeps its keys sorted here, so the frames are compared by what they mean,
            // the escapes by the letter.
            let outer: Value = serde_json::from_str(&as_text).unwrap();
            assert_eq!(serde_json::from_str::<Value>(outer["CONTENT"].as_str().unwrap()).unwrap(), inner);
            assert_eq!(serde_json::from_str::<Value>(&as_object).unwrap()["CONTENT"], inner);
            let once = serde_json::to_string(&text).unwrap();
            let twice = serde_json::to_string(&once).unwrap();
            assert!(as_object.contains(&once), "round {round}");
            assert!(as_text.contains(&twice[1..twice.len() - 1]), "round {round}");
            let deep = written(ContentAsStringOrObject::Text, "x", &Reply::Profile(profile(&text)));
            let outer: Value = serde_json::from_str(&deep).unwrap();
            let middle: Value = serde_json::from_str(outer["CONTENT"].as_str().unwrap()).unwrap();
            let inner: Value = serde_json::from_str(middle["Content"].as_str().unwrap()).unwrap();
            assert_eq!(inner["personalDescription"], text.as_str(), "round {round}");
        }
    }
}
