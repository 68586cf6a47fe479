//! The rules of a client on a virtual clock.

use super::*;
use serde_json::Value;
use serde_json::json;

const RULES: Rules = Rules {
    heartbeat_ms: 30_000,
    answer_ms: 10_000,
    request_ms: 60_000,
    retry: Backoff { first_ms: 1_000, max_ms: 60_000 },
    backoff: Backoff { first_ms: 2_000, max_ms: 60_000 },
    seen_max: 4,
};

/// A machine, its clock, and its latest outputs.
struct Run {
    machine: Machine,
    now: u64,
}

impl Run {
    fn new(has_token: bool, has_password: bool) -> Self {
        Self { machine: Machine::new(RULES, 7, has_token, has_password), now: 1_000_000 }
    }

    /// A machine that is logged in with a token.
    fn online() -> Self {
        let mut run = Self::new(true, true);
        run.connect();
        run.reply("RE_SIGNUP", "log-in", "LS");
        run
    }

    fn connect(&mut self) {
        assert_eq!(self.tick(), [Output::Connect]);
        self.machine.handle(self.now, Input::Connected);
    }

    fn tick(&mut self) -> Vec<Output> {
        self.machine.tick(self.now);
        self.machine.take()
    }

    fn hear(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle(self.now, input);
        self.machine.take()
    }

    fn frame(&mut self, kind: &str, content: &Value) -> Vec<Output> {
        let frame = Frame::read(&json!({"TYPE": kind, "CONTENT": content}).to_string()).unwrap();
        self.hear(Input::Frame(frame))
    }

    fn reply(&mut self, kind: &str, id: &str, content: &str) -> Vec<Output> {
        self.frame(kind, &json!({"MessageId": id, "Content": content}))
    }

    fn error(&mut self, id: &str, code: &str) -> Vec<Output> {
        self.reply("RE_ERROR", id, &format!("{code}: a sentence"))
    }

    fn push(&mut self, id: &str, time: &str) -> Vec<Output> {
        self.frame("4", &json!({"messageId": id, "sender": "bob", "receiver": "ann", "time": time, "content": "x"}))
    }

    fn begin(&mut self, ticket: Ticket, id: &str) -> Vec<Output> {
        self.hear(Input::Begin(ticket, Request::message(id, "ann", "bob", "x")))
    }

    /// Advances the clock until the machine does something at its deadline.
    fn sleep(&mut self) -> Vec<Output> {
        loop {
            self.now = self.machine.deadline().expect("something is to be done").max(self.now + 1);
            let outputs = self.tick();
            if !outputs.is_empty() {
                return outputs;
            }
        }
    }
}

fn done(outputs: &[Output]) -> Vec<(Ticket, &Result<Answer, Error>)> {
    let done = outputs.iter().filter_map(|output| match output {
        Output::Done(ticket, result) => Some((*ticket, result)),
        _ => None,
    });
    done.collect()
}

fn sent(outputs: &[Output]) -> Vec<Value> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send(text) | Output::AckAgain(text) => serde_json::from_str(text).ok(),
        _ => None,
    });
    sent.collect()
}

fn end(outputs: &[Output]) -> Option<&End> {
    outputs.iter().find_map(|output| match output {
        Output::Connection(Connection::Ended(end)) => Some(end),
        _ => None,
    })
}

fn offline_ms(outputs: &[Output]) -> u64 {
    let delay = outputs.iter().find_map(|output| match output {
        Output::Connection(Connection::Offline { again_in, .. }) => u64::try_from(again_in.as_millis()).ok(),
        _ => None,
    });
    delay.expect("it is offline")
}

#[test]
fn a_token_is_tried_first_and_the_password_after_it() {
    let mut run = Run::new(true, true);
    run.connect();
    assert_eq!(run.machine.take(), [Output::LogIn(With::Token)]);
    let asked = run.reply("RE_SIGNUP", "log-in", "LF");
    assert_eq!(sent(&asked)[0]["TYPE"], "0", "a heartbeat brings the cause to light");
    assert_eq!(run.error("hongyan-client-1", "NOT_LOGGED_IN"), [Output::LogIn(With::Password)]);
    let outputs = run.reply("RE_SIGNUP", "log-in", "LS");
    assert_eq!(outputs[0], Output::Connection(Connection::Online));
    let token = &sent(&outputs)[0];
    assert_eq!((token["TYPE"].as_str(), token["CONTENT"]["want"].as_str()), (Some("TOKEN"), Some("new")));
    let id = token["MID"].as_str().unwrap();
    assert_eq!(run.reply("RE_TOKEN", id, "secret"), [Output::KeepToken("secret".into())]);
}

#[test]
fn a_token_that_is_too_large_for_a_log_in_is_not_sent_again() {
    let mut run = Run::new(true, true);
    run.connect();
    assert_eq!(run.machine.take(), [Output::LogIn(With::Token)]);
    run.error("", "TOO_LARGE");
    assert_eq!(run.sleep(), [Output::Connect]);
    assert_eq!(run.hear(Input::Connected), [Output::LogIn(With::Password)]);
}

#[test]
fn a_wrong_password_ends_it() {
    let mut run = Run::new(false, true);
    run.connect();
    run.reply("RE_SIGNUP", "log-in", "LF");
    let outputs = run.error("hongyan-client-1", "NOT_LOGGED_IN");
    assert_eq!(end(&outputs), Some(&End::WrongPassword));
    assert_eq!(run.machine.deadline(), None, "it never tries again");
    assert_eq!(done(&run.begin(1, "m")).len(), 1, "and takes no requests");
}

#[test]
fn a_password_that_was_changed_elsewhere_ends_it() {
    let mut run = Run::online();
    run.hear(Input::Lost("gone".into()));
    let outputs = run.sleep();
    assert_eq!(outputs, [Output::Connect]);
    assert_eq!(run.hear(Input::Connected), [Output::LogIn(With::Token)]);
    run.reply("RE_SIGNUP", "log-in", "LF");
    assert_eq!(run.error("hongyan-client-1", "NOT_LOGGED_IN"), [Output::LogIn(With::Password)]);
    run.reply("RE_SIGNUP", "log-in", "LF");
    // The server sends nothing more: the reason is the usual one.
    assert_eq!(end(&run.sleep()), Some(&End::WrongPassword));
}

#[test]
fn a_banned_user_is_told_and_one_with_too_many_tries_waits() {
    let mut run = Run::new(false, true);
    run.connect();
    run.reply("RE_SIGNUP", "log-in", "LF");
    assert!(
        matches!(end(&run.error("log-in", "FORBIDDEN")), Some(End::Forbidden(text)) if text.contains("a sentence"))
    );

    let mut run = Run::new(false, true);
    run.connect();
    run.reply("RE_SIGNUP", "log-in", "LF");
    let outputs = run.error("log-in", "RATE_LIMITED");
    assert!(offline_ms(&outputs) >= 6_000);
    assert_eq!(run.sleep(), [Output::Connect]);
}

#[test]
fn it_ends_when_the_user_is_elsewhere_and_when_the_operator_says_so() {
    for (code, expected) in
        [("REPLACED", End::Replaced), ("FORBIDDEN", End::Forbidden("FORBIDDEN: a sentence".to_owned()))]
    {
        let mut run = Run::online();
        run.begin(1, "m");
        let outputs = run.error("", code);
        assert_eq!(end(&outputs), Some(&expected));
        assert_eq!(done(&outputs), [(1, &Err(Error::Ended(expected.clone())))]);
        assert!(run.hear(Input::Lost("closed".into())).is_empty());
        assert_eq!(run.machine.deadline(), None);
    }
}

#[test]
fn it_comes_back_after_everything_else() {
    for code in ["IDLE", "SHUTTING_DOWN", "UNAVAILABLE", "RATE_LIMITED"] {
        let mut run = Run::online();
        let outputs = run.error("", code);
        assert_eq!(outputs[0], Output::Disconnect, "{code}");
        assert!(offline_ms(&outputs) >= 1_000);
        assert_eq!(run.sleep(), [Output::Connect]);
    }
}

#[test]
fn delays_grow_until_a_connection_holds() {
    let mut run = Run::new(true, false);
    let mut most = 0;
    for _ in 0..12 {
        assert_eq!(run.sleep(), [Output::Connect]);
        most = most.max(offline_ms(&run.hear(Input::Lost("refused".into()))));
    }
    assert!((30_000..=60_000).contains(&most), "{most}");
    let reconnect = |run: &mut Run| {
        run.sleep();
        run.hear(Input::Connected);
        run.reply("RE_SIGNUP", "log-in", "LS");
    };
    reconnect(&mut run);
    assert!(offline_ms(&run.hear(Input::Lost("at once".into()))) >= 30_000, "a log-in alone changes nothing");
    reconnect(&mut run);
    run.now += GOOD_MS;
    assert!(offline_ms(&run.hear(Input::Lost("later".into()))) <= 2_000);
}

#[test]
fn a_heartbeat_every_30_s_and_silence_ends_the_connection() {
    let mut run = Run::online();
    let began = run.now;
    for n in 1..=3 {
        let outputs = run.sleep();
        assert_eq!((sent(&outputs)[0]["TYPE"].as_str(), run.now - began), (Some("0"), n * 30_000));
        run.hear(Input::Heard);
    }
    run.sleep();
    let outputs = run.sleep();
    assert_eq!(outputs[0], Output::Disconnect);
    assert_eq!(run.now - began, 130_000, "10 s after the heartbeat");
}

#[test]
fn a_program_that_reads_nothing_does_not_lose_its_connection() {
    let mut run = Run::online();
    run.sleep();
    run.machine.deaf();
    assert_eq!(sent(&run.sleep())[0]["TYPE"], "0");
}

#[test]
fn a_message_is_sent_again_under_its_id_until_it_is_promised() {
    let mut run = Run::new(true, false);
    assert!(run.begin(1, "m1").is_empty(), "not yet online");
    run.begin(2, "m2");
    run.connect();
    run.machine.take();
    let ids = |outputs: &[Output]| -> Vec<String> {
        sent(outputs).iter().map(|sent| sent["CONTENT"]["messageId"].as_str().unwrap_or("").to_owned()).collect()
    };
    let outputs = run.reply("RE_SIGNUP", "log-in", "LS");
    assert_eq!(ids(&outputs), ["m1", "m2"]);
    assert_eq!(done(&run.reply("RE_MESSAGE", "m2", "MS")), [(2, &Ok(Answer::Taken))]);
    run.hear(Input::Lost("gone".into()));
    run.sleep();
    run.hear(Input::Connected);
    assert_eq!(ids(&run.reply("RE_SIGNUP", "log-in", "LS")), ["m1"]);
    // The store is unavailable: the next try is after 1 to 2 s, and each later one after twice the
    // delay.
    for least in [1_000, 2_000, 4_000] {
        run.reply("RE_MESSAGE", "m1", "MF");
        let before = run.now;
        assert!(done(&run.error("m1", "UNAVAILABLE")).is_empty());
        assert_eq!(ids(&run.sleep()), ["m1"]);
        assert!(run.now - before >= least, "{} after {least}", run.now - before);
    }
    assert_eq!(done(&run.reply("RE_MESSAGE", "m1", "MS")), [(1, &Ok(Answer::Taken))]);
}

#[test]
fn a_message_that_a_server_refuses_because_it_stops_is_sent_to_the_next_one() {
    let mut run = Run::online();
    run.begin(1, "m1");
    run.reply("RE_MESSAGE", "m1", "MF");
    assert!(done(&run.error("m1", "SHUTTING_DOWN")).is_empty());
    run.error("", "SHUTTING_DOWN");
    assert_eq!(run.sleep(), [Output::Connect]);
    run.hear(Input::Connected);
    assert_eq!(sent(&run.reply("RE_SIGNUP", "log-in", "LS"))[0]["CONTENT"]["messageId"], "m1");
}

#[test]
fn what_the_server_refuses_is_told_with_its_cause() {
    let mut run = Run::online();
    run.begin(1, "m1");
    let asked = run.reply("RE_MESSAGE", "m1", "MF");
    assert_eq!(sent(&asked)[0]["TYPE"], "0");
    // Another frame follows: the reason is the usual one.
    assert_eq!(done(&run.reply("RE_HEARTBEAT", "x", "1")), [(1, &Err(Error::NotFriends))]);
    run.begin(2, "m2");
    run.reply("RE_MESSAGE", "m2", "MF");
    let outputs = run.error("m2", "FULL");
    let [(2, Err(error @ Error::Refused(_)))] = done(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(error.what_to_do(), crate::client::WhatToDo::TryLater);
}

#[test]
fn time_ends_a_request_with_the_last_word_about_it() {
    let mut run = Run::online();
    run.begin(1, "m1");
    run.begin(2, "m2");
    run.reply("RE_MESSAGE", "m2", "MF");
    run.error("m2", "UNAVAILABLE");
    run.now += 60_000;
    let outputs = run.tick();
    let results = done(&outputs);
    assert_eq!(results[0], (1, &Err(Error::TimedOut)));
    assert!(matches!(results[1], (2, Err(Error::Refused(_)))));
    assert!(done(&run.reply("RE_MESSAGE", "m1", "MS")).is_empty(), "too late");
}

#[test]
fn what_must_not_be_done_twice_is_not_sent_twice() {
    let mut run = Run::online();
    let request = Request::word("PASSWORD", "p", &json!({"old": "a", "new": "b"})).once();
    run.hear(Input::Begin(1, request.clone()));
    assert_eq!(done(&run.hear(Input::Lost("gone".into()))), [(1, &Err(Error::Unknown))]);
    // A request that was not written can wait.
    assert!(run.hear(Input::Begin(2, request)).is_empty());
    run.sleep();
    run.hear(Input::Connected);
    assert_eq!(sent(&run.reply("RE_SIGNUP", "log-in", "LS")).len(), 1);
    assert_eq!(done(&run.reply("RE_PASSWORD", "p", "changed")), [(2, &Ok(Answer::Text("changed".into())))]);
}

#[test]
fn either_password_may_hold_while_it_is_changed() {
    let mut run = Run::online();
    run.hear(Input::Order(Order::Password(Password::Hash("new".into()))));
    run.hear(Input::Lost("gone".into()));
    run.sleep();
    run.hear(Input::Connected);
    run.reply("RE_SIGNUP", "log-in", "LF");
    assert_eq!(run.error("x", "NOT_LOGGED_IN"), [Output::LogIn(With::NewPassword)]);
    let outputs = run.reply("RE_SIGNUP", "log-in", "LS");
    assert!(outputs.contains(&Output::PasswordIs(With::NewPassword)));
}

#[test]
fn two_requests_with_one_id_wait_for_each_other() {
    let mut run = Run::online();
    let accept = |from: &str| Request::friend("2", "f1", from, "ann", "");
    assert_eq!(sent(&run.hear(Input::Begin(1, accept("bob")))).len(), 1);
    assert!(sent(&run.hear(Input::Begin(2, accept("cy")))).is_empty());
    let outputs = run.reply("RE_FRI_REQ", "f1", "17");
    assert_eq!(done(&outputs), [(1, &Ok(Answer::Time(17)))]);
    assert_eq!(sent(&outputs)[0]["CONTENT"]["sender"], "cy");
    // A request that is to be tried again waits for a newer one with the same id, and the machine
    // is not woken for it all the time.
    run.error("f1", "UNAVAILABLE");
    assert_eq!(sent(&run.hear(Input::Begin(3, accept("dan")))).len(), 1);
    run.now += 5_000;
    assert!(run.tick().is_empty());
    assert!(run.machine.deadline().unwrap() > run.now);
}

#[test]
fn a_push_is_given_once_and_acked_when_it_is_dealt_with() {
    let mut run = Run::online();
    let outputs = run.push("m1", "1");
    let [Output::Push(push)] = &outputs[..] else { panic!("{outputs:?}") };
    assert!(run.push("m1", "1").is_empty(), "sent again while the program has it");
    let done_with = |acked| Input::DoneWith { key: push.key(), message_id: "m1".into(), sender: "bob".into(), acked };
    assert!(run.hear(done_with(false)).is_empty());
    assert_eq!(run.push("m1", "1").len(), 1, "not dealt with: given again");
    let acks = sent(&run.hear(done_with(true)));
    assert_eq!(acks[0], json!({"TYPE": "5", "CONTENT": {"MessageId": "m1", "sender": "bob"}}));
    let again = run.push("m1", "1");
    assert!(matches!(&again[..], [Output::AckAgain(_)]), "a duplicate is acked, too: {again:?}");
    assert!(matches!(run.push("m1", "2")[..], [Output::Push(_)]), "the same id at another time is new");
}

#[test]
fn an_ack_that_cannot_be_sent_is_made_up_for_after_the_reconnect() {
    let mut run = Run::online();
    let outputs = run.push("m1", "1");
    let [Output::Push(push)] = &outputs[..] else { panic!("{outputs:?}") };
    let key = push.key();
    run.hear(Input::Lost("gone".into()));
    assert!(run.hear(Input::DoneWith { key, message_id: "m1".into(), sender: "bob".into(), acked: true }).is_empty());
    run.sleep();
    run.hear(Input::Connected);
    run.reply("RE_SIGNUP", "log-in", "LS");
    assert!(matches!(run.push("m1", "1")[..], [Output::AckAgain(_)]));
}

#[test]
fn presence_is_watched_again_after_a_reconnect() {
    let mut run = Run::online();
    run.hear(Input::Order(Order::Watch));
    run.hear(Input::Lost("gone".into()));
    run.sleep();
    run.hear(Input::Connected);
    let asked = sent(&run.reply("RE_SIGNUP", "log-in", "LS"));
    assert_eq!((&asked[0]["TYPE"], &asked[0]["CONTENT"]["watch"]), (&json!("ROSTER"), &json!(true)));
    let page =
        |more| json!({"friends": [{"userName": "bob", "online": true}], "incoming": [], "outgoing": [], "more": more});
    let outputs = run.frame("RE_ROSTER", &json!({"MessageId": asked[0]["MID"], "Content": page(true)}));
    assert_eq!(outputs[0], Output::Presence("bob".into(), true));
    assert_eq!(sent(&outputs)[0]["CONTENT"]["after"], "bob");
    assert_eq!(
        run.frame("PRESENCE", &json!({"userName": "bob", "online": false})),
        [Output::Presence("bob".into(), false)]
    );
}

#[test]
fn a_refused_request_of_the_library_ends_no_other_one() {
    let mut run = Run::new(false, true);
    run.hear(Input::Order(Order::Watch));
    run.connect();
    let asked = sent(&run.reply("RE_SIGNUP", "log-in", "LS"));
    assert_eq!([&asked[0]["TYPE"], &asked[1]["TYPE"]], ["TOKEN", "ROSTER"]);
    run.error(asked[1]["MID"].as_str().unwrap(), "UNKNOWN_TYPE");
    let outputs = run.reply("RE_TOKEN", asked[0]["MID"].as_str().unwrap(), "secret");
    assert_eq!(outputs, [Output::KeepToken("secret".into())]);
}

#[test]
fn nonsense_of_the_server_harms_nothing() {
    let mut run = Run::online();
    for (kind, id, content) in [
        ("RE_SIGNUP", "log-in", "LF"),
        ("RE_MESSAGE", "unknown", "MF"),
        ("RE_ERROR", "unknown", "FULL: x"),
        ("RE_TOKEN", "hongyan-client-9", "token"),
        ("RE_FRI_REQ", "", "soon"),
        ("RE_WHAT", "x", "y"),
    ] {
        assert!(run.reply(kind, id, content).is_empty(), "{kind}");
    }
    run.hear(Input::Begin(1, Request::friend("1", "f", "ann", "bob", "")));
    assert!(matches!(done(&run.reply("RE_FRI_REQ", "f", "soon"))[..], [(1, Err(Error::BadAnswer(_)))]));
    let outputs = run.hear(Input::Garbage);
    assert_eq!(outputs[0], Output::Disconnect);
    // The client leaves a server on which the user is no longer logged in.
    let mut run = Run::online();
    assert_eq!(run.error("x", "NOT_LOGGED_IN")[0], Output::Disconnect);
    // The same when the server says so after an MF: the message is sent again on the next
    // connection.
    let mut run = Run::online();
    run.begin(1, "m1");
    run.reply("RE_MESSAGE", "m1", "MF");
    let outputs = run.error("m1", "NOT_LOGGED_IN");
    assert_eq!((&outputs[0], done(&outputs).len()), (&Output::Disconnect, 0));
}

#[test]
fn a_log_in_that_is_not_answered_is_tried_on_another_connection() {
    let mut run = Run::new(true, false);
    run.connect();
    run.machine.take();
    let outputs = run.sleep();
    assert_eq!(outputs[0], Output::Disconnect);
    assert_eq!(run.sleep(), [Output::Connect]);
}
