//! The encode fast path for the two most frequent frames: a push, and the answer to a message.

use super::escape::{escape, number};
use super::push::{Push, PushKind};
use super::request::ContentAsStringOrObject;

/// The frame template: the fixed parts between the texts of these two frames.
struct JsonFrameTemplate {
    id: &'static [u8],
    sender: &'static [u8],
    receiver: &'static [u8],
    time: &'static [u8],
    content: &'static [u8],
    end: &'static [u8],
    kind: &'static [u8],
    kind_end: &'static [u8],
    answer: &'static [u8],
    answer_ends: [&'static [u8]; 2],
    /// How many times the texts are escaped.
    escape_levels: u32,
}

const TEXT: JsonFrameTemplate = JsonFrameTemplate {
    id: br#"{"CONTENT":"{\"messageId\":\""#,
    sender: br#"\",\"sender\":\""#,
    receiver: br#"\",\"receiver\":\""#,
    time: br#"\",\"time\":\""#,
    content: br#"\",\"content\":\""#,
    end: br#"\"}","TYPE":"4"}"#,
    kind: br#"\",\"type\":\""#,
    kind_end: br#"\"}","TYPE":"6"}"#,
    answer: br#"{"CONTENT":"{\"MessageId\":\""#,
    answer_ends: [
        br#"\",\"Content\":\"MF\"}","TYPE":"RE_MESSAGE"}"#,
        br#"\",\"Content\":\"MS\"}","TYPE":"RE_MESSAGE"}"#,
    ],
    escape_levels: 2,
};

const OBJECT: JsonFrameTemplate = JsonFrameTemplate {
    id: br#"{"CONTENT":{"messageId":""#,
    sender: br#"","sender":""#,
    receiver: br#"","receiver":""#,
    time: br#"","time":""#,
    content: br#"","content":""#,
    end: br#""},"TYPE":"4"}"#,
    kind: br#"","type":""#,
    kind_end: br#""},"TYPE":"6"}"#,
    answer: br#"{"CONTENT":{"MessageId":""#,
    answer_ends: [br#"","Content":"MF"},"TYPE":"RE_MESSAGE"}"#, br#"","Content":"MS"},"TYPE":"RE_MESSAGE"}"#],
    escape_levels: 1,
};

/// An upper bound on the bytes between the texts of a push.
const BETWEEN_BYTES: usize = 160;

/// Appends the answer to a message.
pub(super) fn write_message_answer(out: &mut Vec<u8>, form: ContentAsStringOrObject, id: &str, taken: bool) {
    match form {
        ContentAsStringOrObject::Text => write_message_answer_as(&TEXT, out, id, taken),
        ContentAsStringOrObject::Object => write_message_answer_as(&OBJECT, out, id, taken),
    }
}

// Inlined, like `write_push_as`.
#[inline(always)]
fn write_message_answer_as(template: &'static JsonFrameTemplate, out: &mut Vec<u8>, id: &str, taken: bool) {
    out.extend_from_slice(template.answer);
    escape(out, id, template.escape_levels);
    out.extend_from_slice(template.answer_ends[usize::from(taken)]);
}

/// Appends one push frame (TYPE 4 or 6) to `out`, without a line end.
pub fn write_push(out: &mut Vec<u8>, form: ContentAsStringOrObject, push: &Push) {
    match form {
        ContentAsStringOrObject::Text => write_push_as(&TEXT, out, push),
        ContentAsStringOrObject::Object => write_push_as(&OBJECT, out, push),
    }
}

// Inlined, so that the fixed parts have a known length and cost only a few moves each.
#[inline(always)]
fn write_push_as(template: &'static JsonFrameTemplate, out: &mut Vec<u8>, push: &Push) {
    let escape_free = push.is_escape_free();
    let text = |out: &mut Vec<u8>, text: &str| {
        if escape_free {
            out.extend_from_slice(text.as_bytes());
        } else {
            escape(out, text, template.escape_levels);
        }
    };
    out.reserve(BETWEEN_BYTES + push.text_bytes());
    out.extend_from_slice(template.id);
    text(out, push.id());
    out.extend_from_slice(template.sender);
    text(out, push.sender());
    out.extend_from_slice(template.receiver);
    // The body does not say whether the receiver's name needs escaping. A name is short.
    escape(out, push.receiver(), template.escape_levels);
    out.extend_from_slice(template.time);
    number(out, push.time_ms);
    out.extend_from_slice(template.content);
    text(out, push.content());
    let kind = match push.kind {
        PushKind::Message => return out.extend_from_slice(template.end),
        PushKind::FriendRequest => b"1",
        PushKind::FriendAccept => b"2",
        PushKind::FriendReject => b"3",
    };
    out.extend_from_slice(template.kind);
    out.extend_from_slice(kind);
    out.extend_from_slice(template.kind_end);
}

#[cfg(test)]
mod tests {
    use super::super::field::{MessageId, UserNameRef};
    use super::*;
    use serde_json::Value;

    #[test]
    fn pushes_are_those_of_the_protocol_page() {
        let push = |kind| {
            let (id, sender, receiver) = ("friendsrequest001", "zhiyong313", "vincent313");
            let (sender, receiver) = (UserNameRef::new(sender).unwrap(), UserNameRef::new(receiver).unwrap());
            Push::new(7, 1_652_791_027_673, kind, &MessageId::new(id).unwrap(), &sender, &receiver, "tianjia")
        };
        let mut out = Vec::new();
        write_push(&mut out, ContentAsStringOrObject::Text, &push(PushKind::FriendRequest));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"CONTENT":"{\"messageId\":\"friendsrequest001\",\"sender\":\"zhiyong313\",\"receiver\":\"vincent313\",\"time\":\"1652791027673\",\"content\":\"tianjia\",\"type\":\"1\"}","TYPE":"6"}"#
        );
        let mut out = Vec::new();
        write_push(&mut out, ContentAsStringOrObject::Object, &push(PushKind::Message));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"CONTENT":{"messageId":"friendsrequest001","sender":"zhiyong313","receiver":"vincent313","time":"1652791027673","content":"tianjia"},"TYPE":"4"}"#
        );
    }

    #[test]
    fn the_written_size_of_a_push_is_known_before_writing() {
        let contents = ["", "tianjia", "\"\\", "\u{1}\u{2}\n\t\r", "雁\u{1f}x", "\u{8}\u{c}"];
        for (content, kind) in
            contents.iter().flat_map(|text| [PushKind::Message, PushKind::FriendAccept].map(|k| (text, k)))
        {
            let (sender, receiver) = (UserNameRef::new("zhi\"yong").unwrap(), UserNameRef::new("vincent").unwrap());
            let push =
                Push::new(7, 1_652_791_027_673, kind, &MessageId::new("id").unwrap(), &sender, &receiver, content);
            for form in [ContentAsStringOrObject::Text, ContentAsStringOrObject::Object] {
                let mut out = Vec::new();
                write_push(&mut out, form, &push);
                let known = push.written_bytes(form);
                assert!((out.len()..out.len() + 40).contains(&known), "{known} for {}", out.len());
            }
        }
    }

    #[test]
    fn every_text_of_a_push_is_escaped() {
        let texts = ["a", "b", "c", "d"];
        for (place, odd) in (0..4).flat_map(|place| ["\"", "\\", "\u{1}", "\\\"\n", "雁\""].map(|odd| (place, odd))) {
            let mut texts = texts.map(str::to_owned);
            // A user name cannot contain a control character.
            if (place == 1 || place == 2) && odd.contains(char::is_control) {
                continue;
            }
            texts[place].push_str(odd);
            let [id, sender, receiver, content] = &texts;
            let (sender, receiver) = (UserNameRef::new(sender).unwrap(), UserNameRef::new(receiver).unwrap());
            let push = Push::new(7, 1, PushKind::Message, &MessageId::new(id).unwrap(), &sender, &receiver, content);
            let written = |form| {
                let mut out = Vec::new();
                write_push(&mut out, form, &push);
                serde_json::from_slice::<Value>(&out).unwrap()["CONTENT"].take()
            };
            let as_text =
                serde_json::from_str::<Value>(written(ContentAsStringOrObject::Text).as_str().unwrap()).unwrap();
            for inner in [as_text, written(ContentAsStringOrObject::Object)] {
                let found =
                    ["messageId", "sender", "receiver", "content"].map(|key| inner[key].as_str().unwrap().to_owned());
                assert_eq!(found, texts);
            }
        }
    }
}
