//! All users come back at once, after a break in the network and after a restart of the server.

use super::Fallible;
use super::clients::open_all;
use super::frames::{Dialect, Frames};
use super::histogram::Histogram;
use super::prepare::{Filler, receiver, sender, user};
use super::process::file_descriptors;
use super::report::{Report, ReportTable, significant, thousands};
use super::settings::Settings;
use super::storm::{Credential, Guest, Outcome, Storm};
use super::subjects::{Starter, Subject, sqlite_url};
use hongyan::config::Config;
use hongyan::store::sqlite::SqliteStore;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Pairs who talk all the time.
const PAIRS: usize = 5;
/// The guesses aim at so few users that the server refuses most of them unheard.
const VICTIMS: usize = 2;

/// One storm, to be reported.
pub struct Measured {
    title: String,
    users: usize,
    outcome: Outcome,
    calm: Histogram,
    pub storm: Histogram,
    /// Resident before, after, and at most since the server's start.
    resident: [u64; 3],
}

pub fn storm(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let (users, dear, guesses) = if settings.quick { (300, 60, 150) } else { (5_000, 2_000, 300) };
    let users = users.min(file_descriptors()?.saturating_sub(500));
    let file = starter.folder.join("storm.db");
    fill(&file, users, dear)?;
    let store = sqlite_url(&file);
    let mut all = vec![];

    settings.say("storm: by password, after a start");
    let subject = starter.server(&store)?;
    let mut storm = talk(&subject, 1)?;
    let mut guests: Vec<Guest> = (0..dear).map(|number| Guest::new(user(number), Credential::Password)).collect();
    let guess = |number| Guest::new(sender(PAIRS + number % VICTIMS), Credential::WrongPassword);
    // Spreads the guessers evenly among the honest users.
    let step = (dear / guesses).max(1);
    for number in 0..guesses {
        guests.insert((number * (step + 1)).min(guests.len()), guess(number));
    }
    let title = format!("restart, {dear} by password, {guesses} wrong ones among them");
    all.push(measure(&subject, &mut storm, settings, &mut guests, true, title)?);
    let throttled = guests.iter().filter(|guest| guest.throttled).count();
    guests.retain(|guest| !matches!(guest.credential, Credential::WrongPassword));
    // The other users (cheap hashes) log in, too, so that the server has verified every password
    // once.
    let mut others: Vec<Guest> = (dear..users).map(|number| Guest::new(user(number), Credential::Password)).collect();
    storm.rage(&mut others, true)?;
    guests.append(&mut others);
    let tokens: Vec<String> = guests.iter().filter_map(|guest| guest.token.clone()).collect();
    if tokens.len() != users {
        return Err(format!("{} tokens for {users} users", tokens.len()).into());
    }

    settings.say("storm: by password, after a break in the network");
    guests.iter_mut().for_each(|guest| guest.leave(Credential::Password));
    all.push(measure(&subject, &mut storm, settings, &mut guests, false, format!("blip, {users} by password"))?);
    settings.say("storm: by token, after a break in the network");
    let by_token = |guests: &mut Vec<Guest>| {
        guests.iter_mut().zip(&tokens).for_each(|(guest, token)| guest.leave(Credential::Token(token.clone())));
    };
    by_token(&mut guests);
    all.push(measure(&subject, &mut storm, settings, &mut guests, false, format!("blip, {users} by token"))?);
    drop((storm, subject));

    settings.say("storm: by token, after a restart");
    let subject = starter.server(&store)?;
    let mut storm = talk(&subject, 2)?;
    by_token(&mut guests);
    all.push(measure(&subject, &mut storm, settings, &mut guests, false, format!("restart, {users} by token"))?);
    tell(report, "Log-in storm", &all);
    report.note(format!("storm: {throttled} of the wrong passwords were refused without a look at them"));
    Ok(())
}

/// Fills a store with `users` users (the first `dear` of them have hashes at the default Argon2id
/// cost, the others cheap ones), the pairs that talk, and the users whose passwords are guessed.
pub fn fill(file: &Path, users: usize, dear: usize) -> Fallible<()> {
    let mut store = SqliteStore::open(file)?;
    let default = Config::default();
    let mut filler = Filler::at_cost(&mut store, default.argon2_memory_kib, default.argon2_passes)?;
    for number in 0..dear {
        filler.account(&user(number))?;
    }
    for number in PAIRS..PAIRS + VICTIMS {
        filler.account(&sender(number))?;
    }
    filler.finish()?;
    let mut filler = Filler::new(&mut store)?;
    for number in dear..users {
        filler.account(&user(number))?;
    }
    for number in 0..PAIRS {
        filler.account(&sender(number))?;
        filler.account(&receiver(number))?;
        filler.friends(&sender(number), &receiver(number))?;
    }
    filler.finish()
}

/// The pairs who talk, on their connections. `load` differs for each server on one store.
pub fn talk(subject: &Subject, load: u64) -> Fallible<Storm> {
    let names = (0..PAIRS).flat_map(|number| [sender(number), receiver(number)]);
    let streams = open_all(subject.addr, Dialect::Raw, names, 0)?;
    let content = "x".repeat(100);
    let frames =
        (0..PAIRS).map(|number| Frames::new(Dialect::Raw, &sender(number), &receiver(number), &content)).collect();
    Storm::new(streams, frames, load << 32)
}

/// A while of calm, and a storm.
pub fn measure(
    subject: &Subject,
    storm: &mut Storm,
    settings: &Settings,
    guests: &mut [Guest],
    want_tokens: bool,
    title: String,
) -> Fallible<Measured> {
    // Closing the old connections takes a while, and belongs neither to the calm nor to the storm.
    storm.calm(Duration::from_millis(500))?;
    storm.latencies = Histogram::new();
    storm.calm(settings.time)?;
    let calm = std::mem::take(&mut storm.latencies);
    let before = subject.process.resident_bytes()?;
    let outcome = storm.rage(guests, want_tokens)?;
    let storm = std::mem::take(&mut storm.latencies);
    let resident = [before, subject.process.resident_bytes()?, subject.process.peak_bytes()?];
    let users = guests.iter().filter(|guest| !matches!(guest.credential, Credential::WrongPassword)).count();
    Ok(Measured { title, users, outcome, calm, storm, resident })
}

pub fn tell(report: &mut Report, title: &str, all: &[Measured]) {
    let mut times = ReportTable::new(
        title,
        &["", "s", "log-ins/s", "UNAVAILABLE", "RATE_LIMITED", "closed", "MB before", "after", "peak"],
    );
    let mut latencies = ReportTable::new(
        "Messages of those who are connected: ms",
        &["", "p50 calm", "p99", "max", "p50 storm", "p99", "max"],
    );
    for one in all {
        let Measured { title, users, outcome, calm, storm, resident } = one;
        let rate = *users as f64 / outcome.seconds;
        let [before, after, peak] = resident.map(|bytes| significant(bytes as f64 / 1e6));
        let (seconds, rate) = (significant(outcome.seconds), thousands(rate));
        let refused = [outcome.unavailable, outcome.rate_limited, outcome.broken];
        times.row(&[title, &seconds, &rate, &refused[0], &refused[1], &refused[2], &before, &after, &peak]);
        let three = |of: &Histogram| [of.quantile_us(0.5), of.quantile_us(0.99), of.max_us()].map(|us| us / 1e3);
        let [calm, storm] = [three(calm), three(storm)];
        let cells: Vec<String> = calm.iter().chain(&storm).map(|ms| significant(*ms)).collect();
        latencies.row(&[title, &cells[0], &cells[1], &cells[2], &cells[3], &cells[4], &cells[5]]);
        report.value(
            "storm",
            json!({"title": title, "users": users, "seconds": outcome.seconds, "unavailable": refused[0],
                "rate_limited": refused[1], "closed": refused[2], "resident": resident, "calm_ms": calm, "storm_ms": storm}),
        );
    }
    report.table(times);
    report.table(latencies);
}
