//! The thread that publishes on one instance.

use super::connection::{BusConnection, RedisInstanceError, unexpected_answer};
use super::figures::BusFrameLossCause;
use super::queue::{BusQueueResult, OutgoingBusFrame, PublishBatch};
use super::redis_instance::{BEAT_EVERY, BusConnectionKind, BusReconnectPause, RedisInstances};
use crate::chat::contract::NodeId;
use redis::Value;
use std::time::Instant;

/// Runs until the bus ends.
pub(super) fn run(shared: &RedisInstances, at: usize) {
    let instance = &shared.instances[at];
    let mut pause = BusReconnectPause::new();
    while !instance.queue.is_closed() {
        let mut has_worked = false;
        let fault = match shared.open(at, BusConnectionKind::Out) {
            Ok(connection) => publish(shared, at, connection, &mut has_worked),
            Err(fault) => Err(fault),
        };
        let Err(fault) = fault else { return };
        shared.note_failure(at, BusConnectionKind::Out, &fault);
        if !instance.queue.pause(pause.next(has_worked)) {
            return;
        }
    }
}

/// Publishes frames until the connection fails or the bus ends.
fn publish(
    shared: &RedisInstances,
    at: usize,
    mut connection: BusConnection,
    has_worked: &mut bool,
) -> Result<(), RedisInstanceError> {
    let instance = &shared.instances[at];
    let mut next_beat = Instant::now();
    let mut commands = Vec::new();
    while let Some(PublishBatch { mut frames, beat }) = instance.queue.take(next_beat) {
        *has_worked |= instance.is_up();
        commands.clear();
        let beats = beat || Instant::now() >= next_beat;
        if beats {
            next_beat = Instant::now() + BEAT_EVERY;
            let mut bytes = shared.codec.write_beat(shared.now_us());
            shared.codec.seal(&mut bytes);
            write(shared, shared.codec.own_incarnation().node, &bytes, &mut commands);
        }
        for frame in &mut frames {
            if !std::mem::replace(&mut frame.is_sealed, true) {
                shared.codec.seal(&mut frame.bytes);
            }
            write(shared, frame.to, &frame.bytes, &mut commands);
        }
        if commands.is_empty() {
            continue;
        }
        let sent = send(shared, at, &mut connection, &commands, beats, &mut frames);
        if let Err(fault) = sent {
            shared.losses.add(BusFrameLossCause::Failed, frames.len());
            return Err(fault);
        }
    }
    Ok(())
}

fn write(shared: &RedisInstances, to: NodeId, bytes: &[u8], commands: &mut Vec<u8>) {
    redis::cmd("PUBLISH").arg(shared.channel(to)).arg(bytes).write_packed_command(commands);
}

/// Sends the commands and waits for their answers. Removes the answered frames from `frames`.
fn send(
    shared: &RedisInstances,
    at: usize,
    connection: &mut BusConnection,
    commands: &[u8],
    beats: bool,
    frames: &mut Vec<OutgoingBusFrame>,
) -> Result<(), RedisInstanceError> {
    connection.send_bytes(commands)?;
    // If a beat reaches no subscriber, this node's subscriber misses it.
    if beats {
        subscribers(&connection.answer(shared.timeout)?)?;
    }
    frames.reverse();
    while !frames.is_empty() {
        let receiver_count = subscribers(&connection.answer(shared.timeout)?)?;
        let Some(frame) = frames.pop() else { break };
        if receiver_count == 0 {
            try_next_instance(shared, at, frame);
        } else {
            shared.instances[at].sent.add(frame.bytes.len());
        }
    }
    Ok(())
}

/// The number of subscribers of the channel.
fn subscribers(answer: &Value) -> Result<i64, RedisInstanceError> {
    match answer {
        Value::Int(count) => Ok(*count),
        other => Err(unexpected_answer(other)),
    }
}

/// The receiver has no connection to this instance. It may have one to another.
fn try_next_instance(shared: &RedisInstances, at: usize, mut frame: OutgoingBusFrame) {
    for other in &shared.instances[at + 1..] {
        match other.queue.push(frame) {
            BusQueueResult::Taken => return,
            BusQueueResult::Full => return shared.losses.add(BusFrameLossCause::Queue, 1),
            BusQueueResult::Closed(back) => frame = back,
        }
    }
    shared.losses.add(BusFrameLossCause::Nobody, 1);
}
