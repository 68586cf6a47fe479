//! The thread that receives from one instance.

use super::codec::DecodedBusMessage;
use super::connection::{BusConnection, RedisInstanceError, unexpected_answer};
use super::figures::BusFrameLossCause;
use super::redis_instance::{BEAT_EVERY, BusConnectionKind, BusReconnectPause, RedisInstances};
use redis::Value;
use std::time::{Duration, Instant};

/// The time-out of one read. After each read the thread checks whether beats still arrive.
const READ_WAITS: Duration = Duration::from_millis(250);

/// Runs until the bus ends.
pub(super) fn run(shared: &RedisInstances, at: usize) {
    let instance = &shared.instances[at];
    let mut pause = BusReconnectPause::new();
    while !instance.queue.is_closed() {
        let mut has_worked = false;
        let fault = match shared.open(at, BusConnectionKind::In) {
            Ok(connection) => listen(shared, at, connection, &mut has_worked),
            Err(fault) => Err(fault),
        };
        let Err(fault) = fault else { return };
        shared.note_failure(at, BusConnectionKind::In, &fault);
        if !instance.queue.pause(pause.next(has_worked)) {
            return;
        }
    }
}

/// Takes messages until the connection fails or the bus ends.
fn listen(
    shared: &RedisInstances,
    at: usize,
    mut connection: BusConnection,
    has_worked: &mut bool,
) -> Result<(), RedisInstanceError> {
    let instance = &shared.instances[at];
    connection.send(redis::cmd("SUBSCRIBE").arg(shared.channel(shared.codec.own_incarnation().node)))?;
    match connection.answer(shared.timeout)? {
        Value::Array(said) if is_word(said.first(), b"subscribe") => {}
        other => return Err(unexpected_answer(&other)),
    }
    connection.set_read_timeout(READ_WAITS.min(shared.timeout))?;
    instance.queue.ask_for_beat();
    let mut last_beat_at = Instant::now();
    while !instance.queue.is_closed() {
        if let Some(value) = connection.try_answer()?
            && take(shared, at, value)?
        {
            last_beat_at = Instant::now();
            *has_worked = true;
        }
        if last_beat_at.elapsed() > BEAT_EVERY + shared.timeout {
            return Err(RedisInstanceError("this node does not hear itself over it".to_owned()));
        }
    }
    Ok(())
}

fn is_word(value: Option<&Value>, word: &[u8]) -> bool {
    matches!(value, Some(Value::BulkString(bytes)) if bytes == word)
}

/// Takes one message. Returns `true` if it was a beat.
fn take(shared: &RedisInstances, at: usize, value: Value) -> Result<bool, RedisInstanceError> {
    let said = match value {
        Value::Array(said) if is_word(said.first(), b"message") => said,
        other => return Err(unexpected_answer(&other)),
    };
    let Ok([_, _, Value::BulkString(bytes)]) = <[Value; 3]>::try_from(said) else {
        return Err(unexpected_answer(&Value::Nil));
    };
    match shared.codec.read(&bytes) {
        Ok(DecodedBusMessage::Beat(number)) => {
            shared.beat_received(at, number);
            return Ok(true);
        }
        Ok(DecodedBusMessage::Frame { from, frame }) => {
            shared.instances[at].received.add(bytes.len());
            if !shared.received_frames.push(from, frame, bytes.len()) {
                shared.losses.add(BusFrameLossCause::LoopBusy, 1);
            }
        }
        Err(why) => shared.losses.add(BusFrameLossCause::Undecoded(why), 1),
    }
    Ok(false)
}
