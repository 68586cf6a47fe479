//! Requests about the account, as they stand on the wire.

use super::super::{PASSWORD, PATIENCE, end, options};
use super::fake::{Fake, Talk};
use hongyan::client::{Client, ClientEndReason, ClientEvent, Error, ErrorCode, ProfileChange, hash_value};
use serde_json::{Value, json};
use std::time::Instant;

/// Answers the next request of this TYPE in its thread's place, and gives what the client made of
/// it.
#[track_caller]
fn ask<T: Send + 'static>(
    client: &Client,
    talk: &mut Talk,
    kind: &str,
    answer: &Value,
    request: impl FnOnce(&Client) -> T + Send + 'static,
) -> (Value, T) {
    let client = client.clone();
    let asking = std::thread::spawn(move || request(&client));
    let asked = talk.expect(kind);
    talk.reply(&format!("RE_{kind}"), &asked["MID"], answer);
    (asked["CONTENT"].clone(), asking.join().unwrap())
}

fn start() -> (Fake, Client, Talk) {
    let fake = Fake::start();
    let client = Client::start(options(&fake.url(), "ann")).unwrap();
    let talk = fake.log_in();
    let until = Instant::now() + PATIENCE;
    while !client.is_online() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    (fake, client, talk)
}

#[test]
fn the_roster_is_read_page_by_page_and_watched() {
    let (fake, client, mut talk) = start();
    let friend =
        |name: &str, online: bool| json!({"userName": name, "nickName": "", "profilePicture": "", "online": online});
    let request = json!({"userName": "cy", "messageId": "f1", "content": "hi", "time": "17"});
    let asking = std::thread::spawn({
        let client = client.clone();
        move || client.roster(true)
    });
    let asked = talk.expect("ROSTER");
    assert_eq!(asked["CONTENT"], json!({"watch": true}));
    let page = json!({"friends": [friend("bob", true)], "incoming": [request], "outgoing": [], "more": true});
    talk.reply("RE_ROSTER", &asked["MID"], &page);
    let asked = talk.expect("ROSTER");
    assert_eq!(asked["CONTENT"], json!({"after": "bob", "watch": true}));
    // In the string form an object is a text.
    let page = json!({"friends": [friend("dan", false)], "incoming": [], "outgoing": [], "more": false});
    talk.reply("RE_ROSTER", &asked["MID"], &json!(page.to_string()));
    let roster = asking.join().unwrap().unwrap();
    let names: Vec<(&str, bool)> = roster.friends.iter().map(|it| (it.user_name.as_str(), it.online)).collect();
    assert_eq!(names, [("bob", true), ("dan", false)]);
    assert_eq!((roster.incoming[0].user_name.as_str(), roster.incoming[0].time.as_str()), ("cy", "17"));

    talk.frame("PRESENCE", &json!({"userName": "bob", "online": false}));
    presence(&client, "bob", false);
    // After a reconnect the client asks for it by itself.
    drop(talk);
    let mut talk = fake.log_in();
    let asked = talk.expect("ROSTER");
    assert_eq!(asked["CONTENT"], json!({"watch": true}));
    let page = json!({"friends": [friend("bob", true)], "incoming": [], "outgoing": [], "more": false});
    talk.reply("RE_ROSTER", &asked["MID"], &page);
    presence(&client, "bob", true);
}

#[track_caller]
fn presence(client: &Client, name: &str, expected: bool) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(ClientEvent::Presence { user_name, online }) = client.next(PATIENCE).unwrap() {
            assert_eq!((user_name.as_str(), online), (name, expected));
            return;
        }
    }
    panic!("no presence of {name}");
}

#[test]
fn a_profile_changes_only_in_the_named_fields() {
    let (_fake, client, mut talk) = start();
    let change =
        ProfileChange { nick_name: Some("Ann".into()), location: Some(String::new()), ..ProfileChange::default() };
    let (asked, done) =
        ask(&client, &mut talk, "PROFILE", &json!("changed"), move |client| client.change_profile(&change));
    assert_eq!((asked, done), (json!({"nickName": "Ann", "location": ""}), Ok(())));
}

#[test]
fn a_password_is_changed_by_both_hashes_and_a_new_token_is_fetched() {
    let (fake, client, mut talk) = start();
    let (asked, done) =
        ask(&client, &mut talk, "PASSWORD", &json!("changed"), |client| client.change_password(PASSWORD, "new"));
    assert_eq!(asked, json!({"old": hash_value("ann", PASSWORD), "new": hash_value("ann", "new")}));
    assert_eq!(done, Ok(()));
    while talk.next().is_some_and(|request| request["TYPE"] != "TOKEN") {}
    drop(talk);
    let asked = fake.accept().expect("2");
    assert_eq!(asked["CONTENT"]["PASS"], hash_value("ann", "new"));
}

#[test]
fn blocks_are_listed_made_and_taken_back() {
    let (_fake, client, mut talk) = start();
    let answer = json!({"blocked": ["bob"]});
    for (expected, request) in [
        (json!({"block": "bob"}), (|client| client.block("bob")) as fn(&Client) -> Result<Vec<String>, Error>),
        (json!({"unblock": "bob"}), |client| client.unblock("bob")),
        (json!({}), |client| client.blocked()),
    ] {
        let (asked, blocked) = ask(&client, &mut talk, "BLOCK", &answer, request);
        assert_eq!((asked, blocked), (expected, Ok(vec!["bob".to_owned()])));
    }
}

#[test]
fn a_deleted_account_ends_the_client() {
    let (_fake, client, mut talk) = start();
    let (asked, done) = ask(&client, &mut talk, "ACCOUNT", &json!("deleted"), |client| client.delete_account(PASSWORD));
    assert_eq!((asked, done), (json!({"want": "delete", "PASS": hash_value("ann", PASSWORD)}), Ok(())));
    talk.expect_end();
    assert_eq!(end(&client), ClientEndReason::Deleted);
}

#[test]
fn a_deletion_whose_answer_is_lost_is_not_asked_twice() {
    let (fake, client, mut talk) = start();
    let asking = std::thread::spawn(move || client.delete_account(PASSWORD));
    talk.expect("ACCOUNT");
    drop(talk);
    assert_eq!(asking.join().unwrap(), Err(Error::Unknown));
    drop(fake);
}

#[test]
fn an_old_server_says_that_it_does_not_know_it() {
    let (_fake, client, mut talk) = start();
    let asking = std::thread::spawn(move || client.roster(false));
    let asked = talk.expect("ROSTER");
    talk.reply("RE_ERROR", &asked["MID"], &json!("UNKNOWN_TYPE: TYPE is not known"));
    let error = asking.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Refused(refusal) if refusal.code == Some(ErrorCode::UnknownType)));
}
