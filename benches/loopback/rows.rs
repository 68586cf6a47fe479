//! All rows, one after another, into one report.

use super::frames::Dialect;
use super::messages::{self, Measured, SHAPES, Shape, Talk};
use super::prepare;
use super::process::Machine;
use super::report::{Report, Table, significant, thousands};
use super::settings::Settings;
use super::subjects::Starter;
use super::{Fallible, check_interrupt};
use hongyan::store::sqlite::SqliteStore;
use serde_json::json;
use std::path::Path;

/// Measures what is wanted. One row that fails does not take the others with it.
pub fn run(settings: &Settings, machine: Machine) -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let mut report = Report::default();
    report.note(machine.describe());
    report.note(format!("{} run(s) of {:?} each; medians", settings.runs, settings.time));
    let starter =
        Starter::new(machine, settings.server.clone(), settings.server_args.clone(), folder.path().to_owned());
    if !starter.has_mosquitto() {
        report.note("no `mosquitto` on this machine: not compared with it");
    }
    let mut failed = 0;
    type Row = fn(&Starter, &Settings, &mut Report) -> Fallible<()>;
    let rows: &[(&str, Row)] = &[("messages", message_rows)];
    for (name, row) in rows {
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

fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Raw => "hongyan, raw",
        Dialect::WebSocket => "hongyan, WebSocket",
        Dialect::Relay => "relay",
        Dialect::Mqtt => "mosquitto",
    }
}

fn message_rows(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let shapes: Vec<Shape> =
        SHAPES.iter().copied().filter(|shape| settings.wants_part("messages", shape.name)).collect();
    settings.say("messages: filling the store");
    let file = starter.folder.join("messages.db");
    prepare::pairs(&mut SqliteStore::open(&file)?, shapes.iter().map(|shape| shape.pairs).max().unwrap_or(0))?;
    let mut table = Table::new(
        "Messages between two who are there (pairs x in flight x bytes; latency in µs)",
        &["", "CPU µs", "messages/s", "p50", "p99", "p99.9", "busy", "load busy", "resident MB"],
    );
    let mut failure = None;
    for shape in shapes {
        match messages::measure_shape(starter, &file, shape, settings) {
            Ok(measured) => {
                measured.iter().for_each(|(dialect, one)| add(&mut table, report, "messages", shape, *dialect, one));
                goals(report, shape, &measured);
            }
            Err(error) => failure = Some(format!("{}: {error}", shape.name)),
        }
        check_interrupt()?;
    }
    report.table(table);
    if settings.wants("latency") {
        paced_rows(starter, settings, report, &file)?;
    }
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

fn add(table: &mut Table, report: &mut Report, list: &str, shape: Shape, dialect: Dialect, one: &Measured) {
    let quantiles = [0.5, 0.99, 0.999].map(|share| one.latencies.quantile_us(share));
    let [p50, p99, p999] = quantiles.map(significant);
    let share = |part: f64| format!("{:.0} %", part * 100.0);
    let megabytes = format!("{:.1}", one.resident_bytes as f64 / 1e6);
    let title = format!("{} {}", shape.name, name(dialect));
    table.row(&[
        &title,
        &significant(one.cpu_us),
        &thousands(one.per_second),
        &p50,
        &p99,
        &p999,
        &share(one.busy),
        &share(one.load_busy),
        &megabytes,
    ]);
    report.value(
        list,
        json!({
            "shape": shape.name, "subject": name(dialect), "cpu_us": one.cpu_us, "per_second": one.per_second,
            "p50_us": quantiles[0], "p99_us": quantiles[1], "p999_us": quantiles[2], "max_us": one.latencies.max_us(),
            "busy": one.busy, "load_busy": one.load_busy, "resident_bytes": one.resident_bytes,
            "latencies_us": one.latencies.buckets_us().collect::<Vec<_>>(),
        }),
    );
}

/// Against the relay (as a share of its messages per CPU second), and against mosquitto (as a part of its CPU).
fn goals(report: &mut Report, shape: Shape, measured: &[(Dialect, Measured)]) {
    let cpu_us = |wanted: Dialect| measured.iter().find(|(dialect, _)| *dialect == wanted).map(|(_, one)| one.cpu_us);
    let Some(raw) = cpu_us(Dialect::Raw) else { return };
    let relay_share = match shape.name {
        "50x16x100" => Some(0.40),
        "500x4x100" => Some(0.60),
        "1x1x100" | "4000x1x100" => Some(0.90),
        _ => None,
    };
    if let (Some(bound), Some(relay)) = (relay_share, cpu_us(Dialect::Relay)) {
        report.at_least(&format!("{}: of the relay", shape.name), relay / raw * 100.0, bound * 100.0, " %");
    }
    let mosquitto_times = match shape.name {
        "50x16x100" => Some(8.0),
        "500x4x100" => Some(4.5),
        "50x16x1000" => Some(7.0),
        _ => None,
    };
    if let (Some(bound), Some(mosquitto)) = (mosquitto_times, cpu_us(Dialect::Mqtt)) {
        report.at_least(&format!("{}: mosquitto's CPU", shape.name), mosquitto / raw, bound, " times");
    }
    if let Some(web_socket) = cpu_us(Dialect::WebSocket) {
        report.at_most(&format!("{}: WebSocket, of raw", shape.name), web_socket / raw * 100.0, 115.0, " %");
    }
}

/// At half of what the first shape just reached.
fn paced_rows(starter: &Starter, settings: &Settings, report: &mut Report, store: &Path) -> Fallible<()> {
    let shape = SHAPES[0];
    let mut table = Table::new(
        "Latency at half of the rate just reached, from when a message was due (µs)",
        &["", "messages/s", "p50", "p99", "p99.9", "max"],
    );
    for dialect in messages::dialects(starter) {
        let mut runs = vec![];
        for run in 0..settings.runs {
            settings.say(&format!("latency: {dialect:?}, run {} of {}", run + 1, settings.runs));
            let mut talk = Talk::open(starter, dialect, store, shape)?;
            let reached = talk.measure(shape, settings)?.per_second;
            runs.push(talk.measure_paced(reached / 2.0, settings)?);
        }
        let one = messages::middle(&runs);
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| significant(one.latencies.quantile_us(share)));
        table.row(&[
            &name(dialect),
            &thousands(one.per_second),
            &p50,
            &p99,
            &p999,
            &significant(one.latencies.max_us()),
        ]);
        let mut unused = Table::new("", &[]);
        add(&mut unused, report, "latency", shape, dialect, &one);
    }
    report.table(table);
    Ok(())
}
