//! Origins (RFC 6454) whose pages may open a WebSocket, as `--allowed-origins` lists them.

use std::fmt;

/// The word for all origins.
const ANY: &str = "any";

/// Some origins, or any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Option<Vec<String>>);

impl Origins {
    /// Reads `https://chat.example,http://localhost:8000`, or the word for any.
    ///
    /// # Errors
    /// The fault of the first entry that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == ANY {
            return Ok(Self::default());
        }
        text.split(',').map(|entry| parse_one(entry.trim())).collect::<Result<_, _>>().map(|list| Self(Some(list)))
    }

    /// May a page of this origin open a WebSocket?
    #[must_use]
    pub fn allow(&self, origin: &[u8]) -> bool {
        self.0.as_ref().is_none_or(|list| list.iter().any(|one| origin.eq_ignore_ascii_case(one.as_bytes())))
    }
}

/// One origin as browsers write it: in lower case, without the usual port.
fn parse_one(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    // A page without an origin, such as one that was opened from a file.
    if lower == "null" {
        return Ok(lower);
    }
    let (scheme, host) = lower.split_once("://").unwrap_or_default();
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_word(scheme) || !is_word(host) || host.contains(['/', '?', '#', '@', '*']) {
        return Err(format!("{text:?} is no origin: it needs a scheme, a host and nothing behind the port"));
    }
    let usual_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    Ok(format!("{scheme}://{}", host.strip_suffix(usual_port).unwrap_or(host)))
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str(ANY),
            Some(list) => f.write_str(&list.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_as_a_whole() {
        let origins = Origins::parse("https://Chat.example:443, http://localhost:8000,http://a.example:80").unwrap();
        assert_eq!(origins.to_string(), "https://chat.example,http://localhost:8000,http://a.example");
        assert_eq!(Origins::parse(&origins.to_string()), Ok(origins.clone()));
        for allowed in ["https://chat.example", "HTTPS://CHAT.example", "http://localhost:8000", "http://a.example"] {
            assert!(origins.allow(allowed.as_bytes()), "{allowed}");
        }
        for other in
            ["", "null", "http://chat.example", "https://chat.example.evil.example", "https://chat.example:8443"]
        {
            assert!(!origins.allow(other.as_bytes()), "{other}");
        }
        assert!(Origins::parse("null").unwrap().allow(b"null"));
        assert!(Origins::default().allow(b"https://anything.example") && Origins::default().to_string() == "any");
    }

    #[test]
    fn malformed_origins_are_refused() {
        for bad in ["", "chat.example", "https://", "https://chat.example/", "https://*.example", "https://a b", "any,"]
        {
            assert!(Origins::parse(bad).is_err(), "{bad}");
        }
    }
}
