//! Log-ins of users for whom messages wait, beside the store's own time for the same reads.

use super::clients::{connect, log_in_all, open_all};
use super::frames::Dialect;
use super::idle_rows::settle;
use super::prepare::{Filler, user};
use super::process::file_descriptors;
use super::report::{Report, ReportTable, significant, thousands};
use super::settings::Settings;
use super::subjects::{Starter, Subject};
use super::{Fallible, check_interrupt, median};
use hongyan::protocol::field::UserName;
use hongyan::store::StoreConnection;
use hongyan::store::sqlite::SqliteStore;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub const WAITING: usize = 20;
/// A user is a friend of so many users before and so many behind in the ring.
pub const NEIGHBOURS: usize = 5;
/// The server asks for a page and one more, which tells whether there are more.
const PAGE: u32 = 65;

/// Users in a ring, each a friend of their neighbours.
pub fn ring(
    starter: &Starter,
    settings: &Settings,
    users: usize,
    neighbours: usize,
    waiting: usize,
) -> Fallible<PathBuf> {
    let file = starter.folder.join(format!("ring{users}-{neighbours}-{waiting}.db"));
    if file.exists() {
        return Ok(file);
    }
    settings.say(&format!("filling a store with {} users", thousands(users as f64)));
    fill_ring(&mut SqliteStore::open(&file)?, users, neighbours, waiting)?;
    Ok(file)
}

/// The same in any store.
pub fn fill_ring(store: &mut dyn StoreConnection, users: usize, neighbours: usize, waiting: usize) -> Fallible<()> {
    let mut filler = Filler::new(store)?;
    for number in 0..users {
        filler.account(&user(number))?;
    }
    let content = "x".repeat(100);
    for number in 0..users {
        for step in 1..=neighbours {
            filler.friends(&user(number), &user((number + step) % users))?;
        }
        if waiting > 0 {
            filler.waiting(&user((number + 1) % users), &user(number), waiting, &content)?;
        }
    }
    filler.finish()
}

pub fn log_in(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let users = (if settings.quick { 1_000 } else { 10_000 }).min(file_descriptors()?.saturating_sub(500));
    let file = ring(starter, settings, users, NEIGHBOURS, WAITING)?;
    let (mut ours, mut theirs) = (Costs::default(), settings.against.as_ref().map(|_| Costs::default()));
    let (mut relay, mut alone) = (vec![], vec![]);
    for run in 0..settings.runs {
        settings.say(&format!("log-in: run {} of {}", run + 1, settings.runs));
        ours.measure(starter, &starter.server, &file, users)?;
        if let (Some(costs), Some(binary)) = (&mut theirs, &settings.against) {
            costs.measure(starter, binary, &file, users)?;
        }
        relay.push(everybody(&starter.relay()?, Dialect::Relay, users, false)?);
        alone.push(store_alone(starter, &file, users)?);
    }
    let alone = median(alone);
    let title = format!("Log-in and {WAITING} waiting messages, {} users, {} friends each", users, 2 * NEIGHBOURS);
    let mut table = ReportTable::new(&title, &["", "users/s", "CPU µs", "busy", "of the store"]);
    let mut values = json!({"users": users, "waiting": WAITING, "store_alone_per_second": alone});
    let mut row = |name: &str, key: &str, costs: &[Cost]| {
        let of = |cost: fn(&Cost) -> f64| median(costs.iter().map(cost));
        let (rate, cpu_us) = (of(|cost| cost.rate), of(|cost| cost.cpu_us));
        let share = cpu_us * alone / 1e6;
        let busy = format!("{:.0} %", rate * cpu_us / 1e4);
        table.row(&[&name, &thousands(rate), &significant(cpu_us), &busy, &format!("{share:.2}")]);
        values[key] = json!({"per_second": rate, "cpu_us": cpu_us});
        share
    };
    row("the first of each user (Argon2id at its cheapest)", "first", &ours.first);
    let again = row("the next (the password is known)", "next", &ours.again);
    let open = row("the same on connections that are open", "open", &ours.open);
    let others = theirs.as_ref().map(|theirs| {
        row("the next, the other build", "against_next", &theirs.again);
        row("on connections that are open, the other build", "against_open", &theirs.open)
    });
    let connection = row("the relay: a new connection and its first byte", "relay", &relay);
    table.row(&[&"the store alone: credentials, friends, page", &thousands(alone), &significant(1e6 / alone)]);
    report.table(table);
    report.at_most("log-in and first page, against the store alone", open, 2.0, " times");
    if let Some(others) = others {
        report.at_most("log-in and first page, of the other build's CPU", open / others * 100.0, 103.0, " %");
    }
    report.at_most(
        "with a new connection, against the store and the relay's",
        again / (1.0 + connection),
        2.0,
        " times",
    );
    report.note(
        "log-in: the accounts were made with the cheapest Argon2id there is (8 KiB, 1 pass); at the default cost the first \
         log-in of a user takes 14 ms more",
    );
    report.value("log-in", values);
    Ok(())
}

/// The costs of one build, a figure for each run.
#[derive(Default)]
struct Costs {
    first: Vec<Cost>,
    again: Vec<Cost>,
    open: Vec<Cost>,
}

impl Costs {
    fn measure(&mut self, starter: &Starter, binary: &Path, file: &Path, users: usize) -> Fallible<()> {
        let subject = starter.server_of(binary, &starter.copy(file)?)?;
        self.first.push(everybody(&subject, Dialect::Raw, users, false)?);
        self.again.push(everybody(&subject, Dialect::Raw, users, false)?);
        self.open.push(everybody(&subject, Dialect::Raw, users, true)?);
        Ok(())
    }
}

pub struct Cost {
    /// Users a second. The load has the same rate: its clients make a connection each. The rate
    /// does not say how much of its core the server needs.
    pub rate: f64,
    pub cpu_us: f64,
}

/// Everybody logs in once and goes; `connected` says that their connections are there before it
/// counts.
pub fn everybody(subject: &Subject, dialect: Dialect, users: usize, connected: bool) -> Fallible<Cost> {
    let mut waiting = vec![];
    if connected {
        waiting.extend((0..users).map(|_| connect(subject.addr)));
    }
    // That the last ones left is not part of how these come.
    settle(subject)?;
    let (before, start) = (subject.process.cpu_ns()?, Instant::now());
    let streams = if connected {
        log_in_all(waiting.into_iter().zip((0..users).map(user)), dialect, WAITING)?
    } else {
        open_all(subject.addr, dialect, (0..users).map(user), WAITING)?
    };
    let rate = users as f64 / start.elapsed().as_secs_f64();
    let cpu_us = (subject.process.cpu_ns()? - before) as f64 / 1e3 / users as f64;
    drop(streams);
    Ok(Cost { rate, cpu_us })
}

/// The reads of a log-in for every user; gives users a second.
fn store_alone(starter: &Starter, file: &Path, users: usize) -> Fallible<f64> {
    let url = starter.copy(file)?;
    let mut store = SqliteStore::open(url.trim_start_matches("sqlite:").as_ref())?;
    let names = (0..users).map(|number| UserName::new(&user(number))).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    for name in &names {
        let known = store.password_hash(name)?.is_some();
        let read = (store.friends(name)?.len(), store.pushes(name, 0, PAGE, usize::MAX)?.len());
        if !known || read != (2 * NEIGHBOURS, WAITING) {
            return Err(format!("{read:?} is not what was written for {}", name.as_str()).into());
        }
    }
    let rate = users as f64 / start.elapsed().as_secs_f64();
    check_interrupt()?;
    Ok(rate)
}
