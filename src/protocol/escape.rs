//! Escapes texts for JSON strings that stand in any number of other strings.

use super::escape_free::escape_free_length;

/// How JSON escapes each byte inside a string: `0` for not at all, `u` for `\u00xx`, otherwise the
/// letter after the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends `text` escaped `levels` times: for a JSON string (1), for a JSON text inside a JSON
/// string (2), and so on.
///
/// Nothing is allocated but what `out` grows by; runs without escapes are copied whole.
pub(super) fn escape(out: &mut Vec<u8>, text: &str, levels: u32) {
    let mut rest = text.as_bytes();
    loop {
        let (escape_free, special) = rest.split_at(escape_free_length(rest));
        out.extend_from_slice(escape_free);
        let Some((&byte, after)) = special.split_first() else {
            return;
        };
        rest = after;
        match ESCAPES[usize::from(byte)] {
            b'u' => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                backslashes(out, levels - 1);
                out.extend_from_slice(b"u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            b'"' => quote(out, levels),
            b'\\' => backslashes(out, levels),
            letter => {
                backslashes(out, levels - 1);
                out.push(letter);
            }
        }
    }
}

/// The number of bytes that [`escape`] appends.
pub(super) fn escaped_bytes(text: &str, levels: u32) -> usize {
    let slashes = 1 << levels;
    let of = |byte: u8| match ESCAPES[usize::from(byte)] {
        0 => 1,
        b'u' => slashes / 2 + 5,
        b'"' | b'\\' => slashes,
        _ => slashes / 2 + 1,
    };
    text.bytes().map(of).sum()
}

/// A backslash escaped `levels` times: two to the power of `levels` of them.
fn backslashes(out: &mut Vec<u8>, levels: u32) {
    for _ in 0..1u32 << levels {
        out.push(b'\\');
    }
}

/// A quote escaped `levels` times: `"`, `\"`, `\\\"`, …
pub(super) fn quote(out: &mut Vec<u8>, levels: u32) {
    for _ in 1..1u32 << levels {
        out.push(b'\\');
    }
    out.push(b'"');
}

/// Appends a number in decimal digits.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
