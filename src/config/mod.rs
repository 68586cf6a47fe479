//! Every setting, with its default, its bound and the unit in its name.
//!
//! [`options`] is the table of all options; [`args`] reads the command line by it, and prints the
//! help; [`settings`] adds the environment and the configuration file (`file`); `copy`, `backup`
//! and `admin` read the command lines of the other commands; [`command`] has the result; `known`
//! finds unknown names.

mod admin;
mod admin_place;
mod arg_errors;
pub mod args;
mod backup;
mod bus_url;
pub mod command;
mod copy;
mod file;
pub mod hook_url;
mod known;
pub mod networks;
mod node_name;
pub mod options;
pub mod origins;
pub mod regular_file;
pub mod settings;
pub mod store_id;
mod store_url;
mod units;

use crate::chat::contract::CoreSettings;
pub use admin_place::{AdminInterfaceAddress, AdminPlace, check_socket_path};
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
    /// The configuration file, if there is one.
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
    /// Reverse proxies and load balancers whose statements about clients' addresses are believed.
    pub trusted_proxies: Networks,
    /// The origins whose pages may open a WebSocket.
    pub allowed_origins: Origins,
    /// The web page is served.
    pub web_page: bool,
    /// The largest envelope, in bytes.
    pub frame_bytes_max: usize,
    /// Unwritten output of one connection, in bytes, beyond which it is closed.
    pub output_bytes_max: usize,
    /// The same limit for a connection that is not logged in.
    pub stranger_output_bytes_max: usize,
    /// The memory that connections, lists and jobs may use together, in bytes.
    pub memory_bytes_max: usize,
    /// A connection that takes nothing of what waits for it is closed after this, in ms.
    pub output_timeout_ms: u64,
    /// The time in which the TLS handshake and the head of an HTTP request must arrive, in ms.
    pub handshake_timeout_ms: u64,
    /// Open connections at once.
    pub connections_max: usize,
    /// The largest number of these from one address; loopback may have them all.
    pub connections_per_address_max: usize,
    /// Threads that hash passwords; each needs `argon2_memory_kib` while it runs.
    pub auth_threads: usize,
    /// Argon2id: memory of one run, in KiB.
    pub argon2_memory_kib: u32,
    /// Argon2id: passes of one run.
    pub argon2_passes: u32,
    /// The largest number of users whose verified password is remembered (as a keyed MAC).
    pub verified_logins_max: usize,
    /// The number of threads with a connection to a MySQL store each. SQLite and memory have one.
    pub data_threads: usize,
    /// The largest number of pushes in the store that wait for one receiver.
    pub waiting_per_receiver_max: u64,
    /// The largest size of the pushes in the store that wait for one receiver, in bytes.
    pub waiting_bytes_per_receiver_max: u64,
    /// The largest number of pushes of one sender in the store that wait for one receiver.
    pub waiting_per_pair_max: u64,
    /// The largest size of the pushes of one sender that wait for one receiver, in bytes.
    pub waiting_bytes_per_pair_max: u64,
    /// The time for which a start waits for a MySQL store that cannot be reached, in ms.
    pub store_wait_ms: u64,
    /// This server is a standby: it waits until the server that uses the MySQL store is gone.
    pub is_standby: bool,
    /// A server without a sign of life for longer than this counts as gone, in ms.
    pub silent_server_max_ms: u64,
    /// The name of this node, if it is one of a cluster.
    pub node_name: Option<Box<str>>,
    /// The largest number of records for other nodes that wait to be written.
    pub node_records_max: usize,
    /// The largest size of the records for other nodes that wait to be written, in bytes.
    pub node_record_bytes_max: usize,
    /// The instances of the bus, if there is a bus.
    pub bus: BusUrls,
    /// The longest time in which an instance of the bus must connect or answer, in ms.
    pub bus_timeout_ms: u64,
    /// The largest number of frames that wait for an instance of the bus, and of those that wait
    /// for the loop.
    pub bus_frames_max: usize,
    /// The largest size of the frames that wait for an instance of the bus, and of those that wait
    /// for the loop, in bytes.
    pub bus_bytes_max: usize,
    /// The URL of the push hook, if there is one.
    pub push_hook: Option<HookUrl>,
    /// The file with the secret that signs the requests of the push hook.
    pub push_hook_secret_file: Option<PathBuf>,
    /// The file with the root certificates for the push hook, instead of those that browsers trust.
    pub push_hook_ca_file: Option<PathBuf>,
    /// The requests of the push hook contain the text of the push.
    pub push_hook_content: bool,
    /// The largest number of requests of the push hook that wait to be made, or made again.
    pub push_hook_queue_max: usize,
    /// The time limit of one request of the push hook, in ms.
    pub push_hook_timeout_ms: u64,
    /// The pause after the first failed request of the push hook, in ms.
    pub push_hook_retry_after_ms: u64,
    /// The time for which a stop waits for the store, and for clients to read their output, in ms.
    pub stop_wait_ms: u64,
    /// Where the admin interface is.
    pub admin: AdminPlace,
    /// The file with the token for the admin interface.
    pub admin_token_file: Option<PathBuf>,
    /// The largest number of requests to the admin interface at once.
    pub admin_connections_max: usize,
    /// The time limit of a request to the admin interface, in ms.
    pub admin_timeout_ms: u64,
    /// The log level.
    pub log: LevelFilter,
    /// The form of the log lines.
    pub log_format: LogFormat,
    /// The largest number of log lines a second of each kind about clients.
    pub log_lines_per_second_max: u32,
    /// A warning is logged if the write-ahead log of a SQLite store is larger than this, in bytes.
    pub wal_warn_bytes: u64,
    /// The settings of the chat core.
    pub rules: CoreSettings,
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
    /// The words for the forms.
    pub(crate) const WORDS: [&str; 2] = ["text", "json"];

    fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    fn from_word(word: &str) -> Self {
        if word == "json" { Self::Json } else { Self::Text }
    }
}

/// The largest memory of one Argon2id run, in KiB: for new passwords, and for stored hashes.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// The largest number of passes of one Argon2id run.
pub const ARGON2_PASSES_MAX: u32 = 64;

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 1102)),
            // The default of Linux (net.core.somaxconn).
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
            node_records_max: 65_536,
            node_record_bytes_max: 32 << 20,
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
            rules: CoreSettings::default(),
        }
    }
}
