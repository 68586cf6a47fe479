//! `hongyan backup` beside a running server, and what the pages for operators say about restoring.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{CHEAP_PASSWORDS, ContentForm, MariaDb, Program, befriend};
use hongyan::store::StoreConnection;
use hongyan::store::sqlite::SqliteStore;
use rusqlite::Connection;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OPERATIONS: &str = include_str!("../docs/operations.md");

fn hongyan() -> Command {
    Command::new(env!("CARGO_BIN_EXE_hongyan"))
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn backup(store: &str, file: &Path) -> Output {
    hongyan().args(["backup", "--store", store]).arg(file).output().unwrap()
}

#[track_caller]
fn backed_up(path: &Path, file: &Path) -> String {
    let output = backup(&url(path), file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty() && said.lines().count() == 1, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    assert!(!said.contains("geheim"), "{said}");
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn start(path: &Path) -> Program {
    Program::on(&url(path), &CHEAP_PASSWORDS)
}

#[test]
fn a_backup_beside_a_running_server_has_all_that_was_promised() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copies) = (folder.path().join("im.db"), folder.path().join("copies"));
    fs::create_dir(&copies).unwrap();
    let program = start(&path);
    let (mut ann, mut bob) = (program.user("ann", ContentForm::Object), program.user("bob", ContentForm::Object));
    befriend(&mut ann, &mut bob);
    drop(bob);
    let mut sent = 0;
    let mut say = |ann: &mut common::Client, count| {
        for _ in 0..count {
            sent += 1;
            ann.say(&format!("m{sent}"), "bob", &"x".repeat(3_000), "MS");
        }
        sent
    };
    for round in 0..3 {
        let before = say(&mut ann, 50);
        let file = copies.join(format!("{round}.db"));
        let command = hongyan().args(["backup", "--store", &url(&path)]).arg(&file).spawn().unwrap();
        // Meanwhile.
        say(&mut ann, 20);
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let rows = SqliteStore::open(&file).unwrap().pushes(&user("bob"), 0, 1_000, usize::MAX).unwrap();
        assert!(rows.len() >= before && rows.len() <= before + 20, "{before} {}", rows.len());
        assert!(rows.iter().zip(1..).all(|(push, number)| push.id() == format!("m{number}")), "without a gap");
    }
    assert_eq!(files(&copies), ["0.db", "1.db", "2.db"], "nothing is beside them");
    // The server is none the worse for it, and forgets nothing when it is killed.
    let all = say(&mut ann, 1);
    drop(program);
    let program = start(&path);
    let mut bob = program.client(ContentForm::Object);
    bob.log_in("bob");
    for number in 1..=all {
        bob.take(&format!("m{number}"));
    }
}

fn user(name: &str) -> hongyan::protocol::field::UserName {
    hongyan::protocol::field::UserName::new(name).unwrap()
}

/// A store without a server, and what is said of a backup of it.
fn small(path: &Path) {
    drop(SqliteStore::open(path).unwrap());
}

#[test]
fn a_store_without_a_server_is_backed_up_and_its_contents_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("im.db"), folder.path().join("copy.db"));
    small(&path);
    let said = backed_up(&path, &file);
    let bytes = file.metadata().unwrap().len();
    assert!(said.contains(&format!("{bytes} bytes, 0 accounts, 0 waiting pushes")), "{said}");
    assert_eq!(files(folder.path()), ["copy.db", "im.db"]);
    // A backup of a backup.
    backed_up(&file, &folder.path().join("another.db"));
}

#[test]
fn no_file_is_ever_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.db");
    let at = |name: &str| folder.path().join(name);
    small(&path);
    fs::write(at("letter"), "dear Ann").unwrap();
    fs::create_dir(at("folder")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
    for name in ["letter", "folder", "link", "im.db"] {
        refused(&backup(&url(&path), &at(name)), &["cannot write the backup", name, "there is a file of that name"]);
    }
    assert_eq!(fs::read_to_string(at("letter")).unwrap(), "dear Ann");
    refused(&backup(&url(&path), &at("im.db-journal")), &["that name belongs to the store"]);
    refused(&backup(&url(&path), &at("no/such/copy.db")), &["the folder that it is to be in is not there"]);
    assert_eq!(files(folder.path()), ["folder", "im.db", "letter", "link"]);
}

#[test]
fn the_files_of_an_interrupted_backup_are_used_again_and_never_by_two() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("im.db"), folder.path().join("copy.db"));
    small(&path);
    fs::write(beside(&file, ".partial"), "SQLite format 3\0 and half of a page").unwrap();
    fs::write(beside(&file, ".partial-journal"), "half of a page").unwrap();
    let first = File::open(beside(&file, ".partial")).unwrap();
    first.lock().unwrap();
    refused(&backup(&url(&path), &file), &["another backup into it is under way"]);
    drop(first);
    backed_up(&path, &file);
    assert_eq!(files(folder.path()), ["copy.db", "im.db"]);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_backup_that_was_killed_when_it_had_its_name_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    small(&at("im.db"));
    backed_up(&at("im.db"), &at("archived.db"));
    let bytes = fs::read(at("archived.db")).unwrap();
    // It did not come to remove its first name.
    fs::hard_link(at("archived.db"), at("copy.db.partial")).unwrap();
    backed_up(&at("im.db"), &at("copy.db"));
    assert_eq!(fs::read(at("archived.db")).unwrap(), bytes);
    for name in ["archived.db", "copy.db"] {
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&at(name).metadata().unwrap()), 1, "{name}");
    }
    assert_eq!(files(folder.path()), ["archived.db", "copy.db", "im.db"]);
}

#[test]
fn a_limit_on_the_size_of_files_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    small(&at("im.db"));
    let line = format!(
        "ulimit -f 80; exec {} backup --store {} {}",
        env!("CARGO_BIN_EXE_hongyan"),
        url(&at("im.db")),
        at("copy.db").display()
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    refused(&output, &["cannot write the backup", "copy.db"]);
    assert_eq!(files(folder.path()), ["im.db"]);
}

#[test]
fn a_pipe_is_no_store_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for pipe in ["pipe", "im.db-wal"] {
        assert!(Command::new("mkfifo").arg(at(pipe)).status().unwrap().success());
    }
    refused(&backup(&url(&at("pipe")), &at("copy.db")), &["pipe", "it is no file"]);
    let copied = hongyan().args(["copy", "--from", &url(&at("pipe")), "--to", &url(&at("copy.db"))]).output();
    assert_eq!(copied.unwrap().status.code(), Some(2));
    fs::write(at("im.db"), "").unwrap();
    let started = hongyan().args(["--listen", "127.0.0.1:0", "--store", &url(&at("im.db"))]).output().unwrap();
    refused(&started, &["im.db-wal"]);
}

#[test]
fn a_file_that_is_no_whole_store_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("letter"), "this is a letter, not a database. ".repeat(100)).unwrap();
    Connection::open(at("other")).unwrap().execute_batch("CREATE TABLE pushes (a)").unwrap();
    small(&at("newer"));
    Connection::open(at("newer")).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    small(&at("unfinished"));
    Connection::open(at("unfinished")).unwrap().execute_batch("PRAGMA user_version = -1").unwrap();
    Connection::open(at("empty")).unwrap().execute_batch("PRAGMA user_version = 0; VACUUM").unwrap();
    // Bytes of an index that nobody looks at who only reads the table.
    small(&at("damaged"));
    let db = Connection::open(at("damaged")).unwrap();
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO friendships \
                  SELECT 'somebody with a name' || i, 'a friend' FROM n";
    db.execute_batch(insert).unwrap();
    drop(db);
    let mut bytes = fs::read(at("damaged")).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 4_096].fill(0x5a);
    fs::write(at("damaged"), bytes).unwrap();
    for (name, why) in [
        ("missing", "there is no such file"),
        ("letter", "it is no SQLite database"),
        ("other", "it is a database of another application"),
        ("newer", "it was written by a newer hongyan"),
        ("unfinished", "a copy into it was begun and not finished"),
        ("empty", "there is no hongyan store in it"),
        ("damaged", "the store is damaged"),
    ] {
        refused(&backup(&url(&at(name)), &at("copy.db")), &[name, why]);
        assert!(!files(folder.path()).iter().any(|file| file.contains("copy.db")), "{name}");
    }
    refused(&backup("memory:", &at("copy.db")), &["cannot back up memory"]);
    refused(&backup("mysql://u:geheim@127.0.0.1:1/d", &at("copy.db")), &["mariadb-dump", "docs/operations.md"]);
}

/// The commands below a heading of the page, the first block of them behind these words.
fn commands(behind: &str) -> String {
    let (_, rest) = OPERATIONS.split_once(behind).unwrap_or_else(|| panic!("the page says {behind:?}"));
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs commands of the page as an operator would, with a `systemctl` that does nothing.
fn run(commands: &str, home: &Path) {
    let bin = home.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_hongyan"));
    if !bin.join("hongyan").exists() {
        std::os::unix::fs::symlink(program, bin.join("hongyan")).unwrap();
        fs::write(bin.join("systemctl"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(bin.join("systemctl"), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-euxc", commands]).env("PATH", path).env("HOME", home).current_dir(home).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_commands_of_the_page_back_up_and_restore_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    for name in ["lib", "backups"] {
        fs::create_dir(home.join(name)).unwrap();
    }
    let here = |commands: String| {
        let commands = commands.replace("/var/lib/hongyan", &home.join("lib").display().to_string());
        let commands = commands.replace("/var/backups/hongyan", &home.join("backups").display().to_string());
        assert!(!commands.contains("/var/"), "{commands}");
        assert!(commands.contains("hongyan -m 0") || commands.contains("runuser -u hongyan"), "whose file it is");
        // This machine has no such user.
        commands.replace("-o hongyan -g hongyan ", "").replace("runuser -u hongyan -- ", "")
    };
    let path = home.join("lib").join("hongyan.db");
    let program = start(&path);
    let (mut ann, mut bob) = (program.user("ann", ContentForm::Object), program.user("bob", ContentForm::Object));
    befriend(&mut ann, &mut bob);
    drop(bob);
    ann.say("m1", "bob", "before", "MS");
    run(&here(commands("A backup of a SQLite store")), home);
    ann.say("m2", "bob", "after", "MS");
    // Killed: its log stays.
    drop(program);
    assert!(beside(&path, "-wal").metadata().unwrap().len() > 0);
    // Without the step for the log the server does not start.
    let backup = files(&home.join("backups"));
    let [backup] = &backup[..] else { panic!("{backup:?}") };
    let wrong = home.join("wrong");
    fs::create_dir(&wrong).unwrap();
    fs::copy(home.join("backups").join(backup), wrong.join("hongyan.db")).unwrap();
    fs::copy(beside(&path, "-wal"), wrong.join("hongyan.db-wal")).unwrap();
    let output = hongyan().args(["--listen", "127.0.0.1:0", "--store", &url(&wrong.join("hongyan.db"))]).output();
    for output in [output.unwrap(), self::backup(&url(&wrong.join("hongyan.db")), &wrong.join("again.db"))] {
        refused(&output, &["hongyan.db-wal beside it was written for another file"]);
    }
    let restore = || run(&here(commands("To restore it")).replace("2026-11-27-030000.db", backup), home);
    let replaced = || files(&home.join("lib")).into_iter().filter(|name| name.starts_with("replaced-")).count();
    restore();
    // Once more, as after the wrong backup: the database that was replaced first is still there.
    let second = || Command::new("date").arg("+%S").output().unwrap().stdout;
    let now = second();
    while second() == now {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    restore();
    assert_eq!(replaced(), 2);
    let program = start(&path);
    let mut bob = program.client(ContentForm::Object);
    bob.log_in("bob");
    bob.take("m1");
    bob.fence();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

/// The line for cron makes a dump, and removes those that are old.
fn nightly(here: &dyn Fn(String) -> String, home: &Path) {
    let (_, rest) = OPERATIONS.split_once("A backup of a MySQL or MariaDB database").unwrap();
    let (_, rest) = rest.split_once("```crontab\n").unwrap();
    let line = rest.split_once("```").unwrap().0.trim_end();
    let (_, command) = line.split_once(" root ").expect("it runs as root");
    assert!(!command.replace("\\%", "").contains('%'), "cron ends the line there");
    let command = here(command.replace("\\%", "%")).replace("/etc/hongyan/backup.cnf", ".my.cnf");
    assert!(
        Command::new("touch")
            .args(["-d", "20 days ago", "backups/old.sql"])
            .current_dir(home)
            .status()
            .unwrap()
            .success()
    );
    // The file of the test is in another folder than the dumps.
    run(&command.replace(".my.cnf", &home.join(".my.cnf").display().to_string()), home);
    let today = files(&home.join("backups")).into_iter().filter(|name| name.len() == "2026-11-27.sql".len());
    let today: Vec<String> = today.collect();
    let [today] = &today[..] else { panic!("one dump of today: {today:?}") };
    let path = home.join("backups").join(today);
    assert!(fs::read_to_string(&path).unwrap().contains("Dump completed"), "it is whole");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!home.join("backups/old.sql").exists() && !home.join("backups/dump.partial").exists());
}

#[test]
fn the_commands_of_the_page_back_up_and_restore_a_database() {
    let Some(database) = MariaDb::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    fs::write(home.join(".my.cnf"), format!("[client]\nuser=root\nsocket={}\n", database.socket().display())).unwrap();
    fs::create_dir(home.join("backups")).unwrap();
    let here = |commands: String| {
        let commands = commands.replace("/var/backups/hongyan", &home.join("backups").display().to_string());
        // The database of the test has another name.
        commands
            .replace("DATABASE hongyan", "DATABASE geese")
            .replace(" hongyan >", " geese >")
            .replace(" hongyan <", " geese <")
    };
    let program = Program::on(&database.url(), &CHEAP_PASSWORDS);
    let (mut ann, mut bob) = (program.user("ann", ContentForm::Object), program.user("bob", ContentForm::Object));
    befriend(&mut ann, &mut bob);
    drop(bob);
    ann.say("m1", "bob", "before 🪿 '", "MS");
    run(&here(commands("A backup of a MySQL or MariaDB database")), home);
    ann.say("m2", "bob", "after", "MS");
    drop(program);
    let dumps = files(&home.join("backups"));
    let [dump] = &dumps[..] else { panic!("{dumps:?}") };
    nightly(&here, home);
    run(&here(commands("To restore the database")).replace("2026-11-27-030000.sql", dump), home);
    let program = Program::on(&database.url(), &CHEAP_PASSWORDS);
    let mut bob = program.client(ContentForm::Object);
    bob.log_in("bob");
    bob.take("m1");
    bob.fence();
    let mode = home.join("backups").join(dump).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "password hashes are in it");
}
