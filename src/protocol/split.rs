//! Finds the end of an envelope in a raw stream. Resumable: each byte is looked at once, however
//! the stream is cut.
//!
//! The splitter follows the structure of the JSON, so that broken input is detected at the first
//! wrong byte, and a valid line after it is still read. It does not check numbers and literals: the
//! envelope parser does.
//!
//! ```
//! use hongyan::protocol::split::{JsonEnvelopeStreamSplitter, JsonEnvelopeStreamItem as Item};
//! let mut splitter = JsonEnvelopeStreamSplitter::default();
//! let mut chunk: &[u8] = b"{\"TYPE\":0} nonsense\n{\"TY";
//! assert_eq!(splitter.next(&mut chunk, 1024), Item::Envelope(b"{\"TYPE\":0}"));
//! assert_eq!(splitter.next(&mut chunk, 1024), Item::Bad);
//! assert_eq!(splitter.next(&mut chunk, 1024), Item::More);
//! let mut chunk: &[u8] = b"PE\":0}";
//! assert_eq!(splitter.next(&mut chunk, 1024), Item::Envelope(b"{\"TYPE\":0}"));
//! ```

/// The largest nesting depth of objects and arrays.
pub const DEPTH_MAX: u32 = 64;

/// The next item of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum JsonEnvelopeStreamItem<'a> {
    /// All of the chunk was taken; nothing is complete.
    More,
    /// One envelope, by its braces.
    Envelope(&'a [u8]),
    /// Input that is not an envelope. Reading continues with the next line.
    Bad,
    /// An envelope or a line that is larger than allowed. The connection is to be closed.
    TooLarge,
}

/// The raw input of one connection. It owns memory only while an envelope is incomplete.
#[derive(Debug, Default)]
pub struct JsonEnvelopeStreamSplitter {
    mode: JsonEnvelopeStreamSplitterState,
    /// The part of the present envelope that arrived in earlier chunks.
    tail: Vec<u8>,
    is_tail_handed_out: bool,
    /// Bytes of garbage on the present line.
    skipped_bytes: usize,
}

#[derive(Debug, Default)]
enum JsonEnvelopeStreamSplitterState {
    /// White space before the next envelope.
    #[default]
    Between,
    /// As `Between`, inside a byte order mark of which this many bytes were read.
    Mark(usize),
    Envelope(JsonEnvelopeEndScanner),
    /// The rest of a line that is not an envelope.
    SkipLine,
}

impl JsonEnvelopeStreamSplitter {
    /// Takes the next item from the front of `chunk`. Call it until it gives
    /// [`JsonEnvelopeStreamItem::More`]; in between, the rest of the chunk may be kept elsewhere
    /// and passed again later.
    pub fn next<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8], frame_bytes_max: usize) -> JsonEnvelopeStreamItem<'a> {
        use JsonEnvelopeEndScanResult as Scan;
        use JsonEnvelopeStreamItem as Item;
        use JsonEnvelopeStreamSplitterState as State;
        if std::mem::take(&mut self.is_tail_handed_out) {
            self.tail = Vec::new();
        }
        loop {
            match &mut self.mode {
                State::Between => {
                    if let Some(item) = self.read_begin(chunk) {
                        return item;
                    }
                }
                State::Mark(seen) => {
                    let seen = *seen;
                    if let Some(item) = self.read_mark(seen, chunk) {
                        return item;
                    }
                }
                State::SkipLine => {
                    if let Some(item) = self.read_skipped(chunk, frame_bytes_max) {
                        return item;
                    }
                }
                State::Envelope(scanner) => {
                    let room = frame_bytes_max.saturating_sub(self.tail.len());
                    match scanner.scan(chunk) {
                        Scan::Broken(place) if place <= room => {
                            // A line that begins like an envelope is read.
                            let here = scanner.fresh_line && chunk.get(place).is_some_and(|&byte| may_begin_line(byte));
                            *chunk = &chunk[place..];
                            self.tail = Vec::new();
                            self.mode = State::Between;
                            if !here {
                                self.skip_line();
                            }
                            return Item::Bad;
                        }
                        Scan::End(length) if length <= room => {
                            let (envelope, rest) = chunk.split_at(length);
                            *chunk = rest;
                            self.mode = State::Between;
                            if self.tail.is_empty() {
                                return Item::Envelope(envelope);
                            }
                            self.tail.extend_from_slice(envelope);
                            self.is_tail_handed_out = true;
                            return Item::Envelope(&self.tail);
                        }
                        Scan::All if chunk.len() <= room => {
                            self.tail.extend_from_slice(chunk);
                            *chunk = &[];
                            return Item::More;
                        }
                        Scan::Broken(_) | Scan::End(_) | Scan::All => {
                            return Item::TooLarge;
                        }
                    }
                }
            }
        }
    }

    /// Skips white space, and looks at the byte with which the next envelope begins.
    #[inline]
    fn read_begin(&mut self, chunk: &mut &[u8]) -> Option<JsonEnvelopeStreamItem<'static>> {
        let Some(start) = chunk.iter().position(|&byte| !is_space(byte)) else {
            *chunk = &[];
            return Some(JsonEnvelopeStreamItem::More);
        };
        *chunk = &chunk[start..];
        self.mode = match chunk[0] {
            b'{' => JsonEnvelopeStreamSplitterState::Envelope(JsonEnvelopeEndScanner::default()),
            first if first == BYTE_ORDER_MARK[0] => JsonEnvelopeStreamSplitterState::Mark(0),
            _ => {
                self.skip_line();
                return Some(JsonEnvelopeStreamItem::Bad);
            }
        };
        None
    }

    /// Takes the next byte of a byte order mark, of which so many were seen.
    fn read_mark(&mut self, seen: usize, chunk: &mut &[u8]) -> Option<JsonEnvelopeStreamItem<'static>> {
        let Some((&byte, rest)) = chunk.split_first() else { return Some(JsonEnvelopeStreamItem::More) };
        if BYTE_ORDER_MARK[seen] != byte {
            self.skip_line();
            self.skipped_bytes = seen;
            return Some(JsonEnvelopeStreamItem::Bad);
        }
        *chunk = rest;
        let is_whole = seen + 1 == BYTE_ORDER_MARK.len();
        self.mode = if is_whole {
            JsonEnvelopeStreamSplitterState::Between
        } else {
            JsonEnvelopeStreamSplitterState::Mark(seen + 1)
        };
        None
    }

    /// Takes more of a line that is skipped.
    fn read_skipped(&mut self, chunk: &mut &[u8], frame_bytes_max: usize) -> Option<JsonEnvelopeStreamItem<'static>> {
        let line = memchr::memchr(b'\n', chunk);
        self.skipped_bytes += line.unwrap_or(chunk.len());
        if self.skipped_bytes > frame_bytes_max {
            return Some(JsonEnvelopeStreamItem::TooLarge);
        }
        let Some(end) = line else {
            *chunk = &[];
            return Some(JsonEnvelopeStreamItem::More);
        };
        *chunk = &chunk[end + 1..];
        self.mode = JsonEnvelopeStreamSplitterState::Between;
        None
    }

    /// Skips the rest of the line, which could not be read.
    pub fn skip_line(&mut self) {
        self.mode = JsonEnvelopeStreamSplitterState::SkipLine;
        self.skipped_bytes = 0;
    }

    /// Is it between two envelopes? Then it has no state, and can be replaced by a new one.
    #[must_use]
    pub fn is_between_envelopes(&self) -> bool {
        matches!(self.mode, JsonEnvelopeStreamSplitterState::Between)
    }

    /// The memory of the part of an envelope that has arrived.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.tail.capacity()
    }
}

/// Some clients send it before everything else.
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Is this byte skipped between two envelopes? NULs are, too: some clients end each envelope with
/// one.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0
}

/// May a valid line begin with this byte?
fn may_begin_line(byte: u8) -> bool {
    matches!(byte, b'{' | 0) || byte == BYTE_ORDER_MARK[0]
}

/// The text without skipped bytes around it.
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches(|char| char == '\u{FEFF}' || u8::try_from(char).is_ok_and(is_space))
}

/// Has this text the structure of one envelope, nested no deeper than allowed?
pub(super) fn is_one_envelope(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    matches!(JsonEnvelopeEndScanner::default().scan(text), JsonEnvelopeEndScanResult::End(length) if length == text.len())
}

enum JsonEnvelopeEndScanResult {
    /// The whole chunk belongs to the envelope, which goes on.
    All,
    /// The envelope ends after so many bytes.
    End(usize),
    /// The byte at this position is not valid there.
    Broken(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ExpectedJsonToken {
    #[default]
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    Colon,
    CommaOrClose,
    /// A number, or `true`, `false`, `null`.
    Scalar,
    Text,
    Escape,
    /// This many hexadecimal digits are missing.
    Hex(u8),
}

/// Follows the structure of one envelope.
#[derive(Debug, Default)]
struct JsonEnvelopeEndScanner {
    /// One bit for each object (1) or array (0) that is open.
    stack: u64,
    depth: u32,
    expect: ExpectedJsonToken,
    key: bool,
    /// Nothing but white space since the last line end, and there was one.
    fresh_line: bool,
}

impl JsonEnvelopeEndScanner {
    fn scan(&mut self, chunk: &[u8]) -> JsonEnvelopeEndScanResult {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            if self.expect == ExpectedJsonToken::Text {
                match self.text(&chunk[at..]) {
                    Ok(length) => at += length,
                    Err(place) => return JsonEnvelopeEndScanResult::Broken(at + place),
                }
                continue;
            }
            if !self.step(byte) {
                return JsonEnvelopeEndScanResult::Broken(at);
            }
            at += 1;
            if self.depth == 0 {
                return JsonEnvelopeEndScanResult::End(at);
            }
        }
        JsonEnvelopeEndScanResult::All
    }

    /// Scans the inside of a string, to its end or the next escape.
    fn text(&mut self, rest: &[u8]) -> Result<usize, usize> {
        let end = memchr::memchr2(b'"', b'\\', rest);
        let inside = &rest[..end.unwrap_or(rest.len())];
        if inside.iter().any(|&byte| byte < 0x20) {
            return Err(inside.iter().position(|&byte| byte < 0x20).unwrap_or(0));
        }
        let Some(end) = end else {
            return Ok(rest.len());
        };
        self.expect = match rest[end] {
            b'\\' => ExpectedJsonToken::Escape,
            _ if self.key => ExpectedJsonToken::Colon,
            _ => ExpectedJsonToken::CommaOrClose,
        };
        Ok(end + 1)
    }

    /// Handles one byte outside of plain text; `false` if it is not valid here.
    fn step(&mut self, byte: u8) -> bool {
        match (self.expect, byte) {
            (ExpectedJsonToken::Escape, b'u') => self.expect = ExpectedJsonToken::Hex(4),
            (ExpectedJsonToken::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.expect = ExpectedJsonToken::Text
            }
            (ExpectedJsonToken::Hex(left), byte) if byte.is_ascii_hexdigit() => {
                self.expect = if left > 1 { ExpectedJsonToken::Hex(left - 1) } else { ExpectedJsonToken::Text };
            }
            (ExpectedJsonToken::Escape | ExpectedJsonToken::Hex(_), _) => return false,
            (_, b' ' | b'\t' | b'\r' | b'\n') => {
                if self.expect == ExpectedJsonToken::Scalar {
                    self.expect = ExpectedJsonToken::CommaOrClose;
                }
                self.fresh_line |= byte == b'\n';
                return true;
            }
            (ExpectedJsonToken::Scalar, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.') => {}
            _ => return self.structure(byte),
        }
        self.fresh_line = false;
        true
    }

    fn structure(&mut self, byte: u8) -> bool {
        let object = self.stack & 1 == 1;
        let may_close = matches!(
            self.expect,
            ExpectedJsonToken::KeyOrClose
                | ExpectedJsonToken::ValueOrClose
                | ExpectedJsonToken::CommaOrClose
                | ExpectedJsonToken::Scalar
        );
        let value = matches!(self.expect, ExpectedJsonToken::Value | ExpectedJsonToken::ValueOrClose);
        match byte {
            b'{' | b'[' if value && self.depth < DEPTH_MAX => {
                self.depth += 1;
                self.stack = self.stack << 1 | u64::from(byte == b'{');
                self.expect =
                    if byte == b'{' { ExpectedJsonToken::KeyOrClose } else { ExpectedJsonToken::ValueOrClose };
            }
            b'}' | b']' if may_close && self.depth > 0 && object == (byte == b'}') => {
                self.depth -= 1;
                self.stack >>= 1;
                self.expect = ExpectedJsonToken::CommaOrClose;
            }
            b',' if matches!(self.expect, ExpectedJsonToken::CommaOrClose | ExpectedJsonToken::Scalar) => {
                self.expect = if object { ExpectedJsonToken::Key } else { ExpectedJsonToken::Value };
            }
            b':' if self.expect == ExpectedJsonToken::Colon => self.expect = ExpectedJsonToken::Value,
            b'"' if value || matches!(self.expect, ExpectedJsonToken::Key | ExpectedJsonToken::KeyOrClose) => {
                self.key = !value;
                self.expect = ExpectedJsonToken::Text;
            }
            b'0'..=b'9' | b'-' | b't' | b'f' | b'n' if value => self.expect = ExpectedJsonToken::Scalar,
            _ => return false,
        }
        self.fresh_line = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(input: &[u8], cut: usize, limit: usize) -> Vec<String> {
        let mut raw = JsonEnvelopeStreamSplitter::default();
        let mut found = Vec::new();
        for mut chunk in input.chunks(cut.max(1)) {
            loop {
                match raw.next(&mut chunk, limit) {
                    JsonEnvelopeStreamItem::More => break,
                    JsonEnvelopeStreamItem::Envelope(text) => found.push(String::from_utf8_lossy(text).into_owned()),
                    JsonEnvelopeStreamItem::Bad => found.push("BAD".into()),
                    JsonEnvelopeStreamItem::TooLarge => {
                        found.push("TOO LARGE".into());
                        return found;
                    }
                }
            }
        }
        found
    }

    #[track_caller]
    fn expect(input: &str, expected: &[&str]) {
        for cut in 1..=input.len() {
            assert_eq!(items(input.as_bytes(), cut, 1_000), expected, "cut every {cut} bytes");
        }
    }

    #[test]
    fn envelopes_stand_on_lines_over_lines_or_back_to_back() {
        expect("{\"a\":1}\n{\"b\":2}{\"c\":\"}\"}", &["{\"a\":1}", "{\"b\":2}", "{\"c\":\"}\"}"]);
        expect(" \r\n\t{\n  \"a\": [1, {\"b\": \"\\\"{\"}]\n}\n", &["{\n  \"a\": [1, {\"b\": \"\\\"{\"}]\n}"]);
        expect("{}{}", &["{}", "{}"]);
        expect("{\"a\":[],\"b\":{},\"c\":null,\"d\":-1.5e+3}", &["{\"a\":[],\"b\":{},\"c\":null,\"d\":-1.5e+3}"]);
    }

    #[test]
    fn byte_order_marks_and_nuls_between_envelopes_are_white_space() {
        let mark = "\u{FEFF}";
        expect(&format!("{mark}{{}}\0{{\"a\":1}}\0\0\n{mark}{mark} {{}}{mark}"), &["{}", "{\"a\":1}", "{}"]);
        expect(&format!("\0{mark}\0\n{{}}\0"), &["{}"]);
        // Also where an envelope was given up for the next line.
        expect(
            &format!("{{\"a\":1\n{mark}{{\"b\":2}}\n{{\"a\":1\n\0{{\"b\":3}}\n"),
            &["BAD", "{\"b\":2}", "BAD", "{\"b\":3}"],
        );
        // Not inside an envelope.
        expect(&format!("{{\"a\"{mark}:1}}\n{{}}\n"), &["BAD", "{}"]);
        expect("{\"a\":\0 1}\n{}\n", &["BAD", "{}"]);
        for broken in [&b"\xef{}\n{}\n"[..], b"\xef\xbb{}\n{}", b"\xbb\xbf\n{}", b"\xef\n{}", b"\xef\xef\xbb\xbf{}\n{}"]
        {
            for cut in 1..=broken.len() {
                assert_eq!(items(broken, cut, 1_000), ["BAD", "{}"], "{broken:x?} cut every {cut} bytes");
            }
        }
        let mut raw = JsonEnvelopeStreamSplitter::default();
        let mut chunk: &[u8] = b"\xef\xbb";
        assert_eq!(raw.next(&mut chunk, 100), JsonEnvelopeStreamItem::More);
        assert!(!raw.is_between_envelopes(), "half of a mark has to be remembered");
        assert_eq!(trim("\u{FEFF}\0 {} \u{FEFF}\n"), "{}");
    }

    #[test]
    fn anything_but_an_object_is_bad_to_the_end_of_its_line() {
        expect("hello {\"a\":1}\n{\"b\":2}\n", &["BAD", "{\"b\":2}"]);
        expect("[1,2]\n\n\"x\"\n{}\n", &["BAD", "BAD", "{}"]);
    }

    #[test]
    fn broken_json_is_bad_and_the_next_line_is_read() {
        expect("{\"a\":}\n{\"b\":2}\n", &["BAD", "{\"b\":2}"]);
        expect("{\"a\" \"b\"} {}\n{\"b\":2}\n", &["BAD", "{\"b\":2}"]);
        expect("{\"a\":\"not ended\n{\"b\":2}\n", &["BAD", "{\"b\":2}"]);
        expect("{\"a\":1\n{\"b\":2}\n", &["BAD", "{\"b\":2}"]);
        expect("{\"a\":1,\n\n  {\"b\":2}\n", &["BAD", "{\"b\":2}"]);
        expect("{\"a\":\"\\x\"}\n{\"b\":2}\n", &["BAD", "{\"b\":2}"]);
        expect("{\"a\":\"\\u12g4\"}\n{\"b\":2}\n", &["BAD", "{\"b\":2}"]);
        expect("{]\n{}\n", &["BAD", "{}"]);
        expect("{\"a\":[}]}\n{}\n", &["BAD", "{}"]);
        expect("{,}\n{}\n", &["BAD", "{}"]);
    }

    #[test]
    fn nesting_is_bounded() {
        let fits = format!("{{\"a\":{}{}}}", "[".repeat(63), "]".repeat(63));
        expect(&fits, &[fits.as_str()]);
        let deep = format!("{{\"a\":{}{}}}\n{{}}", "[".repeat(64), "]".repeat(64));
        expect(&deep, &["BAD", "{}"]);
    }

    #[test]
    fn the_limit_holds_to_the_byte_however_the_stream_is_cut() {
        let just = format!("{{\"a\":\"{}\"}}", "x".repeat(92));
        assert_eq!(just.len(), 100);
        for cut in 1..=110 {
            assert_eq!(items(just.as_bytes(), cut, 100), [just.as_str()]);
            assert_eq!(items(just.as_bytes(), cut, 99), ["TOO LARGE"]);
            assert_eq!(items(&b"x".repeat(300), cut, 200), ["BAD", "TOO LARGE"]);
        }
    }

    #[test]
    fn between_two_envelopes_there_is_nothing_to_remember() {
        let mut raw = JsonEnvelopeStreamSplitter::default();
        let mut chunk: &[u8] = b"{\"a\"";
        assert_eq!(raw.next(&mut chunk, 100), JsonEnvelopeStreamItem::More);
        assert!(!raw.is_between_envelopes());
        let mut chunk: &[u8] = b":1}\n";
        assert_eq!(raw.next(&mut chunk, 100), JsonEnvelopeStreamItem::Envelope(b"{\"a\":1}"));
        assert_eq!(raw.next(&mut chunk, 100), JsonEnvelopeStreamItem::More);
        assert!(raw.is_between_envelopes());
    }
}
