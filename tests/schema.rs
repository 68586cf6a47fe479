//! `schema.sql` on a real MySQL or MariaDB server: HONGYAN_TEST_MYSQL names one where databases may be created
//! (`./test` starts one). Without it there is nothing to test against, and the test says so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::Database;
use mysql::Row;
use mysql::prelude::Queryable;

const SCHEMA: &str = include_str!("../schema.sql");

fn apply(database: &mut Database) {
    let text: String = SCHEMA.lines().filter(|line| !line.starts_with("--")).map(|line| format!("{line}\n")).collect();
    for statement in text.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        database.conn.query_drop(statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

#[test]
fn it_can_be_applied_twice_and_keeps_what_it_is_given_to_the_byte() {
    let Some(mut database) = Database::create("twice") else { return };
    apply(&mut database);
    apply(&mut database);
    let conn = &mut database.conn;
    let insert = "INSERT INTO pushes (seq, receiver, sender, message_id, kind, once, time_ms, content) VALUES (?, ?, ?, ?, 0, 0, 7, ?)";
    let names = ["bob", "Bob", "bob ", "bob\0", "böb", "bo\u{308}b", "🪿"];
    for (seq, name) in names.iter().enumerate() {
        conn.exec_drop(insert, (seq + 1, name.as_bytes(), &b"ann"[..], &b"m"[..], "鸿雁 🪿\0 ")).unwrap();
    }
    for (seq, name) in names.iter().enumerate() {
        let found: Vec<(u64, Vec<u8>)> =
            conn.exec("SELECT seq, content FROM pushes WHERE receiver = ?", (name.as_bytes(),)).unwrap();
        assert_eq!(found, [(seq as u64 + 1, "鸿雁 🪿\0 ".as_bytes().to_vec())], "{name:?}");
    }
    // The same message under another number is kept once.
    let again = conn.exec_drop(insert, (99, &b"bob"[..], &b"ann"[..], &b"m"[..], "again"));
    assert!(again.unwrap_err().to_string().contains("kept_once"));
    let versions: Vec<i32> = conn.query("SELECT version FROM schema_version").unwrap();
    assert_eq!(versions, [3]);
}

#[test]
fn every_query_of_a_hot_path_has_its_index() {
    let Some(mut database) = Database::create("index") else { return };
    apply(&mut database);
    let conn = &mut database.conn;
    for n in 0..300 {
        let row = format!("({n}, 'r{}', 's{n}', 'm', 0, 0, 0, '')", n % 20);
        conn.query_drop(format!(
            "INSERT INTO pushes (seq, receiver, sender, message_id, kind, once, time_ms, content) VALUES {row}"
        ))
        .unwrap();
        conn.query_drop(format!("INSERT INTO friendships VALUES ('u{}', 'f{n}')", n % 20)).unwrap();
        conn.query_drop(format!("INSERT INTO friend_requests VALUES ('f{n}', 'u{}', 'm', 0, {n})", n % 20)).unwrap();
    }
    let hot = [
        (
            "SELECT seq, content FROM pushes FORCE INDEX (by_receiver) \
             WHERE receiver = 'r1' AND seq > 3 ORDER BY seq LIMIT 65",
            "by_receiver",
        ),
        (
            "SELECT seq FROM pushes WHERE receiver = 'r1' AND sender = 's1' AND message_id = 'm' AND once = 0",
            "kept_once",
        ),
        ("SELECT friend_name FROM friendships WHERE user_name = 'u1'", "PRIMARY"),
        ("SELECT password_hash FROM accounts WHERE user_name = 'u1'", "PRIMARY"),
        (
            "SELECT user_name, friend_name FROM friendships \
             WHERE (user_name > 'u1' OR (user_name = 'u1' AND friend_name > 'f20')) ORDER BY user_name, friend_name LIMIT 9",
            "PRIMARY",
        ),
        ("SELECT push_seq FROM friend_requests WHERE receiver = 'u1' AND sender = 'u2'", "PRIMARY"),
        ("SELECT 1 FROM friend_requests WHERE receiver = 'u1' LIMIT 9", "PRIMARY"),
        ("SELECT 1 FROM friend_requests WHERE sender = 'u1' LIMIT 9", "by_sender"),
        ("SELECT 1 FROM friendships WHERE user_name = 'u1' LIMIT 9", "PRIMARY"),
        ("SELECT push_seq FROM friend_requests ORDER BY push_seq DESC LIMIT 1", "by_push"),
        ("SELECT seq FROM pushes ORDER BY seq DESC LIMIT 1", "PRIMARY"),
        ("SELECT expires_ms FROM resume_tokens WHERE user_name = 'u1' AND token_hash = 'h'", "PRIMARY"),
        ("SELECT seq, receiver, sender, message_id FROM pushes WHERE seq IN (1, 2, 3)", "PRIMARY"),
        ("DELETE FROM pushes WHERE seq IN (1, 2) AND (receiver, seq) IN (('r1', 1), ('r2', 2))", "PRIMARY"),
        ("SELECT user_name FROM accounts WHERE user_name IN ('u1', 'u2') ORDER BY user_name FOR UPDATE", "PRIMARY"),
        ("DELETE FROM friend_requests WHERE receiver = 'u1' AND sender = 'u2'", "PRIMARY"),
        (
            "DELETE FROM friendships \
             WHERE (user_name = 'u1' AND friend_name = 'f1') OR (user_name = 'f1' AND friend_name = 'u1')",
            "PRIMARY",
        ),
    ];
    for (query, index) in hot {
        let plan: Vec<Row> = conn.query(format!("EXPLAIN FORMAT = TRADITIONAL {query}")).unwrap();
        let (key, extra): (Option<String>, Option<String>) =
            (plan[0].get("key").unwrap(), plan[0].get("Extra").unwrap());
        let extra = extra.unwrap_or_default();
        // An empty table is not looked up at all, and the plan says so instead.
        assert!(
            key.as_deref() == Some(index) || extra.contains("no matching row") || extra.contains("const tables"),
            "{query}: {key:?} {extra}"
        );
        assert!(!extra.contains("filesort"), "{query}: {extra}");
    }
}
