//! The configuration file and `--check-config`, as an operator uses them.

use crate::{PROGRAM, Program, free_addr, refused, run};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Writes a configuration file with this text, which only its owner may read.
fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("hongyan.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// Expects status 0, one line on stdout and nothing on stderr. Returns the line.
#[track_caller]
fn good(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), &*err), (Some(0), ""), "{out}");
    assert!(out.starts_with("the configuration is good: ") && out.lines().count() == 1, "{out}");
    out.into_owned()
}

#[test]
fn a_server_runs_by_its_file_and_the_environment_and_flags_override_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listen = \"127.0.0.1:0\"\nstore = \"memory:\"\nmax-frame = 1024\n";
    let path = file(folder.path(), text);
    let too_large = format!("{{\"x\":\"{}\"}}", "x".repeat(2_000));
    for (variable, flag, code) in
        [(None, None, "TOO_LARGE"), (Some("4KiB"), None, "UNKNOWN_TYPE"), (Some("4KiB"), Some("1KiB"), "TOO_LARGE")]
    {
        let mut command = Command::new(PROGRAM);
        command.env("HONGYAN_CONFIG", &path);
        if let Some(value) = variable {
            command.env("HONGYAN_MAX_FRAME", value);
        }
        if let Some(value) = flag {
            command.args(["--max-frame", value]);
        }
        let program = Program::start(&mut command);
        let mut client = program.client();
        client.send(&too_large);
        client.expect_error("", code);
    }
}

#[test]
fn a_wrong_file_is_refused_in_one_sentence_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (text, names) in [
        (
            "listen = \"127.0.0.1:0\"\nidle-timeuot = \"1s\"\n",
            "line 2: unknown option \"idle-timeuot\" (did you mean idle-timeout?)",
        ),
        ("listen = 1102\n", "line 1: listen must be text in quotes"),
        ("log = \"info\"\nlog = \"info\"\n", "line 2: log is given twice"),
        ("log = \"info\"\nstore = mysql://u:geheim@h/d\n", "line 2: this is not TOML"),
        ("store = \"mysql://u:geheim@h:0/d\"\n", "line 1: store: its port \"0\" is none"),
    ] {
        let path = file(folder.path(), text);
        let path = path.to_str().unwrap();
        for args in [&["--config", path][..], &["--check-config", "--config", path]] {
            let output = run(args, &[]);
            refused(&output, path);
            refused(&output, names);
            assert!(!String::from_utf8_lossy(&output.stderr).contains("geheim"));
            assert!(output.stdout.is_empty());
        }
    }
    refused(
        &run(&[], &[("HONGYAN_CONFIG", "/no/such.toml")]),
        "HONGYAN_CONFIG /no/such.toml cannot be used: there is no such file",
    );
}

#[test]
fn check_config_prints_a_summary_and_opens_neither_the_store_nor_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let _held = TcpListener::bind(&taken).unwrap();
    let store = folder.path().join("hongyan.db");
    let path = file(folder.path(), &format!("listen = {taken:?}\nstore = \"sqlite:{}\"\n", store.display()));
    let line = good(&run(&["--check-config", "--config", path.to_str().unwrap(), "--log", "off"], &[]));
    let store_shown = format!("store sqlite:{}", store.display());
    for words in [&taken, &store_shown, &format!("2 set in {}", path.display()), "1 set in the command line"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(!store.exists());
    // The check does not connect to the database. It reports a fault of the URL.
    let url = format!("mysql://u:geheim@{}/d", free_addr());
    let line = good(&run(&["--check-config"], &[("HONGYAN_STORE", &url)]));
    assert!(!line.contains("geheim"), "{line}");
    let said = run(&["--check-config"], &[("HONGYAN_STORE", &format!("{url}?sslmode=geheim"))]);
    refused(&said, "\"sslmode\"");
    refused(&run(&["--check-config", "--idle-timeout", "soon"], &[]), "--idle-timeout \"soon\"");
    refused(
        &run(&["--check-config", "--tls-cert", "nofile.pem", "--tls-key", "nofile.pem"], &[]),
        "--tls-cert nofile.pem",
    );
    refused(&run(&["--check-config", "--outstanding-max", "9", "--list-max", "8"], &[]), "--outstanding-max 9");
}

#[test]
fn the_start_and_check_config_warn_of_a_password_in_a_file_that_everybody_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("listen = \"127.0.0.1:0\"\nstore-wait = \"0s\"\nstore = \"mysql://u:geheim@{}/d\"\n", free_addr());
    let path = file(folder.path(), &text);
    let said = |args: &[&str]| {
        let output = run(&[&["--config", path.to_str().unwrap()], args].concat(), &[]);
        String::from_utf8(output.stderr).unwrap()
    };
    let warning = "everybody on this machine may read it";
    assert!(!said(&[]).contains(warning) && !said(&["--check-config"]).contains(warning));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    for args in [&[][..], &["--check-config"]] {
        let said = said(args);
        assert!(said.contains(warning) && said.contains(path.to_str().unwrap()) && !said.contains("geheim"), "{said}");
    }
}
