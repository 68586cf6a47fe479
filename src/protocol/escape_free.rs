//! Scans texts many bytes at a time: for the first byte that is special inside a JSON string, and
//! whether all bytes are visible ASCII.

const EVERY: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The first byte of this word that is special, if there is one.
#[inline]
fn find_special(word: [u8; 8]) -> Option<usize> {
    // Each of the three tests may also mark bytes above the first special one, but none below it.
    let word = u64::from_le_bytes(word);
    let below = |word: u64, bound: u64| word.wrapping_sub(EVERY * bound) & !word & HIGH;
    let equals = |byte: u8| below(word ^ (EVERY * u64::from(byte)), 1);
    let marks = below(word, 0x20) | equals(b'"') | equals(b'\\');
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}

/// The position of the first byte that is special inside a JSON string: a quote, a backslash or a
/// control character.
pub(super) fn escape_free_length(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut blocks_from = bytes.len().saturating_sub(SHORT_BYTES);
    while let Some((word, after)) = rest.split_first_chunk() {
        if let Some(special) = find_special(*word) {
            return bytes.len() - rest.len() + special;
        }
        rest = after;
        if rest.len() < blocks_from {
            rest = skip_plain_blocks(rest);
            blocks_from = 0;
        }
    }
    bytes.len() - rest.len() + rest.iter().take_while(|byte| !is_special(**byte)).count()
}

/// Has this text no byte that is special inside a JSON string?
pub(super) fn is_escape_free(text: &str) -> bool {
    escape_free_length(text.as_bytes()) == text.len()
}

/// Up to this length a simple loop is used: nearly all ids and names are that short. For longer
/// texts the setup of the block scan pays off.
const SHORT_BYTES: usize = 16;

fn is_special(byte: u8) -> bool {
    // No short-circuit: this way the compiler tests many bytes at a time.
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The rest of the bytes, from the first block with a special byte on.
#[inline(never)]
fn skip_plain_blocks(bytes: &[u8]) -> &[u8] {
    let (blocks, _) = bytes.as_chunks::<16>();
    let escape_free = blocks.iter().take_while(|block| !block.iter().fold(false, |any, &byte| any | is_special(byte)));
    &bytes[escape_free.count() * 16..]
}

/// Is every byte from 0x21 to 0x7e?
pub(super) fn is_visible_ascii(bytes: &[u8]) -> bool {
    // Adding 1 carries 0x7f into the top bit, and subtracting 0x21 borrows for smaller bytes. A
    // wrong byte may also mark its neighbour.
    let outside = |word: u64| (word | word.wrapping_add(EVERY) | word.wrapping_sub(EVERY * 0x21)) & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words = words.iter().fold(0, |found, word| found | outside(u64::from_le_bytes(*word)));
    in_words == 0 && rest.iter().all(|byte| (0x21..0x7f).contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for length in 0..70 {
                for place in 0..length {
                    // Bytes that are close to the special ones, for example in a single bit.
                    for other in [b'x', 0x20, 0x21, 0x23, b'[', b']', 0x7f, 0x80, 0xff, 0xa2, 0xdc, 0x9f] {
                        let mut bytes = vec![other; length];
                        bytes[place] = special;
                        assert_eq!(escape_free_length(&bytes), place, "{special} after {other} in {length}");
                        for behind in [b'"', b'\\', 3] {
                            bytes[length - 1] = if place + 1 < length { behind } else { special };
                            assert_eq!(escape_free_length(&bytes), place);
                        }
                    }
                }
                assert_eq!(escape_free_length(&vec![0xe9; length]), length);
            }
        }
    }

    #[test]
    fn a_byte_that_is_not_visible_ascii_is_seen_wherever_it_stands() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    for other in [0x21, b'a', 0x7e] {
                        let mut bytes = vec![other; length];
                        bytes[place] = byte;
                        assert_eq!(
                            is_visible_ascii(&bytes),
                            (0x21..0x7f).contains(&byte),
                            "{byte} at {place} of {length}"
                        );
                    }
                }
            }
        }
    }
}
