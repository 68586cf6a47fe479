//! Quotas of mailboxes: how many pushes and how many bytes the store may hold for one receiver, and
//! for one receiver from one sender.
//!
//! A worker owns all pushes of its receivers, so it need not count them for each message: it counts
//! the rows of a receiver once, keeps the usage in memory and updates it with each transaction.
//! This module is pure; `waiting.rs` reads the store.

use crate::chat::contract::MailboxQuotaKind;
use crate::config::Config;
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use std::collections::HashMap;

/// The assumed size of a row beside its texts, in bytes: its numbers, and its entries in the
/// indexes with copies of the names.
pub const ROW_BYTES: u64 = 128;
/// The largest number of rows that one transaction counts, so that a lane is not blocked while a
/// long mailbox is counted for the first time. The decision uses the rows counted so far, and the
/// next transaction continues.
pub const COUNTED_ROWS_MAX: u32 = 10_000;

/// A number of pushes and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushCountAndBytes {
    /// Pushes.
    pub rows: u64,
    /// The size of their texts (sender, receiver, id, content), and [`ROW_BYTES`] for each push.
    pub bytes: u64,
}

impl PushCountAndBytes {
    /// The usage of one push with `text_bytes` of text.
    #[must_use]
    pub fn of_one_push(text_bytes: u64) -> Self {
        Self { rows: 1, bytes: text_bytes.saturating_add(ROW_BYTES) }
    }

    fn add(&mut self, other: Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn remove(&mut self, other: Self) {
        self.rows = self.rows.saturating_sub(other.rows);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    fn has_room(self, other: Self, max: Self) -> bool {
        self.rows.saturating_add(other.rows) <= max.rows && self.bytes.saturating_add(other.bytes) <= max.bytes
    }
}

/// The quotas themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxQuotas {
    /// The quota for all pushes to one receiver.
    pub receiver: PushCountAndBytes,
    /// The quota for the pushes of one sender to one receiver.
    pub pair: PushCountAndBytes,
}

impl MailboxQuotas {
    /// The quotas of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            receiver: PushCountAndBytes {
                rows: config.waiting_per_receiver_max,
                bytes: config.waiting_bytes_per_receiver_max,
            },
            pair: PushCountAndBytes { rows: config.waiting_per_pair_max, bytes: config.waiting_bytes_per_pair_max },
        }
    }
}

/// May a push be saved?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxQuotaCheckResult {
    /// Yes. It counts from now on.
    Room,
    /// No, because of this quota, unless the push is in the store already.
    Full(MailboxQuotaKind),
    /// It depends on other pushes of this round, which may be in the store already: ask again in
    /// the next round.
    Later,
    /// The receiver's rows have not been counted far enough to tell.
    Uncounted,
}

/// How far a mailbox has been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MailboxCountProgress {
    All,
    /// Rows with a greater `seq` have not been counted.
    UpTo(u64),
}

/// A sender, and their usage of a mailbox.
type SenderUsage = (Box<str>, PushCountAndBytes);

/// The counted usage of one mailbox.
#[derive(Debug)]
struct MailboxUsage {
    total: PushCountAndBytes,
    /// The usage of each sender, in the order of their names. A sender without waiting pushes has
    /// no entry.
    shares: Vec<SenderUsage>,
    count_progress: MailboxCountProgress,
    /// It was counted while a transaction with an unknown outcome could still be committed.
    is_uncertain: bool,
    /// The last round in which a push was admitted.
    admitted_round: u64,
    /// The last round in which a push was postponed.
    postponed_round: u64,
}

impl MailboxUsage {
    fn new(is_uncertain: bool) -> Self {
        let count_progress = MailboxCountProgress::UpTo(0);
        Self {
            total: PushCountAndBytes::default(),
            shares: Vec::new(),
            count_progress,
            is_uncertain,
            admitted_round: 0,
            postponed_round: 0,
        }
    }

    fn sender_index(&self, sender: &str) -> Result<usize, usize> {
        self.shares.binary_search_by(|(name, _)| (**name).cmp(sender))
    }

    fn usage_of_sender(&self, sender: &str) -> PushCountAndBytes {
        self.sender_index(sender).map_or(PushCountAndBytes::default(), |place| self.shares[place].1)
    }

    /// Is this `seq` in the range that has been counted?
    fn covers(&self, seq: u64) -> bool {
        match self.count_progress {
            MailboxCountProgress::All => true,
            MailboxCountProgress::UpTo(last) => seq <= last,
        }
    }

    /// The `seq` after which rows must still be counted. `None`: all rows are counted, or the
    /// counted ones already fill the mailbox.
    fn uncounted_after(&self, quotas: &MailboxQuotas) -> Option<u64> {
        match self.count_progress {
            MailboxCountProgress::UpTo(last)
                if self.total.has_room(PushCountAndBytes::of_one_push(0), quotas.receiver) =>
            {
                Some(last)
            }
            _ => None,
        }
    }

    /// The quota that one more push of this sender would exceed.
    fn exceeded_quota(&self, sender: &str, one: PushCountAndBytes, quotas: &MailboxQuotas) -> Option<MailboxQuotaKind> {
        if !self.total.has_room(one, quotas.receiver) {
            return Some(MailboxQuotaKind::Receiver);
        }
        (!self.usage_of_sender(sender).has_room(one, quotas.pair)).then_some(MailboxQuotaKind::Pair)
    }

    /// Adds a push to the usage, or removes it if `more` is false. Returns the change in the number
    /// of shares.
    fn change(&mut self, sender: &str, one: PushCountAndBytes, more: bool) -> isize {
        if more {
            self.total.add(one);
            match self.sender_index(sender) {
                Ok(place) => self.shares[place].1.add(one),
                Err(place) => {
                    if self.shares.capacity() == 0 {
                        // Most mailboxes have one sender.
                        self.shares.reserve_exact(1);
                    }
                    self.shares.insert(place, (sender.into(), one));
                    return 1;
                }
            }
        } else {
            self.total.remove(one);
            if let Ok(place) = self.sender_index(sender) {
                self.shares[place].1.remove(one);
                if self.shares[place].1.rows == 0 {
                    self.shares.remove(place);
                    return -1;
                }
            }
        }
        0
    }
}

/// A change of the present transaction, to be undone by a rollback.
#[derive(Debug)]
enum UsageUndoEntry {
    Added(Push),
    NotAdded(Push),
    Removed { receiver: UserName, sender: Box<str>, seq: u64, one: PushCountAndBytes },
}

/// The counted usage of the mailboxes that one worker owns.
#[derive(Debug)]
pub struct MailboxUsageCache {
    quotas: MailboxQuotas,
    by_receiver: HashMap<Box<str>, MailboxUsage>,
    /// The number of shares of all mailboxes together.
    shares: usize,
    /// The largest number of mailboxes and shares in memory. Beyond it, the mailboxes that are
    /// cheapest to count again are evicted.
    entries_max: usize,
    /// The changes of the transaction under way.
    journal: Vec<UsageUndoEntry>,
    /// Mailboxes that the transaction has counted, partly or completely.
    counting: Vec<Box<str>>,
    /// Mailboxes for which the transaction has found a contradiction: they are counted again.
    recount_mailboxes: Vec<Box<str>>,
    rows_left: u32,
    round: u64,
    is_uncertain: bool,
}

impl MailboxUsageCache {
    /// An empty cache: no mailbox is counted yet.
    #[must_use]
    pub fn new(quotas: MailboxQuotas, entries_max: usize) -> Self {
        Self {
            quotas,
            by_receiver: HashMap::new(),
            shares: 0,
            entries_max,
            journal: Vec::new(),
            counting: Vec::new(),
            recount_mailboxes: Vec::new(),
            rows_left: COUNTED_ROWS_MAX,
            round: 0,
            is_uncertain: false,
        }
    }

    /// Applies other quotas. Do not call it within a transaction. Mailboxes may be counted only as
    /// far as the old quotas needed, so all are counted again.
    pub fn set_quotas(&mut self, quotas: MailboxQuotas) {
        if self.quotas != quotas {
            self.quotas = quotas;
            self.remove_all();
        }
    }

    /// Removes all counts: every mailbox is counted again. Do not call it within a transaction.
    pub fn remove_all(&mut self) {
        self.by_receiver.clear();
        self.shares = 0;
    }

    /// A transaction begins.
    pub fn begin(&mut self) {
        debug_assert!(self.journal.is_empty() && self.counting.is_empty(), "the one before has ended");
        self.rows_left = COUNTED_ROWS_MAX;
    }

    /// The transaction is committed.
    pub fn committed(&mut self) {
        self.journal.clear();
        self.counting.clear();
        for name in std::mem::take(&mut self.recount_mailboxes) {
            self.remove(&name);
        }
        while self.entries() > self.entries_max {
            self.evict();
        }
    }

    /// The transaction was rolled back.
    pub fn rolled_back(&mut self) {
        for name in std::mem::take(&mut self.counting) {
            // The count may include the transaction's own writes.
            self.remove(&name);
        }
        while let Some(change) = self.journal.pop() {
            match change {
                UsageUndoEntry::Added(push) => self.change_by(&push, false),
                UsageUndoEntry::NotAdded(push) => self.change_by(&push, true),
                UsageUndoEntry::Removed { receiver, sender, seq, one } => {
                    self.change(receiver.as_str(), &sender, seq, one, true);
                }
            }
        }
        self.committed();
    }

    /// It is not known whether the transaction was or will be committed. The mailboxes that it
    /// touched are counted again; mailboxes that are counted before
    /// [`end_uncertainty`](Self::end_uncertainty) are counted once more after it.
    pub fn note_unknown_outcome(&mut self) {
        self.is_uncertain = true;
        for change in std::mem::take(&mut self.journal) {
            match change {
                UsageUndoEntry::Added(push) | UsageUndoEntry::NotAdded(push) => self.remove(push.receiver()),
                UsageUndoEntry::Removed { receiver, .. } => self.remove(receiver.as_str()),
            }
        }
        for name in std::mem::take(&mut self.counting) {
            self.remove(&name);
        }
        self.committed();
    }

    /// All transactions with an unknown outcome are committed by now, or never will be.
    pub fn end_uncertainty(&mut self) {
        self.is_uncertain = false;
        self.by_receiver.retain(|_, mailbox| !mailbox.is_uncertain);
        self.shares = self.by_receiver.values().map(|mailbox| mailbox.shares.len()).sum();
    }

    /// Is anything known of this receiver's mailbox?
    #[must_use]
    pub fn is_known(&self, receiver: &str) -> bool {
        self.by_receiver.contains_key(receiver)
    }

    /// The `seq` after which rows of a receiver must be counted before it is known whether there is
    /// room; `None`: it is known.
    #[must_use]
    pub fn uncounted_after(&self, receiver: &str) -> Option<u64> {
        self.by_receiver.get(receiver).map_or(Some(0), |mailbox| mailbox.uncounted_after(&self.quotas))
    }

    /// The number of rows that this transaction may still count.
    #[must_use]
    pub fn rows_left(&self) -> u32 {
        self.rows_left
    }

    /// A receiver's rows are about to be counted.
    pub fn counts(&mut self, receiver: &str) {
        let in_doubt = self.is_uncertain;
        self.by_receiver.entry(receiver.into()).or_insert_with(|| MailboxUsage::new(in_doubt));
        self.counting.push(receiver.into());
    }

    /// Counts one row of a receiver. Call it in ascending order of `seq`.
    pub fn count(&mut self, receiver: &str, seq: u64, sender: &str, text_bytes: u64) {
        self.rows_left = self.rows_left.saturating_sub(1);
        if let Some(mailbox) = self.by_receiver.get_mut(receiver) {
            mailbox.count_progress = MailboxCountProgress::UpTo(seq);
            let shares = mailbox.change(sender, PushCountAndBytes::of_one_push(text_bytes), true);
            self.shares = self.shares.saturating_add_signed(shares);
        }
    }

    /// All rows of a receiver have been counted.
    pub fn counted_all(&mut self, receiver: &str) {
        if let Some(mailbox) = self.by_receiver.get_mut(receiver) {
            mailbox.count_progress = MailboxCountProgress::All;
        }
    }

    /// Begins a round: the pushes that are admitted from now on are saved together.
    pub fn next_round(&mut self) {
        self.round += 1;
    }

    /// Is there room for a push? If so, it counts from now on. `counted`: no more rows will be
    /// counted now, so decide by the present counts.
    pub fn admit(&mut self, push: &Push, counted: bool) -> MailboxQuotaCheckResult {
        let one = PushCountAndBytes::of_one_push(push.text_bytes() as u64);
        let Some(mailbox) = self.by_receiver.get_mut(push.receiver()) else {
            debug_assert!(!counted, "begun to be counted at least");
            return if counted { MailboxQuotaCheckResult::Room } else { MailboxQuotaCheckResult::Uncounted };
        };
        if !counted && mailbox.uncounted_after(&self.quotas).is_some() {
            return MailboxQuotaCheckResult::Uncounted;
        }
        if mailbox.postponed_round == self.round {
            // An earlier push was postponed: postpone this one, too, so that pushes of one sender
            // keep their order.
            return MailboxQuotaCheckResult::Later;
        }
        if let Some(quota) = mailbox.exceeded_quota(push.sender(), one, &self.quotas) {
            if mailbox.admitted_round == self.round {
                mailbox.postponed_round = self.round;
                return MailboxQuotaCheckResult::Later;
            }
            return MailboxQuotaCheckResult::Full(quota);
        }
        mailbox.admitted_round = self.round;
        if mailbox.covers(push.seq) {
            let shares = mailbox.change(push.sender(), one, true);
            self.shares = self.shares.saturating_add_signed(shares);
        }
        self.journal.push(UsageUndoEntry::Added(push.clone()));
        MailboxQuotaCheckResult::Room
    }

    /// The quota that a push would exceed.
    #[must_use]
    pub fn exceeded_quota(&self, push: &Push) -> Option<MailboxQuotaKind> {
        let one = PushCountAndBytes::of_one_push(push.text_bytes() as u64);
        self.by_receiver.get(push.receiver())?.exceeded_quota(push.sender(), one, &self.quotas)
    }

    /// A push was saved.
    pub fn note_saved(&mut self, push: &Push) {
        self.change_by(push, true);
        self.journal.push(UsageUndoEntry::Added(push.clone()));
    }

    /// An admitted push was not saved: it does not count any more.
    pub fn note_not_saved(&mut self, push: &Push) {
        self.change_by(push, false);
        self.journal.push(UsageUndoEntry::NotAdded(push.clone()));
    }

    /// A push was deleted.
    pub fn note_deleted(&mut self, receiver: &UserName, seq: u64, sender: Box<str>, text_bytes: u64) {
        let one = PushCountAndBytes::of_one_push(text_bytes);
        self.change(receiver.as_str(), &sender, seq, one, false);
        self.journal.push(UsageUndoEntry::Removed { receiver: receiver.clone(), sender, seq, one });
    }

    /// A contradiction about this mailbox was found: it is counted again after this transaction.
    pub fn recount_later(&mut self, receiver: &str) {
        self.recount_mailboxes.push(receiver.into());
    }

    fn change_by(&mut self, push: &Push, more: bool) {
        let one = PushCountAndBytes::of_one_push(push.text_bytes() as u64);
        self.change(push.receiver(), push.sender(), push.seq, one, more);
    }

    fn change(&mut self, receiver: &str, sender: &str, seq: u64, one: PushCountAndBytes, more: bool) {
        if let Some(mailbox) = self.by_receiver.get_mut(receiver).filter(|mailbox| mailbox.covers(seq)) {
            let shares = mailbox.change(sender, one, more);
            self.shares = self.shares.saturating_add_signed(shares);
        }
    }

    fn remove(&mut self, receiver: &str) {
        if let Some(mailbox) = self.by_receiver.remove(receiver) {
            self.shares -= mailbox.shares.len();
        }
    }

    fn entries(&self) -> usize {
        self.by_receiver.len() + self.shares
    }

    /// Evicts a quarter of the mailboxes: those with the fewest rows, which are quickly counted
    /// again.
    fn evict(&mut self) {
        let mut rows: Vec<u64> = self.by_receiver.values().map(|mailbox| mailbox.total.rows).collect();
        let mut left = rows.len() / 4 + 1;
        let most = match left.checked_sub(1).filter(|place| *place < rows.len()) {
            Some(place) => *rows.select_nth_unstable(place).1,
            None => u64::MAX,
        };
        self.by_receiver.retain(|_, mailbox| {
            let goes = left > 0 && mailbox.total.rows <= most;
            left -= usize::from(goes);
            !goes
        });
        self.shares = self.by_receiver.values().map(|mailbox| mailbox.shares.len()).sum();
    }

    /// The usage of a receiver and the shares in it, if all of it has been counted.
    #[cfg(test)]
    pub(super) fn usage(&self, receiver: &str) -> Option<(PushCountAndBytes, Vec<SenderUsage>)> {
        let mailbox =
            self.by_receiver.get(receiver).filter(|mailbox| mailbox.count_progress == MailboxCountProgress::All)?;
        Some((mailbox.total, mailbox.shares.clone()))
    }
}

#[cfg(test)]
mod tests;
