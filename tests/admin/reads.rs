//! Reports for operators: health, users, messages.

use super::caller::get;
use crate::Managed;
use crate::common::{PATIENCE, befriend};
use hongyan::config::StoreUrl;
use serde_json::json;
use std::time::Instant;

#[test]
fn health_tells_whether_it_serves_and_its_numbers() {
    let managed = Managed::tuned(|config| config.connections_max = 77);
    let _ann = managed.server.user("ann");
    let health = get(managed.admin, "/health").good();
    assert_eq!((&health["ready"], &health["why"], &health["store_works"]), (&json!(true), &json!("ok"), &json!(true)));
    assert_eq!(
        (&health["connections"], &health["connections_max"], &health["logged_in"]),
        (&json!(1), &json!(77), &json!(1))
    );
    assert!(health["last_commit_ms_ago"].is_u64(), "the sign-up was committed: {health}");
    assert!(health["version"].is_string() && health["uptime_seconds"].is_u64() && health["jobs_in_flight"].is_u64());
}

#[test]
fn health_says_so_when_the_store_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("a.db");
    let managed = Managed::tuned(|config| config.store = StoreUrl::Sqlite(store.clone()));
    managed.server.user("ann");
    // The file is taken away from under the server: it promises nothing more.
    std::fs::remove_file(&store).unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = get(managed.admin, "/health");
        let health = answer.json();
        if answer.status == 503 {
            assert_eq!((&health["ready"], &health["why"]), (&json!(false), &json!("store")), "{health}");
            break;
        }
        assert!(Instant::now() < until, "it does not notice: {health}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn users_who_are_online_come_in_pages_in_order() {
    let managed = Managed::start();
    let mut names: Vec<String> = (0..105).map(|n| format!("user {n:03}")).collect();
    names.push("鸿".to_owned());
    let _online: Vec<_> = names.iter().map(|name| managed.server.user(name)).collect();
    let first = get(managed.admin, "/users").good();
    let found = |page: &serde_json::Value| -> Vec<String> {
        page["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((found(&first), first["next"].as_str()), (names[..100].to_vec(), Some("user 099")));
    let user = &first["users"][0];
    assert_eq!((&user["address"], &user["outstanding"]), (&json!("127.0.0.1"), &json!(0)));
    assert!(user["online_since_ms"].as_u64().unwrap() > 1_700_000_000_000, "{user}");
    let second = get(managed.admin, "/users?after=user+099").good();
    assert_eq!((found(&second), &second["next"]), (names[100..].to_vec(), &json!(null)));
    assert_eq!(
        get(managed.admin, "/users?after=%E9%B8%BF").good(),
        json!({"users": [], "next": null, "node": null, "node_name": null})
    );
}

#[test]
fn a_user_and_where_their_messages_are() {
    let managed = Managed::start();
    let (mut ann, mut bob) = managed.server.friends("ann", "bob");
    let mut eve = managed.server.user("eve");
    befriend(&mut ann, &mut eve);
    ann.send(&ann.message("m", "bob", "hello"));
    bob.expect_push("4", "m");
    ann.expect_reply("RE_MESSAGE", "m", "MS");
    let report = get(managed.admin, "/users/bob").good();
    assert_eq!(
        (&report["name"], &report["online"]["outstanding"], &report["banned"]),
        (&json!("bob"), &json!(1), &json!(false))
    );
    assert_eq!(report["online"]["address"], "127.0.0.1");
    let messages = get(managed.admin, "/messages?receiver=bob&id=m").good()["messages"].clone();
    assert_eq!(messages.as_array().unwrap().len(), 1, "{messages}");
    let message = &messages[0];
    assert_eq!(
        (&message["sender"], &message["kind"], &message["state"], &message["times_sent"], &message["stored"]),
        (&json!("ann"), &json!("message"), &json!("outstanding"), &json!(1), &json!(true))
    );
    bob.ack("m");
    bob.fence();
    let messages = get(managed.admin, "/messages?receiver=bob&id=m").good()["messages"].clone();
    assert_eq!((messages.as_array().unwrap().len(), &messages[0]["state"]), (1, &json!("acked")), "{messages}");
    assert_eq!(
        get(managed.admin, "/messages?receiver=bob&id=other").good(),
        json!({"messages": [], "node": null, "node_name": null})
    );
    drop(eve);
    let until = Instant::now() + PATIENCE;
    while !get(managed.admin, "/users/eve").good()["online"].is_null() {
        assert!(Instant::now() < until, "she is gone");
    }
    ann.say("n", "eve", "for later", "MS");
    let report = get(managed.admin, "/users/eve").good();
    assert_eq!((&report["waiting"], &report["waiting_is_at_least"]), (&json!(1), &json!(false)));
    get(managed.admin, "/users/nobody").refused(404, "no_such_user");
}
