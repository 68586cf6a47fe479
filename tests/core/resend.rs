//! docs/protocol.md §5: a push that is not acked in 15 s is sent again; not into a connection that
//! is stuck.

use super::{ann_and_bob, ann_and_bob_by};
use crate::sim::say::Frame;
use hongyan::chat::contract::CoreSettings;

#[test]
fn each_push_is_sent_again_after_15_seconds_by_its_own_clock_and_unchanged() {
    let (mut w, ann, bob) = ann_and_bob();
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_until(start + 4_000);
    w.message(bob, "m2", "ann");
    w.run_until(start + 14_999);
    assert_eq!(w.heard(ann), ["msg bob m1", "msg bob m2"]);
    w.run_until(start + 50_000);
    let again = w.frames(ann);
    let times: Vec<(u64, String)> = again.iter().map(|(at, frame)| (at - start, frame.line())).collect();
    let expected = [(15_000, "m1"), (19_000, "m2"), (30_000, "m1"), (34_000, "m2"), (45_000, "m1"), (49_000, "m2")];
    assert_eq!(times, expected.map(|(at, id)| (at, format!("msg bob {id}"))));
    let pushes = |id: &str| -> Vec<String> {
        let all = again.iter().filter(|(_, frame)| frame.line().ends_with(id));
        all.map(|(_, frame)| format!("{frame:?}")).collect()
    };
    assert!(pushes("m1").windows(2).all(|two| two[0] == two[1]), "unchanged, the time too");
}

#[test]
fn an_ack_stops_it() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(14_999);
    w.ack(ann, "m1");
    w.heard(ann);
    w.run_for(60_000);
    assert_eq!(w.heard(ann), [] as [&str; 0]);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn an_ack_after_a_resend_stops_it_and_a_second_ack_is_ignored() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(15_000);
    assert_eq!(w.heard(ann), ["msg bob m1", "msg bob m1"]);
    w.ack(ann, "m1");
    w.ack(ann, "m1");
    w.ack(ann, "never");
    w.run_for(60_000);
    assert_eq!(w.heard(ann), [] as [&str; 0]);
}

#[test]
fn friend_requests_are_sent_again_too() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.model.add_account("dan", "dan");
    let dan = w.online("dan");
    w.friend(dan, hongyan::protocol::request::FriendVerb::Request, "f1", "ann");
    w.run_for(15_100);
    assert_eq!(w.heard(ann), ["ask dan f1", "ask dan f1"]);
    w.ack(ann, "f1");
    w.run_for(60_000);
    assert_eq!(w.heard(ann), [] as [&str; 0]);
}

#[test]
fn nothing_goes_to_a_blocked_connection_and_it_catches_up_when_flushed() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.block(ann);
    w.run_for(1_000);
    w.message(bob, "m2", "ann");
    w.run_for(40_000);
    assert_eq!(w.heard(ann), ["msg bob m1"], "neither again nor for the first time");
    assert_eq!(w.heard(bob), ["MS m1", "MS m2"], "it is durable all the same");
    w.flush(ann);
    w.run_for(2);
    assert_eq!(w.heard(ann), ["msg bob m2", "msg bob m1"]);
    w.run_for(14_999);
    assert_eq!(w.heard(ann), ["msg bob m2", "msg bob m1"], "from now on in their period again");
}

#[test]
fn a_flush_before_the_time_changes_nothing() {
    let (mut w, ann, bob) = ann_and_bob();
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.block(ann);
    w.run_for(10_000);
    w.flush(ann);
    w.run_for(20_000);
    let times: Vec<u64> = w.frames(ann).iter().map(|(at, _)| at - start).collect();
    assert_eq!(times, [0, 15_000, 30_000]);
}

#[test]
fn many_that_are_due_at_once_are_spread_a_little() {
    let (mut w, ann, bob) = ann_and_bob();
    let start = w.now_ms;
    for n in 0..200 {
        w.message(bob, &format!("m{n}"), "ann");
    }
    w.run_until(start + 14_999);
    assert_eq!(w.heard(ann).len(), 200);
    w.run_until(start + 15_100);
    let again = w.frames(ann);
    assert_eq!(again.len(), 200);
    for at_ms in start + 15_000..start + 15_100 {
        assert!(again.iter().filter(|(at, _)| *at == at_ms).count() <= 64);
    }
}

#[test]
fn the_period_can_be_set_to_the_millisecond() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { resend_every_ms: 7, save_after_ms: 2, ..crate::rules() });
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_for(21);
    let times: Vec<u64> = w.frames(ann).iter().map(|(at, _)| at - start).collect();
    assert_eq!(times, [0, 7, 14, 21]);
}

#[test]
fn only_so_many_are_outstanding_and_acks_let_the_next_ones_go_in_order() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { outstanding_max: 3, ..crate::rules() });
    for n in 0..8 {
        w.message(bob, &format!("m{n}"), "ann");
    }
    w.run_for(100);
    assert_eq!(w.heard(ann), ["msg bob m0", "msg bob m1", "msg bob m2"]);
    assert_eq!(w.heard(bob).len(), 8, "all are durable");
    w.ack(ann, "m1");
    assert_eq!(w.heard(ann), ["msg bob m3"]);
    w.ack(ann, "m0");
    w.ack(ann, "m2");
    assert_eq!(w.heard(ann), ["msg bob m4", "msg bob m5"]);
    w.run_for(15_100);
    assert_eq!(w.heard(ann).len(), 3, "only outstanding pushes are sent again");
}

#[test]
fn outstanding_bytes_are_bounded_but_a_large_one_alone_is_sent() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { outstanding_bytes_max: 1, ..crate::rules() });
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["msg bob m1"]);
    w.ack(ann, "m1");
    assert_eq!(w.heard(ann), ["msg bob m2"]);
}

#[test]
fn a_push_carries_the_time_at_which_the_server_took_it() {
    let (mut w, ann, bob) = ann_and_bob();
    let taken_ms = crate::sim::world::EPOCH_MS + w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_for(31_000);
    let frames = w.frames(ann);
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|(_, frame)| matches!(frame, Frame::Push(push) if push.time_ms == taken_ms)));
}

#[test]
fn outstanding_bytes_are_those_that_are_written() {
    use crate::sim::say::Say;
    // A control character is 7 bytes in a string inside a string.
    for (letter, fit) in [("x", 10), ("\u{1}", 1), ("\"", 2)] {
        let (mut w, ann, bob) = ann_and_bob_by(CoreSettings {
            outstanding_bytes_max: 12_000,
            requests_per_second_max: 100,
            ..crate::rules()
        });
        for n in 0..12 {
            w.say(
                bob,
                Say::Message {
                    id: format!("m{n}"),
                    sender: "bob".into(),
                    receiver: "ann".into(),
                    content: letter.repeat(1_000),
                },
            );
        }
        assert_eq!(w.heard(ann).len(), fit, "of {letter:?}");
        let mut came = fit;
        for n in 0..12 {
            w.ack(ann, &format!("m{n}"));
            came += w.heard(ann).len();
        }
        assert_eq!(came, 12);
    }
}
