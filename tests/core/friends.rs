//! docs/protocol.md §3 (6: friends): friend requests, and two users who act at the same time.

use super::{ann_and_bob, friendships, strangers};
use crate::sim::lanes::Fate;
use crate::sim::say::Frame;
use crate::sim::world::World;
use hongyan::chat::contract::ConnId;
use hongyan::protocol::reply::Reply;
use hongyan::protocol::request::FriendVerb::{Accept, Delete, Reject, Request};

const NOTHING: [&str; 0] = [];

fn times(w: &mut World, conn: ConnId) -> Vec<u64> {
    let time = |frame: Frame| match frame {
        Frame::Reply { reply: Reply::Friend { time_ms }, .. } => Some(time_ms),
        _ => None,
    };
    w.frames(conn).into_iter().filter_map(|(_, frame)| time(frame)).collect()
}

#[test]
fn a_request_to_somebody_away_is_pushed_at_their_next_log_in() {
    let (mut w, ann, bob) = strangers();
    w.hang_up(bob);
    w.friend(ann, Request, "f1", "bob");
    w.run_for(100);
    let bob = super::bob_reads_the_request(&mut w);
    w.hang_up(bob);
    assert!(w.store.model.is_pending("ann", "bob"), "whether or not its push was acked");
    let bob = w.online("bob");
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["OK f1", "yes bob f1"]);
    assert_eq!(w.heard(bob), ["OK f1"]);
}

#[test]
fn a_request_sent_again_is_answered_with_the_first_ones_time_and_not_pushed_again() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, Request, "f1", "bob");
    w.run_for(1_000);
    w.friend(ann, Request, "f1", "bob");
    w.friend(ann, Request, "f2", "bob");
    w.run_for(1_000);
    let times = times(&mut w, ann);
    assert_eq!(times.len(), 3);
    assert!(times.iter().all(|time| *time == times[0]));
    assert_eq!(w.heard(bob), ["ask ann f1"]);
}

#[test]
fn a_reject_frees_the_id_and_makes_no_friends() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    w.friend(bob, Reject, "f1", "ann");
    w.friend(bob, Reject, "f1", "ann");
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["ask ann f1", "OK f1", "NO_SUCH_REQUEST f1", "NO_SUCH_REQUEST f1"]);
    w.message(ann, "m1", "bob");
    assert_eq!(w.heard(ann), ["OK f1", "no bob f1", "MF m1"]);
    w.ack(bob, "f1");
    w.ack(ann, "f1");
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    assert_eq!((w.heard(ann), w.heard(bob)), (vec!["OK f1".into()], vec!["ask ann f1".into()]));
}

#[test]
fn impossible_friendship_operations_are_refused() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, Request, "f1", "ann");
    w.friend(ann, Request, "f2", "nobody");
    w.friend(ann, Accept, "f3", "bob");
    w.friend(ann, Delete, "f4", "nobody");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["BAD_FIELD f1", "NO_SUCH_USER f2", "NO_SUCH_REQUEST f3", "OK f4"]);
    assert_eq!(w.heard(bob), NOTHING);
    w.say(
        ann,
        crate::sim::say::Say::Friend {
            id: "f5".into(),
            sender: "bob".into(),
            receiver: "ann".into(),
            verb: Request,
            content: String::new(),
        },
    );
    assert_eq!(w.heard(ann), ["FORBIDDEN f5"]);
}

#[test]
fn friends_who_ask_again_are_answered_and_nobody_is_pushed() {
    let (mut w, ann, bob) = ann_and_bob();
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    assert_eq!((w.heard(ann), w.heard(bob)), (vec!["OK f1".into()], vec![]));
}

#[test]
fn requests_that_cross_are_two_and_accepting_one_ends_both() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, Request, "a", "bob");
    w.friend(bob, Request, "b", "ann");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["OK a", "ask bob b"]);
    assert_eq!(w.heard(bob), ["ask ann a", "OK b"]);
    w.friend(ann, Accept, "b", "bob");
    w.run_for(10);
    assert!(!w.store.model.is_pending("ann", "bob") && !w.store.model.is_pending("bob", "ann"));
    assert_eq!(w.heard(bob), ["yes ann b"]);
    w.run_for(15_100);
    assert_eq!(w.heard(bob), ["yes ann b"], "Ann's own request came off Bob's list");
    assert_eq!(w.heard(ann), ["OK b", "ask bob b"], "the one she answered stays on hers until she acks it");
    w.ack(bob, "a");
    w.ack(bob, "b");
    w.ack(ann, "b");
    w.run_for(100);
    assert_eq!(w.store.model.pushes().count(), 0);
    w.friend(bob, Accept, "a", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["NO_SUCH_REQUEST a"]);
}

#[test]
fn operations_of_one_pair_are_done_one_after_the_other() {
    let (mut w, ann, bob) = strangers();
    w.store.takes(50);
    w.friend(ann, Request, "f1", "bob");
    w.friend(bob, Accept, "f1", "ann");
    w.friend(ann, Delete, "f2", "bob");
    assert_eq!(w.store.count("AskFriend") + w.store.count("AnswerFriend") + w.store.count("Unfriend"), 1);
    w.run_for(160);
    assert_eq!(w.heard(ann), ["OK f1", "yes bob f1", "OK f2"]);
    assert_eq!(w.heard(bob), ["ask ann f1", "OK f1"]);
    w.message(ann, "m1", "bob");
    assert_eq!(w.heard(ann), ["MF m1"]);
}

#[test]
fn other_pairs_do_not_wait() {
    let (mut w, ann, bob) = ann_and_bob();
    let cid = w.online("cid");
    w.store.takes(50);
    w.friend(ann, Delete, "f1", "bob");
    w.friend(bob, Delete, "f2", "ann");
    w.friend(cid, Delete, "f3", "ann");
    w.run_for(50);
    assert_eq!((w.heard(ann), w.heard(bob), w.heard(cid)), (vec!["OK f1".into()], vec![], vec!["OK f3".into()]));
}

#[test]
fn too_many_in_one_pairs_queue_are_refused() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.hang(friendships);
    for n in 0..20 {
        w.friend(ann, Delete, &format!("f{n}"), "bob");
    }
    assert_eq!(w.heard(ann), ["UNAVAILABLE f17", "UNAVAILABLE f18", "UNAVAILABLE f19"]);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(ann).len(), 17);
}

#[test]
fn a_request_that_timed_out_while_waiting_for_its_turn_changes_nothing_any_more() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.hang(friendships);
    w.friend(ann, Request, "f1", "bob");
    w.friend(ann, Delete, "f2", "bob");
    w.run_for(1);
    assert_eq!(w.heard(ann), ["OK f1"], "friends already: no job");
    w.friend(bob, Delete, "f3", "ann");
    w.run_for(10_000);
    assert_eq!(w.heard(bob), ["UNAVAILABLE f3"]);
    assert_eq!(w.heard(ann), ["UNAVAILABLE f2"]);
    let jobs = w.store.count("Unfriend");
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.store.count("Unfriend"), jobs, "the second was not begun");
}

#[test]
fn a_friendship_made_while_one_of_them_logs_in_is_known_after_the_log_in() {
    for hangs in [super::loads as fn(&_) -> bool, super::any] {
        let (mut w, ann, bob) = strangers();
        w.friend(ann, Request, "f1", "bob");
        w.run_for(10);
        w.hang_up(ann);
        let ann = w.open();
        if hangs(&hongyan::chat::contract::Job::Load {
            user: hongyan::protocol::field::UserName::new("ann").unwrap(),
            pushes_max: 1,
            bytes_max: 1,
        }) {
            w.store.takes(20);
        }
        w.log_in(ann, "ann");
        w.run_for(45);
        w.friend(bob, Accept, "f1", "ann");
        w.run_for(100);
        assert_eq!(w.heard(ann), ["LS l", "yes bob f1"]);
        w.message(ann, "m1", "bob");
        w.message(bob, "m2", "ann");
        w.run_for(100);
        assert_eq!(w.heard(ann), ["msg bob m2", "MS m1"]);
    }
}

#[test]
fn when_the_answer_to_an_accept_fails_and_it_was_not_done_it_can_be_accepted_again() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    w.store.fate(Fate::Fail, friendships);
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["ask ann f1", "UNAVAILABLE f1"]);
    assert_eq!(w.heard(ann), ["OK f1"]);
    w.store.work(w.now_ms);
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(1_100);
    assert_eq!(w.heard(bob), ["OK f1"]);
    assert_eq!(w.heard(ann), ["yes bob f1"]);
}

#[test]
fn the_asker_can_withdraw() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    w.friend(ann, Delete, "d1", "bob");
    w.run_for(10);
    assert!(!w.store.model.is_pending("ann", "bob"));
    w.run_for(31_000);
    assert_eq!(w.heard(ann), ["OK f1", "OK d1"]);
    assert_eq!(w.heard(bob), ["ask ann f1"], "it came off Bob's list, though it was not acked");
    assert_eq!(w.store.model.pushes().count(), 0);
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["NO_SUCH_REQUEST f1"]);
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    assert_eq!((w.heard(ann), w.heard(bob)), (vec!["OK f1".into()], vec!["ask ann f1".into()]));
    // A request can be withdrawn even if it was acked. The other user's own request stays.
    w.ack(bob, "f1");
    w.friend(bob, Request, "g1", "ann");
    w.run_for(10);
    w.friend(ann, Delete, "d2", "bob");
    w.run_for(10);
    w.friend(bob, Reject, "f1", "ann");
    w.friend(ann, Accept, "g1", "bob");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["OK g1", "NO_SUCH_REQUEST f1", "yes ann g1"]);
}

#[test]
fn a_withdrawn_request_is_gone_at_the_next_log_in() {
    let (mut w, ann, bob) = strangers();
    w.hang_up(bob);
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    w.friend(ann, Delete, "d1", "bob");
    w.run_for(10);
    let bob = w.online("bob");
    w.run_for(100);
    assert_eq!(w.heard(bob), NOTHING);
}

#[test]
fn a_withdrawal_whose_answer_was_lost_takes_the_push_off_the_list() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(ann, Delete, "d1", "bob");
    w.run_for(3_000);
    assert_eq!(w.heard(ann), ["OK f1", "UNAVAILABLE d1"]);
    // The withdrawal was done, and that is known now. A second try does not say which push it
    // removed.
    w.store.work(w.now_ms);
    w.friend(ann, Delete, "d1", "bob");
    w.run_for(5_000);
    assert_eq!(w.heard(ann), ["OK d1"]);
    w.run_for(31_000);
    assert_eq!(w.heard(bob), ["ask ann f1"]);
}
