//! One connection: its socket, its protocol, unused input and unwritten output.

use super::buffers::SharedBuffers;
use super::counters::CloseCause;
use super::output::{PendingOutput, SocketWriteResult, SpareBuffers};
use super::socket::NonblockingStream;
use super::state::{ConnectionListFlags, ConnectionReadState, ConnectionWriteState};
use super::tls::{SharedTlsReadBuffers, TlsDecryptResult, TlsSession, TlsSocketWriter};
use super::unused_input::ConnectionInputBuffer;
use super::wire::{ConnInputDecoder, Framing};
use crate::chat::contract::AddressKey;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

/// If the output of a connection exceeds this, it is written at once. If its unwritten answers
/// exceed this, no more is read until some are written. In bytes.
pub const OUTPUT_SOFT_MAX: usize = 256 * 1024;
/// If a connection's unwritten answers exceed this, its requests wait. In bytes.
pub const REPLIES_SOFT_MAX: usize = 128 * 1024;

/// The reasons why a connection's input waits: one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputWaitReasons(u8);

impl InputWaitReasons {
    /// The core has paused all input.
    pub const PAUSED: Self = Self(1);
    /// The core has paused requests.
    pub const REQUESTS_PAUSED: Self = Self(2);
    /// So many answers are unwritten that no requests are taken.
    pub const CHOKED: Self = Self(4);
    /// So many answers are unwritten that no input is taken.
    pub const SHUT: Self = Self(8);
    /// A paused request comes first in its input.
    pub const STALLED: Self = Self(16);

    const ALL: Self = Self(Self::PAUSED.0 | Self::SHUT.0);
    const REQUESTS: Self = Self(Self::REQUESTS_PAUSED.0 | Self::CHOKED.0);

    /// Does one of these reasons apply?
    #[must_use]
    pub fn has(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }

    /// Sets or clears this reason.
    pub fn set(&mut self, this: Self, there: bool) {
        self.0 = if there { self.0 | this.0 } else { self.0 & !this.0 };
        if !self.has(Self::REQUESTS) {
            self.0 &= !Self::STALLED.0;
        }
    }
}

/// How much of a connection's input is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputPauseLevel {
    /// Everything is handed to the core.
    NotPaused,
    /// Only input that passes paused requests is.
    RequestsPaused,
    /// Nothing is.
    AllPaused,
}

/// The result of a read.
#[derive(Debug)]
pub enum ReadResult {
    /// This many bytes were read.
    Some(usize),
    /// Nothing more for now.
    Blocked,
    /// The client has ended its side.
    Eof,
    /// The connection is broken.
    Broken(io::Error),
    /// The input is not valid TLS.
    BadRecords(rustls::Error),
}

/// One connection. When it is idle, it owns no heap memory.
#[derive(Debug)]
pub struct Conn<S> {
    /// Its socket.
    pub socket: S,
    /// Its TLS session, if its client speaks TLS.
    pub tls: Option<Box<TlsSession>>,
    /// The key of its address.
    pub address_key: Option<AddressKey>,
    /// How its input is read.
    pub decoder: ConnInputDecoder,
    /// How its output is wrapped.
    pub framing: Framing,
    /// Unused input: first bytes that do not show the protocol yet, input beyond its quantum, or
    /// everything while it is paused. (An incomplete envelope is in the decoder.)
    input: Option<Box<ConnectionInputBuffer>>,
    /// Its unwritten output.
    pub output: PendingOutput,
    /// When its last input was handed to the core.
    pub last_input_ms: u64,
    /// The state of its reading side.
    pub read: ConnectionReadState,
    /// The state of its writing side.
    pub write: ConnectionWriteState,
    /// The reasons why its input waits.
    pub input_waits: InputWaitReasons,
    /// Work that it used beyond its quantum, in µs. After its close: all work that was spent on it
    /// since.
    pub debt_us: u16,
    /// The lists of the hub that it is on.
    pub lists: ConnectionListFlags,
    /// A user is or was logged in on it.
    pub had_login: bool,
    /// The memory of its input at the last count, in bytes.
    counted_input: u32,
}

impl<S: NonblockingStream> Conn<S> {
    /// A connection that was just opened. Input from before its registration also gives an edge.
    #[must_use]
    pub fn new(socket: S, address_key: Option<AddressKey>, now_ms: u64) -> Self {
        Self {
            socket,
            tls: None,
            address_key,
            decoder: ConnInputDecoder::default(),
            framing: Framing::default(),
            input: None,
            output: PendingOutput::default(),
            last_input_ms: now_ms,
            read: ConnectionReadState::default(),
            write: ConnectionWriteState::default(),
            input_waits: InputWaitReasons::default(),
            debt_us: 0,
            lists: ConnectionListFlags::default(),
            had_login: false,
            counted_input: 0,
        }
    }

    /// The address of the other side of its socket, if it is still there.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.socket.peer()
    }

    /// Updates `sum` by the present memory of its input.
    pub fn count_input(&mut self, sum: &mut usize) {
        let tls = self.tls.as_ref().map_or(0, |tls| tls.memory_bytes());
        let used = tls + self.decoder.memory_bytes() + self.input.as_ref().map_or(0, |input| input.memory_bytes());
        // Input is bounded by the largest envelope and a few reads.
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        *sum = *sum - self.counted_input as usize + used as usize;
        self.counted_input = used;
    }

    /// The memory of its input at the last count, in bytes.
    #[must_use]
    pub fn counted_input(&self) -> usize {
        self.counted_input as usize
    }

    /// The memory that it uses for input and output, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.counted_input as usize + self.output.memory_bytes()
    }

    /// Is it in use?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.write.is_open()
    }

    /// Has its client ended its side without ever logging in? It can still wait for an answer.
    #[must_use]
    pub(super) fn is_abandoned(&self) -> bool {
        !self.had_login && self.read.is_end_known()
    }

    /// The kinds of its input that may be handed to the core now.
    #[must_use]
    pub fn input_pause(&self) -> InputPauseLevel {
        match self.input_waits {
            _ if !self.is_open() => InputPauseLevel::AllPaused,
            waits if waits == InputWaitReasons::default() => InputPauseLevel::NotPaused,
            waits if waits.has(InputWaitReasons::ALL) || waits.has(InputWaitReasons::STALLED) => {
                InputPauseLevel::AllPaused
            }
            _ => InputPauseLevel::RequestsPaused,
        }
    }

    /// May anything be read?
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.input_pause() != InputPauseLevel::AllPaused
    }

    /// Reads once into `buffer`, and remembers whether there may be more.
    pub fn fill(&mut self, buffer: &mut [u8]) -> ReadResult {
        loop {
            return match self.socket.read(buffer) {
                Ok(0) => {
                    self.read.on_end();
                    ReadResult::Eof
                }
                Ok(count) => {
                    self.read.on_read(count == buffer.len());
                    ReadResult::Some(count)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.read.on_blocked();
                    ReadResult::Blocked
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.read.on_blocked();
                    ReadResult::Broken(error)
                }
            };
        }
    }

    /// Is its TLS handshake in progress?
    #[must_use]
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Like [`fill`](Self::fill) with TLS: reads records once, at most `bytes_max`, and decrypts
    /// the complete ones. Gives the size of the plaintext, which may be 0.
    pub(super) fn fill_tls(&mut self, buffers: &mut SharedTlsReadBuffers, bytes_max: usize) -> ReadResult {
        let Some(mut tls) = self.tls.take() else { return ReadResult::Blocked };
        let filled = self.fill(tls.space(buffers, bytes_max));
        let opened = match filled {
            ReadResult::Some(count) => tls.open(buffers, count),
            ReadResult::Blocked | ReadResult::Eof => tls.open(buffers, 0),
            ReadResult::Broken(_) | ReadResult::BadRecords(_) => Ok(TlsDecryptResult::More),
        };
        self.tls = Some(tls);
        match (opened, filled) {
            (_, ReadResult::Broken(error)) => ReadResult::Broken(error),
            (Err(error), _) => ReadResult::BadRecords(error),
            (Ok(opened), filled) => {
                if opened == TlsDecryptResult::End {
                    self.read.on_end();
                }
                match (buffers.plain.len(), filled) {
                    (0, _) if opened == TlsDecryptResult::End => ReadResult::Eof,
                    (0, ReadResult::Some(_)) => ReadResult::Some(0),
                    (0, filled) => filled,
                    (count, _) => ReadResult::Some(count),
                }
            }
        }
    }

    /// Does anything wait to be written?
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.unwritten() > 0
    }

    /// The number of unwritten bytes.
    #[must_use]
    pub(super) fn unwritten(&self) -> usize {
        self.output.len() + self.tls.as_ref().map_or(0, |tls| tls.unwritten())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self, buffers: &mut SharedBuffers) -> io::Result<SocketWriteResult> {
        match &mut self.tls {
            None => self.output.flush(&mut self.socket, &mut buffers.spare),
            Some(_) => self.flush_tls(buffers),
        }
    }

    #[inline(never)]
    fn flush_tls(&mut self, buffers: &mut SharedBuffers) -> io::Result<SocketWriteResult> {
        let Some(tls) = &mut self.tls else { return Ok(SocketWriteResult::All) };
        let mut written = SocketWriteResult::All;
        if tls.can_seal() {
            let mut sealing = TlsSocketWriter { tls, socket: &mut self.socket, sealed: &mut buffers.sealed };
            written = self.output.flush(&mut sealing, &mut buffers.spare)?;
        } else if !self.write.is_open() {
            // The client cannot read it any more, or could not read it yet.
            self.output.clear(&mut buffers.spare);
        }
        if tls.flush(&mut self.socket)? && self.output.is_empty() {
            Ok(written)
        } else {
            Ok(SocketWriteResult::Blocked)
        }
    }

    /// Writes the waiting output, and then the TLS message that closes the session.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush_last(&mut self, buffers: &mut SharedBuffers) -> io::Result<SocketWriteResult> {
        let written = self.flush(buffers)?;
        match &mut self.tls {
            Some(tls) if written == SocketWriteResult::All => {
                tls.close(&mut buffers.sealed);
                self.flush_tls(buffers)
            }
            _ => Ok(written),
        }
    }

    /// Takes what was kept.
    #[must_use]
    pub fn take_input(&mut self) -> ConnectionInputBuffer {
        self.input.take().map_or_else(ConnectionInputBuffer::default, |input| *input)
    }

    /// Keeps unused input in no more memory than needed: an idle connection owns no buffer.
    pub fn keep_unused(&mut self, mut input: ConnectionInputBuffer) {
        if input.is_empty() {
            return;
        }
        input.shrink();
        self.input = Some(Box::new(input));
    }

    /// The size of the kept input, in bytes.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.kept_bytes())
    }

    /// Does it own memory for incomplete input or unwritten output?
    #[cfg(test)]
    pub(super) fn owns_memory(&self) -> bool {
        let tls = self.tls.as_ref().is_some_and(|tls| tls.owns_buffers());
        tls || self.input.is_some() || self.decoder.owns_memory() || !self.output.has_no_buffer()
    }

    /// Begins to close it: drops input, and sends a WebSocket the close code.
    pub fn begin_close(&mut self, cause: CloseCause, spare: &mut SpareBuffers) {
        self.input = None;
        self.decoder = ConnInputDecoder::default();
        self.write = ConnectionWriteState::after_close(cause);
        if self.write == ConnectionWriteState::Dead {
            self.output.clear(spare);
        } else if self.framing == Framing::WebSocket {
            self.framing.write_close(cause, self.output.tail(spare));
        }
    }
}
