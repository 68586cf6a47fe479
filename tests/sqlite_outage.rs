//! Clients while the SQLite file is deleted, replaced or moved (nothing is promised that the next
//! start would not find), and while another program holds it, so that it can be read and not
//! written.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{CHEAP_PASSWORDS, Client, ContentForm, PATIENCE, Program, Server, befriend, content};
use hongyan::config::StoreUrl;
use hongyan::store::StoreConnection;
use hongyan::store::sqlite::SqliteStore;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn start(file: &Path) -> Program {
    Program::on(&format!("sqlite:{}", file.display()), &CHEAP_PASSWORDS)
}

/// The change of the file.
type Harm = fn(&Path);

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn is_refused(ann: &mut Client, id: &str) {
    ann.send(&ann.message(id, "bob", "are you there?"));
    ann.expect_reply("RE_MESSAGE", id, "MF");
    ann.expect_error(id, "UNAVAILABLE");
}

#[test]
fn nothing_is_promised_into_a_file_that_has_lost_its_name() {
    let harms: [(&str, Harm, &str); 7] = [
        ("deleted", |path| std::fs::remove_file(path).unwrap(), "was deleted or moved"),
        (
            "replaced by rename",
            |path| {
                std::fs::copy(path, beside(path, ".new")).unwrap();
                std::fs::rename(beside(path, ".new"), path).unwrap();
            },
            "was replaced by another",
        ),
        (
            "replaced by a fresh file",
            |path| {
                std::fs::remove_file(path).unwrap();
                // The number of the old one is still in use: the server has it open.
                std::fs::write(path, "").unwrap();
            },
            "was replaced by another",
        ),
        (
            // SQLite looks for the log where the link leads to.
            "moved, with a link in its place",
            |path| {
                std::fs::rename(path, beside(path, ".moved")).unwrap();
                std::os::unix::fs::symlink(beside(path, ".moved"), path).unwrap();
            },
            "was replaced by another",
        ),
        // Another process that finds no index takes the log for one that nobody uses.
        ("without its index", |path| std::fs::remove_file(beside(path, "-shm")).unwrap(), "-shm was deleted"),
        ("without its log", |path| std::fs::remove_file(beside(path, "-wal")).unwrap(), "-wal was deleted"),
        (
            "in a folder that was moved",
            |path| {
                let folder = path.parent().unwrap();
                std::fs::rename(folder, beside(folder, "-elsewhere")).unwrap();
            },
            "was deleted or moved",
        ),
    ];
    for (what, harm, said) in harms {
        println!("{what}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join("im.db");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let server = start(&path);
        let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.user(name, ContentForm::Text));
        befriend(&mut ann, &mut bob);
        drop(bob);
        ann.say("before", "bob", "safe", "MS");
        harm(&path);
        is_refused(&mut ann, "after");
        let line = server.wait_for("the store does not work");
        assert!(line.contains(said) && line.contains("im.db"), "{what}: {line}");
        // Reading from it would tell what no later start knows.
        ann.send(r#"{"TYPE":"3","MID":"g","CONTENT":"bob"}"#);
        ann.expect_error("g", "UNAVAILABLE");
        is_refused(&mut ann, "later");
    }
}

#[test]
fn when_the_same_file_is_back_it_goes_on_and_all_promised_messages_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.db");
    let server = start(&path);
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.user(name, ContentForm::Text));
    befriend(&mut ann, &mut bob);
    drop(bob);
    ann.say("m1", "bob", "before", "MS");
    std::fs::rename(&path, beside(&path, ".aside")).unwrap();
    is_refused(&mut ann, "m2");
    server.wait_for("worker data-0: the store does not work: ");
    std::fs::rename(beside(&path, ".aside"), &path).unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        ann.send(&ann.message("m2", "bob", "again"));
        if content(&ann.recv())["Content"] == "MS" {
            break;
        }
        ann.expect_error("m2", "UNAVAILABLE");
        assert!(Instant::now() < until, "it does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.wait_for("worker data-0: the store works again");
    let mut bob = server.client(ContentForm::Text);
    bob.log_in("bob");
    bob.take("m1");
    bob.take("m2");
    bob.fence();
}

/// Waits until the server says so of its health.
fn is_seen(server: &Program, status: &str, word: &str) {
    is_seen_within(2 * PATIENCE, server, status, word);
}

fn is_seen_within(patience: Duration, server: &Program, status: &str, word: &str) {
    let until = Instant::now() + patience;
    loop {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(&format!("\r\n\r\n{word}\n")) {
            return;
        }
        assert!(Instant::now() < until, "{word} expected: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server whose disk can be full. It can still read everything: only a write fails.
#[cfg(target_os = "linux")]
fn start_on_a_disk(file: &Path, args: &[&str]) -> Program {
    // A write beyond the limit of `fill_disk` fails then, and kills nobody.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hongyan")]);
    command.args(["--listen", "127.0.0.1:0", "--store", &format!("sqlite:{}", file.display())]);
    command.args(CHEAP_PASSWORDS).args(args);
    Program::run(command)
}

#[cfg(target_os = "linux")]
fn fill_disk(server: &Program, is_full: bool) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(server.id().try_into().unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: is_full.then_some(1), maximum: None }).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn health_tells_of_a_disk_that_takes_nothing_without_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_on_a_disk(&folder.path().join("im.db"), &[]);
    is_seen(&server, "200", "ok");
    fill_disk(&server, true);
    is_seen(&server, "503", "store");
    fill_disk(&server, false);
    is_seen(&server, "200", "ok");
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_a_backlog_is_read_on_and_acked_pushes_are_deleted_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.db");
    // Nothing is refused for the time alone.
    let server = start_on_a_disk(
        &path,
        &["--page-max", "8", "--list-max", "16", "--outstanding-max", "16", "--answer-within", "60s"],
    );
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.user(name, ContentForm::Text));
    befriend(&mut ann, &mut bob);
    drop(bob);
    // Seven pages and a half.
    let ids: Vec<String> = (0..60).map(|n| format!("m{n}")).collect();
    ids.iter().for_each(|id| ann.say(id, "bob", "honk", "MS"));
    fill_disk(&server, true);
    is_seen(&server, "503", "store");
    let mut bob = server.client(ContentForm::Text);
    bob.log_in("bob");
    bob.take(&ids[0]);
    // Behind all of them, and not to be stored.
    ann.send(&ann.message("new", "bob", "are you there?"));
    ids[1..].iter().for_each(|id| bob.take(id));
    bob.take("new");
    ann.expect_reply("RE_MESSAGE", "new", "MS");
    fill_disk(&server, false);
    is_seen(&server, "200", "ok");
    pushes_are_deleted(&rusqlite::Connection::open(&path).unwrap());
}

/// Waits until the pushes that were acked are deleted.
fn pushes_are_deleted(store: &rusqlite::Connection) {
    let count = || store.query_row("SELECT count(*) FROM pushes", [], |row| row.get::<_, i64>(0)).unwrap();
    let until = Instant::now() + PATIENCE;
    while count() > 0 {
        assert!(Instant::now() < until, "the acked pushes are not deleted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The time in which an operator gets the news, whom nobody else tells: docs/operations.md says
/// that the store is looked at every five seconds.
const NEWS_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn health_tells_of_an_outage_and_its_end_without_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.db");
    let server = start(&path);
    let is_seen = |status, word| is_seen_within(NEWS_WITHIN, &server, status, word);
    is_seen("200", "ok");
    std::fs::rename(&path, beside(&path, ".aside")).unwrap();
    is_seen("503", "store");
    assert!(server.wait_for("the store does not work").contains("was deleted or moved"));
    std::fs::rename(beside(&path, ".aside"), &path).unwrap();
    is_seen("200", "ok");
}

#[test]
fn a_commit_that_was_under_way_is_not_called_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.begin().unwrap();
    std::fs::remove_file(&path).unwrap();
    let why = store.commit().unwrap_err().to_string();
    assert!(why.contains("was deleted or moved") && why.contains("im.db"), "{why}");
    store.rollback();
    assert!(store.begin().is_err() && store.begin_reads().is_err());
}

#[test]
fn a_log_that_goes_before_the_first_job_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.db");
    drop(SqliteStore::open(&path).unwrap());
    let mut store = SqliteStore::open(&path).unwrap();
    std::fs::remove_file(beside(&path, "-wal")).unwrap();
    // A look of a moment ago is good enough to begin, and not to promise anything.
    store.begin().unwrap();
    let why = store.commit().unwrap_err().to_string();
    assert!(why.contains("-wal was deleted or moved"), "{why}");
}

#[test]
fn a_file_that_is_gone_is_not_made_anew_beside_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.db");
    let server = start(&path);
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.user(name, ContentForm::Text));
    befriend(&mut ann, &mut bob);
    drop(bob);
    ann.say("before", "bob", "safe", "MS");
    drop(server);
    let log = std::fs::read(beside(&path, "-wal")).unwrap();
    assert!(!log.is_empty(), "killed, so that the log is there");
    std::fs::rename(&path, beside(&path, ".bak")).unwrap();
    for _ in 0..2 {
        let why = SqliteStore::open(&path).map(drop).unwrap_err().to_string();
        assert!(why.contains("im.db-wal is beside it"), "{why}");
        assert_eq!(std::fs::read(beside(&path, "-wal")).unwrap(), log);
        // So if an empty one was made by somebody else.
        std::fs::write(&path, "").unwrap();
    }
    std::fs::rename(beside(&path, ".bak"), &path).unwrap();
    let server = start(&path);
    let mut bob = server.client(ContentForm::Text);
    bob.log_in("bob");
    bob.take("before");
}

#[test]
fn a_link_that_leads_elsewhere_by_now_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other, link] = ["one.db", "other.db", "im.db"].map(|name| folder.path().join(name));
    for file in [&one, &other] {
        drop(SqliteStore::open(file).unwrap());
    }
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let mut store = SqliteStore::open(&link).unwrap();
    store.begin().unwrap();
    store.commit().unwrap();
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    store.begin().unwrap();
    assert!(store.commit().unwrap_err().to_string().contains("was replaced by another"));
    assert!(store.begin_reads().is_err(), "and from then on nothing works");
}

#[test]
fn while_another_program_holds_the_file_a_backlog_is_read_on_and_online_users_talk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.db");
    let mut config = common::config();
    config.store = StoreUrl::Sqlite(path.clone());
    (config.rules.page_max, config.rules.list_max) = (8, 16);
    // Nothing is refused for the time alone.
    config.rules.answer_within_ms = 60_000;
    let server = Server::with(config);
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    let ids: Vec<String> = (0..60).map(|n| format!("m{n}")).collect();
    ids.iter().for_each(|id| ann.say(id, "bob", "honk", "MS"));
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.take(&ids[0]);
    // Behind all of them, and not to be stored.
    ann.send(&ann.message("new", "bob", "are you there?"));
    ids[1..].iter().for_each(|id| bob.take(id));
    bob.take("new");
    ann.expect_reply("RE_MESSAGE", "new", "MS");
    other.execute_batch("ROLLBACK").unwrap();
    pushes_are_deleted(&other);
}
