//! A drain: clients are closed a few at a time, and nobody logs in.

use super::ask;
use crate::sim::world::World;
use hongyan::chat::contract::{AdminAnswerFromCore, AdminRequestToCore, CoreSettings};

#[test]
fn a_drain_closes_all_in_slices_and_takes_no_log_in() {
    let rules = CoreSettings { drain_ms: 10_000, ..CoreSettings::default() };
    let mut w = World::of_friends(rules, &[]);
    let names: Vec<String> = (0..100).map(|number| format!("u{number}")).collect();
    for name in &names {
        w.store.model.add_account(name, name);
    }
    let conns: Vec<_> = names.iter().map(|name| w.online(name)).collect();
    let open = |w: &World| conns.iter().filter(|conn| w.is_open(**conn)).count();
    let answer = ask(&mut w, AdminRequestToCore::Drain);
    assert_eq!(answer, AdminAnswerFromCore::Draining { connections: 100, left_ms: 10_000 });
    assert_eq!(w.drained, Some(false));
    w.run_for(4_900);
    let half = open(&w);
    assert!((45..=55).contains(&half), "{half} are open half-way");
    // A log-in that comes meanwhile is refused. Open sessions go on.
    let late = w.open();
    w.log_in(late, "u99");
    assert_eq!(w.heard(late), ["LF l", "SHUTTING_DOWN l", "closed ShuttingDown"]);
    let again = ask(&mut w, AdminRequestToCore::Drain);
    assert!(matches!(again, AdminAnswerFromCore::Draining { connections: 1..56, left_ms: 1..6_000 }), "{again:?}");
    w.run_for(5_200);
    assert_eq!((open(&w), w.drained, w.stopped), (0, Some(true), 0));
    w.shut_down();
    assert_eq!(w.stopped, 1);
}
