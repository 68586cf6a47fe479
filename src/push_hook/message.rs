//! The body of a request: the data for the operator's service.

use crate::chat::contract::PushHookNotice;
use serde::Serialize;
use std::time::Instant;

/// The largest part of a push's content in a request, in bytes: notification services accept only a
/// few KiB.
const CONTENT_BYTES_MAX: usize = 1_024;

/// One announcement on its way.
#[derive(Debug)]
pub(super) struct QueuedHookRequest {
    /// The body, a JSON text.
    pub(super) body: Vec<u8>,
    /// When it was made.
    pub(super) created_at: Instant,
    /// The number of failed requests for it.
    pub(super) failures: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookRequestBody<'a> {
    receiver: &'a str,
    sender: &'a str,
    kind: &'static str,
    waiting: usize,
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_is_cut: Option<bool>,
}

/// The beginning of a text, in whole characters.
fn shorten(text: &str) -> &str {
    let end = (0..=CONTENT_BYTES_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

impl QueuedHookRequest {
    /// Makes the body for an announcement. It has content only if `with_content` is set.
    pub(super) fn of(notice: &PushHookNotice, with_content: bool, now: Instant) -> Self {
        let PushHookNotice { push, waiting_pushes, has_more } = notice;
        let content = with_content.then(|| shorten(push.content()));
        let body = HookRequestBody {
            receiver: push.receiver(),
            sender: push.sender(),
            kind: push.kind.word(),
            waiting: *waiting_pushes,
            more: *has_more,
            content,
            content_is_cut: content.map(|content| content.len() < push.content().len()),
        };
        // Texts, a number and booleans can always be serialised.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        Self { body, created_at: now, failures: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::field::{MessageId, UserName, UserNameRef};
    use crate::protocol::push::Push;
    use crate::protocol::push::PushKind;
    use serde_json::{Value, json};

    fn body(kind: PushKind, (sender, receiver): (&str, &str), content: &str, with_content: bool) -> Value {
        let (id, sender) = (MessageId::new("m1").unwrap(), UserNameRef::new(sender).unwrap());
        let push = Push::new(7, 1, kind, &id, &sender, UserName::new(receiver).unwrap(), content);
        let notice = PushHookNotice { push, waiting_pushes: 3, has_more: false };
        serde_json::from_slice(&QueuedHookRequest::of(&notice, with_content, Instant::now()).body).unwrap()
    }

    #[test]
    fn the_body_names_both_users_and_nothing_of_the_content() {
        for (kind, name) in [
            (PushKind::Message, "message"),
            (PushKind::FriendRequest, "request"),
            (PushKind::FriendAccept, "accept"),
            (PushKind::FriendReject, "reject"),
        ] {
            let expected = json!({"receiver": "ann", "sender": "bob", "kind": name, "waiting": 3, "more": false});
            assert_eq!(body(kind, ("bob", "ann"), "secret", false), expected);
        }
    }

    #[test]
    fn hostile_names_and_content_are_texts_and_nothing_else() {
        let names = ["\",\"sender\":\"eve", "\\u0022}", "</script>", "\u{202e}nna 🪿", "a\\"];
        let content = "\"}\r\n\r\nPOST / HTTP/1.1\0\u{1b}[31m\u{2028}";
        for name in names {
            let body = body(PushKind::Message, (name, name), content, true);
            assert_eq!((body["sender"].as_str(), body["receiver"].as_str()), (Some(name), Some(name)));
            assert_eq!((body["content"].as_str(), &body["contentIsCut"]), (Some(content), &json!(false)));
            assert_eq!(body.as_object().unwrap().len(), 7);
        }
    }

    #[test]
    fn long_content_is_cut_between_characters() {
        for (content, kept) in [("x".repeat(1_024), 1_024), ("x".repeat(9_999), 1_024), ("x🪿".repeat(999), 1_021)] {
            let body = body(PushKind::Message, ("bob", "ann"), &content, true);
            let said = body["content"].as_str().unwrap();
            assert_eq!((said.len(), body["contentIsCut"].as_bool()), (kept, Some(content.len() > kept)));
            assert!(content.starts_with(said));
        }
    }
}
