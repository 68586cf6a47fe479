//! The encoding of frames.
//!
//! A frame begins with a header of fixed size: the version, the kind, and sender and receiver (node
//! and epoch each). Later versions may have a longer header. The content follows, then a keyed MAC
//! of everything: only nodes that can read the database have the key. Numbers are little-endian.
//! Each text, list and record follows its length.

use crate::chat::contract::{BusFrame, BusRecord, NodeId, NodeIncarnation, NodeLinkBatch, NodeLinkBatchNumber};
use crate::protocol::field::{MessageId, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use crate::store::records::{self, ByteReader};
use crate::versions::{FRAME_MAX, FRAME_MIN, behind_header};
use blake2::Blake2bMac;
use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac as _};
use std::ops::RangeInclusive;

/// A longer frame is neither published nor accepted. A frame has one batch of at most some 64 KiB,
/// and the part of its last record that exceeds that.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Half of the output of BLAKE2b, which is still impossible to guess.
const MAC_BYTES: usize = 16;
/// The length of the header up to and including the epoch of the receiver.
const HEADER_BYTES: usize = 23;

type BusFrameMac = Blake2bMac<U16>;

/// The kind of a message on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BusMessageKind {
    /// A frame of the core.
    Frame = 0,
    /// A beat: a message of a node to itself, which shows that the instance carries messages.
    Beat = 1,
}

const CONFIRMED: u8 = 1;
const REFUSED: u8 = 2;
const BATCH: u8 = 4;

const BEGIN: u8 = 1;
const PUSH: u8 = 2;
const RECORD: u8 = 3;

/// A decoded message.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodedBusMessage {
    /// A frame of another node for this one.
    Frame {
        /// The sender.
        from: NodeIncarnation,
        /// The frame.
        frame: Box<BusFrame>,
    },
    /// A beat of this node.
    Beat(u64),
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusMessageRejectCause {
    /// It is shorter or longer than any frame.
    Size,
    /// This program cannot read its version.
    Version,
    /// Its sender does not have the key, or it was changed on the way.
    Mac,
    /// It is for another node, or for another incarnation of this one.
    NotForMe,
    /// Its MAC is right, but it is not a frame.
    Broken,
}

/// Writes and reads the frames of one incarnation of a node.
#[derive(Clone)]
pub struct BusFrameCodec {
    own_incarnation: NodeIncarnation,
    /// The versions that it reads; the last one is the newest that it writes.
    versions: RangeInclusive<u16>,
    /// The MAC, already initialised with the key.
    mac: BusFrameMac,
}

/// The key is not shown.
impl std::fmt::Debug for BusFrameCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusFrameCodec").field("me", &self.own_incarnation).finish_non_exhaustive()
    }
}

impl BusFrameCodec {
    /// Creates the codec of this incarnation, in the cluster with this key.
    #[must_use]
    pub fn new(me: NodeIncarnation, key: &[u8; 32]) -> Self {
        Self::of_versions(me, key, FRAME_MIN..=FRAME_MAX)
    }

    #[expect(clippy::expect_used, reason = "a key of 32 bytes is none that BLAKE2b refuses: it takes up to 64")]
    fn of_versions(own_incarnation: NodeIncarnation, key: &[u8; 32], versions: RangeInclusive<u16>) -> Self {
        Self { own_incarnation, versions, mac: <BusFrameMac as KeyInit>::new_from_slice(key).expect("a short key") }
    }

    /// The incarnation whose frames it writes.
    #[must_use]
    pub fn own_incarnation(&self) -> NodeIncarnation {
        self.own_incarnation
    }

    /// A name of this cluster for the channels of its nodes, which reveals nothing about the key.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        let mac = self.mac.clone().chain_update(b"the name of the cluster").finalize().into_bytes();
        mac.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes a frame without its MAC, in a version that its receiver can read. `None`: it is too
    /// long.
    #[must_use]
    pub fn write(&self, version: u16, to: NodeIncarnation, frame: &BusFrame) -> Option<Vec<u8>> {
        let records = frame.batch.iter().flat_map(|batch| &batch.records);
        let expected: usize = records.map(BusRecord::weight_bytes).sum();
        let mut out = self.header(version, BusMessageKind::Frame, to, expected.min(FRAME_BYTES_MAX) + 128);
        write_frame(&mut out, frame);
        (out.len() + MAC_BYTES <= FRAME_BYTES_MAX).then_some(out)
    }

    /// Writes a beat without its MAC.
    #[must_use]
    pub fn write_beat(&self, number: u64) -> Vec<u8> {
        // No other node reads it, so it always has the newest version.
        let mut out = self.header(*self.versions.end(), BusMessageKind::Beat, self.own_incarnation, 64);
        out.extend(number.to_le_bytes());
        out
    }

    fn header(&self, version: u16, kind: BusMessageKind, to: NodeIncarnation, capacity: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + capacity);
        out.extend(version.to_le_bytes());
        out.push(kind as u8);
        for life in [self.own_incarnation, to] {
            out.extend(life.node.get().to_le_bytes());
            out.extend(life.epoch.to_le_bytes());
        }
        out.extend(behind_header(version));
        out
    }

    /// Appends the MAC.
    pub fn seal(&self, bytes: &mut Vec<u8>) {
        let mac = self.mac.clone().chain_update(&*bytes).finalize().into_bytes();
        bytes.extend(mac);
    }

    /// Reads a message from the bus.
    ///
    /// # Errors
    /// The cause for which it must be dropped.
    pub fn read(&self, bytes: &[u8]) -> Result<DecodedBusMessage, BusMessageRejectCause> {
        if bytes.len() < HEADER_BYTES + MAC_BYTES || bytes.len() > FRAME_BYTES_MAX {
            return Err(BusMessageRejectCause::Size);
        }
        let (said, mac) = bytes.split_at(bytes.len() - MAC_BYTES);
        let mut rest = ByteReader(said);
        let version = rest.u16().ok_or(BusMessageRejectCause::Size)?;
        // A newer version may have another MAC.
        if !self.versions.contains(&version) {
            return Err(BusMessageRejectCause::Version);
        }
        self.mac.clone().chain_update(said).verify_slice(mac).map_err(|_| BusMessageRejectCause::Mac)?;
        let kind = rest.byte().ok_or(BusMessageRejectCause::Broken)?;
        let (from, to) = (
            rest.incarnation().ok_or(BusMessageRejectCause::Broken)?,
            rest.incarnation().ok_or(BusMessageRejectCause::Broken)?,
        );
        let is_own = from.node == self.own_incarnation.node;
        if to != self.own_incarnation || (is_own && from != self.own_incarnation) {
            return Err(BusMessageRejectCause::NotForMe);
        }
        let more = behind_header(version);
        if rest.take(more.len()) != Some(more) {
            return Err(BusMessageRejectCause::Broken);
        }
        let message = match kind {
            kind if kind == BusMessageKind::Frame as u8 && !is_own => {
                rest.frame().map(|frame| DecodedBusMessage::Frame { from, frame: Box::new(frame) })
            }
            kind if kind == BusMessageKind::Beat as u8 && is_own => rest.u64().map(DecodedBusMessage::Beat),
            _ => None,
        };
        message.filter(|_| rest.0.is_empty()).ok_or(BusMessageRejectCause::Broken)
    }
}

fn write_frame(out: &mut Vec<u8>, frame: &BusFrame) {
    let BusFrame { view, confirmed_batch, refused_epoch, batch } = frame;
    out.extend(view.to_le_bytes());
    let flag = |is_there, flag| if is_there { flag } else { 0 };
    out.push(
        flag(confirmed_batch.is_some(), CONFIRMED)
            | flag(refused_epoch.is_some(), REFUSED)
            | flag(batch.is_some(), BATCH),
    );
    if let Some(place) = confirmed_batch {
        write_place(out, *place);
    }
    if let Some(link) = refused_epoch {
        out.extend(link.to_le_bytes());
    }
    if let Some(batch) = batch {
        write_place(out, batch.position);
        write_length(out, batch.records.len());
        for record in &batch.records {
            let at = out.len();
            out.extend([0; 4]);
            write_record(out, record);
            // A frame with a longer record would be too long itself.
            let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
            out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }
}

fn write_record(out: &mut Vec<u8>, record: &BusRecord) {
    match record {
        BusRecord::Begin { user, phase } => {
            out.push(BEGIN);
            write_text(out, user.as_str());
            out.extend(phase.to_le_bytes());
        }
        BusRecord::Push { phase, push } => {
            out.extend([PUSH, push.kind.code()]);
            for number in [*phase, push.seq, push.time_ms] {
                out.extend(number.to_le_bytes());
            }
            for text in [push.receiver(), push.id(), push.sender()] {
                write_text(out, text);
            }
            out.extend(push.content().as_bytes());
        }
        BusRecord::Record(record) => {
            out.push(RECORD);
            records::append(out, record);
        }
    }
}

fn write_place(out: &mut Vec<u8>, NodeLinkBatchNumber { link, number }: NodeLinkBatchNumber) {
    out.extend(link.to_le_bytes());
    out.extend(number.to_le_bytes());
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    // A frame with more records would be too long.
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // Names and ids have at most 256 bytes.
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(text.as_bytes());
}

impl ByteReader<'_> {
    fn incarnation(&mut self) -> Option<NodeIncarnation> {
        Some(NodeIncarnation { node: NodeId::new(self.u16()?)?, epoch: self.u64()? })
    }

    fn batch_number(&mut self) -> Option<NodeLinkBatchNumber> {
        Some(NodeLinkBatchNumber { link: self.u64()?, number: self.u64()? })
    }

    fn frame(&mut self) -> Option<BusFrame> {
        let (view, flags) = (self.u64()?, self.byte()?);
        if flags & !(CONFIRMED | REFUSED | BATCH) != 0 {
            return None;
        }
        let confirmed = if flags & CONFIRMED == 0 { None } else { Some(self.batch_number()?) };
        let refused = if flags & REFUSED == 0 { None } else { Some(self.u64()?) };
        let batch = if flags & BATCH == 0 { None } else { Some(self.batch()?) };
        Some(BusFrame { view, confirmed_batch: confirmed, refused_epoch: refused, batch })
    }

    fn batch(&mut self) -> Option<NodeLinkBatch> {
        let (place, count) = (self.batch_number()?, self.length()?);
        let one = |rest: &mut Self| {
            let length = rest.length()?;
            ByteReader(rest.take(length)?).record()
        };
        // No memory is reserved in advance: `count` may be any number.
        let records = (0..count).map(|_| one(self)).collect::<Option<Vec<_>>>()?;
        Some(NodeLinkBatch { position: place, records })
    }

    /// The rest is one record.
    fn record(mut self) -> Option<BusRecord> {
        let record = match self.byte()? {
            BEGIN => BusRecord::Begin { user: self.name()?, phase: self.u64()? },
            PUSH => return self.push(),
            RECORD => return records::parse(self.0).map(BusRecord::Record),
            _ => return None,
        };
        self.0.is_empty().then_some(record)
    }

    fn push(mut self) -> Option<BusRecord> {
        let kind = PushKind::from_code(self.byte()?)?;
        let (phase, seq, time_ms) = (self.u64()?, self.u64()?, self.u64()?);
        let (receiver, id, sender) =
            (self.name()?, MessageId::new(self.text()?).ok()?, UserNameRef::new(self.text()?).ok()?);
        let content = std::str::from_utf8(self.0).ok()?;
        let push = Push::new(seq, time_ms, kind, &id, &sender, receiver, content);
        Some(BusRecord::Push { phase, push })
    }
}

#[cfg(test)]
mod tests;
