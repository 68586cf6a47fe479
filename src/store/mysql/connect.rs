//! Coming to a MySQL or MariaDB server: the URL, the session's settings, the tables, and the lock that keeps a second server away.

use super::{MysqlStore, fault};
use crate::store::StoreError;
use crate::store::portable::{Role, UNFINISHED, check_current, unfinished};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
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
/// All tables as they are now, for a database that has none.
const SCHEMA: &str = include_str!("../../../schema.sql");
/// The steps from each version of the schema to the next, the first from version 1. Each ends by writing its version, and may be
/// taken twice: these servers commit every change of a table at once, so one that was cut short is done again.
const UPGRADES: &[&str] = &[include_str!("schema_2.sql")];
/// The version that they lead to.
const KNOWN: usize = UPGRADES.len() + 1;
/// There is a key of that name already: the step was cut short behind it.
const DUPLICATE_KEY_NAME: u16 = 1061;

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

/// The lock's name. Hashed, because it has at most 64 characters and a database's name may have as many.
const LOCK: &str = "CONCAT('hongyan:', MD5(DATABASE()))";

/// A server and one database there. Clones share the lock on it.
#[derive(Clone)]
pub struct MysqlServer {
    opts: Opts,
    role: Role,
    guard: Arc<Mutex<Guard>>,
}

/// A connection of its own holds the lock: whoever else wants the database waits for it in vain.
#[derive(Default)]
struct Guard {
    conn: Option<Conn>,
    failed: Option<(Instant, StoreError)>,
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
        let wrong =
            || StoreError::Unavailable("its URL is not like mysql://USER:PASSWORD@HOST:PORT/DATABASE".to_owned());
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
        Ok(Self { opts: opts.into(), role, guard: Arc::default() })
    }

    /// One more connection. The first one takes the lock and brings the tables up to date, as does the first after the lock was lost.
    ///
    /// # Errors
    /// When the server cannot be reached or used, another hongyan uses the database, or a newer one has.
    pub fn connect(&self) -> Result<MysqlStore, StoreError> {
        self.guard()?;
        let mut conn = self.session()?;
        let packet: Option<u64> = conn.query_first("SELECT @@max_allowed_packet").map_err(|error| fault(&error).0)?;
        Ok(MysqlStore::new(conn, packet.unwrap_or(0)))
    }

    fn session(&self) -> Result<Conn, StoreError> {
        let mut conn = Conn::new(self.opts.clone()).map_err(|error| fault(&error).0)?;
        for statement in SESSION {
            conn.query_drop(statement).map_err(|error| fault(&error).0)?;
        }
        Ok(conn)
    }

    /// Makes sure that the lock is held.
    fn guard(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        // A guard whose owner panicked is looked at like any other: by asking its connection.
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, error)) = &guard.failed
            && *at >= asked
        {
            // Whoever waited while another one failed does not make the next one wait for the same time-out.
            return Err(error.clone());
        }
        if let Some(mut conn) = guard.conn.take()
            && conn.ping().is_ok()
        {
            guard.conn = Some(conn);
            return Ok(());
        }
        match self.lock() {
            Ok(conn) => {
                guard.conn = Some(conn);
                guard.failed = None;
                Ok(())
            }
            Err(error) => {
                guard.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn lock(&self) -> Result<Conn, StoreError> {
        let mut conn = self.session()?;
        let lock = format!("SELECT GET_LOCK({LOCK}, {LOCK_WAIT_S})");
        let locked: Option<Option<u8>> = conn.query_first(lock).map_err(|error| fault(&error).0)?;
        if locked.flatten() != Some(1) {
            let holder = holder(&mut conn)?.map_or_else(String::new, |id| format!(", with connection {id} there"));
            return Err(StoreError::Unavailable(format!("another server uses this database{holder}")));
        }
        match self.role {
            Role::CopyFrom => check_current(known_version(&mut conn)? as i64, KNOWN)?,
            Role::CopyInto if version(&mut conn)? == 0 => make_marked(&mut conn)?,
            Role::CopyInto | Role::Serve => migrate(&mut conn)?,
        }
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
        Ok(holder(&mut other.session()?)? == Some(ours.into()))
    }
}

/// Which connection holds the lock, if any.
fn holder(conn: &mut Conn) -> Result<Option<u64>, StoreError> {
    let holder = format!("SELECT IS_USED_LOCK({LOCK})");
    let holder: Option<Option<u64>> = conn.query_first(holder).map_err(|error| fault(&error).0)?;
    Ok(holder.flatten())
}

fn set_version(version: i64) -> String {
    format!("UPDATE schema_version SET version = {version} WHERE one = 1")
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
        if count(conn, "'accounts', 'friendships', 'friend_requests', 'pushes', 'resume_tokens'")? > 0 {
            return Err(StoreError::Corrupt("it holds tables of another application".into()));
        }
        return Ok(0);
    }
    let version: Option<i64> =
        conn.query_first("SELECT version FROM schema_version WHERE one = 1").map_err(|error| fault(&error).0)?;
    match version.unwrap_or(0) {
        UNFINISHED => Err(unfinished()),
        version => {
            usize::try_from(version).map_err(|_| StoreError::Corrupt(format!("its schema has the number {version}")))
        }
    }
}

/// The version of the tables, if it is not beyond the one that is known.
fn known_version(conn: &mut Conn) -> Result<usize, StoreError> {
    let found = version(conn)?;
    if found > KNOWN {
        let why = format!("it was written by a newer hongyan (schema {found}, this one knows {KNOWN})");
        return Err(StoreError::Corrupt(why));
    }
    Ok(found)
}

fn cannot_make(error: &mysql::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot make its tables (schema.sql): {}", fault(error).0))
}

/// Makes the tables with the mark of an unfinished copy. These servers commit every change of a table at once, so the mark is set as
/// soon as there is a place for it: after the first statement. The schema's own `INSERT IGNORE` then leaves it alone.
fn make_marked(conn: &mut Conn) -> Result<(), StoreError> {
    let mark = format!("INSERT IGNORE INTO schema_version (one, version) VALUES (1, {UNFINISHED})");
    for (number, statement) in statements(SCHEMA).into_iter().enumerate() {
        conn.query_drop(statement).map_err(|error| cannot_make(&error))?;
        if number == 0 {
            conn.query_drop(&mark).map_err(|error| cannot_make(&error))?;
        }
    }
    Ok(())
}

/// Makes the tables, or takes the steps that are missing. Called with the lock held, so by one server at a time.
fn migrate(conn: &mut Conn) -> Result<(), StoreError> {
    let found = known_version(conn)?;
    if found == 0 {
        apply(conn, SCHEMA)?;
    } else {
        UPGRADES.iter().skip(found - 1).try_for_each(|step| apply(conn, step))?;
    }
    match version(conn)? {
        reached if reached == KNOWN => Ok(()),
        reached => Err(StoreError::Corrupt(format!("its schema is {reached} after it was brought to {KNOWN}"))),
    }
}

fn apply(conn: &mut Conn, sql: &str) -> Result<(), StoreError> {
    for statement in statements(sql) {
        match conn.query_drop(statement) {
            Err(mysql::Error::MySqlError(error)) if error.code == DUPLICATE_KEY_NAME => {}
            result => result.map_err(|error| cannot_make(&error))?,
        }
    }
    Ok(())
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
        let found = statements(SCHEMA);
        assert_eq!(found.len(), 7);
        assert!(found[..6].iter().all(|one| one.starts_with("CREATE TABLE IF NOT EXISTS")));
        assert!(found[6].starts_with("INSERT IGNORE INTO schema_version"));
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
