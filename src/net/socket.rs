//! The byte stream of one connection.

use mio::net::TcpStream;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};

/// A non-blocking byte stream whose writing side can be ended.
pub trait NonblockingStream: Read + Write {
    /// Ends the writing side.
    ///
    /// # Errors
    /// The connection is broken.
    fn end_writing(&mut self) -> io::Result<()>;

    /// The address of the other side, if it has one and is still there.
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

/// The kinds of transport. TLS is not among them: it is a layer of the connection, so that it can
/// be tested over any transport.
#[derive(Debug)]
pub enum PlainTcpSocket {
    /// Plain TCP.
    Plain(TcpStream),
}

impl Read for PlainTcpSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
        }
    }
}

impl Write for PlainTcpSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NonblockingStream for PlainTcpSocket {
    fn end_writing(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    // The system is asked, because a field would cost memory for every connection.
    fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Plain(stream) => stream.peer_addr().ok().map(|peer| peer.ip()),
        }
    }
}
