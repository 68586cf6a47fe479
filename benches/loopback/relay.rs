//! The lower bound: a relay that moves whole lines between fixed pairs of connections without
//! reading them.
//!
//! It runs as a process of its own (this very program with a hidden argument), so that its CPU is
//! its own. The first connection is the partner of the second, the third of the fourth, and so on.

use super::Fallible;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 * 1024;

struct Conn {
    stream: TcpStream,
    /// The beginning of a line.
    tail: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    dirty: bool,
}

/// Runs until its stdin ends: the process that started it holds the other side.
pub fn serve() -> Fallible<()> {
    std::thread::spawn(|| {
        let mut end = [0];
        // No input is expected; an error counts as an end, too.
        io::stdin().read_exact(&mut end).unwrap_or(());
        std::process::exit(0);
    });
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    writeln!(io::stderr(), "listening on {}", listener.local_addr()?)?;
    let (mut events, mut conns, mut dirty) = (Events::with_capacity(1_024), Vec::new(), Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut conns)?,
                Token(index) => {
                    if event.is_readable() {
                        read(&mut conns, index, &mut buffer, &mut dirty);
                    }
                    if event.is_writable() && !conns[index].output.is_empty() {
                        mark(&mut conns, index, &mut dirty);
                    }
                }
            }
        }
        for index in dirty.drain(..) {
            flush(&mut conns[index]);
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, conns: &mut Vec<Conn>) -> Fallible<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                poll.registry().register(&mut stream, Token(conns.len()), Interest::READABLE | Interest::WRITABLE)?;
                // Tells the client that it has its place.
                stream.write_all(b"\n")?;
                conns.push(Conn { stream, tail: vec![], output: vec![], written: 0, dirty: false });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn read(conns: &mut [Conn], index: usize, buffer: &mut [u8], dirty: &mut Vec<usize>) {
    let partner = index ^ 1;
    loop {
        // An end or an error ends this run, after the measurement.
        let Ok(count) = conns[index].stream.read(buffer) else { return };
        if let Some(end) = memchr::memrchr(b'\n', &buffer[..count])
            && partner < conns.len()
        {
            let tail = std::mem::take(&mut conns[index].tail);
            conns[partner].output.extend_from_slice(&tail);
            conns[partner].output.extend_from_slice(&buffer[..=end]);
            conns[index].tail.extend_from_slice(&buffer[end + 1..count]);
            mark(conns, partner, dirty);
        } else {
            conns[index].tail.extend_from_slice(&buffer[..count]);
        }
        if count < buffer.len() {
            return;
        }
    }
}

fn mark(conns: &mut [Conn], index: usize, dirty: &mut Vec<usize>) {
    if !std::mem::replace(&mut conns[index].dirty, true) {
        dirty.push(index);
    }
}

fn flush(conn: &mut Conn) {
    conn.dirty = false;
    while conn.written < conn.output.len() {
        match conn.stream.write(&conn.output[conn.written..]) {
            Ok(count) => conn.written += count,
            Err(_) => return,
        }
    }
    conn.output.clear();
    conn.written = 0;
}
