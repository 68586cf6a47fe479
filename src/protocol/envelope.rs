//! One envelope → one [`ClientRequest`], in both forms, borrowed from the read buffer.
//!
//! The envelope is read once for its keys; the CONTENT of the string form is un-escaped into a
//! buffer that the caller keeps, and read from there. Only texts with escapes are copied.

use super::content;
use super::decode_fast;
use super::error::ErrorCode;
use super::field::MessageId;
use super::json_string::{LONE_SURROGATE, has_lone_surrogate, string, unescape};
use super::request::{BadInput, ClientRequest, ContentAsStringOrObject, RequestType};
use super::split::{self, DEPTH_MAX};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A buffer the parser un-escapes CONTENT into, kept by the caller between envelopes so that
/// nothing is allocated per message.
#[derive(Debug, Default)]
pub struct UnescapedContentBuffer {
    text: String,
}

/// If the un-escaped CONTENT is larger than this, in bytes, its memory is released after the
/// envelope.
const SCRATCH_KEPT_BYTES: usize = 16 * 1024;

/// The sentence for input that is not UTF-8.
pub const NOT_UTF8: &str = "an envelope must be UTF-8";
pub(super) const NOT_AN_OBJECT: &str = "an envelope must be one JSON object";

/// The unparsed values of the envelope's keys.
struct RawRequestEnvelopeValues<'a> {
    kind: Option<&'a str>,
    content: Option<&'a str>,
    mid: Option<&'a str>,
}

struct RequestEnvelopeKeysVisitor;

impl<'de> Visitor<'de> for RequestEnvelopeKeysVisitor {
    type Value = RawRequestEnvelopeValues<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_AN_OBJECT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawRequestEnvelopeValues<'de>, A::Error> {
        let mut keys = RawRequestEnvelopeValues { kind: None, content: None, mid: None };
        // Of a repeated key the last value counts, as usual in JSON.
        while let Some(key) = map.next_key::<RequestEnvelopeJsonKey>()? {
            let place = match key {
                RequestEnvelopeJsonKey::Kind => &mut keys.kind,
                RequestEnvelopeJsonKey::Content => &mut keys.content,
                RequestEnvelopeJsonKey::Mid => &mut keys.mid,
                RequestEnvelopeJsonKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = Some(map.next_value::<&'de RawValue>()?.get());
        }
        Ok(keys)
    }
}

enum RequestEnvelopeJsonKey {
    Kind,
    Content,
    Mid,
    Other,
}

impl<'de> serde::Deserialize<'de> for RequestEnvelopeJsonKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = RequestEnvelopeJsonKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E>(self, key: &str) -> Result<RequestEnvelopeJsonKey, E> {
                Ok(match key {
                    "TYPE" => RequestEnvelopeJsonKey::Kind,
                    "CONTENT" => RequestEnvelopeJsonKey::Content,
                    "MID" => RequestEnvelopeJsonKey::Mid,
                    _ => RequestEnvelopeJsonKey::Other,
                })
            }
        }
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

fn read_keys(text: &str) -> Result<RawRequestEnvelopeValues<'_>, BadInput> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let keys =
        deserializer.deserialize_map(RequestEnvelopeKeysVisitor).and_then(|keys| deserializer.end().map(|()| keys));
    keys.map_err(|_| {
        let is_json = || serde_json::from_str::<IgnoredAny>(text).is_ok();
        let fault = if has_lone_surrogate(text) && is_json() { LONE_SURROGATE } else { NOT_AN_OBJECT };
        BadInput::unreadable(ErrorCode::BadJson, fault)
    })
}

/// TYPE as a string or a number.
fn request_type(raw: &str) -> Option<RequestType> {
    let spelled;
    let digits = match raw.strip_prefix('"') {
        None => raw,
        Some(rest) if !raw.contains('\\') => rest.strip_suffix('"')?,
        Some(_) => {
            spelled = serde_json::from_str::<String>(raw).ok()?;
            spelled.as_str()
        }
    };
    Some(match digits {
        "0" => RequestType::Heartbeat,
        "1" => RequestType::SignUp,
        "2" => RequestType::Login,
        "3" => RequestType::GetUser,
        "4" => RequestType::Message,
        "5" => RequestType::Ack,
        "6" => RequestType::Friend,
        "TOKEN" => RequestType::Token,
        "ROSTER" => RequestType::Roster,
        "PROFILE" => RequestType::Profile,
        "PASSWORD" => RequestType::Password,
        "BLOCK" => RequestType::Block,
        "ACCOUNT" => RequestType::Account,
        _ => return None,
    })
}

/// The MID; `Ok(None)` if it is missing.
fn parse_mid(raw: Option<&str>) -> Result<Option<MessageId<'_>>, &'static str> {
    let Some(raw) = raw else {
        return Ok(None);
    };
    let text = string(raw).ok_or("MID must be a string")?;
    MessageId::new(text).map(Some).map_err(|_| "MID must have 1 to 128 bytes")
}

/// Reads the envelope at the front of a raw stream, and gives its length, if it is complete and of
/// the usual kind: a message or an ack in which nothing is escaped but the quotes of the string
/// form. `None`: use the general way.
#[must_use]
pub fn read_fast(stream: &[u8]) -> Option<(ClientRequest<'_>, usize)> {
    decode_fast::read(stream)
}

/// Reads a text that is one envelope of the usual kind. `None`: use the general way.
#[must_use]
pub fn read_fast_text(text: &str) -> Option<ClientRequest<'_>> {
    decode_fast::read_whole(text)
}

/// Reads one envelope.
///
/// # Errors
/// The fault, with as much of the envelope as could be read.
pub fn parse<'a>(envelope: &'a [u8], scratch: &'a mut UnescapedContentBuffer) -> Result<ClientRequest<'a>, BadInput> {
    let text = std::str::from_utf8(envelope).map_err(|_| BadInput::unreadable(ErrorCode::BadJson, NOT_UTF8))?;
    match read_fast_text(text) {
        Some(request) => Ok(request),
        None => parse_any(text, scratch),
    }
}

/// Reads any envelope in the general way, which is slower for usual ones.
///
/// # Errors
/// As [`parse`].
pub fn parse_any<'a>(text: &'a str, scratch: &'a mut UnescapedContentBuffer) -> Result<ClientRequest<'a>, BadInput> {
    let envelope = text.as_bytes();
    let opened = envelope.iter().filter(|&&byte| byte == b'{' || byte == b'[').count();
    if opened > DEPTH_MAX as usize && !split::is_one_envelope(envelope) {
        return Err(BadInput::unreadable(ErrorCode::BadJson, "an envelope must be one JSON object, at most 64 deep"));
    }
    let keys = read_keys(text)?;
    if has_lone_surrogate(text) {
        return Err(BadInput::unreadable(ErrorCode::BadJson, LONE_SURROGATE));
    }
    let mid = parse_mid(keys.mid);
    let Some(request_type) = keys.kind.and_then(request_type) else {
        let id = mid.ok().flatten().map_or_else(Box::default, |id| id.as_str().into());
        let explanation = if keys.kind.is_some() { "this TYPE is not known" } else { "the envelope lacks its TYPE" };
        return Err(BadInput { request_type: None, form: None, id, code: ErrorCode::UnknownType, explanation });
    };
    let bad = |explanation, id: Box<str>| BadInput {
        request_type: Some(request_type),
        form: None,
        id,
        code: ErrorCode::BadField,
        explanation,
    };
    match request_type {
        RequestType::Heartbeat => {
            Ok(ClientRequest::Heartbeat { mid: mid.map_err(|explanation| bad(explanation, Box::default()))? })
        }
        RequestType::GetUser => {
            let mid = mid.map_err(|explanation| bad(explanation, Box::default()))?;
            content::user_name(keys.content, &mid)
        }
        RequestType::Message | RequestType::Ack | RequestType::Friend => {
            let (form, inner) = read_content_form(keys.content, scratch);
            content::without_mid(request_type, form, inner)
        }
        _ => {
            let (form, inner) = read_content_form(keys.content, scratch);
            let mid = mid.map_err(|explanation| BadInput { form, ..bad(explanation, Box::default()) })?;
            content::with_mid(request_type, form, inner, mid)
        }
    }
}

/// The form of CONTENT, and its JSON text: itself, or the text inside its string.
fn read_content_form<'a>(
    raw: Option<&'a str>,
    scratch: &'a mut UnescapedContentBuffer,
) -> (Option<ContentAsStringOrObject>, &'a str) {
    let Some(raw) = raw else {
        return (None, "");
    };
    match raw.as_bytes().first() {
        Some(b'{') => (Some(ContentAsStringOrObject::Object), raw),
        Some(b'"') => {
            scratch.text.clear();
            if scratch.text.capacity() > SCRATCH_KEPT_BYTES {
                scratch.text.shrink_to(SCRATCH_KEPT_BYTES);
            }
            unescape(&raw[1..raw.len() - 1], &mut scratch.text);
            (Some(ContentAsStringOrObject::Text), &scratch.text)
        }
        _ => (None, raw),
    }
}
