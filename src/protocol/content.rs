//! CONTENT → checked fields, for each TYPE.

use super::error::ErrorCode;
use super::escape_free::is_escape_free;
use super::field::{
    BadFieldExplanation, HASH_VALUE_BYTES_MAX, LONG_TEXT_BYTES_MAX, MessageId, PICTURE_BYTES_MAX, Profile,
    SHORT_TEXT_BYTES_MAX, Secret, UserNameRef,
};
use super::json_string::{LONE_SURROGATE, has_lone_surrogate, string};
use super::request::{
    BadInput, ClientRequest, ContentAsStringOrObject, Credential, FriendVerb, RequestType, ResumeTokenVerb,
};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

mod account;

/// The largest number of keys that a TYPE knows.
const KEYS_MAX: usize = 8;

/// The unparsed values of the known keys, in the order of the requested keys.
struct UnparsedContentFields<'a> {
    keys: &'static [&'static str],
    raw: [Option<&'a str>; KEYS_MAX],
}

struct ContentFieldsVisitor(&'static [&'static str]);

impl<'de> Visitor<'de> for ContentFieldsVisitor {
    type Value = UnparsedContentFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UnparsedContentFields<'de>, A::Error> {
        let mut values = UnparsedContentFields { keys: self.0, raw: [None; KEYS_MAX] };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let value = map.next_value::<&'de RawValue>()?;
            if let Some(place) = values.keys.iter().position(|known| *known == key) {
                values.raw[place] = Some(value.get());
            }
        }
        Ok(values)
    }
}

impl<'a> UnparsedContentFields<'a> {
    fn read(text: &'a str, keys: &'static [&'static str]) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let values = deserializer.deserialize_map(ContentFieldsVisitor(keys)).ok()?;
        deserializer.end().ok()?;
        Some(values)
    }

    /// The value of a required key, as a string.
    fn text(
        &self,
        key: usize,
        missing: BadFieldExplanation,
        wrong: BadFieldExplanation,
    ) -> Result<Cow<'a, str>, BadFieldExplanation> {
        string(self.raw[key].ok_or(missing)?).ok_or(wrong)
    }

    /// The value of an optional key.
    fn optional_value(
        &self,
        key: usize,
        bytes_max: usize,
        explanation: BadFieldExplanation,
    ) -> Result<Option<Box<str>>, BadFieldExplanation> {
        let text = |raw| string(raw).filter(|text| text.len() <= bytes_max).map(Box::from).ok_or(explanation);
        self.raw[key].map(text).transpose()
    }

    /// The value of an optional key; empty if it is missing.
    fn optional(
        &self,
        key: usize,
        bytes_max: usize,
        explanation: BadFieldExplanation,
    ) -> Result<Box<str>, BadFieldExplanation> {
        Ok(self.optional_value(key, bytes_max, explanation)?.unwrap_or_default())
    }

    /// An optional name.
    fn name(&self, key: usize, wrong: BadFieldExplanation) -> Result<Option<UserNameRef<'a>>, BadFieldExplanation> {
        self.raw[key].map(|raw| string(raw).ok_or(wrong).and_then(UserNameRef::new)).transpose()
    }
}

fn bad_input(
    request_type: RequestType,
    form: Option<ContentAsStringOrObject>,
    id: &str,
    explanation: BadFieldExplanation,
) -> BadInput {
    BadInput { request_type: Some(request_type), form, id: id.into(), code: ErrorCode::BadField, explanation }
}

/// The values of CONTENT, or the fault of CONTENT as a whole.
fn values<'a>(
    request_type: RequestType,
    form: Option<ContentAsStringOrObject>,
    text: &'a str,
    keys: &'static [&'static str],
) -> Result<(ContentAsStringOrObject, UnparsedContentFields<'a>), BadInput> {
    let Some(form) = form else {
        return Err(bad_input(request_type, None, "", "CONTENT must be an object, or a string that holds one"));
    };
    let values = UnparsedContentFields::read(text, keys);
    // In the object form this was checked with the envelope. In a key it is a parse error, which is
    // distinguished from invalid JSON.
    if form == ContentAsStringOrObject::Text
        && has_lone_surrogate(text)
        && (values.is_some() || serde_json::from_str::<IgnoredAny>(text).is_ok())
    {
        let code = ErrorCode::BadJson;
        return Err(BadInput { code, ..bad_input(request_type, Some(form), "", LONE_SURROGATE) });
    }
    match values {
        Some(values) => Ok((form, values)),
        None => Err(bad_input(request_type, Some(form), "", "CONTENT must hold a JSON object")),
    }
}

/// TYPE 3: the bare name.
pub(super) fn user_name<'a>(raw: Option<&'a str>, mid: &Option<MessageId<'a>>) -> Result<ClientRequest<'a>, BadInput> {
    let name = raw.and_then(string).ok_or("CONTENT must be the user name, as a string").and_then(UserNameRef::new);
    let name = name.map_err(|explanation| {
        bad_input(RequestType::GetUser, None, mid.as_ref().map_or("", |mid| mid.as_str()), explanation)
    })?;
    Ok(ClientRequest::GetUser { mid: mid.clone(), user: name })
}

const SIGN_UP: &[&str] = &[
    "userName",
    "hashValue",
    "emailAddress",
    "nickName",
    "profilePicture",
    "location",
    "personalDescription",
    "rsaPublicKey",
];
const LOG_IN: &[&str] = &["USER", "PASS", "TOKEN"];
const TOKEN: &[&str] = &["want"];
const MESSAGE: &[&str] = &["messageId", "sender", "receiver", "content"];
const ACK: &[&str] = &["MessageId", "sender"];
const FRIEND: &[&str] = &["messageId", "sender", "receiver", "content", "type"];

const EMAIL: BadFieldExplanation = "emailAddress must be a string of at most 255 bytes";
const NICK_NAME: BadFieldExplanation = "nickName must be a string of at most 255 bytes";
const PICTURE: BadFieldExplanation = "profilePicture must be a string of at most 2048 bytes";
const LOCATION: BadFieldExplanation = "location must be a string of at most 255 bytes";
const DESCRIPTION: BadFieldExplanation = "personalDescription must be a string of at most 8192 bytes";
const PUBLIC_KEY: BadFieldExplanation = "rsaPublicKey must be a string of at most 8192 bytes";

/// TYPE 1 and 2, and the TYPEs that are words.
pub(super) fn with_mid<'a>(
    request_type: RequestType,
    form: Option<ContentAsStringOrObject>,
    text: &'a str,
    mid: Option<MessageId<'a>>,
) -> Result<ClientRequest<'a>, BadInput> {
    let id: Box<str> = mid.as_ref().map_or_else(Box::default, |mid| mid.as_str().into());
    let keys = match request_type {
        RequestType::SignUp => SIGN_UP,
        RequestType::Login => LOG_IN,
        RequestType::Token => TOKEN,
        _ => account::keys(request_type),
    };
    let (form, values) =
        values(request_type, form, text, keys).map_err(|error| BadInput { id: id.clone(), ..error })?;
    let request = match request_type {
        RequestType::SignUp => {
            sign_up(&values).map(|(profile, secret)| ClientRequest::SignUp { mid, form, profile, secret })
        }
        RequestType::Login => {
            log_in(&values).map(|(user, credential)| ClientRequest::Login { mid, form, user, credential })
        }
        RequestType::Token => token(&values).map(|verb| ClientRequest::Token { mid, form, verb }),
        _ => account::request(request_type, &values).map(|request| ClientRequest::Account { mid, form, request }),
    };
    request.map_err(|explanation| bad_input(request_type, Some(form), &id, explanation))
}

fn secret(text: &str, explanation: BadFieldExplanation) -> Result<Secret, BadFieldExplanation> {
    if (1..=HASH_VALUE_BYTES_MAX).contains(&text.len()) { Ok(Secret::new(text)) } else { Err(explanation) }
}

fn sign_up(values: &UnparsedContentFields<'_>) -> Result<(Box<Profile>, Secret), BadFieldExplanation> {
    let name = values.text(0, "CONTENT lacks the key userName", "userName must be a string")?;
    let name = UserNameRef::for_sign_up(name)?;
    let hash = values.text(1, "CONTENT lacks the key hashValue", "hashValue must be a string")?;
    let secret = secret(&hash, "hashValue must have 1 to 256 bytes")?;
    let profile = Profile {
        user_name: name.to_owned(),
        email_address: values.optional(2, SHORT_TEXT_BYTES_MAX, EMAIL)?,
        nick_name: values.optional(3, SHORT_TEXT_BYTES_MAX, NICK_NAME)?,
        profile_picture: values.optional(4, PICTURE_BYTES_MAX, PICTURE)?,
        location: values.optional(5, SHORT_TEXT_BYTES_MAX, LOCATION)?,
        personal_description: values.optional(6, LONG_TEXT_BYTES_MAX, DESCRIPTION)?,
        rsa_public_key: values.optional(7, LONG_TEXT_BYTES_MAX, PUBLIC_KEY)?,
    };
    Ok((Box::new(profile), secret))
}

fn log_in<'a>(values: &UnparsedContentFields<'a>) -> Result<(UserNameRef<'a>, Credential), BadFieldExplanation> {
    let user = UserNameRef::new(values.text(0, "CONTENT lacks the key USER", "USER must be a string")?)?;
    let credential = match (values.raw[1], values.raw[2]) {
        (None, Some(token)) => {
            let token = string(token).ok_or("TOKEN must be a string")?;
            Credential::Token(secret(&token, "TOKEN must have 1 to 256 bytes")?)
        }
        (Some(_), Some(_)) => return Err("CONTENT must not have both PASS and TOKEN"),
        (_, None) => {
            let pass = values.text(1, "CONTENT lacks the key PASS (or TOKEN)", "PASS must be a string")?;
            Credential::Password(secret(&pass, "PASS must have 1 to 256 bytes")?)
        }
    };
    Ok((user, credential))
}

fn token(values: &UnparsedContentFields<'_>) -> Result<ResumeTokenVerb, BadFieldExplanation> {
    match &*values.text(0, "CONTENT lacks the key want", "want must be a string")? {
        "new" => Ok(ResumeTokenVerb::New),
        "revoke" => Ok(ResumeTokenVerb::Revoke),
        _ => Err("want must be new or revoke"),
    }
}

/// TYPE 4, 5 and 6.
pub(super) fn without_mid<'a>(
    request_type: RequestType,
    form: Option<ContentAsStringOrObject>,
    text: &'a str,
) -> Result<ClientRequest<'a>, BadInput> {
    let keys = match request_type {
        RequestType::Message => MESSAGE,
        RequestType::Ack => ACK,
        _ => FRIEND,
    };
    let (form, values) = values(request_type, form, text, keys)?;
    let request = match request_type {
        RequestType::Message => message(&values, form),
        RequestType::Ack => ack(&values, form),
        _ => friend(&values, form),
    };
    request.map_err(|explanation| {
        // The id is given even if something else is wrong, so that the client knows which request
        // failed. An ack has none.
        let id = if request_type == RequestType::Ack {
            None
        } else {
            values.raw[0].and_then(string).and_then(|id| MessageId::new(id).ok())
        };
        bad_input(request_type, Some(form), id.as_ref().map_or("", |id| id.as_str()), explanation)
    })
}

/// messageId, sender, receiver and content, which a 4 and a 6 share.
#[allow(clippy::type_complexity, reason = "the four of them, taken apart at once by both callers")]
fn message_fields<'a>(
    values: &UnparsedContentFields<'a>,
) -> Result<(MessageId<'a>, UserNameRef<'a>, UserNameRef<'a>, Cow<'a, str>), BadFieldExplanation> {
    let id = MessageId::new(values.text(0, "CONTENT lacks the key messageId", "messageId must be a string")?)
        .map_err(|_| "messageId must have 1 to 128 bytes")?;
    let sender = UserNameRef::new(values.text(1, "CONTENT lacks the key sender", "sender must be a string")?)?;
    let receiver = UserNameRef::new(values.text(2, "CONTENT lacks the key receiver", "receiver must be a string")?)?;
    let content = values.text(3, "CONTENT lacks the key content", "content must be a string")?;
    Ok((id, sender, receiver, content))
}

fn message<'a>(
    values: &UnparsedContentFields<'a>,
    form: ContentAsStringOrObject,
) -> Result<ClientRequest<'a>, BadFieldExplanation> {
    let (id, sender, receiver, content) = message_fields(values)?;
    let escape_free = [id.as_str(), sender.as_str(), receiver.as_str(), &content].into_iter().all(is_escape_free);
    Ok(ClientRequest::Message { form, id, sender, receiver, content, escape_free })
}

fn ack<'a>(
    values: &UnparsedContentFields<'a>,
    form: ContentAsStringOrObject,
) -> Result<ClientRequest<'a>, BadFieldExplanation> {
    let id = MessageId::new(values.text(0, "CONTENT lacks the key MessageId", "MessageId must be a string")?)
        .map_err(|_| "MessageId must have 1 to 128 bytes")?;
    Ok(ClientRequest::Ack { form, id, sender: values.name(1, "sender must be a string")? })
}

fn friend<'a>(
    values: &UnparsedContentFields<'a>,
    form: ContentAsStringOrObject,
) -> Result<ClientRequest<'a>, BadFieldExplanation> {
    let (id, sender, receiver, content) = message_fields(values)?;
    let raw = values.raw[4].ok_or("CONTENT lacks the key type")?;
    let spelled = string(raw);
    let verb = match spelled.as_deref().unwrap_or(raw) {
        "1" => FriendVerb::Request,
        "2" => FriendVerb::Accept,
        "3" => FriendVerb::Reject,
        "4" => FriendVerb::Delete,
        _ => return Err("type must be 1, 2, 3 or 4"),
    };
    Ok(ClientRequest::Friend { form, id, sender, receiver, verb, content })
}
