//! The raw splitter: no cut changes what is found, nothing is larger than allowed, and a stream of
//! JSON objects is taken apart as serde_json takes it apart.

use super::reference::Reference;
use super::whole_and_cut;
use hongyan::protocol::envelope::{UnescapedContentBuffer, parse, read_fast};
use hongyan::protocol::split::{DEPTH_MAX, JsonEnvelopeStreamItem, JsonEnvelopeStreamSplitter};
use serde_json::Value;

const FRAME_BYTES_MAX: usize = 200;

#[derive(Debug, PartialEq, Eq)]
enum OwnedEnvelopeItem {
    Envelope(Vec<u8>),
    Bad,
    TooLarge,
}

pub fn raw(data: &[u8]) {
    let Some((whole, pieces)) = whole_and_cut(data) else {
        return;
    };
    for reacts in [false, true] {
        let found = items(&[whole], reacts);
        assert_eq!(items(&pieces, reacts), found, "cut otherwise: {}", String::from_utf8_lossy(whole));
        if !reacts {
            compare(whole, &found);
        }
    }
}

/// The items that are found; with `reacts`, the rest of the line is given up after an envelope that
/// cannot be read, as the server does.
fn items(chunks: &[&[u8]], reacts: bool) -> Vec<OwnedEnvelopeItem> {
    let mut raw = JsonEnvelopeStreamSplitter::default();
    let mut found = Vec::new();
    for chunk in chunks {
        let mut chunk = *chunk;
        loop {
            let before = chunk.len();
            let usual =
                read_fast(chunk).filter(|_| raw.is_between_envelopes()).map(|(_, length)| chunk[..length].trim_ascii());
            match raw.next(&mut chunk, FRAME_BYTES_MAX) {
                JsonEnvelopeStreamItem::More => {
                    assert!(chunk.is_empty(), "nothing is left when there is to be more");
                    break;
                }
                JsonEnvelopeStreamItem::Envelope(text) => {
                    assert!(usual.is_none_or(|usual| usual == text), "the short way ends elsewhere");
                    assert!(text.len() <= FRAME_BYTES_MAX, "an envelope larger than allowed");
                    assert!(text.first() == Some(&b'{') && text.last() == Some(&b'}'), "by its braces");
                    let unreadable = parse(text, &mut UnescapedContentBuffer::default()).is_err();
                    found.push(OwnedEnvelopeItem::Envelope(text.to_vec()));
                    if reacts && unreadable {
                        raw.skip_line();
                    }
                }
                JsonEnvelopeStreamItem::Bad => {
                    assert!(usual.is_none(), "the fast path took bad input");
                    found.push(OwnedEnvelopeItem::Bad);
                }
                JsonEnvelopeStreamItem::TooLarge => {
                    found.push(OwnedEnvelopeItem::TooLarge);
                    return found;
                }
            }
            assert!(chunk.len() <= before && found.len() <= 1 + 2 * chunks.iter().map(|c| c.len()).sum::<usize>());
        }
    }
    found
}

/// Up to the first thing that is no object of an allowed size, both find the same.
fn compare(stream: &[u8], found: &[OwnedEnvelopeItem]) {
    let mut found = found.iter();
    let mut rest = behind_space(stream);
    // A reader for each, since between two stands what serde_json does not know.
    loop {
        let mut reference = serde_json::Deserializer::from_slice(rest).into_iter::<Reference>();
        let Some(Ok(Reference(value))) = reference.next() else { return };
        let (text, behind) = rest.split_at(reference.byte_offset());
        rest = behind_space(behind);
        if !value.is_object() || text.len() > FRAME_BYTES_MAX || depth(&value) > DEPTH_MAX {
            return;
        }
        assert_eq!(
            found.next(),
            Some(&OwnedEnvelopeItem::Envelope(text.to_vec())),
            "{}",
            String::from_utf8_lossy(stream)
        );
    }
}

/// Byte order marks and NULs are white space, too.
fn behind_space(mut stream: &[u8]) -> &[u8] {
    loop {
        let rest = stream.trim_ascii_start();
        match rest {
            [0, rest @ ..] | [0xEF, 0xBB, 0xBF, rest @ ..] => stream = rest,
            _ => return rest,
        }
    }
}

pub fn depth(value: &Value) -> u32 {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
