//! The output of one connection that waits to be written.

use crate::protocol::ws;
use std::io::{self, ErrorKind, Write};

/// Bytes to be written, of which the first `offset` are written already.
#[derive(Debug, Default)]
struct ConnectionOutputBuffer {
    bytes: Vec<u8>,
    offset: usize,
    /// A lower bound on the waiting bytes that are answers to the client's own requests: it assumes
    /// that answers are written before pushes. So pushes alone do not pause requests.
    replies: usize,
    /// The number of bytes at the front that are the rest of a frame whose beginning is not in
    /// memory any more.
    partial_frame_bytes: usize,
    /// Its capacity at the last count, in bytes.
    counted_capacity: usize,
}

/// The length of the frame at the beginning of these bytes. A frame of any kind gives its own
/// length, so a buffer need not know what its connection speaks.
fn frame_length(bytes: &[u8]) -> usize {
    const HEAD_END: &[u8] = b"\r\n\r\n";
    let length = match bytes.first() {
        Some(0x80..) => ws::written_frame_length(bytes),
        // The answer to a handshake.
        Some(b'H') => memchr::memmem::find(bytes, HEAD_END).map(|place| place + HEAD_END.len()),
        _ => memchr::memchr(b'\n', bytes).map(|place| place + 1),
    };
    length.unwrap_or(bytes.len()).clamp(1, bytes.len().max(1))
}

impl ConnectionOutputBuffer {
    /// The number of waiting bytes that belong to a partly written frame.
    fn partial_frame_waiting(&self) -> usize {
        let mut boundary = self.partial_frame_bytes;
        while boundary < self.offset {
            boundary += frame_length(&self.bytes[boundary..]);
        }
        boundary.min(self.bytes.len()) - self.offset
    }

    /// Moves the waiting bytes to the front.
    fn compact(&mut self) {
        self.partial_frame_bytes = self.partial_frame_waiting();
        self.bytes.drain(..self.offset);
        self.offset = 0;
    }

    /// Keeps the rest of a partly written frame, the last frame, and as many frames before that one
    /// as fit into `bytes_max`.
    fn keep_last_frames(&mut self, bytes_max: usize) {
        self.compact();
        let first = self.partial_frame_bytes;
        let mut kept = first;
        let mut at = first;
        while at < self.bytes.len() {
            if self.bytes.len() - kept > bytes_max {
                kept = at;
            }
            at += frame_length(&self.bytes[at..]);
        }
        self.bytes.drain(first..kept);
        self.bytes.shrink_to_fit();
    }
}

/// Empty buffers, kept for the next connection with output, so that a busy server does not allocate
/// for each answer and an idle connection owns no buffer.
#[derive(Debug, Default)]
pub struct SpareBuffers {
    #[allow(clippy::vec_box, reason = "a connection owns a pointer, and the buffer moves between it and here")]
    buffers: Vec<Box<ConnectionOutputBuffer>>,
    /// The sum of their capacities.
    bytes: usize,
    /// The total capacity of the buffers that connections have.
    lent_capacity: usize,
    /// The number of bytes written so far.
    written: u64,
}

impl SpareBuffers {
    /// The largest number of kept buffers: one for each connection with output in one turn of a
    /// busy loop.
    const BUFFERS_MAX: usize = 2_048;
    /// The largest total capacity of kept buffers, in bytes. A small buffer is enough for a
    /// message, and many buffers are needed.
    const TOTAL_BYTES_MAX: usize = 384 * 1024;
    /// A buffer with a larger capacity than this is freed.
    const BYTES_MAX: usize = 32 * 1024;

    /// The memory of all output buffers, used or kept, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.lent_capacity + self.bytes
    }

    /// The number of bytes written since the start.
    #[must_use]
    pub(super) fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Updates the count of a connection's buffer.
    fn count(&mut self, buffer: &mut ConnectionOutputBuffer) {
        let capacity = buffer.bytes.capacity();
        self.lent_capacity = self.lent_capacity - buffer.counted_capacity + capacity;
        buffer.counted_capacity = capacity;
    }

    fn take(&mut self) -> Box<ConnectionOutputBuffer> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.bytes.capacity();
        buffer
    }

    fn put(&mut self, mut buffer: Box<ConnectionOutputBuffer>) {
        self.lent_capacity -= std::mem::take(&mut buffer.counted_capacity);
        let bytes = buffer.bytes.capacity();
        if self.buffers.len() < Self::BUFFERS_MAX
            && bytes <= Self::BYTES_MAX
            && self.bytes + bytes <= Self::TOTAL_BYTES_MAX
        {
            buffer.bytes.clear();
            (buffer.offset, buffer.partial_frame_bytes, buffer.replies) = (0, 0, 0);
            self.bytes += bytes;
            self.buffers.push(buffer);
        }
    }
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketWriteResult {
    /// Everything is written.
    All,
    /// The socket takes no more for now.
    Blocked,
}

/// Bytes that wait to be written. Empty output is a null pointer.
#[derive(Debug, Default)]
pub struct PendingOutput(Option<Box<ConnectionOutputBuffer>>);

impl PendingOutput {
    /// When less than a large buffer's capacity divided by this is left, the rest is moved to a
    /// small buffer.
    const SHRINK_BELOW: usize = 4;
    /// A buffer up to this capacity, in bytes, is not replaced.
    const SHRINK_ABOVE: usize = 64 * 1024;

    /// The number of waiting bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |buffer| buffer.bytes.len() - buffer.offset)
    }

    /// The number of waiting bytes that are answers to the client's own requests.
    #[must_use]
    pub fn replies(&self) -> usize {
        self.0.as_ref().map_or(0, |buffer| buffer.replies)
    }

    /// Notes that all bytes after the first `before` are such an answer.
    pub fn note_reply(&mut self, before: usize) {
        if let Some(buffer) = &mut self.0 {
            buffer.replies += (buffer.bytes.len() - buffer.offset).saturating_sub(before);
        }
    }

    /// Reads its first byte, so that it is in the cache.
    pub(super) fn prefetch(&self) -> u8 {
        self.0.as_ref().and_then(|buffer| buffer.bytes.first().copied()).unwrap_or_default()
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has it no buffer either?
    #[cfg(test)]
    pub(super) fn has_no_buffer(&self) -> bool {
        self.0.is_none()
    }

    /// The buffer, to append to.
    pub fn tail(&mut self, spare: &mut SpareBuffers) -> &mut Vec<u8> {
        let buffer = self.0.get_or_insert_with(|| spare.take());
        if buffer.offset > buffer.bytes.len() / 2 {
            // More than half is written: moving the rest costs less than the writes since the last
            // move.
            buffer.compact();
        }
        &mut buffer.bytes
    }

    /// The memory that it uses.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |buffer| buffer.bytes.capacity())
    }

    /// Updates the count of its memory, after bytes were appended.
    pub fn count(&mut self, spare: &mut SpareBuffers) {
        if let Some(buffer) = &mut self.0 {
            spare.count(buffer);
        }
    }

    /// Drops the waiting output except the rest of a partly written frame and the last frames, up
    /// to `bytes_max` (but at least one frame): the rest is useless for a client that is closed and
    /// does not read.
    pub fn keep_last_frames(&mut self, bytes_max: usize, spare: &mut SpareBuffers) {
        if let Some(buffer) = &mut self.0 {
            buffer.keep_last_frames(bytes_max);
            spare.count(buffer);
        }
    }

    /// Writes until everything is written or the socket takes no more. When it is empty, it gives
    /// its buffer back.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, socket: &mut impl Write, spare: &mut SpareBuffers) -> io::Result<SocketWriteResult> {
        if let Some(buffer) = &mut self.0 {
            while buffer.offset < buffer.bytes.len() {
                match socket.write(&buffer.bytes[buffer.offset..]) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        buffer.offset += count;
                        spare.written += count as u64;
                        buffer.replies = buffer.replies.saturating_sub(count);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        let (capacity, waits) = (buffer.bytes.capacity(), buffer.bytes.len() - buffer.offset);
                        if capacity > Self::SHRINK_ABOVE && waits < capacity / Self::SHRINK_BELOW {
                            buffer.compact();
                            buffer.bytes.shrink_to(2 * waits);
                        }
                        spare.count(buffer);
                        return Ok(SocketWriteResult::Blocked);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.clear(spare);
        Ok(SocketWriteResult::All)
    }

    /// Removes the waiting output.
    pub fn clear(&mut self, spare: &mut SpareBuffers) {
        if let Some(buffer) = self.0.take() {
            spare.put(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what `room` says, then blocks.
    struct NarrowWriter {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for NarrowWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.room).min(3);
            self.room -= count;
            self.got.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_come_out_once_and_in_order_however_the_socket_tears_them() {
        let (mut spare, mut output) = (SpareBuffers::default(), PendingOutput::default());
        let mut socket = NarrowWriter { room: 0, got: Vec::new() };
        let mut expected = Vec::new();
        for round in 0..200_usize {
            let piece: Vec<u8> = (0..round % 17).map(|n| (round + n) as u8).collect();
            output.tail(&mut spare).extend_from_slice(&piece);
            expected.extend_from_slice(&piece);
            socket.room = round % 11;
            let written = output.flush(&mut socket, &mut spare).unwrap();
            assert_eq!(written == SocketWriteResult::All, output.is_empty());
            assert_eq!(socket.got.len() + output.len(), expected.len());
        }
        socket.room = usize::MAX;
        assert_eq!(output.flush(&mut socket, &mut spare).unwrap(), SocketWriteResult::All);
        assert_eq!(socket.got, expected);
    }

    #[test]
    fn emptied_it_owns_nothing_and_large_buffers_are_not_kept() {
        let (mut spare, mut output) = (SpareBuffers::default(), PendingOutput::default());
        for size in [10, SpareBuffers::BYTES_MAX * 2] {
            output.tail(&mut spare).extend_from_slice(&vec![b'x'; size]);
            output.flush(&mut io::sink(), &mut spare).unwrap();
            assert!(output.has_no_buffer());
            assert!(spare.buffers.iter().all(|buffer| buffer.bytes.capacity() <= SpareBuffers::BYTES_MAX));
        }
        for _ in 0..SpareBuffers::BUFFERS_MAX * 2 {
            spare.put(Box::default());
        }
        assert_eq!(spare.buffers.len(), SpareBuffers::BUFFERS_MAX);
    }

    #[test]
    fn spare_buffers_are_bounded_by_the_memory_that_they_use_together() {
        let mut spare = SpareBuffers::default();
        let grown = || {
            Box::new(ConnectionOutputBuffer {
                bytes: Vec::with_capacity(SpareBuffers::BYTES_MAX),
                ..ConnectionOutputBuffer::default()
            })
        };
        for _ in 0..100 {
            spare.put(grown());
        }
        assert_eq!(spare.buffers.len(), SpareBuffers::TOTAL_BYTES_MAX / SpareBuffers::BYTES_MAX);
        while !spare.buffers.is_empty() {
            spare.take();
        }
        assert_eq!(spare.bytes, 0, "taken buffers count no longer");
        spare.put(grown());
        assert_eq!(spare.buffers.len(), 1);
    }

    #[test]
    fn buffers_are_counted_by_capacity_and_given_back() {
        let mut spare = SpareBuffers::default();
        let mut outputs: Vec<PendingOutput> = (0..5).map(|_| PendingOutput::default()).collect();
        for (number, output) in outputs.iter_mut().enumerate() {
            output.tail(&mut spare).extend_from_slice(&vec![b'x'; 100_000 * number]);
            output.count(&mut spare);
        }
        let bytes: usize = outputs.iter().map(PendingOutput::memory_bytes).sum();
        assert!(bytes >= 1_000_000);
        assert_eq!(spare.memory_bytes(), bytes);
        // Nearly all of the largest is written: its buffer shrinks, and the others are given back.
        let mut socket = NarrowWriter { room: 399_000, got: Vec::new() };
        assert_eq!(outputs[4].flush(&mut socket, &mut spare).unwrap(), SocketWriteResult::Blocked);
        assert!(outputs[4].memory_bytes() < 10_000, "{}", outputs[4].memory_bytes());
        for output in &mut outputs[..4] {
            output.clear(&mut spare);
        }
        assert_eq!(spare.lent_capacity, outputs[4].memory_bytes());
        outputs[4].clear(&mut spare);
        assert_eq!(spare.lent_capacity, 0);
    }

    fn text_frame(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let start = ws::begin_text(&mut out);
        out.extend_from_slice(text.as_bytes());
        ws::end_text(&mut out, start);
        out
    }

    #[test]
    fn of_last_words_every_frame_is_whole_wherever_the_writing_had_stopped() {
        let line = |text: &str| format!("{text}\n").into_bytes();
        let texts: Vec<String> = [3, 200, 70_000, 10, 150, 20].iter().map(|&length| "y".repeat(length)).collect();
        let lines: Vec<Vec<u8>> = texts.iter().map(|text| line(text)).collect();
        let mut frames: Vec<Vec<u8>> = texts.iter().map(|text| text_frame(text)).collect();
        frames.insert(0, b"HTTP/1.1 101 Switching\r\nA: b\r\n\r\n".to_vec());
        for frames in [lines, frames] {
            let whole = frames.concat();
            for out in (0..whole.len()).filter(|out| *out < 600 || out % 7_001 == 0 || *out > 70_200) {
                let (mut spare, mut output) = (SpareBuffers::default(), PendingOutput::default());
                let mut socket = NarrowWriter { room: out, got: Vec::new() };
                let mut expected = Vec::new();
                for frame in &frames {
                    output.tail(&mut spare).extend_from_slice(frame);
                    if expected.len() + frame.len() <= out || out % 3 == 0 {
                        assert!(output.flush(&mut socket, &mut spare).is_ok());
                    }
                    expected.extend_from_slice(frame);
                }
                assert!(output.flush(&mut socket, &mut spare).is_ok());
                output.keep_last_frames(30, &mut spare);
                assert!(output.memory_bytes() < 80_000 && spare.lent_capacity == output.memory_bytes());
                socket.room = usize::MAX;
                assert_eq!(output.flush(&mut socket, &mut spare).unwrap(), SocketWriteResult::All);
                // Frames are written whole: the begun one first, then the last one.
                let got = &socket.got;
                let mut at = 0;
                let mut wanted = frames.iter();
                while at < got.len() {
                    let found = wanted.find(|frame| got[at..].starts_with(frame));
                    at += found.unwrap_or_else(|| panic!("a torn frame at {at} of {}, {out} out", got.len())).len();
                }
                assert!(wanted.next().is_none(), "the last word is among them");
                assert!(got.len() <= out + 70_100 + 30);
            }
        }
    }

    #[test]
    fn a_broken_socket_is_an_error() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::ConnectionReset.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut spare, mut output) = (SpareBuffers::default(), PendingOutput::default());
        output.tail(&mut spare).push(b'x');
        assert!(output.flush(&mut Broken, &mut spare).is_err());
    }
}
