//! Coming to a MySQL or MariaDB server: the URL, the session's settings, the tables, and the lock that keeps a second server away.

use super::schema::{KNOWN, known_version, make_marked, migrate, set_version, version};
use super::{MysqlStore, fault};
use crate::store::StoreError;
use crate::store::portable::{Role, UNFINISHED, check_current};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The driver waits for ever unless it is told.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// A copy counts and sorts whole tables, and nobody waits for its next answer but it.
const COPY_TIMEOUT: Duration = Duration::from_secs(600);
const KEEPALIVE_MS: u32 = 30_000;
/// More than there are different statements.
const STATEMENTS_CACHED: usize = 64;
/// How long a predecessor whose connection is just being closed is waited for.
const LOCK_WAIT_S: u32 = 3;

/// What every session is told first. Strict: what does not fit is an error and never cut off. READ COMMITTED: no gap locks, and
/// what is read back is what is there now. Idle sessions are kept for the longest time there is.
const SESSION: &[&str] = &[
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, innodb_lock_wait_timeout = 1, \
     lock_wait_timeout = 4, wait_timeout = 31536000",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    // Points in time are read and written as seconds since the epoch; no hour of theirs may come twice.
    "SET SESSION time_zone = '+00:00'",
];

/// The lock's name, as SQL. Hashed, because it has at most 64 characters and a database's name may have as many.
pub(super) const LOCK_NAME: &str = "CONCAT('hongyan:', LEFT(SHA2(DATABASE(), 256), 40))";

/// A server and one database there. Clones share the lock on it.
#[derive(Clone)]
pub struct MysqlServer {
    opts: Opts,
    role: Role,
    guard: Arc<Mutex<Guard>>,
    /// A second lock of the same connection, under a name that no other process has.
    mark: Arc<str>,
    greatest_seq: Arc<AtomicU64>,
}

/// A connection of its own holds the lock: whoever else wants the database waits for it in vain.
#[derive(Default)]
struct Guard {
    conn: Option<Conn>,
    /// The lock was held at some time.
    was_held: bool,
    failed: Option<(Instant, StoreError)>,
    /// Another server has used the database since: what this one keeps in memory is no longer true.
    taken_over: Option<StoreError>,
}

/// What a connection that writes knows of the lock.
pub(super) struct Held {
    /// The connection that holds it.
    pub(super) connection: u64,
    /// It stays open for as long as somebody writes.
    _guard: Arc<Mutex<Guard>>,
    greatest_seq: Arc<AtomicU64>,
}

impl Held {
    /// This push is about to be stored by this server.
    pub(super) fn note_seq(&self, seq: u64) {
        self.greatest_seq.fetch_max(seq, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for MysqlServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the options: they hold the password.
        f.debug_struct("MysqlServer").finish_non_exhaustive()
    }
}

impl MysqlServer {
    /// Reads a URL, `mysql://user:password@host:port/database`, percent-encoded. Connects to nothing yet.
    ///
    /// # Errors
    /// When it is no such URL. The sentence does not repeat it.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Self::new_for(Role::Serve, url)
    }

    /// The same for one of several purposes.
    ///
    /// # Errors
    /// When it is no such URL. The sentence does not repeat it.
    pub fn new_for(role: Role, url: &str) -> Result<Self, StoreError> {
        // The driver's own sentence may quote what stands in the URL.
        let wrong = || StoreError::Unusable("its URL is not like mysql://USER:PASSWORD@HOST:PORT/DATABASE".to_owned());
        let opts = Opts::from_url(url).map_err(|_| wrong())?;
        if opts.get_db_name().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let copies = role != Role::Serve;
        let opts = OptsBuilder::from_opts(opts)
            .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
            .read_timeout(Some(if copies { COPY_TIMEOUT } else { READ_TIMEOUT }))
            .write_timeout(Some(if copies { COPY_TIMEOUT } else { WRITE_TIMEOUT }))
            .tcp_keepalive_time_ms(Some(KEEPALIVE_MS))
            .tcp_nodelay(true)
            // The server named is the server used: no moving over to a socket file that it tells of.
            .prefer_socket(false)
            .local_infile_handler(None)
            .stmt_cache_size(STATEMENTS_CACHED);
        let random = getrandom::u64()
            .map_err(|error| StoreError::Unusable(format!("the system has no random numbers: {error}")))?;
        let mark = format!("hongyan-{random:016x}").into();
        Ok(Self { opts: opts.into(), role, guard: Arc::default(), mark, greatest_seq: Arc::default() })
    }

    /// One more connection. The first one takes the lock and brings the tables up to date, as does the first after the lock was lost.
    ///
    /// # Errors
    /// When the server cannot be reached or used, another hongyan uses the database or has used it since, or a newer one has.
    pub fn connect(&self) -> Result<MysqlStore, StoreError> {
        let (connection, greatest_seq) = (self.guard()?, Arc::clone(&self.greatest_seq));
        let lock = Held { connection, _guard: Arc::clone(&self.guard), greatest_seq };
        let mut conn = self.session()?;
        let packet: Option<u64> = conn.query_first("SELECT @@max_allowed_packet").map_err(|error| fault(&error).0)?;
        Ok(MysqlStore::new(conn, packet.unwrap_or(0), lock))
    }

    fn session(&self) -> Result<Conn, StoreError> {
        let mut conn = Conn::new(self.opts.clone()).map_err(|error| fault(&error).0)?;
        for statement in SESSION {
            conn.query_drop(statement).map_err(|error| fault(&error).0)?;
        }
        Ok(conn)
    }

    /// Makes sure that the lock is held; gives the connection that holds it.
    fn guard(&self) -> Result<u64, StoreError> {
        let asked = Instant::now();
        // A guard whose owner panicked is looked at like any other: by asking its connection.
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &guard.taken_over {
            return Err(error.clone());
        }
        if let Some((at, error)) = &guard.failed
            && *at >= asked
        {
            // Whoever waited while another one failed does not make the next one wait for the same time-out.
            return Err(error.clone());
        }
        if let Some(mut conn) = guard.conn.take()
            && conn.ping().is_ok()
        {
            let holder = u64::from(conn.connection_id());
            guard.conn = Some(conn);
            return Ok(holder);
        }
        match self.lock(&mut guard) {
            Ok(conn) => {
                let holder = u64::from(conn.connection_id());
                (guard.conn, guard.was_held, guard.failed) = (Some(conn), true, None);
                Ok(holder)
            }
            Err(error) => {
                guard.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn lock(&self, guard: &mut Guard) -> Result<Conn, StoreError> {
        let mut conn = self.session()?;
        // Connections are numbered anew when the database starts again: who holds the mark, too, is certainly ours.
        let mark = format!("'{}'", self.mark);
        if let Some(id) = holder(&mut conn, LOCK_NAME)?
            && holder(&mut conn, &mark)? == Some(id)
        {
            // Our own connection, of whose end the database has not heard. That it has by now is no error.
            conn.query_drop(format!("KILL {id}")).or_else(|error| match fault(&error) {
                (_, true) => Ok(()),
                (error, false) => Err(error),
            })?;
        }
        conn.query_drop(format!("SELECT GET_LOCK({mark}, {LOCK_WAIT_S})")).map_err(|error| fault(&error).0)?;
        let lock = format!("SELECT GET_LOCK({LOCK_NAME}, {LOCK_WAIT_S})");
        let locked: Option<Option<u8>> = conn.query_first(lock).map_err(|error| fault(&error).0)?;
        if locked.flatten() != Some(1) {
            let other = holder(&mut conn, LOCK_NAME)?;
            let with = other.map_or_else(String::new, |id| format!(", with connection {id} there"));
            let error = StoreError::Unusable(format!("another server uses this database{with}"));
            if guard.was_held && other.is_some() {
                return Err(taken_over(guard, &error.to_string()));
            }
            return Err(error);
        }
        match self.role {
            Role::CopyFrom => check_current(known_version(&mut conn)? as i64, KNOWN)?,
            Role::CopyInto if version(&mut conn)? == 0 => make_marked(&mut conn)?,
            Role::CopyInto | Role::Serve => migrate(&mut conn)?,
        }
        let last_seq = last_seq(&mut conn)?;
        if guard.was_held && last_seq > self.greatest_seq.load(Ordering::Relaxed) {
            return Err(taken_over(guard, "another server has used this database"));
        }
        self.greatest_seq.fetch_max(last_seq, Ordering::Relaxed);
        Ok(conn)
    }

    /// Does what needs the connection that holds the lock.
    fn with_guard<T>(&self, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> Result<T, StoreError> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Sets the mark of an unfinished copy, or takes it away, by the very connection that holds the lock.
    pub(super) fn set_mark(&self, unfinished: bool) -> Result<(), StoreError> {
        let version = if unfinished { UNFINISHED } else { KNOWN as i64 };
        self.with_guard(|conn| conn.query_drop(set_version(version)))
    }

    /// Is the database that this one has locked also the one that `other` would use, by whatever name of the machine?
    ///
    /// # Errors
    /// When the other one cannot be reached.
    pub fn is_also(&self, other: &Self) -> Result<bool, StoreError> {
        let ours = self.with_guard(|conn| Ok(conn.connection_id()))?;
        Ok(holder(&mut other.session()?, LOCK_NAME)? == Some(ours.into()))
    }
}

/// What this server keeps in memory is no longer what is stored, and never will be again.
fn taken_over(guard: &mut Guard, why: &str) -> StoreError {
    let error = StoreError::Unusable(format!("{why} since this one lost its lock: this one must be started again"));
    guard.taken_over = Some(error.clone());
    error
}

/// Which connection holds a lock, if any.
fn holder(conn: &mut Conn, lock: &str) -> Result<Option<u64>, StoreError> {
    let holder: Option<Option<u64>> =
        conn.query_first(format!("SELECT IS_USED_LOCK({lock})")).map_err(|error| fault(&error).0)?;
    Ok(holder.flatten())
}

/// The greatest number of any push, stored or named by a pending request; 0 if there is none.
fn last_seq(conn: &mut Conn) -> Result<u64, StoreError> {
    let mut greatest =
        |sql: &str| conn.query_first::<u64, _>(sql).map(Option::unwrap_or_default).map_err(|error| fault(&error).0);
    let pushes = greatest("SELECT seq FROM pushes ORDER BY seq DESC LIMIT 1")?;
    Ok(pushes.max(greatest("SELECT push_seq FROM friend_requests ORDER BY push_seq DESC LIMIT 1")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_decoded_and_never_repeated() {
        let server = MysqlServer::new("mysql://gans:let%20me%2Fin@127.0.0.1:3307/h%C3%BCtte").unwrap();
        assert_eq!(server.opts.get_pass(), Some("let me/in"));
        assert_eq!((server.opts.get_db_name(), server.opts.get_tcp_port()), (Some("hütte"), 3307));
        assert!(server.opts.get_read_timeout().is_some() && server.opts.get_write_timeout().is_some());
        assert!(server.opts.get_tcp_connect_timeout().is_some());
        for bad in ["mysql://u:geheim@h:x/d", "mysql://u:geheim@h:1", "mysql://u:geheim@h/d?geheim=1", "u:geheim"] {
            let why = MysqlServer::new(bad).unwrap_err().to_string();
            assert!(!why.contains("geheim"), "{why}");
        }
    }
}
