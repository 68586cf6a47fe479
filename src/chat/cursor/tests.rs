//! Cursors over a mailbox, without a world around them.

use super::super::deliveries::{DeliveryTable, ann};
use super::super::ids::DeliveryRef;
use super::super::look_count;
use super::super::mailbox::{Mailbox, MailboxBackfillState};
use super::{DeviceCursor, INDEXED_FROM, SendWindowLimits};
use crate::protocol::push::PushKind;
use crate::protocol::request::ContentAsStringOrObject;

/// A mailbox and the pushes in it.
struct TestMailbox {
    mailbox: Mailbox,
    deliveries: DeliveryTable,
    all: Vec<DeliveryRef>,
}

impl TestMailbox {
    /// A mailbox with pushes of these ids and senders.
    fn new<S: AsRef<str>>(pushes: impl IntoIterator<Item = (S, S)>) -> Self {
        let mut world = Self {
            mailbox: Mailbox::new(MailboxBackfillState::Live),
            deliveries: DeliveryTable::new([1, 2]),
            all: Vec::new(),
        };
        for (id, sender) in pushes {
            let number = (world.all.len() as u64 + 1, PushKind::Message);
            let delivery = world.deliveries.insert_stored(number, id.as_ref(), sender.as_ref(), "x");
            world.mailbox.append(delivery, &mut world.deliveries);
            world.all.push(delivery);
        }
        world
    }

    /// Sends what the window has room for; gives the indexes of those pushes.
    fn pump(&self, cursor: &mut DeviceCursor, count_max: usize, bytes_max: usize, now_ms: u64) -> Vec<usize> {
        let receiver = &ann();
        let window = SendWindowLimits { receiver, form: ContentAsStringOrObject::Text, count_max, bytes_max };
        let mut sent = Vec::new();
        while let Some(next) = cursor.next_to_send(&self.mailbox, &self.deliveries, &window) {
            sent.push(self.number(next.delivery()));
            cursor.first_sent(next, &self.deliveries, now_ms);
        }
        self.check(cursor);
        sent
    }

    fn number(&self, delivery: DeliveryRef) -> usize {
        self.all.iter().position(|known| *known == delivery).unwrap()
    }

    /// The only device has acked it.
    fn ack(&mut self, cursor: &mut DeviceCursor, id: &str) -> Option<usize> {
        let delivery = cursor.find_sent(id, None, &self.deliveries)?;
        let place = self.mailbox.remove(delivery, &self.deliveries).unwrap();
        cursor.removed(place, delivery, &self.deliveries);
        self.deliveries.remove(delivery);
        self.check(cursor);
        Some(self.number(delivery))
    }

    fn check(&self, cursor: &DeviceCursor) {
        #[cfg(debug_assertions)]
        cursor.check(&self.mailbox, &self.deliveries);
        let _ = cursor;
    }
}

const MANY: usize = 1_000_000;

#[test]
fn it_sends_in_order_as_far_as_the_window_has_room() {
    let mut world = TestMailbox::new((0..10).map(|n| (format!("m{n}"), "bob".to_owned())));
    let mut cursor = DeviceCursor::new();
    assert_eq!(world.pump(&mut cursor, 3, MANY, 1), [0, 1, 2]);
    assert_eq!(world.ack(&mut cursor, "m3"), None, "it was not sent");
    assert_eq!(world.ack(&mut cursor, "m1"), Some(1));
    assert_eq!(world.pump(&mut cursor, 3, MANY, 2), [3]);
    let written = cursor.outstanding_bytes / 3;
    assert_eq!(world.pump(&mut cursor, 10, 5 * written, 3), [4, 5], "by size");
    let mut other = DeviceCursor::new();
    assert_eq!(world.pump(&mut other, 10, 1, 3), [0], "one always has room");
}

#[test]
fn a_push_with_an_outstanding_id_is_deferred_and_later_ones_of_its_sender() {
    let pushes = [("x", "bob"), ("x", "carol"), ("y", "carol"), ("z", "dan"), ("x", "dan")];
    let mut world = TestMailbox::new(pushes);
    let mut cursor = DeviceCursor::new();
    assert_eq!(world.pump(&mut cursor, MANY, MANY, 1), [0, 3]);
    assert_eq!(world.ack(&mut cursor, "y"), None);
    assert_eq!(world.ack(&mut cursor, "x"), Some(0));
    assert_eq!(world.pump(&mut cursor, MANY, MANY, 2), [1, 2]);
    assert_eq!(cursor.find_sent("x", Some("dan"), &world.deliveries), None, "it is carol's that was sent");
    assert_eq!(world.ack(&mut cursor, "x"), Some(1));
    assert_eq!(world.pump(&mut cursor, MANY, MANY, 3), [4]);
    assert!(cursor.deferred.is_none(), "nothing is deferred any more");
}

#[test]
fn the_oldest_sending_is_sent_again_first_however_many_there_are() {
    let many = 3 * INDEXED_FROM;
    let mut world = TestMailbox::new((0..many).map(|n| (format!("m{n}"), format!("s{n}"))));
    let mut cursor = DeviceCursor::new();
    assert_eq!(cursor.send_oldest_again(&world.deliveries, 1), None);
    assert_eq!(world.pump(&mut cursor, many / 2, MANY, 10).len(), many / 2);
    assert_eq!(world.ack(&mut cursor, "m0"), Some(0));
    assert_eq!(cursor.oldest_sending_ms(), Some(10));
    let again = cursor.send_oldest_again(&world.deliveries, 20).unwrap();
    assert_eq!(world.number(again), 1);
    assert_eq!(world.pump(&mut cursor, many, MANY, 30).len(), many / 2);
    // In the order of their last sendings: all but the first two, the second, then the rest.
    let order: Vec<usize> = (2..many / 2).chain([1]).chain(many / 2..many).collect();
    let mut again = Vec::new();
    for n in 0..many - 1 {
        let sent_ms = cursor.oldest_sending_ms().unwrap();
        assert_eq!(
            sent_ms,
            if n < many / 2 - 2 {
                10
            } else if n == many / 2 - 2 {
                20
            } else {
                30
            }
        );
        again.push(world.number(cursor.send_oldest_again(&world.deliveries, 40).unwrap()));
        world.check(&cursor);
    }
    assert_eq!((again, cursor.oldest_sending_ms()), (order, Some(40)));
    // Those that were sent again are acked like the others, in whatever order.
    for n in (1..many).rev() {
        assert_eq!(world.ack(&mut cursor, &format!("m{n}")), Some(n));
    }
    assert_eq!((cursor.oldest_sending_ms(), cursor.outstanding_bytes), (None, 0));
    assert!(cursor.ids.is_none());
}

#[test]
fn on_a_new_connection_everything_is_ahead() {
    let mut world = TestMailbox::new([("a", "bob"), ("b", "bob"), ("a", "dan")]);
    let mut cursor = DeviceCursor::new();
    assert_eq!(world.pump(&mut cursor, MANY, MANY, 1), [0, 1]);
    assert_eq!(world.ack(&mut cursor, "a"), Some(0));
    cursor.restart();
    world.check(&cursor);
    assert_eq!(world.ack(&mut cursor, "b"), None, "not sent on this connection");
    assert!(!cursor.is_outstanding(world.all[1], &world.deliveries));
    assert_eq!(world.pump(&mut cursor, MANY, MANY, 2), [1, 2]);
    assert!(cursor.is_outstanding(world.all[1], &world.deliveries));
}

#[test]
fn two_cursors_go_their_own_way_through_one_mailbox() {
    let world = TestMailbox::new((0..5).map(|n| (format!("m{n}"), "bob".to_owned())));
    let (mut phone, mut tablet) = (DeviceCursor::new(), DeviceCursor::new());
    assert_eq!(world.pump(&mut phone, 2, MANY, 1), [0, 1]);
    assert_eq!(world.pump(&mut tablet, MANY, MANY, 2), [0, 1, 2, 3, 4]);
    phone.restart();
    assert_eq!(tablet.outstanding.len(), 5);
    assert_eq!(world.pump(&mut phone, 1, MANY, 3), [0]);
    assert_eq!((phone.oldest_sending_ms(), tablet.oldest_sending_ms()), (Some(3), Some(2)));
}

/// Acks these ids one after the other, and sends what each makes room for. Gives the entries that
/// were examined for one ack, on average.
fn looks_of_an_ack(
    pushes: impl Iterator<Item = (String, String)>,
    acked: impl ExactSizeIterator<Item = String>,
    count_max: usize,
) -> usize {
    let mut world = TestMailbox::new(pushes);
    let mut cursor = DeviceCursor::new();
    let receiver = &ann();
    let window = SendWindowLimits { receiver, form: ContentAsStringOrObject::Text, count_max, bytes_max: usize::MAX };
    let send = |world: &TestMailbox, cursor: &mut DeviceCursor| {
        while let Some(next) = cursor.next_to_send(&world.mailbox, &world.deliveries, &window) {
            cursor.first_sent(next, &world.deliveries, 1);
        }
    };
    // An entry that is examined once, when its push comes, is not the work of an ack.
    send(&world, &mut cursor);
    let acks = acked.len();
    look_count::take();
    for id in acked {
        let delivery = cursor.find_sent(&id, None, &world.deliveries).unwrap();
        let place = world.mailbox.remove(delivery, &world.deliveries).unwrap();
        cursor.removed(place, delivery, &world.deliveries);
        world.deliveries.remove(delivery);
        send(&world, &mut cursor);
    }
    let looks = look_count::take();
    world.check(&cursor);
    looks.div_ceil(acks)
}

#[test]
fn an_ack_costs_the_same_whatever_is_deferred() {
    let named = |n: usize, sender: &str| (format!("m{n}"), sender.to_owned());
    for many in [1_024, 8_192] {
        let one_id = (0..many).map(|n| ("x".to_owned(), format!("s{n}")));
        let acks = (0..many).map(|_| "x".to_owned());
        let all_wait_for_one_id = looks_of_an_ack(one_id, acks, MANY);
        // The messages of eight senders under the same ids, one id after the other.
        let few_ids = (0..many).map(|n| (format!("m{}", n / 8), format!("s{}", n % 8)));
        let acks = (0..many).map(|n| format!("m{}", n / 8));
        let few_senders = looks_of_an_ack(few_ids, acks, MANY);
        // All of carol waits for an ack that does not come, and bob is acked.
        let deferred = std::iter::once(named(0, "bob")).chain((0..many).map(|n| named(n, "carol")));
        let others = (0..many).map(|n| named(many + n, "bob"));
        let acks = (0..many).map(|n| format!("m{}", many + n));
        let beside_a_sender_who_waits = looks_of_an_ack(deferred.chain(others), acks, 1 + many / 2);
        // The last first, so that all before it stay outstanding.
        let one_sender = (0..many).map(|n| named(n, "bob"));
        let acks = (0..many).rev().map(|n| format!("m{n}"));
        let from_the_end = looks_of_an_ack(one_sender, acks, MANY);
        let looks = [all_wait_for_one_id, few_senders, beside_a_sender_who_waits, from_the_end];
        assert!(looks.iter().all(|looks| (1..=16).contains(looks)), "{looks:?} of {many}");
    }
}
