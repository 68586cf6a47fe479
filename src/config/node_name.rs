//! The name of a node.

/// The length of the longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Parses a name; `none` means no name.
///
/// # Errors
/// The fault in it.
pub(super) fn parse(text: &str) -> Result<Option<Box<str>>, String> {
    if text == "none" {
        return Ok(None);
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_plain) {
        return Err("the name of a node has 1 to 64 letters, digits, dots, hyphens and underscores".to_owned());
    }
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        assert_eq!(parse("none"), Ok(None));
        for good in ["a", "node-1", "eu_west.2", &"x".repeat(64)] {
            assert_eq!(parse(good), Ok(Some(good.into())));
        }
        for bad in ["", "a b", "a/b", "ä", "a'b", &"x".repeat(65)] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
