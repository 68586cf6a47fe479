//! Copies from and to a MySQL or MariaDB server. Skipped without HONGYAN_TEST_MYSQL.

use crate::common::{Client, Database, Server, config};
use crate::copy::data::{assert_same, fill};
use crate::{Folder, UNFINISHED, copied, copy, copy_with, is_unfinished, kill_after, pushes, refused, refused_at_once};
use hongyan::config::{Config, StoreUrl};
use hongyan::store::mysql::MysqlConnector;
use mysql::prelude::Queryable;

fn schema_version(database: &mut Database) -> i64 {
    database.conn.query_first("SELECT version FROM schema_version").unwrap().unwrap()
}

#[test]
fn a_file_goes_to_a_database_and_back_whole() {
    let Some(mut database) = Database::create("copy_round") else { return };
    let folder = Folder::new();
    fill(&mut folder.open("a.db"), pushes());
    folder.tamper("a.db", "UPDATE accounts SET created_ms = 1500000000000 + rowid * 1001");
    // The clock was wrong; or it is late.
    folder.tamper("a.db", "UPDATE accounts SET created_ms = -7 WHERE user_name = 'Hub'");
    folder.tamper("a.db", "UPDATE accounts SET created_ms = 253402300799999 WHERE user_name = 'hub'");
    copied(&folder.url("a.db"), &database.url());
    let epochs: Vec<u64> = database.conn.query("SELECT DISTINCT epoch FROM lanes").unwrap();
    assert_eq!(epochs, [0], "as after a clean stop, so that a standby takes the place at once");
    {
        let server = MysqlConnector::new(&database.url()).unwrap();
        assert_same(&mut folder.open("a.db"), &mut server.connect().unwrap());
    }
    let known = schema_version(&mut database);
    copied(&database.url(), &folder.url("b.db"));
    assert_eq!(schema_version(&mut database), known);
    assert_same(&mut folder.open("a.db"), &mut folder.open("b.db"));
    let created = |name: &str| -> Vec<i64> {
        let db = rusqlite::Connection::open(folder.path(name)).unwrap();
        let mut find = db.prepare("SELECT created_ms FROM accounts ORDER BY user_name").unwrap();
        find.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let expected: Vec<i64> = created("a.db").into_iter().map(|ms| ms.max(0)).collect();
    assert_eq!(created("b.db"), expected);
}

#[test]
fn a_server_goes_on_in_the_database() {
    let Some(database) = Database::create("copy_serve") else { return };
    let folder = Folder::new();
    let serving = |store| Server::with(Config { store, ..config() });
    let server = serving(StoreUrl::Sqlite(folder.path("a.db")));
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    ann.say("m1", "bob", "one 🪿 ", "MS");
    server.stop();
    copied(&folder.url("a.db"), &database.url());
    let server = serving(StoreUrl::Mysql(database.url()));
    let mut bob: Client = server.raw();
    bob.log_in("bob");
    assert_eq!(bob.expect_push("4", "m1")["content"], "one 🪿 ");
    bob.ack("m1");
    bob.fence();
    // Both ends are in use.
    refused_at_once(
        &database.url(),
        &folder.url("c.db"),
        &["cannot copy from mysql://", "another server uses this database"],
    );
    refused_at_once(
        &folder.url("a.db"),
        &database.url(),
        &["cannot copy into mysql://", "another server uses this database"],
    );
    assert!(!folder.path("c.db").exists());
    server.stop();
}

#[test]
fn databases_that_cannot_be_used_are_refused() {
    let Some(mut full) = Database::create("copy_full") else { return };
    let Some(mut other) = Database::create("copy_other") else { return };
    let folder = Folder::new();
    let from = folder.small("a.db");
    copied(&from, &full.url());
    let words =
        ["cannot copy into mysql://hongyan:***@", "it is not empty (accounts: 2, friend requests: 1, pushes: 3)"];
    refused_at_once(&from, &full.url(), &words);
    refused_at_once(&full.url(), &full.url(), &["are the same store"]);
    refused_at_once(&full.url(), &full.url().replace("@127.0.0.1:", "@localhost:"), &["are the same store"]);
    refused_at_once(&other.url(), &folder.url("b.db"), &["there is no hongyan store in it"]);
    let tables: Vec<String> = other.conn.query("SHOW TABLES").unwrap();
    assert!(tables.is_empty(), "made in the source: {tables:?}");
    refused_at_once(&format!("{}_nowhere", other.url()), &folder.url("b.db"), &["_nowhere"]);
    other.conn.query_drop("CREATE TABLE accounts (a INT)").unwrap();
    refused_at_once(&from, &other.url(), &["it holds tables of another application"]);
    full.conn.query_drop("UPDATE schema_version SET version = 70").unwrap();
    refused_at_once(&full.url(), &folder.url("b.db"), &["written by a newer hongyan (schema 70"]);
    refused_at_once(&from, &full.url(), &["written by a newer hongyan (schema 70"]);
    assert!(!folder.path("b.db").exists());
}

#[test]
fn a_database_that_was_not_finished_is_no_store() {
    let Some(mut database) = Database::create("copy_half") else { return };
    let folder = Folder::new();
    let from = folder.small("a.db");
    // Longer than its column there.
    folder.tamper("a.db", "UPDATE friend_requests SET message_id = replace(hex(zeroblob(80)), '0', 'x')");
    refused(&copy(&from, &database.url()), &["cannot write friend requests to mysql://", "drop the database"]);
    assert_eq!(schema_version(&mut database), -1);
    is_unfinished(&database.url(), &from);
}

#[test]
fn a_lock_that_is_lost_meanwhile_is_noticed() {
    for into in [true, false] {
        let Some(mut database) = Database::create("copy_lock") else { return };
        let folder = Folder::new();
        let (file, there) = (StoreUrl::Sqlite(folder.path("a.db")), StoreUrl::Mysql(database.url()));
        folder.small("a.db");
        if !into {
            copied(&folder.url("a.db"), &database.url());
        }
        let other = StoreUrl::Sqlite(folder.path("b.db"));
        let (from, to) = if into { (&file, &there) } else { (&there, &other) };
        let why = copy_with(from, to, "copying pushes", || {
            let holder = "SELECT IS_USED_LOCK(CONCAT('hongyan:', LEFT(SHA2(DATABASE(), 256), 40)))";
            let holder: u64 = database.conn.query_first(holder).unwrap().unwrap();
            database.conn.query_drop(format!("KILL {holder}")).unwrap();
        });
        let why = why.unwrap_err();
        assert!(
            why.contains("cannot trust the copy: mysql://hongyan:***@") && why.contains("its lock was lost"),
            "{why}"
        );
    }
}

#[test]
fn a_database_whose_copy_was_killed_is_unfinished_or_whole() {
    let folder = Folder::new();
    fill(&mut folder.open("a.db"), 6_000);
    for lines in [0, 1, 3, 6] {
        let Some(mut database) = Database::create(&format!("copy_kill{lines}")) else { return };
        kill_after(lines, &folder.url("a.db"), &database.url());
        let tables: Vec<String> = database.conn.query("SHOW TABLES").unwrap();
        // Killed before there was anything.
        let begun = |database: &mut Database| -> Vec<i64> {
            database.conn.query("SELECT version FROM schema_version").unwrap()
        };
        if tables.is_empty() || begun(&mut database).is_empty() {
            continue;
        }
        let server = MysqlConnector::new(&database.url()).unwrap();
        match server.connect() {
            Ok(mut copy) => assert_same(&mut folder.open("a.db"), &mut copy),
            Err(why) => assert!(why.to_string().contains(UNFINISHED), "{lines}: {why}"),
        }
    }
}
