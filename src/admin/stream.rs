//! One connection of an operator: a blocking stream with a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A blocking stream. Clones are the same connection.
#[derive(Clone, Debug)]
pub(super) enum AdminStream {
    Tcp(Arc<TcpStream>),
    #[cfg(unix)]
    Unix(Arc<UnixStream>),
}

impl AdminStream {
    pub(super) fn connect_tcp(addr: &SocketAddr, within: Duration) -> io::Result<Self> {
        Ok(Self::Tcp(Arc::new(TcpStream::connect_timeout(addr, within)?)))
    }

    /// Sets it to blocking mode.
    pub(super) fn block(self) -> io::Result<Self> {
        match &self {
            Self::Tcp(stream) => stream.set_nonblocking(false)?,
            #[cfg(unix)]
            Self::Unix(stream) => stream.set_nonblocking(false)?,
        }
        Ok(self)
    }

    fn set_timeouts(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(time))?;
                stream.set_write_timeout(Some(time))
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(time))?;
                stream.set_write_timeout(Some(time))
            }
        }
    }

    fn end(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Closes it at once, for all threads that read or write.
    pub(super) fn close(&self) {
        let closed = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
        // The caller may have closed it already.
        closed.unwrap_or(());
    }

    fn read_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&**stream).read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => (&**stream).read(buffer),
        }
    }

    fn write_once(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&**stream).write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => (&**stream).write(bytes),
        }
    }

    /// The caller, for the audit line.
    pub(super) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => {
                stream.peer_addr().map_or_else(|_| "an unknown address".to_owned(), |addr| format!("tcp {addr}"))
            }
            #[cfg(target_os = "linux")]
            Self::Unix(stream) => match rustix::net::sockopt::socket_peercred(&**stream) {
                Ok(peer) => format!("unix uid {}", peer.uid.as_raw()),
                Err(_) => "unix".to_owned(),
            },
            #[cfg(all(unix, not(target_os = "linux")))]
            Self::Unix(_) => "unix".to_owned(),
        }
    }
}

/// A stream with a deadline for all reads and writes.
#[derive(Debug)]
pub(super) struct AdminStreamWithDeadline {
    stream: AdminStream,
    deadline: Instant,
}

impl AdminStreamWithDeadline {
    pub(super) fn new(stream: AdminStream, within: Duration) -> Self {
        Self { stream, deadline: Instant::now() + within }
    }

    /// The time until the deadline.
    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Moves the deadline to this time from now, if that is later.
    pub(super) fn extend_deadline(&mut self, time: Duration) {
        self.deadline = self.deadline.max(Instant::now() + time);
    }

    fn arm(&self) -> io::Result<()> {
        match self.time_left() {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => self.stream.set_timeouts(left),
        }
    }

    /// Ends the writing side, and reads remaining input for a moment: closing a connection with
    /// unread input could destroy the answer.
    pub(super) fn finish(mut self, within: Duration) -> io::Result<()> {
        const DRAINED_BYTES_MAX: usize = 1024 * 1024;
        self.stream.end()?;
        self.deadline = self.deadline.min(Instant::now() + within);
        let (mut buffer, mut drained) = ([0; 4096], 0);
        while drained < DRAINED_BYTES_MAX {
            match self.read(&mut buffer)? {
                0 => break,
                count => drained += count,
            }
        }
        Ok(())
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Read for AdminStreamWithDeadline {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.arm()?;
            match self.stream.read_once(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => return Err(ErrorKind::TimedOut.into()),
                result => return result,
            }
        }
    }
}

impl Write for AdminStreamWithDeadline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.arm()?;
            match self.stream.write_once(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => return Err(ErrorKind::TimedOut.into()),
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
