//! What waits to be written to one connection.

use std::io::{self, ErrorKind, Write};

/// Bytes to be written, of which the first `offset` are out already.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    offset: usize,
    /// So many of what waits are answers to the client's own requests, if those are what is written first. It may be more, by
    /// what pushes take, but not less: pushes alone hold no requests up.
    replies: usize,
}

/// Emptied buffers kept for the next connection that has something to say, so that a busy server allocates nothing per answer
/// and an idle connection owns nothing.
#[derive(Debug, Default)]
pub struct Spare {
    #[allow(clippy::vec_box, reason = "a connection owns a pointer, and the buffer moves between it and here")]
    buffers: Vec<Box<Buffer>>,
    /// The sum of their capacities.
    bytes: usize,
}

impl Spare {
    /// Buffers kept: one for each connection that has something to say in one turn of a busy loop.
    const BUFFERS_MAX: usize = 2_048;
    /// What they may hold together. A small buffer serves a message as well as a large one, and many are wanted.
    const TOTAL_BYTES_MAX: usize = 384 * 1024;
    /// One that has grown larger than this is given back to the allocator.
    const BYTES_MAX: usize = 32 * 1024;

    fn take(&mut self) -> Box<Buffer> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.bytes.capacity();
        buffer
    }

    fn put(&mut self, mut buffer: Box<Buffer>) {
        let bytes = buffer.bytes.capacity();
        if self.buffers.len() < Self::BUFFERS_MAX
            && bytes <= Self::BYTES_MAX
            && self.bytes + bytes <= Self::TOTAL_BYTES_MAX
        {
            buffer.bytes.clear();
            (buffer.offset, buffer.replies) = (0, 0);
            self.bytes += bytes;
            self.buffers.push(buffer);
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Everything is out.
    All,
    /// The socket takes no more for now.
    Blocked,
}

/// What waits to be written. With nothing to write it is a pointer to nothing.
#[derive(Debug, Default)]
pub struct Output(Option<Box<Buffer>>);

impl Output {
    /// How much waits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |buffer| buffer.bytes.len() - buffer.offset)
    }

    /// How much of it was caused by the client's own requests.
    #[must_use]
    pub fn replies(&self) -> usize {
        self.0.as_ref().map_or(0, |buffer| buffer.replies)
    }

    /// What was appended since there were so many bytes is such an answer.
    pub fn note_reply(&mut self, before: usize) {
        if let Some(buffer) = &mut self.0 {
            buffer.replies += (buffer.bytes.len() - buffer.offset).saturating_sub(before);
        }
    }

    /// Looks at its first byte, to have it near.
    pub(super) fn touch(&self) -> u8 {
        self.0.as_ref().and_then(|buffer| buffer.bytes.first().copied()).unwrap_or_default()
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has it no buffer either?
    #[cfg(test)]
    pub(super) fn owns_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// The buffer, to append to.
    pub fn tail(&mut self, spare: &mut Spare) -> &mut Vec<u8> {
        let buffer = self.0.get_or_insert_with(|| spare.take());
        if buffer.offset > buffer.bytes.len() / 2 {
            // More than half is out: moving the rest costs less than was written since the last move.
            buffer.bytes.drain(..buffer.offset);
            buffer.offset = 0;
        }
        &mut buffer.bytes
    }

    /// Writes until everything is out or the socket takes no more. Emptied, it gives its buffer back.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, socket: &mut impl Write, spare: &mut Spare) -> io::Result<Written> {
        if let Some(buffer) = &mut self.0 {
            while buffer.offset < buffer.bytes.len() {
                match socket.write(&buffer.bytes[buffer.offset..]) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        buffer.offset += count;
                        buffer.replies = buffer.replies.saturating_sub(count);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Written::Blocked),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.discard(spare);
        Ok(Written::All)
    }

    /// Forgets what waits.
    pub fn discard(&mut self, spare: &mut Spare) {
        if let Some(buffer) = self.0.take() {
            spare.put(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what `room` says, then blocks.
    struct Narrow {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for Narrow {
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
        let (mut spare, mut output) = (Spare::default(), Output::default());
        let mut socket = Narrow { room: 0, got: Vec::new() };
        let mut expected = Vec::new();
        for round in 0..200_usize {
            let piece: Vec<u8> = (0..round % 17).map(|n| (round + n) as u8).collect();
            output.tail(&mut spare).extend_from_slice(&piece);
            expected.extend_from_slice(&piece);
            socket.room = round % 11;
            let written = output.flush(&mut socket, &mut spare).unwrap();
            assert_eq!(written == Written::All, output.is_empty());
            assert_eq!(socket.got.len() + output.len(), expected.len());
        }
        socket.room = usize::MAX;
        assert_eq!(output.flush(&mut socket, &mut spare).unwrap(), Written::All);
        assert_eq!(socket.got, expected);
    }

    #[test]
    fn emptied_it_owns_nothing_and_large_buffers_are_not_kept() {
        let (mut spare, mut output) = (Spare::default(), Output::default());
        for size in [10, Spare::BYTES_MAX * 2] {
            output.tail(&mut spare).extend_from_slice(&vec![b'x'; size]);
            output.flush(&mut io::sink(), &mut spare).unwrap();
            assert!(output.owns_nothing());
            assert!(spare.buffers.iter().all(|buffer| buffer.bytes.capacity() <= Spare::BYTES_MAX));
        }
        for _ in 0..Spare::BUFFERS_MAX * 2 {
            spare.put(Box::default());
        }
        assert_eq!(spare.buffers.len(), Spare::BUFFERS_MAX);
    }

    #[test]
    fn spare_buffers_are_bounded_by_what_they_hold_together() {
        let mut spare = Spare::default();
        let grown = || Box::new(Buffer { bytes: Vec::with_capacity(Spare::BYTES_MAX), ..Buffer::default() });
        for _ in 0..100 {
            spare.put(grown());
        }
        assert_eq!(spare.buffers.len(), Spare::TOTAL_BYTES_MAX / Spare::BYTES_MAX);
        while !spare.buffers.is_empty() {
            spare.take();
        }
        assert_eq!(spare.bytes, 0, "what is taken counts no longer");
        spare.put(grown());
        assert_eq!(spare.buffers.len(), 1);
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
        let (mut spare, mut output) = (Spare::default(), Output::default());
        output.tail(&mut spare).push(b'x');
        assert!(output.flush(&mut Broken, &mut spare).is_err());
    }
}
