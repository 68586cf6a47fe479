//! The seeded simulation: a world of faults around the core, and an oracle that knows the protocol.
//!
//! `SEED` runs one seed, `SEEDS` so many from `FIRST` on, `STEPS` with so many steps each;
//! `PROGRESS` says after how many seeds to print how far it is. `tests/sweep` runs many.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say so and stop"
)]

mod sim;

use sim::clients::Simulation;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::time::{Instant, UNIX_EPOCH};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The result of a run: a number made of all that the core said, the virtual time it took, and the
/// counts of the events.
struct Run {
    trace: u64,
    ms: u64,
    counts: BTreeMap<&'static str, u64>,
}

/// Runs one seed; its number stands in the panic's text.
fn run(seed: u64, steps: u64) -> Run {
    run_it(Simulation::new, seed, steps)
}

/// Runs a seed that was found before clients had the habits of `tests/sim/later.rs`.
fn run_as_before(seed: u64, steps: u64) {
    run_it(Simulation::without_later_habits, seed, steps);
}

fn run_it(simulation: fn(u64) -> Simulation, seed: u64, steps: u64) -> Run {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut simulation = simulation(seed);
        simulation.run(steps);
        let Simulation { world, oracle, .. } = simulation;
        Run { trace: world.trace.finish(), ms: world.now_ms, counts: oracle.counts }
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        match text {
            Some(text) => panic!("SEED={seed} STEPS={steps}: {text}"),
            None => resume_unwind(panic),
        }
    })
}

#[test]
fn whatever_goes_wrong_the_promises_are_kept() {
    let steps = from_environment("STEPS").unwrap_or(3_000);
    let first = from_environment("FIRST").unwrap_or(1);
    let (first, count) = match from_environment("SEED") {
        Some(seed) => (seed, 1),
        None => (first, from_environment("SEEDS").unwrap_or(256)),
    };
    let every = from_environment("PROGRESS").unwrap_or(u64::MAX);
    let start = Instant::now();
    let (mut counts, mut ms) = (BTreeMap::new(), 0);
    for done in 1..=count {
        let run = run(first + done - 1, steps);
        ms += run.ms;
        for (what, count) in run.counts {
            *counts.entry(what).or_insert(0_u64) += count;
        }
        if done % every == 0 {
            println!("{done} of {count} seeds, {} s", start.elapsed().as_secs());
        }
    }
    println!("{counts:?}");
    let days = ms / 86_400_000;
    println!("{count} seeds x {steps} steps, {days} days of virtual time, in {} s", start.elapsed().as_secs());
}

/// The push hook, at random: `SEEDS`, `FIRST` and `STEPS` as above.
#[test]
fn a_push_hook_breaks_no_promise_and_announces_nobody_twice() {
    let steps = from_environment("STEPS").unwrap_or(1_000);
    let (first, count) = (from_environment("FIRST").unwrap_or(1), from_environment("SEEDS").unwrap_or(64));
    let runs = (first..first + count).map(|seed| run_it(Simulation::with_push_hook, seed, steps));
    let announced: u64 = runs.map(|run| run.counts.get("announced").copied().unwrap_or(0)).sum();
    println!("{announced} announced");
    assert!(announced > 0, "the hook is told");
}

/// Seeds that nobody has run before, so that the tests do not only know those they were written
/// with.
#[test]
fn sixty_four_seeds_drawn_from_the_clock() {
    if from_environment("SEED").is_some() {
        return;
    }
    // Far above those of the sweeps (docs/reliability.md).
    let first = UNIX_EPOCH.elapsed().expect("the clock is right").as_millis() as u64;
    let line =
        format!("FIRST={first} SEEDS=64 STEPS=1500 cargo test --test simulation whatever runs the same once more\n");
    // Not by `eprintln!`: the output of a test that passes is not shown.
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
    for seed in first..first + from_environment("CLOCK_SEEDS").unwrap_or(64) {
        run(seed, 1_500);
    }
}

/// A test that passes shows no output of its own; a failure that nobody can repeat may depend on
/// the seeds of a run that passed.
#[test]
fn the_seeds_drawn_from_the_clock_are_shown_even_if_all_pass() {
    let mut tests = Command::new(std::env::current_exe().expect("this program is a file"));
    tests.args(["sixty_four_seeds_drawn_from_the_clock", "--exact"]).env("CLOCK_SEEDS", "1").env_remove("SEED");
    let output = tests.output().expect("this program can be run");
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && shown.contains("FIRST=") && shown.contains("SEEDS=64"), "{shown}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1_001..=1_004 {
        assert_eq!(run(seed, 300).trace, run(seed, 300).trace, "seed {seed}");
    }
    assert_ne!(run(1_001, 300).trace, run(1_002, 300).trace);
}

// Seeds that failed because of a mistake in the core. `tests/core/regressions.rs` shows each
// mistake by itself.

#[test]
fn seed_1_timers_of_one_coarse_slot_hid_each_other_and_an_ack_left_a_push_in_the_store() {
    run_as_before(1, 3_000);
}

#[test]
fn seed_2_a_user_was_evicted_while_their_list_was_put_away() {
    run_as_before(2, 3_000);
}

#[test]
fn seed_7_a_repeated_message_was_not_remembered_after_its_ack() {
    run_as_before(7, 3_000);
}

#[test]
fn seed_15_a_lost_answer_left_those_online_with_the_wrong_friends() {
    run_as_before(15, 3_000);
}

#[test]
fn seed_107_a_deletion_that_was_being_tried_again_did_not_count() {
    run_as_before(107, 3_000);
}

#[test]
fn seeds_22268_and_23008_an_accept_was_acked_before_the_loss_of_its_answer_was_made_good() {
    run_as_before(22_268, 1_500);
    run_as_before(23_008, 1_500);
}

#[test]
fn seeds_5001998_5007594_and_6007851_an_answer_to_one_user_came_behind_the_log_in_of_another() {
    run_as_before(5_001_998, 1_500);
    run_as_before(5_007_594, 1_500);
    run_as_before(6_007_851, 1_500);
}

#[test]
fn seed_9103102_a_refusal_of_one_user_came_behind_the_log_in_of_another() {
    run_as_before(9_103_102, 4_000);
}

#[test]
fn seed_8009814_friends_were_told_that_they_are_none_while_nobody_knew() {
    run_as_before(8_009_814, 1_500);
}

#[test]
fn seed_10301313_a_push_that_was_acked_during_a_reload_of_a_cut_list_was_sent_again() {
    run(10_301_313, 1_500);
}

#[test]
fn seeds_13069575_and_13159814_an_accept_without_a_request_was_done_while_an_older_one_was_in_doubt() {
    run(13_069_575, 1_500);
    run(13_159_814, 1_500);
}

// And those that failed because of a mistake in the simulation.

#[test]
fn seed_75827_a_message_said_again_was_a_duplicate_of_one_whose_deletion_had_failed() {
    run_as_before(75_827, 1_500);
}

#[test]
fn seed_31315_two_messages_waited_under_one_id() {
    run_as_before(31_315, 1_500);
}

#[test]
fn seed_31485_who_was_online_fell_silent_while_the_others_recovered() {
    run_as_before(31_485, 1_500);
}

#[test]
fn seed_4697_a_forged_message_had_the_id_of_one_that_waited_for_its_answer() {
    run_as_before(4_697, 1_500);
}

#[test]
fn seed_6985_who_was_refused_while_all_recovered_did_not_try_again() {
    run_as_before(6_985, 1_500);
}

#[test]
fn seed_10205398_a_duplicate_came_while_there_was_no_room_for_the_job_that_deletes_the_first() {
    run(10_205_398, 1_500);
}

#[test]
fn seed_11123850_the_last_page_was_sent_when_all_seemed_to_be_over() {
    run(11_123_850, 1_500);
}

#[test]
fn seed_15200060_a_request_that_nobody_waited_for_was_sent_again() {
    run(15_200_060, 1_500);
}

#[test]
fn seed_16374062_a_request_came_after_the_end_of_a_block_of_which_nobody_learnt() {
    run(16_374_062, 1_500);
}

#[test]
fn seed_17565675_hundreds_of_deletions_waited_for_room_in_a_queue_for_one_job() {
    run(17_565_675, 1_500);
}

#[test]
fn seed_18140846_a_duplicate_came_while_the_deletion_of_the_first_was_done_and_not_told() {
    run(18_140_846, 1_500);
}

#[test]
fn seed_16777126_an_accept_of_nothing_began_while_its_user_was_offline() {
    run(16_777_126, 1_500);
}

#[test]
fn seed_16735877_a_request_was_refused_after_a_try_that_was_committed() {
    run(16_735_877, 1_500);
}

#[test]
fn seed_16549252_the_end_of_a_block_takes_a_request_off_the_list() {
    run(16_549_252, 1_500);
}

#[test]
fn seed_15348734_a_request_that_nobody_waited_for_was_acked() {
    run(15_348_734, 1_500);
}

#[test]
fn seed_15914529_a_notice_to_all_got_the_answers_of_one_that_was_given_up() {
    run(15_914_529, 1_500);
}

#[test]
fn seed_15647700_an_answered_request_of_a_blocked_user_stayed_in_the_store() {
    run(15_647_700, 1_500);
}

#[test]
fn seed_15466848_a_push_was_saved_behind_the_last_step_of_a_deletion() {
    run(15_466_848, 1_500);
}

#[test]
fn seed_15412930_an_account_was_deleted_behind_the_back_of_a_log_in() {
    run(15_412_930, 1_500);
}

#[test]
fn seed_15402633_a_password_that_nobody_was_told_of_was_taken_for_changed_too_early() {
    run(15_402_633, 1_500);
}

#[test]
fn seed_15401835_a_session_outlived_its_account_and_asked_for_a_token() {
    run(15_401_835, 1_500);
}

#[test]
fn seed_15401050_a_ban_of_which_nobody_knows_was_taken_for_known() {
    run(15_401_050, 1_500);
}
