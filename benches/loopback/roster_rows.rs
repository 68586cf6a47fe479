//! A user with very many friends: their roster, page by page, and what others notice while that
//! user comes and goes and all friends watch.

use super::clients::{connect, log_in_all, open_all};
use super::frames::{Dialect, Frames};
use super::load::Load;
use super::messages::{Talk, middle};
use super::prepare::{Filler, receiver, sender, user};
use super::process::file_descriptors;
use super::report::{Report, ReportTable, significant, thousands};
use super::settings::Settings;
use super::subjects::{Starter, Subject};
use super::{Fallible, check_interrupt, median};
use hongyan::store::sqlite::SqliteStore;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The user with the many friends.
const STAR: &str = "star";
/// `--friends-max` of a server.
const FRIENDS: usize = 5_000;
/// The latency that their friends may notice, in ms.
const NOTICED_MS_MAX: f64 = 20.0;
const MESSAGES_PER_SECOND: f64 = 200.0;
const COMES_EVERY: Duration = Duration::from_millis(50);

/// The star with their friends, and a pair that talks.
fn store(starter: &Starter, settings: &Settings, friends: usize) -> Fallible<PathBuf> {
    let file = starter.folder.join(format!("star{friends}.db"));
    if file.exists() {
        return Ok(file);
    }
    settings.say("roster: filling a store");
    let mut store = SqliteStore::open(&file)?;
    let mut filler = Filler::new(&mut store)?;
    for name in [STAR.to_owned(), sender(0), receiver(0)] {
        filler.account(&name)?;
    }
    filler.friends(&sender(0), &receiver(0))?;
    for number in 0..friends {
        filler.account(&user(number))?;
        filler.friends(STAR, &user(number))?;
    }
    filler.finish()?;
    Ok(file)
}

/// Asks for a part of the roster; gives the number of friends, the last one, and whether there are
/// more.
fn page(stream: &mut TcpStream, after: Option<&str>, watch: bool) -> Fallible<(usize, Option<String>, bool)> {
    let mut content = json!({"watch": watch});
    if let Some(after) = after {
        content["after"] = after.into();
    }
    stream.write_all(json!({"MID": "r", "CONTENT": content, "TYPE": "ROSTER"}).to_string().as_bytes())?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err("the server closed a connection that asked for a roster".into());
        }
        let frame: serde_json::Value = serde_json::from_str(&line)?;
        if frame["TYPE"] == "PRESENCE" {
            continue;
        }
        let Some(friends) = frame["CONTENT"]["Content"]["friends"].as_array() else {
            return Err(format!("no roster: {line}").into());
        };
        let last = friends.last().and_then(|friend| friend["userName"].as_str()).map(ToOwned::to_owned);
        return Ok((friends.len(), last, frame["CONTENT"]["Content"]["more"] == true));
    }
}

/// The whole roster; gives the times of its pages.
fn roster(stream: &mut TcpStream, expected: usize) -> Fallible<Vec<f64>> {
    let (mut after, mut count, mut times_ms) = (None, 0, vec![]);
    loop {
        let start = Instant::now();
        let (friends, last, more) = page(stream, after.as_deref(), false)?;
        times_ms.push(start.elapsed().as_secs_f64() * 1e3);
        (count, after) = (count + friends, last);
        if !more {
            break;
        }
    }
    if count == expected { Ok(times_ms) } else { Err(format!("{count} friends of {expected}").into()) }
}

/// The star comes and goes until this is set; gives how often.
fn flap(addr: SocketAddr, stop: &AtomicBool) -> Result<u32, String> {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let users = std::iter::once((connect(addr), STAR.to_owned()));
        let streams = log_in_all(users, Dialect::Raw, 0).map_err(|error| error.to_string())?;
        times += 1;
        thread::sleep(COMES_EVERY);
        drop(streams);
        thread::sleep(COMES_EVERY);
    }
    Ok(times)
}

fn watch_all(subject: &Subject, friends: usize) -> Fallible<Vec<TcpStream>> {
    let mut streams = open_all(subject.addr, Dialect::Raw, (0..friends).map(user), 0)?;
    for stream in &mut streams {
        check_interrupt()?;
        page(stream, None, true)?;
    }
    Ok(streams)
}

/// The rows.
pub fn rosters(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let friends = (if settings.quick { 500 } else { FRIENDS }).min(file_descriptors()?.saturating_sub(500));
    let file = store(starter, settings, friends)?;
    let title = format!("A user with {} friends, on SQLite", thousands(friends as f64));
    let mut table = ReportTable::new(&title, &["", ""]);

    settings.say("roster: page by page");
    let subject = starter.server(&starter.copy(&file)?)?;
    let mut star = open_all(subject.addr, Dialect::Raw, std::iter::once(STAR.to_owned()), 0)?;
    let star = star.first_mut().ok_or("one connection was asked for")?;
    let (mut pages, mut whole) = (vec![], vec![]);
    for _ in 0..settings.runs + 2 {
        let times = roster(star, friends)?;
        whole.push(times.iter().sum());
        pages.extend(times);
    }
    let (page_ms, whole_ms) = (median(pages), median(whole));
    table.row(&[&"a page of 100 friends, ms", &significant(page_ms)]);
    table.row(&[&"the whole roster, one page after the other, ms", &significant(whole_ms)]);
    drop(subject);

    settings.say("roster: all watch");
    let subject = starter.server(&starter.copy(&file)?)?;
    let watchers = watch_all(&subject, friends)?;
    let addr = subject.addr;
    let streams = open_all(addr, Dialect::Raw, [sender(0), receiver(0)].into_iter(), 0)?;
    let content = "x".repeat(100);
    let frames = std::iter::once(vec![Frames::new(Dialect::Raw, &sender(0), &receiver(0), &content)]);
    let load = Load::new(Dialect::Raw, streams, true, frames, 256)?;
    let mut talk = Talk { subject, load };
    let mut quiet = vec![];
    let mut flapping = vec![];
    for _ in 0..settings.runs {
        quiet.push(talk.measure_paced(MESSAGES_PER_SECOND, 1, settings)?);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let star = thread::spawn(move || flap(addr, &stopped));
    for _ in 0..settings.runs {
        flapping.push(talk.measure_paced(MESSAGES_PER_SECOND, 1, settings)?);
    }
    stop.store(true, Ordering::Relaxed);
    let times = star.join().map_err(|_| "the one who comes and goes panicked")??;
    drop(watchers);
    for (name, key, runs) in [
        ("nobody comes or goes", "quiet", &quiet),
        ("the user comes and goes, and all friends watch", "flapping", &flapping),
    ] {
        let one = middle(runs);
        let [p50, p99] = [0.5, 0.99].map(|share| one.latencies.quantile_us(share) / 1e3);
        let max = one.latencies.max_us() / 1e3;
        let cells = [significant(p50), significant(p99), significant(max), format!("{:.0} %", one.busy * 100.0)];
        table.row(&[&format!("messages of others while {name}: p50, p99, largest, ms; CPU"), &cells.join(", ")]);
        report.value("rosters", json!({"friends": friends, "while": key, "p50_ms": p50, "p99_ms": p99, "max_ms": max}));
        report.at_most(&format!("rosters: messages of others while {name}, p99"), p99, NOTICED_MS_MAX, " ms");
    }
    report.note(format!("rosters: the user came {times} times"));
    report.value("rosters", json!({"friends": friends, "page_ms": page_ms, "whole_ms": whole_ms}));
    report.table(table);
    Ok(())
}
