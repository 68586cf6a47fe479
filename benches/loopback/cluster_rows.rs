//! Several nodes over one MariaDB: the cost of a name for a server that is alone, the gain from a
//! second node, the time and the writes of a message to a user of another node, and log-ins.

use super::clients::open_all;
use super::cluster_nodes::{Across, Nodes};
use super::frames::Dialect;
use super::histogram::Histogram;
use super::log_in_rows::{Cost, NEIGHBOURS, WAITING, everybody, fill_ring};
use super::mariadb::{Database, MariaDb};
use super::messages::SHAPES;
use super::prepare::pairs;
use super::process::file_descriptors;
use super::report::{Report, ReportTable, significant, thousands};
use super::settings::Settings;
use super::subjects::{Starter, Subject};
use super::{Fallible, check_interrupt, median};
use hongyan::store::mysql::MysqlConnector;
use serde_json::json;

/// The arrangements that are measured, in this order.
const ALONE: &str = "one server without a name";
const NODE: &str = "one node";
const APART: &str = "two nodes, all pairs on one node";
const HALF: &str = "two nodes, half of the pairs across";
const ALL: &str = "two nodes, all pairs across";
const WINDOWS_PER_RUN: u32 = 4;

pub fn cluster(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let Some(mariadb) = MariaDb::find(starter)? else {
        report.note("cluster: no `mariadbd` on this machine and HONGYAN_TEST_MYSQL is not set: not measured");
        return Ok(());
    };
    report.note(format!("cluster: {} runs on both cores", mariadb.version()?));
    report.note(
        "cluster: the second node runs on the core of the load. So rates of two nodes are not comparable on two cores; what two \
         nodes on two cores can do is reckoned from the CPU of a message, twice 1 s / CPU s",
    );
    if settings.wants_part("cluster", "messages") {
        messages(starter, settings, report, &mariadb)?;
    }
    if settings.wants_part("cluster", "log-in") {
        log_ins(starter, settings, report, &mariadb)?;
    }
    Ok(())
}

/// One window, or several together.
#[derive(Clone, Default)]
pub struct Window {
    pub messages: f64,
    /// As many if every pair had done no more than the slowest one. Pairs on one node are much
    /// faster than those across as long as each sends when it is answered.
    pub if_all_were_slowest: f64,
    pub seconds: f64,
    /// Of all nodes.
    pub cpu_us: f64,
    /// Until the sender has `MS`, and until the receiver has the message.
    pub promised: Histogram,
    pub pushed: Histogram,
    /// The work of the database: rows inserted or deleted, and transactions.
    pub rows: f64,
    pub commits: f64,
    pub frames: f64,
}

impl Window {
    fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.if_all_were_slowest += other.if_all_were_slowest;
        self.seconds += other.seconds;
        self.cpu_us += other.cpu_us;
        self.rows += other.rows;
        self.commits += other.commits;
        self.frames += other.frames;
        self.promised.merge(&other.promised);
        self.pushed.merge(&other.pushed);
    }
}

struct Contender<'a> {
    name: String,
    names: &'a [&'a str],
    across: Across,
    has_bus: bool,
}

fn contenders(settings: &Settings) -> Vec<Contender<'static>> {
    let one = |name: &str, names, across, has_bus| Contender { name: name.to_owned(), names, across, has_bus };
    let mut all = vec![
        one(ALONE, &[][..], Across::None, false),
        one(NODE, &["a"], Across::None, false),
        one(APART, &["a", "b"], Across::None, false),
        one(HALF, &["a", "b"], Across::Half, false),
        one(ALL, &["a", "b"], Across::All, false),
    ];
    if settings.bus.is_some() {
        all.push(one(&with_bus(HALF), &["a", "b"], Across::Half, true));
        all.push(one(&with_bus(ALL), &["a", "b"], Across::All, true));
    }
    all
}

fn with_bus(name: &str) -> String {
    format!("{name}, with a bus")
}

fn messages(starter: &Starter, settings: &Settings, report: &mut Report, mariadb: &MariaDb) -> Fallible<()> {
    let contenders = contenders(settings);
    let mut full = vec![Window::default(); contenders.len()];
    let mut half = full.clone();
    let mut cpu: Vec<Vec<f64>> = vec![vec![]; contenders.len()];
    for run in 0..settings.runs {
        settings.say(&format!("cluster: messages, run {} of {}", run + 1, settings.runs));
        let mut all = vec![];
        for (number, contender) in contenders.iter().enumerate() {
            let database = mariadb.database(&format!("nodes{number}"))?;
            pairs(&mut MysqlConnector::new(&database.url())?.connect()?, SHAPES[0].pairs)?;
            let bus = settings.bus.as_deref().filter(|_| contender.has_bus);
            all.push(Nodes::start(starter, database, contender.names, bus)?.talk(contender.across)?);
        }
        // They take turns, so that a disturbance of the machine affects them all.
        for _ in 0..WINDOWS_PER_RUN {
            for (number, nodes) in all.iter_mut().enumerate() {
                let window = nodes.measure(settings, settings.time / WINDOWS_PER_RUN)?;
                cpu[number].push(window.cpu_us / window.messages);
                full[number].add(&window);
                check_interrupt()?;
            }
        }
        for (number, nodes) in all.iter_mut().enumerate() {
            let rate = full[number].if_all_were_slowest / full[number].seconds / 2.0;
            half[number].add(&nodes.measure_paced(rate, settings)?);
        }
    }
    let mut table =
        table("Messages between 50 pairs, 16 in flight, 100 B, on several nodes over one MariaDB; latency in µs");
    let mut paced = table_of_latency();
    for (number, contender) in contenders.iter().enumerate() {
        add(&mut table, &mut paced, report, contender, (&full[number], &half[number]));
    }
    report.table(table);
    report.table(paced);
    goals(report, &contenders, &cpu, &half);
    Ok(())
}

fn table(title: &str) -> ReportTable {
    ReportTable::new(title, &["", "CPU µs", "messages/s", "MS p50", "MS p99", "rows", "transactions", "frames"])
}

fn table_of_latency() -> ReportTable {
    ReportTable::new(
        "The same at half of the rate of the slowest pair: latency in µs until the sender has MS, and until the receiver has the message; \
         rows written and frames for a message",
        &["", "messages/s", "CPU µs", "MS p50", "MS p99", "received p50", "received p99", "rows", "frames"],
    )
}

fn add(
    table: &mut ReportTable,
    paced: &mut ReportTable,
    report: &mut Report,
    contender: &Contender<'_>,
    (full, half): (&Window, &Window),
) {
    let quantiles = |histogram: &Histogram| [0.5, 0.99].map(|share| histogram.quantile_us(share));
    let (promised, [p50, p99]) = (quantiles(&full.promised), quantiles(&half.promised));
    let [received50, received99] = quantiles(&half.pushed);
    let per_message = |count: f64| count / full.messages;
    let (cpu_us, rate) = (per_message(full.cpu_us), full.messages / full.seconds);
    let (rows, commits, frames) = (per_message(full.rows), per_message(full.commits), per_message(full.frames));
    let shown = [cpu_us, promised[0], promised[1], rows, commits, frames].map(significant);
    let name = &contender.name;
    table.row(&[name, &shown[0], &thousands(rate), &shown[1], &shown[2], &shown[3], &shown[4], &shown[5]]);
    let times = [p50, p99, received50, received99].map(significant);
    let (paced_rate, paced_cpu) = (half.messages / half.seconds, half.cpu_us / half.messages);
    let (paced_rows, paced_frames) = (half.rows / half.messages, half.frames / half.messages);
    let (shown, work) = ((thousands(paced_rate), significant(paced_cpu)), [paced_rows, paced_frames].map(significant));
    paced.row(&[name, &shown.0, &shown.1, &times[0], &times[1], &times[2], &times[3], &work[0], &work[1]]);
    report.value(
        "cluster",
        json!({"subject": name, "cpu_us": cpu_us, "per_second": rate, "p50_us": promised[0], "p99_us": promised[1],
            "rows": rows, "transactions": commits, "frames": frames, "half_per_second": paced_rate, "half_cpu_us": paced_cpu,
            "half_rows": paced_rows, "half_frames": paced_frames,
            "half_p50_us": p50, "half_p99_us": p99, "half_received_p50_us": received50, "half_received_p99_us": received99}),
    );
}

fn goals(report: &mut Report, contenders: &[Contender<'_>], cpu: &[Vec<f64>], half: &[Window]) {
    let place = |name: &str| contenders.iter().position(|contender| contender.name == name);
    let times = |one: &str, other: &str| {
        let (one, other) = (&cpu[place(one)?], &cpu[place(other)?]);
        Some(median(one.iter().zip(other).map(|(one, other)| one / other)))
    };
    if let Some(times) = times(NODE, ALONE) {
        report.at_most("one node: CPU of a message, of a server without a name", times * 100.0, 102.0, " %");
    }
    for name in [HALF.to_owned(), with_bus(HALF)] {
        if let Some(times) = times(NODE, &name) {
            report.at_least(&format!("{name}: of one node on one core"), times * 2.0, 1.6, " times");
        }
    }
    if let Some(place) = place(&with_bus(ALL)) {
        let rows = half[place].rows / half[place].messages;
        report.at_most("direct pairs: rows written for a message, at half load", rows, 0.01, "");
    }
}

/// Log-ins on a server without a name, on one node, and of users who come from another node.
fn log_ins(starter: &Starter, settings: &Settings, report: &mut Report, mariadb: &MariaDb) -> Fallible<()> {
    let users = (if settings.quick { 500 } else { 2_000 }).min(file_descriptors()?.saturating_sub(500));
    let fill = |what: &str| -> Fallible<Database> {
        settings.say("cluster: filling a MariaDB with users");
        let database = mariadb.database(what)?;
        fill_ring(&mut MysqlConnector::new(&database.url())?.connect()?, users, NEIGHBOURS, WAITING)?;
        Ok(database)
    };
    let (mut alone, mut first, mut again, mut moved): (Vec<Cost>, Vec<Cost>, Vec<Cost>, Vec<Cost>) = Default::default();
    let one = Nodes::start(starter, fill("alone")?, &[], None)?;
    let two = Nodes::start(starter, fill("moving")?, &["a", "b"], settings.bus.as_deref())?;
    let log_in = |subject: &Subject| everybody(subject, Dialect::Raw, users, false);
    // The first log-in of each user pays for the password.
    drop(open_all(one.subjects[0].addr, Dialect::Raw, (0..users).map(super::prepare::user), WAITING)?);
    first.push(log_in(&two.subjects[0])?);
    log_in(&two.subjects[1])?;
    for _ in 0..settings.runs {
        // As on the node: the second of two log-ins counts.
        log_in(&one.subjects[0])?;
        alone.push(log_in(&one.subjects[0])?);
        moved.push(log_in(&two.subjects[0])?);
        again.push(log_in(&two.subjects[0])?);
        moved.push(log_in(&two.subjects[1])?);
    }
    let title = format!("Log-in and {WAITING} waiting messages on MariaDB, {users} users, 128 at a time");
    let mut table = ReportTable::new(&title, &["", "users/s", "CPU µs"]);
    let mut row = |name: &str, costs: &[Cost]| {
        let of = |cost: fn(&Cost) -> f64| median(costs.iter().map(cost));
        let (rate, cpu_us) = (of(|cost| cost.rate), of(|cost| cost.cpu_us));
        table.row(&[&name, &thousands(rate), &significant(cpu_us)]);
        json!({"subject": name, "per_second": rate, "cpu_us": cpu_us})
    };
    let values = [
        row("on a server without a name", &alone),
        row("on a node, the first of each user (with the password)", &first),
        row("on the node where the user was before", &again),
        row("on another node than before (CPU of that one)", &moved),
    ];
    report.table(table);
    values.into_iter().for_each(|value| report.value("cluster log-in", value));
    Ok(())
}
