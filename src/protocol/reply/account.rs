//! Writes rosters, lists of blocked users, and PRESENCE.

use super::ClientReplyWriter;
use crate::protocol::account::{RosterReplyFriend, RosterReplyFriendRequest, RosterReplyWithPresence};
use crate::protocol::field::UserName;
use crate::protocol::request::ContentAsStringOrObject;

impl ClientReplyWriter<'_> {
    /// `"key":true`
    fn flag(&mut self, key: &str, is_set: bool) {
        self.key(key);
        self.raw(if is_set { b"true" } else { b"false" });
    }

    /// `"key":[…]`
    fn list<T>(&mut self, key: &str, of: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.key(key);
        self.raw(b"[");
        for (place, one) in of.into_iter().enumerate() {
            if place > 0 {
                self.comma();
            }
            write(self, one);
        }
        self.raw(b"]");
    }
}

fn write_friend(frame: &mut ClientReplyWriter<'_>, friend: &RosterReplyFriend, online: bool) {
    frame.raw(b"{");
    frame.string("userName", friend.user_name.as_str());
    frame.comma();
    frame.string("nickName", &friend.nick_name);
    frame.comma();
    frame.string("profilePicture", &friend.profile_picture);
    frame.comma();
    frame.flag("online", online);
    frame.raw(b"}");
}

fn write_pending(frame: &mut ClientReplyWriter<'_>, entry: &RosterReplyFriendRequest) {
    frame.raw(b"{");
    frame.string("userName", entry.user_name.as_str());
    frame.comma();
    frame.string("messageId", &entry.message_id);
    frame.comma();
    frame.string("content", &entry.content);
    frame.comma();
    frame.number("time", entry.time_ms);
    frame.raw(b"}");
}

pub(super) fn write_roster(
    frame: &mut ClientReplyWriter<'_>,
    RosterReplyWithPresence { roster, online }: &RosterReplyWithPresence,
) {
    frame.content_object(|frame| {
        let friends = roster.friends.iter().zip(online);
        frame.list("friends", friends, |frame, (friend, online)| write_friend(frame, friend, *online));
        frame.comma();
        frame.list("incoming", &roster.incoming, write_pending);
        frame.comma();
        frame.list("outgoing", &roster.outgoing, write_pending);
        frame.comma();
        frame.flag("more", roster.has_more);
    });
}

pub(super) fn write_blocked(frame: &mut ClientReplyWriter<'_>, names: &[UserName]) {
    frame.content_object(|frame| {
        frame.list("blocked", names, |frame, name| {
            frame.quote();
            let depth = frame.depth + 1;
            super::escape(frame.out, name.as_str(), depth);
            frame.quote();
        });
    });
}

/// Appends the frame that tells whether a friend is online, without a line end.
pub fn write_presence(out: &mut Vec<u8>, form: ContentAsStringOrObject, user: &UserName, online: bool) {
    let mut frame = ClientReplyWriter::begin(out, form);
    frame.string("userName", user.as_str());
    frame.comma();
    frame.flag("online", online);
    frame.end("PRESENCE");
}

#[cfg(test)]
mod tests {
    use super::super::{Reply, write_reply};
    use super::*;
    use crate::protocol::account::RosterReply;
    use serde_json::{Value, json};

    fn name(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    fn written(form: ContentAsStringOrObject, reply: &Reply) -> String {
        let mut out = Vec::new();
        write_reply(&mut out, form, "a1", reply);
        String::from_utf8(out).unwrap()
    }

    fn roster(odd: &str) -> Reply {
        let friend = |user: &str| RosterReplyFriend {
            user_name: name(user),
            nick_name: odd.into(),
            profile_picture: "p".into(),
        };
        let request = |user: &str| RosterReplyFriendRequest {
            user_name: name(user),
            message_id: "f1".into(),
            content: odd.into(),
            time_ms: 1_652_791_027_673,
        };
        let roster = RosterReply {
            friends: vec![friend("ann"), friend("bob")],
            has_more: true,
            incoming: vec![request("cid")],
            outgoing: Vec::new(),
        };
        Reply::Roster(Box::new(RosterReplyWithPresence { roster, online: vec![true, false] }))
    }

    #[test]
    fn frames_about_accounts_are_those_of_the_protocol_page() {
        assert_eq!(
            written(ContentAsStringOrObject::Object, &roster("n")),
            concat!(
                r#"{"CONTENT":{"MessageId":"a1","Content":{"friends":["#,
                r#"{"userName":"ann","nickName":"n","profilePicture":"p","online":true},"#,
                r#"{"userName":"bob","nickName":"n","profilePicture":"p","online":false}],"#,
                r#""incoming":[{"userName":"cid","messageId":"f1","content":"n","time":"1652791027673"}],"#,
                r#""outgoing":[],"more":true}},"TYPE":"RE_ROSTER"}"#
            )
        );
        assert_eq!(
            written(ContentAsStringOrObject::Text, &Reply::Blocked(vec![name("bob"), name("eve")])),
            r#"{"CONTENT":"{\"MessageId\":\"a1\",\"Content\":\"{\\\"blocked\\\":[\\\"bob\\\",\\\"eve\\\"]}\"}","TYPE":"RE_BLOCK"}"#
        );
        assert_eq!(
            written(ContentAsStringOrObject::Object, &Reply::Blocked(Vec::new())),
            r#"{"CONTENT":{"MessageId":"a1","Content":{"blocked":[]}},"TYPE":"RE_BLOCK"}"#
        );
        for (reply, kind, word) in [
            (Reply::ProfileChanged, "RE_PROFILE", "changed"),
            (Reply::PasswordChanged, "RE_PASSWORD", "changed"),
            (Reply::AccountDeleted, "RE_ACCOUNT", "deleted"),
        ] {
            let frame = format!(r#"{{"CONTENT":{{"MessageId":"a1","Content":"{word}"}},"TYPE":"{kind}"}}"#);
            assert_eq!(written(ContentAsStringOrObject::Object, &reply), frame);
        }
    }

    #[test]
    fn presence_is_that_of_the_protocol_page_in_both_forms() {
        let mut out = Vec::new();
        write_presence(&mut out, ContentAsStringOrObject::Object, &name("ann"), true);
        out.push(b' ');
        write_presence(&mut out, ContentAsStringOrObject::Text, &name("a\"b"), false);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"CONTENT":{"userName":"ann","online":true},"TYPE":"PRESENCE"} "#,
                r#"{"CONTENT":"{\"userName\":\"a\\\"b\",\"online\":false}","TYPE":"PRESENCE"}"#
            )
        );
    }

    #[test]
    fn every_text_is_escaped_as_deep_as_it_stands() {
        let odd = "\"\\\n\u{1}雁 </script>";
        for reply in [roster(odd), Reply::Blocked(vec![name("a\"b\\")])] {
            let as_object: Value = serde_json::from_str(&written(ContentAsStringOrObject::Object, &reply)).unwrap();
            let as_text: Value = serde_json::from_str(&written(ContentAsStringOrObject::Text, &reply)).unwrap();
            let middle: Value = serde_json::from_str(as_text["CONTENT"].as_str().unwrap()).unwrap();
            let inner: Value = serde_json::from_str(middle["Content"].as_str().unwrap()).unwrap();
            assert_eq!(inner, as_object["CONTENT"]["Content"]);
            assert!(inner["friends"][0]["nickName"] == odd || inner["blocked"] == json!(["a\"b\\"]), "{inner}");
        }
    }
}
