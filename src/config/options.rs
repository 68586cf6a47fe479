//! The one table of all options. Parsing, bounds, the help text and the table in the README all
//! follow it.

use super::{ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, Config, Networks, Origins};
pub use kind::{Kind, Number, Opt};

mod admin;
mod kind;

/// The number of an option: bounds, and the path of the field.
macro_rules! number {
    ($min:expr, $max:expr, $($field:ident).+ : $type:ty) => {
        Number {
            min: $min,
            max: $max,
            get: |config| config.$($field).+ as u64,
            // The bound was checked, and each bound fits its type (a test goes through the table).
            set: |config, value| config.$($field).+ = value as $type,
        }
    };
}

const fn opt(group: &'static str, name: &'static str, kind: Kind, help: &'static str) -> Opt {
    Opt { name, group, help, kind }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

const SERVER: &str = "Server";
const TIMES: &str = "Times";
const CLIENT: &str = "Limits of one client";
const USER: &str = "Limits of one user's ACK list";
const ACCOUNT: &str = "Limits of one account";
const ADDRESS: &str = "Limits of one address (loopback has none)";
const WHOLE: &str = "Limits of the whole server";
const LOGIN: &str = "Passwords";

/// The option that names a file of the others.
pub(super) const CONFIG: &str = "config";

/// All options, in the order of the help.
pub static OPTIONS: &[Opt] = &[
    opt(
        SERVER,
        CONFIG,
        Kind::Config,
        "A TOML file with options, as in idle-timeout = \"120s\"; flags and the environment override it.",
    ),
    opt(SERVER, "listen", Kind::Listen, "Address and port to listen on; port 0 takes a free one."),
    opt(
        SERVER,
        "store",
        Kind::Store,
        "Where everything is kept: sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/DATABASE or memory:.",
    ),
    opt(
        SERVER,
        "tls-cert",
        Kind::File { get: |c| &c.tls_cert, set: |c, path| c.tls_cert = path },
        "The certificate for TLS, with those between it and the root behind it, in PEM form.",
    ),
    opt(
        SERVER,
        "tls-key",
        Kind::File { get: |c| &c.tls_key, set: |c, path| c.tls_key = path },
        "The private key of the certificate of --tls-cert, in PEM form, without a passphrase.",
    ),
    opt(
        SERVER,
        "tls-only",
        Kind::Switch { get: |c| c.tls_only, set: |c, on| c.tls_only = on },
        "Refuse connections without TLS, except from loopback and from --trusted-proxies.",
    ),
    opt(
        SERVER,
        "trusted-proxies",
        Kind::List {
            value_name: "NETWORKS",
            allowed: "none, or IP addresses and networks with commas between them, as in 127.0.0.1,10.0.0.0/8",
            show: |config| config.trusted_proxies.to_string(),
            set: |config, text| Networks::parse(text).map(|networks| config.trusted_proxies = networks),
        },
        "The proxies and load balancers that are believed when they say from which address a client came.",
    ),
    opt(
        SERVER,
        "allowed-origins",
        Kind::List {
            value_name: "ORIGINS",
            allowed: "any, or origins with commas between them, as in https://chat.example,http://localhost:8000",
            show: |config| config.allowed_origins.to_string(),
            set: |config, text| Origins::parse(text).map(|origins| config.allowed_origins = origins),
        },
        "The web sites whose pages may open a WebSocket; clients that send no Origin header are not concerned.",
    ),
    admin::PLACE,
    admin::TOKEN_FILE,
    opt(SERVER, "log", Kind::Log, "How much is logged to stderr: error, warn, info, debug, trace or off."),
    opt(
        SERVER,
        "data-threads",
        Kind::Count(number!(1, 64, data_threads: usize)),
        "Connections to a MySQL store, a thread each; SQLite and memory have one.",
    ),
    opt(
        SERVER,
        "store-wait",
        Kind::Duration(number!(0, DAY, store_wait_ms: u64)),
        "How long a start waits for a MySQL store that cannot be reached; 0s: not at all.",
    ),
    opt(
        SERVER,
        "standby",
        Kind::Switch { get: |c| c.is_standby, set: |c, on| c.is_standby = on },
        "Wait until the server that uses the MySQL store is gone, and take its place then.",
    ),
    opt(
        SERVER,
        "silent-server-max",
        Kind::Duration(number!(2_000, HOUR, silent_server_max_ms: u64)),
        "A standby takes the place of a server that has shown no sign of life in the database for this long.",
    ),
    opt(
        SERVER,
        "stop-wait",
        Kind::Duration(Number { min: 10, max: HOUR, get: |c| c.stop_wait_ms, set: set_stop_wait }),
        "How long a stop waits for the store and for clients to take what was written.",
    ),
    opt(
        TIMES,
        "idle-timeout",
        Kind::Duration(number!(1, DAY, rules.idle_timeout_ms: u64)),
        "A connection that was silent for longer than this is closed.",
    ),
    opt(
        TIMES,
        "idle-check",
        Kind::Duration(number!(1, HOUR, rules.idle_check_ms: u64)),
        "How often connections are looked at for having been silent for too long.",
    ),
    opt(
        TIMES,
        "resend-every",
        Kind::Duration(number!(1, DAY, rules.resend_every_ms: u64)),
        "A push that was not acked is sent again this long after it was last sent.",
    ),
    opt(
        TIMES,
        "save-after",
        Kind::Duration(number!(0, 60_000, rules.save_after_ms: u64)),
        "A push to somebody online is stored when it was not acked for this long.",
    ),
    opt(
        TIMES,
        "answer-within",
        Kind::Duration(number!(10, HOUR, rules.answer_within_ms: u64)),
        "A request is answered within this, with UNAVAILABLE if the store is not there.",
    ),
    admin::TIMEOUT,
    opt(CLIENT, "max-frame", Kind::Size(number!(KIB, 16 * MIB, frame_bytes_max: usize)), "The largest envelope."),
    opt(
        CLIENT,
        "output-bytes-max",
        Kind::Size(number!(64 * KIB, GIB, output_bytes_max: usize)),
        "A client with more unread output than this is closed.",
    ),
    opt(
        CLIENT,
        "output-before-log-in-max",
        Kind::Size(number!(KIB, GIB, stranger_output_bytes_max: usize)),
        "A client that has not logged in is closed with more unread output than this.",
    ),
    opt(
        CLIENT,
        "output-timeout",
        Kind::Duration(number!(1, DAY, output_timeout_ms: u64)),
        "A client that takes nothing of what waits for it is closed after this.",
    ),
    opt(
        CLIENT,
        "handshake-timeout",
        Kind::Duration(number!(1, DAY, handshake_timeout_ms: u64)),
        "How long the handshake of TLS may take, and the head of an HTTP request to come.",
    ),
    opt(
        CLIENT,
        "wrong-passwords-per-connection-max",
        Kind::Count(number!(1, 65_535, rules.wrong_passwords_per_connection_max: u32)),
        "Wrong passwords, or tokens that are not valid, before more log-ins with one on the same connection are refused.",
    ),
    opt(
        CLIENT,
        "refused-tries-max",
        Kind::Count(number!(1, 65_535, rules.refused_tries_max: u32)),
        "A client is closed after so many log-ins or sign-ups that were refused since too many were tried before.",
    ),
    opt(
        CLIENT,
        "bad-inputs-max",
        Kind::Count(number!(1, 65_535, rules.bad_inputs_max: u32)),
        "A client is closed after so many inputs in a row that were no JSON objects.",
    ),
    opt(
        CLIENT,
        "requests-per-second-max",
        Kind::Count(number!(1, 10_000_000, rules.requests_per_second_max: u32)),
        "Requests a second that one client may make; anything that it sends is one.",
    ),
    opt(
        CLIENT,
        "refused-requests-max",
        Kind::Count(number!(0, 65_534, rules.refused_requests_max: u32)),
        "Requests beyond --requests-per-second-max that are refused before the client is closed; one within it makes up for one of them.",
    ),
    opt(
        CLIENT,
        "requests-before-login-max",
        Kind::Count(number!(1, 1_000_000, rules.requests_before_login_max: u32)),
        "Requests at once of a client that is not logged in; a client that goes beyond is closed.",
    ),
    opt(
        CLIENT,
        "requests-before-login-per-second-max",
        Kind::Count(number!(1, 1_000_000, rules.requests_before_login_per_second_max: u32)),
        "Requests a second that a client which is not logged in regains, up to its allowance at once.",
    ),
    opt(
        CLIENT,
        "jobs-per-connection-max",
        Kind::Count(number!(1, 1_000_000, rules.jobs_per_connection_max: u32)),
        "Jobs for the store that one client's requests may have in flight; then its requests wait.",
    ),
    opt(
        CLIENT,
        "reads-per-connection-max",
        Kind::Count(number!(1, 1_000_000, rules.reads_per_connection_max: u32)),
        "Requests for profiles and tokens that one client may have in flight; then its requests wait.",
    ),
    opt(
        USER,
        "outstanding-max",
        Kind::Count(number!(1, 65_536, rules.outstanding_max: u32)),
        "Pushes sent to one user and not acked; the rest waits for the acks.",
    ),
    opt(
        USER,
        "outstanding-bytes-max",
        Kind::Size(number!(KIB, 64 * 1024 * KIB, rules.outstanding_bytes_max: usize)),
        "Bytes of the pushes sent to one user and not acked, as written, escapes included; a larger single push is sent all the same.",
    ),
    opt(
        USER,
        "page-max",
        Kind::Count(number!(1, 10_000, rules.page_max: u32)),
        "Pushes that are read from the store at a time.",
    ),
    opt(
        USER,
        "page-bytes-max",
        Kind::Size(number!(KIB, 64 * MIB, rules.page_bytes_max: usize)),
        "Bytes of the pushes that are read from the store at a time; the one that goes beyond is the last.",
    ),
    opt(
        USER,
        "list-max",
        Kind::Count(number!(1, 1_000_000, rules.list_max: u32)),
        "Pushes on one user's list that are kept in memory; the rest waits in the store.",
    ),
    opt(
        USER,
        "list-bytes-max",
        Kind::Size(number!(64 * KIB, GIB, rules.list_bytes_max: usize)),
        "Bytes of the pushes on one user's list that are kept in memory.",
    ),
    opt(
        USER,
        "dedup-messages-max",
        Kind::Count(number!(1, 32_768, rules.dedup_messages_max: u32)),
        "Acked messages of one sender that are remembered, so that a repeated one is not sent twice.",
    ),
    opt(
        USER,
        "dedup-age",
        Kind::Duration(number!(0, DAY, rules.dedup_age_ms: u64)),
        "How long an acked message is remembered, so that a repeated one is not sent twice.",
    ),
    opt(
        ADDRESS,
        "connections-per-address-max",
        Kind::Count(number!(1, 10_000_000, connections_per_address_max: usize)),
        "Connections of one address at once; more are closed as they come.",
    ),
    opt(
        ADDRESS,
        "requests-before-login-per-address-max",
        Kind::Count(number!(1, 1_000_000, rules.requests_before_login_per_address_max: u32)),
        "Requests at once of all clients of one address that are not logged in; a client that goes beyond is closed.",
    ),
    opt(
        ADDRESS,
        "requests-before-login-per-address-per-second-max",
        Kind::Count(number!(1, 1_000, rules.requests_before_login_per_address_per_second_max: u32)),
        "Requests a second that the clients of one address that are not logged in regain together.",
    ),
    opt(
        ADDRESS,
        "wrong-passwords-per-address-max",
        Kind::Count(number!(1, 1_000_000, rules.wrong_passwords_per_address_max: u32)),
        "Wrong passwords from one address before more log-ins with a password are refused.",
    ),
    opt(
        ADDRESS,
        "wrong-password-per-address-forgotten-after",
        Kind::Duration(number!(1, DAY, rules.wrong_password_per_address_forgotten_after_ms: u64)),
        "After this time one wrong password of an address is forgotten.",
    ),
    opt(
        ADDRESS,
        "auth-jobs-per-address-max",
        Kind::Count(number!(1, 1_000_000, rules.auth_jobs_per_address_max: u32)),
        "Log-ins and sign-ups of one address that wait for a password to be hashed; beyond it they are refused.",
    ),
    opt(
        ADDRESS,
        "sign-ups-per-address-max",
        Kind::Count(number!(1, 1_000_000, rules.sign_ups_per_address_max: u32)),
        "Sign-ups from one address before more are refused.",
    ),
    opt(
        ADDRESS,
        "sign-up-per-address-forgotten-after",
        Kind::Duration(number!(1, DAY, rules.sign_up_per_address_forgotten_after_ms: u64)),
        "After this time one sign-up from an address is forgotten.",
    ),
    opt(ACCOUNT, "friends-max", Kind::Count(number!(1, 1_000_000, rules.friends_max: u32)), "Friends of one user."),
    opt(
        ACCOUNT,
        "pending-requests-max",
        Kind::Count(number!(1, 1_000_000, rules.pending_requests_max: u32)),
        "Friend requests of one user, and to one user, that are pending.",
    ),
    opt(
        ACCOUNT,
        "tokens-max",
        Kind::Count(number!(1, 1_000, rules.tokens_max: u32)),
        "Resume tokens of one user; a new one takes the place of the oldest.",
    ),
    opt(
        ACCOUNT,
        "token-lifetime",
        Kind::Duration(number!(1, 3_650 * DAY, rules.token_lifetime_ms: u64)),
        "How long a resume token may be used.",
    ),
    opt(
        ACCOUNT,
        "wrong-passwords-per-user-max",
        Kind::Count(number!(1, 1_000_000, rules.wrong_passwords_per_user_max: u32)),
        "Wrong passwords of one user from all untrusted addresses together, or from loopback, before more are refused.",
    ),
    opt(
        ACCOUNT,
        "wrong-password-per-user-forgotten-after",
        Kind::Duration(number!(1, DAY, rules.wrong_password_per_user_forgotten_after_ms: u64)),
        "After this time one wrong password of a user is forgotten.",
    ),
    opt(
        ACCOUNT,
        "waiting-per-receiver-max",
        Kind::Count(number!(1, 1_000_000_000, waiting_per_receiver_max: u64)),
        "Messages and friend requests in the store that wait for one user; more are refused with FULL.",
    ),
    opt(
        ACCOUNT,
        "waiting-bytes-per-receiver-max",
        Kind::Size(number!(KIB, 1024 * GIB, waiting_bytes_per_receiver_max: u64)),
        "Bytes of the messages and friend requests in the store that wait for one user.",
    ),
    opt(
        ACCOUNT,
        "waiting-per-pair-max",
        Kind::Count(number!(1, 1_000_000_000, waiting_per_pair_max: u64)),
        "Messages and friend requests of one sender in the store that wait for one user; more are refused with FULL.",
    ),
    opt(
        ACCOUNT,
        "waiting-bytes-per-pair-max",
        Kind::Size(number!(KIB, 1024 * GIB, waiting_bytes_per_pair_max: u64)),
        "Bytes of the messages and friend requests of one sender in the store that wait for one user.",
    ),
    opt(
        ACCOUNT,
        "wrong-passwords-per-user-and-address-max",
        Kind::Count(number!(1, 1_000_000, rules.wrong_passwords_per_user_and_address_max: u32)),
        "Wrong passwords of one user from one untrusted address before more from there are refused.",
    ),
    opt(
        ACCOUNT,
        "wrong-password-per-user-and-address-forgotten-after",
        Kind::Duration(number!(1, DAY, rules.wrong_password_per_user_and_address_forgotten_after_ms: u64)),
        "After this time one wrong password of a user from an untrusted address is forgotten.",
    ),
    opt(
        ACCOUNT,
        "wrong-passwords-per-trusted-address-max",
        Kind::Count(number!(1, 1_000_000, rules.wrong_passwords_per_trusted_address_max: u32)),
        "Wrong passwords of one user from an address where that user logged in recently, before more are refused.",
    ),
    opt(
        ACCOUNT,
        "wrong-password-per-trusted-address-forgotten-after",
        Kind::Duration(number!(1, DAY, rules.wrong_password_per_trusted_address_forgotten_after_ms: u64)),
        "After this time one wrong password of a user from a trusted address is forgotten.",
    ),
    opt(
        ACCOUNT,
        "trusted-address-age",
        Kind::Duration(number!(0, 3_650 * DAY, rules.trusted_address_age_ms: u64)),
        "How long after a user's last log-in from it an address is trusted for that user.",
    ),
    opt(
        ACCOUNT,
        "log-ins-waiting-per-user-max",
        Kind::Count(number!(1, 100_000, rules.log_ins_waiting_per_user_max: u32)),
        "Further log-ins of one user that wait while one reads what waits for that user; beyond it they are refused.",
    ),
    opt(
        WHOLE,
        "memory-max",
        Kind::Size(number!(MIB, 1024 * GIB, memory_bytes_max: usize)),
        "Memory that clients can make the server hold; when it is reached, the connections that hold the most are closed.",
    ),
    opt(WHOLE, "connections-max", Kind::Count(number!(1, 10_000_000, connections_max: usize)), "Connections at once."),
    admin::CONNECTIONS_MAX,
    opt(
        WHOLE,
        "backlog-connections-max",
        Kind::Count(number!(1, 65_535, backlog_connections_max: u16)),
        "Connections that wait to be accepted; the system may allow fewer.",
    ),
    opt(
        WHOLE,
        "jobs-max",
        Kind::Count(number!(1, 10_000_000, rules.jobs_max: usize)),
        "Jobs that wait for the store; beyond it requests are refused.",
    ),
    opt(
        WHOLE,
        "jobs-bytes-max",
        Kind::Size(number!(64 * KIB, 64 * GIB, rules.jobs_bytes_max: usize)),
        "Bytes of the messages and friend requests that wait for the store; beyond it they are refused.",
    ),
    opt(
        WHOLE,
        "undecided-max",
        Kind::Count(number!(1, 1_000_000, rules.undecided_max: usize)),
        "Friend requests and answers that the store may have done or not, and that are tried again until it says so.",
    ),
    opt(
        WHOLE,
        "auth-jobs-max",
        Kind::Count(number!(1, 1_000_000, rules.auth_jobs_max: usize)),
        "Log-ins and sign-ups that wait for a password to be hashed: half clean log-ins, a quarter each others and sign-ups.",
    ),
    opt(
        WHOLE,
        "trusted-addresses-max",
        Kind::Count(number!(0, 100_000_000, rules.trusted_addresses_max: usize)),
        "Addresses that are remembered as trusted, each for one user who logged in from there; 0: none.",
    ),
    opt(
        WHOLE,
        "dedup-bytes-max",
        Kind::Size(number!(64 * KIB, 64 * GIB, rules.dedup_bytes_max: usize)),
        "Memory for the remembered messages of all senders who are offline; beyond it the longest offline are forgotten.",
    ),
    opt(
        WHOLE,
        "throttled-max",
        Kind::Count(number!(1, 10_000_000, rules.throttled_max: usize)),
        "Users, and addresses, whose wrong passwords and sign-ups are remembered.",
    ),
    opt(
        LOGIN,
        "auth-threads",
        Kind::Count(Number { min: 1, max: 64, get: |c| c.auth_threads as u64, set: set_auth_threads }),
        "Threads that hash passwords; each needs the memory of --argon2-memory while it works.",
    ),
    opt(
        LOGIN,
        "argon2-memory",
        Kind::Size(Number {
            min: 8 * KIB,
            max: ARGON2_MEMORY_KIB_MAX as u64 * KIB,
            get: |c| u64::from(c.argon2_memory_kib) * KIB,
            set: |c, v| c.argon2_memory_kib = (v / KIB) as u32,
        }),
        "Memory of one Argon2id run.",
    ),
    opt(
        LOGIN,
        "argon2-passes",
        Kind::Count(number!(1, ARGON2_PASSES_MAX as u64, argon2_passes: u32)),
        "Passes of one Argon2id run.",
    ),
    opt(
        LOGIN,
        "verified-logins-max",
        Kind::Count(number!(0, 10_000_000, verified_logins_max: usize)),
        "Users whose verified password is remembered (in memory, as a keyed MAC) for a quick next log-in.",
    ),
];

/// The core gives up waiting for the store a little before the whole stop does, so that clients can
/// still be told.
fn set_stop_wait(config: &mut Config, ms: u64) {
    config.stop_wait_ms = ms;
    config.rules.stop_wait_ms = ms - ms / 5;
}

/// Each thread has one run, and finds the next one waiting.
fn set_auth_threads(config: &mut Config, threads: u64) {
    // The bound was checked.
    config.auth_threads = threads as usize;
    config.rules.auth_running_max = 2 * config.auth_threads;
}

/// The option of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|opt| opt.name == name)
}

#[cfg(test)]
mod tests;
