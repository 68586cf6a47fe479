//! The files of the web page go out piece by piece.

use super::super::counters::CloseCause;
use super::*;
use crate::web_page;

/// The output that strangers may have in these tests, and about the size of a piece.
const PIECE: usize = 8 * 1024;

fn world(seed: u64, piece_max: usize) -> TestConnectionHub {
    let mut world = TestConnectionHub::new(seed, piece_max);
    world.hub.web.serve_page(true);
    world
}

/// The largest file, and a request for it.
fn largest() -> (&'static web_page::WebPageFile, String) {
    let file = web_page::files().iter().max_by_key(|file| file.bytes.len()).unwrap();
    assert!(file.bytes.len() > PIECE, "it takes several pieces");
    (file, get(&file.path()))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn whole(file: &web_page::WebPageFile) -> Vec<u8> {
    [file.head().as_bytes(), file.bytes].concat()
}

#[test]
fn files_arrive_whole_in_any_pieces_and_beside_any_other_reader() {
    for (seed, piece_max) in [(1, 0), (2, 3_000), (3, 20_000)] {
        let mut world = world(seed, piece_max);
        let clients: Vec<(TestClient, &web_page::WebPageFile)> =
            web_page::files().iter().chain(web_page::files()).map(|file| (world.connect(), file)).collect();
        for (client, file) in &clients {
            client.send(get(&file.path()));
        }
        world.settle();
        for (client, file) in &clients {
            assert!(client.received() == whole(file), "{}, {} bytes", file.name, client.received().len());
            assert!(client.server_ended());
        }
        assert_eq!(world.hub.counters().closed(CloseCause::HttpDone), clients.len() as u64);
    }
}

#[test]
fn a_client_that_takes_nothing_uses_one_piece_and_is_closed_by_the_output_timeout() {
    let (file, request) = largest();
    let mut world = world(4, 0);
    let (stuck, slow) = (world.connect(), world.connect());
    stuck.set_room(0);
    slow.set_room(10_000);
    stuck.send(&request);
    slow.send(&request);
    world.settle();
    assert!(world.hub.memory_bytes() < 4 * PIECE, "{}", world.hub.memory_bytes());
    // Longer than the head of a request may take, and than anybody may take nothing.
    for _ in 0..7 {
        world.now_ms += 10_000;
        slow.set_room(file.bytes.len() / 20);
        world.settle();
    }
    assert_eq!(world.hub.counters().closed(CloseCause::OutputTimeout), 1);
    assert!(stuck.dropped() && stuck.received().is_empty() && !slow.server_ended());
    slow.set_room(usize::MAX);
    world.settle();
    assert!(slow.received() == whole(file) && slow.server_ended());
}

#[test]
fn very_many_fast_readers_leave_the_turn_to_others() {
    let (file, request) = largest();
    let mut world = world(5, 0);
    let readers: Vec<TestClient> = (0..500).map(|_| world.connect()).collect();
    let ann = world.connect();
    ann.send(sign_up("ann") + &login("ann"));
    world.settle();
    readers.iter().for_each(|client| client.send(&request));
    while readers.iter().any(|client| client.received().is_empty()) {
        world.turn();
    }
    let taken = |readers: &[TestClient]| readers.iter().map(|client| client.received().len()).sum::<usize>();
    let mut turns = 0;
    while readers.iter().any(|client| !client.server_ended()) {
        let before = taken(&readers);
        ann.send(r#"{"MID":"h","TYPE":"0"}"#);
        let answered = ann.received().len();
        world.turn();
        turns += 1;
        assert!(taken(&readers) - before <= 16 * PIECE, "a turn has a bound for all readers together");
        assert!(ann.received().len() > answered, "and Ann is answered in each");
    }
    assert!(turns >= 500 * (file.bytes.len() - PIECE) / (16 * PIECE), "{turns}");
    assert!(readers.iter().all(|client| client.received() == whole(file)));
    assert!(!world.hub.is_busy(), "the loop can sleep again");
}

#[test]
fn nothing_behind_the_request_is_read_and_a_client_that_ended_its_side_gets_all() {
    let (file, request) = largest();
    let mut world = world(6, 0);
    let (eager, ended, gone) = (world.connect(), world.connect(), world.connect());
    eager.send(request.repeat(3));
    eager.send(r#"{"MID":"h","TYPE":"0"}"#);
    ended.send(&request);
    ended.end();
    gone.set_room(PIECE);
    gone.send(&request);
    world.settle();
    for client in [&eager, &ended] {
        assert!(client.received() == whole(file) && client.server_ended());
    }
    gone.0.borrow_mut().broken = true;
    gone.set_room(1);
    world.settle();
    assert!(gone.dropped() && world.hub.counters().closed(CloseCause::IoError) == 1);
    eager.end();
    world.settle();
    assert_eq!(world.hub.conns_len(), 0);
    assert!(world.hub.memory_bytes() < 500_000, "only spare buffers are left");
}

#[test]
fn a_body_that_is_cached_or_not_asked_for_is_not_sent() {
    let (file, request) = largest();
    let mut world = world(7, 0);
    let etag = file.head().split("ETag: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let known = request.replace("\r\n\r\n", &format!("\r\nif-none-match: \"x\", W/{etag}\r\n\r\n"));
    let (client, head) = (world.connect(), world.connect());
    client.send(&known);
    head.send(request.replace("GET", "HEAD"));
    world.settle();
    assert_eq!(client.text(), file.head_unchanged());
    assert_eq!(head.text(), file.head());
    assert!(client.server_ended() && head.server_ended());
    world.hub.web.serve_page(false);
    let (client, words) = (world.connect(), world.connect());
    client.send(&request);
    words.send(get("/"));
    world.settle();
    assert!(client.text().starts_with("HTTP/1.1 404 "), "{}", client.text());
    assert!(words.text().contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{}", words.text());
}
