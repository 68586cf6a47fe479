//! The rules of the protocol that depend on time, on the store and on who is there, on a virtual
//! clock without a socket.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say so and stop"
)]

mod sim;

/// The scenarios, in `tests/core/`.
mod core {
    use super::*;

    mod acks;
    mod admin;
    mod auth_queue;
    mod blocks;
    mod changed;
    mod dedup;
    mod doubt;
    mod durability;
    mod friends;
    mod idle;
    mod in_flight;
    mod limits;
    mod log_events;
    mod login;
    mod own_accounts;
    mod paging;
    mod presence;
    mod push_hook;
    mod quotas;
    mod regressions;
    mod reload;
    mod resend;
    mod stop;
    mod strangers;
    mod tokens;
    mod tries;
}

use hongyan::chat::contract::{ConnId, CoreSettings, Job};
use sim::world::World;

/// The defaults, but for the save delay of a push: short, so that the tests can count
/// its milliseconds.
fn rules() -> CoreSettings {
    CoreSettings { save_after_ms: 5, ..CoreSettings::default() }
}

/// Ann and Bob, friends, both online.
fn ann_and_bob() -> (World, ConnId, ConnId) {
    ann_and_bob_by(crate::rules())
}

fn ann_and_bob_by(rules: CoreSettings) -> (World, ConnId, ConnId) {
    let mut world = World::of_friends(rules, &["ann", "bob", "cid"]);
    let ann = world.online("ann");
    let bob = world.online("bob");
    (world, ann, bob)
}

fn any(_: &Job) -> bool {
    true
}

/// Ann and Bob, online, who do not know each other.
fn strangers() -> (World, ConnId, ConnId) {
    strangers_by(rules())
}

fn strangers_by(rules: CoreSettings) -> (World, ConnId, ConnId) {
    let mut world = World::new(rules);
    world.store.model.add_account("ann", "ann");
    world.store.model.add_account("bob", "bob");
    let ann = world.online("ann");
    let bob = world.online("bob");
    (world, ann, bob)
}

/// Bob logs in, is sent Ann's request `f1` and nothing else, and acks it.
fn bob_reads_the_request(world: &mut World) -> ConnId {
    let bob = world.open();
    world.log_in(bob, "bob");
    world.run_for(100);
    assert_eq!(world.heard(bob), ["LS l", "ask ann f1"]);
    world.ack(bob, "f1");
    world.run_for(100);
    bob
}

fn saves(job: &Job) -> bool {
    matches!(job, Job::SavePush { .. })
}

fn deletes(job: &Job) -> bool {
    matches!(job, Job::DeletePush { .. })
}

fn loads(job: &Job) -> bool {
    matches!(job, Job::LogIn { .. } | Job::Prove { .. } | Job::Load { .. })
}

fn pages(job: &Job) -> bool {
    matches!(job, Job::LoadPage { .. })
}

fn friendships(job: &Job) -> bool {
    matches!(job, Job::AskFriend { .. } | Job::AnswerFriend { .. } | Job::Unfriend { .. })
}

/// The ids of what was pushed, in order.
fn ids(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("msg ")?.split(' ').nth(1)).collect()
}
