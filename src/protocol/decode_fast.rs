//! The decode fast path, for nearly every envelope: a 4 or a 5 whose texts need no un-escaping is
//! read in one pass, without a copy.
//!
//! In the string form the quotes of the inner JSON text are written `\"`, so if nothing else in it
//! is escaped, it can be read directly. Anything unusual (an escape, a number, a repeated key, a
//! fault) is left to [`envelope`](super::envelope), which reads everything and reports faults. An
//! envelope that this module accepts gives the same request there.

use super::escape_free::escape_free_length;
use super::field::{MessageId, UserNameRef};
use super::request::{ClientRequest, ContentAsStringOrObject};
use std::borrow::Cow;
use std::num::NonZeroU32;
use std::ops::Range;

/// The place of a text. A brace comes before every text, so no text begins at 0, and
/// `Option<JsonStringSpan>` is no larger than `JsonStringSpan`.
#[derive(Clone, Copy)]
struct JsonStringSpan {
    start: NonZeroU32,
    end: u32,
}

impl JsonStringSpan {
    fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self { start: NonZeroU32::new(u32::try_from(start).ok()?)?, end: u32::try_from(end).ok()? })
    }

    fn range(self) -> Range<usize> {
        self.start.get() as usize..self.end as usize
    }
}

/// A position in an envelope. Methods with `INNER` read JSON inside a string, where quotes are
/// written `\"`.
struct RequestEnvelopeJsonCursor<'a> {
    /// The bytes that are still to be read.
    rest: &'a [u8],
    /// The length of the whole input, in bytes.
    length: usize,
}

/// The keys of a 4 and a 5.
#[derive(Clone, Copy)]
enum MessageJsonKey {
    MessageId,
    AckedId,
    Sender,
    Receiver,
    Content,
}

impl MessageJsonKey {
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

/// The places of the values of these keys.
#[derive(Default)]
struct MessageJsonValueSpans([Option<JsonStringSpan>; 5]);

impl MessageJsonValueSpans {
    /// Notes a value. `None`: the key has one already.
    fn note(&mut self, key: MessageJsonKey, value: JsonStringSpan) -> Option<()> {
        self.0[key as usize].replace(value).is_none().then_some(())
    }

    fn get(&self, key: MessageJsonKey) -> Option<JsonStringSpan> {
        self.0[key as usize]
    }
}

impl RequestEnvelopeJsonCursor<'_> {
    fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    /// The next byte that is no space.
    #[inline]
    fn peek<const INNER: bool>(&mut self) -> Option<u8> {
        match self.rest.first() {
            Some(&byte) if byte > b' ' => Some(byte),
            _ => self.peek_behind_space::<INNER>(),
        }
    }

    #[cold]
    fn peek_behind_space<const INNER: bool>(&mut self) -> Option<u8> {
        // Inside a string other white space characters are control characters, which JSON does not
        // allow there.
        let is_space = |byte: u8| byte == b' ' || (!INNER && matches!(byte, b'\t' | b'\n' | b'\r'));
        while let Some((_, after)) = self.rest.split_first().filter(|(byte, _)| is_space(**byte)) {
            self.rest = after;
        }
        self.rest.first().copied()
    }

    /// Takes the next byte that is no space.
    fn next<const INNER: bool>(&mut self) -> Option<u8> {
        let byte = self.peek::<INNER>()?;
        self.rest = self.rest.get(1..)?;
        Some(byte)
    }

    fn consume_byte<const INNER: bool>(&mut self, byte: u8) -> Option<()> {
        (self.next::<INNER>()? == byte).then_some(())
    }

    fn quote<const INNER: bool>(&mut self) -> Option<()> {
        let comes = if INNER { self.skip_literal(br#"\""#) } else { self.skip_literal(b"\"") };
        comes.then_some(())
    }

    /// A string in which nothing is escaped.
    fn string<const INNER: bool>(&mut self) -> Option<JsonStringSpan> {
        self.peek::<INNER>()?;
        self.quote::<INNER>()?;
        self.rest_of_string::<INNER>()
    }

    /// The rest of a string, after its first quote.
    #[inline]
    fn rest_of_string<const INNER: bool>(&mut self) -> Option<JsonStringSpan> {
        let start = self.at();
        let length = escape_free_length(self.rest);
        self.rest = self.rest.get(length..)?;
        self.quote::<INNER>()?;
        JsonStringSpan::new(start, start + length)
    }

    /// Reads the separator after a value: `true` for a comma, `false` for the brace that ends the
    /// object.
    fn read_separator<const INNER: bool>(&mut self) -> Option<bool> {
        match self.next::<INNER>()? {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    /// Skips these bytes, if they come next.
    #[inline]
    fn skip_literal<const LENGTH: usize>(&mut self, literal: &[u8; LENGTH]) -> bool {
        match self.rest.split_first_chunk() {
            Some((comes, after)) if comes == literal => {
                self.rest = after;
                true
            }
            _ => false,
        }
    }

    /// A known key with everything up to the first quote of its value, if it is written without any
    /// white space.
    #[inline]
    fn compact_key<const INNER: bool>(&mut self) -> Option<MessageJsonKey> {
        let first = self.rest.get(if INNER { 2 } else { 1 })?;
        let (key, comes) = match (first, INNER) {
            (b'm', true) => (MessageJsonKey::MessageId, self.skip_literal(br#"\"messageId\":\""#)),
            (b'm', false) => (MessageJsonKey::MessageId, self.skip_literal(br#""messageId":""#)),
            (b'M', true) => (MessageJsonKey::AckedId, self.skip_literal(br#"\"MessageId\":\""#)),
            (b'M', false) => (MessageJsonKey::AckedId, self.skip_literal(br#""MessageId":""#)),
            (b's', true) => (MessageJsonKey::Sender, self.skip_literal(br#"\"sender\":\""#)),
            (b's', false) => (MessageJsonKey::Sender, self.skip_literal(br#""sender":""#)),
            (b'r', true) => (MessageJsonKey::Receiver, self.skip_literal(br#"\"receiver\":\""#)),
            (b'r', false) => (MessageJsonKey::Receiver, self.skip_literal(br#""receiver":""#)),
            (b'c', true) => (MessageJsonKey::Content, self.skip_literal(br#"\"content\":\""#)),
            (b'c', false) => (MessageJsonKey::Content, self.skip_literal(br#""content":""#)),
            _ => return None,
        };
        comes.then_some(key)
    }

    /// An object whose values are all strings in which nothing is escaped.
    fn inner<const INNER: bool>(&mut self, whole: &[u8], inner: &mut MessageJsonValueSpans) -> Option<()> {
        self.consume_byte::<INNER>(b'{')?;
        loop {
            if let Some(key) = self.compact_key::<INNER>() {
                let value = self.rest_of_string::<INNER>()?;
                inner.note(key, value)?;
            } else {
                let name = self.string::<INNER>()?;
                self.consume_byte::<INNER>(b':')?;
                let value = self.string::<INNER>()?;
                if let Some(key) = MessageJsonKey::of(whole.get(name.range())?) {
                    inner.note(key, value)?;
                }
            }
            if !self.read_separator::<INNER>()? {
                return Some(());
            }
        }
    }

    /// The value of CONTENT: its keys are read before the TYPE is known.
    fn content(&mut self, whole: &[u8], inner: &mut MessageJsonValueSpans) -> Option<ContentAsStringOrObject> {
        if self.peek::<false>()? == b'{' {
            self.inner::<false>(whole, inner)?;
            return Some(ContentAsStringOrObject::Object);
        }
        self.quote::<false>()?;
        self.inner::<true>(whole, inner)?;
        self.peek::<true>()?;
        self.quote::<false>()?;
        Some(ContentAsStringOrObject::Text)
    }
}

/// The places of all values in an envelope of the usual kind.
struct RequestEnvelopeValueSpans {
    kind: JsonStringSpan,
    form: ContentAsStringOrObject,
    inner: MessageJsonValueSpans,
    length: usize,
}

impl RequestEnvelopeValueSpans {
    /// The outline of the envelope at the front of `bytes`.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut reader = RequestEnvelopeJsonCursor { rest: bytes, length: bytes.len() };
        let (mut kind, mut content, mut inner) = (None, None, MessageJsonValueSpans::default());
        reader.consume_byte::<false>(b'{')?;
        loop {
            if content.is_none() && reader.skip_literal(br#""CONTENT":"#) {
                content = Some(reader.content(bytes, &mut inner)?);
            } else if kind.is_none() && reader.skip_literal(br#""TYPE":""#) {
                kind = Some(reader.rest_of_string::<false>()?);
            } else {
                let name = reader.string::<false>()?;
                reader.consume_byte::<false>(b':')?;
                match bytes.get(name.range())? {
                    b"TYPE" if kind.is_none() => kind = Some(reader.string::<false>()?),
                    b"CONTENT" if content.is_none() => content = Some(reader.content(bytes, &mut inner)?),
                    b"TYPE" | b"CONTENT" => return None,
                    // MID, which a 4 and a 5 ignore, or an unknown key.
                    _ => _ = reader.string::<false>()?,
                }
            }
            if !reader.read_separator::<false>()? {
                return Some(Self { kind: kind?, form: content?, inner, length: reader.at() });
            }
        }
    }

    /// The request in `text`, which has this outline.
    fn request<'a>(&self, text: &'a str) -> Option<ClientRequest<'a>> {
        let part = |span: JsonStringSpan| text.get(span.range());
        let value = |key| self.inner.get(key).and_then(part);
        let form = self.form;
        match part(self.kind)? {
            "4" => Some(ClientRequest::Message {
                form,
                id: MessageId::new(value(MessageJsonKey::MessageId)?).ok()?,
                sender: UserNameRef::new(value(MessageJsonKey::Sender)?).ok()?,
                receiver: UserNameRef::new(value(MessageJsonKey::Receiver)?).ok()?,
                content: Cow::Borrowed(value(MessageJsonKey::Content)?),
                escape_free: true,
            }),
            "5" => {
                let sender = match value(MessageJsonKey::Sender) {
                    Some(sender) => Some(UserNameRef::new(sender).ok()?),
                    None => None,
                };
                Some(ClientRequest::Ack { form, id: MessageId::new(value(MessageJsonKey::AckedId)?).ok()?, sender })
            }
            _ => None,
        }
    }
}

/// Reads the envelope at the front of `bytes` if it is of the usual kind, and gives its length.
/// `None`: it may be unusual, incomplete or faulty.
pub(super) fn read(bytes: &[u8]) -> Option<(ClientRequest<'_>, usize)> {
    let outline = RequestEnvelopeValueSpans::of(bytes)?;
    let text = std::str::from_utf8(bytes.get(..outline.length)?).ok()?;
    Some((outline.request(text)?, text.len()))
}

/// Like `read`, for a text that is a single envelope, perhaps with white space around it.
pub(super) fn read_whole(text: &str) -> Option<ClientRequest<'_>> {
    let outline = RequestEnvelopeValueSpans::of(text.as_bytes())?;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    text.as_bytes().get(outline.length..)?.iter().all(is_space).then(|| outline.request(text))?
}

#[cfg(test)]
mod tests {
    use super::super::envelope::UnescapedContentBuffer;
    use super::super::split::{JsonEnvelopeStreamItem, JsonEnvelopeStreamSplitter};
    use super::*;

    fn parse(text: &str) -> Option<ClientRequest<'_>> {
        read_whole(text)
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
    fn unusual_envelopes_are_left_to_the_full_parser() {
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

    /// The results of both ways of reading, as text.
    fn both(text: &str) -> (Option<String>, String) {
        let slow = super::super::envelope::parse_any(text, &mut UnescapedContentBuffer::default())
            .map(|request| format!("{request:?}"));
        (parse(text).map(|request| format!("{request:?}")), slow.unwrap_or_else(|bad| format!("bad: {bad:?}")))
    }

    #[test]
    fn the_fast_path_reads_mutated_envelopes_as_the_full_parser_does() {
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
        let mut random = fastrand::Rng::with_seed(1);
        let mut below = |bound: usize| random.usize(..bound);
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
                // In a stream the envelope ends where the splitter says, whatever follows it.
                let stream = format!("{text}{}", ["", "{", "\"", "\\", " x\n"][below(5)]);
                let length = super::read(stream.as_bytes()).map(|(_, length)| length).unwrap_or_default();
                let envelope = stream[..length].trim_ascii();
                assert_eq!(
                    JsonEnvelopeStreamSplitter::default().next(&mut stream.as_bytes(), 10_000),
                    JsonEnvelopeStreamItem::Envelope(envelope.as_bytes()),
                    "{stream}"
                );
            }
        }
        assert!(read > 10_000, "{read}");
    }
}
