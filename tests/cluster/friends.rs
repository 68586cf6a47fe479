//! The acts of users and operators on one node show on the others: friendships begin and end,
//! profiles change, notices arrive.

use super::life::Managed;
use super::make_friends;
use crate::common::{Client, MariaDb, Redis, befriend, content, kind};
use std::thread;
use std::time::{Duration, Instant};

/// The docs say that a change of a friendship is known on other nodes within a second. The rest is
/// for a machine with much other work; without the record between the nodes it is known never.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// With a short save delay, so that `MS` does not wait for an ack.
fn pair(database: &MariaDb, more: &[&str]) -> [Managed; 2] {
    let more = [&["--save-after", "20ms"], more].concat();
    ["a", "b"].map(|name| Managed::start(&database.url(), name, &more))
}

/// A message that is refused at once. While the friends are being read again, an error follows.
#[track_caller]
fn refused(sender: &mut Client, id: &str, receiver: &str) {
    sender.say(id, receiver, "honk", "MF");
    skip_errors(sender);
}

#[track_caller]
fn skip_errors(client: &mut Client) {
    client.send(r#"{"MID":"skip","CONTENT":"{}","TYPE":"0"}"#);
    loop {
        let frame = client.recv();
        match kind(&frame).as_str() {
            "RE_HEARTBEAT" => return,
            other => assert_eq!(other, "RE_ERROR", "{frame}"),
        }
    }
}

/// Sends one message after another until the answer is this one. Gives the ids of those with the
/// other answer, and how long it took.
#[track_caller]
pub(super) fn send_until(sender: &mut Client, receiver: &str, expected: &str) -> (Vec<String>, Duration) {
    let (since, mut others) = (Instant::now(), Vec::new());
    for number in 0.. {
        let id = format!("{expected}{number}");
        sender.send(&sender.message(&id, receiver, "honk"));
        let mut frame = sender.recv();
        if kind(&frame) == "RE_ERROR" {
            // It belongs to the answer before: the friends were being read.
            frame = sender.recv();
        }
        let answer = content(&frame)["Content"].as_str().unwrap_or_default().to_owned();
        assert!(answer == "MS" || answer == "MF", "{answer}");
        if answer == expected {
            break;
        }
        assert!(since.elapsed() < KNOWN_WITHIN, "still {answer}");
        others.push(id);
        thread::sleep(Duration::from_millis(5));
    }
    (others, since.elapsed())
}

/// Acks all that has come. Gives the ids in order.
fn take_all(client: &mut Client) -> Vec<String> {
    let mut ids = Vec::new();
    client.send(r#"{"MID":"all","CONTENT":"{}","TYPE":"0"}"#);
    loop {
        let frame = client.recv();
        if kind(&frame) == "RE_HEARTBEAT" {
            return ids;
        }
        assert_eq!(kind(&frame), "4", "{frame}");
        let id = content(&frame)["messageId"].as_str().unwrap().to_owned();
        client.ack(&id);
        ids.push(id);
    }
}

/// Bob, on b, ends the friendship by this frame. Soon afterwards Ann, on a, is refused. Bob gets
/// only the messages that were promised before.
fn ended_by(frame: impl Fn(&Client) -> String, answer: &str, more: &[&str]) {
    let Some(database) = MariaDb::start() else { return };
    let [a, b] = pair(&database, more);
    make_friends(a.node.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.node.log_in("ann"), b.node.log_in("bob"));
    for number in 0..5 {
        ann.say(&format!("before{number}"), "bob", "honk", "MS");
        bob.take(&format!("before{number}"));
    }
    bob.send(&frame(&bob));
    let said = bob.recv();
    assert_eq!(kind(&said), answer, "{said}");
    let (promised, took) = send_until(&mut ann, "bob", "MF");
    skip_errors(&mut ann);
    println!("{answer}: known on the other node after {took:?}, {} messages later", promised.len());
    // Those of a moment in which her node did not know it yet, if any.
    let mut seen = take_all(&mut bob);
    while seen.len() < promised.len() {
        seen.extend(take_all(&mut bob));
    }
    assert_eq!(seen, promised);
    refused(&mut ann, "late", "bob");
    refused(&mut bob, "late", "ann");
    database.wait_for_pushes_awake(0, [&mut ann, &mut bob]);
    if answer == "RE_FRI_REQ" {
        // Friends again, and made so across the nodes.
        befriend(&mut ann, &mut bob);
        let (refused, took) = send_until(&mut ann, "bob", "MS");
        println!("friends again: known after {took:?}");
        bob.take(&format!("MS{}", refused.len()));
        bob.say("again", "ann", "honk", "MS");
    }
}

fn deleted(bob: &Client) -> String {
    bob.friend("4", "end", "bob", "ann", "")
}

fn blocked(_: &Client) -> String {
    r#"{"MID":"end","CONTENT":{"block":"ann"},"TYPE":"BLOCK"}"#.to_owned()
}

#[test]
fn a_friendship_that_ends_on_one_node_has_soon_ended_on_the_other() {
    ended_by(deleted, "RE_FRI_REQ", &[]);
}

#[test]
fn a_block_on_one_node_is_soon_known_on_the_other() {
    ended_by(blocked, "RE_BLOCK", &[]);
}

#[test]
fn with_a_bus_a_friendship_that_ends_on_one_node_has_soon_ended_on_the_other() {
    let Some(redis) = Redis::start() else { return };
    ended_by(deleted, "RE_FRI_REQ", &["--bus", &redis.url()]);
}

#[test]
fn with_a_bus_a_block_on_one_node_is_soon_known_on_the_other() {
    let Some(redis) = Redis::start() else { return };
    ended_by(blocked, "RE_BLOCK", &["--bus", &redis.url()]);
}

/// The next push is a notice with this text.
#[track_caller]
fn take_notice(client: &mut Client, text: &str) {
    let frame = client.recv();
    let said = content(&frame);
    assert_eq!((&said["sender"], &said["content"]), (&"system".into(), &text.into()), "{frame}");
    client.ack(said["messageId"].as_str().unwrap());
}

#[test]
fn a_notice_reaches_users_on_all_nodes_once() {
    let Some(database) = MariaDb::start() else { return };
    let [a, b] = super::life::two(&database);
    make_friends(a.node.addr, &["ann", "bob", "cid"]);
    let (mut ann, mut bob) = (a.node.log_in("ann"), b.node.log_in("bob"));
    a.done(&["notice", "bob", "only you"]);
    take_notice(&mut bob, "only you");
    a.done(&["notice", "--all", "tonight at eight"]);
    for user in [&mut ann, &mut bob] {
        take_notice(user, "tonight at eight");
    }
    // The user who was away, and on the other node last.
    let mut cid = b.node.log_in("cid");
    take_notice(&mut cid, "tonight at eight");
    database.wait_for_pushes_awake(0, [&mut ann, &mut bob, &mut cid]);
    // Nobody has got it twice.
    [&mut ann, &mut bob, &mut cid].into_iter().for_each(Client::fence);
}

#[test]
fn a_profile_that_is_changed_on_one_node_is_read_on_the_other() {
    let Some(database) = MariaDb::start() else { return };
    let [a, b] = super::life::two(&database);
    make_friends(a.node.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.node.log_in("ann"), b.node.log_in("bob"));
    for (id, place) in [("p1", "longyan"), ("p2", "xiamen")] {
        ann.send(&format!(r#"{{"MID":"{id}","CONTENT":{{"location":"{place}"}},"TYPE":"PROFILE"}}"#));
        ann.expect(&format!(r#"{{"CONTENT":{{"MessageId":"{id}","Content":"changed"}},"TYPE":"RE_PROFILE"}}"#));
        bob.send(&format!(r#"{{"MID":"{id}","CONTENT":"ann","TYPE":"3"}}"#));
        let said = bob.recv();
        assert!(kind(&said) == "RE_GETUSER_SUC" && said.contains(place), "{said}");
    }
}
