//! WebSocket frames (RFC 6455): the server's side, and reading for clients. Resumable; owns memory
//! only while a message or frame is incomplete.

/// RFC 6455 §7.4.1: the codes that the server closes with.
pub mod close_code {
    /// Normal closure.
    pub const NORMAL: u16 = 1000;
    /// The server stops, or the client was silent for too long.
    pub const GOING_AWAY: u16 = 1001;
    /// The frames violate the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A binary message.
    pub const UNSUPPORTED: u16 = 1003;
    /// A text message that is not UTF-8.
    pub const NOT_UTF8: u16 = 1007;
    /// A rule was violated: replaced by a newer log-in, or only garbage.
    pub const POLICY: u16 = 1008;
    /// A message larger than allowed.
    pub const TOO_LARGE: u16 = 1009;
}

const CONTROL_BYTES_MAX: usize = 125;
const HEADER_BYTES_MAX: usize = 14;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The next event on the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum WsItem<'a> {
    /// All of the chunk was taken; nothing is complete.
    More,
    /// A whole text message, which is UTF-8.
    Text(&'a str),
    /// A ping: to be answered with its payload.
    Ping(&'a [u8]),
    /// A pong: nothing to do.
    Pong,
    /// The client closes: the close frame to answer with has this code, or none.
    Close(Option<u16>),
    /// The client broke the protocol: to be closed with this code. Nothing more can be read.
    Error(u16),
    /// A message larger than allowed. Nothing more can be read.
    TooLarge,
}

#[derive(Clone, Copy, Debug)]
struct WsFrameProgress {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// The number of payload bytes still to come.
    payload_left: usize,
    /// The number of payload bytes before the present chunk, for the position in the mask.
    payload_seen: usize,
}

/// The input of a server, whose clients mask their frames.
pub type WsServerDecoder = WsConnectionInput<true>;

/// The input of a client: a server masks nothing.
pub type WsClientReader = WsConnectionInput<false>;

/// The input of one WebSocket connection.
#[derive(Debug, Default)]
pub struct WsConnectionInput<const MASKED: bool> {
    header: [u8; HEADER_BYTES_MAX],
    header_length: u8,
    frame: Option<WsFrameProgress>,
    /// A text message has begun and goes on with continuation frames.
    in_message: bool,
    /// The part of the message that has arrived.
    message: Vec<u8>,
    /// The part of a control frame that has arrived.
    control: Vec<u8>,
    is_item_handed_out: bool,
}

impl<const MASKED: bool> WsConnectionInput<MASKED> {
    /// Takes the next item from the front of `chunk`, un-masking in place. Call it until it gives
    /// [`WsItem::More`]; in between, the rest of the chunk may be kept elsewhere and passed again
    /// later.
    pub fn next<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c mut [u8], message_bytes_max: usize) -> WsItem<'a> {
        if std::mem::take(&mut self.is_item_handed_out) {
            self.control = Vec::new();
            if !self.in_message {
                self.message = Vec::new();
            }
        }
        if MASKED
            && self.is_between_messages()
            && let Some(payload) = take_whole_text(chunk, message_bytes_max)
        {
            return text(payload);
        }
        loop {
            let Some(frame) = &mut self.frame else {
                match self.read_header(chunk, message_bytes_max) {
                    Ok(true) => continue,
                    Ok(false) => return WsItem::More,
                    Err(item) => return item,
                }
            };
            let length = frame.payload_left.min(chunk.len());
            if length == 0 && frame.payload_left > 0 {
                return WsItem::More;
            }
            let (payload, rest) = std::mem::take(chunk).split_at_mut(length);
            *chunk = rest;
            if MASKED {
                unmask(payload, frame.mask, frame.payload_seen);
            }
            frame.payload_left -= length;
            frame.payload_seen += length;
            let frame = *frame;
            if frame.payload_left == 0 {
                self.frame = None;
            }
            if frame.opcode >= CLOSE {
                if frame.payload_left > 0 || !self.control.is_empty() {
                    self.control.extend_from_slice(payload);
                }
                if frame.payload_left > 0 {
                    return WsItem::More;
                }
                self.is_item_handed_out = true;
                let whole: &[u8] = if self.control.is_empty() { payload } else { &self.control };
                return control(frame.opcode, whole);
            }
            if frame.payload_left == 0 && frame.fin && self.message.is_empty() {
                // The usual case: a complete message is not copied.
                self.in_message = false;
                return text(payload);
            }
            self.message.extend_from_slice(payload);
            if frame.payload_left == 0 && frame.fin {
                self.in_message = false;
                self.is_item_handed_out = true;
                return text(&self.message);
            }
        }
    }

    /// Is it between two messages? Then it has no state, and can be replaced by a new one.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.header_length == 0 && self.frame.is_none() && !self.in_message
    }

    /// The memory of the part of a message that has arrived.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.message.capacity() + self.control.capacity()
    }

    /// Reads a frame's header; `Ok(false)` if it is incomplete.
    fn read_header(&mut self, chunk: &mut &mut [u8], message_bytes_max: usize) -> Result<bool, WsItem<'static>> {
        loop {
            let have = usize::from(self.header_length);
            let need = header_bytes(&self.header[..have], MASKED);
            if have == need {
                break;
            }
            let length = (need - have).min(chunk.len());
            if length == 0 {
                return Ok(false);
            }
            let (front, rest) = std::mem::take(chunk).split_at_mut(length);
            self.header[have..have + length].copy_from_slice(front);
            self.header_length += length as u8;
            *chunk = rest;
            // A fault in the first two bytes is reported without waiting for the rest.
            if self.header_length >= 2 {
                self.check_header()?;
            }
        }
        let header = &self.header[..usize::from(self.header_length)];
        let (length, mask_at) = match header[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes([header[2], header[3]])), 4),
            127 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&header[2..10]);
                (u64::from_be_bytes(bytes), 10)
            }
            short => (u64::from(short), 2),
        };
        let (fin, opcode) = (header[0] & 0x80 != 0, header[0] & 0x0f);
        let mask = if MASKED {
            [header[mask_at], header[mask_at + 1], header[mask_at + 2], header[mask_at + 3]]
        } else {
            [0; 4]
        };
        self.header_length = 0;
        if length >> 63 == 1 {
            return Err(WsItem::Error(close_code::PROTOCOL_ERROR));
        }
        // Check before any of it is kept.
        let room = message_bytes_max.saturating_sub(self.message.len()) as u64;
        if opcode < CLOSE && length > room {
            return Err(WsItem::TooLarge);
        }
        if opcode < CLOSE {
            self.in_message = true;
        }
        self.frame = Some(WsFrameProgress { fin, opcode, mask, payload_left: length as usize, payload_seen: 0 });
        Ok(true)
    }

    fn check_header(&self) -> Result<(), WsItem<'static>> {
        let [first, second] = [self.header[0], self.header[1]];
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let masked = second & 0x80 != 0;
        let known = match opcode {
            CONTINUATION => self.in_message,
            TEXT | BINARY => !self.in_message,
            CLOSE | PING | PONG => fin && usize::from(second & 0x7f) <= CONTROL_BYTES_MAX,
            _ => false,
        };
        if masked != MASKED || first & 0x70 != 0 || !known {
            return Err(WsItem::Error(close_code::PROTOCOL_ERROR));
        }
        if opcode == BINARY {
            return Err(WsItem::Error(close_code::UNSUPPORTED));
        }
        Ok(())
    }
}

/// The length of a header of which these bytes are known.
fn header_bytes(known: &[u8], masked: bool) -> usize {
    let mask = if masked { 4 } else { 0 };
    match known.get(1).map(|byte| byte & 0x7f) {
        None => 2,
        Some(126) => 4 + mask,
        Some(127) => 10 + mask,
        Some(_) => 2 + mask,
    }
}

/// Takes a message from the front of `chunk` if it is of the usual kind: one complete text frame of
/// at most 64 KiB. `None`: use the general way.
fn take_whole_text<'c>(chunk: &mut &'c mut [u8], message_bytes_max: usize) -> Option<&'c [u8]> {
    const FIN_TEXT: u8 = 0x80 | TEXT;
    let (header, length, mask) = match **chunk {
        [FIN_TEXT, 0xfe, high, low, a, b, c, d, ..] => (8, usize::from(u16::from_be_bytes([high, low])), [a, b, c, d]),
        [FIN_TEXT, short @ 0x80..0xfe, a, b, c, d, ..] => (6, usize::from(short & 0x7f), [a, b, c, d]),
        _ => return None,
    };
    if length > message_bytes_max || chunk.len() < header + length {
        return None;
    }
    let (frame, rest) = std::mem::take(chunk).split_at_mut(header + length);
    *chunk = rest;
    let payload = &mut frame[header..];
    unmask(payload, mask, 0);
    Some(payload)
}

fn text(payload: &[u8]) -> WsItem<'_> {
    std::str::from_utf8(payload).map_or(WsItem::Error(close_code::NOT_UTF8), WsItem::Text)
}

fn control(opcode: u8, payload: &[u8]) -> WsItem<'_> {
    match (opcode, payload) {
        (PING, payload) => WsItem::Ping(payload),
        (PONG, _) => WsItem::Pong,
        (_, []) => WsItem::Close(None),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            match (may_be_sent, std::str::from_utf8(reason)) {
                (true, Ok(_)) => WsItem::Close(Some(code)),
                (true, Err(_)) => WsItem::Error(close_code::NOT_UTF8),
                (false, _) => WsItem::Error(close_code::PROTOCOL_ERROR),
            }
        }
        (_, [_]) => WsItem::Error(close_code::PROTOCOL_ERROR),
    }
}

/// Removes the mask; `seen` bytes of the payload came before.
fn unmask(payload: &mut [u8], mask: [u8; 4], seen: usize) {
    let mut key = mask;
    key.rotate_left(seen % 4);
    let mut wide = [0; 32];
    wide.as_chunks_mut().0.fill(key);
    // Blocks of a known length, which the compiler takes many bytes at a time.
    let (blocks, rest) = payload.as_chunks_mut::<32>();
    for block in blocks {
        block.iter_mut().zip(wide).for_each(|(byte, key)| *byte ^= key);
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Begins a text frame whose payload is written next; gives what [`end_text`] needs.
#[must_use]
pub fn begin_text(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    // The usual header: a payload of 126 bytes to 64 KiB.
    out.extend_from_slice(&[0; 4]);
    start
}

/// Ends the text frame that began at `start`: its length is known now.
pub fn end_text(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start - 4;
    out[start] = 0x80 | TEXT;
    if let Ok(short) = u16::try_from(length) {
        if short < 126 {
            out[start + 1] = short as u8;
            out.copy_within(start + 4.., start + 2);
            out.truncate(start + 2 + length);
        } else {
            out[start + 1] = 126;
            out[start + 2..start + 4].copy_from_slice(&short.to_be_bytes());
        }
    } else {
        out[start + 1] = 127;
        out.splice(start + 2..start + 4, (length as u64).to_be_bytes());
    }
}

/// Appends a text frame as a client would write it, with a mask of zeros: a message that may not be
/// handed in yet is kept in this form and read again.
pub fn write_as_client(out: &mut Vec<u8>, payload: &str) {
    let start = begin_text(out);
    out.extend_from_slice(payload.as_bytes());
    end_text(out, start);
    let header = out.len() - start - payload.len();
    out[start + 1] |= 0x80;
    out.splice(start + header..start + header, [0; 4]);
}

/// The length of the frame that these bytes begin with, header included. `None`: the header is
/// incomplete. The frame must be one that this server wrote: not masked.
#[must_use]
pub fn written_frame_length(bytes: &[u8]) -> Option<usize> {
    let (header, length) = match *bytes.get(1)? {
        126 => (4, u64::from(u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?)),
        short => (2, u64::from(short)),
    };
    usize::try_from(length).ok().and_then(|length| length.checked_add(header))
}

/// Appends a pong with this payload, which came in a ping and so has at most 125 bytes.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    out.extend_from_slice(&[0x80 | PONG, payload.len() as u8]);
    out.extend_from_slice(payload);
}

/// Appends a close frame.
pub fn write_close(out: &mut Vec<u8>, code: Option<u16>) {
    match code {
        None => out.extend_from_slice(&[0x80 | CLOSE, 0]),
        Some(code) => {
            out.extend_from_slice(&[0x80 | CLOSE, 2]);
            out.extend_from_slice(&code.to_be_bytes());
        }
    }
}
