//! The way of nearly every envelope: a 4 or a 5 whose texts need no un-escaping, read in one pass without a copy.
//!
//! In the string spelling the quotes of the inner JSON text stand as `\"`, so as long as nothing else in it is escaped it can be read as
//! it stands. Whatever is unusual (an escape, a number, a key twice, a fault) is left to [`envelope`](super::envelope),
//! which reads everything and says what is wrong: what this room accepts, that one would have read as the very same request.

use super::field::{Id, Name};
use super::request::{Request, Spelling};
use std::borrow::Cow;

const EVERY: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The place of the first byte that is a quote, a backslash or a control character: all that is special inside a JSON string.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    // Eight bytes at a time. Each of the three tests may mark bytes above the first one it is right about, but none below.
    let zeros = |word: u64| word.wrapping_sub(EVERY) & !word & HIGH;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (place, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let controls = word.wrapping_sub(EVERY * 0x20) & !word & HIGH;
        let marks = controls | zeros(word ^ (EVERY * b'"' as u64)) | zeros(word ^ (EVERY * b'\\' as u64));
        if marks != 0 {
            return place * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    chunks.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// Where a text stands.
type Span = (usize, usize);

/// A place in an envelope. What reads the inside of a string of JSON text has `INNER` set: quotes are written `\"` there.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The keys that a 4 and a 5 are made of.
#[derive(Clone, Copy)]
enum Key {
    MessageId,
    AckedId,
    Sender,
    Receiver,
    Content,
}

impl Key {
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"messageId" => Self::MessageId,
            b"MessageId" => Self::AckedId,
            b"sender" => Self::Sender,
            b"receiver" => Self::Receiver,
            b"content" => Self::Content,
            _ => return None,
        })
    }
}

/// Where their values stand.
#[derive(Default)]
struct Inner([Option<Span>; 5]);

impl Inner {
    /// Notes a value. `None`: there was one already.
    fn note(&mut self, key: Key, value: Span) -> Option<()> {
        self.0[key as usize].replace(value).is_none().then_some(())
    }

    fn get(&self, key: Key) -> Option<Span> {
        self.0[key as usize]
    }
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space<const INNER: bool>(&mut self) {
        // Inside a string the others are control characters, which JSON does not allow there.
        while matches!(self.peek(), Some(b' ')) || (!INNER && matches!(self.peek(), Some(b'\t' | b'\n' | b'\r'))) {
            self.at += 1;
        }
    }

    fn eat<const INNER: bool>(&mut self, byte: u8) -> Option<()> {
        self.skip_space::<INNER>();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn quote<const INNER: bool>(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        match (INNER, rest) {
            (true, [b'\\', b'"', ..]) => self.at += 2,
            (false, [b'"', ..]) => self.at += 1,
            _ => return None,
        }
        Some(())
    }

    /// A string in which nothing is escaped.
    fn string<const INNER: bool>(&mut self) -> Option<Span> {
        self.skip_space::<INNER>();
        self.quote::<INNER>()?;
        self.rest_of_string::<INNER>()
    }

    /// The same from behind the quote that begins it.
    fn rest_of_string<const INNER: bool>(&mut self) -> Option<Span> {
        let start = self.at;
        self.at += plain_length(self.bytes.get(start..)?);
        let end = self.at;
        self.quote::<INNER>()?;
        Some((start, end))
    }

    /// `true` after a comma, `false` after the brace that ends the object.
    fn goes_on<const INNER: bool>(&mut self) -> Option<bool> {
        self.skip_space::<INNER>();
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    /// Steps over these bytes, if they are what comes.
    fn step_over<const LENGTH: usize>(&mut self, literal: &[u8; LENGTH]) -> bool {
        let comes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) == Some(literal);
        if comes {
            self.at += LENGTH;
        }
        comes
    }

    /// A key of ours with all that stands between it and its value, up to the quote that begins it, as those write who waste no byte.
    fn compact_key<const INNER: bool>(&mut self) -> Option<Key> {
        let first = self.bytes.get(self.at + if INNER { 2 } else { 1 })?;
        let (key, comes) = match (first, INNER) {
            (b'm', true) => (Key::MessageId, self.step_over(br#"\"messageId\":\""#)),
            (b'm', false) => (Key::MessageId, self.step_over(br#""messageId":""#)),
            (b'M', true) => (Key::AckedId, self.step_over(br#"\"MessageId\":\""#)),
            (b'M', false) => (Key::AckedId, self.step_over(br#""MessageId":""#)),
            (b's', true) => (Key::Sender, self.step_over(br#"\"sender\":\""#)),
            (b's', false) => (Key::Sender, self.step_over(br#""sender":""#)),
            (b'r', true) => (Key::Receiver, self.step_over(br#"\"receiver\":\""#)),
            (b'r', false) => (Key::Receiver, self.step_over(br#""receiver":""#)),
            (b'c', true) => (Key::Content, self.step_over(br#"\"content\":\""#)),
            (b'c', false) => (Key::Content, self.step_over(br#""content":""#)),
            _ => return None,
        };
        comes.then_some(key)
    }

    /// An object whose values are all strings in which nothing is escaped.
    fn inner<const INNER: bool>(&mut self) -> Option<Inner> {
        let mut inner = Inner::default();
        self.eat::<INNER>(b'{')?;
        loop {
            if let Some(key) = self.compact_key::<INNER>() {
                let value = self.rest_of_string::<INNER>()?;
                inner.note(key, value)?;
            } else {
                let (start, end) = self.string::<INNER>()?;
                self.eat::<INNER>(b':')?;
                let value = self.string::<INNER>()?;
                if let Some(key) = Key::of(self.bytes.get(start..end)?) {
                    inner.note(key, value)?;
                }
            }
            if !self.goes_on::<INNER>()? {
                return Some(inner);
            }
        }
    }

    /// The value of CONTENT: what is in it is read before it is known what TYPE makes of it.
    fn content(&mut self) -> Option<(Spelling, Inner)> {
        self.skip_space::<false>();
        if self.peek()? == b'{' {
            return Some((Spelling::Object, self.inner::<false>()?));
        }
        self.quote::<false>()?;
        let inner = self.inner::<true>()?;
        self.skip_space::<true>();
        self.quote::<false>()?;
        Some((Spelling::Text, inner))
    }
}

/// Reads the envelope at the front of `bytes` if it is one of the usual kind, and tells its length. `None` says nothing about it: it
/// may be unusual, not whole, or wrong.
pub(super) fn read(bytes: &[u8]) -> Option<(Request<'_>, usize)> {
    let mut reader = Reader { bytes, at: 0 };
    let (mut kind, mut content) = (None, None);
    reader.eat::<false>(b'{')?;
    loop {
        if content.is_none() && reader.step_over(br#""CONTENT":"#) {
            content = Some(reader.content()?);
        } else if kind.is_none() && reader.step_over(br#""TYPE":""#) {
            kind = Some(reader.rest_of_string::<false>()?);
        } else {
            let (start, end) = reader.string::<false>()?;
            reader.eat::<false>(b':')?;
            match bytes.get(start..end)? {
                b"TYPE" if kind.is_none() => kind = Some(reader.string::<false>()?),
                b"CONTENT" if content.is_none() => content = Some(reader.content()?),
                b"TYPE" | b"CONTENT" => return None,
                // MID, of which a 4 and a 5 make nothing, or a key that is not known.
                _ => _ = reader.string::<false>()?,
            }
        }
        if !reader.goes_on::<false>()? {
            break;
        }
    }
    let text = std::str::from_utf8(bytes.get(..reader.at)?).ok()?;
    let part = |(start, end): Span| text.get(start..end);
    let (spelling, inner) = content?;
    let request = match part(kind?)? {
        "4" => Request::Message {
            spelling,
            id: Id::new(part(inner.get(Key::MessageId)?)?).ok()?,
            sender: Name::new(part(inner.get(Key::Sender)?)?).ok()?,
            receiver: Name::new(part(inner.get(Key::Receiver)?)?).ok()?,
            content: Cow::Borrowed(part(inner.get(Key::Content)?)?),
        },
        "5" => {
            let sender = match inner.get(Key::Sender) {
                Some(sender) => Some(Name::new(part(sender)?).ok()?),
                None => None,
            };
            Request::Ack { spelling, id: Id::new(part(inner.get(Key::AckedId)?)?).ok()?, sender }
        }
        _ => return None,
    };
    Some((request, text.len()))
}

#[cfg(test)]
mod tests {
    use super::super::envelope::Scratch;
    use super::super::split::{RawInput, RawItem};
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for length in 0..40 {
                for place in 0..length {
                    // Neighbours that differ from the special ones in a single bit.
                    for other in [b'x', 0x20, 0x21, 0x23, b'[', b']', 0x7f, 0x80, 0xff, 0xa2, 0xdc, 0x9f] {
                        let mut bytes = vec![other; length];
                        bytes[place] = special;
                        assert_eq!(plain_length(&bytes), place, "{special} after {other} in {length}");
                        if place + 1 < length {
                            bytes[place + 1] = b'"';
                            assert_eq!(plain_length(&bytes), place);
                        }
                    }
                }
                assert_eq!(plain_length(&vec![0xe9; length]), length);
            }
        }
    }

    /// Reads an envelope that is all there is.
    fn parse(text: &str) -> Option<Request<'_>> {
        read(text.as_bytes()).filter(|(_, length)| text[*length..].trim_ascii().is_empty()).map(|(request, _)| request)
    }

    #[test]
    fn the_usual_ones_are_read_here() {
        for usual in [
            r#"{"CONTENT":"{\"messageId\":\"m\",\"sender\":\"ann\",\"receiver\":\"bob\",\"content\":\"hello 雁\"}","TYPE":"4"}"#,
            r#"{"CONTENT":{"messageId":"m","sender":"ann","receiver":"bob","content":"{}"},"TYPE":"4"}"#,
            r#" { "TYPE" : "5" , "MID":"x", "CONTENT" : "{ \"MessageId\" : \"m\" , \"sender\":\"ann\" } " } "#,
            r#"{"CONTENT":{"MessageId":"m"},"TYPE":"5"}"#,
        ] {
            assert!(parse(usual).is_some(), "{usual}");
        }
    }

    #[test]
    fn whatever_is_unusual_is_left_to_the_other() {
        for odd in [
            "",
            "{}",
            r#"{"CONTENT":"{\"MessageId\":\"m\"}","TYPE":5}"#,
            r#"{"CONTENT":"{\"MessageId\":\"m\"}","TYPE":"0"}"#,
            r#"{"CONTENT":"{\"MessageId\":\"m\"}","TYPE":"5","TYPE":"5"}"#,
            r#"{"CONTENT":"{\"MessageId\":\"m\",\"MessageId\":\"n\"}","TYPE":"5"}"#,
            r#"{"CONTENT":"{\"MessageId\":\"\\n\"}","TYPE":"5"}"#,
            r#"{"CONTENT":"{\"MessageId\":\"m\"} x","TYPE":"5"}"#,
            r#"{"CONTENT":"{\"MessageId\":\"m\"}","TYPE":"5"} x"#,
            r#"{"CONTENT":"{"MessageId":"m"}","TYPE":"5"}"#,
            r#"{"CONTENT":{\"MessageId\":\"m\"},"TYPE":"5"}"#,
            r#"{"CONTENT":"{\"MessageId\":\"\"}","TYPE":"5"}"#,
            "{\"CONTENT\":\"{\n\\\"MessageId\\\":\\\"m\\\"}\",\"TYPE\":\"5\"}",
            "{\"CONTENT\":\"{\\\"MessageId\\\":\\\"m\n\\\"}\",\"TYPE\":\"5\"}",
        ] {
            assert!(parse(odd).is_none(), "{odd}");
        }
    }

    /// What both ways of reading make of it, as text.
    fn both(text: &str) -> (Option<String>, String) {
        let slow =
            super::super::envelope::parse_any(text, &mut Scratch::default()).map(|request| format!("{request:?}"));
        (parse(text).map(|request| format!("{request:?}")), slow.unwrap_or_else(|bad| format!("bad: {bad:?}")))
    }

    #[test]
    fn what_is_read_here_is_what_the_other_reads_whatever_is_done_to_it() {
        let seeds = [
            r#"{"CONTENT":"{\"messageId\":\"m1\",\"sender\":\"ann\",\"receiver\":\"bob\",\"content\":\"hi 雁 {}[]:,\"}","TYPE":"4"}"#,
            r#"{"MID":"x","CONTENT":{"messageId":"m1","sender":"ann","receiver":"bob","content":"hi"},"TYPE":"4"}"#,
            r#"{ "TYPE": "5", "CONTENT": " { \"MessageId\": \"m1\", \"sender\": \"ann\" } ", "more": "x" }"#,
            r#"{"CONTENT":{"MessageId":"m1","other":"x"},"TYPE":"5"}"#,
        ];
        let pieces = [
            "\"", "\\", "\\\"", "\\\\", "{", "}", ",", ":", " ", "\n", "\t", "é", "4", "5", "\\u0041", "\\ud800",
            "\u{0}", "TYPE", "sender",
        ];
        let mut state = 1_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let mut read = 0;
        for round in 0..60_000 {
            let mut text = seeds[round % seeds.len()].to_owned();
            for _ in 0..below(4) {
                let mut at = below(text.len() + 1);
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                match below(3) {
                    0 => text.insert_str(at, pieces[below(pieces.len())]),
                    1 if at < text.len() => drop(text.remove(at)),
                    _ => {
                        let rest = text.split_off(at);
                        text.push_str(pieces[below(pieces.len())]);
                        text.extend(rest.chars().skip(1));
                    }
                }
            }
            if let (Some(fast), slow) = both(&text) {
                read += 1;
                assert_eq!(fast, slow, "{text}");
                // In a stream it ends where the splitter says, whatever comes behind it.
                let stream = format!("{text}{}", ["", "{", "\"", "\\", " x\n"][below(5)]);
                let length = super::read(stream.as_bytes()).map(|(_, length)| length).unwrap_or_default();
                let envelope = stream[..length].trim_ascii();
                assert_eq!(
                    RawInput::default().next(&mut stream.as_bytes(), 10_000),
                    RawItem::Envelope(envelope.as_bytes()),
                    "{stream}"
                );
            }
        }
        assert!(read > 10_000, "{read}");
    }
}
