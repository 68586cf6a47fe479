//! People in terminals.

use super::place::{Place, is_in_files};
use super::tmux::{self, Tmux};
use crate::common::Program;
use std::process::Command;

pub const SIZE: (u16, u16) = (100, 30);

/// The command line of a user's chat, for a shell.
pub fn chat(place: &Place, server: &Program, user: &str, more: &str) -> String {
    let quoted: Vec<String> = place.options(server, user).iter().map(|word| format!("'{word}'")).collect();
    format!("NO_COLOR=1 {} chat {} {more}", env!("CARGO_BIN_EXE_hongyan"), quoted.join(" "))
}

/// A terminal in which a user has just made their account.
pub fn signed_up(place: &Place, server: &Program, user: &str) -> Tmux {
    let terminal = Tmux::new(place.folder.path(), user, SIZE);
    terminal.enter(&chat(place, server, user, "--sign-up"));
    terminal.wait_for("  connected");
    terminal
}

/// Two users in a chat with each other, from their sign-ups on.
pub fn friends(place: &Place, server: &Program) -> (Tmux, Tmux) {
    let (ann, bob) = (signed_up(place, server, "ann"), signed_up(place, server, "bob"));
    ann.enter("/request bob it's Ann");
    ann.wait_for("bob was asked");
    bob.wait_for("ann asks to become your friend");
    bob.press("Escape");
    bob.press("Enter");
    bob.wait_for("it's Ann");
    bob.press("Escape");
    bob.wait_without("it's Ann");
    bob.type_text("a");
    bob.wait_for("you and ann are friends");
    ann.wait_for("bob accepted your request");
    ann.enter("/open bob");
    ann.wait_for("encrypted");
    bob.enter("/open ann");
    bob.wait_for("encrypted");
    (ann, bob)
}

#[test]
fn two_terminals_talk_from_the_sign_up_to_encrypted_messages_both_ways() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = friends(&place, &server);
    ann.wait_for("●");
    ann.enter("the geese fly");
    ann.wait_for("✓ you: the geese fly");
    bob.wait_for("ann: the geese fly");
    bob.paste("鸿雁\nfly south");
    bob.press("Enter");
    ann.wait_for("bob: 鸿雁");
    ann.wait_for("fly south");
    let numbers = [&ann, &bob].map(|terminal| {
        terminal.enter("/safety");
        terminal.wait_for("Compare it with");
        let screen = terminal.screen();
        terminal.press("Escape");
        let digits = |row: &&str| row.chars().filter(char::is_ascii_digit).count() == 20;
        let inside = screen.lines().map(|row| row.trim_matches(|c: char| !c.is_ascii_digit()));
        inside.filter(digits).map(str::to_owned).collect::<Vec<_>>()
    });
    assert!(numbers[0].len() == 3 && numbers[0] == numbers[1], "{numbers:?}");

    // Messages that wait on the server cannot be read there.
    bob.press("C-q");
    bob.wait_until("the shell", |screen| screen.trim_end().ends_with('$'));
    ann.wait_for("○");
    ann.enter("only bob reads this");
    ann.wait_for("✓ you: only bob reads this");
    assert!(!is_in_files(place.folder.path(), "only bob reads this"), "the store holds it");
    // Without the password: the token is kept.
    bob.enter(&chat(&place, &server, "bob", ""));
    bob.wait_for("(1)");
    bob.enter("/open ann");
    bob.wait_for("ann: only bob reads this");
    bob.wait_for("ann: the geese fly");
    ann.enter("/search south");
    ann.wait_without("you: the geese fly");
    ann.wait_for("fly south");
    // Narrow, then wide again.
    ann.press("Escape");
    ann.resize(30, 12);
    ann.wait_until("one part", |screen| screen.contains("only bob") && !screen.contains('│'));
    ann.resize(100, 30);
    ann.wait_for("│");
}

#[test]
fn messages_in_flight_at_a_restart_of_the_server_arrive_once() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = friends(&place, &server);
    let addr = server.addr;
    // Killed, not stopped.
    drop(server);
    ann.wait_for("NOT CONNECTED");
    for number in 1..4 {
        ann.enter(&format!("flight {number}"));
        ann.wait_for(&format!("· you: flight {number}"));
    }
    let server = place.serve_at(addr);
    for number in 1..4 {
        ann.wait_for(&format!("✓ you: flight {number}"));
        bob.wait_for(&format!("ann: flight {number}"));
    }
    bob.enter("landed");
    ann.wait_for("bob: landed");
    let screen = bob.screen();
    for number in 1..4 {
        assert_eq!(screen.matches(&format!("flight {number}")).count(), 1, "{screen}");
    }
    let places: Vec<_> = (1..4).map(|number| screen.find(&format!("flight {number}")).unwrap()).collect();
    assert!(places.is_sorted(), "{screen}");
    // A client that is killed before the promise sends again when it is back.
    drop(server);
    ann.wait_for("NOT CONNECTED");
    ann.enter("after the crash");
    ann.wait_for("· you: after the crash");
    kill_chat(&place, "ann", "KILL");
    ann.wait_for("Killed");
    let server = place.serve_at(addr);
    // Nobody gave the terminal back.
    ann.type_text("stty sane; clear");
    ann.press("C-j");
    ann.wait_without("Killed");
    ann.enter(&chat(&place, &server, "ann", ""));
    ann.wait_for("  connected");
    ann.enter("/open bob");
    ann.wait_for("✓ you: after the crash");
    bob.wait_for("ann: after the crash");
}

#[test]
fn a_key_change_stops_the_chat_until_the_user_agrees() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = friends(&place, &server);
    bob.enter("/newkeys");
    bob.wait_for("y / n");
    bob.type_text("y");
    bob.wait_for("you have new keys");
    bob.enter("with new keys");
    ann.wait_for("NOT GENUINE");
    ann.wait_for("KEYS CHANGED");
    assert!(!ann.screen().contains("with new keys"));
    ann.enter("is it you?");
    ann.wait_for("your text comes back");
    // Nor does a script send anything. It takes over; the user comes back when they say so.
    let script = place.run(&server, "ann", "send", &["--to", "bob", "x"]);
    assert_eq!(script.status.code(), Some(5), "{script:?}");
    ann.wait_for("the user logged in elsewhere");
    ann.enter("/connect");
    ann.wait_for("  connected");
    ann.enter("/agree");
    ann.wait_for("This is the safety number");
    ann.type_text("y");
    ann.wait_for("bob: with new keys");
    ann.wait_for("> is it you?");
    ann.press("Enter");
    bob.wait_for("ann: is it you?");
    ann.wait_without("KEYS CHANGED");
}

/// Signals the chat of a user, which is found by the lock that it holds open.
fn kill_chat(place: &Place, user: &str, signal: &str) {
    let lock = place.files_of(user).join("lock");
    let is_of_user = |pid: &str| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
        files.is_ok_and(|mut files| {
            files.any(|file| file.is_ok_and(|it| it.path().read_link().is_ok_and(|to| to == lock)))
        })
    };
    let all = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pid = all.into_iter().find(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && is_of_user(pid)).unwrap();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

#[test]
fn the_terminal_is_as_it_was_after_a_signal_and_after_a_panic() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let ann = Tmux::new(place.folder.path(), "ann", SIZE);
    for (way, status, more) in [("quit", 0, "--sign-up"), ("TERM", 0, ""), ("panic", 101, "")] {
        ann.enter(&format!("clear; {}; echo \"status=$?.\"", chat(&place, &server, "ann", more)));
        ann.wait_for("  connected");
        assert_eq!(ann.state("alternate_on"), "1");
        match way {
            "TERM" => kill_chat(&place, "ann", "TERM"),
            // The first slash leaves the list.
            command => ann.enter(&format!("/{command}")),
        }
        ann.wait_for(&format!("status={status}."));
        ann.enter("clear; stty -a | tr ' ;' '\\n\\n' | grep -x -e '-\\?echo' -e '-\\?icanon'");
        ann.wait_until("the settings", |screen| screen.contains("icanon\n") && screen.contains("echo\n"));
        assert!(!ann.screen().contains("\n-"), "{way}: {}", ann.screen());
        assert_eq!((ann.state("alternate_on"), ann.state("cursor_flag")), ("0".into(), "1".into()), "{way}");
    }
}

#[test]
fn passwords_are_asked_for_and_not_shown() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let data = place.path("data");
    let common = format!("--server tcp://{} --data '{}'", server.addr, data.display());
    let ann = Tmux::new(place.folder.path(), "ann", SIZE);
    let chat = format!("NO_COLOR=1 {} chat", env!("CARGO_BIN_EXE_hongyan"));
    ann.enter(&format!("{chat} {common} --sign-up"));
    ann.wait_for("User name:");
    ann.enter("ann");
    ann.wait_for("A new password for ann:");
    ann.enter("geheim");
    ann.wait_for("The same again:");
    ann.enter("gehiem");
    ann.wait_for("the two were not the same");
    ann.wait_until("the question once more", |screen| screen.matches("A new password for ann:").count() == 2);
    ann.enter("geheim");
    ann.wait_until("the second one", |screen| screen.matches("The same again:").count() == 2);
    assert!(!ann.screen().contains("geheim"));
    ann.enter("geheim");
    ann.wait_for("  connected");
    ann.enter("/logout");
    ann.wait_for("logged out");
    assert!(!ann.screen().contains("geheim"));
    // The token is gone; a wrong password is refused with a status of its own.
    ann.enter(&format!("clear; {chat} {common} --user ann; echo status=$?"));
    ann.wait_for("Password of ann:");
    ann.enter("wrong");
    ann.wait_for("status=4");
    ann.enter(&format!("clear; {chat} {common} --user ann"));
    ann.wait_for("Password of ann:");
    ann.enter("geheim");
    ann.wait_for("  connected");
    // A token that is refused while the chat is on the screen: nothing of the password goes astray.
    ann.press("C-q");
    ann.wait_until("the shell", |screen| screen.trim_end().ends_with('$'));
    let token_file = place.path("token");
    let refused = || {
        std::fs::write(&token_file, "A".repeat(43)).unwrap();
        ann.enter("clear");
        ann.wait_without("ann");
        ann.enter(&format!("{chat} {common} --user ann --token-file '{}'; echo status=$?", token_file.display()));
        ann.wait_for("Password of ann:");
    };
    refused();
    // One key alone, which the thread of the screen would take.
    ann.press("Escape");
    ann.wait_for("no password was entered");
    ann.wait_for("status=2");
    refused();
    ann.enter("geheim");
    ann.wait_for("  connected");
}
