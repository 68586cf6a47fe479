//! The dedup window of a sender who went offline, packed as small as possible: nothing searches it
//! until they come back and send a message again. This module also counts the size of all packed
//! windows.

use super::super::ServerCore;
use super::super::ids::DeliveryRef;
use super::super::ids::UserSlot;
use super::{DedupKey, DedupWindow, DedupWindowEntry, GONE};
use std::collections::{BTreeMap, VecDeque};

/// A reference with a `seq` that no push has. It stands for a promised message whose delivery is
/// gone.
pub(super) const NO_DELIVERY: DeliveryRef = DeliveryRef { slot: u32::MAX, seq: 0 };

#[derive(Debug)]
pub(super) struct OfflineDedupWindow {
    keys: Box<[DedupKey]>,
    /// The time of each, in ms after the first.
    after_ms: Box<[u32]>,
    first_ms: u64,
    /// The messages that were not promised yet.
    open: Box<[(u32, DeliveryRef)]>,
    /// Its place in the order of all packed windows.
    serial: u64,
}

impl OfflineDedupWindow {
    fn of(queue: &VecDeque<DedupWindowEntry>, is_open: impl Fn(DeliveryRef) -> bool, serial: u64) -> Self {
        let first_ms = queue.front().map_or(0, |sent| sent.at_ms);
        let kept: Vec<&DedupWindowEntry> = queue.iter().filter(|sent| sent.key != GONE).collect();
        let open = (0..).zip(&kept).filter(|(_, sent)| is_open(sent.delivery)).map(|(at, sent)| (at, sent.delivery));
        Self {
            open: open.collect(),
            keys: kept.iter().map(|sent| sent.key).collect(),
            after_ms: kept.iter().map(|sent| u32::try_from(sent.at_ms - first_ms).unwrap_or(u32::MAX)).collect(),
            first_ms,
            serial,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<DedupWindow>() + self.keys.len() * 12 + size_of_val(&*self.open)
    }

    fn sent(&self) -> impl Iterator<Item = DedupWindowEntry> + '_ {
        let all = self.keys.iter().zip(&self.after_ms);
        all.map(|(&key, &after_ms)| DedupWindowEntry {
            key,
            at_ms: self.first_ms + u64::from(after_ms),
            delivery: NO_DELIVERY,
        })
    }

    pub(super) fn sent_ms(&self, key: DedupKey) -> Option<u64> {
        self.sent().find(|sent| sent.key == key).map(|sent| sent.at_ms)
    }

    pub(super) fn promised(&self, is_open: impl Fn(DeliveryRef) -> bool) -> Vec<(DedupKey, u64)> {
        let is_open = |at: u32| self.open.iter().any(|&(place, delivery)| place == at && is_open(delivery));
        let sent = (0..).zip(self.sent()).filter(|(at, sent)| sent.key != GONE && !is_open(*at));
        sent.map(|(_, sent)| (sent.key, sent.at_ms)).collect()
    }

    pub(super) fn newest_ms(&self) -> Option<u64> {
        self.after_ms.last().map(|&after_ms| self.first_ms + u64::from(after_ms))
    }

    pub(super) fn remove(&mut self, delivery: DeliveryRef) {
        if let Some(&(at, _)) = self.open.iter().find(|(_, open)| *open == delivery) {
            self.keys[at as usize] = GONE;
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// All packed windows.
#[derive(Debug, Default)]
pub(in super::super) struct OfflineDedupWindows {
    /// By the time at which they were packed.
    users: BTreeMap<u64, UserSlot>,
    bytes: usize,
    next_serial: u64,
}

impl ServerCore {
    /// Packs the window of a sender who goes offline.
    pub(in super::super) fn pack_dedup(&mut self, user: UserSlot) {
        let deliveries = &self.deliveries;
        let all = &mut self.packed;
        let Some(dedup) = &mut self.users.get_mut(user).dedup else {
            return;
        };
        if dedup.packed.is_some() {
            return;
        }
        let before = dedup.memory_bytes();
        let is_open = |delivery| deliveries.get(delivery).is_some_and(|found| !found.is_durable);
        let packed = Box::new(OfflineDedupWindow::of(&dedup.queue, is_open, all.next_serial));
        (dedup.queue, dedup.index, dedup.base) = (VecDeque::new(), Default::default(), 0);
        all.users.insert(all.next_serial, user);
        all.next_serial += 1;
        all.bytes += packed.bytes();
        dedup.packed = Some(packed);
        self.dedup_bytes = self.dedup_bytes + dedup.memory_bytes() - before;
        while self.packed.bytes > self.rules.dedup_bytes_max
            && let Some((_, &oldest)) = self.packed.users.first_key_value()
        {
            self.evict_dedup(oldest);
        }
    }

    /// Unpacks the window of a sender who is back and sends.
    pub(in super::super) fn unpack_dedup(&mut self, user: UserSlot) {
        let Some(dedup) = &mut self.users.get_mut(user).dedup else {
            return;
        };
        let before = dedup.memory_bytes();
        let Some(packed) = dedup.packed.take() else {
            return;
        };
        self.packed.users.remove(&packed.serial);
        self.packed.bytes -= packed.bytes();
        dedup.queue = packed.sent().collect();
        for &(at, delivery) in &packed.open {
            dedup.queue[at as usize].delivery = delivery;
        }
        for (position, sent) in (0..).zip(&dedup.queue) {
            if sent.key != GONE {
                dedup.index.insert(sent.key, position);
            }
        }
        self.dedup_bytes = self.dedup_bytes + dedup.memory_bytes() - before;
    }

    /// Evicts a packed window.
    pub(in super::super) fn evict_dedup(&mut self, user: UserSlot) {
        if let Some(dedup) = self.users.get_mut(user).dedup.take() {
            self.dedup_bytes -= dedup.memory_bytes();
            if let Some(packed) = &dedup.packed {
                self.packed.users.remove(&packed.serial);
                self.packed.bytes -= packed.bytes();
            }
            if let Some(timer) = dedup.timer {
                self.wheel.cancel(timer);
            }
        }
        self.users.evict_unused(user);
    }

    /// Windows of offline users are packed, those of online senders are not, and their sizes add up
    /// to the count.
    #[cfg(debug_assertions)]
    pub(in super::super) fn check_packed(&self) {
        let mut bytes = 0;
        for (id, user, _) in self.users.iter() {
            if let Some(dedup) = &user.dedup {
                assert!(user.is_here() || dedup.packed.is_some(), "a window of somebody offline");
                if let Some(packed) = &dedup.packed {
                    assert_eq!(self.packed.users.get(&packed.serial), Some(&id));
                    bytes += packed.bytes();
                }
            }
        }
        assert_eq!(bytes, self.packed.bytes);
        assert!(bytes <= self.ceilings.rules().dedup_bytes_max);
    }
}
