//! Connecting to a MySQL or MariaDB server: the URL, the session's settings, the tables, and the
//! lock that keeps a second server away.

use super::cluster_checks::{check_no_cluster, check_no_node_alive, check_target_is_no_cluster};
use super::error_text;
use super::lanes::{
    self, ALONE, DbConnectionFenceLane, FenceLaneAllocator, LockMoves, WriterFenceLane, lane_lock, mark_of,
};
use super::named_lock::{LOCK_NAME, holder, kill, take};
use super::safe_commits::why_commits_are_not_safe;
use super::schema::{
    FIRST_OF_CLUSTERS, KNOWN, check_no_foreign_tables, create_marked_tables, log_if_newer, migrate, set_version,
    usable_version, version_to_copy,
};
use super::{MysqlStore, fault, signs};
use crate::store::StoreError;
use crate::store::portable::{StoreOpenMode, UNFINISHED, check_schema_version};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, SslOpts, UrlError};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time-out of a connect; without it the driver would wait for ever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time-out for a copy, which counts and sorts whole tables, and for a schema upgrade, which
/// may rewrite one.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(600);
/// The largest number of addresses of one name that are tried, each for at most
/// [`CONNECT_TIMEOUT`].
const ADDRESSES_MAX: usize = 4;
const KEEPALIVE_MS: u32 = 30_000;
/// The cache of prepared statements: larger than the number of different statements.
const STATEMENTS_CACHED: usize = 64;

/// The first statement of every session. Strict mode: a value that does not fit is an error and is
/// never cut off. READ COMMITTED: there are no gap locks, and a second read sees the present rows.
/// Idle sessions are kept as long as possible.
const SESSION: &[&str] = &[
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, innodb_lock_wait_timeout = 1, \
     lock_wait_timeout = 4, wait_timeout = 31536000",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    // The creation time of accounts is stored in UTC.
    "SET SESSION time_zone = '+00:00'",
];

/// A server and one database there. Clones share the lock on it.
#[derive(Clone)]
pub struct MysqlConnector {
    pub(super) opts: Opts,
    role: StoreOpenMode,
    guard: Arc<Mutex<MysqlServerLockState>>,
    /// Counts how often the lock was taken.
    lock_moves: Arc<AtomicU64>,
    /// The epoch that marks the transactions of this process.
    pub(super) epoch: u64,
    /// The epoch of the server that this one replaces; `None`: any server whose lock is free.
    predecessor: Option<u64>,
    lanes: Arc<Mutex<FenceLaneAllocator>>,
}

/// The state of the lock, which a connection of its own holds. Other servers that want the database
/// do not get it.
#[derive(Default)]
pub(super) struct MysqlServerLockState {
    pub(super) conn: Option<Conn>,
    /// When that connection got the lock.
    pub(super) locked_at: Option<Instant>,
    /// The lock was held at some time.
    pub(super) was_ever_held: bool,
    failed: Option<(Instant, StoreError)>,
    /// Another server has taken over: the state in this one's memory is not that of the store any
    /// more.
    pub(super) takeover_error: Option<StoreError>,
    /// It was logged that commits of this database server are not safe.
    has_logged_unsafe_commits: bool,
}

impl std::fmt::Debug for MysqlConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The options are left out: they hold the password.
        f.debug_struct("MysqlConnector").finish_non_exhaustive()
    }
}

impl MysqlConnector {
    /// Reads a URL, `mysql://user:password@host:port/database`, percent-encoded. Connects to
    /// nothing yet.
    ///
    /// # Errors
    /// The URL is not valid. The sentence does not repeat it.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Self::new_for(StoreOpenMode::Serve, url)
    }

    /// Reads a URL, for a given role.
    ///
    /// # Errors
    /// The URL is not valid. The sentence does not repeat it.
    pub fn new_for(role: StoreOpenMode, url: &str) -> Result<Self, StoreError> {
        // The driver's own sentence may quote parts of the URL.
        let opts = Opts::from_url(url).map_err(|error| StoreError::Unusable(error_text::of_url(&error)))?;
        if opts.get_db_name().is_none_or(str::is_empty) {
            return Err(StoreError::Unusable(error_text::of_url(&UrlError::BadUrl)));
        }
        if let Some(path) = opts.get_ssl_opts().and_then(SslOpts::root_cert_path) {
            error_text::check_ca(path)?;
        }
        let (read, write) = match role {
            StoreOpenMode::Serve => (READ_TIMEOUT, WRITE_TIMEOUT),
            StoreOpenMode::CopyFrom | StoreOpenMode::CopyInto => (PATIENT_TIMEOUT, PATIENT_TIMEOUT),
        };
        let opts = unacked_for(OptsBuilder::from_opts(opts), write)
            .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
            .read_timeout(Some(read))
            .write_timeout(Some(write))
            .tcp_keepalive_time_ms(Some(KEEPALIVE_MS))
            .tcp_nodelay(true)
            // Use the named server: do not switch to a socket file that it announces.
            .prefer_socket(false)
            .local_infile_handler(None)
            .stmt_cache_size(STATEMENTS_CACHED);
        let random = getrandom::u64()
            .map_err(|error| StoreError::Unusable(format!("the system has no random numbers: {error}")))?;
        // 0 means that nobody writes.
        let epoch = random.max(1);
        let (guard, lanes) = Default::default();
        Ok(Self { opts: opts.into(), role, guard, lock_moves: Arc::default(), epoch, predecessor: None, lanes })
    }

    /// Takes over from the server with this epoch, even if it still holds the lock.
    #[must_use]
    pub fn succeed(self, predecessor: u64) -> Self {
        Self { predecessor: Some(predecessor), ..self }
    }

    pub(super) fn locked_guard(&self) -> MutexGuard<'_, MysqlServerLockState> {
        // After a panic the guard is checked like any other: by asking its connection.
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection. The first one, and the first one after the lock was lost, takes the lock
    /// and brings the tables up to date.
    ///
    /// # Errors
    /// The database server cannot be reached or used; another hongyan uses the database, or has
    /// taken over; or the tables are of a newer version.
    pub fn connect(&self) -> Result<MysqlStore, StoreError> {
        let mut connection = self.guard(None)?;
        let no_lane = || StoreError::Unavailable("this server has more connections to it than it needs".into());
        let lane = DbConnectionFenceLane::take(&self.lanes).ok_or_else(no_lane)?;
        let mut conn = self.session()?;
        let mut moves = LockMoves::now(&self.lock_moves);
        if !self.holds_lock_and_lane(&mut conn, connection, &lane)? {
            // Either the name leads to another machine than when the lock was taken, one that takes
            // writes now; or another server has taken over.
            connection = self.guard(Some(connection))?;
            moves = LockMoves::now(&self.lock_moves);
            if !self.holds_lock_and_lane(&mut conn, connection, &lane)? {
                let why = "its connections and its lock are not on the same database server";
                return Err(StoreError::Unavailable(why.into()));
            }
        }
        let packet: Option<u64> = conn.query_first("SELECT @@max_allowed_packet").map_err(|error| fault(&error).0)?;
        let guard = Arc::clone(&self.guard);
        let lock = WriterFenceLane::new(lane, self.epoch, connection, (guard, moves));
        Ok(MysqlStore::new(conn, packet.unwrap_or(0), lock))
    }

    /// Is the lock held, and is the lane ours? The connection also takes a lock with the name of
    /// the lane, so that a server that takes over can find it.
    fn holds_lock_and_lane(
        &self,
        conn: &mut Conn,
        connection: u64,
        lane: &DbConnectionFenceLane,
    ) -> Result<bool, StoreError> {
        if self.role == StoreOpenMode::CopyFrom {
            // The source of a copy is only read, and does not have this process's epoch.
            return Ok(holder(conn, LOCK_NAME)? == Some(connection));
        }
        let sql = format!(
            "SELECT IS_USED_LOCK({LOCK_NAME}), epoch, GET_LOCK({}, 0) FROM lanes WHERE node = {ALONE} AND lane = {}",
            lane_lock(self.epoch, lane.number),
            lane.number
        );
        let found: Option<(Option<u64>, u64, Option<u8>)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
        Ok(found == Some((Some(connection), self.epoch, Some(1))))
    }

    pub(super) fn session(&self) -> Result<Conn, StoreError> {
        self.session_with(&self.opts)
    }

    pub(super) fn session_with(&self, opts: &Opts) -> Result<Conn, StoreError> {
        let mut conn = open(opts).map_err(|error| match fault(&error).0 {
            // Nothing large was sent yet: the peer does not speak this protocol.
            StoreError::TooLarge(_) => StoreError::Unavailable(error_text::NO_MYSQL.to_owned()),
            StoreError::Unavailable(why) if error_text::is_permanent(&error) => StoreError::Unusable(why),
            error => error,
        })?;
        for statement in SESSION {
            conn.query_drop(statement).map_err(|error| fault(&error).0)?;
        }
        Ok(conn)
    }

    /// Makes sure that the lock is held; gives the id of the connection that holds it. `not`: a
    /// connection that must not count as its holder.
    pub(super) fn guard(&self, not: Option<u64>) -> Result<u64, StoreError> {
        let asked = Instant::now();
        let mut guard = self.locked_guard();
        if let Some(error) = &guard.takeover_error {
            return Err(error.clone());
        }
        if let Some((at, error)) = &guard.failed
            && *at >= asked
        {
            // If another worker has just failed, do not wait for the same time-out again.
            return Err(error.clone());
        }
        if let Some(mut conn) = guard.conn.take()
            && not != Some(conn.connection_id().into())
            && conn.ping().is_ok()
        {
            let holder = u64::from(conn.connection_id());
            guard.conn = Some(conn);
            return Ok(holder);
        }
        match self.lock(&mut guard) {
            Ok(conn) => {
                let holder = u64::from(conn.connection_id());
                (guard.conn, guard.was_ever_held, guard.failed) = (Some(conn), true, None);
                guard.locked_at = Some(Instant::now());
                self.lock_moves.fetch_add(1, Ordering::SeqCst);
                Ok(holder)
            }
            Err(error) => {
                guard.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn lock(&self, guard: &mut MysqlServerLockState) -> Result<Conn, StoreError> {
        let mut conn = self.session()?;
        self.check_not_taken_over(guard, &mut conn)?;
        // Connection ids begin again when the database restarts: only a connection that holds the
        // mark as well is certainly ours, or the predecessor's.
        let marks = [self.epoch].into_iter().chain(self.predecessor).map(|epoch| format!("'{}'", mark_of(epoch)));
        for mark in marks {
            if let Some(id) = holder(&mut conn, LOCK_NAME)?
                && holder(&mut conn, &mark)? == Some(id)
            {
                // It is our own connection, whose end the database has not noticed yet, or that of
                // a server without a sign of life.
                kill(&mut conn, id)?;
            }
        }
        if !take(&mut conn, &format!("'{}'", mark_of(self.epoch)))? {
            return Err(StoreError::Unavailable("the connection that held its lock before has not ended yet".into()));
        }
        if !take(&mut conn, LOCK_NAME)? {
            let why = self.other_server_sentence(&mut conn)?;
            self.check_not_taken_over(guard, &mut conn)?;
            return Err(StoreError::InUse(why));
        }
        self.check_not_taken_over(guard, &mut conn)?;
        self.check_commits_are_safe(guard, &mut conn)?;
        self.update_tables(&mut conn, guard.was_ever_held)?;
        if self.role != StoreOpenMode::CopyFrom && !guard.was_ever_held {
            if self.predecessor.is_none() {
                signs::check_no_server_alive(&mut conn)?;
            }
            lanes::take_over(&mut conn, self.epoch, self.predecessor)?;
        }
        Ok(conn)
    }

    /// Makes the tables or brings them up to date, if they may be.
    fn update_tables(&self, conn: &mut Conn, was_held: bool) -> Result<(), StoreError> {
        // Only at the start: a foreign table that is added later does not stop a running server.
        // The source of a copy is left as it is.
        if self.role != StoreOpenMode::CopyFrom && !was_held {
            check_no_foreign_tables(conn)?;
        }
        let found = match self.role {
            StoreOpenMode::Serve => usable_version(conn)?,
            StoreOpenMode::CopyFrom | StoreOpenMode::CopyInto => version_to_copy(conn)?,
        };
        // Before anything is changed: nodes may use it.
        if !was_held && found >= FIRST_OF_CLUSTERS {
            match self.role {
                StoreOpenMode::Serve => check_no_cluster(conn)?,
                StoreOpenMode::CopyFrom => check_no_node_alive(conn)?,
                StoreOpenMode::CopyInto => check_target_is_no_cluster(conn)?,
            }
        }
        match self.role {
            StoreOpenMode::CopyFrom => check_schema_version(found as i64, KNOWN),
            StoreOpenMode::CopyInto if found == 0 => create_marked_tables(conn),
            StoreOpenMode::CopyInto | StoreOpenMode::Serve if found >= KNOWN => {
                if !was_held {
                    log_if_newer(found);
                }
                Ok(())
            }
            StoreOpenMode::CopyInto | StoreOpenMode::Serve => {
                migrate(&mut self.session_with(&with_long_timeouts(&self.opts))?)
            }
        }
    }

    fn other_server_sentence(&self, conn: &mut Conn) -> Result<String, StoreError> {
        let with = holder(conn, LOCK_NAME)?.map_or_else(String::new, |id| format!(", with connection {id} there"));
        Ok(format!("another server uses this database{with}"))
    }

    /// Promises depend on commits: a database server that answers a commit before its log is on the
    /// disk is refused at the start. If it is configured so later, that is only logged, because
    /// stopping would help no user.
    fn check_commits_are_safe(&self, guard: &mut MysqlServerLockState, conn: &mut Conn) -> Result<(), StoreError> {
        if self.role != StoreOpenMode::Serve {
            return Ok(());
        }
        let Some(why) = why_commits_are_not_safe(conn)? else {
            guard.has_logged_unsafe_commits = false;
            return Ok(());
        };
        if !guard.was_ever_held {
            return Err(StoreError::Unusable(why));
        }
        if !guard.has_logged_unsafe_commits {
            guard.has_logged_unsafe_commits = true;
            log::error!("the store keeps no promises any more: {why}");
        }
        Ok(())
    }

    /// Fails for good if the lock was held before and another server has taken over since.
    fn check_not_taken_over(&self, guard: &mut MysqlServerLockState, conn: &mut Conn) -> Result<(), StoreError> {
        if self.role != StoreOpenMode::Serve || !guard.was_ever_held || lanes::epoch(conn)? == Some(self.epoch) {
            return Ok(());
        }
        let why = match holder(conn, LOCK_NAME)? {
            Some(_) => self.other_server_sentence(conn)?,
            None => "another server has used this database".to_owned(),
        };
        // The state in this server's memory does not match the store any more, and never will.
        let why = format!("{why} since this one lost its lock: this one must be started again");
        let error = StoreError::Unusable(why);
        guard.takeover_error = Some(error.clone());
        Err(error)
    }

    /// Runs work that needs the connection which holds the lock.
    fn with_guard<T>(&self, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> Result<T, StoreError> {
        let mut guard = self.locked_guard();
        let Some(conn) = guard.conn.as_mut() else {
            return Err(StoreError::Unavailable("its lock was lost".into()));
        };
        work(conn).map_err(|error| match fault(&error) {
            (error, true) => error,
            (error, false) => StoreError::Unavailable(format!("its lock was lost: {error}")),
        })
    }

    /// Fails if the connection that holds the lock is gone, and the lock with it.
    pub(super) fn check_lock(&self) -> Result<(), StoreError> {
        self.with_guard(Conn::ping)
    }

    /// Sets or removes the mark of an unfinished copy, on the connection that holds the lock.
    pub(super) fn set_mark(&self, unfinished: bool) -> Result<(), StoreError> {
        let version = if unfinished { UNFINISHED } else { KNOWN as i64 };
        self.with_guard(|conn| conn.query_drop(set_version(version)))
    }

    /// Is the database that this server has locked the same that `other` would use, perhaps by
    /// another name of the machine?
    ///
    /// # Errors
    /// The other server cannot be reached.
    pub fn is_same_database(&self, other: &Self) -> Result<bool, StoreError> {
        let ours = self.with_guard(|conn| Ok(conn.connection_id()))?;
        Ok(holder(&mut other.session()?, LOCK_NAME)? == Some(ours.into()))
    }
}

/// Sets how long sent bytes may stay without the peer's TCP ack, or without room there, before the
/// system drops the connection.
#[cfg(target_os = "linux")]
fn unacked_for(opts: OptsBuilder, time: Duration) -> OptsBuilder {
    opts.tcp_user_timeout_ms(u32::try_from(time.as_millis()).ok())
}

/// On other systems the driver has no such setting.
#[cfg(not(target_os = "linux"))]
fn unacked_for(opts: OptsBuilder, _: Duration) -> OptsBuilder {
    opts
}

pub(super) fn with_long_timeouts(opts: &Opts) -> Opts {
    let opts = OptsBuilder::from_opts(opts.clone());
    opts.read_timeout(Some(PATIENT_TIMEOUT)).write_timeout(Some(PATIENT_TIMEOUT)).into()
}

/// Opens a connection to the first address that answers: the driver itself gives up at the first
/// address of a name that does not, and `localhost` often has two.
fn open(opts: &Opts) -> mysql::Result<Conn> {
    if opts.get_ssl_opts().is_some() {
        // The name is needed: the certificate is for it.
        return Conn::new(opts.clone());
    }
    let name = opts.get_ip_or_hostname().into_owned();
    let addresses = (name.trim_matches(['[', ']']), opts.get_tcp_port()).to_socket_addrs().map_err(|error| {
        // The system's own sentence does not say what it looked for.
        let why = error.to_string();
        let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
        std::io::Error::new(error.kind(), format!("the address of its host {name:?} cannot be found: {why}"))
    })?;
    first_answering(addresses, |address| {
        let opts = OptsBuilder::from_opts(opts.clone());
        Conn::new(opts.ip_or_hostname(Some(address.ip().to_string())))
    })
}

/// Tries the addresses one after the other, until a database server answers, even with an error.
fn first_answering<T>(
    addresses: impl Iterator<Item = SocketAddr>,
    mut connect: impl FnMut(SocketAddr) -> mysql::Result<T>,
) -> mysql::Result<T> {
    let mut last = std::io::Error::other("the name of its host has no address").into();
    for address in addresses.take(ADDRESSES_MAX) {
        match connect(address) {
            Err(error @ (mysql::Error::DriverError(_) | mysql::Error::IoError(_))) => last = error,
            result => return result,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_name_is_tried_until_a_server_answers() {
        let addresses: Vec<SocketAddr> = (1..=9).map(|n| SocketAddr::from(([127, 0, 0, n], 1))).collect();
        let refused = || mysql::Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let mut tried = Vec::new();
        let second = first_answering(addresses.iter().copied(), |address| {
            tried.push(address);
            if tried.len() < 2 { Err(refused()) } else { Ok(address) }
        });
        assert_eq!((second.unwrap(), &tried[..]), (addresses[1], &addresses[..2]));
        tried.clear();
        let all = first_answering(addresses.iter().copied(), |address| {
            tried.push(address);
            Err::<(), _>(refused())
        });
        assert!(all.unwrap_err().to_string().contains("refused"));
        assert_eq!(tried, addresses[..ADDRESSES_MAX]);
        assert!(first_answering([].into_iter(), |_| Ok(())).unwrap_err().to_string().contains("no address"));
        // The server answered: another address would not make the password right.
        let wrong = mysql::error::MySqlError { state: "28000".into(), message: "no".into(), code: 1045 };
        let mut tries = 0;
        let refused = first_answering(addresses.into_iter(), |_| {
            tries += 1;
            Err::<(), _>(mysql::Error::MySqlError(wrong.clone()))
        });
        assert!(refused.is_err() && tries == 1);
    }

    #[test]
    fn a_url_is_decoded_and_never_repeated() {
        let server = MysqlConnector::new("mysql://gans:let%20me%2Fin@127.0.0.1:3307/h%C3%BCtte").unwrap();
        assert_eq!(server.opts.get_pass(), Some("let me/in"));
        assert_eq!((server.opts.get_db_name(), server.opts.get_tcp_port()), (Some("hütte"), 3307));
        assert!(server.opts.get_read_timeout().is_some() && server.opts.get_write_timeout().is_some());
        assert!(server.opts.get_tcp_connect_timeout().is_some());
        for bad in ["mysql://u:geheim@h:x/d", "mysql://u:geheim@h:1", "mysql://u:geheim@h/d?x=geheim", "u:geheim"] {
            let why = MysqlConnector::new(bad).unwrap_err().to_string();
            assert!(!why.contains("geheim"), "{why}");
        }
    }
}
