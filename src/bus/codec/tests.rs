//! Every record comes back as it was; nothing that is no frame is taken for one, or harms.

use super::*;
use crate::chat::contract::{HandoverDedupEntry, HandoverReceiversWithUnnotifiedOwners, NodeMessage, UserHandoverData};
use crate::protocol::field::UserName;

const KEY: [u8; 32] = [7; 32];

fn life(node: u16, epoch: u64) -> NodeIncarnation {
    NodeIncarnation { node: NodeId::new(node).unwrap(), epoch }
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn push(content: &str) -> Push {
    let (id, sender) = (MessageId::new("m-1").unwrap(), UserNameRef::new("鸿雁").unwrap());
    Push::new(u64::MAX - 1, 1_700_000_000_000, PushKind::Message, &id, &sender, user("bob 🪿"), content)
}

fn records() -> Vec<BusRecord> {
    let said = |key| HandoverDedupEntry { key, age_ms: 9 };
    let released = UserHandoverData {
        user: user("ann"),
        claim: 1,
        epoch: 2,
        clock: 3,
        dirty: HandoverReceiversWithUnnotifiedOwners {
            listed: vec![user("bob"), user("cid")],
            has_unlisted: true,
            age_ms: 7,
        },
        window: vec![said(4), said(u64::MAX)],
    };
    vec![
        BusRecord::Begin { user: user("ann"), phase: u64::MAX },
        BusRecord::Push { phase: 3, push: push("honk \" \\ \n 雁") },
        BusRecord::Push { phase: 0, push: push("") },
        BusRecord::Push { phase: 1, push: push(&"long ".repeat(20_000)) },
        BusRecord::Record(NodeMessage::Ack { user: user("鸿雁"), seq: 5 }),
        BusRecord::Record(NodeMessage::No { user: user("ann"), seq: u64::MAX }),
        BusRecord::Record(NodeMessage::Look { user: user("ann") }),
        BusRecord::Record(NodeMessage::Friend { user: user("bob") }),
        BusRecord::Record(NodeMessage::Release { user: user("bob"), epoch: 7, claim: 8 }),
        BusRecord::Record(NodeMessage::Released(Box::new(released))),
        BusRecord::Record(NodeMessage::RecordsMissed),
    ]
}

/// Of every shape.
fn frames() -> Vec<BusFrame> {
    let place = |link, number| NodeLinkBatchNumber { link, number };
    let batch = |records| Some(NodeLinkBatch { position: place(u64::MAX, 2), records });
    let bare = BusFrame { view: 1, confirmed_batch: None, refused_epoch: None, batch: None };
    let mut all = vec![
        bare.clone(),
        BusFrame { confirmed_batch: Some(place(1, u64::MAX)), ..bare.clone() },
        BusFrame { refused_epoch: Some(9), view: u64::MAX, ..bare.clone() },
        BusFrame { batch: batch(Vec::new()), ..bare.clone() },
        BusFrame {
            confirmed_batch: Some(place(1, 2)),
            refused_epoch: Some(3),
            batch: batch(records()),
            ..bare.clone()
        },
    ];
    all.extend(records().into_iter().map(|record| BusFrame { batch: batch(vec![record]), ..bare.clone() }));
    all
}

fn pair() -> (BusFrameCodec, BusFrameCodec) {
    (BusFrameCodec::new(life(1, 5), &KEY), BusFrameCodec::new(life(1_023, u64::MAX), &KEY))
}

fn sealed(codec: &BusFrameCodec, to: NodeIncarnation, frame: &BusFrame) -> Vec<u8> {
    let mut bytes = codec.write(FRAME_MAX, to, frame).unwrap();
    codec.seal(&mut bytes);
    bytes
}

#[test]
fn every_frame_is_decoded_unchanged() {
    let (a, b) = pair();
    for frame in frames() {
        let bytes = sealed(&a, b.own_incarnation(), &frame);
        assert_eq!(b.read(&bytes), Ok(DecodedBusMessage::Frame { from: a.own_incarnation(), frame: Box::new(frame) }));
        // Frames to another node or to an earlier life, and a frame of its own that comes back.
        for me in [life(2, 5), life(1_023, 4), a.own_incarnation()] {
            assert_eq!(BusFrameCodec::new(me, &KEY).read(&bytes), Err(BusMessageRejectCause::NotForMe));
        }
    }
}

#[test]
fn a_beat_counts_only_for_the_incarnation_that_sent_it() {
    let (a, b) = pair();
    let mut beat = a.write_beat(77);
    a.seal(&mut beat);
    assert_eq!(a.read(&beat), Ok(DecodedBusMessage::Beat(77)));
    assert_eq!(b.read(&beat), Err(BusMessageRejectCause::NotForMe));
    assert_eq!(BusFrameCodec::new(life(1, 6), &KEY).read(&beat), Err(BusMessageRejectCause::NotForMe));
}

#[test]
fn frames_without_the_key_are_dropped() {
    let (a, b) = pair();
    let stranger = BusFrameCodec::new(a.own_incarnation(), &[8; 32]);
    let frame = &frames()[4];
    assert_eq!(b.read(&sealed(&stranger, b.own_incarnation(), frame)), Err(BusMessageRejectCause::Mac));
    assert_ne!(a.cluster_name(), stranger.cluster_name(), "two clusters use other channels");
    assert_eq!(a.cluster_name(), b.cluster_name());
    assert!(!format!("{a:?}").contains("07"), "{a:?}");
}

#[test]
fn an_unknown_version_is_dropped() {
    let (a, b) = pair();
    for version in [0, FRAME_MAX + 1, u16::MAX] {
        let mut bytes = a.write(version, b.own_incarnation(), &frames()[0]).unwrap();
        a.seal(&mut bytes);
        assert_eq!(b.read(&bytes), Err(BusMessageRejectCause::Version));
    }
}

#[test]
fn a_build_reads_the_versions_that_it_knows_and_no_other() {
    let to = life(2, 5);
    let writer = BusFrameCodec::of_versions(life(1, 5), &KEY, 1..=2);
    for frame in frames() {
        let [old, new] = [1, 2].map(|version| {
            let mut bytes = writer.write(version, to, &frame).unwrap();
            writer.seal(&mut bytes);
            bytes
        });
        assert_eq!(new.len(), old.len() + behind_header(2).len());
        for (versions, reads) in [(1..=1, [true, false]), (1..=2, [true, true]), (2..=3, [false, true])] {
            let reader = BusFrameCodec::of_versions(to, &KEY, versions);
            for (bytes, reads) in [&old, &new].into_iter().zip(reads) {
                let said =
                    || DecodedBusMessage::Frame { from: writer.own_incarnation(), frame: Box::new(frame.clone()) };
                assert_eq!(reader.read(bytes), reads.then(said).ok_or(BusMessageRejectCause::Version));
            }
        }
        // It says that it is of a version that it is not of.
        let mut odd = old[..old.len() - MAC_BYTES].to_vec();
        odd[..2].copy_from_slice(&2_u16.to_le_bytes());
        writer.seal(&mut odd);
        assert_eq!(BusFrameCodec::of_versions(to, &KEY, 1..=2).read(&odd), Err(BusMessageRejectCause::Broken));
    }
    let mut beat = writer.write_beat(7);
    writer.seal(&mut beat);
    assert_eq!(writer.read(&beat), Ok(DecodedBusMessage::Beat(7)), "it reads its own beats in its newest version");
}

#[test]
fn frames_that_are_too_long_are_neither_written_nor_read() {
    let (a, b) = pair();
    let with = |bytes| {
        let records = vec![BusRecord::Push { phase: 1, push: push(&"x".repeat(bytes)) }];
        let batch = Some(NodeLinkBatch { position: NodeLinkBatchNumber { link: 1, number: 1 }, records });
        a.write(
            FRAME_MAX,
            b.own_incarnation(),
            &BusFrame { view: 1, confirmed_batch: None, refused_epoch: None, batch },
        )
    };
    assert!(with(FRAME_BYTES_MAX).is_none());
    let mut longest = with(FRAME_BYTES_MAX - 200).unwrap();
    a.seal(&mut longest);
    assert!(b.read(&longest).is_ok());
    for length in [0, 1, HEADER_BYTES + MAC_BYTES - 1, FRAME_BYTES_MAX + 1] {
        assert_eq!(b.read(&vec![1; length]), Err(BusMessageRejectCause::Size));
    }
}

#[test]
fn a_truncated_changed_or_extended_frame_is_dropped() {
    let (a, b) = pair();
    let mut random = fastrand::Rng::with_seed(20);
    for frame in frames() {
        let bytes = sealed(&a, b.own_incarnation(), &frame);
        for _ in 0..64 {
            let at = random.usize(..bytes.len());
            assert!(b.read(&bytes[..at]).is_err());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << random.u8(..8);
            assert!(b.read(&flipped).is_err());
        }
        assert!(b.read(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn arbitrary_frames_with_the_right_key_do_no_harm() {
    // As a node of a build with a fault would: the MAC is right, the rest is not.
    let (a, b) = pair();
    let mut random = fastrand::Rng::with_seed(21);
    let (mut broken, mut taken, all) = (0, 0, frames());
    for round in 0..5_000 {
        let frame = &all[random.usize(..all.len())];
        let mut bytes = a.write(FRAME_MAX, b.own_incarnation(), frame).unwrap();
        bytes.truncate(bytes.len().min(2_000));
        match round % 4 {
            0 => bytes.truncate(random.usize(HEADER_BYTES..=bytes.len())),
            1 => {
                let at = random.usize(HEADER_BYTES..bytes.len());
                bytes[at] = random.u8(..);
            }
            2 => (HEADER_BYTES..bytes.len()).for_each(|at| bytes[at] = random.u8(..)),
            _ => {
                let at = random.usize(HEADER_BYTES..bytes.len());
                bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff);
            }
        }
        a.seal(&mut bytes);
        match b.read(&bytes) {
            Ok(DecodedBusMessage::Frame { .. }) => taken += 1,
            Err(BusMessageRejectCause::Broken) => broken += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(broken > 500 && taken > 50, "{broken} {taken}");
}

#[test]
fn the_encoding_of_a_record_has_a_minimal_length() {
    let (a, b) = pair();
    // The header, the view, the flags, a place and the number of records stand before it.
    let at = HEADER_BYTES + 8 + 1 + 16 + 4;
    for record in records() {
        let has_end = !matches!(record, BusRecord::Push { .. });
        let batch = Some(NodeLinkBatch { position: NodeLinkBatchNumber { link: 1, number: 1 }, records: vec![record] });
        let frame = BusFrame { view: 1, confirmed_batch: None, refused_epoch: None, batch };
        let mut bytes = a.write(FRAME_MAX, b.own_incarnation(), &frame).unwrap();
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        bytes[at..at + 4].copy_from_slice(&(length + 1).to_le_bytes());
        bytes.push(b'x');
        a.seal(&mut bytes);
        // The text of a push goes as far as its record does.
        assert_eq!(b.read(&bytes) == Err(BusMessageRejectCause::Broken), has_end, "{frame:?}");
    }
}

#[test]
fn random_bytes_are_not_a_frame() {
    let (_, b) = pair();
    let mut random = fastrand::Rng::with_seed(22);
    for _ in 0..20_000 {
        let length = random.usize(..300);
        let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        assert!(b.read(&bytes).is_err());
    }
}
