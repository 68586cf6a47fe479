//! Reads the requests about the user's own account.

use super::{
    BadFieldExplanation, DESCRIPTION, EMAIL, LOCATION, LONG_TEXT_BYTES_MAX, NICK_NAME, PICTURE, PICTURE_BYTES_MAX,
    PUBLIC_KEY, RequestType, SHORT_TEXT_BYTES_MAX, UnparsedContentFields, secret,
};
use crate::protocol::account::{BlockVerb, OwnAccountRequest, ProfileChange};

const ROSTER: &[&str] = &["after", "watch"];
const PROFILE: &[&str] =
    &["emailAddress", "nickName", "profilePicture", "location", "personalDescription", "rsaPublicKey"];
const PASSWORD: &[&str] = &["old", "new"];
const BLOCK: &[&str] = &["block", "unblock"];
const ACCOUNT: &[&str] = &["want", "PASS"];

/// The known keys of this TYPE.
pub(super) fn keys(request_type: RequestType) -> &'static [&'static str] {
    match request_type {
        RequestType::Roster => ROSTER,
        RequestType::Profile => PROFILE,
        RequestType::Password => PASSWORD,
        RequestType::Block => BLOCK,
        _ => ACCOUNT,
    }
}

pub(super) fn request<'a>(
    request_type: RequestType,
    values: &UnparsedContentFields<'a>,
) -> Result<OwnAccountRequest<'a>, BadFieldExplanation> {
    match request_type {
        RequestType::Roster => roster(values),
        RequestType::Profile => profile(values).map(|change| OwnAccountRequest::Profile(Box::new(change))),
        RequestType::Password => password(values),
        RequestType::Block => block(values).map(OwnAccountRequest::Block),
        _ => account(values),
    }
}

fn roster<'a>(values: &UnparsedContentFields<'a>) -> Result<OwnAccountRequest<'a>, BadFieldExplanation> {
    let watch = match values.raw[1] {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err("watch must be true or false"),
    };
    Ok(OwnAccountRequest::Roster { after: values.name(0, "after must be a user name, as a string")?, watch })
}

fn profile(values: &UnparsedContentFields<'_>) -> Result<ProfileChange, BadFieldExplanation> {
    Ok(ProfileChange {
        email_address: values.optional_value(0, SHORT_TEXT_BYTES_MAX, EMAIL)?,
        nick_name: values.optional_value(1, SHORT_TEXT_BYTES_MAX, NICK_NAME)?,
        profile_picture: values.optional_value(2, PICTURE_BYTES_MAX, PICTURE)?,
        location: values.optional_value(3, SHORT_TEXT_BYTES_MAX, LOCATION)?,
        personal_description: values.optional_value(4, LONG_TEXT_BYTES_MAX, DESCRIPTION)?,
        rsa_public_key: values.optional_value(5, LONG_TEXT_BYTES_MAX, PUBLIC_KEY)?,
    })
}

fn password<'a>(values: &UnparsedContentFields<'a>) -> Result<OwnAccountRequest<'a>, BadFieldExplanation> {
    let old = values.text(0, "CONTENT lacks the key old", "old must be a string")?;
    let new = values.text(1, "CONTENT lacks the key new", "new must be a string")?;
    let old = secret(&old, "old must have 1 to 256 bytes")?;
    let new = secret(&new, "new must have 1 to 256 bytes")?;
    Ok(OwnAccountRequest::Password { old, new })
}

fn block<'a>(values: &UnparsedContentFields<'a>) -> Result<BlockVerb<'a>, BadFieldExplanation> {
    let block = values.name(0, "block must be a user name, as a string")?;
    let unblock = values.name(1, "unblock must be a user name, as a string")?;
    match (block, unblock) {
        (Some(name), None) => Ok(BlockVerb::Block(name)),
        (None, Some(name)) => Ok(BlockVerb::Unblock(name)),
        (None, None) => Ok(BlockVerb::List),
        (Some(_), Some(_)) => Err("CONTENT must not have both block and unblock"),
    }
}

fn account<'a>(values: &UnparsedContentFields<'a>) -> Result<OwnAccountRequest<'a>, BadFieldExplanation> {
    if values.text(0, "CONTENT lacks the key want", "want must be a string")? != "delete" {
        return Err("want must be delete");
    }
    let pass = values.text(1, "CONTENT lacks the key PASS", "PASS must be a string")?;
    Ok(OwnAccountRequest::Delete { password: secret(&pass, "PASS must have 1 to 256 bytes")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::envelope::{UnescapedContentBuffer, parse};
    use crate::protocol::error::ErrorCode;
    use crate::protocol::request::{ClientRequest, ContentAsStringOrObject};

    /// Reads a request in both forms; gives it, or its fault, as text.
    fn read(kind: &str, content: &str) -> String {
        let quoted = serde_json::to_string(content).unwrap();
        let forms = [(ContentAsStringOrObject::Object, content), (ContentAsStringOrObject::Text, &quoted)];
        let [object, text] = forms.map(|(form, content)| {
            let envelope = format!(r#"{{"MID":"a1","CONTENT":{content},"TYPE":"{kind}"}}"#);
            match parse(envelope.as_bytes(), &mut UnescapedContentBuffer::default()) {
                Ok(ClientRequest::Account { mid, form: found, request }) => {
                    assert_eq!((mid.as_ref().map(|mid| mid.as_str()), found), (Some("a1"), form));
                    format!("{:?} {request:?}", request.request_type())
                }
                Ok(other) => panic!("{other:?}"),
                Err(bad) => {
                    assert_eq!((&*bad.id, bad.code, bad.form), ("a1", ErrorCode::BadField, Some(form)));
                    bad.explanation.to_owned()
                }
            }
        });
        assert_eq!(object, text);
        object
    }

    #[test]
    fn account_requests_are_read_in_both_forms() {
        for (kind, content, expected) in [
            ("ROSTER", "{}", "Roster Roster { after: None, watch: false }"),
            (
                "ROSTER",
                r#"{"after":"ann","watch":true}"#,
                r#"Roster Roster { after: Some(UserNameRef("ann")), watch: true }"#,
            ),
            ("ROSTER", r#"{"watch":false,"page":7}"#, "Roster Roster { after: None, watch: false }"),
            ("PASSWORD", r#"{"old":"a","new":"b"}"#, "Password Password { old: ***, new: *** }"),
            ("BLOCK", "{}", "Block Block(List)"),
            ("BLOCK", r#"{"block":"bob"}"#, r#"Block Block(Block(UserNameRef("bob")))"#),
            ("BLOCK", r#"{"unblock":"bob"}"#, r#"Block Block(Unblock(UserNameRef("bob")))"#),
            ("ACCOUNT", r#"{"want":"delete","PASS":"p"}"#, "Account Delete { password: *** }"),
        ] {
            assert_eq!(read(kind, content), expected, "{kind} {content}");
        }
        let change = read("PROFILE", r#"{"nickName":"","userName":"eve","hashValue":7,"location":"longyan"}"#);
        assert!(
            change.contains(r#"nick_name: Some("")"#) && change.contains(r#"location: Some("longyan")"#),
            "{change}"
        );
        assert!(change.contains("email_address: None") && !change.contains("eve"), "{change}");
    }

    #[test]
    fn a_wrong_account_request_is_refused_with_the_reason() {
        for (kind, content, explanation) in [
            ("ROSTER", r#"{"watch":"true"}"#, "watch must be"),
            ("ROSTER", r#"{"watch":null}"#, "watch must be"),
            ("ROSTER", r#"{"after":7}"#, "after must be"),
            ("ROSTER", r#"{"after":""}"#, "must not be empty"),
            ("PROFILE", r#"{"nickName":null}"#, "nickName must be"),
            ("PASSWORD", r#"{"new":"b"}"#, "lacks the key old"),
            ("PASSWORD", r#"{"old":"b","new":""}"#, "new must have 1 to 256"),
            ("BLOCK", r#"{"block":"a","unblock":"b"}"#, "must not have both"),
            ("BLOCK", r#"{"block":null}"#, "block must be"),
            ("ACCOUNT", r#"{"want":"keep","PASS":"p"}"#, "want must be delete"),
            ("ACCOUNT", r#"{"want":"delete"}"#, "lacks the key PASS"),
            ("ACCOUNT", "[]", "CONTENT"),
        ] {
            if content != "[]" {
                let said = read(kind, content);
                assert!(said.contains(explanation), "{kind} {content}: {said}");
            }
        }
        let long = format!(r#"{{"nickName":"{}"}}"#, "n".repeat(256));
        assert!(read("PROFILE", &long).contains("255 bytes"));
        let bad = parse(br#"{"MID":"a1","TYPE":"ROSTER"}"#, &mut UnescapedContentBuffer::default()).unwrap_err();
        assert_eq!((bad.code, bad.request_type), (ErrorCode::BadField, Some(RequestType::Roster)));
    }
}
