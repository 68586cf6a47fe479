//! Tests of the queue alone, without a `ServerCore`: its order and its bounds.

use super::*;
use std::num::NonZeroU32;

fn rules(auth_jobs_max: usize, auth_jobs_per_address_max: u32) -> CoreSettings {
    CoreSettings { auth_jobs_max, auth_jobs_per_address_max, auth_running_max: 1, ..CoreSettings::default() }
}

fn ticket(slot: u32) -> JobTicket {
    JobTicket { slot, generation: 0 }
}

/// A log-in with the number `number` from the address with the number `from`; 0 is loopback.
fn log_in(number: u32, from: u32) -> QueuedHash {
    let address_key = NonZeroU32::new(from).map(AddressKey);
    QueuedHash { request: ticket(number), address_key, purpose: HashPurpose::Login(LoginStageTicket(ticket(number))) }
}

/// The numbers of all waiting requests in the order in which they are taken, if each run ends
/// before the next one begins.
fn order(queue: &mut AuthQueue, rules: &CoreSettings) -> Vec<u32> {
    let mut taken = Vec::new();
    while let Some(NextPasswordToHash::Run(waiting)) = queue.next(rules, |_| true) {
        queue.run_ended();
        queue.check(rules);
        taken.push(waiting.request.slot);
    }
    taken
}

#[test]
fn the_unsuspected_go_first_and_every_fourth_is_one_of_the_others_in_turn() {
    use AuthQueueClass::{SignUps, Suspect, Unsuspected};
    let rules = rules(100, 100);
    for (entered, taken) in [
        (vec![(Unsuspected, 1), (Unsuspected, 2), (Unsuspected, 3)], vec![1, 2, 3]),
        (vec![(Suspect, 1), (Unsuspected, 2)], vec![2, 1]),
        (vec![(SignUps, 1), (Suspect, 2), (SignUps, 3), (Suspect, 4)], vec![2, 1, 4, 3]),
        (
            vec![
                (Suspect, 1),
                (SignUps, 2),
                (Unsuspected, 3),
                (Unsuspected, 4),
                (Unsuspected, 5),
                (Unsuspected, 6),
                (Unsuspected, 7),
                (Unsuspected, 8),
                (Unsuspected, 9),
            ],
            vec![3, 4, 5, 1, 6, 7, 8, 2, 9],
        ),
        (vec![], vec![]),
    ] {
        let mut queue = AuthQueue::default();
        for &(class, number) in &entered {
            assert!(queue.enter(class, log_in(number, 0), &rules).is_ok());
        }
        assert_eq!(order(&mut queue, &rules), taken, "{entered:?}");
    }
}

#[test]
fn each_room_has_places_of_its_own_and_an_address_a_share_of_all() {
    use AuthQueueClass::{SignUps, Suspect, Unsuspected};
    // Eight places: four for the unsuspected, two for suspects, and two for sign-ups.
    let rules = rules(8, 3);
    for (before, class, from, enters) in [
        (vec![], Unsuspected, 1, true),
        (vec![(Unsuspected, 0); 3], Unsuspected, 0, true),
        (vec![(Unsuspected, 0); 4], Unsuspected, 0, false),
        (vec![(Unsuspected, 0); 4], Suspect, 0, true),
        (vec![(Suspect, 0); 2], Suspect, 1, false),
        (vec![(Suspect, 0); 2], SignUps, 1, true),
        (vec![(SignUps, 0); 2], SignUps, 1, false),
        (vec![(Unsuspected, 7); 3], Unsuspected, 7, false),
        (vec![(Unsuspected, 7); 3], Suspect, 7, false),
        (vec![(Unsuspected, 7); 3], Unsuspected, 8, true),
    ] {
        let mut queue = AuthQueue::default();
        for &(class, from) in &before {
            assert!(queue.enter(class, log_in(0, from), &rules).is_ok(), "{before:?}");
        }
        let address_key = NonZeroU32::new(from).map(AddressKey);
        assert_eq!(queue.has_place(class, address_key, &rules), enters, "{before:?} {class:?} {from}");
        let refused = queue.enter(class, log_in(9, from), &rules).err().map(|waiting| waiting.request.slot);
        assert_eq!(refused, (!enters).then_some(9), "a log-in without a place comes back");
        queue.check(&rules);
    }
}

#[test]
fn so_many_are_with_the_workers_and_those_nobody_waits_for_cost_no_run() {
    let rules = rules(100, 100);
    let mut queue = AuthQueue::default();
    for number in 1..=3 {
        assert!(queue.enter(AuthQueueClass::Unsuspected, log_in(number, 5), &rules).is_ok());
    }
    let is_awaited = |request: JobTicket| request.slot != 1;
    assert!(matches!(queue.next(&rules, is_awaited), Some(NextPasswordToHash::Gone(one)) if one.request.slot == 1));
    assert!(matches!(queue.next(&rules, is_awaited), Some(NextPasswordToHash::Run(one)) if one.request.slot == 2));
    assert!(queue.next(&rules, is_awaited).is_none(), "one runs, and no more may");
    queue.run_ended();
    assert!(matches!(queue.next(&rules, is_awaited), Some(NextPasswordToHash::Run(one)) if one.request.slot == 3));
    queue.run_ended();
    assert!(queue.next(&rules, is_awaited).is_none() && queue.by_address.is_empty());
}

#[test]
fn a_cleared_queue_gives_back_all_that_waited() {
    let rules = rules(100, 100);
    let mut queue = AuthQueue::default();
    for (number, class) in
        [AuthQueueClass::SignUps, AuthQueueClass::Suspect, AuthQueueClass::Unsuspected].into_iter().enumerate()
    {
        assert!(queue.enter(class, log_in(number as u32, 5), &rules).is_ok());
    }
    assert_eq!(queue.clear().count(), 3);
    queue.check(&rules);
    assert!(queue.next(&rules, |_| true).is_none());
}
