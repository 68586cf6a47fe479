//! Mistakes of the bus between nodes.

use super::table::{Mutation, of};

pub(crate) const MUTATIONS: &[Mutation] = &[
    of(
        "a frame is taken whatever its MAC is",
        "src/bus/codec.rs",
        ".verify_slice(mac).map_err(|_| BusMessageRejectCause::Mac)?;",
        ".verify_slice(mac).unwrap_or(());",
    ),
    of(
        "a frame for an earlier life of a node is taken",
        "src/bus/codec.rs",
        "if to != self.own_incarnation || (",
        "if to.node != self.own_incarnation.node || (",
    ),
    of(
        "a frame of an unknown version is read",
        "src/bus/codec.rs",
        "if !self.versions.contains(&version) {",
        "if version == 0 {",
    ),
    of(
        "bytes behind a record are not looked at",
        "src/bus/codec.rs",
        "        self.0.is_empty().then_some(record)\n",
        "        Some(record)\n",
    ),
    of(
        "the bytes that wait for an instance are not bounded",
        "src/bus/queue.rs",
        " || bytes > self.bounds.bytes_max {",
        " {",
    ),
    of(
        "the frames that wait for the loop are not bounded",
        "src/bus/received_frames.rs",
        "waiting.frames.len() >= self.bounds.frames_max || ",
        "",
    ),
    of(
        "the loop is not woken for what is left",
        "src/bus/received_frames.rs",
        "let is_more = !waiting.frames.is_empty();",
        "let is_more = false;",
    ),
    of(
        "a node does not miss its own beat",
        "src/bus/subscriber.rs",
        "if last_beat_at.elapsed() > BEAT_EVERY + shared.timeout {",
        "if last_beat_at.elapsed() > BEAT_EVERY * 3_600 {",
    ),
    of(
        "a frame that nobody hears is not published on the next instance",
        "src/bus/publisher.rs",
        "            try_next_instance(shared, at, frame);",
        "            try_next_instance(shared, shared.instances.len() - 1, frame);",
    ),
    of("an answer may have any length", "src/bus/connection.rs", "        self.remaining -= count;\n", ""),
];
