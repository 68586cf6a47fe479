//! The target of a request: a path, decoded segment by segment, and a query.

use super::http::AdminHttpResponse;
use crate::protocol::field::UserName;
use std::collections::BTreeMap;

fn bad_target(message: impl Into<String>) -> AdminHttpResponse {
    AdminHttpResponse::error(400, "bad_request", message)
}

/// A name in a path or a query.
pub(super) fn user_name(text: &str) -> Result<UserName, AdminHttpResponse> {
    UserName::new(text).map_err(|fault| bad_target(sentence(fault)))
}

/// Turns the end of a sentence into a whole sentence.
pub(super) fn sentence(fault: &str) -> String {
    let mut chars = fault.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// Decodes `%XX`; in a query `+` is a space, too.
fn decode(text: &str, in_query: bool) -> Result<String, AdminHttpResponse> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if in_query => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let digits = (digit(rest.next()), digit(rest.next()));
                let (Some(high), Some(low)) = digits else {
                    return Err(bad_target("Behind a % in the target stand two hexadecimal digits."));
                };
                // Two digits are a byte.
                (16 * high + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad_target("The target is not UTF-8."))
}

/// Encodes text for any part of a target.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A parsed target.
#[derive(Debug)]
pub(super) struct AdminHttpTarget {
    /// The segments of the path.
    pub(super) path: Vec<String>,
    query: String,
}

impl AdminHttpTarget {
    pub(super) fn read(target: &str) -> Result<Self, AdminHttpResponse> {
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some(path) = path.strip_prefix('/') else {
            return Err(bad_target("The target of a request begins with a slash."));
        };
        let path = path.split('/').map(|segment| decode(segment, false)).collect::<Result<_, _>>()?;
        Ok(Self { path, query: query.to_owned() })
    }

    /// The parameters of the query: only known ones, each once.
    pub(super) fn query(&self, known: &[&str]) -> Result<BTreeMap<String, String>, AdminHttpResponse> {
        let mut found = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name, true)?, decode(value, true)?);
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(bad_target(format!("The query has a parameter that is not known here; known: {known}.")));
            }
            if found.insert(name, value).is_some() {
                return Err(bad_target("The query has a parameter more than once."));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_after_it_was_taken_apart() {
        let path = |target| AdminHttpTarget::read(target).map(|target| target.path).map_err(|response| response.status);
        assert_eq!(path("/users/a%2Fb%20c/ban"), Ok(vec!["users".into(), "a/b c".into(), "ban".into()]));
        assert_eq!(path("/users/%E9%B8%BF?x#y"), Ok(vec!["users".into(), "鸿".into()]));
        assert_eq!(path("/a+b"), Ok(vec!["a+b".into()]));
        assert_eq!(path("/"), Ok(vec![String::new()]));
        for bad in ["", "users", "http://h/users", "*", "/%", "/%f", "/%zz", "/%+1", "/%ff", "/%C3%28"] {
            assert_eq!(path(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn a_query_has_known_parameters_once() {
        let query = |query: &str| {
            let target = AdminHttpTarget::read(&format!("/x?{query}")).map_err(|response| response.status)?;
            target.query(&["id", "after"]).map_err(|response| response.status)
        };
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(query("id=a%26b+c&after="), pairs(&[("id", "a&b c"), ("after", "")]));
        assert_eq!(query("&&i%64=1"), pairs(&[("id", "1")]));
        assert_eq!(query(""), pairs(&[]));
        for bad in ["x=1", "id=1&id=2", "id=%", "=1", "ID=1"] {
            assert_eq!(query(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn an_encoded_text_is_decoded_to_the_same_text() {
        for text in ["ann", "..", "a b/c?d=e&f#g%h+i", "鸿雁 🪿\u{202e}", ""] {
            let target = AdminHttpTarget::read(&format!("/{}?id={}", encode(text), encode(text))).unwrap();
            assert_eq!(target.path, [text]);
            assert_eq!(target.query(&["id"]).unwrap()["id"], text);
        }
    }
}
