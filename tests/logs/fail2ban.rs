//! The filter in `packaging/fail2ban`, by fail2ban itself, on lines that a server has written.

use crate::common::Program;
use crate::{client, server, try_password, wrong_password};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const FILTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/fail2ban/filter.d/hongyan.conf");
const PROGRAM: &str = "fail2ban-regex";

/// Is it installed? `./test` sees to that.
fn is_installed() -> bool {
    let is_there = Command::new(PROGRAM).arg("--version").output().is_ok();
    if !is_there {
        assert!(std::env::var_os("HONGYAN_TEST_FAIL2BAN").is_none(), "{PROGRAM} is there: ./test installs it");
        eprintln!("{PROGRAM} is not installed: the filter is not run here, ./test does it");
    }
    is_there
}

/// How many of these lines fail2ban would count against each address.
fn counted(lines: &str) -> BTreeMap<String, usize> {
    let file = tempfile::NamedTempFile::new().unwrap();
    // The last line counts only when it is whole.
    std::fs::write(&file, format!("{lines}\n")).unwrap();
    let said = Command::new(PROGRAM).args(["-o", "ip"]).arg(file.path()).arg(FILTER).output().unwrap();
    assert!(said.status.success() || said.stdout.is_empty(), "{said:?}");
    let mut counts = BTreeMap::new();
    for address in String::from_utf8(said.stdout).unwrap().lines() {
        *counts.entry(address.to_owned()).or_default() += 1;
    }
    counts
}

/// The log of a server after guesses from two addresses, some of them by names that are made to
/// mislead.
fn lines_of_guesses(program: &Program) -> String {
    let mut lines = String::new();
    let mut say = |message: &str| {
        lines += &program.wait_for(message);
        lines.push('\n');
    };
    let mut guesser = client(program, "192.0.2.7");
    guesser.sign_up("ann");
    say("sign-up");
    for name in [
        "ann",
        "x from 1.2.3.4",
        "x address=1.2.3.4 conn=1.0 cause=wrong_password",
        "[INFO] wrong password address=1.2.3.4 conn=1.0 cause=bad_token",
        "2026-11-27T03:00:00Z [INFO] wrong password address=1.2.3.4",
        "\",\"address\":\"1.2.3.4\",\"cause\":\"wrong_password",
        "host hongyan[1]: [INFO] wrong password",
    ] {
        wrong_password(&mut guesser, name);
        say("wrong password");
    }
    let mut other = client(program, "198.51.100.9");
    wrong_password(&mut other, "ann");
    say("wrong password");
    try_password(&mut other, "ann", "secret");
    other.expect_reply("RE_SIGNUP", "l", "LS");
    say("log-in");
    let mut sixth = program.client(crate::common::ContentForm::Text);
    sixth.send_bytes(b"PROXY TCP6 2001:db8::7 ::1 4711 1102\r\n");
    wrong_password(&mut sixth, "ann");
    say("wrong password");
    lines
}

#[test]
fn guesses_are_counted_against_those_who_made_them_and_nobody_else() {
    if !is_installed() {
        return;
    }
    assert!(Path::new(FILTER).exists());
    let expected = [("192.0.2.7", 7), ("198.51.100.9", 1), ("2001:db8::7", 1)];
    let expected: BTreeMap<String, usize> = expected.map(|(address, count)| (address.to_owned(), count)).into();
    for format in ["text", "json"] {
        let lines = lines_of_guesses(&server(&["--log-format", format]));
        assert_eq!(counted(&lines), expected, "{format}:\n{lines}");
        // As a program shows it that keeps the journal.
        let journal: String = lines.lines().map(|line| format!("Nov 27 03:00:00 host hongyan[42]: {line}\n")).collect();
        assert_eq!(counted(&journal), expected, "{format}:\n{journal}");
    }
}

#[test]
fn refused_log_ins_are_counted_too() {
    if !is_installed() {
        return;
    }
    let program = server(&["--wrong-passwords-per-connection-max", "1"]);
    let mut guesser = client(&program, "192.0.2.7");
    wrong_password(&mut guesser, "ann");
    wrong_password(&mut guesser, "ann");
    let line = program.wait_for("log-in refused");
    assert_eq!(counted(&line), [("192.0.2.7".to_owned(), 1)].into());
}
