//! The rows: every attack, from loopback and from another host, on every store.

use super::super::Fallible;
use super::super::clients::open_all;
use super::super::frames::{Dialect, Frames};
use super::super::kept::Kept;
use super::super::mariadb::MariaDb;
use super::super::prepare::Filler;
use super::super::process::Process;
use super::super::report::{Report, ReportTable, significant, thousands};
use super::super::settings::Settings;
use super::super::subjects::{Starter, Subject};
use super::attacker::{ATTACKER_ARGUMENT, READY};
use super::attacks::{ATTACKS, Attack, GROUP, NEIGHBOUR, ONE_ACCOUNT, VICTIM, WAITING, absent_friend, name};
use super::honest::{AllMet, CONTENT, Honest, LONELY, Met, TALKS, first};
use super::namespace::{Namespace, OUR_END};
use hongyan::config::Config;
use hongyan::store::StoreConnection;
use hongyan::store::mysql::MysqlConnector;
use hongyan::store::sqlite::SqliteStore;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

const CONNECTIONS: [usize; 3] = [1, 50, 500];
/// The attack runs for this long before the measurement.
const WARM_UP: Duration = Duration::from_millis(500);
/// The goals: latency of messages, unless five times the quiet latency is more; time of a log-in.
const P99_MS: f64 = 20.0;
const LOG_IN_MS: f64 = 1_000.0;

fn fill(store: &mut dyn StoreConnection) -> Fallible<()> {
    let default = Config::default();
    // Those who log in have passwords at their usual cost.
    let mut filler = Filler::at_cost(store, default.argon2_memory_kib, default.argon2_passes)?;
    filler.account(VICTIM)?;
    filler.account(NEIGHBOUR)?;
    (0..).map_while(first).try_for_each(|user| filler.account(&user))?;
    filler.finish()?;
    let mut filler = Filler::new(store)?;
    filler.account(ONE_ACCOUNT)?;
    filler.waiting(LONELY[0], ONE_ACCOUNT, WAITING, &CONTENT.repeat(5))?;
    for [one, other] in [TALKS, LONELY] {
        filler.account(one)?;
        filler.account(other)?;
        filler.friends(one, other)?;
    }
    let most = CONNECTIONS[CONNECTIONS.len() - 1];
    for index in 0..most {
        filler.account(&name(index))?;
        filler.account(&absent_friend(index))?;
        filler.friends(&name(index), &absent_friend(index))?;
        for other in index / GROUP * GROUP..index {
            filler.friends(&name(other), &name(index))?;
        }
    }
    filler.finish()
}

pub fn hostile(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    settings.say("hostile: filling a store");
    let file = starter.folder.join("hostile.db");
    fill(&mut SqliteStore::open(&file)?)?;
    let mut table = ReportTable::new(
        "Honest users beside attackers: ms; refused: of messages between friends, to an absent friend, log-ins, first log-ins",
        &[
            "",
            "talk p50",
            "p99",
            "max",
            "away p50",
            "p99",
            "max",
            "log-in p50",
            "max",
            "first log-in p50",
            "max",
            "refused",
            "resident MB",
        ],
    );
    let namespace = Namespace::make();
    if namespace.is_none() {
        report.note("hostile: no network namespace can be made (`ip`, as root): attacked from loopback only");
    }
    let mut result = on_store(starter, settings, report, &mut table, &Kept::Sqlite(file), namespace.as_ref());
    if result.is_ok()
        && let Some(mariadb) = MariaDb::find(starter)?
    {
        let database = mariadb.database("hostile")?;
        fill(&mut MysqlConnector::new(&database.url())?.connect()?)?;
        result = on_store(starter, settings, report, &mut table, &Kept::Mysql(database), namespace.as_ref());
    }
    report.table(table);
    result
}

/// The worst that honest users met on one store.
#[derive(Default)]
struct Worst {
    p99_ms: [f64; 2],
    log_in_ms: f64,
    refused: u64,
}

impl Worst {
    fn add(&mut self, met: &AllMet) {
        for (worst, met) in self.p99_ms.iter_mut().zip(met) {
            *worst = worst.max(ms(met, 0.99));
        }
        for met in &met[2..] {
            self.log_in_ms = self.log_in_ms.max(met.latencies.max_us() / 1e3);
        }
        self.refused += met.iter().map(|met| met.refused).sum::<u64>();
    }
}

fn ms(met: &Met, share: f64) -> f64 {
    met.latencies.quantile_us(share) / 1e3
}

fn on_store(
    starter: &Starter,
    settings: &Settings,
    report: &mut Report,
    table: &mut ReportTable,
    kept: &Kept,
    namespace: Option<&Namespace>,
) -> Fallible<()> {
    let quiet = Beside::start(starter, settings, kept)?.meet(settings)?;
    add(table, report, kept, "quiet", 0, "", &quiet);
    let mut worst = Worst::default();
    let counts = if settings.quick { &CONNECTIONS[1..2] } else { &CONNECTIONS[..] };
    for (attack, what) in ATTACKS.iter().filter(|(_, what)| settings.wants_part("hostile", what)) {
        for from in [None, namespace] {
            for &count in counts {
                let place = if from.is_some() { "another host" } else { "loopback" };
                settings.say(&format!("hostile: {}, {what}, {count} from {place}", kept.name()));
                let beside = Beside::start(starter, settings, kept)?;
                let attacker = begin_attack(starter, &beside.subject, *attack, what, count, from)?;
                let met = beside.meet(settings)?;
                drop(attacker);
                worst.add(&met.0);
                add(table, report, kept, what, count, place, &met);
            }
            if namespace.is_none() {
                break;
            }
        }
    }
    goals(report, kept, &quiet.0, &worst);
    Ok(())
}

fn goals(report: &mut Report, kept: &Kept, quiet: &AllMet, worst: &Worst) {
    for (at, what) in ["between friends", "to an absent friend"].into_iter().enumerate() {
        let bound = P99_MS.max(5.0 * ms(&quiet[at], 0.99));
        report.at_most(&format!("hostile, {}: p99 {what}", kept.name()), worst.p99_ms[at], bound, " ms");
    }
    report.at_most(&format!("hostile, {}: the slowest log-in", kept.name()), worst.log_in_ms, LOG_IN_MS, " ms");
    report.at_most(&format!("hostile, {}: honest requests refused", kept.name()), worst.refused as f64, 0.0, "");
}

/// A server with its honest users.
struct Beside {
    honest: Honest,
    subject: Subject,
}

impl Beside {
    fn start(starter: &Starter, settings: &Settings, kept: &Kept) -> Fallible<Self> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut subject = starter.server_as_shipped(any, &kept.fresh(starter)?)?;
        subject.addr.set_ip(Ipv4Addr::LOCALHOST.into());
        let users = [TALKS[0], TALKS[1], LONELY[0]].map(str::to_owned);
        let streams = open_all(subject.addr, Dialect::Raw, users.into_iter(), 0)?;
        let streams = streams.try_into().map_err(|_| "three connections")?;
        let frames = |[one, other]: [&str; 2]| Frames::new(Dialect::Raw, one, other, CONTENT);
        let honest = Honest::start(subject.addr, settings.honest_every, streams, frames(TALKS), frames(LONELY))?;
        Ok(Self { honest, subject })
    }

    /// The latencies of honest users, and the server's memory at the end.
    fn meet(&self, settings: &Settings) -> Fallible<(AllMet, u64)> {
        self.honest.after(WARM_UP)?;
        self.honest.begin();
        // Long enough for some log-ins.
        let met = self.honest.after(settings.time.max(Duration::from_secs(3)))?;
        Ok((met, self.subject.process.resident_bytes()?))
    }
}

/// Starts the attacker on the core of the load, with the lowest priority there.
fn begin_attack(
    starter: &Starter,
    subject: &Subject,
    attack: Attack,
    what: &str,
    count: usize,
    from: Option<&Namespace>,
) -> Fallible<Process> {
    debug_assert_eq!(Attack::named(what)?, attack);
    let mut addr = subject.addr;
    let mut words = vec!["nice".into(), "-n".into(), "19".into()];
    if let Some(namespace) = from {
        addr.set_ip(OUR_END.into());
        words.extend(namespace.prefix());
    }
    words.push(std::env::current_exe()?.into_os_string());
    let mut command = starter.machine.load(&words[0]);
    command.args(&words[1..]).args([ATTACKER_ARGUMENT, &addr.to_string(), what, &count.to_string()]);
    let mut process = Process::new(command.stdout(Stdio::piped()).spawn()?);
    let stdout = process.child().stdout.take().ok_or("its stdout is not there")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim() != READY {
        return Err(format!("the attacker ({what}, {count}) did not begin").into());
    }
    Ok(process)
}

fn add(
    table: &mut ReportTable,
    report: &mut Report,
    kept: &Kept,
    what: &str,
    count: usize,
    place: &str,
    (met, resident): &(AllMet, u64),
) {
    let title = if count == 0 {
        format!("{}: {what}", kept.name())
    } else {
        format!("{}: {what}, {} from {place}", kept.name(), thousands(count as f64))
    };
    let figures: Vec<f64> =
        met.iter().flat_map(|met| [ms(met, 0.5), ms(met, 0.99), met.latencies.max_us() / 1e3]).collect();
    let cells: Vec<String> = figures.iter().map(|ms| significant(*ms)).collect();
    let counts = met.each_ref().map(|met| met.refused);
    let refused = counts.map(|count| count.to_string()).join("/");
    let resident_mb = significant(*resident as f64 / 1e6);
    table.row(&[
        &title,
        &cells[0],
        &cells[1],
        &cells[2],
        &cells[3],
        &cells[4],
        &cells[5],
        &cells[6],
        &cells[8],
        &cells[9],
        &cells[11],
        &refused,
        &resident_mb,
    ]);
    for why in met.iter().filter_map(|met| met.why.as_ref()) {
        report.note(format!("{title}: {why}"));
    }
    report.value(
        "hostile",
        json!({"store": kept.name(), "attack": what, "connections": count, "from": place, "ms": figures,
            "refused": counts, "resident_bytes": resident}),
    );
}
