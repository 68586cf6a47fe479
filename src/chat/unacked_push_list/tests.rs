//! Compares the list with one that searches all entries each time.

use super::super::contract::CoreSettings;
use super::super::deliveries::{Delivery, DeliveryTable, ann};
use super::super::ids::DeliveryRef;
use super::{MailboxBackfillState, SendWindowLimits, UnackedPushList};
use crate::protocol::field::UserName;
use crate::protocol::push::PushKind;
use crate::protocol::request::ContentAsStringOrObject;

/// A list that follows the rules literally: entries in order, and no cached state.
#[derive(Default)]
struct ReferenceUnackedPushList {
    entries: Vec<ReferenceListEntry>,
    tail: Vec<ReferenceListEntry>,
}

#[derive(Clone, Copy)]
struct ReferenceListEntry {
    delivery: DeliveryRef,
    sent: bool,
}

impl ReferenceUnackedPushList {
    /// The first entry in list order that is not deferred, if there is room for it.
    fn next_to_send(&self, deliveries: &DeliveryTable, count_max: usize, bytes_max: usize) -> Option<DeliveryRef> {
        let of = |known: &ReferenceListEntry| deliveries.get(known.delivery).unwrap();
        let sent: Vec<&Delivery> = self.entries.iter().filter(|known| known.sent).map(of).collect();
        let waits = |place: usize| {
            let delivery = of(&self.entries[place]);
            let before = self.entries[..place].iter().filter(|known| !known.sent).map(of);
            sent.iter().any(|other| other.body.id() == delivery.body.id())
                || before.into_iter().any(|other| other.body.sender() == delivery.body.sender())
        };
        let place = (0..self.entries.len()).find(|&place| !self.entries[place].sent && !waits(place))?;
        let written = |delivery: &Delivery| delivery.body.written_bytes_to(&ann(), ContentAsStringOrObject::Text);
        let bytes: usize = sent.iter().map(|delivery| written(delivery)).sum();
        let fits =
            sent.len() < count_max && (sent.is_empty() || bytes + written(of(&self.entries[place])) <= bytes_max);
        fits.then_some(self.entries[place].delivery)
    }

    fn find_sent(&self, id: &str, sender: Option<&str>, deliveries: &DeliveryTable) -> Option<DeliveryRef> {
        let is_it = |known: &&ReferenceListEntry| {
            let body = &deliveries.get(known.delivery).unwrap().body;
            known.sent && body.id() == id && sender.is_none_or(|sender| sender == body.sender())
        };
        self.entries.iter().find(is_it).map(|known| known.delivery)
    }

    fn find_message(&self, sender: &str, id: &str, deliveries: &DeliveryTable) -> Vec<DeliveryRef> {
        let is_it = |known: &&ReferenceListEntry| {
            let body = &deliveries.get(known.delivery).unwrap().body;
            body.kind == PushKind::Message && body.id() == id && body.sender() == sender
        };
        self.entries.iter().chain(&self.tail).filter(is_it).map(|known| known.delivery).collect()
    }

    fn remove(&mut self, delivery: DeliveryRef) {
        self.entries.retain(|known| known.delivery != delivery);
        self.tail.retain(|known| known.delivery != delivery);
    }
}

/// Both lists, and their deliveries.
struct UnackedPushListComparison {
    list: UnackedPushList,
    plain: ReferenceUnackedPushList,
    deliveries: DeliveryTable,
    rules: CoreSettings,
    next_seq: u64,
    ann: UserName,
    count_max: usize,
    bytes_max: usize,
    random: fastrand::Rng,
}

impl UnackedPushListComparison {
    fn new(seed: u64, count_max: usize) -> Self {
        Self {
            list: UnackedPushList::new(MailboxBackfillState::Live),
            plain: ReferenceUnackedPushList::default(),
            deliveries: DeliveryTable::new([seed, 1]),
            rules: CoreSettings::default(),
            next_seq: 0,
            ann: ann(),
            count_max,
            bytes_max: 4_000,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random.usize(..below)
    }

    /// Makes a delivery that is on no list yet.
    fn push(&mut self, ids: usize, senders: usize) -> DeliveryRef {
        let (id, sender) = (format!("m{}", self.random(ids)), format!("s{}", self.random(senders)));
        let content = ["x", "\u{1}", "\"é\\"][self.random(3)].repeat(self.random(60));
        let kind = if self.random(8) == 0 { PushKind::FriendRequest } else { PushKind::Message };
        self.next_seq += 1;
        self.deliveries.insert_stored((self.next_seq, kind), &id, &sender, &content)
    }

    fn append(&mut self, delivery: DeliveryRef) {
        self.list.mailbox.append(delivery, &mut self.deliveries);
        self.plain.entries.push(ReferenceListEntry { delivery, sent: false });
    }

    fn append_tail(&mut self, delivery: DeliveryRef) {
        if self.list.mailbox.append_tail(delivery, &self.deliveries, &self.rules) {
            self.plain.tail.push(ReferenceListEntry { delivery, sent: false });
        } else {
            self.deliveries.remove(delivery);
        }
    }

    /// Sends what can be sent, as the core does.
    fn pump(&mut self, now_ms: u64) {
        let (form, count_max, bytes_max) = (ContentAsStringOrObject::Text, self.count_max, self.bytes_max);
        let window = SendWindowLimits { receiver: &self.ann, form, count_max, bytes_max };
        loop {
            let next = self.list.next_to_send(&self.deliveries, &window);
            let delivery = next.as_ref().map(|next| next.delivery());
            assert_eq!(delivery, self.plain.next_to_send(&self.deliveries, count_max, bytes_max));
            let Some(next) = next else {
                return;
            };
            self.list.cursor.first_sent(next, &self.deliveries, now_ms);
            self.plain.entries.iter_mut().find(|known| Some(known.delivery) == delivery).unwrap().sent = true;
        }
    }

    /// Resends the oldest push.
    fn send_again(&mut self, now_ms: u64) {
        let sent = self.plain.entries.iter().filter(|known| known.sent).count();
        let again = self.list.cursor.send_oldest_again(&self.deliveries, now_ms);
        assert_eq!(again.is_some(), sent > 0);
        assert!(again.is_none_or(|again| self.list.cursor.is_outstanding(again, &self.deliveries)));
    }

    fn take_off(&mut self, delivery: DeliveryRef) {
        self.deliveries.get_mut(delivery).unwrap().is_listed = false;
        self.list.remove(delivery, &self.deliveries);
        self.plain.remove(delivery);
        self.deliveries.remove(delivery);
    }

    fn unsend_all(&mut self) {
        self.list.cursor.restart();
        self.plain.entries.iter_mut().for_each(|known| known.sent = false);
    }

    fn take_tail(&mut self) {
        let (tail, _) = self.list.mailbox.take_tail(&self.deliveries);
        assert_eq!(tail, self.plain.tail.drain(..).map(|known| known.delivery).collect::<Vec<_>>());
        tail.into_iter().for_each(|delivery| self.append(delivery));
    }

    fn step(&mut self, now_ms: u64, ids: usize, senders: usize, long: usize) {
        let (id, sender) = (format!("m{}", self.random(ids)), format!("s{}", self.random(senders)));
        let here = self.plain.entries.len() + self.plain.tail.len();
        match self.random(16) {
            0..=5 if here < long => {
                let delivery = self.push(ids, senders);
                self.append(delivery);
            }
            6 if here < long => {
                let delivery = self.push(ids, senders);
                self.append_tail(delivery);
            }
            0..=9 => {
                let named = (self.random(4) == 0).then_some(sender.as_str());
                let found = self.list.cursor.find_sent(&id, named, &self.deliveries);
                assert_eq!(found, self.plain.find_sent(&id, named, &self.deliveries));
                found.into_iter().for_each(|delivery| self.take_off(delivery));
            }
            10 | 11 => {
                // In order, as most are.
                let first = self.plain.entries.iter().find(|known| known.sent).map(|known| known.delivery);
                first.into_iter().for_each(|delivery| self.take_off(delivery));
            }
            12 if here > 0 => {
                let place = self.random(here);
                let delivery = self.list.mailbox.all().nth(place).unwrap();
                self.take_off(delivery);
            }
            13 if self.random(8) == 0 => self.take_tail(),
            14 if self.random(60) == 0 => self.unsend_all(),
            14 => self.send_again(now_ms),
            _ => {
                let found = self.list.mailbox.find_message(&sender, &id, &self.deliveries);
                let known = self.plain.find_message(&sender, &id, &self.deliveries);
                assert!(found.map_or(known.is_empty(), |found| known.contains(&found)));
            }
        }
        if self.random(3) > 0 {
            self.pump(now_ms);
        }
        let all: Vec<DeliveryRef> =
            self.plain.entries.iter().chain(&self.plain.tail).map(|known| known.delivery).collect();
        assert_eq!(self.list.mailbox.all().collect::<Vec<_>>(), all);
        #[cfg(debug_assertions)]
        self.list.check(&self.deliveries);
    }
}

#[test]
fn it_sends_and_finds_the_same_as_a_list_that_examines_every_push() {
    // Few ids and senders, so that much is deferred; short and long lists, little and much room.
    let kinds = [(3, 2, 12), (2, 30, 40), (40, 3, 60), (60, 60, 150), (1, 100, 100), (400, 20, 300)];
    for (seed, (ids, senders, long)) in (1..).zip(kinds.into_iter().cycle().take(24)) {
        let mut both = UnackedPushListComparison::new(seed, [1, 3, 20, 1_000][seed as usize % 4]);
        for step in 0..if long > 100 { 3_000 } else { 12_000 } {
            both.step(step, ids, senders, long);
        }
    }
}
