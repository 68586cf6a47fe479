//! Strings in JSON texts: reads and un-escapes them.

use std::borrow::Cow;

/// The sentence for half of a surrogate pair.
pub(super) const LONE_SURROGATE: &str = "a text must not contain half of a surrogate pair";

/// A JSON string, borrowed if it holds no escapes.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// Un-escapes the inside of a valid JSON string.
pub(super) fn unescape(mut inner: &str, out: &mut String) {
    while let Some(place) = memchr::memchr(b'\\', inner.as_bytes()) {
        out.push_str(&inner[..place]);
        let escape = &inner[place..];
        let (character, length) = match escape.as_bytes().get(1) {
            Some(b'n') => ('\n', 2),
            Some(b't') => ('\t', 2),
            Some(b'r') => ('\r', 2),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'u') => unescape_unicode(escape),
            Some(&byte) => (char::from(byte), 2),
            None => return,
        };
        out.push(character);
        inner = escape.get(length..).unwrap_or_default();
    }
    out.push_str(inner);
}

/// Reads a `\u` with its four digits, or two of these that form a surrogate pair. Returns the
/// character, and how many bytes of `escape` it takes.
fn unescape_unicode(escape: &str) -> (char, usize) {
    let unit = |at: usize| escape.get(at..at + 4).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0xFFFD);
    match unit(2) {
        high @ 0xD800..0xDC00 => {
            let low = unit(8);
            let pair = 0x1_0000 + ((high - 0xD800) << 10) + (low.wrapping_sub(0xDC00) & 0x3FF);
            (char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        unit => (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
    }
}

/// Has this JSON text half of a surrogate pair among its escapes, including those in unknown keys?
pub(super) fn has_lone_surrogate(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Very few texts have such an escape at all, and only those are examined byte by byte.
    if !memchr::memmem::find_iter(bytes, b"\\u").any(|place| matches!(bytes.get(place + 2), Some(b'd' | b'D'))) {
        return false;
    }
    let unit = |at: usize| {
        let hex = bytes.get(at..at + 6).filter(|escape| escape.starts_with(b"\\u"))?;
        u32::from_str_radix(std::str::from_utf8(&hex[2..]).ok()?, 16).ok()
    };
    let mut at = 0;
    while let Some(place) = memchr::memchr(b'\\', &bytes[at..]) {
        at += place;
        match unit(at) {
            Some(0xD800..0xDC00) => {
                if !matches!(unit(at + 6), Some(0xDC00..0xE000)) {
                    return true;
                }
                at += 12;
            }
            Some(0xDC00..0xE000) => return true,
            Some(_) => at += 6,
            None => at += 2,
        }
        if at >= bytes.len() {
            break;
        }
    }
    false
}
