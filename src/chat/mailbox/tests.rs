//! A mailbox without a cursor.

use super::super::contract::CoreSettings;
use super::super::deliveries::{DeliverySaveState, DeliveryTable};
use super::super::ids::DeliveryRef;
use super::{INDEXED_FROM, Mailbox, MailboxBackfillState};
use crate::protocol::push::PushKind;

struct MailboxFixture {
    mailbox: Mailbox,
    deliveries: DeliveryTable,
}

impl MailboxFixture {
    /// A mailbox with `count` entries: m0 from s0, m1 from s1 and so on, numbered from 1.
    fn new(count: u64) -> (Self, Vec<DeliveryRef>) {
        let mut filled =
            Self { mailbox: Mailbox::new(MailboxBackfillState::Live), deliveries: DeliveryTable::new([1, 2]) };
        let all = (0..count).map(|n| filled.append(n + 1, &format!("m{n}"), &format!("s{n}"))).collect();
        (filled, all)
    }

    fn append(&mut self, seq: u64, id: &str, sender: &str) -> DeliveryRef {
        let delivery = self.deliveries.insert_stored((seq, PushKind::Message), id, sender, "x");
        self.mailbox.append(delivery, &mut self.deliveries);
        delivery
    }

    fn append_tail(&mut self, seq: u64, rules: &CoreSettings) -> Option<DeliveryRef> {
        let delivery = self.deliveries.insert_stored((seq, PushKind::Message), &format!("t{seq}"), "bob", "x");
        self.mailbox.append_tail(delivery, &self.deliveries, rules).then_some(delivery)
    }

    fn remove(&mut self, delivery: DeliveryRef) -> Option<u64> {
        let place = self.mailbox.remove(delivery, &self.deliveries);
        self.deliveries.remove(delivery);
        self.check();
        place
    }

    fn check(&self) {
        #[cfg(debug_assertions)]
        self.mailbox.check(&self.deliveries);
    }

    fn all(&self) -> Vec<DeliveryRef> {
        self.mailbox.all().collect()
    }
}

#[test]
fn entries_stand_in_their_order_wherever_one_is_taken_off() {
    let (mut filled, all) = MailboxFixture::new(500);
    for (n, delivery) in all.iter().enumerate().filter(|(n, _)| n % 3 == 1) {
        assert_eq!(filled.remove(*delivery), Some(n as u64), "its place");
    }
    let left: Vec<DeliveryRef> =
        all.iter().enumerate().filter(|(n, _)| n % 3 != 1).map(|(_, delivery)| *delivery).collect();
    assert_eq!((filled.all(), filled.mailbox.len()), (left, 333));
    assert_eq!(filled.mailbox.first_at_or_after(1).map(|entry| entry.delivery()), Some(all[2]));
    let is_there = |seq| filled.mailbox.seqs_from(seq);
    assert_eq!(
        [is_there(1), is_there(2), is_there(499), is_there(500)],
        [(true, true), (false, true), (true, true), (false, false)]
    );
}

#[test]
fn a_message_is_found_by_sender_and_id_in_a_short_mailbox_and_in_a_long_one() {
    for count in [5, INDEXED_FROM as u64, INDEXED_FROM as u64 + 1, 300] {
        let (mut filled, all) = MailboxFixture::new(count);
        let request = (1_000, PushKind::FriendRequest);
        let request = filled.deliveries.insert_stored(request, "request", "s0", "x");
        filled.mailbox.append(request, &mut filled.deliveries);
        filled.mailbox.backfill = MailboxBackfillState::Behind { after_seq: 1_000, asking: false };
        let late = filled.append_tail(1_001, &CoreSettings::default());
        let find = |filled: &MailboxFixture, sender: &str, id: &str| {
            filled.mailbox.find_message(sender, id, &filled.deliveries)
        };
        assert_eq!(find(&filled, "bob", "t1001"), late, "on the tail");
        assert_eq!(find(&filled, "s0", "request"), None, "no message");
        assert_eq!(find(&filled, "s1", "m0"), None, "of another");
        for (n, &delivery) in all.iter().enumerate() {
            let (sender, id) = (format!("s{n}"), format!("m{n}"));
            assert_eq!(find(&filled, &sender, &id), Some(delivery));
            filled.remove(delivery);
            assert_eq!(find(&filled, &sender, &id), None);
        }
        assert_eq!(filled.all(), [request].into_iter().chain(late).collect::<Vec<_>>());
    }
}

#[test]
fn a_tail_that_had_no_room_takes_nothing_more_until_the_next_page_is_asked_for() {
    let rules = CoreSettings { list_max: 2, ..CoreSettings::default() };
    let (mut filled, first) = MailboxFixture::new(1);
    filled.mailbox.backfill = MailboxBackfillState::Behind { after_seq: 1, asking: true };
    let [two, three] = [2, 3].map(|seq| filled.append_tail(seq, &rules).unwrap());
    assert_eq!(filled.append_tail(4, &rules), None, "no room");
    filled.deliveries.get_mut(three).unwrap().save_state = DeliverySaveState::InFlight;
    assert_eq!(filled.remove(two), None, "it had no place among the entries");
    assert_eq!(filled.append_tail(5, &rules), None, "the page on its way may lack 4");
    filled.mailbox.backfill = MailboxBackfillState::Behind { after_seq: 1, asking: false };
    assert_eq!(filled.mailbox.page_asked(&filled.deliveries), [], "3 is not in the store");
    let six = filled.append_tail(6, &rules).unwrap();
    filled.check();
    assert_eq!(filled.all(), [first[0], three, six]);
    assert_eq!(filled.mailbox.take_tail(&filled.deliveries), (vec![three, six], true));
    assert_eq!(filled.all(), first);
    assert!(!filled.mailbox.is_done());
    filled.remove(first[0]);
    filled.mailbox.backfill = MailboxBackfillState::Live;
    assert!(filled.mailbox.is_done());
}

#[test]
fn it_is_full_by_number_and_by_size_and_one_always_fits() {
    let (filled, _) = MailboxFixture::new(3);
    let is_full = |list_max, list_bytes_max| {
        filled.mailbox.is_full(1, &CoreSettings { list_max, list_bytes_max, ..CoreSettings::default() })
    };
    let bytes = filled.mailbox.bytes();
    assert_eq!(
        [is_full(3, 10_000), is_full(4, 10_000), is_full(4, bytes), is_full(4, bytes + 1)],
        [true, false, true, false]
    );
    let empty = Mailbox::new(MailboxBackfillState::Live);
    assert!(!empty.is_full(1_000, &CoreSettings { list_max: 1, list_bytes_max: 1, ..CoreSettings::default() }));
}
