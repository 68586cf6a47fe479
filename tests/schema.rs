//! `schema.sql` on a real MySQL or MariaDB server: HONGYAN_TEST_MYSQL names one where databases may
//! be created (`./test` starts one). Without it there is nothing to test against, and the test says
//! so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Database, MariaDb, Server};
use hongyan::config::{Config, StoreUrl};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, Row};

const SCHEMA: &str = include_str!("../schema.sql");

fn apply(conn: &mut Conn) {
    let text: String = SCHEMA.lines().filter(|line| !line.starts_with("--")).map(|line| format!("{line}\n")).collect();
    for statement in text.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        conn.query_drop(statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

#[test]
fn it_can_be_applied_twice_and_keeps_each_value_to_the_byte() {
    let Some(mut database) = Database::create("twice") else { return };
    apply(&mut database.conn);
    apply(&mut database.conn);
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
    let versions: Vec<(i32, i32)> = conn.query("SELECT version, compatible FROM schema_version").unwrap();
    assert_eq!(versions, [(11, 10)]);
}

/// The source whose statements are looked at below, with its white space and its continued lines
/// folded.
fn source() -> String {
    let all = concat!(
        include_str!("../src/store/mysql.rs"),
        include_str!("../src/store/mysql/accounts.rs"),
        include_str!("../src/store/mysql/blocks.rs"),
        include_str!("../src/store/mysql/roster.rs"),
        include_str!("../src/store/mysql/rows.rs"),
        include_str!("../src/store/mysql/mailbox.rs"),
        include_str!("../src/store/mysql/friendships.rs"),
        include_str!("../src/store/mysql/tokens.rs"),
        include_str!("../src/store/mysql/whereabouts.rs")
    );
    folded(&all.replace("\\\n", "\n"))
}

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Rows of one statement at most, as in the source.
const ROWS_MAX: usize = 100;
/// Rows of every table: so many that reading all of them is never the shortest way to a hundred.
const TABLE_ROWS: usize = 10_000;

/// A statement of no hot path: it reads at most one row, by all columns of the unique key
/// `kept_once`, after a save has met that row.
const RARE: &str =
    "SELECT seq, time_ms, content FROM pushes FORCE INDEX (kept_once) WHERE receiver = ? AND sender = ? ";

/// Every statement of a hot path but the INSERTs, as it stands in the source, with the index that
/// has to find its rows. Text in braces is generated there: a list for 100 rows.
const HOT: &[(&str, &str)] = &[
    (
        "SELECT seq, time_ms, kind, message_id, sender, content FROM pushes FORCE INDEX (by_receiver) \
         WHERE receiver = ? AND seq > ? ORDER BY seq LIMIT ?",
        "by_receiver",
    ),
    (
        "SELECT seq, time_ms, kind, message_id, sender, content FROM pushes FORCE INDEX (by_receiver) \
         WHERE receiver = {receiver} {but} ORDER BY seq LIMIT {count_max}",
        "by_receiver",
    ),
    (
        "SELECT user_name, node, node_epoch, epoch, floor FROM whereabouts WHERE device = '' AND user_name = ?",
        "PRIMARY",
    ),
    (
        "COMMIT; SELECT user_name, node, node_epoch, epoch, floor FROM whereabouts \
         WHERE device = '' AND user_name IN ({names})",
        "PRIMARY",
    ),
    ("SELECT seq FROM pushes ORDER BY seq DESC LIMIT 1", "PRIMARY"),
    ("SELECT push_seq FROM friend_requests ORDER BY push_seq DESC LIMIT 1", "by_push"),
    ("SELECT seq, receiver, sender, message_id FROM pushes WHERE seq IN ({})", "PRIMARY"),
    (
        "(SELECT {place} AS place, seq, sender, \
         LENGTH(receiver) + LENGTH(sender) + LENGTH(message_id) + LENGTH(content) \
         FROM pushes FORCE INDEX (by_receiver) WHERE receiver = ? AND seq > ? ORDER BY seq LIMIT ?)",
        "by_receiver",
    ),
    (
        "SELECT seq, receiver, sender, LENGTH(receiver) + LENGTH(sender) + LENGTH(message_id) + LENGTH(content) \
         FROM pushes WHERE seq IN ({})",
        "PRIMARY",
    ),
    ("SELECT receiver, sender, message_id FROM pushes FORCE INDEX (kept_once) WHERE {any}", "kept_once"),
    // Both lead to a row each.
    ("DELETE FROM pushes WHERE seq IN ({one}) AND (receiver, seq) IN ({pair})", "PRIMARY or by_receiver"),
    ("SELECT 1 FROM accounts WHERE user_name IN ({names}) ORDER BY user_name FOR UPDATE", "PRIMARY"),
    ("SELECT user_name FROM accounts WHERE user_name IN (?, ?) AND state < 2", "PRIMARY"),
    ("SELECT user_name FROM accounts WHERE user_name > ? AND state < 2 ORDER BY user_name LIMIT ?", "PRIMARY"),
    ("SELECT password_hash, state FROM accounts WHERE user_name = ?", "PRIMARY"),
    ("SELECT 1 FROM deletions WHERE user_name = ?", "PRIMARY"),
    ("SELECT user_name FROM deletions ORDER BY user_name LIMIT ?", "PRIMARY"),
    ("DELETE FROM deletions WHERE user_name = ?", "PRIMARY"),
    (
        "(SELECT sender, receiver FROM friend_requests FORCE INDEX (by_sender) WHERE sender = ? LIMIT ?) \
         UNION ALL (SELECT sender, receiver FROM friend_requests WHERE receiver = ? LIMIT ?)",
        "by_sender",
    ),
    (
        "SELECT seq, message_id, sender, kind, time_ms FROM pushes FORCE INDEX (by_receiver) \
         WHERE receiver = ? AND seq > ? ORDER BY seq LIMIT ?",
        "by_receiver",
    ),
    (
        "SELECT email_address, nick_name, profile_picture, location, personal_description, rsa_public_key \
         FROM accounts WHERE user_name = ?",
        "PRIMARY",
    ),
    ("SELECT friend_name FROM friendships WHERE user_name = ?", "PRIMARY"),
    (
        "SELECT 0 FROM friendships WHERE user_name = ? AND friend_name = ? \
         UNION ALL SELECT 1 FROM blocks WHERE user_name = ? AND blocked_name = ? \
         UNION ALL SELECT 2 FROM blocks WHERE user_name = ? AND blocked_name = ?",
        "PRIMARY",
    ),
    (
        "SELECT friendships.friend_name, IFNULL(accounts.nick_name, ''), IFNULL(accounts.profile_picture, '') \
         FROM friendships LEFT JOIN accounts ON accounts.user_name = friendships.friend_name \
         WHERE friendships.user_name = ? AND friendships.friend_name > ? ORDER BY friendships.friend_name LIMIT ?",
        "PRIMARY",
    ),
    (
        "SELECT sender, message_id, content, time_ms FROM friend_requests FORCE INDEX (by_hidden) \
         WHERE hidden = 0 AND receiver = ? ORDER BY push_seq LIMIT ?",
        "by_hidden",
    ),
    (
        "SELECT receiver, message_id, content, time_ms FROM friend_requests FORCE INDEX (by_sender) \
         WHERE sender = ? ORDER BY push_seq LIMIT ?",
        "by_sender",
    ),
    ("SELECT blocked_name FROM blocks WHERE user_name = ? ORDER BY blocked_name", "PRIMARY"),
    ("DELETE FROM blocks WHERE user_name = ? AND blocked_name = ?", "PRIMARY or by_blocked"),
    ("DELETE FROM blocks WHERE user_name = ? LIMIT ?", "PRIMARY"),
    ("DELETE FROM blocks WHERE blocked_name = ? LIMIT ?", "by_blocked"),
    (
        "SELECT pushes.receiver, pushes.seq FROM friend_requests FORCE INDEX (by_hidden) \
         STRAIGHT_JOIN pushes ON pushes.seq = friend_requests.push_seq \
         AND pushes.receiver = friend_requests.receiver AND pushes.sender = friend_requests.sender \
         WHERE friend_requests.hidden = 1 LIMIT ?",
        "by_hidden",
    ),
    ("SELECT 1 FROM friendships WHERE user_name = ? LIMIT ?", "PRIMARY"),
    (
        "DELETE FROM friendships WHERE (user_name = ? AND friend_name = ?) OR (user_name = ? AND friend_name = ?)",
        "PRIMARY",
    ),
    ("SELECT message_id, time_ms, push_seq, hidden FROM friend_requests WHERE receiver = ? AND sender = ?", "PRIMARY"),
    ("DELETE FROM friend_requests WHERE receiver = ? AND sender = ?", "PRIMARY"),
    ("SELECT 1 FROM friend_requests FORCE INDEX (by_hidden) WHERE hidden = 0 AND receiver = ? LIMIT ?", "by_hidden"),
    ("SELECT 1 FROM friend_requests WHERE sender = ? LIMIT ?", "by_sender"),
    ("SELECT token_hash, expires_ms FROM resume_tokens WHERE user_name = ?", "PRIMARY"),
    ("SELECT expires_ms FROM resume_tokens WHERE user_name = ? AND token_hash = ?", "PRIMARY"),
    ("DELETE FROM resume_tokens WHERE user_name = ? AND token_hash IN ({})", "PRIMARY"),
    ("DELETE FROM resume_tokens WHERE user_name = ?", "PRIMARY"),
];

fn list(of: impl Fn(usize) -> String) -> String {
    (0..ROWS_MAX).map(of).collect::<Vec<_>>().join(", ")
}

fn same(n: usize) -> String {
    format!("(receiver = 'u{}' AND sender = 'f{n}' AND message_id = 'm' AND once = 0)", n % 200)
}

/// A statement with values that are there: those of row 201 of each table.
fn filled(statement: &str) -> String {
    let mut lists = vec![
        ("{one}", list(|n| n.to_string())),
        ("{pair}", list(|n| format!("('u{}', {n})", n % 200))),
        ("{names}", list(|n| format!("'f{n}'"))),
        ("{receiver}", "'u1'".to_owned()),
        ("{but}", format!("AND seq NOT IN ({})", list(|n| n.to_string()))),
        ("{count_max}", "9".to_owned()),
        // Behind a commit, in its round trip.
        ("COMMIT; ", String::new()),
        ("{place}", "0".to_owned()),
        ("{any}", list(same).replace("), (", ") OR (")),
    ];
    let is_tokens = statement.contains("token_hash");
    lists.push(("{}", if is_tokens { list(|n| format!("'h{n}'")) } else { list(|n| n.to_string()) }));
    let mut text = lists.into_iter().fold(statement.to_owned(), |text, (name, list)| text.replace(name, &list));
    // In this order: the more exact patterns come first.
    for (before, value) in [
        ("user_name IN (", "'f201'"),
        ("user_name IN ('f201', ", "'f202'"),
        ("user_name > ", "'f99'"),
        ("receiver = ", "'u1'"),
        ("sender = ", "'f201'"),
        ("FROM accounts WHERE user_name = ", "'f201'"),
        ("user_name = ", "'u1'"),
        ("friend_name = ", "'f201'"),
        ("friend_name > ", "'f1'"),
        ("WHERE blocked_name = ", "'f7'"),
        ("blocked_name = ", "'f201'"),
        ("token_hash = ", "'h201'"),
        ("seq > ", "3"),
        ("LIMIT ", "9"),
    ] {
        text = text.replace(&format!("{before}?"), &format!("{before}{value}"));
    }
    assert!(!text.contains(['?', '{']), "{text}");
    text
}

fn fill(database: &mut Database) {
    let rows = |of: &dyn Fn(usize) -> String| (0..TABLE_ROWS).map(of).collect::<Vec<_>>().join(", ");
    for (table, rows) in [
        (
            "accounts (user_name, password_hash, email_address, nick_name, profile_picture, location, \
             personal_description, rsa_public_key)",
            rows(&|n| format!("('f{n}', 'x', '', '', '', '', '', '')")),
        ),
        ("friendships", rows(&|n| format!("('u{}', 'f{n}')", n % 200))),
        ("friend_requests", rows(&|n| format!("('u{}', 'f{n}', 'm', 0, {n}, {}, 'text')", n % 200, n / 9_990))),
        ("blocks", rows(&|n| format!("('u{}', 'f{n}')", n % 200))),
        (
            "pushes (seq, receiver, sender, message_id, kind, once, time_ms, content)",
            rows(&|n| format!("({n}, 'u{}', 'f{n}', 'm', 0, 0, 0, '')", n % 200)),
        ),
        ("resume_tokens", rows(&|n| format!("('u{}', 'h{n}', {n})", n % 200))),
        ("deletions", rows(&|n| format!("('u{n}')"))),
        ("whereabouts", rows(&|n| format!("('{}{n}', '', 1, 1, 1, 0)", if n % 2 == 0 { 'f' } else { 'u' }))),
    ] {
        database.conn.query_drop(format!("INSERT INTO {table} VALUES {rows}")).unwrap();
    }
    // A server that has run for a while has these statistics.
    database
        .conn
        .query_drop("ANALYZE TABLE accounts, friendships, friend_requests, blocks, pushes, resume_tokens, deletions, whereabouts")
        .unwrap();
}

#[test]
fn the_statements_looked_at_are_those_of_the_store() {
    let source = source();
    for (statement, _) in HOT {
        assert!(source.contains(statement), "the store says something else: {statement}");
    }
    assert!(source.contains(&format!("const SIZES: [usize; 3] = [{ROWS_MAX}, ")));
    // And all of them: a new one has to be added here.
    for text in source.split('"').filter(|text| text.starts_with("SELECT ") || text.starts_with("DELETE ")) {
        let is_known = HOT.iter().any(|(known, _)| text.contains(known)) || text.starts_with(RARE);
        assert!(is_known, "nobody looks at its plan: {text}");
    }
}

#[test]
fn every_query_of_a_hot_path_has_its_index() {
    let Some(mut database) = Database::create("index") else { return };
    apply(&mut database.conn);
    fill(&mut database);
    // The copy of a whole table walks along the key, too (src/store/mysql/export.rs).
    let copying = "SELECT user_name, friend_name FROM friendships \
                   WHERE (user_name > 'u1' OR (user_name = 'u1' AND friend_name > 'f20')) \
                   ORDER BY user_name, friend_name LIMIT 9";
    check_plan(&mut database, copying, "PRIMARY");
    for (statement, index) in HOT {
        let rows = check_plan(&mut database, &filled(statement), index);
        assert!(rows < TABLE_ROWS as u64 / 10, "{statement}: {rows} rows");
    }
}

/// Gives how many rows are looked at by the estimate of the plan.
fn check_plan(database: &mut Database, query: &str, index: &str) -> u64 {
    let plan: Vec<Row> = database.conn.query(format!("EXPLAIN FORMAT = TRADITIONAL {query}")).unwrap();
    let column = |name: &str| plan[0].get::<Option<String>, _>(name).unwrap();
    let (key, extra) = (column("key").unwrap_or_default(), column("Extra").unwrap_or_default());
    assert!(index.split(" or ").any(|index| key == index), "{query}: {key} {extra}");
    assert!(!extra.contains("filesort"), "{query}: {extra}");
    plan[0].get::<Option<u64>, _>("rows").unwrap().unwrap_or_else(|| panic!("{query}: {extra}"))
}

#[test]
fn a_server_that_may_not_make_tables_says_how_and_works_on_tables_made_by_hand() {
    let Some(database) = MariaDb::start() else { return };
    database.leave_rights("SELECT, INSERT, UPDATE, DELETE");
    let url = database.url();
    let config =
        Config { listen: ([127, 0, 0, 1], 0).into(), store: StoreUrl::parse(&url).unwrap(), ..Config::default() };
    let why = hongyan::server::start(config).unwrap_err().to_string();
    let remedy = "; grant this user CREATE, ALTER and INDEX, or apply schema.sql to the empty database";
    assert!(why.contains("cannot make its tables: ") && why.ends_with(remedy), "{why}");
    apply(&mut database.root());
    let mut restricted = Conn::new(Opts::from_url(&url).unwrap()).unwrap();
    assert!(restricted.query_drop("CREATE TABLE more (a INT)").unwrap_err().to_string().contains("denied"));
    let server = Server::tuned(|config| config.store = StoreUrl::Mysql(url));
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    ann.say("m1", "bob", "for later", "MS");
    // The acked pushes of the friendship are deleted in the lane of their receiver, not before.
    database.wait_for_pushes(1);
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.take("m1");
    bob.fence();
    database.wait_for_pushes(0);
    server.stop();
}
