//! The rows of messages, with their goals.

use super::messages::{self, Contender, Measured, SHAPES, Shape, Talk, Windows};
use super::prepare;
use super::report::{Report, ReportTable, significant, thousands};
use super::settings::Settings;
use super::subjects::Starter;
use super::svg::{self, Line, Plot};
use super::{Fallible, check_interrupt};
use hongyan::store::sqlite::SqliteStore;
use serde_json::{Value, json};
use std::path::PathBuf;

pub fn closed(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let shapes: Vec<Shape> =
        SHAPES.iter().copied().filter(|shape| settings.wants_part("messages", shape.name)).collect();
    let file = store(starter, settings, shapes.iter().map(|shape| shape.pairs).max().unwrap_or(0))?;
    let mut table = table("Messages between two who are there (pairs x in flight x bytes; latency in µs)");
    let mut failure = None;
    for shape in shapes {
        match messages::measure_shape(starter, &file, shape, settings, messages::contenders(starter, settings)) {
            Ok(measured) => {
                for (contender, windows) in &measured {
                    add(&mut table, report, shape, contender.name, &messages::middle(windows));
                }
                goals(report, shape, &measured);
            }
            Err(error) => failure = Some(format!("{}: {error}", shape.name)),
        }
        check_interrupt()?;
    }
    report.table(table);
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

pub fn table(title: &str) -> ReportTable {
    ReportTable::new(title, &["", "CPU µs", "messages/s", "p50", "p99", "p99.9", "busy", "load busy", "resident MB"])
}

/// Adds what one program needed.
pub fn add(table: &mut ReportTable, report: &mut Report, shape: Shape, name: &str, one: &Measured) {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| significant(one.latencies.quantile_us(share)));
    let share = |part: f64| format!("{:.0} %", part * 100.0);
    let megabytes = format!("{:.1}", one.resident_bytes as f64 / 1e6);
    let title = format!("{} {}", shape.name, name);
    let (cpu_us, per_second) = (significant(one.cpu_us), thousands(one.per_second));
    let (busy, load_busy) = (share(one.busy), share(one.load_busy));
    table.row(&[&title, &cpu_us, &per_second, &p50, &p99, &p999, &busy, &load_busy, &megabytes]);
    report.value("messages", value(shape, name, one));
}

fn value(shape: Shape, name: &str, one: &Measured) -> Value {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| one.latencies.quantile_us(share));
    json!({
        "shape": shape.name, "subject": name, "cpu_us": one.cpu_us, "per_second": one.per_second,
        "p50_us": p50, "p99_us": p99, "p999_us": p999, "max_us": one.latencies.max_us(),
        "busy": one.busy, "load_busy": one.load_busy, "resident_bytes": one.resident_bytes,
        "latencies_us": one.latencies.buckets_us().collect::<Vec<_>>(),
    })
}

/// The goals against the relay (a share of its messages per CPU second) and against mosquitto (a
/// part of its CPU).
fn goals(report: &mut Report, shape: Shape, all: &[Windows]) {
    let times = |one, other| messages::cpu_ratio(all, one, other);
    let relay_share = match shape.name {
        "50x16x100" => Some(0.40),
        "500x4x100" => Some(0.60),
        "1x1x100" | "4000x1x100" => Some(0.90),
        _ => None,
    };
    if let (Some(bound), Some(times)) = (relay_share, times(messages::RELAY, messages::RAW)) {
        report.at_least(&format!("{}: of the relay", shape.name), times * 100.0, bound * 100.0, " %");
    }
    let mosquitto_times = match shape.name {
        "50x16x100" => Some(8.0),
        "500x4x100" => Some(4.5),
        "50x16x1000" => Some(7.0),
        _ => None,
    };
    if let (Some(bound), Some(times)) = (mosquitto_times, times(messages::MOSQUITTO, messages::RAW)) {
        report.at_least(&format!("{}: mosquitto's CPU", shape.name), times, bound, " times");
    }
    if let Some(times) = times(messages::WEB_SOCKET, messages::RAW) {
        report.at_most(&format!("{}: WebSocket, of raw", shape.name), times * 100.0, 115.0, " %");
    }
    for (one, other) in [(messages::RAW, messages::AGAINST_RAW), (messages::WEB_SOCKET, messages::AGAINST_WEB_SOCKET)] {
        if let Some(times) = times(one, other) {
            report.at_most(&format!("{}: {one}, of the other build", shape.name), times * 100.0, 100.0, " %");
        }
    }
}

/// A store with so many pairs of friends.
pub fn store(starter: &Starter, settings: &Settings, pairs: usize) -> Fallible<PathBuf> {
    settings.say("filling a store with pairs of friends");
    let file = starter.folder.join(format!("pairs{pairs}.db"));
    if !file.exists() {
        prepare::pairs(&mut SqliteStore::open(&file)?, pairs)?;
    }
    Ok(file)
}

/// At half the rate of the first shape, which is measured right before.
pub fn paced(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let shape = SHAPES[0];
    let file = store(starter, settings, shape.pairs)?;
    let mut table = ReportTable::new(
        "Latency in µs at half the rate that each program reached just before (50 pairs, 100 B, 16 in flight), counted from the time at which a message was due",
        &["", "messages/s", "p50", "p99", "p99.9", "max", "CPU µs"],
    );
    let contenders = messages::contenders(starter, settings);
    let mut runs = vec![vec![]; contenders.len()];
    for run in 0..settings.runs {
        for (contender, runs) in contenders.iter().zip(&mut runs) {
            settings.say(&format!("latency: {}, run {} of {}", contender.name, run + 1, settings.runs));
            let mut talk = Talk::open(starter, contender, &file, shape)?;
            let reached = talk.measure(shape, settings, settings.time)?.per_second;
            runs.push(talk.measure_paced(reached / 2.0, shape.in_flight, settings)?);
        }
    }
    let mut lines = vec![];
    for (Contender { name, .. }, runs) in contenders.into_iter().zip(runs) {
        let one = messages::middle(&runs);
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| significant(one.latencies.quantile_us(share)));
        let max = significant(one.latencies.max_us());
        let cpu_us = significant(one.cpu_us);
        table.row(&[&name, &thousands(one.per_second), &p50, &p99, &p999, &max, &cpu_us]);
        report.value("latency", value(shape, name, &one));
        lines.push(Line { name: name.into(), points: svg::distribution(one.latencies.buckets_us()) });
    }
    report.table(table);
    let plot = Plot {
        title: "Latency at half load: message to MS, 50 pairs, 100 B".into(),
        x_label: "latency in µs".into(),
        y_label: "share of messages in %".into(),
        log_y: false,
        dots: false,
        lines,
    };
    settings.svg.as_ref().map_or(Ok(()), |folder| plot.write(&folder.join("latency.svg")))
}
