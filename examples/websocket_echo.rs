//! A WebSocket echo server that uses the server's own codec, for a conformance suite:
//! `tests/autobahn` runs one against it.
//!
//! `cargo run --example websocket_echo -- 127.0.0.1:9001`
#![allow(missing_docs, reason = "a program")]

use hongyan::protocol::http::{ClientPortHttpHead, read_head, write_upgrade};
use hongyan::protocol::ws::{WsItem, WsServerDecoder, begin_text, close_code, end_text, write_close, write_pong};
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// The suite sends messages of up to 16 MiB.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let listener = TcpListener::bind(&address)?;
    println!("listening on {}", listener.local_addr()?);
    for socket in listener.incoming() {
        let socket = socket?;
        std::thread::spawn(move || {
            if let Err(error) = serve(socket) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn serve(mut socket: TcpStream) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut rest = shake_hands(&mut socket)?;
    let mut input = WsServerDecoder::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut out = Vec::new();
        let goes_on = echo(&mut input, &mut rest, &mut out);
        socket.write_all(&out)?;
        if !goes_on {
            socket.shutdown(Shutdown::Write)?;
            // Reads the input that is on its way, so that a reset does not overtake our last
            // frames.
            while socket.read(&mut buffer)? > 0 {}
            return Ok(());
        }
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        rest.clear();
        rest.extend_from_slice(&buffer[..count]);
    }
}

/// Returns the bytes after the head.
fn shake_hands(socket: &mut TcpStream) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = socket.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..count]);
        match read_head(&head) {
            ClientPortHttpHead::More if count > 0 => {}
            ClientPortHttpHead::Upgrade { accept, offers_hongyan, length } => {
                let mut out = Vec::new();
                write_upgrade(&mut out, &accept, offers_hongyan);
                socket.write_all(&out)?;
                return Ok(head.split_off(length));
            }
            other => return Err(std::io::Error::new(ErrorKind::InvalidData, format!("{other:?}"))),
        }
    }
}

/// Answers complete messages; `false` after the last.
fn echo(input: &mut WsServerDecoder, bytes: &mut [u8], out: &mut Vec<u8>) -> bool {
    let mut chunk = bytes;
    loop {
        match input.next(&mut chunk, MESSAGE_BYTES_MAX) {
            WsItem::More => return true,
            WsItem::Text(text) => {
                let start = begin_text(out);
                out.extend_from_slice(text.as_bytes());
                end_text(out, start);
            }
            WsItem::Ping(payload) => write_pong(out, payload),
            WsItem::Pong => {}
            WsItem::Close(code) => {
                write_close(out, code);
                return false;
            }
            WsItem::Error(code) => {
                write_close(out, Some(code));
                return false;
            }
            WsItem::TooLarge => {
                write_close(out, Some(close_code::TOO_LARGE));
                return false;
            }
        }
    }
}
