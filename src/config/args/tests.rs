//! The command line, the environment and the file together.

use super::*;
use crate::config::StoreUrl;
use crate::versions::{FRAME_MAX, FRAME_MIN, SCHEMA};

fn read_with(args: &[&str], env: &[(&str, &str)]) -> Result<Config, String> {
    let args = args.iter().map(OsString::from);
    let variables = env.iter().map(|(name, value)| (name.into(), value.into()));
    match read(args, variables)? {
        CliCommand::Run(settings) | CliCommand::Check(settings) => Ok(settings.config),
        CliCommand::Copy(order) => Err(format!("{order:?}")),
        CliCommand::Backup(order) => Err(format!("{order:?}")),
        CliCommand::Admin(order) => Err(format!("{order:?}")),
        CliCommand::Client(order) => Err(format!("{order:?}")),
        CliCommand::Print(text) => Err(text),
    }
}

#[test]
fn flags_environment_and_defaults() {
    let config = read_with(&[], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:1102");
    let env = [("HONGYAN_IDLE_TIMEOUT", "7s"), ("HONGYAN_LISTEN", "[::1]:7"), ("HONGYAN_STORE", "")];
    let config = read_with(&["--idle-timeout", "200ms"], &env).unwrap();
    assert_eq!(config.rules.idle_timeout_ms, 200, "the flag beats the environment");
    assert_eq!(config.listen.to_string(), "[::1]:7");
    assert_eq!(config.store, StoreUrl::Sqlite("hongyan.db".into()), "an empty variable does not count");
    assert_eq!(read_with(&["--argon2-memory", "8KiB"], &[]).unwrap().argon2_memory_kib, 8);
}

#[test]
fn an_error_is_one_sentence_that_names_the_argument() {
    for (args, words) in [
        (&["--nope"][..], &["--nope", "--help"][..]),
        (&["--stroe", "memory:"], &["--stroe", "did you mean --store?"]),
        (&["--hepl"], &["did you mean --help?"]),
        (&["--check-confg"], &["did you mean --check-config?"]),
        (&["--check-config=x"], &["--check-config takes no value"]),
        (&["--check-config", "copy"], &["unexpected argument \"copy\""]),
        (&["--config"], &["--config FILE"]),
        (&["--config", "no/such.toml"], &["--config no/such.toml", "there is no such file"]),
        (&["--store=memory:", "--store", "memory:"], &["--store is given twice"]),
        (&["--log", "info", "--log", "info"], &["--log is given twice"]),
        (&["--store=sqlite::memory:"], &["--store", "memory:"]),
        (&["--store=memory"], &["--store: \"memory\" is no kind of store", "and memory:"]),
        (&["--store=memory:x"], &["--store: nothing may stand behind \"memory:\""]),
        (&["--store=mysql://u:p@h:70000/d"], &["--store", "70000"]),
        (&["-x"], &["-x"]),
        (&["serve"], &["serve"]),
        (&["--listen"], &["--listen", "ADDR:PORT"]),
        (&["--listen", "localhost"], &["--listen", "localhost", "127.0.0.1:1102"]),
        (&["--idle-timeout", "25h"], &["--idle-timeout", "25h", "1ms to 24h"]),
        (&["--idle-timeout", "5"], &["--idle-timeout", "unit", "1ms to 24h"]),
        (&["--max-frame", "17MiB"], &["--max-frame", "17MiB", "1KiB to 16MiB"]),
        (&["--log", "loud"], &["--log", "loud", "trace"]),
        (&["--trusted-proxies", "10.0.0.1/8"], &["--trusted-proxies", "10.0.0.1/8", "127.0.0.1,10.0.0.0/8"]),
        (&["--trusted-proxies", "10.0.0.1,haproxy"], &["--trusted-proxies", "\"haproxy\"", "127.0.0.1"]),
        (&["--allowed-origins", "chat.example"], &["--allowed-origins", "chat.example", "https://chat.example"]),
        (&["--help=x"], &["--help"]),
        (&["--outstanding-max", "9", "--list-max", "8"], &["--outstanding-max 9", "--list-max 8"]),
        (&["--auth-jobs-max", "9", "--jobs-max", "8"], &["--auth-jobs-max 9", "--jobs-max 8"]),
        (&["--save-after", "2s", "--answer-within", "1s"], &["--save-after 2s", "--answer-within 1s"]),
        (&["--save-after", "10001ms"], &["--save-after 10001ms", "--answer-within 10s"]),
        (&["--tls-cert", "a.pem"], &["--tls-cert", "--tls-key"]),
        (&["--tls-key", "a.pem"], &["--tls-key", "--tls-cert"]),
        (&["--tls-only"], &["--tls-only", "--tls-cert"]),
        (&["--tls-only=maybe"], &["--tls-only", "maybe", "on or off"]),
        (&["--admin-token-file", "t"], &["--admin-token-file needs --admin ADDR:PORT"]),
        (&["--admin=off", "--admin-token-file=t"], &["--admin-token-file needs --admin ADDR:PORT"]),
        (&["--admin=unix:a.sock", "--admin-token-file=t"], &["--admin-token-file needs --admin ADDR:PORT"]),
        (&["--standby"], &["--standby", "mysql://"]),
        (&["--standby=perhaps"], &["--standby", "perhaps", "on or off"]),
        (&["--standby", "--silent-server-max", "1s"], &["--silent-server-max", "1s", "2s to 1h"]),
        (&["--node-name", "a"], &["--node-name", "mysql://"]),
        (&["--bus", "redis://h"], &["--bus", "--node-name"]),
        (&["--bus", "redis//u:geheim@h"], &["--bus", "redis://USER"]),
        (&["--node-name", "a b"], &["--node-name", "1 to 64 letters"]),
        (&["--node-name", "a", "--standby", "--store=mysql://u:p@h/d"], &["--standby", "--node-name"]),
        (&["--output-bytes-max", "64KiB"], &["--output-bytes-max 64KiB", "--max-frame 64KiB"]),
    ] {
        let Err(why) = read_with(args, &[]) else { panic!("{args:?} was taken") };
        assert!(!why.contains('\n') || args == ["--help=x"], "{why}");
        for word in words {
            assert!(why.contains(word), "{args:?}: {why}");
        }
    }
    let why = read_with(&[], &[("HONGYAN_STORE_WIAT", "1s")]).unwrap_err();
    assert!(why.contains("HONGYAN_STORE_WIAT (did you mean HONGYAN_STORE_WAIT?)"), "{why}");
    assert!(read_with(&["--help"], &[("HONGYAN_NOPE", "1s")]).unwrap_err().contains("Usage"), "help helps");
    let why = read_with(&[], &[("HONGYAN_RESEND_EVERY", "soon")]).unwrap_err();
    assert!(why.contains("HONGYAN_RESEND_EVERY"), "{why}");
}

#[test]
fn settings_that_were_not_given_follow_those_that_were() {
    let config = read_with(&["--list-max", "8", "--jobs-max", "3", "--max-frame", "16MiB"], &[]).unwrap();
    assert_eq!((config.rules.outstanding_max, config.rules.auth_jobs_max), (8, 3));
    assert_eq!(config.output_bytes_max, 64 << 20);
}

#[test]
fn a_port_for_operators_takes_a_file_with_the_token() {
    let config = read_with(&["--admin=127.0.0.1:1103", "--admin-token-file=t"], &[]).unwrap();
    assert_eq!(config.admin_token_file, Some("t".into()));
    let at_socket = read_with(&["--admin-token-file=none"], &[("HONGYAN_ADMIN", "unix:a.sock")]).unwrap();
    assert_eq!(at_socket.admin_token_file, None);
}

#[test]
fn a_switch_is_on_alone_and_takes_no_word_behind_it() {
    let store = ["--store", "mysql://u:p@h/d"];
    assert!(!read_with(&store, &[]).unwrap().is_standby);
    for (flag, is_on) in [("--standby", true), ("--standby=on", true), ("--standby=off", false)] {
        let args = [&[flag][..], &store].concat();
        assert_eq!(read_with(&args, &[]).unwrap().is_standby, is_on, "{flag}");
    }
    assert!(read_with(&store, &[("HONGYAN_STANDBY", "on")]).unwrap().is_standby);
    assert!(read_with(&["--standby", "on"], &[]).unwrap_err().contains("unexpected argument"));
}

#[test]
fn no_error_and_no_debug_text_repeats_a_password() {
    for args in [
        &["--store", "mysql://u:geheim@"][..],
        &["--store", "pg://u:geheim@h"],
        &["--version=mysql://u:geheim@h/d"],
        &["mysql://u:geheim@h/d"],
        &["geheim@h"],
    ] {
        assert!(!read_with(args, &[]).unwrap_err().contains("geheim"));
    }
    let config = read_with(&["--store", "mysql://u:geheim@h/d"], &[]).unwrap();
    assert!(!format!("{config:?}").contains("geheim"));
}

#[test]
fn a_client_gets_its_arguments_as_they_are() {
    let words = ["send", "--to", "bob", "--listen", "-x", "--", "hello"].map(OsString::from);
    let Ok(CliCommand::Client(args)) = read(words.clone(), []) else { panic!() };
    assert_eq!(args, words);
    assert!(read(["--listen=127.0.0.1:7", "chat"].map(OsString::from), []).is_err());
}

#[test]
fn help_and_version() {
    let version = read_with(&["--version"], &[]).unwrap_err();
    let (build, rest) = (env!("CARGO_PKG_VERSION"), format!("(schema {SCHEMA}, frames {FRAME_MIN}-{FRAME_MAX})"));
    assert_eq!(version, format!("hongyan {build} {rest}\n"));
    let help = read_with(&["-h"], &[]).unwrap_err();
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(help.contains("hongyan copy --from URL --to URL"));
    let in_one_line = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for bounds in ["[default none; allowed none, or IP addresses", "[default 100000; allowed 1 to 10000000]"] {
        assert!(in_one_line.contains(bounds), "{bounds}");
    }
    for opt in OPTIONS {
        assert!(help.contains(&format!("  {}\n", opt.usage())), "{}", opt.name);
        let cell = format!("`{}`", opt.usage().replace('|', "\\|"));
        assert!(markdown().contains(&cell), "{}", opt.name);
    }
}
