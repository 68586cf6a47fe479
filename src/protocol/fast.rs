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

/// A place in a text, and how quotes are written there.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    quote: &'static [u8],
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while matches!(self.text.as_bytes().get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            // Inside a string these are control characters, which JSON does not allow there; spaces it does.
            if self.quote.len() > 1 && self.text.as_bytes()[self.at] != b' ' {
                return;
            }
            self.at += 1;
        }
    }

    fn eat(&mut self, token: &[u8]) -> Option<()> {
        self.skip_space();
        self.rest().starts_with(token).then(|| self.at += token.len())
    }

    /// A string in which nothing is escaped.
    fn string(&mut self) -> Option<&'a str> {
        self.eat(self.quote)?;
        let start = self.at;
        self.at += plain_length(self.rest());
        let end = self.at;
        self.rest().starts_with(self.quote).then_some(())?;
        self.at += self.quote.len();
        self.text.get(start..end)
    }

    /// An object whose values are all strings in which nothing is escaped: those of `keys`, each at most once.
    fn object<const N: usize>(&mut self, keys: &[&str; N]) -> Option<[Option<&'a str>; N]> {
        let mut values = [None; N];
        self.eat(b"{")?;
        loop {
            let key = self.string()?;
            self.eat(b":")?;
            let value = self.string()?;
            if let Some(place) = keys.iter().position(|known| *known == key)
                && values[place].replace(value).is_some()
            {
                return None;
            }
            self.skip_space();
            match self.rest().first()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(values);
                }
                _ => return None,
            }
        }
    }
}

/// CONTENT: how it is spelled, and where its object begins and ends in the envelope.
struct Content {
    spelling: Spelling,
    start: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Passes over the value of CONTENT, whose inside is read when TYPE is known.
    fn content(&mut self) -> Option<Content> {
        self.skip_space();
        match self.rest().first()? {
            b'{' => {
                let start = self.at;
                // Strings in it may hold braces, so it is read here, for its end alone.
                self.object::<0>(&[])?;
                Some(Content { spelling: Spelling::Object, start, end: self.at })
            }
            b'"' => {
                self.at += 1;
                let start = self.at;
                loop {
                    self.at += plain_length(self.rest());
                    match self.rest() {
                        [b'\\', b'"', ..] => self.at += 2,
                        [b'"', ..] => break,
                        _ => return None,
                    }
                }
                self.at += 1;
                Some(Content { spelling: Spelling::Text, start, end: self.at - 1 })
            }
            _ => None,
        }
    }
}

/// Reads an envelope if it is one of the usual kind. `None` says nothing about it.
pub(super) fn parse(text: &str) -> Option<Request<'_>> {
    let mut reader = Reader { text, at: 0, quote: b"\"" };
    let (mut kind, mut content) = (None, None);
    reader.eat(b"{")?;
    loop {
        let key = reader.string()?;
        reader.eat(b":")?;
        match key {
            "TYPE" if kind.is_none() => kind = Some(reader.string()?),
            "CONTENT" if content.is_none() => content = Some(reader.content()?),
            "TYPE" | "CONTENT" => return None,
            // MID, of which a 4 and a 5 make nothing, or a key that is not known.
            _ => drop(reader.string()?),
        }
        reader.skip_space();
        match reader.rest().first()? {
            b',' => reader.at += 1,
            b'}' => break,
            _ => return None,
        }
    }
    reader.at += 1;
    reader.skip_space();
    if !reader.rest().is_empty() {
        return None;
    }
    let Content { spelling, start, end } = content?;
    let quote: &[u8] = if spelling == Spelling::Text { b"\\\"" } else { b"\"" };
    let mut inner = Reader { text: text.get(..end)?, at: start, quote };
    match kind? {
        "4" => message(&mut inner, spelling),
        "5" => ack(&mut inner, spelling),
        _ => None,
    }
}

/// Nothing but spaces may follow the object.
fn ends(inner: &mut Reader<'_>) -> Option<()> {
    inner.skip_space();
    inner.rest().is_empty().then_some(())
}

fn message<'a>(inner: &mut Reader<'a>, spelling: Spelling) -> Option<Request<'a>> {
    let [id, sender, receiver, content] = inner.object(&["messageId", "sender", "receiver", "content"])?;
    ends(inner)?;
    Some(Request::Message {
        spelling,
        id: Id::new(id?).ok()?,
        sender: Name::new(sender?).ok()?,
        receiver: Name::new(receiver?).ok()?,
        content: Cow::Borrowed(content?),
    })
}

fn ack<'a>(inner: &mut Reader<'a>, spelling: Spelling) -> Option<Request<'a>> {
    let [id, sender] = inner.object(&["MessageId", "sender"])?;
    ends(inner)?;
    let sender = match sender {
        Some(sender) => Some(Name::new(sender).ok()?),
        None => None,
    };
    Some(Request::Ack { spelling, id: Id::new(id?).ok()?, sender })
}

#[cfg(test)]
mod tests {
    use super::super::envelope::Scratch;
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
            }
        }
        assert!(read > 10_000, "{read}");
    }
}
