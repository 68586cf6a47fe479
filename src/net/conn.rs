//! One connection: its socket, what it speaks, the input that is not used up and the output that is
//! not written.

use super::buffers::Buffers;
use super::counters::CloseCause;
use super::output::{Output, Spare, Written};
use super::socket::Stream;
use super::state::{Lists, ReadState, WriteState};
use super::tls::{OpenBuffers, Opened, Sealing, Tls};
use super::wire::{Framing, Wire};
use crate::chat::contract::AddressKey;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

/// Output of one connection beyond which it is written at once; answers of it beyond which no more
/// is read until some are out.
pub const OUTPUT_SOFT_MAX: usize = 256 * 1024;
/// Answers that wait beyond which a connection's requests wait, too.
pub const REPLIES_SOFT_MAX: usize = 128 * 1024;

/// What keeps a connection's input waiting: one bit for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits(u8);

impl Waits {
    /// The core wants nothing of it for now.
    pub const HELD: Self = Self(1);
    /// The core wants no requests of it for now.
    pub const REQUESTS_HELD: Self = Self(2);
    /// So many answers wait to be written that no requests are taken.
    pub const CHOKED: Self = Self(4);
    /// So many that nothing is taken.
    pub const SHUT: Self = Self(8);
    /// A request that is held stands first in its input.
    pub const STALLED: Self = Self(16);

    const ALL: Self = Self(Self::HELD.0 | Self::SHUT.0);
    const REQUESTS: Self = Self(Self::REQUESTS_HELD.0 | Self::CHOKED.0);

    /// Is one of these reasons there?
    #[must_use]
    pub fn has(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }

    /// Notes whether this reason is there.
    pub fn set(&mut self, this: Self, there: bool) {
        self.0 = if there { self.0 | this.0 } else { self.0 & !this.0 };
        if !self.has(Self::REQUESTS) {
            self.0 &= !Self::STALLED.0;
        }
    }
}

/// What may be handed to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Everything.
    Open,
    /// What passes held requests.
    Narrow,
    /// Nothing.
    Shut,
}

/// Input that was read and not used up.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    /// So many of them are used up.
    used: usize,
}

impl Kept {
    /// What is left.
    pub fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..]
    }

    /// Is nothing left?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == self.bytes.len()
    }

    /// So many bytes more are used up.
    pub fn use_up(&mut self, count: usize) {
        self.used += count;
    }

    /// Puts what stands before the rest in front of it, and what was read after it behind.
    pub fn put(&mut self, before: &[u8], after: &[u8]) {
        if !before.is_empty() {
            self.bytes.splice(..self.used, before.iter().copied());
            self.used = 0;
        } else if !after.is_empty() {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.extend_from_slice(after);
    }
}

/// What became of a read.
#[derive(Debug)]
pub enum Filled {
    /// So many bytes came.
    Some(usize),
    /// Nothing more for now.
    Blocked,
    /// The client has ended its side.
    Eof,
    /// The connection is broken.
    Broken(io::Error),
    /// What came is no TLS, or not in its order.
    BadRecords(rustls::Error),
}

/// One connection. Everything it owns on the heap is given back when it is idle.
#[derive(Debug)]
pub struct Conn<S> {
    /// What carries its bytes.
    pub socket: S,
    /// What stands between the socket and everything else, if its client speaks TLS.
    pub tls: Option<Box<Tls>>,
    /// Where it comes from.
    pub address_key: Option<AddressKey>,
    /// How its input is read.
    pub wire: Wire,
    /// How its output is wrapped.
    pub framing: Framing,
    /// What was read and not used up: first bytes that say too little, what was beyond its quantum,
    /// or everything while it is held. (An incomplete envelope is the wire's.)
    input: Option<Box<Kept>>,
    /// What waits to be written.
    pub output: Output,
    /// When it last sent something that was handed to the core.
    pub heard_ms: u64,
    /// How far its reading side is.
    pub read: ReadState,
    /// How far its writing side is.
    pub write: WriteState,
    /// What keeps its input waiting.
    pub waits: Waits,
    /// What it used up beyond its quantum, in µs of work. After its end it has none: then all that
    /// was spent on it.
    pub debt_us: u16,
    /// The lists of the hub that it is on.
    pub lists: Lists,
    /// Somebody is or was logged in on it.
    pub known: bool,
    /// What its input holds, as it was counted last.
    counted_input: u32,
}

impl<S: Stream> Conn<S> {
    /// A connection that was just opened. What it sent before it was registered brings an edge all
    /// the same.
    #[must_use]
    pub fn new(socket: S, address_key: Option<AddressKey>, now_ms: u64) -> Self {
        Self {
            socket,
            tls: None,
            address_key,
            wire: Wire::default(),
            framing: Framing::default(),
            input: None,
            output: Output::default(),
            heard_ms: now_ms,
            read: ReadState::default(),
            write: WriteState::default(),
            waits: Waits::default(),
            debt_us: 0,
            lists: Lists::default(),
            known: false,
            counted_input: 0,
        }
    }

    /// The address of the other side of its socket, if it is still there.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.socket.peer()
    }

    /// Counts in `sum` what its input holds now.
    pub fn count_input(&mut self, sum: &mut usize) {
        let tls = self.tls.as_ref().map_or(0, |tls| tls.held_bytes());
        let held = tls + self.wire.held_bytes() + self.input.as_ref().map_or(0, |input| input.bytes.capacity());
        // Input is bounded by the largest envelope and a few reads.
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        *sum = *sum - self.counted_input as usize + held as usize;
        self.counted_input = held;
    }

    /// What its input held when it was counted last.
    #[must_use]
    pub fn counted_input(&self) -> usize {
        self.counted_input as usize
    }

    /// How much memory it holds for input and output.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.counted_input as usize + self.output.held_bytes()
    }

    /// Is it in use?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.write.is_open()
    }

    /// What of its input may be handed to the core now?
    #[must_use]
    pub fn gate(&self) -> Gate {
        match self.waits {
            _ if !self.is_open() => Gate::Shut,
            waits if waits == Waits::default() => Gate::Open,
            waits if waits.has(Waits::ALL) || waits.has(Waits::STALLED) => Gate::Shut,
            _ => Gate::Narrow,
        }
    }

    /// May anything be read?
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.gate() != Gate::Shut
    }

    /// Reads once into `buffer`, and remembers whether there may be more.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Filled {
        loop {
            return match self.socket.read(buffer) {
                Ok(0) => {
                    self.read.on_end();
                    Filled::Eof
                }
                Ok(count) => {
                    self.read.on_read(count == buffer.len());
                    Filled::Some(count)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.read.on_blocked();
                    Filled::Blocked
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.read.on_blocked();
                    Filled::Broken(error)
                }
            };
        }
    }

    /// Is it still shaking hands?
    #[must_use]
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// The same as [`fill`](Self::fill) for one that speaks TLS: reads records once, so many bytes
    /// at most, and opens those that are whole. Gives how much was in them, which may be nothing.
    pub(super) fn fill_tls(&mut self, buffers: &mut OpenBuffers, bytes_max: usize) -> Filled {
        let Some(mut tls) = self.tls.take() else { return Filled::Blocked };
        let filled = self.fill(tls.space(buffers, bytes_max));
        let opened = match filled {
            Filled::Some(count) => tls.open(buffers, count),
            Filled::Blocked | Filled::Eof => tls.open(buffers, 0),
            Filled::Broken(_) | Filled::BadRecords(_) => Ok(Opened::More),
        };
        self.tls = Some(tls);
        match (opened, filled) {
            (_, Filled::Broken(error)) => Filled::Broken(error),
            (Err(error), _) => Filled::BadRecords(error),
            (Ok(opened), filled) => {
                if opened == Opened::End {
                    self.read.on_end();
                }
                match (buffers.plain.len(), filled) {
                    (0, _) if opened == Opened::End => Filled::Eof,
                    (0, Filled::Some(_)) => Filled::Some(0),
                    (0, filled) => filled,
                    (count, _) => Filled::Some(count),
                }
            }
        }
    }

    /// Does anything wait to be written?
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.unwritten() > 0
    }

    /// How much of it there is.
    #[must_use]
    pub(super) fn unwritten(&self) -> usize {
        self.output.len() + self.tls.as_ref().map_or(0, |tls| tls.unwritten())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self, buffers: &mut Buffers) -> io::Result<Written> {
        match &mut self.tls {
            None => self.output.flush(&mut self.socket, &mut buffers.spare),
            Some(_) => self.flush_tls(buffers),
        }
    }

    #[inline(never)]
    fn flush_tls(&mut self, buffers: &mut Buffers) -> io::Result<Written> {
        let Some(tls) = &mut self.tls else { return Ok(Written::All) };
        let mut written = Written::All;
        if tls.can_seal() {
            let mut sealing = Sealing { tls, socket: &mut self.socket, sealed: &mut buffers.sealed };
            written = self.output.flush(&mut sealing, &mut buffers.spare)?;
        } else if !self.write.is_open() {
            // Nobody can read it any more, or nobody could yet.
            self.output.discard(&mut buffers.spare);
        }
        if tls.flush(&mut self.socket)? && self.output.is_empty() { Ok(written) } else { Ok(Written::Blocked) }
    }

    /// Writes what waits, and behind it that nothing more will come, in the words of TLS.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush_last(&mut self, buffers: &mut Buffers) -> io::Result<Written> {
        let written = self.flush(buffers)?;
        match &mut self.tls {
            Some(tls) if written == Written::All => {
                tls.close(&mut buffers.sealed);
                self.flush_tls(buffers)
            }
            _ => Ok(written),
        }
    }

    /// Takes what was kept.
    #[must_use]
    pub fn take_input(&mut self) -> Kept {
        self.input.take().map_or_else(Kept::default, |input| *input)
    }

    /// Keeps what is not used up, in no more memory than it needs: an idle connection owns no
    /// buffer.
    pub fn keep(&mut self, mut input: Kept) {
        if input.is_empty() {
            return;
        }
        if input.bytes.capacity() > input.bytes.len() * 2 + 64 {
            input.bytes.shrink_to_fit();
        }
        self.input = Some(Box::new(input));
    }

    /// How much input is kept.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.bytes.len())
    }

    /// Does it own memory for anything that is not whole or not written?
    #[cfg(test)]
    pub(super) fn owns_memory(&self) -> bool {
        let tls = self.tls.as_ref().is_some_and(|tls| tls.owns_buffers());
        tls || self.input.is_some() || self.wire.owns_memory() || !self.output.owns_nothing()
    }

    /// Ends its use: input is dropped, a WebSocket is told why.
    pub fn begin_close(&mut self, cause: CloseCause, spare: &mut Spare) {
        self.input = None;
        self.wire = Wire::default();
        self.write = WriteState::after(cause);
        if self.write == WriteState::Dead {
            self.output.discard(spare);
        } else if self.framing == Framing::WebSocket {
            self.framing.write_close(cause, self.output.tail(spare));
        }
    }
}
