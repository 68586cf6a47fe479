//! What waits to be written to one connection.

use std::io::{self, ErrorKind, Write};

/// Emptied buffers kept for the next connection that has something to say, so that a busy server allocates nothing per answer
/// and an idle connection owns nothing.
#[derive(Debug, Default)]
pub struct Spare {
    buffers: Vec<Vec<u8>>,
}

impl Spare {
    /// Buffers kept.
    const BUFFERS_MAX: usize = 64;
    /// One that has grown larger than this is given back to the allocator.
    const BYTES_MAX: usize = 32 * 1024;

    fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    fn put(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < Self::BUFFERS_MAX && buffer.capacity() <= Self::BYTES_MAX {
            buffer.clear();
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

/// Bytes to be written, of which the first `offset` are out already.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    offset: usize,
}

impl Output {
    /// How much waits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has it no buffer either?
    #[cfg(test)]
    pub(super) fn owns_nothing(&self) -> bool {
        self.bytes.capacity() == 0
    }

    /// The buffer, to append to.
    pub fn tail(&mut self, spare: &mut Spare) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = spare.take();
        } else if self.offset > self.bytes.len() / 2 {
            // More than half is out: moving the rest costs less than was written since the last move.
            self.bytes.drain(..self.offset);
            self.offset = 0;
        }
        &mut self.bytes
    }

    /// Writes until everything is out or the socket takes no more. Emptied, it gives its buffer back.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, socket: &mut impl Write, spare: &mut Spare) -> io::Result<Written> {
        while self.offset < self.bytes.len() {
            match socket.write(&self.bytes[self.offset..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.offset += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Written::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.discard(spare);
        Ok(Written::All)
    }

    /// Forgets what waits.
    pub fn discard(&mut self, spare: &mut Spare) {
        self.offset = 0;
        if self.bytes.capacity() > 0 {
            spare.put(std::mem::take(&mut self.bytes));
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
            assert_eq!(output.bytes.capacity(), 0);
            assert!(spare.buffers.iter().all(|buffer| buffer.capacity() <= Spare::BYTES_MAX));
        }
        for _ in 0..Spare::BUFFERS_MAX * 2 {
            spare.put(vec![0; 8]);
        }
        assert_eq!(spare.buffers.len(), Spare::BUFFERS_MAX);
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
