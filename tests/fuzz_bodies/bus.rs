//! Bus frames. The input is the part of a frame after its header, from a sender that knows the key.
//! The decoder must not panic on any input, and a frame that it accepts must have the same content
//! when it is written and read again.

use hongyan::bus::codec::{BusFrameCodec, DecodedBusMessage};
use hongyan::chat::contract::{BusFrame, NodeId, NodeIncarnation};

/// The first bytes of a frame: version, kind, sender and receiver.
const HEADER_BYTES: usize = 23;

fn codec(node: u16) -> BusFrameCodec {
    let node = NodeId::new(node).expect("there are such nodes");
    BusFrameCodec::new(NodeIncarnation { node, epoch: 7 }, &[7; 32])
}

pub fn bus(data: &[u8]) {
    let (writer, reader) = (codec(1), codec(2));
    assert!(reader.read(data).is_err(), "input without a valid MAC was accepted");
    let empty = BusFrame { view: 0, confirmed_batch: None, refused_epoch: None, batch: None };
    let mut bytes = writer.write(1, reader.own_incarnation(), &empty).expect("an empty frame is short");
    bytes.truncate(HEADER_BYTES);
    bytes.extend(data);
    writer.seal(&mut bytes);
    match reader.read(&bytes) {
        Ok(DecodedBusMessage::Frame { from, frame }) => {
            assert_eq!(from, writer.own_incarnation());
            let mut again = writer.write(1, reader.own_incarnation(), &frame).expect("this frame was short enough");
            writer.seal(&mut again);
            // The bytes may differ, since additions of a newer version to a record are left out.
            assert_eq!(reader.read(&again), Ok(DecodedBusMessage::Frame { from, frame }));
        }
        Ok(DecodedBusMessage::Beat(number)) => panic!("a frame was taken for the beat {number}"),
        Err(_) => {}
    }
}
