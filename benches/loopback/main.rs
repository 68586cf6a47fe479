//! The whole server over loopback: the costs of a message, a log-in and an idle connection, beside
//! a bare relay and a broker that do the same work in the same run. `cargo bench --bench loopback
//! -- --help` lists the options; docs/performance.md describes the measurements.
#![allow(missing_docs, unreachable_pub, reason = "a program of its own")]

mod absent_rows;
mod clients;
mod cluster_nodes;
mod cluster_rows;
mod frames;
mod histogram;
mod hostile;
mod idle_rows;
mod kept;
mod load;
mod log_in_rows;
mod mariadb;
mod message_rows;
mod messages;
mod prepare;
mod process;
mod relay;
mod report;
mod roster_rows;
mod rows;
mod secure;
mod settings;
mod storm;
mod storm_rows;
mod subjects;
mod svg;
mod tls_rows;

use settings::Settings;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Any error ends the bench with one sentence; the processes that it started are ended.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// An error once Ctrl-C was pressed: everything unwinds, and the processes that were started are
/// ended.
pub fn check_interrupt() -> Fallible<()> {
    match INTERRUPTED.get() {
        Some(flag) if flag.load(Ordering::Relaxed) => Err("interrupted".into()),
        _ => Ok(()),
    }
}

fn watch_signals() -> Fallible<()> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one does not wait for anything; children die with this process all the same.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    INTERRUPTED.get_or_init(|| flag);
    Ok(())
}

/// The median of some numbers; 0 if there are none.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => 0.0,
        count if count % 2 == 1 => numbers[count / 2],
        count => f64::midpoint(numbers[count / 2 - 1], numbers[count / 2]),
    }
}

fn main() -> ExitCode {
    let ended = match std::env::args().nth(1).as_deref() {
        Some(subjects::RELAY_ARGUMENT) => relay::serve(),
        Some(hostile::attacker::ATTACKER_ARGUMENT) => hostile::attacker::attack(std::env::args().skip(2)),
        _ => run(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nloopback: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Fallible<()> {
    let Some(settings) = Settings::read(std::env::args_os().skip(1))? else { return Ok(()) };
    let machine = process::Machine::prepare()?;
    watch_signals()?;
    histogram::check();
    rows::run(&settings, machine)
}
