//! Coming to a MySQL or MariaDB server: the URL, the session's settings, the tables, and the lock that keeps a second server away.

use super::{MysqlStore, fault};
use crate::store::StoreError;
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The driver waits for ever unless it is told.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_MS: u32 = 30_000;
/// More than there are different statements.
const STATEMENTS_CACHED: usize = 64;
/// How long a predecessor whose connection is just being closed is waited for.
const LOCK_WAIT_S: u32 = 3;
/// The steps from each version of the schema to the next, the first from nothing. Each ends by writing its version, and may be
/// taken twice: these servers commit every change of a table at once.
const MIGRATIONS: &[&str] = &[include_str!("../../../schema.sql")];

/// What every session is told first. Strict: what does not fit is an error and never cut off. READ COMMITTED: no gap locks, and
/// what is read back is what is there now. Idle sessions are kept for the longest time there is.
const SESSION: &[&str] = &[
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, innodb_lock_wait_timeout = 1, \
     lock_wait_timeout = 4, wait_timeout = 31536000",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

/// The lock's name, as SQL. Hashed, because it has at most 64 characters and a database's name may have as many.
pub(super) const LOCK_NAME: &str = "CONCAT('hongyan:', MD5(DATABASE()))";

/// A server and one database there. Clones share the lock on it.
#[derive(Clone)]
pub struct MysqlServer {
    opts: Opts,
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
        // The driver's own sentence may quote what stands in the URL.
        let wrong = || StoreError::Unusable("its URL is not like mysql://USER:PASSWORD@HOST:PORT/DATABASE".to_owned());
        let opts = Opts::from_url(url).map_err(|_| wrong())?;
        if opts.get_db_name().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let opts = OptsBuilder::from_opts(opts)
            .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
            .read_timeout(Some(READ_TIMEOUT))
            .write_timeout(Some(WRITE_TIMEOUT))
            .tcp_keepalive_time_ms(Some(KEEPALIVE_MS))
            .tcp_nodelay(true)
            // The server named is the server used: no moving over to a socket file that it tells of.
            .prefer_socket(false)
            .local_infile_handler(None)
            .stmt_cache_size(STATEMENTS_CACHED);
        let random = getrandom::u64()
            .map_err(|error| StoreError::Unusable(format!("the system has no random numbers: {error}")))?;
        let mark = format!("hongyan-{random:016x}").into();
        Ok(Self { opts: opts.into(), guard: Arc::default(), mark, greatest_seq: Arc::default() })
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
        migrate(&mut conn, MIGRATIONS)?;
        let last_seq = last_seq(&mut conn)?;
        if guard.was_held && last_seq > self.greatest_seq.load(Ordering::Relaxed) {
            return Err(taken_over(guard, "another server has used this database"));
        }
        self.greatest_seq.fetch_max(last_seq, Ordering::Relaxed);
        Ok(conn)
    }
}

/// What this server keeps in memory is no longer what is stored, and never will be again.
fn taken_over(guard: &mut Guard, why: &str) -> StoreError {
    let error = StoreError::Unusable(format!("{why} since this one lost its lock: this one must be started again"));
    guard.taken_over = Some(error.clone());
    error
}

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

/// The version of the tables; 0 when there are none.
fn version(conn: &mut Conn) -> Result<usize, StoreError> {
    let count = |conn: &mut Conn, names: &str| {
        let sql = format!(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ({names})"
        );
        conn.query_first::<u64, _>(sql).map(Option::unwrap_or_default).map_err(|error| fault(&error).0)
    };
    if count(conn, "'schema_version'")? == 0 {
        if count(conn, "'accounts', 'friendships', 'friend_requests', 'pushes'")? > 0 {
            return Err(StoreError::Corrupt("it holds tables of another application".into()));
        }
        return Ok(0);
    }
    let version: Option<u32> =
        conn.query_first("SELECT version FROM schema_version WHERE one = 1").map_err(|error| fault(&error).0)?;
    Ok(version.unwrap_or(0) as usize)
}

/// Takes the steps that are missing. Called with the lock held, so by one server at a time.
fn migrate(conn: &mut Conn, steps: &[&str]) -> Result<(), StoreError> {
    let (found, known) = (version(conn)?, steps.len());
    if found > known {
        let why = format!("it was written by a newer hongyan (schema {found}, this one knows {known})");
        return Err(StoreError::Corrupt(why));
    }
    for step in steps.iter().skip(found) {
        for statement in statements(step) {
            conn.query_drop(statement).map_err(|error| match fault(&error).0 {
                StoreError::Busy(why) | StoreError::Unavailable(why) => StoreError::Unavailable(why),
                error => StoreError::Unusable(format!("cannot make its tables (schema.sql): {error}")),
            })?;
        }
    }
    match version(conn)? {
        reached if reached == known => Ok(()),
        reached => Err(StoreError::Corrupt(format!("its schema is {reached} after it was brought to {known}"))),
    }
}

/// The statements of a file of ours: comments stand on lines of their own, and every statement ends with its line.
fn statements(sql: &str) -> Vec<String> {
    let code: Vec<&str> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = code.join("\n") + "\n";
    code.split(";\n").map(|statement| statement.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_cut_into_its_statements() {
        let found = statements(MIGRATIONS[0]);
        assert_eq!(found.len(), 6);
        assert!(found[..5].iter().all(|one| one.starts_with("CREATE TABLE IF NOT EXISTS")));
        assert!(found[5].starts_with("INSERT IGNORE INTO schema_version"));
    }

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
