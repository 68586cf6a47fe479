//! The quotas of what waits: how many pushes, and how many bytes, the store may hold for one
//! receiver, and for one receiver from one sender.
//!
//! A worker owns all pushes of its receivers, so it need not count them for each message: it counts
//! the rows of a receiver once, keeps the usage in memory and changes it by what its transactions
//! do. What is here is pure; `waiting.rs` asks the store.

use crate::chat::contract::Quota;
use crate::config::Config;
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use std::collections::HashMap;

/// The cost of a row beside its texts, in bytes: its numbers, its places in the indexes, the copies
/// of names there.
pub const ROW_BYTES: u64 = 128;
/// Rows that one transaction counts at most, so that nobody's lane stands still while a long
/// backlog is counted for the first time: what is known by then decides, and the next transaction
/// counts on.
pub const COUNTED_ROWS_MAX: u32 = 10_000;

/// A number of pushes and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Pushes.
    pub rows: u64,
    /// Their texts (sender, receiver, id, content) and [`ROW_BYTES`] each.
    pub bytes: u64,
}

impl Usage {
    /// That of one push with so many bytes of text.
    #[must_use]
    pub fn of_one(text_bytes: u64) -> Self {
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
pub struct Quotas {
    /// Of all that waits for one receiver.
    pub receiver: Usage,
    /// Of these, from one sender.
    pub pair: Usage,
}

impl Quotas {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            receiver: Usage { rows: config.waiting_per_receiver_max, bytes: config.waiting_bytes_per_receiver_max },
            pair: Usage { rows: config.waiting_per_pair_max, bytes: config.waiting_bytes_per_pair_max },
        }
    }
}

/// May a push be saved?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes; it is counted from now on.
    Room,
    /// No, because of this quota, unless it is in the store already.
    Full(Quota),
    /// It depends on others of this round, which may turn out to be in the store already: ask again
    /// in the next.
    Later,
    /// The receiver's rows have not been counted far enough to tell.
    Uncounted,
}

/// The part of a mailbox that has been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    All,
    /// Rows with a greater `seq` have not been looked at.
    UpTo(u64),
}

/// The share of one sender in a mailbox.
type Share = (Box<str>, Usage);

/// The pushes that wait for one receiver, as counts.
#[derive(Debug)]
struct MailboxUsage {
    total: Usage,
    /// By sender, in the order of the names. Those of which nothing waits are not in it.
    shares: Vec<Share>,
    counted: Counted,
    /// Counted while a transaction with an unknown outcome may still have been on its way.
    in_doubt: bool,
    /// The round in which one was admitted last, and the one in which one was put off.
    admitted: u64,
    put_off: u64,
}

impl MailboxUsage {
    fn new(in_doubt: bool) -> Self {
        let counted = Counted::UpTo(0);
        Self { total: Usage::default(), shares: Vec::new(), counted, in_doubt, admitted: 0, put_off: 0 }
    }

    fn place(&self, sender: &str) -> Result<usize, usize> {
        self.shares.binary_search_by(|(name, _)| (**name).cmp(sender))
    }

    fn share(&self, sender: &str) -> Usage {
        self.place(sender).map_or(Usage::default(), |place| self.shares[place].1)
    }

    /// Is a push with this number among those that were counted, or would have been?
    fn covers(&self, seq: u64) -> bool {
        match self.counted {
            Counted::All => true,
            Counted::UpTo(last) => seq <= last,
        }
    }

    /// Behind which row it has yet to be counted, unless it is known to be full.
    fn uncounted(&self, quotas: &Quotas) -> Option<u64> {
        match self.counted {
            Counted::UpTo(last) if self.total.has_room(Usage::of_one(0), quotas.receiver) => Some(last),
            _ => None,
        }
    }

    /// The quota that one more push would exceed.
    fn exceeded(&self, sender: &str, one: Usage, quotas: &Quotas) -> Option<Quota> {
        if !self.total.has_room(one, quotas.receiver) {
            return Some(Quota::Receiver);
        }
        (!self.share(sender).has_room(one, quotas.pair)).then_some(Quota::Pair)
    }

    /// Adds to what is counted, or takes off it; gives by how much the number of shares changed.
    fn change(&mut self, sender: &str, one: Usage, more: bool) -> isize {
        if more {
            self.total.add(one);
            match self.place(sender) {
                Ok(place) => self.shares[place].1.add(one),
                Err(place) => {
                    if self.shares.capacity() == 0 {
                        // Most have one sender.
                        self.shares.reserve_exact(1);
                    }
                    self.shares.insert(place, (sender.into(), one));
                    return 1;
                }
            }
        } else {
            self.total.remove(one);
            if let Ok(place) = self.place(sender) {
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

/// A change that the present transaction has made.
#[derive(Debug)]
enum Change {
    Added(Push),
    NotAdded(Push),
    Removed { receiver: UserName, sender: Box<str>, seq: u64, one: Usage },
}

/// The mailboxes that one worker owns, as far as they are counted.
#[derive(Debug)]
pub struct MailboxCounts {
    quotas: Quotas,
    by_receiver: HashMap<Box<str>, MailboxUsage>,
    /// Shares in all of them.
    shares: usize,
    /// Mailboxes and shares that are remembered; beyond it those are forgotten that are counted
    /// again the soonest.
    entries_max: usize,
    /// Of the transaction under way: to be undone if it is rolled back.
    journal: Vec<Change>,
    /// Mailboxes that it has counted, in part or whole.
    counting: Vec<Box<str>>,
    /// Mailboxes about which it has found what nobody expected: they are counted again.
    suspect: Vec<Box<str>>,
    rows_left: u32,
    round: u64,
    in_doubt: bool,
}

impl MailboxCounts {
    /// None is known yet.
    #[must_use]
    pub fn new(quotas: Quotas, entries_max: usize) -> Self {
        Self {
            quotas,
            by_receiver: HashMap::new(),
            shares: 0,
            entries_max,
            journal: Vec::new(),
            counting: Vec::new(),
            suspect: Vec::new(),
            rows_left: COUNTED_ROWS_MAX,
            round: 0,
            in_doubt: false,
        }
    }

    /// Other quotas hold from now on. Not within a transaction. What was counted may be no more
    /// than the old ones needed, so it is counted again.
    pub fn set_quotas(&mut self, quotas: Quotas) {
        if self.quotas != quotas {
            self.quotas = quotas;
            self.forget();
        }
    }

    /// All are to be counted again. Not within a transaction.
    pub fn forget(&mut self) {
        self.by_receiver.clear();
        self.shares = 0;
    }

    /// A transaction begins.
    pub fn begin(&mut self) {
        debug_assert!(self.journal.is_empty() && self.counting.is_empty(), "the one before has ended");
        self.rows_left = COUNTED_ROWS_MAX;
    }

    /// It is committed.
    pub fn committed(&mut self) {
        self.journal.clear();
        self.counting.clear();
        for name in std::mem::take(&mut self.suspect) {
            self.remove(&name);
        }
        while self.entries() > self.entries_max {
            self.evict();
        }
    }

    /// Nothing of it was done.
    pub fn rolled_back(&mut self) {
        for name in std::mem::take(&mut self.counting) {
            // What it had written itself may have been counted.
            self.remove(&name);
        }
        while let Some(change) = self.journal.pop() {
            match change {
                Change::Added(push) => self.change_by(&push, false),
                Change::NotAdded(push) => self.change_by(&push, true),
                Change::Removed { receiver, sender, seq, one } => {
                    self.change(receiver.as_str(), &sender, seq, one, true);
                }
            }
        }
        self.committed();
    }

    /// Nobody knows whether it was committed, or will be: what it touched is counted again, and
    /// what is counted until [`settled`](Self::settled) is counted once more then.
    pub fn unknown(&mut self) {
        self.in_doubt = true;
        for change in std::mem::take(&mut self.journal) {
            match change {
                Change::Added(push) | Change::NotAdded(push) => self.remove(push.receiver()),
                Change::Removed { receiver, .. } => self.remove(receiver.as_str()),
            }
        }
        for name in std::mem::take(&mut self.counting) {
            self.remove(&name);
        }
        self.committed();
    }

    /// Whatever was unknown has been done by now, or never will be.
    pub fn settled(&mut self) {
        self.in_doubt = false;
        self.by_receiver.retain(|_, mailbox| !mailbox.in_doubt);
        self.shares = self.by_receiver.values().map(|mailbox| mailbox.shares.len()).sum();
    }

    /// Is anything known of this receiver's mailbox?
    #[must_use]
    pub fn knows(&self, receiver: &str) -> bool {
        self.by_receiver.contains_key(receiver)
    }

    /// Behind which `seq` the rows of a receiver are yet to be counted before it is known whether
    /// there is room; `None`: it is known.
    #[must_use]
    pub fn uncounted(&self, receiver: &str) -> Option<u64> {
        self.by_receiver.get(receiver).map_or(Some(0), |mailbox| mailbox.uncounted(&self.quotas))
    }

    /// Rows that this transaction may still count.
    #[must_use]
    pub fn rows_left(&self) -> u32 {
        self.rows_left
    }

    /// A receiver's rows are about to be counted.
    pub fn counts(&mut self, receiver: &str) {
        let in_doubt = self.in_doubt;
        self.by_receiver.entry(receiver.into()).or_insert_with(|| MailboxUsage::new(in_doubt));
        self.counting.push(receiver.into());
    }

    /// One more row of a receiver was counted; in the order of their numbers.
    pub fn count(&mut self, receiver: &str, seq: u64, sender: &str, text_bytes: u64) {
        self.rows_left = self.rows_left.saturating_sub(1);
        if let Some(mailbox) = self.by_receiver.get_mut(receiver) {
            mailbox.counted = Counted::UpTo(seq);
            let shares = mailbox.change(sender, Usage::of_one(text_bytes), true);
            self.shares = self.shares.saturating_add_signed(shares);
        }
    }

    /// There are no more rows of a receiver.
    pub fn counted_all(&mut self, receiver: &str) {
        if let Some(mailbox) = self.by_receiver.get_mut(receiver) {
            mailbox.counted = Counted::All;
        }
    }

    /// The pushes that are asked about from now on are saved together.
    pub fn next_round(&mut self) {
        self.round += 1;
    }

    /// Is there room for a push? If so it counts from now on. With `counted`, as far as is known:
    /// no more will be counted now.
    pub fn admit(&mut self, push: &Push, counted: bool) -> Verdict {
        let one = Usage::of_one(push.text_bytes() as u64);
        let Some(mailbox) = self.by_receiver.get_mut(push.receiver()) else {
            debug_assert!(!counted, "begun to be counted at least");
            return if counted { Verdict::Room } else { Verdict::Uncounted };
        };
        if !counted && mailbox.uncounted(&self.quotas).is_some() {
            return Verdict::Uncounted;
        }
        if mailbox.put_off == self.round {
            // Behind one that is put off, so that those of one sender keep their order.
            return Verdict::Later;
        }
        if let Some(quota) = mailbox.exceeded(push.sender(), one, &self.quotas) {
            if mailbox.admitted == self.round {
                mailbox.put_off = self.round;
                return Verdict::Later;
            }
            return Verdict::Full(quota);
        }
        mailbox.admitted = self.round;
        if mailbox.covers(push.seq) {
            let shares = mailbox.change(push.sender(), one, true);
            self.shares = self.shares.saturating_add_signed(shares);
        }
        self.journal.push(Change::Added(push.clone()));
        Verdict::Room
    }

    /// The quota that a push would exceed.
    #[must_use]
    pub fn exceeded(&self, push: &Push) -> Option<Quota> {
        let one = Usage::of_one(push.text_bytes() as u64);
        self.by_receiver.get(push.receiver())?.exceeded(push.sender(), one, &self.quotas)
    }

    /// A push was saved.
    pub fn added(&mut self, push: &Push) {
        self.change_by(push, true);
        self.journal.push(Change::Added(push.clone()));
    }

    /// One that was admitted was not saved: it does not count.
    pub fn not_added(&mut self, push: &Push) {
        self.change_by(push, false);
        self.journal.push(Change::NotAdded(push.clone()));
    }

    /// A push is gone.
    pub fn removed(&mut self, receiver: &UserName, seq: u64, sender: Box<str>, text_bytes: u64) {
        let one = Usage::of_one(text_bytes);
        self.change(receiver.as_str(), &sender, seq, one, false);
        self.journal.push(Change::Removed { receiver: receiver.clone(), sender, seq, one });
    }

    /// Something about this mailbox is not as it should be: it is counted again after this
    /// transaction.
    pub fn suspect(&mut self, receiver: &str) {
        self.suspect.push(receiver.into());
    }

    fn change_by(&mut self, push: &Push, more: bool) {
        let one = Usage::of_one(push.text_bytes() as u64);
        self.change(push.receiver(), push.sender(), push.seq, one, more);
    }

    fn change(&mut self, receiver: &str, sender: &str, seq: u64, one: Usage, more: bool) {
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

    /// Forgets a quarter of the mailboxes: those with the fewest rows, which are counted again in
    /// no time.
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
    pub(super) fn usage(&self, receiver: &str) -> Option<(Usage, Vec<Share>)> {
        let mailbox = self.by_receiver.get(receiver).filter(|mailbox| mailbox.counted == Counted::All)?;
        Some((mailbox.total, mailbox.shares.clone()))
    }
}

#[cfg(test)]
mod tests;
