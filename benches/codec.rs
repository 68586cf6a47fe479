//! Bytes in and bytes out: `cargo bench --bench codec`.
#![allow(missing_docs, clippy::expect_used, reason = "a program of its own")]

mod in_core;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hongyan::protocol::encode_fast::write_push;
use hongyan::protocol::envelope::{UnescapedContentBuffer, parse};
use hongyan::protocol::field::{MessageId, UserNameRef};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::protocol::reply::{Reply, write_reply};
use hongyan::protocol::request::ContentAsStringOrObject;
use hongyan::protocol::split::{JsonEnvelopeStreamItem, JsonEnvelopeStreamSplitter};
use hongyan::protocol::ws::{WsItem, WsServerDecoder, begin_text, end_text};
use std::hint::black_box;

const FRAME_BYTES_MAX: usize = 64 * 1024;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Plain text, and text of which each tenth character has to be escaped.
const TEXTS: [(&str, &str); 3] =
    [("100 B", "xxxxxxxxxx"), ("1000 B", "xxxxxxxxxx"), ("100 B, a tenth escaped", "xxxxxxxxx\"")];

fn texts() -> impl Iterator<Item = (&'static str, String)> {
    TEXTS.into_iter().map(|(name, ten)| (name, ten.repeat(if name.starts_with("1000") { 100 } else { 10 })))
}

/// The message in the string form: its text is escaped twice.
fn envelope(text: &str) -> String {
    in_core::message(1, 1, 2, &text.replace('"', r#"\\\""#))
}

fn push(text: &str) -> Push {
    let name = |number| in_core::name(number);
    let (id, from, to) = (MessageId::new("0000000001"), UserNameRef::new(name(1)), UserNameRef::new(name(2)));
    let (id, from, to) = (id.expect("an id"), from.expect("a name"), to.expect("a name"));
    Push::new(1, 1_652_804_254_778, PushKind::Message, &id, &from, &to, text)
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for (name, text) in texts() {
        let envelope = envelope(&text);
        let line = format!("{envelope}\n");
        group.throughput(Throughput::Bytes(line.len() as u64));
        let mut input = JsonEnvelopeStreamSplitter::default();
        group.bench_function(BenchmarkId::new("split", name), |bench| {
            bench.iter(|| {
                let mut chunk = black_box(line.as_bytes());
                let found = matches!(input.next(&mut chunk, FRAME_BYTES_MAX), JsonEnvelopeStreamItem::Envelope(_));
                assert!(found && matches!(input.next(&mut chunk, FRAME_BYTES_MAX), JsonEnvelopeStreamItem::More));
            });
        });
        let mut scratch = UnescapedContentBuffer::default();
        group.bench_function(BenchmarkId::new("parse message", name), |bench| {
            bench.iter(|| assert!(black_box(parse(black_box(envelope.as_bytes()), &mut scratch)).is_ok()));
        });
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&(envelope.len() as u16).to_be_bytes());
        frame.extend_from_slice(&MASK);
        frame.extend(envelope.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        let (mut input, mut buffer) = (WsServerDecoder::default(), frame.clone());
        group.bench_function(BenchmarkId::new("WebSocket frame in", name), |bench| {
            bench.iter(|| {
                // It is un-masked in place.
                buffer.copy_from_slice(&frame);
                let mut chunk = black_box(buffer.as_mut_slice());
                assert!(matches!(input.next(&mut chunk, FRAME_BYTES_MAX), WsItem::Text(_)));
            });
        });
    }
    let ack = in_core::ack(1);
    group.throughput(Throughput::Bytes(ack.len() as u64));
    let mut scratch = UnescapedContentBuffer::default();
    group.bench_function("parse ack", |bench| {
        bench.iter(|| assert!(black_box(parse(black_box(ack.as_bytes()), &mut scratch)).is_ok()));
    });
    group.finish();
}

fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let mut out = Vec::with_capacity(FRAME_BYTES_MAX);
    for (name, text) in texts() {
        let push = push(&text);
        for (form, word) in [(ContentAsStringOrObject::Text, "string"), (ContentAsStringOrObject::Object, "object")] {
            out.clear();
            write_push(&mut out, form, &push);
            group.throughput(Throughput::Bytes(out.len() as u64));
            group.bench_function(BenchmarkId::new(format!("write push, {word} form"), name), |bench| {
                bench.iter(|| {
                    out.clear();
                    write_push(&mut out, form, black_box(&push));
                });
            });
        }
        let envelope = envelope(&text);
        group.throughput(Throughput::Bytes(envelope.len() as u64));
        group.bench_function(BenchmarkId::new("WebSocket frame out", name), |bench| {
            bench.iter(|| {
                out.clear();
                let start = begin_text(&mut out);
                out.extend_from_slice(black_box(envelope.as_bytes()));
                end_text(&mut out, start);
            });
        });
    }
    out.clear();
    let taken = Reply::Message { is_durable: true };
    write_reply(&mut out, ContentAsStringOrObject::Text, "0000000001", &taken);
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function("write MS", |bench| {
        bench.iter(|| {
            out.clear();
            write_reply(&mut out, ContentAsStringOrObject::Text, black_box("0000000001"), &taken);
        });
    });
    group.finish();
}

criterion_group!(benches, read, write);
criterion_main!(benches);
