//! The encoding of node records in inboxes (the table `mail`), and within the frames of the bus.
//!
//! A record has its kind and its fields. Numbers are little-endian; texts and lists follow their
//! length. In an inbox the version, the epoch of the receiving node and the sender precede it.

use crate::chat::contract::{
    ForcedLogoutCause, HandoverDedupEntry, HandoverReceiversWithUnnotifiedOwners, NodeId, NodeIncarnation, NodeMessage,
    NodePresenceUpdate, UserHandoverData,
};
use crate::protocol::field::UserName;
use crate::versions::{FRAME_MAX, FRAME_MIN, behind_header};
use std::ops::RangeInclusive;

const LOOK: u8 = 1;
const FRIEND: u8 = 2;
const RELEASE: u8 = 3;
const RELEASED: u8 = 4;
const MISSED: u8 = 5;
const ACK: u8 = 20;
const NO: u8 = 21;
const END: u8 = 6;
const ENDED: u8 = 7;
const WHO: u8 = 8;
const PRESENT: u8 = 9;
const MOVED: u8 = 10;
const ASK: u8 = MAY_BE_SKIPPED;
const TOLD: u8 = MAY_BE_SKIPPED + 1;
/// Why something ends: the place in this list, from 1 on.
const ENDINGS: [ForcedLogoutCause; 5] = [
    ForcedLogoutCause::Disconnected,
    ForcedLogoutCause::Banned,
    ForcedLogoutCause::NewPassword,
    ForcedLogoutCause::OwnNewPassword,
    ForcedLogoutCause::Deleted,
];
/// All kinds that are known.
const KINDS: [u8; 14] = [LOOK, FRIEND, RELEASE, RELEASED, MISSED, END, ENDED, WHO, PRESENT, MOVED, ACK, NO, ASK, TOLD];
/// A newer program that has something to say which an older one need not know gives it this kind or
/// a greater one.
const MAY_BE_SKIPPED: u8 = 128;
/// A user who has moved takes so many bytes at least.
const MOVED_BYTES_MIN: usize = 2 + 1 + 4;
/// The bytes of one entry of a dedup window.
const SAID_BYTES: usize = 16;
/// No message has this key. Its entry has the age of the dirty receivers, and in the last bit
/// whether some are not listed. An older program takes it for a message that nobody repeats.
const KEY_OF_DIRTY: u64 = 0;

/// One record with its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DecodedInboxRecord {
    /// The sender.
    pub(super) from: NodeIncarnation,
    /// The record.
    pub(super) record: NodeMessage,
}

/// Writes a record of a version that its receiver reads.
pub(super) fn write(version: u16, from: NodeIncarnation, to: NodeIncarnation, record: &NodeMessage) -> Vec<u8> {
    // There are few.
    let mut out = vec![version as u8];
    out.extend(to.epoch.to_le_bytes());
    out.extend(from.node.get().to_le_bytes());
    out.extend(from.epoch.to_le_bytes());
    out.extend(behind_header(version));
    append(&mut out, record);
    out
}

/// The number of a cause in a record; 0 for none of the list.
fn ending_number(cause: ForcedLogoutCause) -> u8 {
    let place = ENDINGS.iter().position(|ending| *ending == cause).map_or(0, |place| place + 1);
    // There are few.
    place as u8
}

/// Appends a record to the bytes.
pub fn append(out: &mut Vec<u8>, record: &NodeMessage) {
    match record {
        NodeMessage::Look { user } => {
            out.push(LOOK);
            write_name(out, user);
        }
        NodeMessage::Friend { user } => {
            out.push(FRIEND);
            write_name(out, user);
        }
        NodeMessage::Release { user, epoch, claim } => {
            out.push(RELEASE);
            write_name(out, user);
            out.extend(epoch.to_le_bytes());
            out.extend(claim.to_le_bytes());
        }
        NodeMessage::Released(released) => {
            out.push(RELEASED);
            write_released(out, released);
        }
        NodeMessage::End { user, cause, order } => {
            out.push(END);
            write_name(out, user);
            out.push(ending_number(*cause));
            out.extend(order.to_le_bytes());
        }
        NodeMessage::Ended { order, was_connected } => {
            out.push(ENDED);
            out.extend(order.to_le_bytes());
            out.push(u8::from(*was_connected));
        }
        NodeMessage::Ack { user, seq } => {
            out.push(ACK);
            write_name(out, user);
            out.extend(seq.to_le_bytes());
        }
        NodeMessage::No { user, seq } => {
            out.push(NO);
            write_name(out, user);
            out.extend(seq.to_le_bytes());
        }
        NodeMessage::Ask { user, question } => {
            out.push(ASK);
            write_name(out, user);
            out.extend(question.to_le_bytes());
        }
        NodeMessage::Told { question, online } => {
            out.push(TOLD);
            out.extend(question.to_le_bytes());
            let (since_ms, outstanding) = online.unwrap_or_default();
            out.push(u8::from(online.is_some()));
            out.extend(since_ms.to_le_bytes());
            out.extend(outstanding.to_le_bytes());
        }
        NodeMessage::Who => out.push(WHO),
        NodeMessage::Present { number, is_first, is_last, users } => {
            out.push(PRESENT);
            out.extend(number.to_le_bytes());
            out.extend([u8::from(*is_first), u8::from(*is_last)]);
            write_count(out, users.len());
            users.iter().for_each(|user| out.extend(user.to_le_bytes()));
        }
        NodeMessage::Moved { number, users } => {
            out.push(MOVED);
            out.extend(number.to_le_bytes());
            write_moved(out, users);
        }
        NodeMessage::RecordsMissed => out.push(MISSED),
    }
}

fn write_moved(out: &mut Vec<u8>, users: &[NodePresenceUpdate]) {
    write_count(out, users.len());
    for NodePresenceUpdate { user, is_online, friends } in users {
        write_name(out, user);
        out.push(u8::from(*is_online));
        write_count(out, friends.len());
        friends.iter().for_each(|friend| write_name(out, friend));
    }
}

fn write_released(out: &mut Vec<u8>, released: &UserHandoverData) {
    write_name(out, &released.user);
    for number in [released.claim, released.epoch, released.clock] {
        out.extend(number.to_le_bytes());
    }
    let HandoverReceiversWithUnnotifiedOwners { listed, has_unlisted, age_ms } = &released.dirty;
    write_count(out, listed.len());
    listed.iter().for_each(|user| write_name(out, user));
    let of_dirty = ((*age_ms).min(u64::MAX >> 1) << 1) | u64::from(*has_unlisted);
    let of_dirty = (of_dirty > 0).then_some(HandoverDedupEntry { key: KEY_OF_DIRTY, age_ms: of_dirty });
    write_count(out, released.window.len() + usize::from(of_dirty.is_some()));
    for said in of_dirty.iter().chain(&released.window) {
        for number in [said.key, said.age_ms] {
            out.extend(number.to_le_bytes());
        }
    }
}

fn write_count(out: &mut Vec<u8>, count: usize) {
    // Such a list belongs to one user and is far shorter than this.
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_name(out: &mut Vec<u8>, user: &UserName) {
    let text = user.as_str().as_bytes();
    // A name has at most 256 bytes.
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(text);
}

/// Decodes a record that was written to this life of a node. `None`: it is to another life, or not
/// a valid record.
pub(super) fn read(bytes: &[u8], to: NodeIncarnation) -> Option<DecodedInboxRecord> {
    read_versions(FRAME_MIN..=FRAME_MAX, bytes, to)
}

fn read_versions(versions: RangeInclusive<u16>, bytes: &[u8], to: NodeIncarnation) -> Option<DecodedInboxRecord> {
    let mut rest = ByteReader(bytes);
    let (version, epoch) = (rest.byte()?.into(), rest.u64()?);
    if !versions.contains(&version) || epoch != to.epoch {
        return None;
    }
    let from = NodeIncarnation { node: NodeId::new(rest.u16()?)?, epoch: rest.u64()? };
    let more = behind_header(version);
    if rest.take(more.len()) != Some(more) {
        return None;
    }
    let record = parse(rest.0).or_else(|| skip_unknown(rest.0))?;
    Some(DecodedInboxRecord { from, record })
}

/// The replacement for a record whose kind only newer programs know. It is skipped if its kind
/// allows that. Otherwise it counts as missed, because anything may have been in it.
fn skip_unknown(bytes: &[u8]) -> Option<NodeMessage> {
    let kind = *bytes.first()?;
    let is_known = KINDS.contains(&kind);
    (!is_known && kind < MAY_BE_SKIPPED).then_some(NodeMessage::RecordsMissed)
}

/// Reads the record that these bytes are. `None`: they are none.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<NodeMessage> {
    let mut rest = ByteReader(bytes);
    let record = match rest.byte()? {
        LOOK => NodeMessage::Look { user: rest.name()? },
        FRIEND => NodeMessage::Friend { user: rest.name()? },
        RELEASE => NodeMessage::Release { user: rest.name()?, epoch: rest.u64()?, claim: rest.u64()? },
        RELEASED => NodeMessage::Released(Box::new(rest.user_handover()?)),
        END => NodeMessage::End { user: rest.name()?, cause: rest.forced_logout_cause()?, order: rest.u64()? },
        ENDED => NodeMessage::Ended { order: rest.u64()?, was_connected: rest.byte()? != 0 },
        ACK => NodeMessage::Ack { user: rest.name()?, seq: rest.u64()? },
        NO => NodeMessage::No { user: rest.name()?, seq: rest.u64()? },
        ASK => NodeMessage::Ask { user: rest.name()?, question: rest.u64()? },
        TOLD => {
            let (question, is_online, since_ms) = (rest.u64()?, rest.byte()? != 0, rest.u64()?);
            let outstanding = rest.take(4)?.try_into().ok().map(u32::from_le_bytes)?;
            NodeMessage::Told { question, online: is_online.then_some((since_ms, outstanding)) }
        }
        WHO => NodeMessage::Who,
        PRESENT => {
            let (number, is_first, is_last) = (rest.u64()?, rest.byte()? != 0, rest.byte()? != 0);
            let users = (0..rest.count(8)?).map(|_| rest.u64()).collect::<Option<Vec<_>>>()?;
            NodeMessage::Present { number, is_first, is_last, users }
        }
        MOVED => {
            let number = rest.u64()?;
            let users =
                (0..rest.count(MOVED_BYTES_MIN)?).map(|_| rest.presence_update()).collect::<Option<Vec<_>>>()?;
            NodeMessage::Moved { number, users }
        }
        MISSED => NodeMessage::RecordsMissed,
        _ => return None,
    };
    rest.0.is_empty().then_some(record)
}

/// The bytes of an encoding that are not read yet. Each method reads one value from their front;
/// `None`: they are too short, or are no such value. The frames of the bus are read with it, too.
pub(crate) struct ByteReader<'a>(pub(crate) &'a [u8]);

impl<'a> ByteReader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(crate) fn length(&mut self) -> Option<usize> {
        self.take(4)?.try_into().ok().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = self.u16()?.into();
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub(crate) fn name(&mut self) -> Option<UserName> {
        UserName::new(self.text()?).ok()
    }

    /// The number of elements that follow; each has at least `bytes_min` bytes, so a number that
    /// does not fit the rest is refused.
    fn count(&mut self, bytes_min: usize) -> Option<usize> {
        let count = self.length()?;
        (count <= self.0.len() / bytes_min).then_some(count)
    }

    fn presence_update(&mut self) -> Option<NodePresenceUpdate> {
        let (user, is_online) = (self.name()?, self.byte()? != 0);
        let friends = (0..self.count(2)?).map(|_| self.name()).collect::<Option<Vec<_>>>()?;
        Some(NodePresenceUpdate { user, is_online, friends })
    }

    fn forced_logout_cause(&mut self) -> Option<ForcedLogoutCause> {
        ENDINGS.get(usize::from(self.byte()?).checked_sub(1)?).copied()
    }

    fn user_handover(&mut self) -> Option<UserHandoverData> {
        let (user, claim, epoch, clock) = (self.name()?, self.u64()?, self.u64()?, self.u64()?);
        let listed = (0..self.count(2)?).map(|_| self.name()).collect::<Option<Vec<_>>>()?;
        let one = |rest: &mut Self| Some(HandoverDedupEntry { key: rest.u64()?, age_ms: rest.u64()? });
        let mut window = (0..self.count(SAID_BYTES)?).map(|_| one(self)).collect::<Option<Vec<_>>>()?;
        let of_dirty = window.iter().find(|said| said.key == KEY_OF_DIRTY).map_or(0, |said| said.age_ms);
        window.retain(|said| said.key != KEY_OF_DIRTY);
        let dirty =
            HandoverReceiversWithUnnotifiedOwners { listed, has_unlisted: of_dirty & 1 == 1, age_ms: of_dirty >> 1 };
        Some(UserHandoverData { user, claim, epoch, clock, dirty, window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(node: u16, epoch: u64) -> NodeIncarnation {
        NodeIncarnation { node: NodeId::new(node).unwrap(), epoch }
    }

    fn all() -> Vec<NodeMessage> {
        let user = |name| UserName::new(name).unwrap();
        let window = (0..3).map(|n| HandoverDedupEntry { key: u64::MAX - n, age_ms: n }).collect();
        let released = UserHandoverData {
            user: user("ann"),
            claim: 7,
            epoch: 8,
            clock: 9,
            dirty: HandoverReceiversWithUnnotifiedOwners {
                listed: vec![user("bob"), user("鸿雁")],
                ..HandoverReceiversWithUnnotifiedOwners::default()
            },
            window,
        };
        let dirty = HandoverReceiversWithUnnotifiedOwners {
            listed: vec![user("bob")],
            has_unlisted: true,
            age_ms: u64::MAX >> 1,
        };
        let old = HandoverReceiversWithUnnotifiedOwners { listed: Vec::new(), has_unlisted: false, age_ms: 1 };
        vec![
            NodeMessage::Look { user: user("ann") },
            NodeMessage::Friend { user: user("鸿雁 🪿") },
            NodeMessage::Release { user: user("ann"), epoch: u64::MAX, claim: 1 },
            NodeMessage::Released(Box::new(released.clone())),
            NodeMessage::Released(Box::new(UserHandoverData { dirty, ..released.clone() })),
            NodeMessage::Released(Box::new(UserHandoverData { dirty: old, window: Vec::new(), ..released.clone() })),
            NodeMessage::Released(Box::new(UserHandoverData {
                dirty: HandoverReceiversWithUnnotifiedOwners::default(),
                window: Vec::new(),
                ..released
            })),
            NodeMessage::Ended { order: u64::MAX, was_connected: true },
            NodeMessage::Ended { order: 1, was_connected: false },
            NodeMessage::Ack { user: user("ann"), seq: u64::MAX },
            NodeMessage::No { user: user("ann"), seq: 1 << 40 },
            NodeMessage::Ask { user: user("ann"), question: 7 },
            NodeMessage::Told { question: 7, online: Some((1 << 40, u32::MAX)) },
            NodeMessage::Told { question: u64::MAX, online: None },
            NodeMessage::Who,
            NodeMessage::Present { number: 1, is_first: true, is_last: false, users: vec![0, u64::MAX] },
            NodeMessage::Present { number: 2, is_first: false, is_last: true, users: Vec::new() },
            NodeMessage::Moved {
                number: u64::MAX,
                users: vec![
                    NodePresenceUpdate {
                        user: user("ann"), is_online: true, friends: vec![user("bob"), user("鸿雁")]
                    },
                    NodePresenceUpdate { user: user("bob"), is_online: false, friends: Vec::new() },
                ],
            },
            NodeMessage::RecordsMissed,
        ]
        .into_iter()
        .chain(ENDINGS.map(|why| NodeMessage::End { user: user("ann"), cause: why, order: 7 }))
        .collect()
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_only_to_the_life_it_is_for() {
        let (from, to) = (life(1_023, u64::MAX), life(2, 5));
        for record in all() {
            let bytes = write(1, from, to, &record);
            assert_eq!(read(&bytes, to), Some(DecodedInboxRecord { from, record }));
            assert_eq!(read(&bytes, life(2, 6)), None);
        }
    }

    /// As it is written with nothing but names, and read by programs that know nothing else.
    #[test]
    fn unlisted_dirty_receivers_are_a_window_entry_with_an_id_that_no_message_has() {
        let released = |dirty, window| {
            let user = UserName::new("ann").unwrap();
            let released = UserHandoverData { user, claim: 1, epoch: 2, clock: 3, dirty, window };
            let mut bytes = Vec::new();
            write_released(&mut bytes, &released);
            bytes
        };
        let dirty = HandoverReceiversWithUnnotifiedOwners { listed: Vec::new(), has_unlisted: true, age_ms: 3 };
        let (said, of_dirty) = (HandoverDedupEntry { key: 5, age_ms: 6 }, HandoverDedupEntry { key: 0, age_ms: 7 });
        assert_eq!(
            released(dirty, vec![said]),
            released(HandoverReceiversWithUnnotifiedOwners::default(), vec![of_dirty, said])
        );
    }

    #[test]
    fn an_unknown_record_counts_as_missed_unless_it_may_be_skipped() {
        let (from, to) = (life(1, 1), life(2, 5));
        let mut known = write(1, from, to, &NodeMessage::RecordsMissed);
        let at = known.len() - 1;
        for (kind, record) in
            [(11, Some(NodeMessage::RecordsMissed)), (127, Some(NodeMessage::RecordsMissed)), (128, None), (255, None)]
        {
            known[at] = kind;
            let mut newer = known.clone();
            newer.extend(b"whatever");
            assert_eq!(read(&newer, to), record.map(|record| DecodedInboxRecord { from, record }), "{kind}");
        }
        for record in all() {
            let kind = write(1, from, to, &record)[at];
            assert!(KINDS.contains(&kind), "{record:?}");
        }
    }

    #[test]
    fn a_record_that_is_cut_off_or_goes_on_is_refused() {
        let (from, to) = (life(1, 1), life(2, 5));
        for record in all() {
            let bytes = write(1, from, to, &record);
            for length in 0..bytes.len() {
                assert_eq!(read(&bytes[..length], to), None, "{record:?} {length}");
            }
            assert_eq!(read(&[&bytes[..], &[0]].concat(), to), None);
            // Decoding takes no more memory than the bytes do, for any bytes.
            for at in 0..bytes.len() {
                let mut odd = bytes.clone();
                odd[at] = 0xff;
                drop(read(&odd, to));
            }
        }
    }

    #[test]
    fn a_build_reads_the_versions_that_it_knows_and_no_other() {
        let (from, to) = (life(1, 1), life(2, 5));
        for record in all() {
            let [old, new] = [1, 2].map(|version| write(version, from, to, &record));
            assert_eq!(new.len(), old.len() + behind_header(2).len());
            let letter = Some(DecodedInboxRecord { from, record });
            for (versions, reads) in [(1..=1, [true, false]), (1..=2, [true, true]), (2..=3, [false, true])] {
                for (bytes, reads) in [&old, &new].into_iter().zip(reads) {
                    assert_eq!(read_versions(versions.clone(), bytes, to), letter.clone().filter(|_| reads));
                }
            }
            // It says that it is of a version that it is not of.
            let mut odd = old.clone();
            odd[0] = 2;
            assert_eq!(read_versions(1..=2, &odd, to), None);
        }
    }
}
