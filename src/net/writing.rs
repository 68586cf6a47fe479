//! Writing: frames → the output of a connection → its socket, and the handling of clients that do
//! not read.

use super::conn::{Conn, InputWaitReasons, OUTPUT_SOFT_MAX, REPLIES_SOFT_MAX};
use super::counters::CloseCause;
use super::hub::ConnectionHub;
use super::output::SocketWriteResult;
use super::socket::NonblockingStream;
use super::state::{ConnectionListFlags, ConnectionWriteState};
use super::turn_work::PREFETCHED_AT_ONCE;
use crate::chat::contract::{ConnId, CoreInput};

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Appends two frames to a connection's output, before anything of it is written.
    #[inline(never)]
    pub(super) fn write_two_frames(
        &mut self,
        id: ConnId,
        first: impl FnOnce(&mut Vec<u8>),
        second: impl FnOnce(&mut Vec<u8>),
    ) {
        if let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) {
            let before = conn.output.len();
            conn.framing.wrap(conn.output.tail(&mut self.buffers.spare), first);
            conn.output.note_reply(before);
            conn.output.count(&mut self.buffers.spare);
            self.counters.frames += 1;
        }
        self.write(id, true, second);
    }

    /// Appends one frame to a connection's output.
    pub(super) fn write(&mut self, id: ConnId, is_reply: bool, frame: impl FnOnce(&mut Vec<u8>)) {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) else { return };
        let before = conn.output.len();
        conn.framing.wrap(conn.output.tail(&mut self.buffers.spare), frame);
        if is_reply {
            conn.output.note_reply(before);
        }
        conn.output.count(&mut self.buffers.spare);
        self.counters.frames += 1;
        let large =
            conn.output.len() > if conn.had_login { REPLIES_SOFT_MAX } else { self.bounds.stranger_output_bytes_max };
        self.work.mark_dirty(id, &mut conn.lists);
        if large {
            self.limit_output(id);
            self.check_stranger_output(id);
        }
    }

    /// Writes a connection's output before the end of the turn if it has become large; pauses the
    /// connection's requests if the output cannot be written; and closes the connection if the
    /// output exceeds its limit nevertheless.
    #[inline(never)]
    pub(super) fn limit_output(&mut self, id: ConnId) {
        let is_large =
            |conn: &&mut Conn<S>| conn.output.len() > OUTPUT_SOFT_MAX || conn.output.replies() > REPLIES_SOFT_MAX;
        let Some(conn) = self.conns.get_mut(id).filter(is_large) else { return };
        // If it is blocked, another try before the edge would cost a system call for each frame and
        // would not help.
        let blocked = conn.write == ConnectionWriteState::Blocked;
        let flushed = if blocked { Ok(SocketWriteResult::Blocked) } else { conn.flush(&mut self.buffers) };
        match flushed {
            Ok(SocketWriteResult::All) => {}
            Ok(SocketWriteResult::Blocked) => {
                if conn.output.replies() > REPLIES_SOFT_MAX {
                    conn.input_waits.set(InputWaitReasons::CHOKED, true);
                }
                if conn.output.replies() > OUTPUT_SOFT_MAX {
                    conn.input_waits.set(InputWaitReasons::SHUT, true);
                }
                if conn.output.len() > self.bounds.output_bytes_max {
                    self.work.fail(id, CloseCause::SlowReader);
                }
            }
            Err(_) => self.work.fail(id, CloseCause::IoError),
        }
    }

    /// Lets its input continue as soon as enough answers are written.
    fn release_input(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id).filter(|conn| conn.input_waits != InputWaitReasons::default()) else {
            return;
        };
        let replies = conn.output.replies();
        if replies <= REPLIES_SOFT_MAX {
            self.set_wait_reason(id, InputWaitReasons::SHUT, false);
        }
        if replies <= REPLIES_SOFT_MAX / 2 {
            self.set_wait_reason(id, InputWaitReasons::CHOKED, false);
        }
        self.queue_reader(id);
    }

    pub(super) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            self.work.mark_dirty(id, &mut conn.lists);
        }
    }

    /// Writes every dirty connection once.
    pub(super) fn flush_dirty(&mut self) {
        self.close_failed();
        let mut at = 0;
        // The core's actions after `Blocked` and `Flushed` can make more connections dirty: the
        // list may grow during the loop.
        while let Some(&id) = self.work.dirty_from(at).first() {
            if at % PREFETCHED_AT_ONCE == 0 {
                self.prefetch_output(at);
            }
            at += 1;
            self.flush(id);
        }
        self.work.clear_dirty();
        self.close_failed();
    }

    /// Like `prefetch`, for the outputs that are written next.
    fn prefetch_output(&self, at: usize) {
        let next = self.work.dirty_from(at).iter().take(PREFETCHED_AT_ONCE);
        let seen = next.map(|&id| self.conns.get(id).map_or(0, |conn| conn.output.prefetch()));
        std::hint::black_box(seen.fold(0, u8::wrapping_add));
    }

    fn flush(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.lists.leave(ConnectionListFlags::TO_WRITE);
        if !conn.is_open() {
            self.work.queue_closing(id);
            return;
        }
        let waited = conn.unwritten();
        let flushed = conn.flush(&mut self.buffers);
        if conn.tls.is_some() {
            conn.count_input(&mut self.memory.input_bytes);
        }
        match flushed {
            Ok(SocketWriteResult::All) => {
                if conn.write.end_blocked() {
                    self.deadlines.end_blocked(id);
                    self.dispatch(CoreInput::Flushed { conn: id });
                }
            }
            Ok(SocketWriteResult::Blocked) => {
                let took_some = conn.unwritten() < waited;
                if conn.write.begin_blocked() {
                    self.begin_blocked(id);
                } else if took_some {
                    self.note_output_taken(id);
                }
            }
            Err(_) => self.work.fail(id, CloseCause::IoError),
        }
        self.release_input(id);
    }

    #[inline(never)]
    fn begin_blocked(&mut self, id: ConnId) {
        let now_ms = self.clock.now_ms();
        self.deadlines.begin_blocked(now_ms, id);
        if let Some(conn) = self.conns.get_mut(id)
            && conn.lists.enter(ConnectionListFlags::WATCHED)
        {
            self.deadlines.watch(now_ms, id);
        }
        self.dispatch(CoreInput::Blocked { conn: id });
    }

    /// The client took some of its waiting output.
    #[inline(never)]
    fn note_output_taken(&mut self, id: ConnId) {
        if self.deadlines.note_output_taken(self.clock.now_ms(), id) {
            self.dispatch(CoreInput::Drained { conn: id });
        }
    }
}
