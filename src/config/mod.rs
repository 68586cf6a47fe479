//! Every setting, with its default, its bound and the unit in its name.
//!
//! [`options`] is the one table of all flags; [`args`] reads the command line, the environment and
//! the configuration file (`file`) by it and prints the help; [`copy`], [`backup`] and [`admin`] do
//! so for the other commands; `known` tells what nobody knows.

pub mod admin;
mod admin_place;
pub mod args;
pub mod backup;
mod bus_url;
pub mod copy;
mod file;
pub mod hook_url;
mod known;
pub mod networks;
mod node_name;
pub mod options;
pub mod origins;
pub mod regular;
pub mod store_id;
mod store_url;
mod units;

use crate::chat::contract::Rules;
pub use admin_place::{AdminPlace, Endpoint, check_socket_path};
pub use bus_url::{BusUrl, BusUrls};
pub use hook_url::HookUrl;
use log::LevelFilter;
pub use networks::Networks;
pub use origins::Origins;
use std::net::SocketAddr;
use std::path::PathBuf;
pub use store_url::StoreUrl;

/// All settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that some of them came from.
    pub file: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections that wait to be accepted; the system may allow fewer.
    pub backlog_connections_max: u16,
    /// The store.
    pub store: StoreUrl,
    /// The certificate for TLS, if TLS is to be spoken.
    pub tls_cert: Option<PathBuf>,
    /// Its private key.
    pub tls_key: Option<PathBuf>,
    /// Connections without TLS are refused, except from loopback.
    pub tls_only: bool,
    /// Who may say from which address a client came: reverse proxies and load balancers.
    pub trusted_proxies: Networks,
    /// Whose pages may open a WebSocket.
    pub allowed_origins: Origins,
    /// The web page is served.
    pub web_page: bool,
    /// The largest envelope, in bytes.
    pub frame_bytes_max: usize,
    /// Unwritten output of one connection, in bytes, beyond which it is closed.
    pub output_bytes_max: usize,
    /// The same for one on which nobody has logged in.
    pub stranger_output_bytes_max: usize,
    /// The memory that connections, lists and jobs may hold together, in bytes.
    pub memory_bytes_max: usize,
    /// A connection that takes nothing of what waits for it is closed after this, in ms.
    pub output_timeout_ms: u64,
    /// The time in which the TLS handshake and the head of an HTTP request must arrive, in ms.
    pub handshake_timeout_ms: u64,
    /// Open connections at once.
    pub connections_max: usize,
    /// Of these, from one address; loopback may have them all.
    pub connections_per_address_max: usize,
    /// Threads that hash passwords; each needs `argon2_memory_kib` while it runs.
    pub auth_threads: usize,
    /// Argon2id: memory of one run, in KiB.
    pub argon2_memory_kib: u32,
    /// Argon2id: passes of one run.
    pub argon2_passes: u32,
    /// Users whose verified password is remembered (as a keyed MAC) at most.
    pub verified_logins_max: usize,
    /// Threads with a connection to a MySQL store each. SQLite and memory have one.
    pub data_threads: usize,
    /// Pushes in the store that wait for one receiver.
    pub waiting_per_receiver_max: u64,
    /// And their size, in bytes.
    pub waiting_bytes_per_receiver_max: u64,
    /// Of these, from one sender.
    pub waiting_per_pair_max: u64,
    /// And their size, in bytes.
    pub waiting_bytes_per_pair_max: u64,
    /// The time for which a start waits for a MySQL store that cannot be reached, in ms.
    pub store_wait_ms: u64,
    /// Waits until the server that uses a MySQL store is gone.
    pub is_standby: bool,
    /// A standby takes a server that was silent for longer for gone, in ms.
    pub silent_server_max_ms: u64,
    /// The name of this node, if it is one of a cluster.
    pub node_name: Option<Box<str>>,
    /// What this node says to others and is not written yet, in records.
    pub mail_max: usize,
    /// The size of that together, in bytes.
    pub mail_bytes_max: usize,
    /// Where nodes talk faster than through the database, if anywhere.
    pub bus: BusUrls,
    /// The time that an instance of it may take for anything, in ms.
    pub bus_timeout_ms: u64,
    /// Frames that wait for an instance of it, or for the loop.
    pub bus_frames_max: usize,
    /// And their size, in bytes.
    pub bus_bytes_max: usize,
    /// Where it is told that pushes wait for a user, if anywhere.
    pub push_hook: Option<HookUrl>,
    /// The key of the signatures of these requests.
    pub push_hook_secret_file: Option<PathBuf>,
    /// The roots that may sign the certificate of their receiver, instead of those of the web.
    pub push_hook_ca_file: Option<PathBuf>,
    /// They hold what the push says.
    pub push_hook_content: bool,
    /// Requests that wait to be made, or to be made again.
    pub push_hook_queue_max: usize,
    /// The time that a request may take, in ms.
    pub push_hook_timeout_ms: u64,
    /// The first pause after one that failed, in ms.
    pub push_hook_retry_after_ms: u64,
    /// The time for which a stop waits for the store, and for clients to read their output, in ms.
    pub stop_wait_ms: u64,
    /// Where operators ask and order.
    pub admin: AdminPlace,
    /// The file with the token for that.
    pub admin_token_file: Option<PathBuf>,
    /// Requests of operators at once.
    pub admin_connections_max: usize,
    /// The time for one of them, in ms.
    pub admin_timeout_ms: u64,
    /// The log level.
    pub log: LevelFilter,
    /// The form of its lines.
    pub log_format: LogFormat,
    /// Lines a second of each kind that are logged about clients.
    pub log_lines_per_second_max: u32,
    /// A write-ahead log of a SQLite store beyond this is warned of, in bytes.
    pub wal_warn_bytes: u64,
    /// The rules of the chat core.
    pub rules: Rules,
}

/// The forms of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `TIME [LEVEL] message key=value`
    Text,
    /// One JSON object.
    Json,
}

impl LogFormat {
    /// How they are written.
    pub(crate) const WORDS: [&str; 2] = ["text", "json"];

    fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    fn of(word: &str) -> Self {
        if word == "json" { Self::Json } else { Self::Text }
    }
}

/// Memory of one Argon2id run at most, in KiB: of new passwords, and of what is stored, which was
/// new once.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Passes of one Argon2id run at most.
pub const ARGON2_PASSES_MAX: u32 = 64;

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 1102)),
            // What Linux allows (net.core.somaxconn).
            backlog_connections_max: 4_096,
            store: StoreUrl::Sqlite(PathBuf::from("hongyan.db")),
            tls_cert: None,
            tls_key: None,
            tls_only: false,
            trusted_proxies: Networks::default(),
            allowed_origins: Origins::default(),
            web_page: true,
            frame_bytes_max: 64 * 1024,
            output_bytes_max: 16 * 1024 * 1024,
            stranger_output_bytes_max: 8 * 1024,
            memory_bytes_max: 512 * 1024 * 1024,
            output_timeout_ms: 60_000,
            handshake_timeout_ms: 10_000,
            connections_max: 100_000,
            connections_per_address_max: 1_000,
            auth_threads: 1,
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            verified_logins_max: 100_000,
            data_threads: 4,
            waiting_per_receiver_max: 100_000,
            waiting_bytes_per_receiver_max: 256 << 20,
            waiting_per_pair_max: 10_000,
            waiting_bytes_per_pair_max: 64 << 20,
            store_wait_ms: 30_000,
            is_standby: false,
            silent_server_max_ms: 5_000,
            node_name: None,
            mail_max: 65_536,
            mail_bytes_max: 32 << 20,
            bus: BusUrls::default(),
            bus_timeout_ms: 1_000,
            bus_frames_max: 16_384,
            bus_bytes_max: 32 << 20,
            push_hook: None,
            push_hook_secret_file: None,
            push_hook_ca_file: None,
            push_hook_content: false,
            push_hook_queue_max: 4_096,
            push_hook_timeout_ms: 5_000,
            push_hook_retry_after_ms: 1_000,
            stop_wait_ms: 10_000,
            admin: AdminPlace::default(),
            admin_token_file: None,
            admin_connections_max: 8,
            admin_timeout_ms: 15_000,
            log: LevelFilter::Info,
            log_format: LogFormat::Text,
            log_lines_per_second_max: 10,
            wal_warn_bytes: 256 << 20,
            rules: Rules::default(),
        }
    }
}
