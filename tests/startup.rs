//! A start while the database is away: the server waits for it, for as long as is allowed; a fault
//! that waiting does not mend is refused at once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{MariaDb, PATIENCE, Program};
use mysql::prelude::Queryable;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Instant;

fn program(store: &str, wait: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    command.args(["--listen", "127.0.0.1:0", "--store", store, "--store-wait", wait]);
    command
}

fn run(store: &str, wait: &str) -> (Output, String) {
    let output = program(store, wait).output().unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    (output, said)
}

/// Where nobody listens.
fn nowhere() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("mysql://geese:secret@127.0.0.1:{port}/geese")
}

/// Some certificate.
const CERTIFICATE: &str = include_str!("common/certificate.pem");

struct Waiting {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Waiting {
    /// Started, and has said that it waits.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    fn line_with(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "it ended and did not say: {words}");
            if line.contains(words) {
                return line;
            }
        }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Stops it by a signal; gives its status and what else it said.
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One sentence, status 2, and nothing that only a programmer reads.
#[track_caller]
fn refused(url: &str, why: &str) {
    let (output, said) = run(url, "10m");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.lines().count() == 1 && said.contains(why), "{said}");
    is_plain(&said);
}

#[track_caller]
fn is_plain(said: &str) {
    for word in ["{", "}", "Error", "Some(", "(os error", "secret", "wrong"] {
        assert!(!said.contains(word), "{word} in {said}");
    }
}

#[test]
fn a_wrong_url_is_refused_at_once_and_the_error_names_the_wrong_part() {
    for (url, why) in [
        ("mysql://geese:secret@127.0.0.1:70000/geese", "70000"),
        ("mysql://geese:secret@127.0.0.1:33o6/geese", "33o6"),
        ("mysql://geese:secret@127.0.0.1:3306/geese?sslmode=secret", "\"sslmode\""),
        ("mysql://geese:secret@127.0.0.1:3306/geese?pool_min=secret", "\"pool_min\""),
        ("mysql://geese:secret@127.0.0.1:3306", "database"),
        ("mysql://geese:se?cret@127.0.0.1:3306/geese", "percent-encoded"),
    ] {
        refused(url, why);
    }
    let folder = tempfile::tempdir().unwrap();
    let ca = |name: &str| format!("{}?root_cert_path={}", nowhere(), folder.path().join(name).display());
    refused(&ca("missing.pem"), "missing.pem cannot be used: there is no such file");
    std::fs::write(folder.path().join("diary.pem"), "this is no certificate").unwrap();
    refused(&ca("diary.pem"), "diary.pem cannot be used: it holds no certificate");
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    refused(&ca("empty.pem"), "empty.pem cannot be used: it holds no certificate");
    refused(&ca(""), "cannot be used");
    let endless = format!("{}?root_cert_path=/dev/zero", nowhere());
    refused(&endless, "/dev/zero cannot be used: it is not a regular file");
}

#[test]
fn each_reason_why_a_database_is_away_is_reported_plainly() {
    // Nobody listens; the name leads nowhere; another program answers; a program accepts and says
    // nothing.
    let greeting = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |port: u16| format!("mysql://geese:secret@127.0.0.1:{port}/geese");
    let other = at(greeting.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in greeting.incoming() {
            stream.unwrap().write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n").ok();
        }
    });
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (url, why) in [
        (nowhere(), "cannot connect to 127.0.0.1:"),
        ("mysql://geese:secret@no-such-host.invalid/geese".to_owned(), "no-such-host.invalid"),
        (other, ""),
        (at(silent.local_addr().unwrap().port()), "no answer came in time"),
    ] {
        let (output, said) = run(&url, "0s");
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.lines().count() == 1 && said.contains(why), "{url}: {said}");
        is_plain(&said);
    }
}

#[test]
fn without_waiting_it_is_one_sentence_and_status_2() {
    let (output, said) = run(&nowhere(), "0s");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.starts_with("hongyan: cannot use the store mysql://geese:***@") && said.lines().count() == 1,
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn it_says_once_that_it_waits_and_gives_up_in_time() {
    let (output, said) = run(&nowhere(), "1200ms");
    assert_eq!(output.status.code(), Some(2), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("it is waited for, 1.2 s at most"), "{said}");
    assert!(lines[1].starts_with("hongyan: cannot use the store mysql://geese:***@"), "{said}");
}

#[test]
fn a_signal_ends_the_waiting() {
    for signal in ["-TERM", "-INT"] {
        let start = Instant::now();
        let mut waiting = Waiting::start(&mut program(&nowhere(), "10m"));
        waiting.line_with("it is waited for, 600 s at most");
        for nothing in ["-USR1", "-USR2", "-HUP"] {
            waiting.signal(nothing);
        }
        let (status, said) = waiting.stop(signal);
        assert_eq!(status, Some(0), "{said}");
        assert!(start.elapsed() < PATIENCE, "{said}");
    }
    // Also while the database is there and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let waiting = Waiting::start(&mut program(&format!("mysql://geese:secret@127.0.0.1:{port}/geese"), "10m"));
    let (_kept, _) = silent.accept().unwrap();
    assert_eq!(waiting.stop("-TERM").0, Some(0));
}

#[test]
fn a_database_that_comes_later_is_used_and_until_then_clients_are_refused() {
    let Some(mut database) = MariaDb::start() else { return };
    database.stop();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    command.args(["--listen", &addr.to_string(), "--store", &database.url(), "--store-wait", "10m"]);
    let mut waiting = Waiting::start(&mut command);
    waiting.line_with("it is waited for");
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(addr).is_ok() {
        assert!(Instant::now() < until, "a client is kept waiting");
    }
    database.start_again();
    waiting.line_with("listening on");
    TcpStream::connect(addr).unwrap();
    assert_eq!(waiting.stop("-TERM").0, Some(0));
}

#[test]
fn errors_that_waiting_does_not_mend_are_refused_at_once() {
    let Some(database) = MariaDb::start() else { return };
    let url = database.url();
    refused(&url.replace(":secret@", ":wrong@"), "Access denied");
    refused(&format!("{url}_of_others"), "geese_of_others");
    // A certificate that nobody signed will do: it is not come to.
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, CERTIFICATE).unwrap();
    refused(&format!("{url}?root_cert_path={}", ca.display()), "TLS");
    // A table of any name is refused, and a view, too.
    let mut root = database.root();
    for (make, drop) in [
        ("CREATE TABLE wp_posts (id INT)", "DROP TABLE wp_posts"),
        ("CREATE VIEW zebras AS SELECT 1", "DROP VIEW zebras"),
    ] {
        root.query_drop(make).unwrap();
        refused(&url, "it holds tables of another application");
        let ours: Vec<String> = root.query("SHOW TABLES LIKE 'accounts'").unwrap();
        assert!(ours.is_empty(), "nothing was made beside them");
        root.query_drop(drop).unwrap();
    }
    let first = common::Server::tuned(|config| config.store = hongyan::config::StoreUrl::Mysql(url.clone()));
    refused(&url, "another server uses this database");
    first.stop();
    // Beside tables of ours as well.
    root.query_drop("CREATE TABLE pushes_of_others (id INT)").unwrap();
    refused(&url, "\"pushes_of_others\"");
}

#[test]
fn a_database_that_answers_a_commit_before_it_is_on_the_disk_is_refused() {
    let Some(database) = MariaDb::start() else { return };
    let mut root = database.root();
    for flushes in [0, 2] {
        root.query_drop(format!("SET GLOBAL innodb_flush_log_at_trx_commit = {flushes}")).unwrap();
        let (output, said) = run(&database.url(), "10m");
        assert_eq!(output.status.code(), Some(2), "{said}");
        let why =
            format!("its innodb_flush_log_at_trx_commit is {flushes}: promised messages could be lost in a crash");
        assert!(said.lines().count() == 1 && said.contains(&why), "{said}");
    }
    root.query_drop("SET GLOBAL innodb_flush_log_at_trx_commit = 1").unwrap();
    let mut waiting = Waiting::start(&mut program(&database.url(), "0s"));
    let line = waiting.line_with("listening on");
    let addr = line.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    // One that becomes so is complained of when it is come to again, and served.
    root.query_drop("SET GLOBAL innodb_flush_log_at_trx_commit = 2").unwrap();
    database.kill_connections();
    // Connections are opened again for the workers that need the store.
    let mut client = common::Client::connect(addr, common::Transport::Raw, common::ContentForm::Text);
    client.sign_up("ann");
    waiting.line_with("the store keeps no promises any more: its innodb_flush_log_at_trx_commit is 2");
    assert_eq!(waiting.stop("-TERM").0, Some(0));
}

#[test]
fn a_file_of_an_older_version_is_brought_up_to_date_and_the_log_says_from_which() {
    let folder = tempfile::tempdir().unwrap();
    let [new, old] = ["new.db", "old.db"].map(|name| folder.path().join(name));
    let url = |path: &std::path::Path| format!("sqlite:{}", path.display());
    let said = |program: &Program| program.start_log.iter().any(|line| line.contains("brought from schema"));
    let program = Program::on(&url(&new), &[]);
    assert!(!said(&program), "{:?}", program.start_log);
    drop(program);
    let pragma = |path: &std::path::Path, name: &str| -> i64 {
        rusqlite::Connection::open(path).unwrap().query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
    };
    let [owner, known] = ["application_id", "user_version"].map(|name| pragma(&new, name));
    let db = rusqlite::Connection::open(&old).unwrap();
    db.execute_batch(include_str!("../src/store/schema_sqlite.sql")).unwrap();
    db.execute_batch(&format!("PRAGMA application_id = {owner}; PRAGMA user_version = 1")).unwrap();
    drop(db);
    let program = Program::on(&url(&old), &[]);
    let expected = format!("[INFO] the store's tables are brought from schema 1 to {known}");
    assert!(program.start_log.iter().any(|line| line.contains(&expected)), "{:?}", program.start_log);
    drop(program);
    assert!(!said(&Program::on(&url(&old), &[])), "it is up to date now");
}

#[test]
fn a_client_for_terminals_that_cannot_be_run_is_named() {
    // Not within a test: a program that could not become another one has lost settings of signals.
    let folder = tempfile::tempdir().unwrap();
    let server = folder.path().join("hongyan");
    std::fs::copy(env!("CARGO_BIN_EXE_hongyan"), &server).unwrap();
    std::fs::write(folder.path().join("hongyan-chat"), "no program").unwrap();
    let output = Command::new(&server).arg("chat").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot start") && said.contains("hongyan-chat"), "{said}");
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1));
}
