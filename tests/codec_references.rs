//! The codecs against somebody else's: the raw splitter and the envelope against serde_json, the
//! WebSocket frames against tungstenite, over seeded random input cut at random places. The seed
//! stands in every message.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use fastrand::Rng;
use hongyan::protocol::envelope::{UnescapedContentBuffer, parse};
use hongyan::protocol::request::ClientRequest;
use hongyan::protocol::split::{JsonEnvelopeStreamItem, JsonEnvelopeStreamSplitter};
use hongyan::protocol::ws::{WsItem, WsServerDecoder, begin_text, end_text};
use serde_json::{Value, json};
use std::io::{Cursor, Read, Write};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Message, WebSocket};

const SEEDS: u64 = 400;

struct Random(Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    fn text(&mut self, length: usize) -> String {
        let odd = ['"', '\\', '{', '}', '[', ']', ',', ':', '\n', '\u{0}', '\u{1f}', 'é', '雁', '🪿', '\u{2028}'];
        (0..self.below(length + 1))
            .map(
                |_| {
                    if self.below(3) == 0 {
                        odd[self.below(odd.len())]
                    } else {
                        char::from(b'a' + self.below(26) as u8)
                    }
                },
            )
            .collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => (self.below(2) == 0).into(),
            2 => (self.below(100_000) as i64 - 50_000).into(),
            3 => json!(self.below(1_000) as f64 / 7.0),
            4 => self.text(20).into(),
            5 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => self.object(depth - 1),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        Value::Object((0..self.below(5)).map(|_| (self.text(8), self.value(depth))).collect())
    }

    /// Cuts bytes into pieces of random lengths.
    fn cut<'a>(&mut self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let longest = 1 + self.below(bytes.len().max(1));
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + self.below(longest)).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

#[test]
fn the_splitter_finds_the_objects_that_serde_json_finds() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let (mut stream, mut plain) = (String::new(), String::new());
        for _ in 0..1 + random.below(12) {
            let object = random.object(4);
            let pretty = random.below(2) == 0;
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
            let text = text.unwrap();
            // serde_json knows neither byte order marks nor NULs.
            let space = ["", "\n", " \r\n\t", "\n\n", "\0", "\u{FEFF}", "\0\n\u{FEFF}\u{FEFF} "][random.below(7)];
            stream.extend([space, &text]);
            plain.extend(["\n", &text]);
        }
        let expected: Vec<Value> =
            serde_json::Deserializer::from_str(&plain).into_iter().collect::<Result<_, _>>().unwrap();
        let mut raw = JsonEnvelopeStreamSplitter::default();
        let mut found = Vec::new();
        for mut chunk in random.cut(stream.as_bytes()) {
            loop {
                match raw.next(&mut chunk, 1 << 20) {
                    JsonEnvelopeStreamItem::More => break,
                    JsonEnvelopeStreamItem::Envelope(text) => {
                        found.push(serde_json::from_slice::<Value>(text).unwrap())
                    }
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
        assert_eq!(found, expected, "seed {seed}");
        assert!(raw.is_between_envelopes(), "seed {seed}");
    }
}

/// An envelope on a line of its own is found in the end, behind any bytes; and no cut changes the
/// result.
#[test]
fn after_any_garbage_a_healthy_line_is_heard() {
    let healthy: &[u8] = b"\n{\"TYPE\":\"0\",\"MID\":\"healthy\"}\n{\"TYPE\":\"0\",\"MID\":\"healthy\"}\n";
    for seed in 0..4 * SEEDS {
        let mut random = Random::new(seed);
        let mut stream = random.object(3).to_string().into_bytes();
        for _ in 0..1 + random.below(6) {
            let place = random.below(stream.len());
            match random.below(3) {
                0 => stream[place] = random.below(256) as u8,
                1 => drop(stream.remove(place)),
                _ => stream.insert(place, b"{}[]\",:\\\n x0\0\xef\xbb\xbf"[random.below(16)]),
            }
            if stream.is_empty() {
                stream.push(b'{');
            }
        }
        stream.extend_from_slice(healthy);
        let whole = items(&[&stream]);
        let pieces = random.cut(&stream);
        assert_eq!(items(&pieces), whole, "seed {seed}: {}", String::from_utf8_lossy(&stream));
        let heard = whole.iter().any(|item| item.contains("healthy"));
        assert!(heard, "seed {seed}: {} in {}", whole.join(" | "), String::from_utf8_lossy(&stream));
    }
}

fn items(chunks: &[&[u8]]) -> Vec<String> {
    let mut raw = JsonEnvelopeStreamSplitter::default();
    let mut found = Vec::new();
    for chunk in chunks {
        let mut chunk = *chunk;
        loop {
            match raw.next(&mut chunk, 1 << 20) {
                JsonEnvelopeStreamItem::More => break,
                JsonEnvelopeStreamItem::Envelope(text) => found.push(String::from_utf8_lossy(text).into_owned()),
                other => found.push(format!("{other:?}")),
            }
        }
    }
    found
}

#[test]
fn both_forms_of_a_message_are_read_alike_and_as_serde_json_reads_them() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let mut words = json!({"messageId": format!("m{}", random.text(20)), "sender": "ann", "receiver": "鸿雁",
            "content": random.text(200), "unknown": random.value(3)});
        words["more"] = random.text(5).into();
        for content in [words.clone(), words.to_string().into()] {
            let envelope = json!({"TYPE": 4, "CONTENT": content, "x": random.value(2)}).to_string();
            let mut scratch = UnescapedContentBuffer::default();
            let Ok(ClientRequest::Message { id, sender, receiver, content, .. }) =
                parse(envelope.as_bytes(), &mut scratch)
            else {
                panic!("seed {seed}: {envelope}");
            };
            assert_eq!(
                (id.as_str(), sender.as_str(), receiver.as_str(), &*content),
                (words["messageId"].as_str().unwrap(), "ann", "鸿雁", words["content"].as_str().unwrap()),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn no_mutation_of_an_envelope_makes_it_panic() {
    let start = json!({"MID": "m", "TYPE": "6", "CONTENT":
        json!({"messageId": "\u{1}m", "sender": "ann", "receiver": "bob", "content": "🪿\"\\", "type": "1"}).to_string()})
    .to_string();
    for seed in 0..20 * SEEDS {
        let mut random = Random::new(seed);
        let mut bytes = start.clone().into_bytes();
        for _ in 0..1 + random.below(4) {
            let place = random.below(bytes.len());
            bytes[place] = b"{}[]\",:\\u0dD8x\xff\x00"[random.below(16)];
        }
        let mut scratch = UnescapedContentBuffer::default();
        // Read or refused; an input that serde_json reads as an object is never called no JSON
        // object, surrogates aside.
        let result = parse(&bytes, &mut scratch);
        if let (Err(bad), Ok(Value::Object(_))) = (&result, serde_json::from_slice::<Value>(&bytes)) {
            assert!(
                bad.request_type.is_some() || bad.explanation != "an envelope must be one JSON object",
                "seed {seed}: {bad:?}"
            );
        }
    }
}

/// A stream whose two directions are buffers.
#[derive(Default)]
struct Wire {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn length(random: &mut Random) -> usize {
    [0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000][random.below(9)]
}

#[test]
fn frames_of_tungstenite_are_read_however_they_are_cut() {
    for seed in 0..SEEDS / 4 {
        let mut random = Random::new(seed);
        let mut client = WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
        let mut expected = Vec::new();
        for _ in 0..1 + random.below(10) {
            let message = match random.below(4) {
                0 => Message::Ping(Bytes::from(random.text(30).into_bytes())),
                1 => Message::Pong(Bytes::from(random.text(30).into_bytes())),
                _ => {
                    let most = length(&mut random);
                    Message::text(random.text(most.min(20_000)))
                }
            };
            expected.push(message.clone());
            client.send(message).unwrap();
        }
        let bytes = std::mem::take(&mut client.get_mut().output);
        let mut input = WsServerDecoder::default();
        let mut found = Vec::new();
        for piece in random.cut(&bytes) {
            let mut piece = piece.to_vec();
            let mut chunk = &mut piece[..];
            loop {
                found.push(match input.next(&mut chunk, 1 << 20) {
                    WsItem::More => break,
                    WsItem::Text(text) => Message::text(text),
                    WsItem::Ping(payload) => Message::Ping(Bytes::copy_from_slice(payload)),
                    // Pongs are not told apart: nobody asks what they hold.
                    WsItem::Pong => Message::Pong(Bytes::new()),
                    other => panic!("seed {seed}: {other:?}"),
                });
            }
        }
        for message in &mut expected {
            if let Message::Pong(payload) = message {
                *payload = Bytes::new();
            }
        }
        assert_eq!(found, expected, "seed {seed}");
        assert!(input.is_between_messages());
    }
}

#[test]
fn tungstenite_reads_our_frames() {
    for seed in 0..SEEDS / 4 {
        let mut random = Random::new(seed);
        let mut out = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..1 + random.below(8) {
            let text = "x".repeat(length(&mut random));
            let start = begin_text(&mut out);
            out.extend_from_slice(text.as_bytes());
            end_text(&mut out, start);
            expected.push(Message::text(text));
        }
        let wire = Wire { input: Cursor::new(out), output: Vec::new() };
        let mut client = WebSocket::from_raw_socket(wire, Role::Client, Some(WebSocketConfig::default()));
        let found: Vec<Message> = expected.iter().map(|_| client.read().unwrap()).collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn random_bytes_never_make_the_frame_reader_panic() {
    for seed in 0..10 * SEEDS {
        let mut random = Random::new(seed);
        let mut bytes: Vec<u8> = (0..random.below(60)).map(|_| random.below(256) as u8).collect();
        // Mostly masked text and control frames, so that it gets past the first byte.
        if bytes.len() > 1 && random.below(4) > 0 {
            bytes[0] = [0x81, 0x01, 0x80, 0x00, 0x89, 0x8a, 0x88][random.below(7)];
            bytes[1] |= 0x80;
        }
        let mut input = WsServerDecoder::default();
        let mut rest = &mut bytes[..];
        loop {
            match input.next(&mut rest, 1_000) {
                WsItem::More | WsItem::Error(_) | WsItem::TooLarge | WsItem::Close(_) => break,
                _ => {}
            }
        }
    }
}
