//! The list against one that searches all entries each time.

use super::super::contract::Rules;
use super::super::ids::ItemRef;
use super::super::item::{Item, Items, NEVER, Save};
use super::super::users::Users;
use super::{AckList, Backfill};
use crate::protocol::field::{Id, Name, UserName};
use crate::protocol::push::{Push, PushKind};
use crate::protocol::request::ContentForm;

/// The rules themselves: everything in order, nothing remembered.
#[derive(Default)]
struct Plain {
    entries: Vec<Known>,
    tail: Vec<Known>,
}

#[derive(Clone, Copy)]
struct Known {
    item: ItemRef,
    sent: bool,
}

impl Plain {
    /// The first in the order of the list that does not wait, if there is room for it.
    fn next_to_send(&self, items: &Items, count_max: usize, bytes_max: usize) -> Option<ItemRef> {
        let of = |known: &Known| items.get(known.item).unwrap();
        let sent: Vec<&Item> = self.entries.iter().filter(|known| known.sent).map(of).collect();
        let waits = |place: usize| {
            let item = of(&self.entries[place]);
            let before = self.entries[..place].iter().filter(|known| !known.sent).map(of);
            sent.iter().any(|other| other.push.id() == item.push.id())
                || before.into_iter().any(|other| other.push.sender() == item.push.sender())
        };
        let place = (0..self.entries.len()).find(|&place| !self.entries[place].sent && !waits(place))?;
        let written = |item: &Item| item.push.written_bytes(ContentForm::Text);
        let bytes: usize = sent.iter().map(|item| written(item)).sum();
        let fits =
            sent.len() < count_max && (sent.is_empty() || bytes + written(of(&self.entries[place])) <= bytes_max);
        fits.then_some(self.entries[place].item)
    }

    fn find_sent(&self, id: &str, sender: Option<&str>, items: &Items) -> Option<ItemRef> {
        let is_it = |known: &&Known| {
            let push = &items.get(known.item).unwrap().push;
            known.sent && push.id() == id && sender.is_none_or(|sender| sender == push.sender())
        };
        self.entries.iter().find(is_it).map(|known| known.item)
    }

    fn find_message(&self, sender: &str, id: &str, items: &Items) -> Vec<ItemRef> {
        let is_it = |known: &&Known| {
            let push = &items.get(known.item).unwrap().push;
            push.kind == PushKind::Message && push.id() == id && push.sender() == sender
        };
        self.entries.iter().chain(&self.tail).filter(is_it).map(|known| known.item).collect()
    }

    fn remove(&mut self, item: ItemRef) {
        self.entries.retain(|known| known.item != item);
        self.tail.retain(|known| known.item != item);
    }
}

/// Both lists, and what is on them.
struct Both {
    list: AckList,
    plain: Plain,
    items: Items,
    users: Users,
    rules: Rules,
    next_seq: u64,
    count_max: usize,
    bytes_max: usize,
    random: fastrand::Rng,
}

impl Both {
    fn new(seed: u64, count_max: usize) -> Self {
        Self {
            list: AckList::new(Backfill::Live),
            plain: Plain::default(),
            items: Items::new([seed, 1]),
            users: Users::new([seed, 2]),
            rules: Rules::default(),
            next_seq: 1,
            count_max,
            bytes_max: 4_000,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random.usize(..below)
    }

    /// A push that is on no list yet.
    fn push(&mut self, ids: usize, senders: usize) -> ItemRef {
        let (id, sender) = (format!("m{}", self.random(ids)), format!("s{}", self.random(senders)));
        let content = ["x", "\u{1}", "\"é\\"][self.random(3)].repeat(self.random(60));
        let kind = if self.random(8) == 0 { PushKind::FriendRequest } else { PushKind::Message };
        let (id, sender) = (Id::new(&id).unwrap(), Name::new(&sender).unwrap());
        let push = Push::new(self.next_seq, 1, kind, &id, &sender, &Name::new("ann").unwrap(), &content);
        self.next_seq += 1;
        let receiver = self.users.refer(&UserName::new("ann").unwrap());
        self.items.insert(Item {
            push,
            receiver,
            sender: None,
            save: Save::Done,
            durable: true,
            listed: true,
            sent_ms: NEVER,
            place: 0,
            written_bytes: 0,
            charged: false,
            waiter: None,
            more_waiters: None,
        })
    }

    fn append(&mut self, item: ItemRef) {
        self.list.append(item, &mut self.items);
        self.plain.entries.push(Known { item, sent: false });
    }

    fn append_tail(&mut self, item: ItemRef) {
        if self.list.append_tail(item, &self.items, &self.rules) {
            self.plain.tail.push(Known { item, sent: false });
        } else {
            self.items.remove(item);
        }
    }

    /// Sends what may be sent, as the core does.
    fn pump(&mut self, now_ms: u64) {
        loop {
            let next = self.list.next_to_send(&mut self.items, ContentForm::Text, self.count_max, self.bytes_max);
            assert_eq!(next, self.plain.next_to_send(&self.items, self.count_max, self.bytes_max));
            let Some(next) = next else {
                return;
            };
            self.list.first_sent(next, &mut self.items, now_ms);
            self.plain.entries.iter_mut().find(|known| known.item == next).unwrap().sent = true;
        }
    }

    fn take_off(&mut self, item: ItemRef) {
        self.items.get_mut(item).unwrap().listed = false;
        self.list.remove(item, &self.items);
        self.plain.remove(item);
        self.items.remove(item);
    }

    fn unsend_all(&mut self) {
        self.list.unsend_all(&mut self.items);
        self.plain.entries.iter_mut().for_each(|known| known.sent = false);
    }

    fn take_tail(&mut self) {
        let (tail, _) = self.list.take_tail(&self.items);
        assert_eq!(tail, self.plain.tail.drain(..).map(|known| known.item).collect::<Vec<_>>());
        tail.into_iter().for_each(|item| self.append(item));
    }

    fn step(&mut self, now_ms: u64, ids: usize, senders: usize, long: usize) {
        let (id, sender) = (format!("m{}", self.random(ids)), format!("s{}", self.random(senders)));
        let here = self.plain.entries.len() + self.plain.tail.len();
        match self.random(16) {
            0..=5 if here < long => {
                let item = self.push(ids, senders);
                self.append(item);
            }
            6 if here < long => {
                let item = self.push(ids, senders);
                self.append_tail(item);
            }
            0..=9 => {
                let named = (self.random(4) == 0).then_some(sender.as_str());
                let found = self.list.find_sent(&id, named, &self.items);
                assert_eq!(found, self.plain.find_sent(&id, named, &self.items));
                found.into_iter().for_each(|item| self.take_off(item));
            }
            10 | 11 => {
                // In order, as most are.
                let first = self.plain.entries.iter().find(|known| known.sent).map(|known| known.item);
                first.into_iter().for_each(|item| self.take_off(item));
            }
            12 if here > 0 => {
                let place = self.random(here);
                let item = self.list.all().nth(place).unwrap();
                self.take_off(item);
            }
            13 if self.random(8) == 0 => self.take_tail(),
            14 if self.random(60) == 0 => self.unsend_all(),
            _ => {
                let found = self.list.find_message(&sender, &id, &self.items);
                let known = self.plain.find_message(&sender, &id, &self.items);
                assert!(found.map_or(known.is_empty(), |found| known.contains(&found)));
            }
        }
        if self.random(3) > 0 {
            self.pump(now_ms);
        }
        let all: Vec<ItemRef> = self.plain.entries.iter().chain(&self.plain.tail).map(|known| known.item).collect();
        assert_eq!(self.list.all().collect::<Vec<_>>(), all);
        self.list.oldest_sending(&self.items);
        #[cfg(debug_assertions)]
        self.list.check(&self.items);
    }
}

#[test]
fn it_sends_and_finds_what_one_does_that_looks_through_everything() {
    // Few ids and senders, so that much is held back; short and long lists, little and much room.
    let kinds = [(3, 2, 12), (2, 30, 40), (40, 3, 60), (60, 60, 150), (1, 100, 100), (400, 20, 300)];
    for (seed, (ids, senders, long)) in (1..).zip(kinds.into_iter().cycle().take(24)) {
        let mut both = Both::new(seed, [1, 3, 20, 1_000][seed as usize % 4]);
        for step in 0..if long > 100 { 3_000 } else { 12_000 } {
            both.step(step, ids, senders, long);
        }
    }
}

#[test]
fn an_ack_in_the_middle_of_a_long_list_moves_little_and_gaps_are_closed_up() {
    let mut both = Both::new(1, 100_000);
    both.bytes_max = usize::MAX;
    let items: Vec<ItemRef> = (0..2_000).map(|_| both.push(1_000_000, 1)).collect();
    items.iter().for_each(|&item| both.append(item));
    // The first stays, so that nothing is closed up from the front.
    for &item in &items[1..1_900] {
        both.take_off(item);
        assert!(both.list.entries.len() <= 2 * both.list.len() + 130, "{}", both.list.entries.len());
    }
    assert_eq!(both.list.all().collect::<Vec<_>>(), [&items[..1], &items[1_900..]].concat());
}
