//! The costs of an idle server, and their growth.

use super::clients::{PASSWORD, connect, open_all};
use super::frames::{Dialect, Frames};
use super::load::Load;
use super::log_in_rows::{NEIGHBOURS, ring};
use super::messages::{Talk, middle};
use super::prepare::user;
use super::process::file_descriptors;
use super::report::{Report, ReportTable, significant, thousands};
use super::settings::Settings;
use super::subjects::{Starter, Subject, wait_until};
use super::svg::{Line, Plot};
use super::{Fallible, median};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

/// Pairs that talk while other users are idle.
const TALKING_PAIRS: usize = 5;
const IN_FLIGHT: usize = 16;
/// A process that uses less CPU per second than this has settled.
const SETTLED_NS: u64 = 1_000_000;
/// CPU per second below which a server is at rest if the use of CPU does not fall any more.
const LEVEL_NS: u64 = 20_000_000;

/// As many as this process may have open.
pub fn connections(settings: &Settings) -> Fallible<usize> {
    Ok((if settings.quick { 1_000 } else { 9_000 }).min(file_descriptors()?.saturating_sub(500)))
}

/// Time to the ready line on an existing store, and memory at that moment.
pub fn start(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let users = connections(settings)?;
    let store = starter.copy(&ring(starter, settings, users, NEIGHBOURS, 0)?)?;
    let (mut ready, mut resident, mut own) = (vec![], vec![], vec![]);
    for run in 0..settings.runs + 2 {
        settings.say(&format!("start: {} of {}", run + 1, settings.runs + 2));
        let subject = starter.server(&store)?;
        ready.push(subject.ready_after.as_secs_f64() * 1e3);
        resident.push(subject.process.resident_bytes()? as f64 / 1e6);
        own.push(subject.process.anonymous_bytes()? as f64 / 1e6);
    }
    let [ready, resident, own] = [ready, resident, own].map(median);
    let title = format!("At start, with {} accounts in the store", thousands(users as f64));
    let mut table = ReportTable::new(&title, &["", ""]);
    table.row(&[&"ready after, ms", &significant(ready)]);
    table.row(&[&"resident, MB", &significant(resident)]);
    table.row(&[&"of it without files, MB", &significant(own)]);
    report.table(table);
    report.at_most("at start: resident memory", resident, 8.0, " MB");
    report.at_most("at start: to the ready line", ready, 50.0, " ms");
    report.value("start", json!({"accounts": users, "ready_ms": ready, "resident_mb": resident, "anonymous_mb": own}));
    Ok(())
}

/// Waits until the server has nothing to do any more.
pub fn settle(subject: &Subject) -> Fallible<()> {
    let (mut last_ns, mut last, mut used_ns) = (subject.process.cpu_ns()?, Instant::now(), u64::MAX);
    wait_until(|| {
        if last.elapsed() < Duration::from_millis(500) {
            return Ok(false);
        }
        let (now_ns, before_ns, before_used_ns) = (subject.process.cpu_ns()?, last_ns, used_ns);
        (last_ns, last, used_ns) = (now_ns, Instant::now(), now_ns - before_ns);
        // A node of a cluster is never quite at rest: it reads its inbox.
        let is_level = used_ns < LEVEL_NS / 2 && used_ns >= before_used_ns / 4 * 3;
        Ok(used_ns < SETTLED_NS / 2 || is_level)
    })
}

/// CPU in µs per second while nothing happens.
fn at_rest(subject: &Subject, time: Duration) -> Fallible<f64> {
    let (before, start) = (subject.process.cpu_ns()?, Instant::now());
    wait_until(|| Ok(start.elapsed() >= time))?;
    Ok((subject.process.cpu_ns()? - before) as f64 / 1e3 / start.elapsed().as_secs_f64())
}

/// Signs up and logs in so many users at the server's own cost, one after the other, and waits.
/// Gives the growth of its memory, in bytes.
fn kept_after(subject: &Subject, log_ins: usize, before: u64) -> Fallible<f64> {
    const QUIET: Duration = Duration::from_secs(15);
    let late = |number: usize| format!("late{number}");
    let mut stream = connect(subject.addr)?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    for number in 0..log_ins {
        let content = json!({"userName": late(number), "hashValue": PASSWORD});
        stream.write_all(json!({"TYPE": "1", "MID": "s", "CONTENT": content}).to_string().as_bytes())?;
        let answer = answers.next().ok_or("the server closed a connection that was to sign up")??;
        if !answer.contains("SS") {
            return Err(format!("no sign-up: {answer}").into());
        }
    }
    drop(open_all(subject.addr, Dialect::Raw, (0..log_ins).map(late), 0)?);
    let end = Instant::now();
    wait_until(|| Ok(end.elapsed() >= QUIET))?;
    Ok(subject.process.anonymous_bytes()? as f64 - before as f64)
}

/// The memory of connections that are logged in and silent.
pub struct Silent {
    /// The server's own memory for each.
    pub bytes: f64,
    pub resident_mb: f64,
    pub log_ins_per_second: f64,
    pub cpu_us: f64,
    pub ticks: u64,
}

impl Silent {
    /// Opens so many on a server whose own memory was `before`, and measures them.
    pub fn measure<S>(
        subject: &Subject,
        settings: &Settings,
        before: u64,
        open: impl FnOnce() -> Fallible<Vec<S>>,
    ) -> Fallible<Self> {
        let start = Instant::now();
        let streams = open()?;
        let count = streams.len() as f64;
        let log_ins_per_second = count / start.elapsed().as_secs_f64();
        settle(subject)?;
        // The allocator gives the memory of the log-ins back within a second.
        at_rest(subject, Duration::from_secs(3))?;
        let bytes = (subject.process.anonymous_bytes()? as f64 - before as f64) / count;
        let ticks = subject.process.ticks()?;
        // Long enough to include work that is done every few seconds.
        let cpu_us = at_rest(subject, if settings.quick { settings.time } else { Duration::from_secs(6) })?;
        let ticks = subject.process.ticks()? - ticks;
        let resident_mb = subject.process.resident_bytes()? as f64 / 1e6;
        drop(streams);
        Ok(Self { bytes, resident_mb, log_ins_per_second, cpu_us, ticks })
    }

    /// Adds them to the table and the values.
    pub fn tell(&self, name: &str, count: usize, table: &mut ReportTable, report: &mut Report) {
        let Self { bytes, resident_mb, log_ins_per_second, cpu_us, ticks } = *self;
        let cells = [thousands(bytes), significant(resident_mb), thousands(log_ins_per_second), significant(cpu_us)];
        table.row(&[&name, &cells[0], &cells[1], &cells[2], &cells[3], &ticks]);
        report.value(
            "idle",
            json!({"transport": name, "connections": count, "friends": 2 * NEIGHBOURS, "bytes_per_connection": bytes,
                "resident_mb": resident_mb, "log_ins_per_second": log_ins_per_second, "rest_us_per_second": cpu_us,
                "ticks": ticks}),
        );
    }
}

/// The table of connections that are silent.
pub fn silent_table(count: usize) -> ReportTable {
    ReportTable::new(
        &format!("{} connections, logged in, {} friends each, silent", thousands(count as f64), 2 * NEIGHBOURS),
        &["", "bytes per connection", "resident MB", "log-ins/s", "CPU at rest, µs a second", "CPU ticks in that time"],
    )
}

/// Bytes of the server's memory for each connection, and its CPU while all are silent.
pub fn idle(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let count = connections(settings)?;
    let file = ring(starter, settings, count, NEIGHBOURS, 0)?;
    let mut table = silent_table(count);
    let rows = [
        (Dialect::Raw, "raw", 0),
        (Dialect::WebSocket, "WebSocket", 0),
        (Dialect::Raw, "raw, after 100 log-ins at the default cost", 100),
    ];
    for (dialect, name, log_ins) in rows {
        settings.say(&format!("idle: {name}"));
        let subject = starter.server(&starter.copy(&file)?)?;
        let before = subject.process.anonymous_bytes()?;
        if log_ins > 0 {
            let kept = kept_after(&subject, log_ins, before)? / 1e6;
            report.at_most("idle: memory kept 15 s after 100 log-ins at the default cost", kept, 6.0, " MB");
        }
        let open = || open_all(subject.addr, dialect, (0..count).map(user), 0);
        let silent = Silent::measure(&subject, settings, before, open)?;
        silent.tell(name, count, &mut table, report);
        report.at_most(&format!("idle, {name}: memory of a connection"), silent.bytes, 500.0, " bytes");
        report.at_most(&format!("idle, {name}: CPU at rest"), silent.ticks as f64, 0.0, " ticks");
    }
    report.table(table);
    Ok(())
}

/// A few pairs of the ring that talk.
fn talk(subject: Subject) -> Fallible<Talk> {
    let talking = 2 * TALKING_PAIRS;
    let streams = open_all(subject.addr, Dialect::Raw, (0..talking).map(user), 0)?;
    let content = "x".repeat(100);
    let frames =
        (0..TALKING_PAIRS).map(|pair| vec![Frames::new(Dialect::Raw, &user(2 * pair), &user(2 * pair + 1), &content)]);
    let load = Load::new(Dialect::Raw, streams, true, frames, IN_FLIGHT)?;
    Ok(Talk { subject, load })
}

/// The median CPU of a message between the pairs that talk.
fn message_cpu_us(talk: &mut Talk, settings: &Settings) -> Fallible<f64> {
    let mut runs = vec![];
    talk.load.begin(IN_FLIGHT)?;
    talk.load.run(settings.warm_up(), 0)?;
    for _ in 0..settings.runs {
        runs.push(talk.window(|load| load.run(settings.time, 0))?);
    }
    talk.load.drain()?;
    Ok(middle(&runs).cpu_us)
}

/// Costs against the number of connections, most of them silent, and of accounts, most of them
/// absent.
pub fn growth(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let by_connections = growth_by_connections(starter, settings, report)?;
    let by_accounts = growth_by_accounts(starter, settings, report)?;
    let Some(folder) = &settings.svg else { return Ok(()) };
    let plot = |title: &str, x_label: &str, lines| Plot {
        title: title.into(),
        x_label: x_label.into(),
        y_label: "CPU in µs".into(),
        log_y: true,
        dots: true,
        lines,
    };
    plot("CPU of a message, five pairs talking among silent ones", "connections", by_connections)
        .write(&folder.join("connections.svg"))?;
    plot("CPU of a message and of a log-in", "accounts in the store", by_accounts).write(&folder.join("accounts.svg"))
}

fn growth_by_connections(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<Vec<Line>> {
    let most = connections(settings)?;
    let file = ring(starter, settings, most, NEIGHBOURS, 0)?;
    let mut table = ReportTable::new(
        "Growth: five pairs talk (16 in flight, 100 B), all others are silent",
        &["connections", "CPU µs a message", "CPU at rest, ns a second and connection"],
    );
    let mut points = vec![];
    for count in [10, 100, 1_000, 9_000].into_iter().filter(|count| *count <= most) {
        settings.say(&format!("growth: {count} connections"));
        let mut talk = talk(starter.server(&starter.copy(&file)?)?)?;
        let silent = open_all(talk.subject.addr, Dialect::Raw, (2 * TALKING_PAIRS..count).map(user), 0)?;
        settle(&talk.subject)?;
        let rest_ns = at_rest(&talk.subject, settings.time)? * 1e3 / count as f64;
        let cpu_us = message_cpu_us(&mut talk, settings)?;
        drop(silent);
        table.row(&[&thousands(count as f64), &significant(cpu_us), &significant(rest_ns)]);
        report.value("connections", json!({"connections": count, "cpu_us": cpu_us, "rest_ns_per_second": rest_ns}));
        points.push((count as f64, cpu_us));
    }
    report.table(table);
    Ok(vec![Line { name: "a message".into(), points }])
}

fn growth_by_accounts(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<Vec<Line>> {
    let mut table =
        ReportTable::new("Growth: accounts in the store", &["accounts", "CPU µs a message", "CPU µs a log-in"]);
    let (mut messages, mut log_ins) = (vec![], vec![]);
    let most = if settings.full {
        1_000_000
    } else if settings.quick {
        1_000
    } else {
        100_000
    };
    for count in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|count| *count <= most) {
        let file = ring(starter, settings, count, 1, 0)?;
        settings.say(&format!("growth: {count} accounts"));
        let mut talk = talk(starter.server(&starter.copy(&file)?)?)?;
        let cpu_us = message_cpu_us(&mut talk, settings)?;
        // Spread over all accounts, and again: the first time pays for Argon2id.
        let (some, gap) = (900, (count - 20) / 900);
        let mut log_ins_us = vec![];
        for _ in 0..=settings.runs {
            let before = talk.subject.process.cpu_ns()?;
            drop(open_all(talk.subject.addr, Dialect::Raw, (0..some).map(|at| user(20 + at * gap.max(1))), 0)?);
            settle(&talk.subject)?;
            log_ins_us.push((talk.subject.process.cpu_ns()? - before) as f64 / 1e3 / some as f64);
        }
        let log_in_us = median(log_ins_us.drain(1..));
        table.row(&[&thousands(count as f64), &significant(cpu_us), &significant(log_in_us)]);
        report.value("accounts", json!({"accounts": count, "cpu_us": cpu_us, "log_in_cpu_us": log_in_us}));
        messages.push((count as f64, cpu_us));
        log_ins.push((count as f64, log_in_us));
    }
    report.table(table);
    Ok(vec![Line { name: "a log-in".into(), points: log_ins }, Line { name: "a message".into(), points: messages }])
}
