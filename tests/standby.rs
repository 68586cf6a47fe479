//! Two servers and one database: the second one waits, and serves when the first one is killed,
//! frozen, or cut off from the database. Nothing that either server has promised is lost, and the
//! first one writes nothing after the takeover.
//!
//! `tests/on_galera` runs the same on a pair of Galera nodes, with one server on each.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/standby/`.
mod standby {
    pub(crate) mod fence;
    pub(crate) mod load;
}

use common::{Client, ContentForm, HaProxy, MariaDb, Node, PATIENCE, Transport, befriend, health};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts};
use standby::fence;
use standby::load::{Known, listen, talk};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Starts a server that serves.
fn start_active(store: &str) -> Node {
    Node::start(&["--store", store])
}

/// Starts a standby, and waits until it has seen the active server.
fn start_standby(store: &str) -> Node {
    let node = Node::begin(&["--store", store, "--standby"]);
    node.wait_for("standby: waiting");
    node
}

/// A way to the database that can be cut silently, and restored.
struct Way {
    port: u16,
    is_cut: Arc<AtomicBool>,
}

impl Way {
    fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&target).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, cut) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&cut));
                    thread::spawn(move || Self::pump(from, to, &cut));
                }
            }
        });
        Self { port, is_cut }
    }

    fn pump(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count) = from.read(&mut buffer) {
            while is_cut.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        to.shutdown(std::net::Shutdown::Both).ok();
        from.shutdown(std::net::Shutdown::Both).ok();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
    CutOff,
}

/// Where the two servers find the database, each by its own way.
struct Deployment {
    /// The URL with `{}` in place of host and port.
    url: String,
    active: String,
    standby: String,
}

impl Deployment {
    fn url_by(&self, place: &str) -> String {
        self.url.replace("{}", place)
    }
}

/// Checksums of the tables with the users' data.
fn contents(conn: &mut Conn) -> Vec<(String, Option<u64>)> {
    conn.query("CHECKSUM TABLE pushes, accounts, friendships, friend_requests, resume_tokens").unwrap()
}

/// Waits until `count` more messages are promised.
fn wait_for_promises(known: &Known, count: usize) {
    let (until, before) = (Instant::now() + 2 * PATIENCE, known.promises());
    while known.promises() < before + count {
        assert!(Instant::now() < until, "{} of {count} promises came", known.promises() - before);
        thread::sleep(Duration::from_millis(5));
    }
}

fn takes_over(deployment: &Deployment, fault: Fault) {
    let way = Way::to(deployment.active.clone());
    let mut first = start_active(&deployment.url_by(&format!("127.0.0.1:{}", way.port)));
    let second = start_standby(&deployment.url_by(&deployment.standby));
    {
        let mut sue = first.user("sue");
        for mut friend in ["ria", "ann"].map(|name| first.user(name)) {
            befriend(&mut sue, &mut friend);
        }
    }
    waits(&second);
    let (known, servers) = (Arc::new(Known::default()), [first.addr, second.addr]);
    let talking = talk(servers, &["ria", "ann"], &known);
    let listening = listen(servers, "ria", &known);
    wait_for_promises(&known, 100);
    let began = Instant::now();
    match fault {
        Fault::Killed => first.kill(),
        Fault::Frozen => first.signal("-STOP"),
        Fault::CutOff => way.is_cut.store(true, Ordering::SeqCst),
    }
    second.wait_for("standby: the active server is gone");
    let noticed = began.elapsed();
    second.wait_for("listening on");
    println!("{fault:?}: noticed after {} ms, serves after {} ms", noticed.as_millis(), began.elapsed().as_millis());
    wait_for_promises(&known, 100);
    known.stop();
    talking.join().unwrap();
    listening.join().unwrap();
    // Ann was away all the time.
    listen([second.addr, second.addr], "ann", &known).join().unwrap();
    settles(&mut conn(deployment));
    if fault != Fault::Killed {
        old_one_ends(deployment, fault, &mut first, &way);
    }
    println!("{fault:?}: {} messages were promised", known.promises());
}

fn conn(deployment: &Deployment) -> Conn {
    Conn::new(Opts::from_url(&deployment.url_by(&deployment.standby)).unwrap()).unwrap()
}

/// Waits until the acks have been processed, so that nothing is written any more.
fn settles(conn: &mut Conn) {
    let until = Instant::now() + PATIENCE;
    let (mut before, mut since) = (contents(conn), Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        assert!(Instant::now() < until, "a server writes on and on");
        let now = contents(conn);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Checks that a standby answers load balancers and no other client.
fn waits(standby: &Node) {
    let health = health(standby.addr);
    assert!(health.starts_with("HTTP/1.1 503 ") && health.ends_with("\r\n\r\nstandby\n"), "{health}");
    let mut client = TcpStream::connect(standby.addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"{\"TYPE\":\"0\",\"MID\":\"b\",\"CONTENT\":\"{}\"}\n").unwrap();
    let mut said = Vec::new();
    // A reset is an end, too.
    client.read_to_end(&mut said).ok();
    assert!(said.is_empty());
}

/// The first server, which the second one took for dead, comes back: it writes nothing and ends.
fn old_one_ends(deployment: &Deployment, fault: Fault, first: &mut Node, way: &Way) {
    let mut conn = conn(deployment);
    let before = contents(&mut conn);
    match fault {
        Fault::Killed => {}
        Fault::Frozen => first.signal("-CONT"),
        Fault::CutOff => way.is_cut.store(false, Ordering::SeqCst),
    }
    assert_eq!(first.status(), Some(3));
    first.wait_for("another server has taken this one's place");
    // The server has ended, so these are all its lines after that one.
    let behind: Vec<String> = first.rest_of_log();
    assert!(behind.iter().all(|line| !line.contains("[ERROR]")), "{behind:#?}");
    assert_eq!(contents(&mut conn), before);
}

fn on_mariadb(fault: Fault) {
    let Some(database) = MariaDb::start() else { return };
    let place = format!("127.0.0.1:{}", database.port());
    let deployment = Deployment { url: database.url().replace(&place, "{}"), active: place.clone(), standby: place };
    takes_over(&deployment, fault);
}

#[test]
fn a_standby_takes_the_place_of_a_server_that_was_killed() {
    on_mariadb(Fault::Killed);
}

#[test]
fn a_standby_takes_the_place_of_a_server_that_is_frozen() {
    on_mariadb(Fault::Frozen);
}

#[test]
fn a_standby_takes_the_place_of_a_server_that_is_cut_off_from_the_database() {
    on_mariadb(Fault::CutOff);
}

#[test]
fn a_standby_takes_the_place_of_a_server_that_stops_and_lives_through_an_outage_before() {
    let Some(mut database) = MariaDb::start() else { return };
    let mut first = start_active(&database.url());
    let second = start_standby(&database.url());
    // The outage is longer than a server may be silent. It must not make the standby take the
    // active server for dead.
    database.freeze();
    thread::sleep(Duration::from_secs(7));
    database.thaw();
    database.kill9();
    second.wait_for("standby: cannot take over now");
    database.start_again();
    let until = Instant::now() + PATIENCE;
    while !health(first.addr).starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < until, "the active server does not find the database again");
        thread::sleep(Duration::from_millis(20));
    }
    let mut ann = first.user("ann");
    ann.fence();
    waits(&second);
    first.signal("-TERM");
    assert_eq!(first.status(), Some(0));
    second.wait_for("listening on");
    let mut ann = Client::connect(second.addr, Transport::Raw, ContentForm::Text);
    ann.log_in("ann");
}

#[test]
fn haproxy_sends_users_to_the_server_that_serves() {
    let Some(database) = MariaDb::start() else { return };
    let (first, second) = (start_active(&database.url()), start_standby(&database.url()));
    let page = include_str!("../docs/operations.md");
    let servers = [("10.0.0.5:1102", first.addr), ("10.0.0.6:1102", second.addr)];
    let Some(proxy) = HaProxy::start(page, "## Standby", &servers) else { return };
    proxy.settles();
    let mut ann = Client::connect(proxy.addr, Transport::Raw, ContentForm::Text);
    ann.sign_up("ann");
    ann.log_in("ann");
    first.signal("-STOP");
    // HAProxy ends her connection to the server that does not answer any more.
    ann.expect_closed();
    second.wait_for("listening on");
    proxy.settles();
    let mut ann = Client::connect(proxy.addr, Transport::Raw, ContentForm::Text);
    ann.log_in("ann");
    ann.fence();
}

fn make_database(deployment: &Deployment, name: &str) {
    let url = deployment.url_by(&deployment.active);
    let (server, _) = url.rsplit_once('/').unwrap();
    let mut admin = Conn::new(Opts::from_url(server).unwrap()).unwrap();
    admin.query_drop(format!("DROP DATABASE IF EXISTS {name}")).unwrap();
    admin.query_drop(format!("CREATE DATABASE {name}")).unwrap();
}

/// A pair of Galera nodes, each with one of the servers: `tests/on_galera` starts it and names both
/// nodes in HONGYAN_TEST_GALERA.
#[test]
fn on_a_galera_pair_a_standby_takes_the_place_of_the_server_on_the_other_node() {
    let Ok(pair) = std::env::var("HONGYAN_TEST_GALERA") else {
        eprintln!("HONGYAN_TEST_GALERA is not set: not tested on Galera here, tests/on_galera does it");
        return;
    };
    let (active, standby) = pair.split_once(' ').unwrap();
    let deployment = Deployment {
        url: "mysql://hongyan:secret@{}/fence".to_owned(),
        active: active.to_owned(),
        standby: standby.to_owned(),
    };
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    make_database(&deployment, "fence");
    let urls = [deployment.url_by(active), deployment.url_by(standby)];
    let promised = fence::nothing_is_committed_behind_it([&urls[0], &urls[1]], rounds);
    println!("{rounds} rounds, {promised} transactions committed, none behind the fence");
    for (at, fault) in [Fault::Killed, Fault::Frozen, Fault::CutOff].into_iter().enumerate() {
        let deployment = Deployment {
            url: format!("mysql://hongyan:secret@{{}}/standby_{at}"),
            active: active.to_owned(),
            standby: standby.to_owned(),
        };
        make_database(&deployment, &format!("standby_{at}"));
        takes_over(&deployment, fault);
        // The lock is free on a Galera node that no server uses, and yet no server takes over by
        // mistake.
        let only = start_active(&deployment.url_by(active));
        let other = Command::new(env!("CARGO_BIN_EXE_hongyan"))
            .args(["--listen", "127.0.0.1:0", "--store", &deployment.url_by(standby)])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&other.stderr).into_owned();
        assert!(other.status.code() == Some(2) && said.contains("by way of another node of its cluster"), "{said}");
        drop(only);
    }
}
