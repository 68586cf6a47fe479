//! `hongyan admin` as it is typed.

use crate::common::{ContentForm, Program, befriend};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const OPERATIONS: &str = include_str!("../../docs/operations.md");

fn run(folder: &Path, words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_hongyan"))
        .arg("admin")
        .args(words)
        .current_dir(folder)
        .env("HONGYAN_STORE", "sqlite:a.db")
        .output()
        .unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A server whose store is `a.db` in a folder.
fn started() -> (tempfile::TempDir, Program) {
    let folder = tempfile::tempdir().unwrap();
    let program =
        Program::on(&format!("sqlite:{}", folder.path().join("a.db").display()), &crate::common::CHEAP_PASSWORDS);
    (folder, program)
}

#[test]
fn status_and_users_are_readable_and_json_is_for_scripts() {
    let (folder, program) = started();
    let _ann = program.user("ann", ContentForm::Text);
    let good = |words: &[&str]| {
        let (status, out, err) = run(folder.path(), words);
        assert_eq!((status, err.as_str()), (0, ""), "{out}");
        out
    };
    let said = good(&["status"]);
    assert!(said.starts_with("ready\n") && said.contains("store: works") && said.contains("1 logged in"), "{said}");
    let health: Value = serde_json::from_str(&good(&["--json", "status"])).unwrap();
    assert_eq!(health["ready"], true);
    let said = good(&["users"]);
    assert!(said.contains(" UTC") && said.contains("127.0.0.1") && said.ends_with("1 online\n"), "{said}");
    let users: Value = serde_json::from_str(&good(&["users", "--json"])).unwrap();
    assert_eq!(users["users"][0]["name"], "ann");
    let said = good(&["user", "ann"]);
    assert!(said.starts_with("ann\nonline since ") && said.contains("waiting: 0 pushes\nnot banned\n"), "{said}");
}

#[test]
fn messages_are_found_and_changes_are_done() {
    let (folder, program) = started();
    let (mut ann, mut bob) = (program.user("ann", ContentForm::Text), program.user("bob", ContentForm::Text));
    befriend(&mut ann, &mut bob);
    ann.say("m", "bob", "hello", "MS");
    bob.expect_push("4", "m");
    let (status, out, _) = run(folder.path(), &["where", "bob", "m"]);
    assert!(status == 0 && out.starts_with("message from ann, said 20") && out.contains("sent and not acked"), "{out}");
    bob.ack("m");
    bob.fence();
    let (status, out, _) = run(folder.path(), &["where", "bob", "m"]);
    assert!(status == 0 && out.ends_with(": acked; not in the store\n"), "{out}");
    let (status, out, _) = run(folder.path(), &["where", "bob", "other"]);
    assert_eq!(
        (status, out.as_str()),
        (1, "nothing with this id waits for bob; while bob is away it is not known what was acked\n")
    );
    assert_eq!(run(folder.path(), &["notice", "--all", "hello"]).1, "the notice goes to 2 users\n");
    assert_eq!(run(folder.path(), &["ban", "ann"]), (0, "done\n".to_owned(), String::new()));
    assert_eq!(run(folder.path(), &["unban", "ann"]).0, 0);
    let (status, out, _) = run(folder.path(), &["reset-password", "ann"]);
    assert!(status == 0 && out.starts_with("the new password of ann is "), "{out}");
    assert_eq!(run(folder.path(), &["delete", "ann", "--yes"]).0, 0);
    let (status, out, err) = run(folder.path(), &["user", "ann"]);
    assert_eq!((status, out.as_str(), err.as_str()), (1, "", "hongyan: There is no account of this name.\n"));
    let (status, out, _) = run(folder.path(), &["user", "ann", "--json"]);
    assert_eq!((status, serde_json::from_str::<Value>(&out).unwrap()["error"].as_str()), (1, Some("no_such_user")));
}

#[test]
fn one_that_cannot_be_asked_is_status_2_and_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let live = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&live).unwrap());
    // Not as it was given, since the server may have another working folder.
    let absent = folder.path().join("a.db.sock");
    for (words, said) in [
        (&["status"][..], &*format!("cannot ask the server at unix:{}: there is no such socket", absent.display())),
        (&["status"], "--admin unix:/var/lib/hongyan/hongyan.sock"),
        (&["status", "--admin=unix:dead.sock"], "no server listens there"),
        (&["status", "--admin", &port], "no server listens there"),
        (&["status", "--admin=off"], "off"),
        (&["frobnicate"], "no such command"),
        (&["delete", "ann"], "--yes"),
    ] {
        let (status, out, err) = run(folder.path(), words);
        assert_eq!((status, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
        assert!(err.starts_with("hongyan: ") && err.contains(said), "{words:?}: {err}");
    }
}

#[test]
fn a_server_that_stops_before_it_answers_may_have_done_it() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(folder.path().join("a.sock")).unwrap();
    let killed = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(std::io::Read::read(&mut stream, &mut [0; 4_096]).unwrap() > 0);
    });
    let (status, _, err) = run(folder.path(), &["delete", "ann", "--yes", "--admin=unix:a.sock"]);
    killed.join().unwrap();
    assert_eq!(status, 2);
    assert!(err.contains("stopped before it answered: it may have done this"), "{err}");
}

#[test]
fn a_backup_is_made_of_the_store_that_is_configured() {
    let (folder, program) = started();
    program.user("ann", ContentForm::Text);
    let (status, out, err) = run(folder.path(), &["backup", "copy.db"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("backed up sqlite:a.db into copy.db: ") && out.contains("1 accounts"), "{out}");
    assert!(folder.path().join("copy.db").exists());
}

/// The commands below a heading of the page for operators.
fn commands_below(heading: &str) -> &'static str {
    let (_, section) = OPERATIONS.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, rest) = section.split_once("```sh\n").unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_commands_of_the_page_for_operators_work() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("hongyan.db").display());
    let program = Program::on(&store, &crate::common::CHEAP_PASSWORDS);
    let (mut ann, mut bob) = (program.user("ann", ContentForm::Text), program.user("bob", ContentForm::Text));
    befriend(&mut ann, &mut bob);
    bob.say("m1", "ann", "hello", "MS");
    ann.expect_push("4", "m1");
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hongyan"), bin.join("hongyan")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for heading in ["Monitoring", "Administration"] {
        let output = Command::new("sh")
            .args(["-euxc", commands_below(heading)])
            .current_dir(&folder)
            .env("PATH", &path)
            .env("HONGYAN_STORE", "sqlite:hongyan.db")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{heading}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
        let expected =
            if heading == "Monitoring" { "# TYPE hongyan_build info" } else { "the new password of ann is " };
        assert!(said.contains(expected), "{said}");
    }
    assert!(folder.path().join("copy.db").exists());
}

/// Where `promtool` is installed (Debian's package `prometheus`).
#[test]
fn prometheus_reads_the_alerts_and_they_name_existing_metrics() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus/hongyan.rules.yml");
    let text = std::fs::read_to_string(rules).unwrap();
    let (_folder, program) = {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("a.db").display());
        let program = Program::on(&store, &["--admin", "127.0.0.1:0"]);
        (folder, program)
    };
    let metrics = super::caller::get(program.admin(), "/metrics").body;
    for name in text
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .filter(|word| word.starts_with("hongyan_"))
    {
        assert!(metrics.lines().any(|line| !line.starts_with('#') && line.starts_with(name)), "there is no {name}");
    }
    for name in
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(|line| line.split(' ').next().unwrap())
    {
        let short = name.trim_start_matches("hongyan_messages").trim_start_matches("hongyan_pushes");
        assert!(
            OPERATIONS.contains(&format!("`{name}")) || OPERATIONS.contains(&format!("`{short}_total`")),
            "{name} is not on the page"
        );
    }
    match Command::new("promtool").args(["check", "rules", rules]).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("skipped: there is no promtool"),
    }
}
