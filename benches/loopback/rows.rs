//! All rows, one after another, into one report.

use super::process::Machine;
use super::report::Report;
use super::settings::Settings;
use super::subjects::Starter;
use super::{
    Fallible, absent_rows, check_interrupt, cluster_rows, hostile, idle_rows, log_in_rows, message_rows, roster_rows,
    storm_rows, tls_rows,
};

type Row = fn(&Starter, &Settings, &mut Report) -> Fallible<()>;

const ROWS: &[(&str, Row)] = &[
    ("messages", message_rows::closed),
    ("latency", message_rows::paced),
    ("absent", absent_rows::absent),
    ("log-in", log_in_rows::log_in),
    ("storm", storm_rows::storm),
    ("tls", tls_rows::tls),
    ("cluster", cluster_rows::cluster),
    ("start", idle_rows::start),
    ("idle", idle_rows::idle),
    ("rosters", roster_rows::rosters),
    ("growth", idle_rows::growth),
    ("hostile", hostile::hostile),
];

/// Measures what is wanted. One row that fails does not take the others with it.
pub fn run(settings: &Settings, machine: Machine) -> Fallible<()> {
    // On the disk, which the folder for temporary files is not everywhere.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut report = Report::default();
    report.note(format!("{} {}", machine.describe(), model()));
    report.note(format!("{} run(s) of {:?} each; medians", settings.runs, settings.time));
    if !settings.server_args.is_empty() {
        report.note(format!("the server was given {}", settings.server_args.join(" ")));
    }
    let starter =
        Starter::new(machine, settings.server.clone(), settings.server_args.clone(), folder.path().to_owned());
    if !starter.has_mosquitto() {
        report.note("no `mosquitto` on this machine: not compared with it");
    }
    let mut failed = 0;
    for (name, row) in ROWS {
        if settings.wants(name)
            && let Err(error) = row(&starter, settings, &mut report)
        {
            check_interrupt()?;
            failed += 1;
            report.note(format!("{name}: FAILED: {error}"));
        }
    }
    settings.say("");
    println!("{report}");
    if let Some(file) = &settings.json {
        std::fs::write(file, serde_json::to_string_pretty(&report.json())?)?;
    }
    if failed > 0 { Err(format!("{failed} row(s) failed").into()) } else { Ok(()) }
}

/// The model of the processor, and the version of Linux.
fn model() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("({}, Linux {})", model.map_or("an unknown CPU", |(_, model)| model), release.trim())
}
