//! Reports about online users and about pushes.

use super::{pushes, report, users};
use crate::sim::lanes::Fate;
use crate::sim::say::Say;
use crate::sim::world::{EPOCH_MS, World};
use crate::{ann_and_bob, rules, saves};
use hongyan::chat::ServerCore;
use hongyan::chat::contract::{
    AdminAnswerFromCore, AdminReportPushState, AdminRequestToCore, AdminTicket, ConnId, CoreAction, CoreInput,
    CoreSettings, JobOutcome, PushPage, TurnTimestamp,
};

fn names(world: &mut World, after: Option<&str>, users_max: u32) -> (Vec<String>, bool) {
    let (users, more) = users(world, after, users_max);
    (users.iter().map(|user| user.name.to_string()).collect(), more)
}

#[test]
fn users_come_in_byte_order_page_by_page() {
    let mut w = World::of_friends(rules(), &["zoë", "Zoe", "zoe", "bob", "ann"]);
    assert_eq!(names(&mut w, None, 9), (vec![], false));
    for name in ["zoë", "Zoe", "zoe", "bob", "ann"] {
        w.online(name);
    }
    let expected = |names: &[&str], more| (names.iter().map(ToString::to_string).collect::<Vec<_>>(), more);
    assert_eq!(names(&mut w, None, 9), expected(&["Zoe", "ann", "bob", "zoe", "zoë"], false));
    assert_eq!(names(&mut w, None, 5), expected(&["Zoe", "ann", "bob", "zoe", "zoë"], false));
    assert_eq!(names(&mut w, None, 2), expected(&["Zoe", "ann"], true));
    assert_eq!(names(&mut w, Some("ann"), 2), expected(&["bob", "zoe"], true));
    assert_eq!(names(&mut w, Some("b"), 9), expected(&["bob", "zoe", "zoë"], false));
    assert_eq!(names(&mut w, Some("zoë"), 9), expected(&[], false));
    assert_eq!(names(&mut w, None, 0).0.len(), 1, "at least one");
}

#[test]
fn a_user_who_is_online_has_a_connection_since_a_time_and_so_many_outstanding() {
    let (mut w, ann, bob) = ann_and_bob();
    let (all, _) = users(&mut w, None, 9);
    assert_eq!((all[0].conn, all[0].logged_in_ms, all[0].outstanding), (ann, EPOCH_MS, 0), "to the second");
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    assert_eq!(users(&mut w, None, 1).0[0].outstanding, 2);
    w.ack(ann, "m1");
    assert_eq!(users(&mut w, None, 1).0[0].outstanding, 1);
    let now_ms = w.now_ms;
    w.run_for(2_000);
    let again = w.online("ann");
    let (all, _) = users(&mut w, None, 9);
    assert_eq!((all[0].conn, all.len()), (again, 2));
    assert!(all[0].logged_in_ms > EPOCH_MS + now_ms);
}

/// A core in which so many users are online. It is used without a `World`, which would take too
/// long.
fn crowd(count: u32) -> ServerCore {
    let mut chat = ServerCore::new(rules(), 1, [1, 2]);
    for slot in 0..count {
        let conn = ConnId { slot, generation: 0 };
        let name = crowd_name(slot);
        let log_in = Say::Login { mid: "l".into(), user: name.clone(), password: name };
        let mut actions = Vec::new();
        chat.handle(TurnTimestamp::default(), CoreInput::Opened { conn, address_key: None }, &mut actions);
        chat.handle(TurnTimestamp::default(), CoreInput::Input { conn, input: log_in.request() }, &mut actions);
        let ticket = actions.iter().find_map(|action| match action {
            CoreAction::Submit { ticket, .. } => Some(*ticket),
            _ => None,
        });
        let outcome = JobOutcome::Loaded { friends: Vec::new(), page: PushPage::default() };
        chat.handle(TurnTimestamp::default(), CoreInput::Finished { ticket: ticket.unwrap(), outcome }, &mut actions);
        assert!(actions.iter().any(|action| matches!(action, CoreAction::LoggedIn { .. })));
    }
    chat
}

/// The order of the names is not the order in which the users came.
fn crowd_name(number: u32) -> String {
    format!("user {:010}", number.wrapping_mul(2_654_435_761))
}

#[test]
fn many_users_are_looked_at_in_parts_and_each_user_who_stays_is_found_once() {
    const COUNT: u32 = 10_000;
    let mut chat = crowd(COUNT);
    let mut expected: Vec<String> = (0..COUNT).map(crowd_name).collect();
    expected.sort_unstable();
    let (mut actions, mut mono_ms) = (Vec::new(), 0);
    let asked = [(Some(&expected[99]), 1_000), (None, 3)];
    for (ticket, (after, users_max)) in asked.iter().enumerate() {
        let request = AdminRequestToCore::Users { after: after.map(|name| super::user(name)), users_max: *users_max };
        let event = CoreInput::Admin { ticket: AdminTicket(ticket as u64), request };
        chat.handle(TurnTimestamp::default(), event, &mut actions);
    }
    assert!(actions.is_empty(), "not in one turn");
    let mut turns = 0;
    while actions.len() < 2 {
        mono_ms = chat.next_deadline().unwrap().max(mono_ms);
        turns += 1;
        assert!(turns < 20, "it takes too many turns");
        chat.handle(
            TurnTimestamp { mono_ms, wall_ms: 0 },
            CoreInput::Tick { input_read_until_ms: mono_ms },
            &mut actions,
        );
    }
    for (action, range) in actions.iter().zip([100..1_100, 0..3]) {
        let CoreAction::Admin { answer: AdminAnswerFromCore::Users { users, has_more: true }, .. } = action else {
            panic!("{action:?}")
        };
        assert!(users.iter().map(|user| user.name.as_str()).eq(expected[range].iter().map(String::as_str)));
    }
}

#[test]
fn a_waiting_push_is_counted_once_whether_it_is_in_memory_or_in_the_store() {
    let (mut w, ann, bob) = ann_and_bob_slowly();
    assert_eq!(report(&mut w, "ann").waiting_pushes, 0);
    // Not saved yet.
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(report(&mut w, "ann").waiting_pushes, 1);
    // The first push is saved, and still in memory.
    w.run_for(10_000);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    w.message(bob, "m2", "ann");
    let ann_is = report(&mut w, "ann");
    assert_eq!((ann_is.waiting_pushes, ann_is.has_more_waiting, ann_is.is_banned), (2, false, false));
    assert_eq!(ann_is.online.map(|online| (online.conn, online.outstanding)), Some((ann, 2)));
    // Both pushes are only in the store.
    w.hang_up(ann);
    let ann_is = report(&mut w, "ann");
    assert_eq!((ann_is.waiting_pushes, ann_is.online), (2, None));
    assert_eq!(report(&mut w, "cid").waiting_pushes, 0);
}

/// The save delay is so long that the operator can look at pushes that are not saved yet.
fn ann_and_bob_slowly() -> (World, ConnId, ConnId) {
    crate::ann_and_bob_by(CoreSettings { save_after_ms: 5_000, ..CoreSettings::default() })
}

#[test]
fn a_save_that_was_done_and_failed_counts_once() {
    let (mut w, _, bob) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, saves);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    assert_eq!(report(&mut w, "ann").waiting_pushes, 1);
}

#[test]
fn nobody_is_no_user_and_a_store_that_hangs_is_waited_for_so_long() {
    let (mut w, ..) = ann_and_bob();
    assert_eq!(
        super::ask(&mut w, AdminRequestToCore::User { name: super::user("eve") }),
        AdminAnswerFromCore::NoSuchUser
    );
    w.store.hang(crate::any);
    let ticket = w.admin(AdminRequestToCore::User { name: super::user("ann") });
    w.run_for(9_999);
    assert_eq!(super::answer(&mut w, ticket), None);
    w.run_for(1);
    assert_eq!(super::answer(&mut w, ticket), Some(AdminAnswerFromCore::Failed));
    w.store.work(w.now_ms);
    w.run_for(100);
    assert!(w.answers.is_empty(), "once");
}

#[test]
fn a_push_is_found_wherever_it_is() {
    let (mut w, ann, bob) = ann_and_bob();
    assert_eq!(pushes(&mut w, "ann", "m1"), []);
    w.message(bob, "m1", "ann");
    let taken_ms = EPOCH_MS + w.now_ms;
    assert!(!pushes(&mut w, "ann", "m1")[0].is_stored, "its save delay runs");
    let found = pushes(&mut w, "ann", "m1");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].sender.as_str(), found[0].kind, found[0].time_ms), ("bob", "message", taken_ms));
    assert_eq!((found[0].state, found[0].times_sent, found[0].is_stored), (AdminReportPushState::Outstanding, 1, true));
    w.run_for(15_000);
    assert_eq!(pushes(&mut w, "ann", "m1")[0].times_sent, 2);
    // A push of another sender with the same id waits until the first one is acked.
    let cid = w.online("cid");
    w.message(cid, "m1", "ann");
    let states = |found: &[hongyan::chat::contract::AdminPushStatusReport]| -> Vec<(String, AdminReportPushState)> {
        found.iter().map(|push| (push.sender.to_string(), push.state)).collect()
    };
    let found = pushes(&mut w, "ann", "m1");
    assert_eq!(
        states(&found),
        [("cid".into(), AdminReportPushState::Waiting), ("bob".into(), AdminReportPushState::Outstanding)]
    );
    w.ack(ann, "m1");
    let found = pushes(&mut w, "ann", "m1");
    assert_eq!(
        states(&found),
        [("cid".into(), AdminReportPushState::Outstanding), ("bob".into(), AdminReportPushState::Acked)]
    );
    // Ann is away: pushes are only in the store, and the core no longer knows which were acked.
    w.hang_up(ann);
    let found = pushes(&mut w, "ann", "m1");
    assert_eq!(states(&found), [("cid".into(), AdminReportPushState::Waiting)]);
    assert_eq!((found[0].times_sent, found[0].is_stored), (0, true));
    assert_eq!(pushes(&mut w, "ann", "m2"), []);
}

#[test]
fn a_push_is_found_among_more_than_one_job_looks_at() {
    let mut w = World::of_friends(rules(), &["ann", "bob"]);
    for seq in 1..=4_500 {
        let id = hongyan::protocol::field::MessageId::new(format!("m{}", seq % 1_500)).unwrap();
        let bob = hongyan::protocol::field::UserNameRef::new("bob").unwrap();
        let kind = hongyan::protocol::push::PushKind::Message;
        let push = hongyan::protocol::push::Push::new(seq, 7, kind, &id, &bob, super::user("ann"), "");
        w.store.model.add_push(push);
    }
    assert_eq!(pushes(&mut w, "ann", "m7").len(), 3);
    assert_eq!(w.store.count("Admin"), 3);
    let bound = report(&mut w, "ann");
    assert_eq!((bound.waiting_pushes, bound.has_more_waiting), (4_500, false));
}
