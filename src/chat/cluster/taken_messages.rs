//! The messages that were taken here and are neither acked nor committed, by sender. The release of
//! a user waits for the user's own messages, and for no others.
//!
//! No code on the way of a message calls this module, so a server that is not in a cluster pays
//! nothing for it. After each event it examines the slot in the table of deliveries that was the
//! next free one before: a message that the event took is there.

use super::super::ServerCore;
use super::super::deliveries::{Delivery, DeliverySaveState, DeliveryTable};
use super::super::ids::{DeliveryRef, UserSlot};
use super::step_count;
use std::collections::HashMap;

/// A sender's messages are cleaned up at this number, and again whenever the number has doubled.
const LOOKED_THROUGH_FROM: usize = 16;
/// All senders are cleaned up when this many messages may be done.
const OVER_MAX: usize = 1_024;

/// Messages that may be done by now.
#[derive(Debug)]
struct UnsavedMessagesOfSender {
    deliveries: Vec<DeliveryRef>,
    cleanup_at_len: usize,
}

impl Default for UnsavedMessagesOfSender {
    fn default() -> Self {
        Self { deliveries: Vec::new(), cleanup_at_len: LOOKED_THROUGH_FROM }
    }
}

/// The messages of all senders.
#[derive(Debug, Default)]
pub(super) struct UnsavedMessagesBlockingUserRelease {
    /// Its order decides nothing.
    by_sender: HashMap<UserSlot, UnsavedMessagesOfSender>,
    /// The number of messages of all senders.
    len: usize,
    /// The slot of the next delivery.
    next_slot: u32,
}

fn is_open(user: UserSlot, found: &Delivery) -> bool {
    found.sender == Some(user) && !found.is_durable
}

/// Will it be acked or saved? A push for which there is no room may not be, nor one whose save
/// failed after it was handed over.
fn is_awaited(user: UserSlot, found: &Delivery) -> bool {
    let is_given_up = matches!(found.save_state, DeliverySaveState::Full | DeliverySaveState::FailedAfterHandOver);
    is_open(user, found) && (!is_given_up || found.waits())
}

impl UnsavedMessagesBlockingUserRelease {
    fn note(&mut self, deliveries: &DeliveryTable) {
        let place = std::mem::replace(&mut self.next_slot, deliveries.next_slot());
        let Some((delivery, found)) = deliveries.at(place) else { return };
        let Some(sender) = found.sender.filter(|&sender| is_open(sender, found)) else { return };
        self.insert(sender, delivery);
        let of_sender = self.by_sender.entry(sender).or_default();
        if of_sender.deliveries.len() >= of_sender.cleanup_at_len {
            self.len -= of_sender.remove_settled(sender, deliveries);
        }
        if self.len > 2 * deliveries.len() + OVER_MAX {
            self.remove_settled(deliveries);
        }
    }

    /// A message that another node has taken belongs to this node from now on.
    pub(super) fn insert(&mut self, sender: UserSlot, delivery: DeliveryRef) {
        self.by_sender.entry(sender).or_default().deliveries.push(delivery);
        self.len += 1;
    }

    fn remove_settled(&mut self, deliveries: &DeliveryTable) {
        self.by_sender.retain(|&sender, of_sender| {
            of_sender.remove_settled(sender, deliveries);
            !of_sender.deliveries.is_empty()
        });
        self.by_sender.shrink_to(2 * self.by_sender.len());
        self.len = self.by_sender.values().map(|of_sender| of_sender.deliveries.len()).sum();
    }

    /// The messages of one user, in the order in which they were taken.
    fn open_of(&mut self, user: UserSlot, deliveries: &DeliveryTable) -> Vec<DeliveryRef> {
        let Some(of_sender) = self.by_sender.get_mut(&user) else {
            return Vec::new();
        };
        self.len -= of_sender.remove_settled(user, deliveries);
        let mut open = of_sender.deliveries.clone();
        open.sort_unstable_by_key(|delivery| delivery.seq);
        open
    }

    /// Returns `true` if no message of the user is waited for. Most calls examine one message only.
    pub(super) fn is_settled(&mut self, user: UserSlot, deliveries: &DeliveryTable) -> bool {
        let Some(of_sender) = self.by_sender.get_mut(&user) else {
            return true;
        };
        let taken = &mut of_sender.deliveries;
        let mut at = taken.len();
        while at > 0 {
            at -= 1;
            step_count::count(1);
            match deliveries.get(taken[at]).filter(|found| is_open(user, found)) {
                Some(found) if is_awaited(user, found) => {
                    // The next call begins with this message.
                    let last = taken.len() - 1;
                    taken.swap(at, last);
                    return false;
                }
                Some(_) => {}
                None => {
                    taken.swap_remove(at);
                    self.len -= 1;
                }
            }
        }
        if taken.is_empty() {
            self.by_sender.remove(&user);
        }
        true
    }

    pub(super) fn memory_bytes(&self) -> usize {
        2 * self.len * size_of::<DeliveryRef>()
            + self.by_sender.capacity() * size_of::<(UserSlot, UnsavedMessagesOfSender)>()
    }

    /// Every open message is in the table.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, deliveries: &DeliveryTable) {
        use std::collections::HashSet;
        assert_eq!(self.len, self.by_sender.values().map(|of_sender| of_sender.deliveries.len()).sum::<usize>());
        let known: HashSet<u64> =
            self.by_sender.values().flat_map(|of_sender| of_sender.deliveries.iter().map(|taken| taken.seq)).collect();
        for found in deliveries.iter() {
            let Some(sender) = found.sender else { continue };
            assert!(
                !is_awaited(sender, found) || known.contains(&found.seq),
                "nobody knows that it is open: {found:?}"
            );
        }
    }
}

impl UnsavedMessagesOfSender {
    /// Returns their number.
    fn remove_settled(&mut self, user: UserSlot, deliveries: &DeliveryTable) -> usize {
        let before = self.deliveries.len();
        step_count::count(before);
        self.deliveries.retain(|&delivery| deliveries.get(delivery).is_some_and(|found| is_open(user, found)));
        self.cleanup_at_len = LOOKED_THROUGH_FROM.max(2 * self.deliveries.len());
        before - self.deliveries.len()
    }
}

impl ServerCore {
    /// Called after each event of a node of a cluster, which may have taken a message.
    pub(in super::super) fn note_taken(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.unsaved_messages.note(&self.deliveries);
        }
    }

    /// Saves the messages that the user has sent and that are not saved, without waiting for acks.
    pub(super) fn save_open(&mut self, user: UserSlot, out: &mut Vec<super::super::contract::CoreAction>) {
        let Some(cluster) = &mut self.cluster else { return };
        for delivery in cluster.unsaved_messages.open_of(user, &self.deliveries) {
            self.save_if_unsaved(delivery, out);
        }
    }
}
