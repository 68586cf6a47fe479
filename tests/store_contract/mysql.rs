//! Tests of a remote server alone: it is shared, it belongs to another server, it ends a
//! connection, it hangs.
//! Skipped without `HONGYAN_TEST_MYSQL`.

use crate::common::store::*;
use hongyan::protocol::field::Secret;
use hongyan::protocol::push::PushKind;
use hongyan::store::mysql::MysqlConnector;
use hongyan::store::portable::StoreOpenMode;
use hongyan::store::{MailboxSaveResult, StoreConnection, StoreError};
use mysql::prelude::Queryable;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A database of its own, dropped with it.
pub(crate) struct Database {
    name: String,
    base: String,
    pub(crate) admin: mysql::Conn,
}

impl Database {
    /// `None` where there is no server to test with.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = std::env::var("HONGYAN_TEST_MYSQL").ok()?.trim_end_matches('/').to_owned();
        let name = format!("hongyan_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = mysql::Conn::new(mysql::Opts::from_url(&base).unwrap()).unwrap();
        admin.query_drop(format!("DROP DATABASE IF EXISTS {name}")).unwrap();
        // A charset that could not hold what we write: the tables bring their own.
        admin.query_drop(format!("CREATE DATABASE {name} CHARACTER SET latin1")).unwrap();
        admin.query_drop(format!("USE {name}")).unwrap();
        Some(Self { name, base, admin })
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    pub(crate) fn server(&self) -> MysqlConnector {
        MysqlConnector::new(&self.url()).unwrap()
    }

    /// Ends all connections to it but ours, as an administrator would.
    pub(crate) fn kill_all(&mut self) -> usize {
        let sql = format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{}' AND id <> CONNECTION_ID()",
            self.name
        );
        let ids: Vec<u64> = self.admin.query(sql).unwrap();
        for id in &ids {
            // It may have ended by itself.
            self.admin.query_drop(format!("KILL {id}")).unwrap_or(());
        }
        ids.len()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.admin.query_drop(format!("DROP DATABASE {}", self.name)).unwrap_or(());
    }
}

pub(crate) fn refusal(server: &MysqlConnector) -> String {
    server.connect().map(drop).unwrap_err().to_string()
}

#[test]
fn the_tables_are_made_once_by_the_server_or_by_hand() {
    let Some(mut database) = Database::new() else { return };
    let by_hand = |database: &mut Database| {
        let sql: Vec<_> = include_str!("../../schema.sql").lines().filter(|line| !line.starts_with("--")).collect();
        for statement in (sql.join("\n") + "\n").split(";\n").filter(|statement| !statement.trim().is_empty()) {
            database.admin.query_drop(statement).unwrap();
        }
    };
    by_hand(&mut database);
    let mut store = database.server().connect().unwrap();
    sign_up(&mut store, &["ann"]);
    by_hand(&mut database);
    drop(store);
    let mut store = database.server().connect().unwrap();
    assert_eq!(store.profile(&user("ann")).unwrap(), Some(account("ann")));
}

#[test]
fn two_that_start_at_once_make_one_database_and_one_server() {
    let Some(database) = Database::new() else { return };
    let starts: Vec<_> = (0..2)
        .map(|_| {
            let server = database.server();
            std::thread::spawn(move || (server.connect().map(drop), server))
        })
        .collect();
    let results: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    let refused: Vec<_> = results.iter().filter_map(|(result, _)| result.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].to_string().contains("another server uses this database, with connection "), "{refused:?}");
    drop(results);
    database.server().connect().unwrap();
}

#[test]
fn a_foreign_or_newer_database_is_refused() {
    let Some(mut database) = Database::new() else { return };
    database.admin.query_drop("CREATE TABLE accounts (a INT)").unwrap();
    let why = refusal(&database.server());
    assert!(why.contains("it holds tables of another application"), "{why}");
    let tables: Vec<String> = database.admin.query("SHOW TABLES").unwrap();
    assert_eq!(tables, ["accounts"], "left alone");
    database.admin.query_drop("DROP TABLE accounts").unwrap();
    // Interrupted after its first step, it goes on.
    database
        .admin
        .query_drop(
            "CREATE TABLE schema_version (one TINYINT UNSIGNED NOT NULL PRIMARY KEY, version INT UNSIGNED NOT NULL, \
             compatible INT NOT NULL)",
        )
        .unwrap();
    drop(database.server().connect().unwrap());
    database.admin.query_drop("UPDATE schema_version SET version = 13, compatible = 12").unwrap();
    let why = refusal(&database.server());
    let newer = "it was written by a newer hongyan (schema 13, which needs one that knows 12, this one knows 11)";
    assert!(why.contains(newer), "{why}");
    // One that is compatible with this build may have tables that this one does not know.
    database.admin.query_drop("UPDATE schema_version SET compatible = 10").unwrap();
    database.admin.query_drop("CREATE TABLE of_schema_12 (a INT)").unwrap();
    drop(database.server().connect().unwrap());
    let version: Option<u32> = database.admin.query_first("SELECT version FROM schema_version").unwrap();
    assert_eq!(version, Some(13), "left as it is");
    let missing = MysqlConnector::new(&format!("{}/no_such_database_here", database.base)).unwrap();
    assert!(refusal(&missing).contains("no_such_database_here"));
}

/// The statements of `schema.sql` in version 1, as far as the step from there changes them.
const VERSION_1: [&str; 8] = [
    "CREATE TABLE schema_version (one TINYINT NOT NULL DEFAULT 1, version INT NOT NULL, PRIMARY KEY (one))",
    "CREATE TABLE friend_requests (receiver VARBINARY(256) NOT NULL, sender VARBINARY(256) NOT NULL, message_id \
     VARBINARY(128) NOT NULL, time_ms BIGINT UNSIGNED NOT NULL, push_seq BIGINT UNSIGNED NOT NULL, \
     PRIMARY KEY (receiver, sender))",
    "CREATE TABLE pushes (seq BIGINT UNSIGNED NOT NULL PRIMARY KEY, receiver VARBINARY(256) NOT NULL, \
     sender VARBINARY(256) NOT NULL, content MEDIUMTEXT NOT NULL) CHARSET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE accounts (user_name VARBINARY(256) NOT NULL PRIMARY KEY, \
     created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    "INSERT INTO accounts VALUES ('ann', FROM_UNIXTIME(1500000000))",
    // A request whose push waits, one whose push was acked, one with a long text, and one whose
    // number another push has by now.
    "INSERT INTO friend_requests VALUES ('ann', 'bob', 'r', 7, 1), ('ann', 'cid', 'r', 7, 2), ('ann', 'dan', 'r', 7, 3), \
     ('ann', 'eve', 'r', 7, 4)",
    "INSERT INTO pushes VALUES (1, 'ann', 'bob', '鸿雁 🪿\0 '), (3, 'ann', 'dan', REPEAT('雁', 2000)), (4, 'ann', 'fay', 'x')",
    "INSERT INTO schema_version VALUES (1, 1)",
];

const TABLES: [&str; 10] = [
    "friend_requests",
    "resume_tokens",
    "fence",
    "lanes",
    "deletions",
    "blocks",
    "cluster",
    "nodes",
    "whereabouts",
    "mail",
];

#[test]
fn an_older_schema_is_brought_up_to_date_even_after_a_step_that_was_cut_short() {
    let Some(mut database) = Database::new() else { return };
    for sql in VERSION_1 {
        database.admin.query_drop(sql).unwrap();
    }
    // As if the server had been killed between the two changes of the step.
    database.admin.query_drop("ALTER TABLE friend_requests ADD KEY by_sender (sender)").unwrap();
    let state = "ALTER TABLE accounts ADD COLUMN state TINYINT UNSIGNED NOT NULL DEFAULT 0";
    database.admin.query_drop(state).unwrap();
    drop(database.server().connect().unwrap());
    let mut shape = |table: &str| -> Vec<(String, String, String)> {
        let sql = "SELECT column_name, column_type, column_key FROM information_schema.columns \
                   WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position";
        database.admin.exec(sql, (table,)).unwrap()
    };
    let upgraded = TABLES.map(&mut shape);
    let Some(mut fresh) = Database::new() else { return };
    drop(fresh.server().connect().unwrap());
    let mut shape = |table: &str| -> Vec<(String, String, String)> {
        let sql = "SELECT column_name, column_type, column_key FROM information_schema.columns \
                   WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position";
        fresh.admin.exec(sql, (table,)).unwrap()
    };
    assert_eq!(upgraded, TABLES.map(&mut shape));
    let version: Option<u32> = database.admin.query_first("SELECT version FROM schema_version").unwrap();
    assert_eq!(version, Some(11));
    let texts: Vec<String> = database.admin.query("SELECT content FROM friend_requests ORDER BY sender").unwrap();
    assert_eq!(texts, ["鸿雁 🪿\0 ", "", &"雁".repeat(2_000), ""]);
    let created: Option<String> = database.admin.query_first("SELECT created_at FROM accounts").unwrap();
    assert_eq!(created.as_deref(), Some("2017-07-14 02:40:00.000"));
    database.admin.query_drop("UPDATE accounts SET created_at = '2100-01-01 00:00:00.001'").unwrap();
}

#[test]
fn one_clone_for_each_worker_and_all_see_the_same() {
    let Some(database) = Database::new() else { return };
    let server = database.server();
    let (mut one, mut other) = (server.connect().unwrap(), server.clone().connect().unwrap());
    sign_up(&mut one, &["ann", "bob"]);
    one.begin().unwrap();
    assert_eq!(one.save_pushes(&[message(1, "bob", "ann", "m")]).unwrap(), [MailboxSaveResult::Itself]);
    assert!(waiting(&mut other, "ann").is_empty(), "not committed");
    other.begin().unwrap();
    let waits = other.save_pushes(&[message(2, "bob", "ann", "m")]);
    assert!(matches!(waits, Err(StoreError::Busy(_))), "{waits:?}");
    other.rollback();
    one.commit().unwrap();
    assert_eq!(save(&mut other, &[message(2, "bob", "ann", "m")]), [MailboxSaveResult::Duplicate]);
    assert_eq!(other.last_seq().unwrap(), 1);
}

#[test]
fn a_row_that_does_not_fit_is_refused_and_nothing_is_cut_off() {
    let Some(mut database) = Database::new() else { return };
    let mut store = database.server().connect().unwrap();
    store.begin().unwrap();
    let long = store.create_account(&account("ann"), &Secret::new(&"h".repeat(513)));
    assert!(matches!(long, Err(StoreError::Refused(_))), "{long:?}");
    store.rollback();
    let packet: usize = database.admin.query_first("SELECT @@max_allowed_packet").unwrap().unwrap();
    let huge = push(1, PushKind::Message, "bob", "ann", "m", &"x".repeat(packet));
    store.begin().unwrap();
    let huge = store.save_pushes(&[huge]);
    assert!(matches!(huge, Err(StoreError::TooLarge(_))));
    store.rollback();
    assert!(!store.is_broken());
    assert_eq!(save(&mut store, &[message(1, "bob", "ann", "m")]), [MailboxSaveResult::Itself]);
}

/// A proxy that can be told to hang: the server behind it is there and answers, too late.
struct Proxy {
    port: u16,
    hangs: Arc<AtomicBool>,
    /// It takes nothing from us any more, either.
    is_deaf: Arc<AtomicBool>,
}

impl Proxy {
    fn new(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hangs, is_deaf) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (hanging, deaf) = (Arc::clone(&hangs), Arc::clone(&is_deaf));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&target).unwrap();
                let (client_copy, server_copy) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let deaf = Arc::clone(&deaf);
                std::thread::spawn(move || Self::pump(client_copy, server_copy, &deaf));
                let hangs = Arc::clone(&hanging);
                std::thread::spawn(move || Self::pump(server, client, &hangs));
            }
        });
        Self { port, hangs, is_deaf }
    }

    /// Of a server by way of it.
    fn url(&self, database: &Database) -> String {
        let (before, _) = database.base.rsplit_once('@').unwrap();
        format!("{before}@127.0.0.1:{}/{}", self.port, database.name)
    }

    fn pump(mut from: TcpStream, mut to: TcpStream, hangs: &AtomicBool) {
        let mut buffer = [0; 4_096];
        while let Ok(count) = from.read(&mut buffer) {
            while hangs.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        to.shutdown(std::net::Shutdown::Both).unwrap_or(());
        from.shutdown(std::net::Shutdown::Both).unwrap_or(());
    }
}

#[test]
fn a_connection_that_timed_out_is_never_used_again() {
    let Some(database) = Database::new() else { return };
    let (_, place) = database.base.rsplit_once('@').unwrap();
    let proxy = Proxy::new(place.to_owned());
    let server = MysqlConnector::new(&proxy.url(&database)).unwrap();
    let mut store = server.connect().unwrap();
    save(&mut store, &[message(1, "bob", "ann", "m")]);
    proxy.hangs.store(true, Ordering::SeqCst);
    store.begin().unwrap_err();
    assert!(store.is_broken());
    proxy.hangs.store(false, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(100));
    assert!(matches!(store.last_seq(), Err(StoreError::Unavailable(_))), "a late answer must not be read");
    store.rollback();
    assert!(matches!(store.commit(), Err(StoreError::Unavailable(_))));
    assert_eq!(waiting(&mut server.connect().unwrap(), "ann"), [1]);
}

#[test]
fn a_connection_on_which_nobody_reads_any_more_is_left_at_once() {
    let Some(mut database) = Database::new() else { return };
    let (_, place) = database.base.rsplit_once('@').unwrap();
    let proxy = Proxy::new(place.to_owned());
    let server = MysqlConnector::new(&proxy.url(&database)).unwrap();
    let mut store = server.connect().unwrap();
    // Each of its prepared statements is one more that the driver wants to close.
    sign_up(&mut store, &["ann", "bob"]);
    for seq in 1..=3 {
        save(&mut store, &[message(seq, "bob", "ann", &format!("m{seq}"))]);
        assert!(store.password_hash(&user("ann")).unwrap().is_some() && friends(&mut store, "ann").is_empty());
        assert!(store.last_seq().unwrap() > 0 && store.profile(&user("ann")).unwrap().is_some());
    }
    // More than all buffers between the two hold.
    let packet: usize = database.admin.query_first("SELECT @@max_allowed_packet").unwrap().unwrap();
    let large = push(4, PushKind::Message, "bob", "ann", "m4", &"x".repeat(packet.min(64 << 20) - 8_192));
    store.begin().unwrap();
    proxy.is_deaf.store(true, Ordering::SeqCst);
    let asked = Instant::now();
    let lost = store.save_pushes(&[large]);
    store.rollback();
    assert!(matches!(lost, Err(StoreError::Unavailable(_))) && store.is_broken());
    // One write that waits for its time-out; not one more for each statement.
    drop(store);
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    proxy.is_deaf.store(false, Ordering::SeqCst);
    assert_eq!(waiting(&mut server.connect().unwrap(), "ann"), [1, 2, 3]);
}

/// Ends the connection that holds the lock. The database does that in its own time, after KILL has
/// returned.
pub(crate) fn kill_lock(database: &mut Database) {
    const HOLDER: &str = "SELECT IS_USED_LOCK(CONCAT('hongyan:', LEFT(SHA2(DATABASE(), 256), 40)))";
    let mut holder = || database.admin.query_first::<Option<u64>, _>(HOLDER).unwrap().flatten();
    let id = holder().unwrap();
    database.admin.query_drop(format!("KILL {id}")).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while database.admin.query_first::<Option<u64>, _>(HOLDER).unwrap().flatten() == Some(id) {
        assert!(Instant::now() < until, "the connection with the lock does not end");
        std::thread::yield_now();
    }
}

#[test]
fn without_the_lock_nothing_is_written_and_it_is_taken_again() {
    let Some(mut database) = Database::new() else { return };
    let server = database.server();
    let mut store = server.connect().unwrap();
    save(&mut store, &[message(1, "bob", "ann", "m")]);
    kill_lock(&mut database);
    let lost = store.begin();
    assert!(matches!(lost, Err(StoreError::Unavailable(_))) && store.is_broken(), "{lost:?}");
    let mut store = server.connect().unwrap();
    save(&mut store, &[message(2, "bob", "ann", "n")]);
    let other = refusal(&database.server());
    assert!(other.contains("another server uses this database"), "{other}");
}

#[test]
fn a_server_whose_database_another_one_took_over_never_writes_again() {
    let Some(mut database) = Database::new() else { return };
    // While the other one is there, and when it has come and gone.
    for is_gone in [false, true] {
        let first = database.server();
        let mut store = first.connect().unwrap();
        kill_lock(&mut database);
        let second = database.server();
        let mut other = second.connect().unwrap();
        let seq = other.last_seq().unwrap() + 1;
        save(&mut other, &[message(seq, "bob", "ann", &format!("m{seq}"))]);
        if is_gone {
            drop((other, second));
            assert!(store.begin().is_err());
            let why = refusal(&first);
            assert!(why.contains("this one must be started again"), "{why}");
        } else {
            assert!(store.begin().is_err());
            let why = refusal(&first);
            assert!(why.contains("another server uses this database, with connection "), "{why}");
            assert!(why.contains("this one must be started again"), "{why}");
            drop((other, second));
        }
        let why = refusal(&first);
        assert!(why.contains("this one must be started again"), "{why}");
    }
}

/// A server that has lost its lock could not notice this take-over by its numbers alone.
#[test]
fn a_take_over_is_noticed_when_all_that_was_stored_is_gone_since() {
    let Some(mut database) = Database::new() else { return };
    let first = database.server();
    let mut store = first.connect().unwrap();
    sign_up(&mut store, &["ann", "bob"]);
    save(&mut store, &[message(7, "bob", "ann", "m7")]);
    kill_lock(&mut database);
    let second = database.server();
    let mut other = second.connect().unwrap();
    other.begin().unwrap();
    other.delete_pushes(&[(user("ann"), 7)]).unwrap();
    other.save_pushes(&[message(3, "bob", "ann", "m3")]).unwrap();
    other.commit().unwrap();
    drop((other, second));
    assert!(store.begin().is_err() && store.is_broken());
    let why = refusal(&first);
    assert!(why.contains("another server has used this database") && why.contains("must be started again"), "{why}");
}

#[test]
fn a_lock_that_was_taken_for_reading_only_is_had_again() {
    let Some(mut database) = Database::new() else { return };
    let first = database.server();
    let mut store = first.connect().unwrap();
    kill_lock(&mut database);
    let reading = MysqlConnector::new_for(StoreOpenMode::CopyFrom, &database.url()).unwrap();
    let reader = reading.connect().unwrap();
    assert!(store.begin().is_err());
    let why = refusal(&first);
    assert!(why.contains("another server uses this database") && !why.contains("started again"), "{why}");
    drop((reader, reading));
    save(&mut first.connect().unwrap(), &[message(1, "bob", "ann", "m1")]);
}

/// A network that goes away without a word: a connection that is cut on our side stays open on the
/// database's.
fn silent_cuts(target: String) -> (u16, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, ours) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&ours);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&target).unwrap();
            kept.lock().unwrap().push(client.try_clone().unwrap());
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), client.try_clone().unwrap()),
            ] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to).unwrap_or(0));
            }
            // Never closed.
            std::mem::forget(server);
        }
    });
    (port, ours)
}

#[test]
fn a_connection_of_ours_that_the_database_holds_for_alive_does_not_keep_us_out() {
    let Some(mut database) = Database::new() else { return };
    let (before, place) = database.base.rsplit_once('@').unwrap();
    let (port, ours) = silent_cuts(place.to_owned());
    let server = MysqlConnector::new(&format!("{before}@127.0.0.1:{port}/{}", database.name)).unwrap();
    for seq in 1..=2 {
        let mut store = server.connect().unwrap();
        save(&mut store, &[message(seq, "bob", "ann", &format!("m{seq}"))]);
        for conn in ours.lock().unwrap().drain(..) {
            conn.shutdown(std::net::Shutdown::Both).unwrap();
        }
        assert!(store.begin().is_err());
    }
    assert!(refusal(&database.server()).contains("another server uses this database"), "it is still held there");
    save(&mut server.connect().unwrap(), &[message(3, "bob", "ann", "m3")]);
    database.kill_all();
}
