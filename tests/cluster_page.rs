//! The commands in docs/cluster.md set up a cluster, in a network of the test that has all
//! addresses of the page.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/cluster/`.
mod cluster {
    #[allow(dead_code, reason = "other tests have hosts, too")]
    pub(crate) mod nets;
}

use cluster::nets;
use common::{Client, ContentForm, MariaDb, PATIENCE, Transport, befriend, health};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../docs/cluster.md");

/// The blocks of this language in the section about the set-up.
fn blocks(language: &str) -> Vec<&'static str> {
    let (_, section) = PAGE.split_once("\n## Set up\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let begin = format!("```{language}\n");
    section.split(&begin).skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

/// Programs that have another path here than on the page.
fn put_programs(folder: &Path, database: &MariaDb) {
    let mariadb = format!("exec /usr/bin/mariadb --no-defaults -uroot --socket={} \"$@\"", database.socket().display());
    let cheap = common::CHEAP_PASSWORDS.join(" ");
    let hongyan = format!("exec {} \"$@\" {cheap}", env!("CARGO_BIN_EXE_hongyan"));
    for (name, script) in [("apt-get", "exit 0"), ("mariadb", &*mariadb), ("hongyan", &*hongyan)] {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// A block as `sh` executes it.
fn sh(folder: &Path, block: &str, database: &MariaDb) -> Command {
    // The private MariaDB has a port of its own, and HAProxy has no folder in /etc.
    let text = block.replace("@10.0.0.4/", &format!("@10.0.0.4:{}/", database.port()));
    let text = text.replace("/etc/haproxy/haproxy.cfg", &folder.join("haproxy.cfg").display().to_string());
    let mut command = Command::new("sh");
    let own = tempfile::tempdir_in(folder).unwrap().keep();
    command.args(["-ec", &text]).current_dir(own);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}:/usr/sbin", folder.display()));
    command
}

#[test]
fn the_commands_make_a_cluster() {
    if !nets::is_own("the_commands_make_a_cluster") {
        return;
    }
    let Some(database) = MariaDb::start_for_all_networks() else { return };
    let ip = |words: String| assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success());
    for last in 3..=6 {
        ip(format!("addr add 10.0.0.{last}/32 dev lo"));
        // All connections come from the load balancer.
        ip(format!("route replace local 10.0.0.{last} dev lo table local scope host src 10.0.0.3"));
    }
    let folder = tempfile::tempdir().unwrap();
    put_programs(folder.path(), &database);
    let commands = blocks("sh");
    let [make_database, first, second, start_bus, check_proxy, ask] = commands[..] else {
        panic!("six blocks: {commands:#?}");
    };
    let run = |block| sh(folder.path(), block, &database);
    assert!(run(make_database).status().unwrap().success());
    let options = folder.path().join("hongyan.toml");
    fs::write(&options, blocks("toml")[0]).unwrap();
    let check = format!("hongyan --config {} --check-config", options.display());
    assert!(run(&check).status().unwrap().success());
    let (name, bus) = blocks("env")[0].trim().split_once('=').unwrap();
    let has_bus = run("command -v redis-server").status().unwrap().success();
    if has_bus {
        assert!(run(start_bus).status().unwrap().success());
    }
    // They end with the network.
    let _nodes = [first, second].map(|block| {
        let mut node = run(block);
        if has_bus {
            node.env(name, bus);
        }
        node.spawn().unwrap()
    });
    fs::write(folder.path().join("haproxy.cfg"), blocks("haproxy")[0]).unwrap();
    if run("command -v haproxy").status().unwrap().success() {
        assert!(run(check_proxy).status().unwrap().success());
        let mut proxy = run("exec haproxy -q -db -f /etc/haproxy/haproxy.cfg").spawn().unwrap();
        wait_for_health("10.0.0.3:1102");
        assert_eq!(run(ask).output().unwrap().stdout, b"ok\n");
        proxy.kill().unwrap();
        proxy.wait().unwrap();
    }
    let [a, b] = ["10.0.0.5:1102", "10.0.0.6:1102"].map(|place| {
        wait_for_health(place);
        let mut client = Client::connect(place.parse().unwrap(), Transport::Raw, ContentForm::Text);
        let name = if place.starts_with("10.0.0.5") { "ann" } else { "bob" };
        client.sign_up(name);
        client.log_in(name);
        client
    });
    let (mut ann, mut bob) = (a, b);
    befriend(&mut ann, &mut bob);
    ann.say("m1", "bob", "honk", "MS");
    bob.take("m1");
}

#[track_caller]
fn wait_for_health(place: &str) {
    let addr: SocketAddr = place.parse().unwrap();
    let until = Instant::now() + PATIENCE;
    while !health(addr).ends_with("\r\n\r\nok\n") {
        assert!(Instant::now() < until, "{place} is not well");
        thread::sleep(Duration::from_millis(20));
    }
}
