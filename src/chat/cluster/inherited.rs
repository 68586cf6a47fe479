//! The dirty receivers that came with a sender from the sender's former node. That node tells their
//! owners. If the sender moves on before all owners certainly know, the next node must learn of
//! these receivers, too.

use super::contract::HandoverReceiversWithUnnotifiedOwners;
use crate::protocol::field::UserName;
use std::collections::{BTreeSet, HashMap};

/// After this time the owners know: a node tries each second to find out an owner, and a record to
/// another node is read within seconds, or that node is fenced. The time is long because an outage
/// of the database, or tens of thousands of owners to be read, can hold up the first try.
pub(super) const SETTLED_AFTER_MS: u64 = 600_000;
/// The same for receivers who are not listed. It is shorter, since each move of such a sender makes
/// the next node read all lists.
pub(super) const UNLISTED_SETTLED_AFTER_MS: u64 = 60_000;
/// The maximum number of senders and receivers together.
const KEPT_MAX: usize = if cfg!(test) { 5_000 } else { 200_000 };
/// The memory of a sender, in all tables, and of a receiver with the longest name.
const SENDER_BYTES: usize = 128;
const RECEIVER_BYTES: usize = 320;

/// The receivers of one sender.
#[derive(Debug)]
struct ArrivedSenderReceiversWithUnnotifiedOwners {
    /// All of them had become dirty by this time.
    since_ms: u64,
    listed: Vec<UserName>,
    /// If some receivers are not listed: the number of this loss (`PairsWithUnnotifiedOwner`).
    loss: Option<u64>,
}

/// The receivers of all senders who came here.
#[derive(Debug, Default)]
pub(super) struct ArrivedSendersWithUnnotifiedOwners {
    /// By the hash of the sender's name. Never iterated, since its order is random.
    by_sender: HashMap<u64, ArrivedSenderReceiversWithUnnotifiedOwners>,
    /// The senders in the order of `since_ms`.
    by_time: BTreeSet<(u64, u64)>,
    /// The number of receivers.
    listed: usize,
    /// There was no room for some receivers. All of those had become dirty by this time.
    omitted_since_ms: Option<u64>,
}

impl ArrivedSendersWithUnnotifiedOwners {
    /// A sender has moved here. The receivers that this node knew before are replaced, because the
    /// former node knew them, too. If some receivers are not listed, `loss` is the number of this
    /// loss. Returns `false` if there is no room: then any sender may have receivers that this node
    /// does not know.
    pub(super) fn insert(
        &mut self,
        sender: u64,
        dirty: HandoverReceiversWithUnnotifiedOwners,
        loss: u64,
        now_ms: u64,
    ) -> bool {
        while let Some(&(since_ms, settled)) = self.by_time.first()
            && since_ms + SETTLED_AFTER_MS <= now_ms
        {
            self.remove(settled);
        }
        self.remove(sender);
        let HandoverReceiversWithUnnotifiedOwners { listed, has_unlisted, age_ms } = dirty;
        let has_unlisted = has_unlisted && age_ms < UNLISTED_SETTLED_AFTER_MS;
        if age_ms >= SETTLED_AFTER_MS || (listed.is_empty() && !has_unlisted) {
            return true;
        }
        let since_ms = now_ms.saturating_sub(age_ms);
        if self.by_sender.len() + self.listed + listed.len() >= KEPT_MAX {
            self.omitted_since_ms = self.omitted_since_ms.max(Some(since_ms));
            return false;
        }
        self.listed += listed.len();
        self.by_time.insert((since_ms, sender));
        let loss = has_unlisted.then_some(loss);
        self.by_sender.insert(sender, ArrivedSenderReceiversWithUnnotifiedOwners { since_ms, listed, loss });
        true
    }

    fn remove(&mut self, sender: u64) {
        if let Some(inherited) = self.by_sender.remove(&sender) {
            self.listed -= inherited.listed.len();
            self.by_time.remove(&(inherited.since_ms, sender));
        }
    }

    /// The receivers of this sender whose owners may not know yet. If some are not listed, also the
    /// number of the loss; otherwise 0.
    pub(super) fn of(&self, sender: u64, now_ms: u64) -> (HandoverReceiversWithUnnotifiedOwners, u64) {
        let is_open =
            |inherited: &&ArrivedSenderReceiversWithUnnotifiedOwners| inherited.since_ms + SETTLED_AFTER_MS > now_ms;
        let Some(inherited) = self.by_sender.get(&sender).filter(is_open) else {
            return (HandoverReceiversWithUnnotifiedOwners::default(), 0);
        };
        let age_ms = now_ms - inherited.since_ms;
        let loss = inherited.loss.filter(|_| age_ms < UNLISTED_SETTLED_AFTER_MS);
        let listed = inherited.listed.clone();
        (HandoverReceiversWithUnnotifiedOwners { listed, has_unlisted: loss.is_some(), age_ms }, loss.unwrap_or(0))
    }

    /// May there be a sender whose receivers this node does not know, because there was no room?
    pub(super) fn has_omitted_some(&self, now_ms: u64) -> bool {
        self.omitted_since_ms.is_some_and(|since_ms| since_ms + UNLISTED_SETTLED_AFTER_MS > now_ms)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.by_sender.len() * SENDER_BYTES + self.listed * RECEIVER_BYTES
    }

    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert_eq!(self.by_sender.len(), self.by_time.len());
        assert_eq!(self.listed, self.by_sender.values().map(|of_sender| of_sender.listed.len()).sum::<usize>());
        let is_known =
            |(since_ms, sender): &(u64, u64)| self.by_sender.get(sender).map(|it| it.since_ms) == Some(*since_ms);
        assert!(self.by_time.iter().all(is_known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirty(listed: usize, has_unlisted: bool, age_ms: u64) -> HandoverReceiversWithUnnotifiedOwners {
        let listed = (0..listed).map(|n| UserName::new(&format!("user{n}")).unwrap()).collect();
        HandoverReceiversWithUnnotifiedOwners { listed, has_unlisted, age_ms }
    }

    #[test]
    fn receivers_are_kept_until_their_owners_know() {
        const LATE_MS: u64 = 100_000 + SETTLED_AFTER_MS - 5_000;
        let mut inherited = ArrivedSendersWithUnnotifiedOwners::default();
        let nothing = (HandoverReceiversWithUnnotifiedOwners::default(), 0);
        assert!(inherited.insert(1, dirty(2, true, 5_000), 7, 100_000));
        assert_eq!(inherited.of(1, 101_000), (dirty(2, true, 6_000), 7));
        assert_eq!(inherited.of(2, 101_000), nothing);
        let unlisted_ms = 95_000 + UNLISTED_SETTLED_AFTER_MS;
        assert_eq!(inherited.of(1, unlisted_ms - 1), (dirty(2, true, UNLISTED_SETTLED_AFTER_MS - 1), 7));
        assert_eq!(inherited.of(1, unlisted_ms), (dirty(2, false, UNLISTED_SETTLED_AFTER_MS), 0));
        assert_eq!(inherited.of(1, LATE_MS - 1), (dirty(2, false, SETTLED_AFTER_MS - 1), 0));
        assert_eq!(inherited.of(1, LATE_MS), nothing);
        assert!(inherited.insert(2, dirty(1, false, 0), 8, LATE_MS));
        assert_eq!(inherited.of(2, LATE_MS), (dirty(1, false, 0), 0));
        inherited.check();
        assert_eq!(inherited.by_sender.len(), 1, "the other one is settled");
        assert!(inherited.insert(2, dirty(1, false, SETTLED_AFTER_MS), 8, LATE_MS));
        assert_eq!(inherited.memory_bytes(), 0, "the new receivers replace the earlier ones");
    }

    #[test]
    fn without_room_any_sender_may_have_unknown_receivers_for_a_while() {
        let mut inherited = ArrivedSendersWithUnnotifiedOwners::default();
        let senders = (0..).take_while(|&sender| inherited.insert(sender, dirty(9, false, 0), 0, 100_000)).count();
        assert_eq!(senders, KEPT_MAX / 10);
        let bytes = inherited.memory_bytes();
        assert!(!inherited.insert(u64::MAX, dirty(9, false, 1_000), 0, 100_000));
        assert_eq!(inherited.memory_bytes(), bytes);
        inherited.check();
        assert!(inherited.has_omitted_some(100_000 + UNLISTED_SETTLED_AFTER_MS - 1));
        assert!(!inherited.has_omitted_some(100_000 + UNLISTED_SETTLED_AFTER_MS));
        assert!(inherited.insert(u64::MAX, dirty(9, false, 0), 0, 100_000 + SETTLED_AFTER_MS));
        assert_eq!(inherited.by_sender.len(), 1);
    }
}
