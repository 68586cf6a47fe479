//! Where the admin interface is, as an operator configures it: sockets with their mode, stale ones,
//! ports with their token.

use super::caller::{get_unix, get_with};
use crate::common::{MariaDb, Program, wait_until};
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hongyan");

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// A server that must not start: gives its status and what it says.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } =
        Command::new(PROGRAM).args(["--listen", "127.0.0.1:0"]).args(args).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn ends(program: &Program) {
    assert!(Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap().success());
}

#[test]
fn the_socket_stands_beside_the_store_for_its_owner_alone_and_goes_at_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (store, socket) = (folder.path().join("a.db"), folder.path().join("a.db.sock"));
    let program = Program::on(&url(&store), &[]);
    let found = socket.symlink_metadata().unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(get_unix(&socket, "/health").good()["ready"], true);
    ends(&program);
    wait_until("the socket goes", || !socket.exists());
}

#[test]
fn the_socket_of_a_killed_server_is_replaced_and_that_of_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, socket) = (folder.path().join("a.db"), folder.path().join("a.db.sock"));
    drop(Program::on(&url(&store), &[]));
    assert!(socket.exists(), "killed, it removes nothing");
    let program = Program::on(&url(&store), &[]);
    assert_eq!(get_unix(&socket, "/health").status, 200);
    let place = format!("unix:{}", socket.display());
    let (status, said) = refused(&["--store", "memory:", "--admin", &place]);
    assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("another server uses it"), "{said}");
    assert_eq!(get_unix(&socket, "/health").status, 200, "the first one still has it");
    // One with the same store says that, and nothing of the socket.
    let (status, said) = refused(&["--store", &url(&store)]);
    assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("another server uses it") && !said.contains("admin"), "{said}");
    drop(program);
}

#[test]
fn a_default_socket_that_cannot_be_made_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("a.db.sock");
    fs::write(&socket, "a diary").unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--store", &url(&folder.path().join("a.db"))]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let warning = lines.find(|line| line.as_ref().unwrap().contains("which is no socket")).unwrap().unwrap();
    assert!(warning.contains("WARN") && warning.contains("--admin"), "{warning}");
    assert!(lines.any(|line| line.unwrap().contains("listening on")), "it serves");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read(&socket).unwrap(), b"a diary");
}

#[test]
fn an_explicit_place_that_cannot_be_had_is_status_2_and_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |path: PathBuf| format!("unix:{}", path.display());
    let live = folder.path().join("live.sock");
    let _listener = UnixListener::bind(&live).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "short").unwrap();
    for (args, words) in [
        (vec!["--admin".to_owned(), shown(live)], "another server uses it"),
        (
            vec!["--admin".to_owned(), shown(folder.path().join("no/such.sock"))],
            "the folder that it is to be in is not there",
        ),
        (vec!["--admin".to_owned(), shown(folder.path().join("x".repeat(120)))], "at most 107 bytes"),
        (vec!["--admin".to_owned(), port.local_addr().unwrap().to_string()], "the address is in use"),
        (vec!["--admin=0.0.0.0:0".to_owned()], "--admin-token-file"),
        (vec!["--admin=here".to_owned()], "\"here\" is not a place"),
        (
            vec!["--admin=127.0.0.1:0".to_owned(), "--admin-token-file".to_owned(), token.display().to_string()],
            "16 to 1024 characters",
        ),
    ] {
        let args: Vec<&str> = ["--store", "memory:"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let (status, said) = refused(&args);
        assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn it_can_be_off() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::on(&url(&folder.path().join("a.db")), &["--admin", "off"]);
    assert!(!folder.path().join("a.db.sock").exists());
    drop(program);
}

#[test]
fn a_port_wants_its_token_and_takes_nothing_from_browsers() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "geheim-geheim-geheim\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
    let program = Program::on("memory:", &["--admin", "127.0.0.1:0", "--admin-token-file", token.to_str().unwrap()]);
    let admin = program.admin();
    let with = |headers: &str| get_with(admin, "/health", headers);
    let no_token = with("");
    no_token.refused(401, "unauthorized");
    assert!(no_token.head.contains("WWW-Authenticate: Bearer"), "{no_token:?}");
    with("Authorization: Bearer geheim-geheim-gehein\r\n").refused(401, "unauthorized");
    with("Authorization: Bearer geheim-geheim-geheim\r\nOrigin: https://evil.example\r\n").refused(403, "forbidden");
    assert_eq!(with("Authorization: Bearer geheim-geheim-geheim\r\n").good()["ready"], true);
    let refused = program.wait_for("was refused: no token");
    assert!(refused.contains("WARN") && refused.contains("tcp 127.0.0.1:"), "{refused}");
}

#[test]
fn a_command_for_another_store_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("unix:{}", folder.path().join("hongyan.sock").display());
    let program = Program::on("memory:", &["--admin", &place]);
    program.user("ann", crate::common::ContentForm::Text);
    let run = |store: &[&str]| {
        let words = [&["admin", "delete", "ann", "--yes", "--admin", &place], store].concat();
        let Output { status, stderr, .. } = Command::new(PROGRAM).args(words).output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    let (status, said) = run(&["--store", "mysql://u:geheim@127.0.0.1/test"]);
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("The store of this server is memory:") && !said.contains("geheim"), "{said}");
    assert_eq!(run(&["--store", "memory:"]), (Some(0), String::new()), "the account was still there");
}

#[test]
fn an_open_port_is_warned_of() {
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--store", "memory:", "--admin", "127.0.0.1:0"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let warning = lines.find(|line| line.as_ref().unwrap().contains("may use the admin port")).unwrap().unwrap();
    assert!(warning.contains("WARN") && warning.contains("--admin-token-file"), "{warning}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_standby_says_that_it_is_one_until_it_serves() {
    let Some(database) = MariaDb::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let active = Program::on(&database.url(), &["--admin", "off"]);
    let socket = folder.path().join("standby.sock");
    let mut standby = Command::new(PROGRAM)
        .args(["--listen", "127.0.0.1:0", "--standby", "--store", &database.url()])
        .args(["--admin", &format!("unix:{}", socket.display())])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The file is there a moment before anything listens on it.
    wait_until("its socket listens", || UnixStream::connect(&socket).is_ok());
    let answer = get_unix(&socket, "/health");
    assert_eq!((answer.status, answer.json()["why"].as_str()), (503, Some("standby")));
    assert!(get_unix(&socket, "/metrics").body.contains("\nhongyan_ready 0\n"));
    get_unix(&socket, "/users").refused(503, "not_serving");
    drop(active);
    wait_until("it serves", || get_unix(&socket, "/health").status == 200);
    standby.kill().unwrap();
    standby.wait().unwrap();
}
