//! docs/protocol.md §5: a very long list is sent in pages, and nothing gets lost or out of order
//! on the way.

use super::{ann_and_bob_by, ids, loads, pages, saves};
use crate::sim::lanes::Fate;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreSettings, Job};

fn small() -> CoreSettings {
    CoreSettings { page_max: 3, list_max: 4, outstanding_max: 2, ..crate::rules() }
}

fn names(of: std::ops::Range<u32>) -> Vec<String> {
    of.map(|n| format!("m{n}")).collect()
}

fn send(w: &mut World, bob: ConnId, of: std::ops::Range<u32>) {
    for id in names(of) {
        w.message(bob, &id, "ann");
    }
}

/// Acks all that is heard until nothing more comes; in the order of their first sending.
fn drain(w: &mut World, ann: ConnId) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut silent = 0;
    while silent < 40 {
        let heard = w.heard(ann);
        let new: Vec<String> = ids(&heard).into_iter().map(str::to_owned).collect();
        silent = if new.is_empty() { silent + 1 } else { 0 };
        for id in new {
            w.ack(ann, &id);
            if !seen.contains(&id) {
                seen.push(id);
            }
        }
        w.run_for(100);
    }
    seen
}

fn all_safe(w: &mut World, bob: ConnId, count: usize) {
    let heard = w.heard(bob);
    assert_eq!(heard.iter().filter(|line| line.starts_with("MS ")).count(), count, "{heard:?}");
}

#[test]
fn more_than_the_list_takes_goes_to_the_store_and_comes_back_in_order() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..30);
    w.run_for(100);
    all_safe(&mut w, bob, 30);
    assert_eq!(drain(&mut w, ann), names(0..30));
    assert!(w.store.count("LoadPage") >= 8);
    w.run_for(1_000);
    assert!(w.store.model.waiting_for("ann").is_empty());
    w.message(bob, "after", "ann");
    assert_eq!(ids(&w.heard(ann)), ["after"], "it is live again");
}

#[test]
fn a_long_list_is_read_in_pages_at_log_in() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    w.hang_up(ann);
    send(&mut w, bob, 0..20);
    w.run_for(100);
    let ann = w.open();
    w.log_in(ann, "ann");
    assert_eq!(drain(&mut w, ann), names(0..20));
    all_safe(&mut w, bob, 20);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn the_bytes_of_a_list_are_bounded_too() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { list_bytes_max: 1, ..small() });
    send(&mut w, bob, 0..10);
    w.run_for(100);
    all_safe(&mut w, bob, 10);
    assert_eq!(drain(&mut w, ann), names(0..10));
}

#[test]
fn messages_taken_while_the_first_page_is_read_come_after_it() {
    for count in [1, 4, 9] {
        let (mut w, ann, bob) = ann_and_bob_by(small());
        w.hang_up(ann);
        send(&mut w, bob, 0..5);
        w.run_for(100);
        w.store.hang(loads);
        let ann = w.open();
        w.log_in(ann, "ann");
        w.run_for(10);
        send(&mut w, bob, 5..5 + count);
        w.run_for(10);
        w.store.work(w.now_ms);
        assert_eq!(drain(&mut w, ann), names(0..5 + count));
        all_safe(&mut w, bob, 5 + count as usize);
        assert!(w.store.model.waiting_for("ann").is_empty());
    }
}

#[test]
fn the_same_when_nothing_was_stored_before() {
    for count in [1, 4, 9] {
        let (mut w, ann, bob) = ann_and_bob_by(small());
        w.hang_up(ann);
        w.store.hang(loads);
        let ann = w.open();
        w.log_in(ann, "ann");
        w.run_for(10);
        send(&mut w, bob, 0..count);
        w.store.work(w.now_ms);
        assert_eq!(drain(&mut w, ann), names(0..count));
        all_safe(&mut w, bob, count as usize);
    }
}

#[test]
fn messages_taken_while_a_later_page_is_read_come_after_it() {
    for count in [1, 4, 9] {
        let (mut w, ann, bob) = ann_and_bob_by(small());
        send(&mut w, bob, 0..6);
        w.run_for(100);
        w.store.hang(pages);
        for id in names(0..4) {
            w.ack(ann, &id);
        }
        assert_eq!(w.store.count("LoadPage"), 1);
        send(&mut w, bob, 6..6 + count);
        w.run_for(100);
        w.store.work(w.now_ms);
        assert_eq!(drain(&mut w, ann), names(0..6 + count));
        all_safe(&mut w, bob, 6 + count as usize);
        assert!(w.store.model.waiting_for("ann").is_empty());
    }
}

#[test]
fn a_page_that_cannot_be_read_is_asked_for_again() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..10);
    w.run_for(100);
    w.store.fate(Fate::Fail, pages);
    assert_eq!(drain(&mut w, ann), names(0..4));
    let asked = w.store.count("LoadPage");
    assert!((3..=5).contains(&asked), "once a second: {asked}");
    send(&mut w, bob, 10..13);
    w.run_for(100);
    w.store.work(w.now_ms);
    assert_eq!(drain(&mut w, ann), names(4..13));
    all_safe(&mut w, bob, 13);
}

#[test]
fn a_save_that_fails_while_a_page_is_on_its_way_leaves_no_gap_and_no_promise() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..6);
    w.run_for(100);
    w.store.hang(pages);
    for id in names(0..4) {
        w.ack(ann, &id);
    }
    all_safe(&mut w, bob, 6);
    w.store.fate(Fate::Fail, saves);
    w.message(bob, "lost", "ann");
    w.store.unhang(w.now_ms);
    w.run_for(10_000);
    assert_eq!(w.heard(bob), ["MF lost", "UNAVAILABLE lost"]);
    w.store.work(w.now_ms);
    w.message(bob, "lost", "ann");
    w.message(bob, "m6", "ann");
    let seen = drain(&mut w, ann);
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4", "m5", "lost", "m6"]);
    all_safe(&mut w, bob, 2);
}

#[test]
fn a_take_over_in_the_middle_of_a_long_list() {
    let (mut w, _, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..12);
    w.run_for(100);
    let new = w.open();
    w.log_in(new, "ann");
    w.run_for(2);
    send(&mut w, bob, 12..14);
    assert_eq!(drain(&mut w, new), names(0..14));
}

#[test]
fn going_and_coming_in_the_middle_of_a_long_list() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..12);
    w.run_for(100);
    w.ack(ann, "m0");
    w.ack(ann, "m1");
    w.hang_up(ann);
    send(&mut w, bob, 12..14);
    w.run_for(100);
    let ann = w.open();
    w.log_in(ann, "ann");
    assert_eq!(drain(&mut w, ann), names(2..14));
}

#[test]
fn an_older_connection_that_closes_with_a_page_on_its_way_and_a_log_in_behind_it() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..8);
    w.run_for(100);
    let new = w.open();
    w.store.takes(20);
    w.log_in(new, "ann");
    w.run_for(25);
    for id in names(0..4) {
        w.ack(ann, &id);
    }
    w.hang_up(ann);
    send(&mut w, bob, 8..10);
    assert_eq!(drain(&mut w, new), names(4..10));
    all_safe(&mut w, bob, 10);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn a_push_that_was_read_from_the_store_and_acked_is_not_read_again_by_a_page() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    w.hang_up(ann);
    send(&mut w, bob, 0..7);
    w.run_for(100);
    let ann = w.online("ann");
    w.store.fate(Fate::Fail, super::deletes);
    w.ack(ann, "m0");
    let seen = drain(&mut w, ann);
    assert!(!seen.contains(&"m0".to_owned()), "{seen:?}");
}

#[test]
fn a_page_is_bounded_in_bytes_too() {
    // Every message is 13 bytes of text: a page of 30 holds three, whatever else is allowed.
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { page_bytes_max: 30, ..crate::rules() });
    w.hang_up(ann);
    send(&mut w, bob, 0..20);
    w.run_for(100);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(1_000);
    assert!(w.store.count("LoadPage") >= 5, "{} pages", w.store.count("LoadPage"));
    assert_eq!(drain(&mut w, ann), names(0..20));
    assert_eq!(w.store.model.waiting_for("ann").len(), 0);
}

fn writes(job: &Job) -> bool {
    saves(job) || super::deletes(job) || super::friendships(job)
}

#[test]
fn while_nothing_can_be_written_pages_go_on_and_messages_to_users_who_ack_are_taken() {
    for room in [4, 100] {
        let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { list_max: room, ..small() });
        w.hang_up(ann);
        send(&mut w, bob, 0..20);
        w.run_for(100);
        all_safe(&mut w, bob, 20);
        w.store.fate(Fate::Fail, writes);
        let ann = w.open();
        w.log_in(ann, "ann");
        w.run_for(10);
        // The first page is here, there are more behind it, and all of that comes before this.
        send(&mut w, bob, 20..24);
        assert_eq!(drain(&mut w, ann), names(0..24));
        all_safe(&mut w, bob, 4);
        w.store.work(w.now_ms);
        w.run_for(3_000);
        assert!(w.store.model.waiting_for("ann").is_empty(), "acked pushes are deleted when that works again");
        w.message(bob, "after", "ann");
        assert_eq!(ids(&w.heard(ann)), ["after"]);
    }
}

#[test]
fn a_save_that_failed_while_a_page_was_on_its_way_waits_for_its_turn_behind_the_later_pages() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..12);
    w.run_for(100);
    all_safe(&mut w, bob, 12);
    w.store.hang(pages);
    for id in names(0..4) {
        w.ack(ann, &id);
    }
    w.heard(ann);
    w.store.fate(Fate::Fail, saves);
    w.message(bob, "late", "ann");
    w.run_for(10);
    w.store.unhang(w.now_ms);
    let seen = drain(&mut w, ann);
    assert_eq!(seen.last().map(String::as_str), Some("late"), "{seen:?}");
    assert_eq!(seen.len(), 9);
    assert_eq!(w.heard(bob), ["MS late"]);
}

#[test]
fn more_than_the_tail_holds_is_refused_while_nothing_can_be_written_and_the_rest_is_taken() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..12);
    w.run_for(100);
    all_safe(&mut w, bob, 12);
    w.store.fate(Fate::Fail, writes);
    send(&mut w, bob, 12..20);
    w.run_for(10);
    let refused = w.heard(bob);
    let seen = drain(&mut w, ann);
    let mut taken: Vec<String> =
        w.heard(bob).iter().filter_map(|line| line.strip_prefix("MS ").map(str::to_owned)).collect();
    // Bob's first twelve are durable; of the others those that there was room for.
    assert_eq!(refused.iter().filter(|line| line.starts_with("MF ")).count() + taken.len(), 8, "{refused:?} {taken:?}");
    assert!(!taken.is_empty());
    let mut expected = names(0..12);
    expected.append(&mut taken);
    assert_eq!(seen, expected);
}

#[test]
fn a_page_that_is_damaged_is_asked_for_seldom() {
    let (mut w, ann, bob) = ann_and_bob_by(small());
    send(&mut w, bob, 0..10);
    w.run_for(100);
    w.store.fate(Fate::Refuse, pages);
    assert_eq!(drain(&mut w, ann), names(0..4));
    assert_eq!(w.store.count("LoadPage"), 1);
    w.store.work(w.now_ms);
    w.run_for(60_000);
    assert_eq!(drain(&mut w, ann), names(4..10));
}

#[test]
fn deletions_that_fail_are_tried_again_a_part_at_a_time() {
    let (mut w, ann, bob) =
        ann_and_bob_by(CoreSettings { list_max: 10_000, outstanding_max: 10_000, ..crate::rules() });
    send(&mut w, bob, 0..5_000);
    w.run_for(100);
    w.store.fate(Fate::Fail, super::deletes);
    for id in names(0..5_000) {
        w.ack(ann, &id);
    }
    w.run_for(100);
    let before = w.store.count("DeletePush");
    assert_eq!(before, 5_000);
    w.run_for(1_000);
    assert_eq!(w.store.count("DeletePush") - before, 2_000, "the others do not wait behind all of them");
    w.store.work(w.now_ms);
    w.run_for(5_000);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn deletions_for_which_the_job_queue_had_no_room_follow_as_others_are_done() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { jobs_max: 8, list_max: 500, ..crate::rules() });
    for some in 0..25 {
        send(&mut w, bob, some * 8..some * 8 + 8);
        w.run_for(300);
    }
    all_safe(&mut w, bob, 200);
    for id in names(0..200) {
        w.ack(ann, &id);
    }
    assert_eq!(w.store.model.waiting_for("ann").len(), 200);
    w.run_for(1_500);
    assert!(w.store.model.waiting_for("ann").is_empty(), "not eight a second");
}

#[test]
fn deletions_leave_half_of_the_job_queue_to_requests() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { jobs_max: 8, list_max: 500, ..crate::rules() });
    for some in 0..5 {
        send(&mut w, bob, some * 8..some * 8 + 8);
        w.run_for(300);
    }
    all_safe(&mut w, bob, 40);
    w.store.hang(super::deletes);
    for id in names(0..40) {
        w.ack(ann, &id);
    }
    w.run_for(3_000);
    assert_eq!(w.store.count("DeletePush"), 4);
    let again = w.open();
    w.log_in(again, "bob");
    w.run_for(100);
    assert_eq!(w.heard(again), ["LS l"], "there is room for a log-in while deletions hang");
    w.store.work(w.now_ms);
    w.run_for(1_500);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn stored_pushes_leave_the_list_when_memory_is_short_and_are_read_again() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { outstanding_max: 2, ..crate::rules() });
    send(&mut w, bob, 0..30);
    w.run_for(100);
    all_safe(&mut w, bob, 30);
    let before = w.memory_bytes();
    w.release_memory(1, false);
    let after = w.memory_bytes();
    assert!(after < before * 2 / 3, "{after} of {before} bytes are used");
    assert_eq!(w.store.count("LoadPage"), 0, "not at once");
    w.release_memory(usize::MAX, true);
    assert_eq!(drain(&mut w, ann), names(0..30));
    w.run_for(1_000);
    assert!(w.store.model.waiting_for("ann").is_empty());
    w.message(bob, "after", "ann");
    assert_eq!(ids(&w.heard(ann)), ["after"], "it is live again");
}

#[test]
fn pushes_that_are_not_stored_stay_on_the_list_however_short_memory_is() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { outstanding_max: 2, ..crate::rules() });
    w.store.fate(Fate::Fail, saves);
    send(&mut w, bob, 0..10);
    w.run_for(100);
    w.release_memory(usize::MAX, true);
    w.block(ann);
    w.release_memory(usize::MAX, true);
    w.flush(ann);
    assert_eq!(drain(&mut w, ann), names(0..10));
    all_safe(&mut w, bob, 10);
}
