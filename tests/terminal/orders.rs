//! Commands of users: about others, about their keys, about messages that failed.

use super::place::Place;
use super::screens::{SIZE, chat, friends, signed_up};
use super::scripts::{WAIT, account, befriend};
use super::tmux::{self, Tmux};

#[test]
fn requests_are_withdrawn_and_rejected_and_users_are_found_and_blocked() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = (signed_up(&place, &server, "ann"), signed_up(&place, &server, "bob"));
    ann.enter("/find nobody");
    ann.wait_for("there is no user nobody");
    ann.enter("/find bob");
    ann.wait_for("/request bob asks");
    ann.press("Escape");
    ann.enter("/request bob");
    ann.wait_for("bob was asked");
    bob.wait_for("ann asks to become your friend");
    ann.enter("/withdraw bob");
    ann.wait_for("is withdrawn");
    // The withdrawn request is gone when the answer comes.
    bob.enter("/accept ann");
    bob.wait_for("NO_SUCH_REQUEST");
    ann.enter("/request bob");
    ann.wait_for("bob was asked");
    bob.wait_for("ann asks");
    bob.enter("/reject ann");
    bob.wait_for("the request of ann is rejected");
    ann.wait_for("bob rejected your request");
    bob.enter("/block ann");
    bob.wait_for("y / n");
    bob.type_text("y");
    bob.wait_for("ann is blocked");
    bob.enter("/blocked");
    bob.wait_for("Blocked");
    bob.press("Escape");
    // Ann cannot tell.
    ann.enter("/request bob again");
    ann.wait_for("bob was asked");
    bob.enter("/unblock ann");
    bob.wait_for("ann is not blocked any more");
    bob.enter("/blocked");
    bob.wait_for("you have blocked nobody");
    assert!(!bob.screen().contains("ann"), "{}", bob.screen());
}

#[test]
fn a_message_that_was_refused_is_sent_again_when_the_user_says_so() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = friends(&place, &server);
    bob.enter("/remove ann");
    bob.wait_for("y / n");
    bob.type_text("y");
    bob.wait_for("not your friend any more");
    ann.enter("too early");
    ann.wait_for("✗ you: too early");
    ann.wait_for("not a friend");
    bob.enter("/request ann");
    ann.wait_for("bob asks");
    ann.enter("/accept bob");
    bob.wait_for("ann accepted your request");
    ann.enter("/retry");
    ann.wait_for("✓ you: too early");
    bob.wait_for("ann: too early");
}

#[test]
fn text_of_others_is_text_and_a_friend_without_keys_is_written_to_openly() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let bob = account(&place, &server, "bob");
    let ann = account(&place, &server, "ann");
    befriend(&bob, &ann);
    ann.close();
    bob.send("ann", "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{202e}evil").unwrap();
    // An account of another client gets keys when it is first used here.
    let ann = Tmux::new(place.folder.path(), "ann", SIZE);
    ann.enter(&chat(&place, &server, "ann", ""));
    ann.wait_for("(1)");
    ann.enter("/open bob");
    ann.wait_for("NOT ENCRYPTED");
    ann.wait_for("bob: \\u{1b}[2J\\u{1b}]0;title\\u{7}\\u{9b}31m\\u{202e}evil");
    assert_ne!(ann.state("pane_title"), "title");
    ann.enter("<b>open</b>");
    ann.wait_for("✓ you: <b>open</b>");
    let got = bob.receive(WAIT, |push| assert_eq!(push.content, "<b>open</b>")).unwrap();
    assert!(got);
    assert!(bob.profile("ann").unwrap().unwrap().rsa_public_key.contains("RSA-OAEP-256"));
}

#[test]
fn keys_move_to_another_machine_in_a_file() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = friends(&place, &server);
    let file = place.path("exported");
    ann.enter(&format!("/export {}", file.display()));
    for question in ["A passphrase for the file", "The same passphrase again"] {
        ann.wait_for(question);
        ann.enter("a good passphrase");
    }
    ann.wait_for("your keys are in");
    // Another folder is another machine. It takes over.
    let other = Tmux::new(place.folder.path(), "other", SIZE);
    other.enter(&chat(&place, &server, "ann", "").replace("data of ann", "data of another"));
    other.wait_for("keys that are not here");
    ann.wait_for("the user logged in elsewhere");
    bob.enter("for the keys of ann");
    bob.wait_for("✓ you: for the keys of ann");
    other.enter("/open bob");
    other.wait_for("NOT GENUINE");
    other.enter("with my keys");
    other.wait_for("your text comes back");
    other.enter(&format!("/import {}", file.display()));
    other.wait_for("The passphrase of the file");
    other.enter("a good passphrase");
    other.wait_for("bob: for the keys of ann");
    other.wait_for("> with my keys");
    other.press("Enter");
    bob.wait_for("ann: with my keys");
    assert!(!bob.screen().contains("KEYS CHANGED"), "{}", bob.screen());
}
