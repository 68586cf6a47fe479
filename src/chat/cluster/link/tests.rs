//! Both ends of a link on a bus that does what the tests say.

use super::*;
use crate::protocol::field::{MessageId, UserNameRef};
use crate::protocol::push::PushKind;

const BYTES_MAX: usize = 10_000;

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn look(name: &str) -> NodeMessage {
    NodeMessage::Look { user: user(name) }
}

fn ack(seq: u64) -> NodeMessage {
    NodeMessage::Ack { user: user("ann"), seq }
}

fn push(seq: u64) -> Push {
    Push::new(
        seq,
        1,
        PushKind::Message,
        &MessageId::new("m").unwrap(),
        &UserNameRef::new("bob").unwrap(),
        user("ann"),
        "hello",
    )
}

/// One end, with its clock.
#[derive(Default)]
struct TestLinkEnd {
    link: ReliableNodeLink,
    last_epoch: u64,
    now_ms: u64,
}

impl TestLinkEnd {
    fn open() -> Self {
        let mut end = Self::default();
        end.link.open(&mut end.last_epoch);
        end
    }

    fn say(&mut self, record: NodeMessage) {
        assert!(!self.link.say(BusRecord::Record(record), self.now_ms, BYTES_MAX));
    }

    fn frames(&mut self) -> Vec<BusFrame> {
        let frames = self.link.frames(1, self.now_ms);
        self.link.check();
        frames
    }

    fn receive(&mut self, frame: BusFrame) -> NodeLinkReceiveResult {
        let received = self.link.receive(frame, self.now_ms);
        self.link.check();
        received
    }

    fn down(&mut self) -> Vec<NodeMessage> {
        self.link.down(self.now_ms);
        self.pass(0)
    }

    fn pass(&mut self, wait_ms: u64) -> Vec<NodeMessage> {
        self.now_ms += wait_ms;
        let for_inbox = self.link.pass(self.now_ms, true, &mut self.last_epoch);
        self.link.check();
        for_inbox
    }
}

/// Both ends open, and each has confirmed the other's first batch.
fn both_up() -> (TestLinkEnd, TestLinkEnd) {
    let (mut one, mut other) = (TestLinkEnd::open(), TestLinkEnd::open());
    for _ in 0..2 {
        for frame in one.frames() {
            other.receive(frame);
        }
        for frame in other.frames() {
            one.receive(frame);
        }
    }
    assert!(one.link.is_up() && other.link.is_up());
    (one, other)
}

fn of(records: Vec<NodeMessage>) -> Vec<BusRecord> {
    records.into_iter().map(BusRecord::Record).collect()
}

#[test]
fn a_link_is_up_when_its_first_batch_is_confirmed() {
    let (mut one, mut other) = (TestLinkEnd::open(), TestLinkEnd::open());
    assert!(!one.link.push(1, &push(1), BYTES_MAX), "nobody may be there");
    let first = one.frames();
    assert_eq!(first.len(), 1);
    assert_eq!(other.receive(first[0].clone()), NodeLinkReceiveResult::default());
    assert!(one.frames().is_empty(), "nothing to say");
    let answer = other.frames();
    assert_eq!(answer[0].confirmed_batch, Some(NodeLinkBatchNumber { link: 1, number: 1 }));
    assert!(one.receive(answer[0].clone()).came_up && one.link.is_up());
    assert!(!one.receive(answer[0].clone()).came_up, "once");
    assert!(one.link.push(1, &push(1), BYTES_MAX));
}

#[test]
fn batches_are_taken_once_and_only_in_their_order() {
    // Numbers of the batches that arrive, and what is taken of them.
    let rows: [(&[usize], &[u64], bool); 6] = [
        (&[0, 1, 2], &[10, 11, 12], false),
        (&[0, 0, 1, 1, 2], &[10, 11, 12], false),
        (&[0, 2], &[10], true),
        (&[1], &[], true),
        (&[0, 2, 1, 2], &[10, 11, 12], true),
        (&[0, 1, 0, 2], &[10, 11, 12], false),
    ];
    for (arrive, taken, is_refused) in rows {
        let (mut one, mut other) = both_up();
        let mut frames = Vec::new();
        for seq in 10..13 {
            one.say(ack(seq));
            frames.extend(one.frames());
        }
        let mut records = Vec::new();
        for &place in arrive {
            records.extend(other.receive(frames[place].clone()).records);
        }
        assert_eq!(records, of(taken.iter().map(|&seq| ack(seq)).collect()), "{arrive:?}");
        let refused = other.frames().into_iter().filter_map(|frame| frame.refused_epoch).next();
        assert_eq!(refused.is_some(), is_refused, "{arrive:?}");
    }
}

#[test]
fn a_refusal_ends_the_epoch_that_it_names_and_no_other() {
    let (mut one, _) = both_up();
    let refusal = |link| BusFrame { view: 1, confirmed_batch: None, refused_epoch: Some(link), batch: None };
    assert!(one.receive(refusal(1)).is_refused);
    one.down();
    assert!(!one.receive(refusal(1)).is_refused, "that one is over");
    assert!(one.receive(refusal(2)).is_refused);
}

#[test]
fn kept_records_are_sent_again_in_each_epoch_and_pushes_are_not() {
    let (mut one, mut other) = both_up();
    one.say(ack(1));
    let lost = one.frames();
    assert!(one.link.push(7, &push(5), BYTES_MAX));
    one.say(look("ann"));
    drop(one.frames());
    one.now_ms += UNCONFIRMED_MS - 1;
    assert!(!one.link.is_late(one.now_ms));
    one.now_ms += 1;
    assert!(one.link.is_late(one.now_ms));
    one.down();
    assert!(!one.link.push(7, &push(6), BYTES_MAX), "nothing is confirmed yet");
    let again = one.frames();
    assert_eq!(other.receive(again[0].clone()).records, of(vec![ack(1), look("ann")]));
    assert!(other.receive(lost[0].clone()).records.is_empty(), "an epoch that is over");
    for frame in other.frames() {
        one.receive(frame);
    }
    assert!(one.link.is_up() && one.link.kept.is_empty() && one.link.unconfirmed_bytes() == 0);
}

#[test]
fn epochs_that_are_not_confirmed_follow_each_other_at_growing_intervals() {
    let mut one = TestLinkEnd::open();
    let mut opened = Vec::new();
    for _ in 0..30_000 {
        one.pass(1);
        if one.link.is_late(one.now_ms) {
            one.link.down(one.now_ms);
        }
        if one.link.has_to_publish(one.now_ms) && !one.frames().is_empty() {
            opened.push(one.now_ms);
        }
    }
    let rests: Vec<u64> = opened.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(rests.is_sorted() && rests[0] <= 700 && *rests.last().unwrap() <= 5_200, "{rests:?}");
    assert!(opened.len() < 12, "{opened:?}");
    // A frame of the other one arrives: at once.
    one.link.wake(one.now_ms);
    one.pass(0);
    assert!(one.link.has_to_publish(one.now_ms) || !one.link.unconfirmed.is_empty());
}

#[test]
fn records_not_confirmed_within_a_second_are_written_to_the_inbox_once_in_order() {
    let (mut one, _) = both_up();
    one.say(ack(1));
    one.pass(10);
    one.say(ack(2));
    drop(one.frames());
    assert!(one.pass(WRITE_TO_INBOX_AFTER_MS - 11).is_empty());
    assert_eq!(one.pass(1), vec![ack(1)]);
    assert_eq!(one.pass(10), vec![ack(2)]);
    assert!(one.pass(10).is_empty());
    // It is still said over the bus, so that nothing overtakes it, and removed at last.
    one.down();
    assert_eq!(one.frames()[0].batch.as_ref().unwrap().records, of(vec![ack(1), ack(2)]));
    one.pass(REMOVE_WRITTEN_AFTER_MS);
    assert!(one.link.kept.is_empty());
}

#[test]
fn without_a_bus_all_records_are_written_to_the_inbox_at_once() {
    let (mut one, _) = both_up();
    one.say(ack(1));
    assert_eq!(one.link.pass(one.now_ms, false, &mut one.last_epoch), vec![ack(1)]);
    assert_eq!(one.link.due_ms(false), Some(one.now_ms + REMOVE_WRITTEN_AFTER_MS));
}

#[test]
fn a_look_is_folded_into_the_next_unless_that_moves_it_behind_another_record() {
    let release = |epoch| NodeMessage::Release { user: user("bob"), epoch, claim: 1 };
    let (mut one, _) = both_up();
    for record in [look("ann"), look("cid"), ack(1), look("ann")] {
        one.say(record);
        drop(one.frames());
    }
    one.say(release(1));
    one.say(look("ann"));
    one.down();
    let again = one.frames().remove(0).batch.unwrap().records;
    assert_eq!(again, of(vec![look("cid"), ack(1), look("ann"), release(1), look("ann")]));
}

#[test]
fn a_begin_of_a_former_epoch_becomes_a_look_in_the_next() {
    let (mut one, _) = both_up();
    assert!(!one.link.say(BusRecord::Begin { user: user("ann"), phase: 3 }, 0, BYTES_MAX));
    drop(one.frames());
    assert!(one.pass(WRITE_TO_INBOX_AFTER_MS).is_empty(), "a beginning holds for its epoch");
    assert_eq!(one.down(), vec![look("ann")], "through the database, since it is a second old");
    assert_eq!(one.frames().remove(0).batch.unwrap().records, of(vec![look("ann")]));
}

#[test]
fn unconfirmed_batches_are_bounded() {
    let (mut one, mut other) = both_up();
    let mut handed = 0;
    let mut frames = Vec::new();
    while one.link.push(1, &push(handed), BYTES_MAX) {
        handed += 1;
        frames.extend(one.frames());
    }
    assert!(handed > 10 && one.link.unconfirmed_bytes() <= BYTES_MAX);
    assert!(one.link.memory_bytes() < BYTES_MAX);
    for frame in frames {
        other.receive(frame);
    }
    for frame in other.frames() {
        one.receive(frame);
    }
    assert!(one.link.push(1, &push(handed), BYTES_MAX), "all was confirmed");
    // Records are taken all the same, until it is too much.
    let mut said = 0;
    while !one.link.say(BusRecord::Record(ack(said)), 0, BYTES_MAX) {
        said += 1;
    }
    let given_up = one.link.give_up().records;
    assert_eq!(given_up, (0..=said).map(ack).collect::<Vec<_>>());
    one.link.check();
    assert_eq!(one.link.kept_bytes, 0);
}

#[test]
fn a_turn_with_many_records_is_split_into_batches() {
    let (mut one, mut other) = both_up();
    let count = 3 * BATCH_BYTES_MAX as u64 / 100;
    for seq in 0..count {
        one.link.say(BusRecord::Record(ack(seq)), 0, usize::MAX);
    }
    let frames = one.frames();
    assert!(frames.len() > 2);
    let mut taken = Vec::new();
    for frame in frames {
        let bytes: usize = frame.batch.iter().flat_map(|batch| &batch.records).map(BusRecord::weight_bytes).sum();
        assert!(bytes <= BATCH_BYTES_MAX + KEPT_BYTES, "{bytes}");
        taken.extend(other.receive(frame).records);
    }
    assert_eq!(taken, of((0..count).map(ack).collect()));
}

#[test]
fn a_confirmation_is_sent_alone_after_a_short_wait() {
    let (mut one, mut other) = both_up();
    one.say(ack(1));
    other.receive(one.frames().remove(0));
    assert!(!other.link.has_to_publish(other.now_ms));
    assert_eq!(other.link.due_ms(true), Some(other.now_ms + CONFIRM_MS));
    other.pass(CONFIRM_MS);
    assert!(other.link.has_to_publish(other.now_ms));
    let alone = other.frames().remove(0);
    assert_eq!((alone.confirmed_batch, alone.batch.clone()), (Some(NodeLinkBatchNumber { link: 1, number: 2 }), None));
    one.receive(alone);
    assert_eq!(one.link.due_ms(true), None, "nothing is open");
}

#[test]
fn consecutive_looks_do_not_postpone_the_write_to_the_inbox() {
    let (mut one, _) = both_up();
    let mut written_ms = Vec::new();
    for _ in 0..30 {
        one.say(look("ann"));
        drop(one.frames());
        if one.pass(100) == vec![look("ann")] {
            written_ms.push(one.now_ms);
        }
    }
    assert_eq!(written_ms, [1_000, 2_000, 3_000]);
}

#[test]
fn records_to_a_node_that_never_confirms_go_through_the_database_at_once() {
    let mut one = TestLinkEnd::open();
    one.say(look("ann"));
    drop(one.frames());
    assert_eq!(one.pass(UNCONFIRMED_MS), [], "it may just be slow");
    assert!(one.link.is_late(one.now_ms));
    assert_eq!(one.down(), [look("ann")]);
    one.say(look("bob"));
    assert_eq!(one.link.due_ms(true), Some(one.now_ms));
    assert_eq!(one.pass(1), [look("bob")]);
    // A frame of it arrives: it has a bus after all.
    one.link.wake(one.now_ms);
    one.say(look("cid"));
    assert_eq!(one.pass(1), []);
    assert_eq!(one.pass(WRITE_TO_INBOX_AFTER_MS), [look("cid")]);
}

#[test]
fn a_link_that_was_up_gives_the_next_epoch_its_time() {
    let (mut one, _) = both_up();
    one.say(look("ann"));
    drop(one.frames());
    one.pass(UNCONFIRMED_MS);
    assert_eq!(one.down(), [], "it begins anew at once");
}
