//! One whole conversation, byte for byte (server times aside): sign-up, log-in, profile,
//! friendship, message, its end; in both forms, over raw TCP and WebSocket, in every mix of the
//! two; then going away and coming back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{BOTH, Client, ContentForm, PATIENCE, Record, Server, TRANSPORTS, Transport, config, content};
use hongyan::config::StoreUrl;

const PROFILE: &str = r#"{"userName":"vincent313","emailAddress":"v@example.com","nickName":"zhiyong","profilePicture":"personalfilepicture.com/link","location":"longyan","personalDescription":"cooking man","rsaPublicKey":"24sdfqwrwer"}"#;

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A request as a client of this form writes it.
fn request(form: ContentForm, mid: Option<&str>, content: &str, kind: &str) -> String {
    let content = if form == ContentForm::Text { quoted(content) } else { content.to_owned() };
    let mid = mid.map(|mid| format!("\"MID\":\"{mid}\",")).unwrap_or_default();
    format!("{{{mid}\"CONTENT\":{content},\"TYPE\":\"{kind}\"}}")
}

/// A server frame of this form.
fn frame(form: ContentForm, content: &str, kind: &str) -> String {
    let content = if form == ContentForm::Text { quoted(content) } else { content.to_owned() };
    format!("{{\"CONTENT\":{content},\"TYPE\":\"{kind}\"}}")
}

fn letter(id: &str, sender: &str, receiver: &str, rest: &str) -> String {
    format!(r#"{{"messageId":"{id}","sender":"{sender}","receiver":"{receiver}",{rest}}}"#)
}

fn sign_up_and_log_in(client: &mut Client, name: &str) {
    let form = client.form;
    let account = format!(
        r#"{{"userName":"{name}","hashValue":"thisisapasswordhash",{}"#,
        &PROFILE[r#"{"userName":"vincent313","#.len()..]
    );
    client.send(&request(form, Some("signupmessageID001"), &account, "1"));
    client.expect(&frame(form, r#"{"MessageId":"signupmessageID001","Content":"SS"}"#, "RE_SIGNUP"));
    let words = format!(r#"{{"PASS":"thisisapasswordhash","USER":"{name}"}}"#);
    client.send(&request(form, Some("loginmessage0001"), &words, "2"));
    client.expect(&frame(form, r#"{"MessageId":"loginmessage0001","Content":"LS"}"#, "RE_SIGNUP"));
}

/// Takes the time out of the next frame and checks the rest to the byte.
fn expect_with_time(client: &mut Client, key: &str, shape: impl Fn(&str) -> String) -> String {
    let got = client.recv();
    let time = content(&got)[key].as_str().unwrap_or_default().to_owned();
    assert!(time.len() == 13 && time.bytes().all(|byte| byte.is_ascii_digit()), "no time in {got}");
    assert_eq!(got, shape(&time));
    time
}

fn converse(c1: &mut Client, c2: &mut Client) {
    let (s1, s2) = (c1.form, c2.form);
    sign_up_and_log_in(c1, "vincent313");
    sign_up_and_log_in(c2, "zhiyong313");

    c2.send(r#"{"MID":"getuserinfo0010001","CONTENT":"vincent313","TYPE":"3"}"#);
    let inner = if s2 == ContentForm::Text { quoted(PROFILE) } else { PROFILE.to_owned() };
    let profile = format!(r#"{{"MessageId":"getuserinfo0010001","Content":{inner}}}"#);
    c2.expect(&frame(s2, &profile, "RE_GETUSER_SUC"));

    let (id, v, z) = ("friendsrequest001", "vincent313", "zhiyong313");
    c2.send(&request(s2, None, &letter(id, z, v, r#""content":"tianjiahaoyoushenqing","type":"1""#), "6"));
    let answered = |form, id: &str, time: &str| {
        frame(form, &format!(r#"{{"MessageId":"{id}","Content":"{time}"}}"#), "RE_FRI_REQ")
    };
    let time = expect_with_time(c2, "Content", |time| answered(s2, id, time));
    let rest = format!(r#""time":"{time}","content":"tianjiahaoyoushenqing","type":"1""#);
    c1.expect(&frame(s1, &letter(id, z, v, &rest), "6"));
    c1.send(&request(s1, None, r#"{"MessageId":"friendsrequest001"}"#, "5"));

    c1.send(&request(s1, None, &letter(id, z, v, r#""content":"tianjiahaoyoushenqing","type":"2""#), "6"));
    let time = expect_with_time(c1, "Content", |time| answered(s1, id, time));
    let rest = format!(r#""time":"{time}","content":"tianjiahaoyoushenqing","type":"2""#);
    c2.expect(&frame(s2, &letter(id, v, z, &rest), "6"));
    c2.send(&request(s2, None, r#"{"MessageId":"friendsrequest001"}"#, "5"));

    let (id, text) = ("normalmessage001", r#""content":"first message test 000001""#);
    c2.send(&request(s2, None, &letter(id, z, v, text), "4"));
    expect_with_time(c1, "time", |time| frame(s1, &letter(id, z, v, &format!(r#""time":"{time}",{text}"#)), "4"));
    c1.send(&request(s1, None, r#"{"MessageId":"normalmessage001"}"#, "5"));
    c2.expect(&frame(s2, r#"{"MessageId":"normalmessage001","Content":"MS"}"#, "RE_MESSAGE"));

    let id = "deletefriend001";
    c1.send(&request(s1, None, &letter(id, v, z, r#""content":"shanchuhaoyou","type":"4""#), "6"));
    expect_with_time(c1, "Content", |time| answered(s1, id, time));
    c2.send(&request(s2, None, &letter("normalmessage002", z, v, r#""content":"are you there?""#), "4"));
    c2.expect(&frame(s2, r#"{"MessageId":"normalmessage002","Content":"MF"}"#, "RE_MESSAGE"));
    c1.fence();
    c2.fence();
    look_after_accounts(c1, c2);
}

/// An answer whose Content is an object: in the string form one more text inside a string.
fn answer(form: ContentForm, id: &str, inner: &str, kind: &str) -> String {
    let inner = if form == ContentForm::Text { quoted(inner) } else { inner.to_owned() };
    frame(form, &format!(r#"{{"MessageId":"{id}","Content":{inner}}}"#), kind)
}

/// Roster, profile, password, blocked users, the end of an account; each client in its own form.
fn look_after_accounts(c1: &mut Client, c2: &mut Client) {
    let (s1, s2) = (c1.form, c2.form);
    let word = |form, id: &str, word: &str, kind: &str| {
        frame(form, &format!(r#"{{"MessageId":"{id}","Content":"{word}"}}"#), kind)
    };
    c2.send(&request(s2, Some("profile001"), r#"{"nickName":"zhi\"yong","location":""}"#, "PROFILE"));
    c2.expect(&word(s2, "profile001", "changed", "RE_PROFILE"));
    let (v, z) = ("vincent313", "zhiyong313");
    let rest = r#""content":"zailaiyici","type":"1""#;
    c2.send(&request(s2, None, &letter("friendsrequest002", z, v, rest), "6"));
    let answered = |form, id: &str, time: &str| word(form, id, time, "RE_FRI_REQ");
    let time = expect_with_time(c2, "Content", |time| answered(s2, "friendsrequest002", time));
    let pushed = format!(r#""time":"{time}",{rest}"#);
    c1.expect(&frame(s1, &letter("friendsrequest002", z, v, &pushed), "6"));
    c1.send(&request(s1, None, r#"{"MessageId":"friendsrequest002"}"#, "5"));

    c1.send(&request(s1, Some("roster001"), r#"{"watch":true}"#, "ROSTER"));
    let entry =
        format!(r#"{{"userName":"{z}","messageId":"friendsrequest002","content":"zailaiyici","time":"{time}"}}"#);
    let roster = format!(r#"{{"friends":[],"incoming":[{entry}],"outgoing":[],"more":false}}"#);
    c1.expect(&answer(s1, "roster001", &roster, "RE_ROSTER"));
    c1.send(&request(s1, None, &letter("friendsrequest002", z, v, r#""content":"hao","type":"2""#), "6"));
    let time = expect_with_time(c1, "Content", |time| answered(s1, "friendsrequest002", time));
    let pushed = format!(r#""time":"{time}","content":"hao","type":"2""#);
    c2.expect(&frame(s2, &letter("friendsrequest002", v, z, &pushed), "6"));
    c2.send(&request(s2, None, r#"{"MessageId":"friendsrequest002"}"#, "5"));
    c1.expect(&frame(s1, r#"{"userName":"zhiyong313","online":true}"#, "PRESENCE"));
    c1.send(&request(s1, Some("roster002"), "{}", "ROSTER"));
    let friend = r#"{"userName":"zhiyong313","nickName":"zhi\"yong","profilePicture":"personalfilepicture.com/link","online":true}"#;
    let roster = format!(r#"{{"friends":[{friend}],"incoming":[],"outgoing":[],"more":false}}"#);
    c1.expect(&answer(s1, "roster002", &roster, "RE_ROSTER"));

    c2.send(&request(s2, Some("password001"), r#"{"old":"thisisapasswordhash","new":"anotherhash"}"#, "PASSWORD"));
    c2.expect(&word(s2, "password001", "changed", "RE_PASSWORD"));
    c2.send(&request(s2, Some("password002"), r#"{"old":"thisisapasswordhash","new":"x"}"#, "PASSWORD"));
    c2.expect_error("password002", "FORBIDDEN");

    c1.send(&request(s1, Some("block001"), r#"{"block":"zhiyong313"}"#, "BLOCK"));
    c1.expect(&answer(s1, "block001", r#"{"blocked":["zhiyong313"]}"#, "RE_BLOCK"));
    c2.send(&request(s2, None, &letter("friendsrequest003", z, v, rest), "6"));
    let time = expect_with_time(c2, "Content", |time| answered(s2, "friendsrequest003", time));
    c2.send(&request(s2, Some("roster003"), "{}", "ROSTER"));
    let entry =
        format!(r#"{{"userName":"{v}","messageId":"friendsrequest003","content":"zailaiyici","time":"{time}"}}"#);
    let roster = format!(r#"{{"friends":[],"incoming":[],"outgoing":[{entry}],"more":false}}"#);
    c2.expect(&answer(s2, "roster003", &roster, "RE_ROSTER"));
    c1.send(&request(s1, Some("block002"), r#"{"unblock":"zhiyong313"}"#, "BLOCK"));
    c1.expect(&answer(s1, "block002", r#"{"blocked":[]}"#, "RE_BLOCK"));
    c1.send(&request(s1, Some("block003"), "{}", "BLOCK"));
    c1.expect(&answer(s1, "block003", r#"{"blocked":[]}"#, "RE_BLOCK"));
    c1.fence();

    c2.send(&request(s2, Some("account001"), r#"{"want":"delete","PASS":"anotherhash"}"#, "ACCOUNT"));
    c2.expect(&word(s2, "account001", "deleted", "RE_ACCOUNT"));
    c2.expect_closed();
    c1.send(r#"{"MID":"getuserinfo0010002","CONTENT":"zhiyong313","TYPE":"3"}"#);
    c1.expect(&word(s1, "getuserinfo0010002", "User could not be found", "RE_GETUSER_FAILED"));
    c1.fence();
}

/// Every mix of transport and form, each on a store that `store` makes anew.
fn converse_in_every_mix(store: impl Fn() -> StoreUrl) {
    let kinds: Vec<(Transport, ContentForm)> =
        TRANSPORTS.into_iter().flat_map(|transport| BOTH.map(|form| (transport, form))).collect();
    for &(transport1, form1) in &kinds {
        for &(transport2, form2) in &kinds {
            let mut config = config();
            config.store = store();
            let server = Server::with(config);
            let mut c1 = server.client(transport1, form1);
            let mut c2 = server.client(transport2, form2);
            converse(&mut c1, &mut c2);
            drop((c1, c2));
            server.stop();
        }
    }
}

#[test]
fn the_whole_conversation_in_every_mix_of_transport_and_form() {
    converse_in_every_mix(|| StoreUrl::Memory);
}

#[test]
fn the_whole_conversation_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    converse_in_every_mix(|| {
        count.set(count.get() + 1);
        StoreUrl::Sqlite(folder.path().join(format!("{}.db", count.get())))
    });
}

#[test]
fn the_whole_conversation_on_mysql() {
    let databases = std::cell::RefCell::new(Vec::new());
    if common::Database::create("talk").is_none() {
        return;
    }
    converse_in_every_mix(|| {
        let mut databases = databases.borrow_mut();
        let database = common::Database::create(&format!("talk_{}", databases.len())).unwrap();
        let store = StoreUrl::Mysql(database.url());
        databases.push(database);
        store
    });
}

/// Which of the server's times, in the order in which they appear, are the same: an answer to a
/// friend request and its push have one. Others are different, but for a quick server.
const TIMES: [u64; 17] = [0, 0, 1, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 8, 8, 9, 10];

/// A frame with invented times in the place of the server's, each of them 13 digits. `seen` counts
/// them.
fn with_invented_times(frame: &str, seen: &mut usize) -> String {
    const FIRST_MS: u64 = 1_652_791_027_673;
    let mut out = String::new();
    let mut digits = String::new();
    // The last one ends a run of digits, and is taken off again.
    for char in frame.chars().chain(['.']) {
        if char.is_ascii_digit() {
            digits.push(char);
            continue;
        }
        if digits.len() == 13 {
            digits = (FIRST_MS + 1_000 * TIMES[*seen]).to_string();
            *seen += 1;
        }
        out.push_str(&std::mem::take(&mut digits));
        out.push(char);
    }
    out.truncate(out.len() - 1);
    out
}

/// docs/vectors.json has the conversation in both forms, for authors of clients: the frames that
/// two clients send and get. `UPDATE_DOCS=1 cargo test --test conversation vectors` writes it anew.
#[test]
fn the_vectors_are_this_conversation() {
    let mut all = serde_json::Map::new();
    all.insert(
        "about".to_owned(),
        "A whole conversation of two clients, C1 and C2, in both forms of CONTENT (docs/protocol.md), as \
         tests/conversation.rs has it with a real server: what each sends (>) and gets (<), byte for byte, without the \
         line ends; times are invented. The order of frames of different clients is not promised."
            .into(),
    );
    for (name, form) in [("string", ContentForm::Text), ("object", ContentForm::Object)] {
        let server = Server::start();
        let record = Record::default();
        let client = |name| {
            let mut client = server.client(Transport::Raw, form);
            client.record = Some((name, record.clone()));
            client
        };
        converse(&mut client("C1"), &mut client("C2"));
        let mut times = 0;
        let record = record.lock().unwrap();
        let frames = record.iter().map(|(who, sent, frame)| {
            let way = if *sent { ">" } else { "<" };
            serde_json::json!([format!("{who}{way}"), with_invented_times(frame, &mut times)])
        });
        let frames: Vec<String> = frames.map(|it| it.to_string()).collect();
        assert_eq!((frames.len(), times), (67, TIMES.len()));
        all.insert(name.to_owned(), frames.into());
        server.stop();
    }
    // One frame on each line.
    let list = |name: &str| {
        let lines: Vec<&str> = all[name].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        format!(" \"{name}\": [\n  {}\n ]", lines.join(",\n  "))
    };
    let text = format!("{{\n \"about\": {},\n{},\n{}\n}}\n", all["about"], list("string"), list("object"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/vectors.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let how = "UPDATE_DOCS=1 cargo test --test conversation vectors";
    assert!(
        std::fs::read_to_string(path).unwrap() == text,
        "docs/vectors.json is not this conversation; write it anew: {how}"
    );
}

/// Two users become friends, one goes away, the server restarts, and that user finds what they
/// missed.
#[test]
fn a_user_who_comes_back_finds_what_they_missed_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.store = StoreUrl::Sqlite(folder.path().join("hongyan.db"));
    let server = Server::with(config.clone());
    let (ann, bob) = (server.chatter("ann"), server.chatter("bob"));
    bob.ask_friend("ann", "").unwrap();
    assert!(ann.receive(PATIENCE, |request| assert!(ann.accept(request, "").is_ok())).unwrap());
    ann.close();
    // Ann may still count as online for a moment; either way the messages wait for Ann.
    for n in 0..100 {
        bob.send("ann", &format!("number {n} 🪿")).unwrap();
    }
    bob.close();
    server.stop();

    let server = Server::with(config);
    let ann = server.chatter("ann");
    for n in 0..100 {
        let expected = ("bob".to_owned(), format!("number {n} 🪿"));
        let got = ann.receive(PATIENCE, |push| assert_eq!((push.sender.clone(), push.content.clone()), expected));
        assert!(got.unwrap());
    }
    ann.close();
    // The friendship is in the store, too.
    server.chatter("ann").send("bob", "I have it all").unwrap();
    server.stop();
}
