//! The frames of the clients, prepared: only the id is written anew for each message, at its fixed
//! place.
//!
//! hongyan is spoken to in the string form, in which the ids of all four frames stand at the
//! same place. The relay gets the same frames. MQTT 3.1.1 with QoS 1 is the same flow: PUBLISH,
//! PUBLISH, PUBACK, PUBACK.

use super::Fallible;

const PUSH_HEAD: &str = r#"{"CONTENT":"{\"messageId\":\""#;
const REPLY_HEAD: &str = r#"{"CONTENT":"{\"MessageId\":\""#;
const TAKEN: &[u8] = br#"\",\"Content\":\"MS\"}","TYPE":"RE_MESSAGE"}"#;
/// The bytes that the server adds to a push.
const TIME_BYTES: usize = r#"\"time\":\"1652804254778\","#.len();
/// Where `m` (a push) or `M` (an ack or a reply) stands.
const KIND_AT: usize = r#"{"CONTENT":"{\""#.len();
const ID_AT: usize = PUSH_HEAD.len();
const ID_BYTES: usize = 10;
const ID_END: usize = ID_AT + ID_BYTES;
const HEX: &[u8; 16] = b"0123456789abcdef";
/// The mask of all WebSocket frames: any will do, as long as the server has to take it off.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// hongyan over raw TCP.
    Raw,
    /// hongyan over WebSocket.
    WebSocket,
    /// The frames of `Raw`, moved by the relay.
    Relay,
    /// MQTT 3.1.1.
    Mqtt,
}

/// The frames of one sender to one receiver.
pub struct Frames {
    message: Vec<u8>,
    ack: Vec<u8>,
    id_at: usize,
    /// How a push ends: proves that the text came whole.
    push_tail: Vec<u8>,
    push_bytes: usize,
}

/// The meaning of a received frame.
pub enum Heard {
    /// The message of this number is done.
    Done(u64),
    /// The next message is half done: MQTT says one half to the sender and one to the receiver.
    Half,
}

impl Dialect {
    /// Does the server have users that log in?
    pub fn has_users(self) -> bool {
        matches!(self, Self::Raw | Self::WebSocket)
    }

    /// The length of the frame at the front, `None` when it is not whole.
    #[inline]
    pub fn frame_length(self, bytes: &[u8]) -> Option<usize> {
        let length = match self {
            Self::Raw | Self::Relay => return memchr::memchr(b'\n', bytes).map(|end| end + 1),
            Self::WebSocket => match *bytes.get(1)? {
                126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
                127 => usize::MAX,
                length => 2 + usize::from(length),
            },
            Self::Mqtt => match (*bytes.get(1)?, bytes.get(2)) {
                (short, _) if short < 128 => 2 + usize::from(short),
                (low, Some(&high)) => 3 + usize::from(low & 127) + (usize::from(high) << 7),
                (_, None) => return None,
            },
        };
        (bytes.len() >= length).then_some(length)
    }

    /// The text of a whole frame: without what frames it.
    fn text(self, frame: &[u8]) -> &[u8] {
        match self {
            Self::Raw | Self::Relay => &frame[..frame.len() - 1],
            Self::WebSocket => &frame[if frame[1] < 126 { 2 } else { 4 }..],
            Self::Mqtt => frame,
        }
    }

    /// Appends a frame with this text.
    pub fn write(self, out: &mut Vec<u8>, text: &str) {
        if self != Self::WebSocket {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
            return;
        }
        out.push(0x81);
        match u8::try_from(text.len()) {
            Ok(length) if length < 126 => out.push(0x80 | length),
            _ => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(text.len() as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(&MASK);
        out.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
}

impl Frames {
    pub fn new(dialect: Dialect, sender: &str, receiver: &str, content: &str) -> Self {
        if dialect == Dialect::Mqtt {
            return Self::mqtt(receiver, content);
        }
        let id = "0".repeat(ID_BYTES);
        let tail = format!(r#"\"content\":\"{content}\"}}","TYPE":"4"}}"#);
        let text = format!(r#"{PUSH_HEAD}{id}\",\"sender\":\"{sender}\",\"receiver\":\"{receiver}\",{tail}"#);
        let (mut message, mut ack) = (vec![], vec![]);
        dialect.write(&mut message, &text);
        dialect.write(&mut ack, &format!(r#"{REPLY_HEAD}{id}\"}}","TYPE":"5"}}"#));
        let push_bytes = text.len() + if dialect == Dialect::Relay { 0 } else { TIME_BYTES };
        Self { message, ack, id_at: ID_AT, push_tail: tail.into_bytes(), push_bytes }
    }

    fn mqtt(topic: &str, content: &str) -> Self {
        let mut message = vec![0x32];
        let length = 2 + topic.len() + 2 + content.len();
        remaining_length(&mut message, length);
        message.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        message.extend_from_slice(topic.as_bytes());
        let id_at = message.len();
        message.extend_from_slice(&[0; 2]);
        message.extend_from_slice(content.as_bytes());
        let push_bytes = message.len();
        Self { message, ack: vec![0x40, 2, 0, 0], id_at, push_tail: content.as_bytes().to_vec(), push_bytes }
    }

    /// Appends message `number`.
    #[inline]
    pub fn write_message(&self, dialect: Dialect, number: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.message);
        let frame = &mut out[start..];
        if dialect == Dialect::Mqtt {
            // Packet ids are never 0.
            let id = (number % 0xffff) as u16 + 1;
            frame[self.id_at..self.id_at + 2].copy_from_slice(&id.to_be_bytes());
        } else {
            let mut id = [0; ID_BYTES];
            let mut rest = number;
            for byte in id.iter_mut().rev() {
                *byte = HEX[(rest & 15) as usize];
                rest >>= 4;
            }
            put_id(dialect, frame, self.message.len(), &id);
        }
    }

    /// The receiver got this frame: appends its ack.
    #[inline]
    pub fn take_push(&self, dialect: Dialect, frame: &[u8], out: &mut Vec<u8>) -> Fallible<()> {
        let text = dialect.text(frame);
        if text.len() != self.push_bytes || !text.ends_with(&self.push_tail) {
            return Err(strange("the receiver", frame));
        }
        let start = out.len();
        out.extend_from_slice(&self.ack);
        let ack = &mut out[start..];
        if dialect == Dialect::Mqtt {
            ack[2..].copy_from_slice(&frame[self.id_at..self.id_at + 2]);
        } else {
            if text[KIND_AT] != b'm' {
                return Err(strange("the receiver", frame));
            }
            let mut id = [0; ID_BYTES];
            id.copy_from_slice(&text[ID_AT..ID_END]);
            put_id(dialect, ack, self.ack.len(), &id);
        }
        Ok(())
    }
}

/// The sender got this frame.
#[inline]
pub fn take_answer(dialect: Dialect, frame: &[u8]) -> Fallible<Heard> {
    let text = dialect.text(frame);
    if dialect == Dialect::Mqtt {
        return if frame[0] == 0x40 { Ok(Heard::Half) } else { Err(strange("the sender", frame)) };
    }
    let taken = dialect == Dialect::Relay || text.get(ID_END..) == Some(TAKEN);
    if !taken || text.get(KIND_AT) != Some(&b'M') || text.len() < ID_END {
        return Err(strange("the sender", frame));
    }
    Ok(Heard::Done(number(&text[ID_AT..ID_END])))
}

/// The number of a message of hongyan that the receiver got.
pub fn pushed_number(dialect: Dialect, frame: &[u8]) -> u64 {
    number(&dialect.text(frame)[ID_AT..ID_END])
}

#[inline]
fn number(id: &[u8]) -> u64 {
    let mut number = 0;
    for &byte in id {
        let digit = if byte <= b'9' { byte.wrapping_sub(b'0') } else { byte.wrapping_sub(b'a' - 10) };
        number = number << 4 | u64::from(digit);
    }
    number
}

/// Writes an id into a frame that was just appended; under its mask in a WebSocket.
#[inline]
fn put_id(dialect: Dialect, frame: &mut [u8], length: usize, id: &[u8; ID_BYTES]) {
    if dialect == Dialect::WebSocket {
        let start = if length < 126 + 6 { 6 } else { 8 };
        for (place, byte) in id.iter().enumerate() {
            frame[start + ID_AT + place] = byte ^ MASK[(ID_AT + place) & 3];
        }
    } else {
        frame[ID_AT..ID_END].copy_from_slice(id);
    }
}

fn strange(who: &str, frame: &[u8]) -> Box<dyn std::error::Error> {
    format!("{who} got what it does not expect: {}", shown(frame)).into()
}

/// The beginning of something, for an error.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 128 {
        out.push(length as u8 & 127 | 128);
        length >>= 7;
    }
    out.push(length as u8);
}

/// CONNECT with a client id of its own and a clean session.
pub fn mqtt_connect(client: &str) -> Vec<u8> {
    let mut out = vec![0x10];
    remaining_length(&mut out, 10 + 2 + client.len());
    out.extend_from_slice(b"\x00\x04MQTT\x04\x02\x00\x00");
    out.extend_from_slice(&(client.len() as u16).to_be_bytes());
    out.extend_from_slice(client.as_bytes());
    out
}

/// SUBSCRIBE to one topic with QoS 1.
pub fn mqtt_subscribe(topic: &str) -> Vec<u8> {
    let mut out = vec![0x82];
    remaining_length(&mut out, 2 + 2 + topic.len() + 1);
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.push(1);
    out
}
