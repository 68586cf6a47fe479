//! Messages to friends who are away: `MS` follows the commit. The store alone is measured beside
//! it, with transactions of as many rows as the clients had in flight: more than the server can
//! ever put into one, so the goal is on the strict side.

use super::clients::open_all;
use super::frames::{Dialect, Frames};
use super::kept::Kept;
use super::load::Load;
use super::mariadb::MariaDb;
use super::messages::{Measured, Talk, middle};
use super::prepare::{Filler, message, sender};
use super::report::{Report, ReportTable, significant, thousands};
use super::settings::Settings;
use super::subjects::Starter;
use super::{Fallible, check_interrupt, median};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::StoreConnection;
use hongyan::store::mysql::MysqlConnector;
use hongyan::store::sqlite::SqliteStore;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const SENDERS: usize = 50;
/// Friends of each sender, all away.
const FRIENDS: usize = 20;
const CONTENT_BYTES: usize = 100;
/// The clients that write at the same time.
#[derive(Clone, Copy)]
struct AbsentLoad {
    senders: usize,
    /// All messages in flight, of all senders together.
    in_flight: usize,
}

const fn load_of(senders: usize, in_flight: usize) -> AbsentLoad {
    AbsentLoad { senders, in_flight }
}

/// The last one: one sender has many messages in flight, and the whole store, since nobody else
/// needs it.
const LOADS: [AbsentLoad; 4] = [load_of(10, 10), load_of(SENDERS, 100), load_of(SENDERS, 1_000), load_of(1, 1_000)];

impl AbsentLoad {
    fn title(self) -> String {
        let of_one = if self.senders == 1 { " of one sender" } else { "" };
        format!("{}{of_one}", thousands(self.in_flight as f64))
    }
}
/// The server's default on MySQL.
const MYSQL_THREADS: usize = 4;

/// One connection for each worker that the server would have.
fn open(kept: &Kept, starter: &Starter) -> Fallible<Vec<Box<dyn StoreConnection>>> {
    let url = kept.fresh(starter)?;
    Ok(match kept {
        Kept::Sqlite(_) => vec![Box::new(SqliteStore::open(url.trim_start_matches("sqlite:").as_ref())?)],
        Kept::Mysql(_) => {
            let server = MysqlConnector::new(&url)?;
            let mut stores: Vec<Box<dyn StoreConnection>> = vec![];
            for _ in 0..MYSQL_THREADS {
                stores.push(Box::new(server.connect()?));
            }
            stores
        }
    })
}

fn friend(of: usize, number: usize) -> String {
    format!("away{of:04}of{number:04}")
}

fn fill(store: &mut dyn StoreConnection) -> Fallible<()> {
    let mut filler = Filler::new(store)?;
    for of in 0..SENDERS {
        filler.account(&sender(of))?;
        for number in 0..FRIENDS {
            filler.account(&friend(of, number))?;
            filler.friends(&sender(of), &friend(of, number))?;
        }
    }
    filler.finish()
}

/// The rows, on each store that is available.
pub fn absent(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let mut table = ReportTable::new(
        "Messages to friends who are away, 100 B, durable before MS",
        &["in flight", "hongyan/s", "CPU µs", "p50 ms", "p99 ms", "the store alone/s", "share"],
    );
    let result = all(starter, settings, report, &mut table);
    report.table(table);
    result
}

fn all(starter: &Starter, settings: &Settings, report: &mut Report, table: &mut ReportTable) -> Fallible<()> {
    settings.say("absent: filling a store");
    let file = starter.folder.join("absent.db");
    fill(&mut SqliteStore::open(&file)?)?;
    measure_store(starter, settings, report, table, &Kept::Sqlite(file))?;
    settings.say("absent: starting MariaDB");
    let Some(mariadb) = MariaDb::find(starter)? else {
        report.note("absent: no `mariadbd` on this machine and HONGYAN_TEST_MYSQL is not set: not measured on MariaDB");
        return Ok(());
    };
    let database = mariadb.database("absent")?;
    fill(&mut MysqlConnector::new(&database.url())?.connect()?)?;
    report.note(format!("absent: {} runs on both cores", mariadb.version()?));
    measure_store(starter, settings, report, table, &Kept::Mysql(database))
}

fn measure_store(
    starter: &Starter,
    settings: &Settings,
    report: &mut Report,
    table: &mut ReportTable,
    kept: &Kept,
) -> Fallible<()> {
    for load in LOADS {
        let in_flight = load.in_flight;
        let title = format!("{} {}", load.title(), kept.name());
        if !settings.wants_part("absent", kept.name()) {
            continue;
        }
        let (mut served, mut alone, mut of_other) = (vec![], vec![], vec![]);
        for run in 0..settings.runs {
            settings.say(&format!("absent: {title} in flight, run {}", run + 1));
            let one = serve(starter, settings, &starter.server, &kept.fresh(starter)?, load)?;
            if let Some(binary) = &settings.against {
                let other = serve(starter, settings, binary, &kept.fresh(starter)?, load)?;
                of_other.push(one.per_second / other.per_second * 100.0);
            }
            served.push(one);
            alone.push(store_alone(open(kept, starter)?, in_flight, settings.time)?);
        }
        // Each run has its own ratio, since the speed of the disk varies.
        let share = median(served.iter().zip(&alone).map(|(one, alone)| one.per_second / alone * 100.0));
        let (one, alone) = (middle(&served), median(alone));
        let [p50, p99] = [0.5, 0.99].map(|share| one.latencies.quantile_us(share) / 1e3);
        let (rate, cpu_us) = (thousands(one.per_second), significant(one.cpu_us));
        let cells = [significant(p50), significant(p99), thousands(alone), format!("{share:.0} %")];
        table.row(&[&title, &rate, &cpu_us, &cells[0], &cells[1], &cells[2], &cells[3]]);
        report.value(
            "absent",
            json!({"store": kept.name(), "senders": load.senders, "in_flight": in_flight, "per_second": one.per_second, "cpu_us": one.cpu_us,
                "p50_ms": p50, "p99_ms": p99, "store_alone_per_second": alone, "share_percent": share}),
        );
        report.at_least(&format!("absent, {title} in flight: of the store alone"), share, 50.0, " %");
        if !of_other.is_empty() {
            let goal = format!("absent, {title} in flight: of the other build's rate");
            report.at_least(&goal, median(of_other), 97.0, " %");
        }
    }
    Ok(())
}

fn serve(starter: &Starter, settings: &Settings, binary: &Path, store: &str, load: AbsentLoad) -> Fallible<Measured> {
    let (dialect, AbsentLoad { senders, in_flight }) = (Dialect::Raw, load);
    let subject = starter.server_with_room(binary, store)?;
    let streams = open_all(subject.addr, dialect, (0..senders).map(sender), 0)?;
    let content = "x".repeat(CONTENT_BYTES);
    let frames = (0..senders).map(|of| {
        (0..FRIENDS).map(|number| Frames::new(dialect, &sender(of), &friend(of, number), &content)).collect()
    });
    let load = Load::new(dialect, streams, false, frames, in_flight / senders)?;
    let mut talk = Talk { subject, load };
    talk.load.begin(in_flight / senders)?;
    talk.load.run(settings.warm_up(), 0)?;
    let measured = talk.window(|load| load.run(settings.time, 0))?;
    talk.load.drain()?;
    Ok(measured)
}

/// Rows a second that the store alone takes, when the open transactions of all threads together
/// hold `in_flight` rows.
fn store_alone(mut stores: Vec<Box<dyn StoreConnection>>, in_flight: usize, time: Duration) -> Fallible<f64> {
    let (threads, batch) = (stores.len(), in_flight.div_ceil(stores.len()));
    // Read once, before any thread writes: all threads begin behind the same number.
    let first = stores.first_mut().map_or(Ok(0), |store| store.last_seq())? + 1;
    let workers: Vec<_> = stores
        .into_iter()
        .enumerate()
        .map(|(thread, store)| std::thread::spawn(move || save_for(store, first, thread, threads, batch, time)))
        .collect();
    let mut per_second = 0.0;
    for worker in workers {
        per_second += worker.join().map_err(|_| "a thread of the store panicked")??;
    }
    check_interrupt()?;
    Ok(per_second)
}

fn save_for(
    mut store: Box<dyn StoreConnection>,
    first: u64,
    thread: usize,
    threads: usize,
    batch: usize,
    time: Duration,
) -> Result<f64, String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let (mut rows, mut busy) = (0, Duration::ZERO);
    let first = first + ((thread as u64) << 40);
    while busy < time {
        let pushes: Vec<Push> = (rows..rows + batch)
            .map(|row| pending(first + row as u64, row * threads + thread))
            .collect::<Result<_, _>>()?;
        // Only the store's own time counts.
        let start = Instant::now();
        store.begin().map_err(|error| say(&error))?;
        store.save_pushes(&pushes).map_err(|error| say(&error))?;
        store.commit().map_err(|error| say(&error))?;
        busy += start.elapsed();
        rows += batch;
    }
    Ok(rows as f64 / busy.as_secs_f64())
}

/// The row that the server would write, with senders and friends in turn.
fn pending(seq: u64, row: usize) -> Result<Push, &'static str> {
    let (of, number) = (row % SENDERS, row / SENDERS % FRIENDS);
    let content = "x".repeat(CONTENT_BYTES);
    message(seq, PushKind::Message, &sender(of), &friend(of, number), &format!("{row:010}"), &content)
}
