//! Too few file descriptors: the store has those that it needs.

use crate::common::{Client, ContentForm, MariaDb, PATIENCE, befriend, envelope};
use crate::{PROGRAM, Program, ends, free_addr, kill, refused, wait_until_it_listens};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// The server with a limit on its open files; `soft` is `-S` to leave the hard one as it is.
fn limited(soft: &str, files: usize, store: &str) -> Command {
    let mut command = Command::new("sh");
    let line = format!("ulimit {soft} -n {files}; exec \"$0\" --listen 127.0.0.1:0 --store \"$1\"");
    command.args(["-c", &line, PROGRAM, store]);
    command
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_it_goes() {
    let program = Program::start(&mut limited("-S", 50, "memory:"));
    let mut crowd: Vec<Client> = (0..100).map(|_| program.client()).collect();
    for client in &mut crowd {
        client.send("{}");
        client.expect_error("", "UNKNOWN_TYPE");
    }
    program.signal("-TERM");
    drop(crowd);
    let said = program.end().1;
    assert!(said.is_empty() || !said.contains("--connections-max"), "{said}");
}

#[test]
fn too_few_files_for_anything_are_refused_and_numbers_are_said() {
    let output = limited("", 36, "sqlite:/nowhere/x.db").output().unwrap();
    refused(&output, "ulimit -n");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let stderr = std::fs::File::create(&log).unwrap();
    let addr = free_addr();
    let line = format!("ulimit -n 76; exec \"$0\" --listen {addr} --store memory:");
    let mut child = Command::new("sh").args(["-c", &line, PROGRAM]).stderr(stderr).spawn().unwrap();
    wait_until_it_listens(addr);
    kill("-TERM", &child);
    ends(&mut child);
    let said = std::fs::read_to_string(log).unwrap();
    let numbers = "open files is 76: 43 are kept for the store and the server, 33 are left for connections";
    assert!(
        said.contains(numbers) && said.contains("--connections-max 100000 is more than that, so it is 33"),
        "{said}"
    );
}

/// Connects as many as the server takes; gives those that it does not close, and how many it
/// answered.
fn crowd(addr: SocketAddr) -> (Vec<TcpStream>, usize) {
    let came: Vec<TcpStream> = (0..150).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let (mut stayed, mut answered) = (Vec::new(), 0);
    let mut queue_is_reached = false;
    for mut stream in came {
        if !queue_is_reached {
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            // A reset is as good as an end.
            match stream.write_all(b"{}\n").and_then(|()| stream.read(&mut [0; 512])) {
                Ok(count) if count > 0 => answered += 1,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    // Neither taken nor refused; nor will those be that came later.
                    queue_is_reached = true;
                }
                _ => continue,
            }
        }
        stayed.push(stream);
    }
    (stayed, answered)
}

#[test]
fn clients_leave_the_store_the_files_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(&mut limited("", 80, &format!("sqlite:{}", folder.path().join("a.db").display())));
    let mut ann = program.client();
    ann.sign_up("ann");
    ann.log_in("ann");
    let (_crowd, answered) = crowd(program.addr);
    assert!(answered > 20, "{answered}");
    let mut bob = program.client();
    bob.sign_up("bob");
    bob.log_in("bob");
    befriend(&mut ann, &mut bob);
}

#[test]
fn a_database_that_was_away_is_come_to_again_however_many_clients_there_are() {
    let Some(mut database) = MariaDb::start() else { return };
    let program = Program::start(&mut limited("", 96, &database.url()));
    let mut ann = program.client();
    ann.sign_up("ann");
    ann.log_in("ann");
    let (_crowd, answered) = crowd(program.addr);
    assert!(answered > 20, "{answered}");
    let mut tries = 0;
    let mut is_signed_up = || {
        tries += 1;
        let account = serde_json::json!({"userName": format!("user{tries}"), "hashValue": "x"});
        ann.send(&envelope(ContentForm::Text, "1", Some("s"), &account));
        if ann.recv().contains("SS") {
            return true;
        }
        assert!(ann.recv().contains("UNAVAILABLE"));
        std::thread::sleep(Duration::from_millis(50));
        false
    };
    database.stop();
    // Every worker learns it and closes its connection, and those who wait take what is free.
    for _ in 0..30 {
        assert!(!is_signed_up());
    }
    let _more: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(program.addr).unwrap()).collect();
    database.start_again();
    let until = Instant::now() + PATIENCE;
    while !is_signed_up() {
        assert!(Instant::now() < until, "the store does not heal");
    }
}

#[test]
fn when_descriptors_run_out_newcomers_are_refused_until_some_are_free() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 56; exec \"$0\" --listen 127.0.0.1:0 --store memory:", PROGRAM]);
    let program = Program::start(&mut command);
    let (mut ann, mut bob) = (program.client(), program.client());
    for (client, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        client.sign_up(name);
        client.log_in(name);
    }
    befriend(&mut ann, &mut bob);
    let crowd: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(program.addr).unwrap()).collect();
    // The users who were there talk on.
    for n in 0..20 {
        ann.send(&ann.message(&format!("m{n}"), "bob", "crowded here"));
        bob.take(&format!("m{n}"));
        ann.expect_reply("RE_MESSAGE", &format!("m{n}"), "MS");
    }
    drop(crowd);
    // And newcomers are served again, as soon as it has heard that those are gone.
    let until = Instant::now() + PATIENCE;
    let mut cy = loop {
        let mut client = program.client();
        let answered = client.stream().write_all(b"{}\n").is_ok() && client.next().is_some();
        if answered {
            break client;
        }
        assert!(Instant::now() < until, "nobody is let in any more");
    };
    cy.sign_up("cy");
    cy.log_in("cy");
    cy.fence();
}
