//! TYPE 4 and 5: messages between friends, their acks, and the loss of either.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Client, ContentForm, Server, Transport, befriend, content, envelope, kind};
use serde_json::json;

#[test]
fn only_friends_and_only_in_ones_own_name() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let mut cy = server.user("cy");
    cy.say("m1", "ann", "hi", "MF");
    cy.say("m2", "nobody", "hi", "MF");
    cy.say("m3", "cy", "to myself", "MF");
    let forged = json!({"messageId": "m4", "sender": "bob", "receiver": "ann", "content": "not from bob"});
    cy.send(&envelope(ContentForm::Text, "4", None, &forged));
    cy.expect_reply("RE_MESSAGE", "m4", "MF");
    cy.expect_error("m4", "FORBIDDEN");
    ann.fence();
    bob.fence();
}

#[test]
fn the_time_is_the_servers() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let words = json!({"messageId": "m", "sender": "ann", "receiver": "bob", "content": "x", "time": "1"});
    ann.send(&envelope(ContentForm::Text, "4", None, &words));
    let time = bob.expect_push("4", "m")["time"].as_str().unwrap().to_owned();
    assert_eq!(time.len(), 13);
}

#[test]
fn an_unacked_push_comes_again_unchanged_until_it_is_acked() {
    let server = Server::tuned(|config| config.rules.resend_every_ms = 150);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    ann.say("m", "bob", "again and again 🪿", "MS");
    let first = bob.recv();
    assert_eq!(bob.recv(), first);
    assert_eq!(bob.recv(), first);
    bob.ack("m");
    // Pushes that were sent before the ack arrived may come before this, none of them after.
    bob.send(&envelope(ContentForm::Text, "0", Some("heard"), &json!({})));
    while bob.recv() == first {}
    // This one comes again twice, in which time the other would have, too.
    ann.say("n", "bob", "next", "MS");
    for _ in 0..3 {
        bob.expect_push("4", "n");
    }
    bob.ack("n");
}

#[test]
fn messages_wait_for_an_offline_user_and_come_in_order_and_in_pages() {
    let server = Server::tuned(|config| {
        config.rules.outstanding_max = 32;
        config.rules.page_max = 16;
        config.rules.list_max = 48;
    });
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    let frames: String = (0..600).map(|n| ann.message(&format!("m{n}"), "bob", "waiting") + "\n").collect();
    ann.send_bytes(frames.as_bytes());
    for _ in 0..600 {
        assert!(ann.recv().contains("MS"));
    }
    let mut bob = server.raw();
    bob.log_in("bob");
    // Without acks there come as many as may be outstanding, and no more.
    for n in 0..32 {
        bob.expect_push("4", &format!("m{n}"));
    }
    bob.fence();
    for n in 0..32 {
        bob.ack(&format!("m{n}"));
    }
    for n in 32..600 {
        bob.take(&format!("m{n}"));
    }
    bob.fence();
    drop(bob);
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.fence();
}

#[test]
fn a_flood_to_a_friend_who_is_there_loses_nothing_and_keeps_its_order() {
    let server = Server::tuned(|config| {
        config.rules.outstanding_max = 16;
        config.rules.list_max = 32;
        config.rules.page_max = 8;
    });
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let frames: String = (0..3_000).map(|n| ann.message(&format!("m{n}"), "bob", "flood") + "\n").collect();
    let listener = std::thread::spawn(move || {
        for n in 0..3_000 {
            bob.take(&format!("m{n}"));
        }
        bob.fence();
        bob
    });
    ann.send_bytes(frames.as_bytes());
    for _ in 0..3_000 {
        let frame = ann.recv();
        assert!(frame.contains("MS"), "{frame}");
    }
    drop(listener.join().unwrap());
}

#[test]
fn a_message_said_twice_is_answered_twice_and_delivered_once() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    ann.say("m", "bob", "once", "MS");
    bob.expect_push("4", "m");
    ann.say("m", "bob", "once", "MS");
    bob.fence();
    bob.ack("m");
    bob.fence();
    ann.say("m", "bob", "once", "MS");
    bob.fence();
    // From a new connection, too, and after the friendship ended.
    drop(ann);
    let mut ann = server.raw();
    ann.log_in("ann");
    ann.say("m", "bob", "once", "MS");
    ann.send(&ann.friend("4", "d", "ann", "bob", ""));
    ann.expect_time("d");
    ann.say("m", "bob", "once", "MS");
    ann.say("n", "bob", "new", "MF");
    bob.fence();
}

#[test]
fn a_message_sent_twice_to_an_offline_user_waits_once_even_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = common::config();
    config.store = hongyan::config::StoreUrl::Sqlite(folder.path().join("hongyan.db"));
    let server = Server::with(config.clone());
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    ann.say("m", "bob", "once", "MS");
    ann.say("m", "bob", "once", "MS");
    drop(ann);
    server.stop();
    let server = Server::with(config);
    let mut ann = server.raw();
    ann.log_in("ann");
    ann.say("m", "bob", "once", "MS");
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.take("m");
    bob.fence();
}

#[test]
fn two_senders_may_use_one_id_and_the_second_waits_for_the_first_ack() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let mut cy = server.user("cy");
    befriend(&mut cy, &mut bob);
    ann.say("same", "bob", "from ann", "MS");
    assert_eq!(bob.expect_push("4", "same")["sender"], "ann");
    cy.say("same", "bob", "from cy", "MS");
    cy.say("later", "bob", "from cy", "MS");
    bob.fence();
    // An ack that names the other sender is for nothing that was sent.
    bob.send(&envelope(ContentForm::Text, "5", None, &json!({"MessageId": "same", "sender": "cy"})));
    bob.fence();
    bob.send(&envelope(ContentForm::Text, "5", None, &json!({"MessageId": "same", "sender": "ann"})));
    assert_eq!(bob.expect_push("4", "same")["sender"], "cy");
    assert_eq!(bob.expect_push("4", "later")["sender"], "cy");
    bob.ack("same");
    bob.ack("later");
    bob.fence();
}

#[test]
fn an_ack_removes_only_pushes_that_were_sent_on_its_connection() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    ann.send(&ann.message("m", "bob", "hi"));
    bob.expect_push("4", "m");
    ann.expect_reply("RE_MESSAGE", "m", "MS");
    let mut cy = server.user("cy");
    cy.ack("m");
    cy.fence();
    let mut newer = server.raw();
    newer.log_in("bob");
    newer.expect_push("4", "m");
    newer.ack("m");
    newer.fence();
}

#[test]
fn acks_of_nothing_are_ignored() {
    let server = Server::start();
    let mut ann = server.user("ann");
    for _ in 0..50 {
        ann.ack("nothing");
    }
    ann.fence();
}

#[test]
fn pushes_come_in_the_form_of_the_log_in_answers_in_that_of_the_request() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let mut bob2 = server.client(Transport::WebSocket, ContentForm::Object);
    bob2.log_in("bob");
    bob.expect_error("", "REPLACED");
    // Asks in the other form: the answer has that form, the pushes are not.
    let words = json!({"messageId": "b1", "sender": "bob", "receiver": "ann", "content": "to ann"});
    bob2.send(&envelope(ContentForm::Text, "4", None, &words));
    ann.take("b1");
    assert_eq!(bob2.recv(), common::reply(ContentForm::Text, "RE_MESSAGE", "b1", "MS"));
    ann.send(&ann.message("a1", "bob", "to bob"));
    let push = bob2.recv();
    assert!(push.starts_with("{\"CONTENT\":{\"messageId\":\"a1\""), "{push}");
}

#[test]
fn two_hundred_friends_talk_at_once() {
    let server = Server::start();
    let mut hub = server.user("hub");
    let mut spokes: Vec<Client> = (0..40).map(|n| server.user(&format!("spoke{n}"))).collect();
    for spoke in &mut spokes {
        befriend(spoke, &mut hub);
    }
    for round in 0..5 {
        for spoke in &mut spokes {
            spoke.send(&spoke.message(&format!("r{round}"), "hub", "hello hub"));
        }
        // One id from forty senders: one is outstanding at a time, and each comes.
        for _ in 0..40 {
            let frame = hub.recv();
            assert_eq!((kind(&frame), content(&frame)["messageId"].clone()), ("4".into(), json!(format!("r{round}"))));
            hub.ack(&format!("r{round}"));
        }
        for spoke in &mut spokes {
            spoke.expect_reply("RE_MESSAGE", &format!("r{round}"), "MS");
        }
    }
}
