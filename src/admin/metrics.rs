//! The metrics of the server. Their writer is hand-made (`metrics_text.rs`): the counters belong to
//! the loop, so no client library can keep them, and the format needs only a few lines.

use super::metrics_text::{MetricsText, seconds};
use super::process::{ProcessStartTime, descriptors, resident_bytes};
use super::{bus_metrics, cluster_metrics};
use crate::chat::contract::{CredentialKind, LoginRefusalCause};
use crate::net::admin::ServerSnapshot;
use crate::net::census::TransportKind;
use crate::net::counters::CloseCause;
use crate::protocol::http::ServerHealth;
use std::fmt::Debug;

/// The version of the program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A cause's name in snake case: `WrongPassword` becomes `wrong_password`.
fn words(cause: impl Debug) -> String {
    let mut words = String::new();
    for char in format!("{cause:?}").chars() {
        if char.is_ascii_uppercase() && words.ends_with(|last: char| last != '_') {
            words.push('_');
        }
        match char {
            '(' => words.push('_'),
            ')' => {}
            char => words.push(char.to_ascii_lowercase()),
        }
    }
    words
}

/// The whole text; without a snapshot for a server that does not serve yet.
pub(super) fn text(snapshot: Option<&ServerSnapshot>, process: &ProcessStartTime) -> String {
    let mut text = MetricsText::default();
    text.family("build", "info", "The version of the server.");
    text.line(format_args!("hongyan_build_info{{version=\"{VERSION}\"}} 1"));
    text.gauge("start_time_seconds", "When the server was started, since the epoch.", process.started_at());
    let is_ready = snapshot.is_some_and(|snapshot| snapshot.health == ServerHealth::Ok);
    text.gauge("ready", "1: the server serves and its store works.", u8::from(is_ready));
    if let Some(bytes) = resident_bytes() {
        text.gauge("resident_memory_bytes", "Resident memory of the process.", bytes);
    }
    let (open, max) = descriptors();
    if let Some(open) = open {
        text.gauge("open_descriptors", "Open file descriptors of the process.", open);
    }
    if let Some(max) = max {
        text.gauge("open_descriptors_limit", "The limit on open file descriptors (ulimit -n).", max);
    }
    let help = "Lines of the log that did not fit or could not be written.";
    text.counter("log_lines_lost", help, crate::logging::lines_lost());
    if let Some(snapshot) = snapshot {
        connections(&mut text, snapshot);
        log_ins(&mut text, snapshot);
        messages(&mut text, snapshot);
        store(&mut text, snapshot);
        if let Some((figures, gauges, totals)) = &snapshot.cluster {
            cluster_metrics::write(&mut text, figures, gauges, totals);
        }
        if let Some(figures) = &snapshot.bus {
            bus_metrics::write(&mut text, figures);
        }
        text.gauge("held_bytes", "Memory that clients make the server hold.", snapshot.memory_bytes);
        text.gauge("held_max_bytes", "How much of it there may be (--memory-max).", snapshot.memory_bytes_max);
        text.histogram("turn_seconds", "Time that a turn of the loop worked, without waiting.", &snapshot.turns);
    }
    text.0.push_str("# EOF\n");
    text.0
}

fn connections(text: &mut MetricsText, snapshot: &ServerSnapshot) {
    let counters = &snapshot.counters;
    text.family("connections", "gauge", "Open connections.");
    for (kind, count) in snapshot.census.kinds() {
        let transport = match kind.transport {
            TransportKind::Unknown => "unknown",
            TransportKind::Raw => "raw",
            TransportKind::Http => "http",
            TransportKind::WebSocket => "websocket",
        };
        let tls = if kind.is_tls { "yes" } else { "no" };
        let state = if kind.is_logged_in { "logged_in" } else { "not_logged_in" };
        text.line(format_args!(
            "hongyan_connections{{transport=\"{transport}\",tls=\"{tls}\",state=\"{state}\"}} {count}"
        ));
    }
    text.gauge("connections_limit", "Connections that there may be.", snapshot.conns_max);
    text.counter("connections_accepted", "Connections that were accepted.", counters.accepted);
    let refused = [
        ("limit", counters.refused_at_limit),
        ("address", counters.refused_at_address_limit),
        ("memory", counters.refused_at_memory_limit),
    ];
    let refused = refused.map(|(cause, count)| (cause.to_owned(), count));
    text.counters("connections_refused", "cause", "Connections that were closed at once.", refused);
    text.counter("accept_pauses", "Pauses of accepting without a free file descriptor.", counters.accept_pauses);
    let closes = CloseCause::ALL.map(|cause| (cause.as_str().replace(' ', "_").to_lowercase(), counters.closed(cause)));
    text.counters("closes", "cause", "Connections that were closed.", closes);
    text.counter("inputs", "Envelopes from clients, bad ones included.", counters.inputs);
    text.counter("frames", "Frames to clients.", counters.frames);
    text.counter("received_bytes", "Bytes from clients, inside of TLS.", counters.bytes_in);
    text.counter("sent_bytes", "Bytes to clients, inside of TLS.", snapshot.bytes_out);
}

fn log_ins(text: &mut MetricsText, snapshot: &ServerSnapshot) {
    let noted = &snapshot.counters.log_events;
    // Metrics for alerts exist from the start, with the value 0, so that the first event counts as
    // a change.
    let kinds = [CredentialKind::Password, CredentialKind::Token];
    let log_ins = kinds.map(|kind| (words(kind), noted.log_ins.get(&kind).copied().unwrap_or(0)));
    text.counters("logins", "by", "Log-ins.", log_ins);
    let mut refusals = noted.log_in_refusals.clone();
    for cause in [LoginRefusalCause::WrongPassword, LoginRefusalCause::BadToken] {
        refusals.entry(cause).or_default();
    }
    let refusals = refusals.into_iter().map(|(cause, count)| (words(cause), count));
    text.counters("login_refusals", "cause", "Refused log-ins.", refusals);
    text.counter("signups", "Accounts that were made.", noted.sign_ups);
    let refusals = noted.sign_up_refusals.iter().map(|(cause, count)| (words(cause), *count));
    text.counters("signup_refusals", "cause", "Refused sign-ups.", refusals);
    text.counter("passwords_changed", "Passwords that users changed.", noted.passwords_changed);
    text.counter("accounts_deleted", "Accounts that their users deleted.", noted.accounts_deleted);
    let refusals = noted.proof_refusals.iter().map(|(cause, count)| (words(cause), *count));
    let help = "Changes of a password, and deletions of an account, that were refused to their users.";
    text.counters("proof_refusals", "cause", help, refusals);
    text.counter("users_blocked", "How often a user has blocked another one.", noted.blocked);
    text.counter("presence_frames", "Frames that told whether a friend is online.", snapshot.totals.presence);
    text.counter("replaced", "Connections that a newer log-in of their user ended.", noted.replaced);
    let limits = noted.limits.iter().map(|(limit, count)| (words(limit), *count));
    text.counters("limits_reached", "limit", "Requests refused, or connections closed, at a limit.", limits);
}

fn messages(text: &mut MetricsText, snapshot: &ServerSnapshot) {
    let (totals, noted) = (&snapshot.totals, &snapshot.counters.log_events);
    text.counter("messages_taken", "New messages that were taken.", totals.taken);
    text.counter("messages_duplicate", "Messages that their senders sent again.", totals.duplicates);
    text.counter("messages_promised", "Answers MS: messages that will not be lost.", totals.promised);
    text.counter("messages_not_friends", "Messages refused because the two are no friends.", noted.not_friends);
    text.counter("pushes_sent", "Pushes sent for the first time on a connection.", totals.sent);
    text.counter("pushes_resent", "Pushes sent again because no ack came.", totals.resent);
    text.counter("pushes_acked", "Pushes that were delivered: their receiver has acked them.", totals.acked);
    text.counter("pushes_refused_full", "Pushes refused because the mailbox is full.", noted.mailbox_full);
    text.counter("pages_read", "Pages of waiting pushes read from the store, after the first.", noted.pages);
    text.gauge("outstanding", "Pushes that were sent and are not acked.", snapshot.gauges.outstanding);
    let oldest = snapshot.gauges.oldest_unacked_ms.map_or(0, |said_ms| snapshot.wall_ms.saturating_sub(said_ms));
    let help = "Age of the oldest push that was sent again of late, since it was said; 0: none was.";
    text.gauge("oldest_unacked_seconds", help, seconds(oldest * 1_000));
}

fn store(text: &mut MetricsText, snapshot: &ServerSnapshot) {
    let (store, noted) = (&snapshot.store, &snapshot.counters.log_events);
    text.gauge("store_works", "1: the store did what was asked of it last.", u8::from(store.is_working()));
    if let Some(since) = store.since_commit() {
        text.gauge("since_commit_seconds", "Time since the last commit; probes are commits.", since.as_secs_f64());
    }
    text.gauge("jobs_in_flight", "Jobs for the store, and passwords to be hashed.", snapshot.jobs_in_flight);
    let failed = noted.jobs_failed.iter().map(|(job, count)| (words(job), *count));
    text.counters("jobs_failed", "job", "Jobs that failed, by their kind.", failed);
    let help = "Time that a batch of jobs with writes took, with its commit.";
    text.histogram("commit_seconds", help, &store.commits());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::contract::ClientLimitKind;

    #[test]
    fn causes_are_words() {
        assert_eq!(words(LoginRefusalCause::WrongPassword), "wrong_password");
        assert_eq!(words(LoginRefusalCause::Limit(ClientLimitKind::PasswordsPerUser)), "limit_passwords_per_user");
        assert_eq!(words(CredentialKind::Token), "token");
    }

    #[test]
    fn bounds_are_decimal() {
        assert_eq!((seconds(16), seconds(16 << 20)), ("1.6e-5".to_owned(), "16.777216".to_owned()));
    }

    #[test]
    fn a_server_that_waits_has_numbers_of_its_process() {
        let text = text(None, &ProcessStartTime::new());
        assert!(
            text.contains("\nhongyan_ready 0\n")
                && text.contains("\nhongyan_log_lines_lost_total ")
                && text.ends_with("# EOF\n"),
            "{text}"
        );
        assert!(!text.contains("connections"));
    }
}
