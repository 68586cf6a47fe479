//! The table of all options. Parsing, bounds, the help text, docs/options.md and the table in the
//! README are derived from it.

use super::{Config, LogFormat, Networks, Origins};
pub use kind::{ConfigOption, NumberOption, OptionEffectTime, OptionKind};
use shared::SHARED;

mod admin;
mod kind;

/// A number for an option: its bounds, and the field of the configuration.
macro_rules! number {
    ($min:expr, $max:expr, $($field:ident).+ : $type:ty) => {
        NumberOption {
            min: $min,
            max: $max,
            get: |config| config.$($field).+ as u64,
            // The bound was checked, and each bound fits its type (a test goes through the table).
            set: |config, value| config.$($field).+ = value as $type,
        }
    };
}

mod bus;
mod node;
mod push_hook;

/// An option whose change needs a restart.
const fn opt(group: &'static str, name: &'static str, kind: OptionKind, help: &'static str) -> ConfigOption {
    ConfigOption { name, group, help, kind, reload: OptionEffectTime::AtStart }
}

/// An option that SIGHUP applies as well; a test in `src/server/reload.rs` verifies that.
const fn live(group: &'static str, name: &'static str, kind: OptionKind, help: &'static str) -> ConfigOption {
    ConfigOption { name, group, help, kind, reload: OptionEffectTime::Live }
}

mod shared;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

const SERVER: &str = "Server";
const TIMES: &str = "Times";
const CLIENT: &str = "Limits of one client";
const USER: &str = "Limits of one user's ACK list";
const DEDUP: &str = "Limits of one sender's dedup window";

/// The option that names the configuration file.
pub(super) const CONFIG: &str = "config";

/// The options of the server and the limits of one client.
const FIRST: &[ConfigOption] = &[
    opt(
        SERVER,
        CONFIG,
        OptionKind::Config,
        "A TOML file with options, as in idle-timeout = \"120s\"; flags and the environment override it.",
    ),
    opt(SERVER, "listen", OptionKind::Listen, "Address and port to listen on; port 0 takes a free one."),
    opt(
        SERVER,
        "store",
        OptionKind::Store,
        "Where all data is kept: sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/DATABASE or memory:.",
    ),
    live(
        SERVER,
        "tls-cert",
        OptionKind::File { get: |c| &c.tls_cert, set: |c, path| c.tls_cert = path },
        "The PEM file with the server's certificate for TLS, followed by the intermediate certificates.",
    ),
    live(
        SERVER,
        "tls-key",
        OptionKind::File { get: |c| &c.tls_key, set: |c, path| c.tls_key = path },
        "The PEM file with the private key for --tls-cert, without a passphrase.",
    ),
    live(
        SERVER,
        "tls-only",
        OptionKind::Switch { get: |c| c.tls_only, set: |c, on| c.tls_only = on },
        "Refuse connections without TLS, except from loopback and from --trusted-proxies.",
    ),
    live(
        SERVER,
        "trusted-proxies",
        OptionKind::List {
            value_name: "NETWORKS",
            allowed: "none, or IP addresses and networks with commas between them, as in 127.0.0.1,10.0.0.0/8",
            format_value: |config| config.trusted_proxies.to_string(),
            set: |config, text| Networks::parse(text).map(|networks| config.trusted_proxies = networks),
        },
        "The proxies and load balancers that the server trusts to state the addresses of their clients.",
    ),
    live(
        SERVER,
        "allowed-origins",
        OptionKind::List {
            value_name: "ORIGINS",
            allowed: "any, or origins with commas between them, as in https://chat.example,http://localhost:8000",
            format_value: |config| config.allowed_origins.to_string(),
            set: |config, text| Origins::parse(text).map(|origins| config.allowed_origins = origins),
        },
        "The web sites whose pages may open a WebSocket; clients without an Origin header are not affected.",
    ),
    live(
        SERVER,
        "web-page",
        OptionKind::Switch { get: |c| c.web_page, set: |c, on| c.web_page = on },
        "Serve a web page for chatting at / of the same port; if off, / returns a short text.",
    ),
    live(
        SERVER,
        "sign-ups",
        OptionKind::Switch { get: |c| c.rules.sign_ups, set: |c, on| c.rules.sign_ups = on },
        "Let clients sign up; --sign-ups=off refuses every sign-up.",
    ),
    live(SERVER, "log", OptionKind::Log, "How much is logged to stderr: error, warn, info, debug, trace or off."),
    live(
        SERVER,
        "log-format",
        OptionKind::Choice {
            value_name: "FORMAT",
            words: &LogFormat::WORDS,
            get: |c| c.log_format.as_str(),
            set: |c, word| c.log_format = LogFormat::from_word(word),
        },
        "The form of the log lines: plain text, or one JSON object per line.",
    ),
    live(
        SERVER,
        "log-lines-per-second-max",
        OptionKind::Count(number!(1, 1_000_000, log_lines_per_second_max: u32)),
        "Log lines a second of each kind of line about clients. Ten times as many may come at once; further lines \
         are only counted.",
    ),
    live(
        SERVER,
        "wal-warn-bytes",
        OptionKind::Size(number!(MIB, 1024 * GIB, wal_warn_bytes: u64)),
        "A warning is logged when the write-ahead log of a SQLite store is larger than this.",
    ),
    opt(
        SERVER,
        "data-threads",
        OptionKind::Count(number!(1, 64, data_threads: usize)),
        "Connections to a MySQL store, each with a thread of its own; SQLite and memory have one.",
    ),
    opt(
        SERVER,
        "store-wait",
        OptionKind::Duration(number!(0, DAY, store_wait_ms: u64)),
        "How long the start waits for a MySQL store that cannot be reached; 0s: not at all.",
    ),
    opt(
        SERVER,
        "standby",
        OptionKind::Switch { get: |c| c.is_standby, set: |c, on| c.is_standby = on },
        "Wait until the server that uses the MySQL store is gone, and then take over.",
    ),
    opt(
        SERVER,
        "silent-server-max",
        OptionKind::Duration(number!(2_000, HOUR, silent_server_max_ms: u64)),
        "If a server gives no sign of life in the database for this long, a standby replaces it; if it is a node of \
         a cluster, the other nodes fence it.",
    ),
    live(
        SERVER,
        "stop-wait",
        OptionKind::Duration(NumberOption { min: 10, max: HOUR, get: |c| c.stop_wait_ms, set: set_stop_wait }),
        "How long a stop waits for the store, and for clients to read their output.",
    ),
    live(
        SERVER,
        "drain",
        OptionKind::Duration(number!(1, HOUR, rules.drain_ms: u64)),
        "The longest time that hongyan admin drain takes to close all connections, a slice each 100 ms, before it stops the server.",
    ),
    admin::PLACE,
    admin::TOKEN_FILE,
    admin::CONNECTIONS_MAX,
    admin::TIMEOUT,
    live(
        TIMES,
        "idle-timeout",
        OptionKind::Duration(number!(1, DAY, rules.idle_timeout_ms: u64)),
        "A connection that is idle for longer than this is closed.",
    ),
    live(
        TIMES,
        "idle-check",
        OptionKind::Duration(number!(1, HOUR, rules.idle_check_ms: u64)),
        "How often connections are checked for being idle.",
    ),
    live(
        TIMES,
        "resend-every",
        OptionKind::Duration(number!(1, DAY, rules.resend_every_ms: u64)),
        "A push that is not acked is sent again this long after it was last sent.",
    ),
    live(
        TIMES,
        "save-after",
        OptionKind::Duration(number!(0, 60_000, rules.save_after_ms: u64)),
        "A push to a user who is online is stored if it is not acked within this time.",
    ),
    live(
        TIMES,
        "answer-within",
        OptionKind::Duration(number!(10, HOUR, rules.answer_within_ms: u64)),
        "Every request is answered within this time. If the store does not work, the answer is SF, LF or MF with \
         UNAVAILABLE, or UNAVAILABLE alone.",
    ),
    live(
        CLIENT,
        "max-frame",
        OptionKind::Size(number!(KIB, 16 * MIB, frame_bytes_max: usize)),
        "The size of the largest envelope that a client may send.",
    ),
    live(
        CLIENT,
        "output-bytes-max",
        OptionKind::Size(number!(64 * KIB, GIB, output_bytes_max: usize)),
        "The connection of a client with more unread output than this is closed.",
    ),
    live(
        CLIENT,
        "output-before-log-in-max",
        OptionKind::Size(number!(KIB, GIB, stranger_output_bytes_max: usize)),
        "The connection of a client that is not logged in is closed if it has more unread output than this.",
    ),
    live(
        CLIENT,
        "output-timeout",
        OptionKind::Duration(number!(1, DAY, output_timeout_ms: u64)),
        "A connection is closed if output waits for its client, and the client reads none of it for this long.",
    ),
    live(
        CLIENT,
        "handshake-timeout",
        OptionKind::Duration(number!(1, DAY, handshake_timeout_ms: u64)),
        "How long the TLS handshake and the head of an HTTP request may take together.",
    ),
    live(
        CLIENT,
        "wrong-passwords-per-connection-max",
        OptionKind::Count(number!(1, 65_535, rules.wrong_passwords_per_connection_max: u32)),
        "Wrong passwords on one connection before further passwords are refused; for invalid tokens there is a \
         separate count with the same limit.",
    ),
    live(
        CLIENT,
        "refused-tries-max",
        OptionKind::Count(number!(1, 65_535, rules.refused_tries_max: u32)),
        "A connection is closed after this many log-ins and sign-ups that were refused with RATE_LIMITED.",
    ),
    live(
        CLIENT,
        "bad-inputs-max",
        OptionKind::Count(number!(1, 65_535, rules.bad_inputs_max: u32)),
        "A connection is closed after this many envelopes in a row that were not JSON objects.",
    ),
    live(
        CLIENT,
        "requests-per-second-max",
        OptionKind::Count(number!(1, 10_000_000, rules.requests_per_second_max: u32)),
        "Requests a second that one client may make. Everything that it sends counts, heartbeats and broken JSON, too.",
    ),
    live(
        CLIENT,
        "refused-requests-max",
        OptionKind::Count(number!(0, 65_534, rules.refused_requests_max: u32)),
        "Requests beyond --requests-per-second-max that are refused before the connection is closed. Each accepted \
         request lowers the count of refused ones by one.",
    ),
    live(
        CLIENT,
        "requests-before-login-max",
        OptionKind::Count(number!(1, 1_000_000, rules.requests_before_login_max: u32)),
        "The allowance of a client that is not logged in: how many requests it may send at once. When it sends more, \
         the connection is closed.",
    ),
    live(
        CLIENT,
        "requests-before-login-per-second-max",
        OptionKind::Count(number!(1, 1_000_000, rules.requests_before_login_per_second_max: u32)),
        "How fast the allowance of a client that is not logged in refills, in requests a second.",
    ),
    live(
        USER,
        "outstanding-max",
        OptionKind::Count(number!(1, 65_536, rules.outstanding_max: u32)),
        "Pushes to one user that may be outstanding (sent and not acked); further ones wait for acks.",
    ),
    live(
        USER,
        "outstanding-bytes-max",
        OptionKind::Size(number!(KIB, 64 * 1024 * KIB, rules.outstanding_bytes_max: usize)),
        "Bytes of the pushes to one user that may be outstanding, counted as they are written, escapes included. A \
         single push that is larger is sent nevertheless.",
    ),
    live(
        USER,
        "page-max",
        OptionKind::Count(number!(1, 10_000, rules.page_max: u32)),
        "Pushes of one user that are read from the store at a time.",
    ),
    live(
        USER,
        "page-bytes-max",
        OptionKind::Size(number!(KIB, 64 * MIB, rules.page_bytes_max: usize)),
        "Bytes of the pushes of one user that are read from the store at a time; the push that exceeds this limit is \
         the last one of the page.",
    ),
    live(
        USER,
        "list-max",
        OptionKind::Count(number!(1, 1_000_000, rules.list_max: u32)),
        "Pushes on one user's ACK list that are kept in memory; further ones wait in the store.",
    ),
    live(
        USER,
        "list-bytes-max",
        OptionKind::Size(number!(64 * KIB, GIB, rules.list_bytes_max: usize)),
        "Bytes of the pushes on one user's ACK list that are kept in memory; further ones wait in the store.",
    ),
    live(
        DEDUP,
        "dedup-messages-max",
        OptionKind::Count(number!(1, 32_768, rules.dedup_messages_max: u32)),
        "Acked messages of one sender that are remembered, so that a repeated one is not delivered twice.",
    ),
    live(
        DEDUP,
        "dedup-age",
        OptionKind::Duration(number!(0, DAY, rules.dedup_age_ms: u64)),
        "How long an acked message is remembered, so that a repeated one is not delivered twice.",
    ),
];

/// All options, in the order of the help.
pub static OPTIONS: &[ConfigOption] = &ALL;
static ALL: [ConfigOption; FIRST.len() + SHARED.len()] = {
    let mut all = [FIRST[0]; FIRST.len() + SHARED.len()];
    let mut at = 1;
    while at < all.len() {
        all[at] = if at < FIRST.len() { FIRST[at] } else { SHARED[at - FIRST.len()] };
        at += 1;
    }
    all
};

/// Sets the stop's time limits. The core stops waiting for the store a little before the whole stop
/// ends, so that clients can still be told.
fn set_stop_wait(config: &mut Config, ms: u64) {
    config.stop_wait_ms = ms;
    config.rules.stop_wait_ms = ms - ms / 5;
}

/// The option of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ConfigOption> {
    OPTIONS.iter().find(|opt| opt.name == name)
}

#[cfg(test)]
mod tests;
