//! The cost of TLS: for a message, for an idle connection, and for those who talk while many others
//! shake hands.

use super::Fallible;
use super::clients::log_in_all;
use super::frames::Dialect;
use super::idle_rows::{Silent, connections, silent_table};
use super::log_in_rows::{NEIGHBOURS, ring};
use super::message_rows;
use super::messages::{self, RAW, SHAPES, TLS};
use super::prepare::user;
use super::process::file_descriptors;
use super::report::Report;
use super::secure::Secure;
use super::settings::Settings;
use super::storm::{Credential, Guest};
use super::storm_rows;
use super::subjects::{Starter, sqlite_url};

/// The cost that a message over TLS may have, in percent of one without.
const MESSAGE_PERCENT_MAX: f64 = 160.0;
const CONNECTION_BYTES_MAX: f64 = 3_072.0;
const P99_MS_MAX: f64 = 20.0;

pub fn tls(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    type Part = fn(&Starter, &Settings, &mut Report) -> Fallible<()>;
    let parts: [(&str, Part); 3] = [("messages", messages), ("idle", idle), ("storm", storm)];
    parts
        .iter()
        .filter(|(name, _)| settings.wants_part("tls", name))
        .try_for_each(|(_, part)| part(starter, settings, report))
}

/// The first shape, without TLS and with it, in turn.
fn messages(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let shape = SHAPES[0];
    let file = message_rows::store(starter, settings, shape.pairs)?;
    let contenders = messages::plain_and_secure(starter)?;
    let all = messages::measure_shape(starter, &file, shape, settings, contenders)?;
    let mut table = message_rows::table("Messages without TLS and with it (latency in µs)");
    for (contender, windows) in &all {
        message_rows::add(&mut table, report, shape, contender.name, &messages::middle(windows));
    }
    report.table(table);
    if let Some(times) = messages::cpu_ratio(&all, TLS, RAW) {
        report.at_most(&format!("{}: TLS, of raw", shape.name), times * 100.0, MESSAGE_PERCENT_MAX, " %");
    }
    Ok(())
}

/// Connections that are logged in and silent.
fn idle(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let count = connections(settings)?;
    let file = ring(starter, settings, count, NEIGHBOURS, 0)?;
    settings.say("idle: TLS");
    let subject = starter.secure_server(&starter.copy(&file)?)?;
    let secure = Secure::new()?;
    let before = subject.process.anonymous_bytes()?;
    let mut suite = String::new();
    let open = || {
        let users = (0..count).map(|number| (secure.connect(subject.addr), user(number)));
        let streams = log_in_all(users, Dialect::Raw, 0)?;
        suite = streams.first().map_or_else(String::new, |stream| stream.suite());
        Ok(streams)
    };
    let silent = Silent::measure(&subject, settings, before, open)?;
    let mut table = silent_table(count);
    silent.tell("TLS", count, &mut table, report);
    report.table(table);
    report.at_most("idle, TLS: memory of a connection", silent.bytes, CONNECTION_BYTES_MAX, " bytes");
    report.at_most("idle, TLS: CPU at rest", silent.ticks as f64, 0.0, " ticks");
    report.note(format!("TLS: {suite}, with a certificate of ECDSA P-256"));
    Ok(())
}

/// Users who come back at once, over TLS: each makes a whole handshake and logs in with a password
/// that is known already.
fn storm(starter: &Starter, settings: &Settings, report: &mut Report) -> Fallible<()> {
    let users = (if settings.quick { 200 } else { 2_000 }).min(file_descriptors()?.saturating_sub(500));
    settings.say("storm: TLS");
    let file = starter.folder.join("storm-tls.db");
    storm_rows::fill(&file, users, 0)?;
    let subject = starter.secure_server(&sqlite_url(&file))?;
    let mut storm = storm_rows::talk(&subject, 1)?;
    let mut guests: Vec<Guest> = (0..users).map(|number| Guest::new(user(number), Credential::Password)).collect();
    storm.rage(&mut guests, false)?;
    let mut all = vec![];
    let rows = [(None, "without TLS"), (Some(Secure::new()?), "with TLS, a whole handshake each")];
    for (secure, how) in rows {
        guests.iter_mut().for_each(|guest| guest.leave(Credential::Password));
        storm.secure = secure;
        let title = format!("{users} by password, {how}");
        all.push(storm_rows::measure(&subject, &mut storm, settings, &mut guests, false, title)?);
    }
    storm_rows::tell(report, "A storm of handshakes", &all);
    if let Some(one) = all.last() {
        let [p99, max] = [one.storm.quantile_us(0.99), one.storm.max_us()].map(|us| us / 1e3);
        report.at_most("storm of TLS handshakes: p99 of those who talk", p99, P99_MS_MAX, " ms");
        report.note(format!("storm of TLS handshakes: the slowest message of those who talk took {max:.1} ms"));
    }
    Ok(())
}
