//! One connection: its socket, what it speaks, the input that is not used up and the output that is not written.

use super::counters::Why;
use super::output::{Output, Spare, Written};
use super::socket::Stream;
use super::wire::{Framing, Wire};
use crate::chat::contract::Origin;
use std::io::{self, ErrorKind};

/// Output of one connection beyond which it is written at once, and beyond which no more of it is read until it is out.
pub const OUTPUT_SOFT_MAX: usize = 256 * 1024;

/// Where in its life a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is in use: the core knows it.
    Open,
    /// The core has forgotten it. What was written goes out, then the writing side is ended.
    Closing,
    /// Our side is ended; what the client still sends is read and dropped until it ends its side too, lest a reset
    /// destroy what we wrote last.
    Ended,
    /// Nothing can or shall be written any more.
    Dead,
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
}

/// One connection. Everything it owns on the heap is given back when it is idle.
#[derive(Debug)]
pub struct Conn<S> {
    /// What carries its bytes.
    pub socket: S,
    /// Where it comes from.
    pub origin: Option<Origin>,
    /// How its input is read.
    pub wire: Wire,
    /// How its output is wrapped.
    pub framing: Framing,
    #[allow(clippy::box_collection, reason = "a pointer is smaller than a vector, and nearly always there is none")]
    /// What was read and not used up: first bytes that say too little, or everything while it is held. (An incomplete envelope
    /// is the wire's.)
    input: Option<Box<Vec<u8>>>,
    /// What waits to be written.
    pub output: Output,
    /// When it last sent something that was handed to the core.
    pub heard_ms: u64,
    /// Where in its life it is.
    pub phase: Phase,
    /// There may be something to read: set by the edge, cleared when the socket said that there is no more.
    pub readable: bool,
    /// The edge said that the client has ended its side: read on until that end is seen.
    pub read_closed: bool,
    /// The end was seen.
    pub eof: bool,
    /// It ended its side and is given time for its answers.
    pub half_closed: bool,
    /// The core wants no more of it for now.
    pub held: bool,
    /// It is not read, since too much output waits.
    pub choked: bool,
    /// The core was told that output waits.
    pub blocked: bool,
    /// It is on the list of those to be written.
    pub dirty: bool,
    /// It is on the list of those to be read.
    pub queued: bool,
    /// It is on the list of those that are closed when their time is over.
    pub lingers: bool,
}

impl<S: Stream> Conn<S> {
    /// A connection that was just opened. What it sent before it was registered brings an edge all the same.
    #[must_use]
    pub fn new(socket: S, origin: Option<Origin>, now_ms: u64) -> Self {
        Self {
            socket,
            origin,
            wire: Wire::default(),
            framing: Framing::default(),
            input: None,
            output: Output::default(),
            heard_ms: now_ms,
            phase: Phase::Open,
            readable: false,
            read_closed: false,
            eof: false,
            half_closed: false,
            held: false,
            choked: false,
            blocked: false,
            dirty: false,
            queued: false,
            lingers: false,
        }
    }

    /// Is it in use?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// May input of it be handed to the core now?
    #[must_use]
    pub fn may_speak(&self) -> bool {
        self.is_open() && !self.held && !self.choked
    }

    /// Reads once into `buffer`, and remembers whether there may be more.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Filled {
        loop {
            return match self.socket.read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    self.eof = true;
                    Filled::Eof
                }
                Ok(count) => {
                    // A read that did not fill the buffer has emptied the socket, and whatever comes now brings an edge of its
                    // own (epoll(7), question 9). Only an end that was announced already does not: then read on.
                    if count < buffer.len() && !self.read_closed {
                        self.readable = false;
                    }
                    Filled::Some(count)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    Filled::Blocked
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.readable = false;
                    Filled::Broken(error)
                }
            };
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, spare: &mut Spare) -> io::Result<Written> {
        self.output.flush(&mut self.socket, spare)
    }

    /// Takes what was kept.
    #[must_use]
    pub fn take_input(&mut self) -> Vec<u8> {
        self.input.take().map_or_else(Vec::new, |input| *input)
    }

    /// Keeps what is not used up, in no more memory than it needs: an idle connection owns no buffer.
    pub fn keep(&mut self, mut input: Vec<u8>) {
        if input.capacity() > input.len() * 2 + 64 {
            input.shrink_to_fit();
        }
        self.input = if input.is_empty() { None } else { Some(Box::new(input)) };
    }

    /// Does it own memory for anything that is not whole or not written?
    #[cfg(test)]
    pub(super) fn owns_memory(&self) -> bool {
        self.input.is_some() || self.wire.owns_memory() || !self.output.owns_nothing()
    }

    /// Ends its use: input is dropped, a WebSocket is told why.
    pub fn begin_close(&mut self, why: Why, spare: &mut Spare) {
        self.input = None;
        self.wire = Wire::default();
        self.phase = match why {
            Why::IoError | Why::SlowReader | Why::OutputTimeout => Phase::Dead,
            _ => Phase::Closing,
        };
        if self.phase == Phase::Dead {
            self.output.discard(spare);
        } else if self.framing == Framing::WebSocket {
            self.framing.say_goodbye(why, self.output.tail(spare));
        }
    }
}
