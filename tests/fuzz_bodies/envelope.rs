//! The envelope, compared with serde_json: an accepted input says the same, and an input that is
//! refused as no JSON object is none.

use super::raw::depth;
use super::reference;
use hongyan::protocol::account::{BlockVerb, OwnAccountRequest};
use hongyan::protocol::envelope::{UnescapedContentBuffer, parse};
use hongyan::protocol::error::ErrorCode;
use hongyan::protocol::request::{ClientRequest, ContentAsStringOrObject, ResumeTokenVerb};
use hongyan::protocol::split::DEPTH_MAX;
use serde_json::Value;

pub fn envelope(data: &[u8]) {
    let mut scratch = UnescapedContentBuffer::default();
    let parsed = parse(data, &mut scratch);
    let reference = reference::read(data);
    match (parsed, reference) {
        (Ok(request), Ok(reference)) => compare(&request, &reference),
        // The only thing that serde_json minds and we do not: a number that is not looked at and
        // fits no `f64`.
        (Ok(_), Err(error)) => assert!(error.to_string().contains("number out of range"), "{error}"),
        (Err(bad), Ok(reference @ Value::Object(_))) if bad.code == ErrorCode::BadJson => {
            // CONTENT may be a text that holds no JSON object.
            let inner = reference["CONTENT"].as_str().map(|text| reference::read(text.as_bytes()));
            let inner_is_fine = matches!(inner, None | Some(Ok(Value::Object(_))));
            assert!(depth(&reference) > DEPTH_MAX || !inner_is_fine, "{bad:?}: {reference}");
        }
        (Err(bad), reference) => {
            assert!(bad.code != ErrorCode::TooLarge && !bad.explanation.is_empty(), "{bad:?}");
            let is_object = matches!(reference, Ok(Value::Object(_)));
            assert!(is_object || bad.code == ErrorCode::BadJson || reference.is_err(), "{bad:?}");
        }
    }
}

fn compare(request: &ClientRequest<'_>, reference: &Value) {
    let kind = match &reference["TYPE"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let inner = match &reference["CONTENT"] {
        Value::String(text) => match reference::read(text.as_bytes()) {
            Ok(inner @ Value::Object(_)) => (Some(ContentAsStringOrObject::Text), inner),
            _ => (None, Value::String(text.clone())),
        },
        inner @ Value::Object(_) => (Some(ContentAsStringOrObject::Object), inner.clone()),
        _ => (None, Value::Null),
    };
    let text = |name: &str| inner.1[name].as_str();
    let mid = reference["MID"].as_str();
    match request {
        ClientRequest::Heartbeat { mid: found } => {
            assert_eq!((kind.as_str(), mid), ("0", found.as_ref().map(|mid| mid.as_str())));
        }
        ClientRequest::SignUp { mid: found, profile, .. } => {
            assert_eq!((kind.as_str(), mid), ("1", found.as_ref().map(|mid| mid.as_str())));
            assert_eq!(text("userName"), Some(profile.user_name.as_str()));
        }
        ClientRequest::Login { mid: found, user, form, .. } => {
            assert_eq!((kind.as_str(), mid), ("2", found.as_ref().map(|mid| mid.as_str())));
            assert_eq!((text("USER"), inner.0), (Some(user.as_str()), Some(*form)));
        }
        ClientRequest::Token { mid: found, form, verb } => {
            assert_eq!((kind.as_str(), mid), ("TOKEN", found.as_ref().map(|mid| mid.as_str())));
            let wanted = if *verb == ResumeTokenVerb::New { "new" } else { "revoke" };
            assert_eq!((text("want"), inner.0), (Some(wanted), Some(*form)));
        }
        ClientRequest::Account { mid: found, form, request } => {
            assert_eq!((mid, inner.0), (found.as_ref().map(|mid| mid.as_str()), Some(*form)));
            compare_account(request, &kind, &inner.1);
        }
        ClientRequest::GetUser { mid: found, .. } => {
            assert_eq!((kind.as_str(), mid), ("3", found.as_ref().map(|mid| mid.as_str())));
        }
        ClientRequest::Message { form, id, sender, receiver, content, escape_free } => {
            let is_special = |char| matches!(char, '"' | '\\' | '\0'..' ');
            let texts = [id.as_str(), sender.as_str(), receiver.as_str(), content];
            assert_eq!(*escape_free, texts.into_iter().all(|text| !text.contains(is_special)));
            assert_eq!((kind.as_str(), inner.0), ("4", Some(*form)));
            assert_eq!((text("messageId"), text("sender")), (Some(id.as_str()), Some(sender.as_str())));
            assert_eq!((text("receiver"), text("content")), (Some(receiver.as_str()), Some(&**content)));
        }
        ClientRequest::Ack { form, id, sender } => {
            assert_eq!((kind.as_str(), inner.0), ("5", Some(*form)));
            assert_eq!(text("MessageId"), Some(id.as_str()));
            assert!(sender.is_none() || text("sender") == sender.as_ref().map(|sender| sender.as_str()));
        }
        ClientRequest::Friend { form, id, sender, receiver, .. } => {
            assert_eq!((kind.as_str(), inner.0), ("6", Some(*form)));
            assert_eq!((text("messageId"), text("sender")), (Some(id.as_str()), Some(sender.as_str())));
            assert_eq!(text("receiver"), Some(receiver.as_str()));
        }
    }
}

fn compare_account(request: &OwnAccountRequest<'_>, kind: &str, inner: &Value) {
    let text = |name: &str| inner[name].as_str();
    match request {
        OwnAccountRequest::Roster { after, watch } => {
            assert_eq!((kind, text("after")), ("ROSTER", after.as_ref().map(|after| after.as_str())));
            assert_eq!(inner["watch"].as_bool().unwrap_or(false), *watch);
        }
        OwnAccountRequest::Profile(change) => {
            assert_eq!(kind, "PROFILE");
            for (key, new) in [
                ("emailAddress", &change.email_address),
                ("nickName", &change.nick_name),
                ("profilePicture", &change.profile_picture),
                ("location", &change.location),
                ("personalDescription", &change.personal_description),
                ("rsaPublicKey", &change.rsa_public_key),
            ] {
                assert_eq!(text(key), new.as_deref());
            }
        }
        OwnAccountRequest::Password { old, new } => {
            assert_eq!((kind, text("old"), text("new")), ("PASSWORD", Some(old.expose()), Some(new.expose())));
        }
        OwnAccountRequest::Block(verb) => {
            let (block, unblock) = match verb {
                BlockVerb::Block(name) => (Some(name.as_str()), None),
                BlockVerb::Unblock(name) => (None, Some(name.as_str())),
                BlockVerb::List => (None, None),
            };
            assert_eq!((kind, text("block"), text("unblock")), ("BLOCK", block, unblock));
        }
        OwnAccountRequest::Delete { password } => {
            assert_eq!((kind, text("want"), text("PASS")), ("ACCOUNT", Some("delete"), Some(password.expose())));
        }
    }
}
