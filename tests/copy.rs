//! `hongyan copy`: everything arrives, every fault is refused, and an unfinished copy is never
//! taken for a store.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/copy/`.
mod copy {
    pub(crate) mod data;
    mod databases;
    #[cfg(unix)]
    mod owner;
}

use common::store::{ask, message, push, request, save, sign_up, user};
use common::{Server, config};
use copy::data::{assert_same, fill};
use hongyan::config::StoreUrl;
use hongyan::copy::progress::{CopyProgress, ProgressStyle};
use hongyan::protocol::push::PushKind;
use hongyan::store::StoreConnection;
use hongyan::store::portable::{CopyTableColumn, TABLES};
use hongyan::store::sqlite::SqliteStore;
use rusqlite::{Connection, OpenFlags};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hongyan");
const UNFINISHED: &str = "a copy into it was begun and not finished";

fn sqlite(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// Runs the program's copy; passwords come by the environment.
fn copy(from: &str, to: &str) -> Output {
    Command::new(PROGRAM).arg("copy").env("HONGYAN_FROM", from).env("HONGYAN_TO", to).output().unwrap()
}

fn serve(store: &str) -> Output {
    Command::new(PROGRAM).args(["--listen", "127.0.0.1:0"]).env("HONGYAN_STORE", store).output().unwrap()
}

#[track_caller]
fn copied(from: &str, to: &str) -> String {
    let output = copy(from, to);
    let (result, progress) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{progress}");
    println!("{progress}{result}");
    assert!(!(result + &progress).contains("let%20me"), "a password");
    progress
}

/// Exit status 2, and a last line that says these words and no password. Gives all lines.
#[track_caller]
fn refused(output: &Output, words: &[&str]) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("hongyan: "), "{said}");
    for word in words {
        assert!(last.contains(word), "no {word:?} in: {said}");
    }
    assert!(!said.contains("let%20me") && !said.contains("let me"), "{said}");
    said
}

/// The same for a copy that is refused before anything is done: one line.
#[track_caller]
fn refused_at_once(from: &str, to: &str, words: &[&str]) {
    let said = refused(&copy(from, to), words);
    assert_eq!(said.lines().count(), 1, "{said}");
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        sqlite(&self.path(name))
    }

    fn open(&self, name: &str) -> SqliteStore {
        SqliteStore::open(&self.path(name)).unwrap()
    }

    /// A store with two accounts, a pending request and three pushes.
    fn small(&self, name: &str) -> String {
        let mut store = self.open(name);
        sign_up(&mut store, &["ann", "bob"]);
        ask(&mut store, &request(5, "bob", "ann", "r"));
        save(&mut store, &[message(7, "bob", "ann", "m"), message(9, "ann", "bob", "m")]);
        drop(store);
        self.url(name)
    }

    /// Does something to a store behind its back.
    fn tamper(&self, name: &str, sql: &str) {
        Connection::open(self.path(name)).unwrap().execute_batch(sql).unwrap();
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files
    }
}

/// How many pushes the large store has; more of them to see how fast it is.
fn pushes() -> u64 {
    std::env::var("HONGYAN_TEST_COPY_PUSHES").map_or(6_000, |count| count.parse().unwrap())
}

#[test]
fn a_file_is_copied_whole_and_not_changed() {
    let folder = Folder::new();
    fill(&mut folder.open("a.db"), pushes());
    let before = std::fs::read(folder.path("a.db")).unwrap();
    copied(&folder.url("a.db"), &folder.url("b.db"));
    assert!(std::fs::read(folder.path("a.db")).unwrap() == before, "the source was changed");
    assert_eq!(folder.files(), ["a.db", "b.db"]);
    assert_same(&mut folder.open("a.db"), &mut folder.open("b.db"));
}

#[test]
fn waiting_pushes_are_delivered_from_the_copy_and_passwords_still_match() {
    let folder = Folder::new();
    let serving =
        |name: &str| Server::with(hongyan::config::Config { store: StoreUrl::Sqlite(folder.path(name)), ..config() });
    let server = serving("a.db");
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    ann.say("m1", "bob", "one 🪿", "MS");
    ann.say("m2", "bob", "two ", "MS");
    server.stop();
    copied(&folder.url("a.db"), &folder.url("b.db"));
    let server = serving("b.db");
    let mut bob = server.raw();
    bob.log_in("bob");
    for (id, text) in [("m1", "one 🪿"), ("m2", "two ")] {
        assert_eq!(bob.expect_push("4", id)["content"], text);
        bob.ack(id);
    }
    bob.fence();
    let mut ann = server.raw();
    ann.log_in("ann");
    ann.say("m2", "bob", "new under an id that was used", "MS");
}

#[test]
fn a_mailbox_that_was_full_is_full_in_the_copy_and_an_ack_makes_room() {
    let folder = Folder::new();
    let serving = |name: &str| {
        let store = StoreUrl::Sqlite(folder.path(name));
        Server::with(hongyan::config::Config { store, waiting_per_pair_max: 2, ..config() })
    };
    let server = serving("a.db");
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    ann.say("m1", "bob", "one", "MS");
    ann.say("m2", "bob", "two", "MS");
    server.stop();
    copied(&folder.url("a.db"), &folder.url("b.db"));
    let server = serving("b.db");
    let mut ann = server.raw();
    ann.log_in("ann");
    ann.say("m3", "bob", "three", "MF");
    ann.expect_error("m3", "FULL");
    ann.say("m2", "bob", "two", "MS");
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.take("m1");
    bob.expect_push("4", "m2");
    bob.fence();
    drop(bob);
    // The deletion may still be on its way, and a refused message stays on Bob's list.
    let mut answer = String::new();
    while !answer.contains("MS") {
        ann.send(&ann.message("m3", "bob", "three"));
        answer = ann.recv();
        if answer.contains("MF") {
            ann.expect_error("m3", "FULL");
        }
    }
}

#[test]
fn progress_is_plain_lines_without_a_terminal_and_the_result_is_counted() {
    let folder = Folder::new();
    let output = copy(&folder.small("a.db"), &folder.url("b.db"));
    let progress = String::from_utf8(output.stderr).unwrap();
    assert!(progress.chars().all(|c| !c.is_control() || c == '\n'), "{progress:?}");
    let begins: Vec<_> = progress.lines().map(|line| line.split(", ").next().unwrap()).collect();
    let tables = [
        "accounts: 2 of 2",
        "friendships: 0 of 0",
        "friend requests: 1 of 1",
        "pushes: 3 of 3",
        "resume tokens: 0 of 0",
        "blocks: 0 of 0",
        "deletions: 0 of 0",
    ];
    let expected = ["copying", "verifying"].map(|verb| tables.map(|table| format!("{verb} {table} (100 %)"))).concat();
    assert_eq!(begins, expected);
    let result = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = result.lines().collect();
    let counts = [
        "accounts: 2, verified",
        "friendships: 0, verified",
        "friend requests: 1, verified",
        "pushes: 3, verified",
        "resume tokens: 0, verified",
        "blocks: 0, verified",
        "deletions: 0, verified",
    ];
    assert_eq!(lines[..7], counts);
    assert!(lines[7].starts_with("copied 6 records from sqlite:") && lines.len() == 8, "{result}");
}

#[test]
fn help_is_there() {
    let output = Command::new(PROGRAM).args(["copy", "--help"]).output().unwrap();
    assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("--from URL"));
    refused(&Command::new(PROGRAM).arg("copy").output().unwrap(), &["--from URL"]);
}

#[test]
fn sources_that_cannot_be_copied_are_refused_and_no_target_is_made() {
    let folder = Folder::new();
    let to = folder.url("to.db");
    refused_at_once(&folder.url("none.db"), &to, &["cannot copy from sqlite:", "none.db", "there is no such file"]);
    refused_at_once("memory:", &to, &["memory"]);
    std::fs::write(folder.path("empty.db"), "").unwrap();
    refused_at_once(&folder.url("empty.db"), &to, &["there is no hongyan store in it"]);
    std::fs::write(folder.path("text.db"), "a letter, and no database").unwrap();
    refused_at_once(&folder.url("text.db"), &to, &["it is no SQLite database"]);
    folder.tamper("other.db", "CREATE TABLE pushes (a); PRAGMA user_version = 1");
    refused_at_once(&folder.url("other.db"), &to, &["a database of another application"]);
    folder.small("newer.db");
    folder.tamper("newer.db", "PRAGMA user_version = 70");
    refused_at_once(&folder.url("newer.db"), &to, &["written by a newer hongyan (schema 70"]);
    folder.tamper("older.db", include_str!("../src/store/schema_sqlite.sql"));
    folder.tamper("older.db", "PRAGMA application_id = 0x686F6E67; PRAGMA user_version = 1");
    let before = std::fs::read(folder.path("older.db")).unwrap();
    refused_at_once(&folder.url("older.db"), &to, &["its schema is 1 and this hongyan copies 5 only"]);
    assert!(std::fs::read(folder.path("older.db")).unwrap() == before);
    folder.small("marked.db");
    folder.tamper("marked.db", "PRAGMA user_version = -1");
    refused_at_once(&folder.url("marked.db"), &to, &[UNFINISHED]);
    let used = folder.small("used.db");
    let store = folder.open("used.db");
    refused_at_once(&used, &to, &["used.db: another server uses it"]);
    drop(store);
    assert!(!folder.path("to.db").exists() && !folder.path("none.db").exists());
    assert_eq!(std::fs::read(folder.path("empty.db")).unwrap(), b"");
}

#[test]
fn targets_that_cannot_be_copied_into_are_refused_and_left_alone() {
    let folder = Folder::new();
    let from = folder.small("from.db");
    folder.small("full.db");
    let before = std::fs::read(folder.path("full.db")).unwrap();
    let found = ["cannot copy into sqlite:", "it is not empty (accounts: 2, friend requests: 1, pushes: 3)"];
    refused_at_once(&from, &folder.url("full.db"), &found);
    assert!(std::fs::read(folder.path("full.db")).unwrap() == before);
    refused_at_once(&from, "memory:", &["memory"]);
    refused_at_once(&from, &from, &["are the same store"]);
    let by_another_name = format!("sqlite:{}/./from.db", folder.0.path().display());
    refused_at_once(&from, &by_another_name, &["are the same store"]);
    #[cfg(unix)]
    {
        std::fs::hard_link(folder.path("from.db"), folder.path("linked.db")).unwrap();
        refused_at_once(&from, &folder.url("linked.db"), &["are the same store"]);
        refused_at_once(&from, &folder.url("other.db"), &["hard links"]);
        std::fs::remove_file(folder.path("linked.db")).unwrap();
    }
    refused_at_once(
        &from,
        &folder.url("no/such/folder.db"),
        &["folder.db", "the folder that it is to be in is not there"],
    );
    std::fs::write(folder.path("text.db"), "a letter, and no database").unwrap();
    refused_at_once(&from, &folder.url("text.db"), &["it is no SQLite database"]);
    drop(folder.open("newer.db"));
    folder.tamper("newer.db", "PRAGMA user_version = 70");
    refused_at_once(&from, &folder.url("newer.db"), &["written by a newer hongyan (schema 70"]);
    let store = folder.open("used.db");
    refused_at_once(&from, &folder.url("used.db"), &["used.db: another server uses it"]);
    drop(store);
    // Empty and made by a server, it is taken.
    copied(&from, &folder.url("used.db"));
}

/// The target is no store for anybody.
#[track_caller]
fn is_unfinished(target: &str, source: &str) {
    refused(&serve(target), &[UNFINISHED, "delete it and copy again"]);
    refused_at_once(source, target, &[UNFINISHED]);
    refused_at_once(target, "sqlite:/no/such/folder/x.db", &[UNFINISHED]);
}

#[test]
fn a_copy_that_fails_midway_leaves_a_mark() {
    let folder = Folder::new();
    let (from, to) = (folder.small("a.db"), folder.url("b.db"));
    folder.tamper("a.db", "UPDATE pushes SET time_ms = -1 WHERE seq = 7");
    let said = refused(
        &copy(&from, &to),
        &["cannot read pushes from sqlite:", "a negative number", "no server starts on it", "b.db-wal"],
    );
    assert!(said.contains("copying accounts: 2 of 2"), "{said}");
    is_unfinished(&to, &from);
    // Deleted as it says, and the source healed, all is well.
    std::fs::remove_file(folder.path("b.db")).unwrap();
    folder.tamper("a.db", "UPDATE pushes SET time_ms = 1 WHERE seq = 7");
    copied(&from, &to);
}

#[test]
fn a_difference_is_found_and_leaves_the_mark() {
    for (name, sql, words) in [
        ("changed", "UPDATE pushes SET content = 'x' WHERE seq = 7", ["the pushes in", "differ from 7 on"]),
        ("lost", "DELETE FROM pushes WHERE seq = 7", ["the pushes in", "differ from 7 on"]),
        ("hash", "UPDATE accounts SET password_hash = 'x' WHERE user_name = 'bob'", ["the accounts in", "\"bob\""]),
        (
            "more",
            "INSERT INTO friendships VALUES ('z', 'y') ON CONFLICT DO NOTHING",
            ["the friendships in", "\"z\", \"y\""],
        ),
    ] {
        let folder = Folder::new();
        let from = folder.small("a.db");
        drop(folder.open("b.db"));
        folder
            .tamper("b.db", &format!("CREATE TRIGGER wrong AFTER INSERT ON pushes WHEN new.seq = 9 BEGIN {sql}; END"));
        let said = refused(&copy(&from, &folder.url("b.db")), &words);
        assert!(!said.contains("hash of"), "{name}: {said}");
        is_unfinished(&folder.url("b.db"), &from);
    }
}

#[test]
fn a_copy_that_is_told_to_stop_says_so_and_leaves_a_mark() {
    let folder = Folder::new();
    let from = folder.small("a.db");
    let (source, target) = (StoreUrl::Sqlite(folder.path("a.db")), StoreUrl::Sqlite(folder.path("b.db")));
    let mut progress = CopyProgress::new(std::io::sink(), ProgressStyle::Lines);
    let why = hongyan::copy::copy(&source, &target, &mut progress, &AtomicBool::new(true)).unwrap_err();
    assert!(why.starts_with("interrupted; ") && why.contains("b.db-wal"), "{why}");
    is_unfinished(&folder.url("b.db"), &from);
}

/// Kills a copy once it has said so many lines; waits until it is gone.
fn kill_after(lines: usize, from: &str, to: &str) {
    let mut command = Command::new(PROGRAM);
    command.arg("copy").env("HONGYAN_FROM", from).env("HONGYAN_TO", to);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    for _ in 0..lines {
        stderr.read_line(&mut String::new()).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// `None` when there is no such file.
fn schema_version(path: &Path) -> Option<i64> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    Some(db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap())
}

#[test]
fn wherever_it_is_killed_the_target_is_unfinished_or_whole() {
    let folder = Folder::new();
    let from = folder.url("a.db");
    fill(&mut folder.open("a.db"), 6_000);
    for lines in 0..9 {
        let target = folder.path(&format!("{lines}.db"));
        kill_after(lines, &from, &sqlite(&target));
        // Killed before there was anything: no file, or one whose first transaction is taken back
        // when it is opened.
        if schema_version(&target).is_none_or(|version| version == 0) {
            continue;
        }
        match SqliteStore::open(&target) {
            Ok(mut copy) => assert_same(&mut folder.open("a.db"), &mut copy),
            Err(why) => assert!(why.to_string().contains(UNFINISHED), "{lines}: {why}"),
        }
    }
    // The source is as good as before.
    copied(&from, &folder.url("whole.db"));
}

/// A place for the progress that does something once, when a line begins so.
pub(crate) struct Hook<F: FnOnce()> {
    pub(crate) at: &'static str,
    pub(crate) work: Option<F>,
}

impl<F: FnOnce()> Write for Hook<F> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if line.starts_with(self.at.as_bytes())
            && let Some(work) = self.work.take()
        {
            work();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Copies in this process and does something in the midst of it.
pub(crate) fn copy_with(
    from: &StoreUrl,
    to: &StoreUrl,
    at: &'static str,
    work: impl FnOnce(),
) -> Result<Vec<u64>, String> {
    let mut hook = Hook { at, work: Some(work) };
    let mut progress = CopyProgress::new(&mut hook, ProgressStyle::Lines);
    let copied = hongyan::copy::copy(from, to, &mut progress, &AtomicBool::new(false));
    assert!(hook.work.is_none(), "no line begins so");
    copied.map(|counts| counts.iter().map(|(_, count)| *count).collect())
}

#[test]
fn while_it_runs_nobody_else_uses_either_store() {
    let folder = Folder::new();
    let (from, to) = (folder.small("a.db"), folder.url("b.db"));
    let (source, target) = (StoreUrl::Sqlite(folder.path("a.db")), StoreUrl::Sqlite(folder.path("b.db")));
    let copied = copy_with(&source, &target, "copying accounts", || {
        for store in [&from, &to] {
            refused(&serve(store), &["another server uses it"]);
        }
        refused_at_once(&from, &folder.url("c.db"), &["a.db: another server uses it"]);
    });
    assert_eq!(copied, Ok(vec![2, 0, 1, 3, 0, 0, 0]));
}

#[test]
fn a_source_that_is_written_to_meanwhile_is_noticed() {
    let folder = Folder::new();
    let from = folder.small("a.db");
    let (source, target) = (StoreUrl::Sqlite(folder.path("a.db")), StoreUrl::Sqlite(folder.path("b.db")));
    let why = copy_with(&source, &target, "copying pushes", || {
        folder.tamper("a.db", "DELETE FROM pushes WHERE seq = 7");
    });
    let why = why.unwrap_err();
    assert!(why.contains("differ from 9 on") && why.contains("no server starts on it"), "{why}");
    is_unfinished(&folder.url("b.db"), &from);
}

#[test]
fn one_huge_message_after_another_goes_through() {
    let folder = Folder::new();
    let mut store = folder.open("a.db");
    for seq in 1..=4 {
        let huge = push(seq, PushKind::Message, "bob", "ann", &format!("{seq}"), &"🪿".repeat(2 << 20));
        save(&mut store, &[huge]);
    }
    drop(store);
    copied(&folder.url("a.db"), &folder.url("b.db"));
    let read = |name: &str| folder.open(name).pushes(&user("ann"), 0, 9, usize::MAX).unwrap();
    assert!(read("a.db") == read("b.db"));
}

#[test]
fn every_table_and_every_column_is_copied() {
    let folder = Folder::new();
    drop(folder.open("a.db"));
    let db = Connection::open(folder.path("a.db")).unwrap();
    let sql = "SELECT t.name, c.name, c.pk FROM sqlite_schema t, pragma_table_info(t.name) c \
               WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'";
    let mut find = db.prepare(sql).unwrap();
    let rows = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let mut there: Vec<(String, String, u32)> = rows.map(Result::unwrap).collect();
    let mut copied: Vec<_> = TABLES
        .iter()
        .flat_map(|table| {
            table.columns.iter().enumerate().map(|(at, column)| {
                let column = match column {
                    CopyTableColumn::Text(name) | CopyTableColumn::Number(name) => name,
                    CopyTableColumn::Created => "created_ms",
                };
                (table.name.to_owned(), column.to_owned(), if at < table.key { at as u32 + 1 } else { 0 })
            })
        })
        .collect();
    there.sort();
    copied.sort();
    assert_eq!(copied, there, "src/store/portable.rs names the copied columns");
}
