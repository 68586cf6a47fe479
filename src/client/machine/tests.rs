//! The rules of a client on a virtual clock.

use super::*;
use serde_json::Value;
use serde_json::json;

const RULES: ClientMachineSettings = ClientMachineSettings {
    heartbeat_ms: 30_000,
    answer_ms: 10_000,
    request_ms: 60_000,
    retry: Backoff { first_ms: 1_000, max_ms: 60_000 },
    backoff: Backoff { first_ms: 2_000, max_ms: 60_000 },
    seen_max: 4,
};

/// A machine, its clock, and its latest outputs.
struct TestClientMachine {
    machine: ClientMachine,
    now: u64,
}

impl TestClientMachine {
    fn new(has_token: bool, has_password: bool) -> Self {
        Self { machine: ClientMachine::new(RULES, 7, has_token, has_password), now: 1_000_000 }
    }

    /// A machine that is logged in with a token.
    fn online() -> Self {
        let mut run = Self::new(true, true);
        run.connect();
        run.reply("RE_SIGNUP", "log-in", "LS");
        run
    }

    fn connect(&mut self) {
        assert_eq!(self.tick(), [ClientMachineOutput::Connect]);
        self.machine.handle(self.now, ClientMachineInput::Connected);
    }

    fn tick(&mut self) -> Vec<ClientMachineOutput> {
        self.machine.tick(self.now);
        self.machine.take()
    }

    fn handle(&mut self, input: ClientMachineInput) -> Vec<ClientMachineOutput> {
        self.machine.handle(self.now, input);
        self.machine.take()
    }

    fn frame(&mut self, kind: &str, content: &Value) -> Vec<ClientMachineOutput> {
        let frame = ServerFrame::read(&json!({"TYPE": kind, "CONTENT": content}).to_string()).unwrap();
        self.handle(ClientMachineInput::Frame(frame))
    }

    fn reply(&mut self, kind: &str, id: &str, content: &str) -> Vec<ClientMachineOutput> {
        self.frame(kind, &json!({"MessageId": id, "Content": content}))
    }

    fn error(&mut self, id: &str, code: &str) -> Vec<ClientMachineOutput> {
        self.reply("RE_ERROR", id, &format!("{code}: a sentence"))
    }

    fn push(&mut self, id: &str, time: &str) -> Vec<ClientMachineOutput> {
        self.frame("4", &json!({"messageId": id, "sender": "bob", "receiver": "ann", "time": time, "content": "x"}))
    }

    fn begin(&mut self, ticket: ClientMachineTicket, id: &str) -> Vec<ClientMachineOutput> {
        self.handle(ClientMachineInput::Begin(ticket, OutgoingClientRequestFrame::message(id, "ann", "bob", "x")))
    }

    /// Advances the clock until the machine does something at its deadline.
    fn sleep(&mut self) -> Vec<ClientMachineOutput> {
        loop {
            self.now = self.machine.deadline().expect("something is to be done").max(self.now + 1);
            let outputs = self.tick();
            if !outputs.is_empty() {
                return outputs;
            }
        }
    }
}

fn done(outputs: &[ClientMachineOutput]) -> Vec<(ClientMachineTicket, &Result<ClientMachineRequestAnswer, Error>)> {
    let done = outputs.iter().filter_map(|output| match output {
        ClientMachineOutput::Done(ticket, result) => Some((*ticket, result)),
        _ => None,
    });
    done.collect()
}

fn sent(outputs: &[ClientMachineOutput]) -> Vec<Value> {
    let sent = outputs.iter().filter_map(|output| match output {
        ClientMachineOutput::Send(text) | ClientMachineOutput::AckAgain(text) => serde_json::from_str(text).ok(),
        _ => None,
    });
    sent.collect()
}

fn end(outputs: &[ClientMachineOutput]) -> Option<&ClientEndReason> {
    outputs.iter().find_map(|output| match output {
        ClientMachineOutput::Connection(ConnectionToServerState::Ended(end)) => Some(end),
        _ => None,
    })
}

fn offline_ms(outputs: &[ClientMachineOutput]) -> u64 {
    let delay = outputs.iter().find_map(|output| match output {
        ClientMachineOutput::Connection(ConnectionToServerState::Offline { retry_in, .. }) => {
            u64::try_from(retry_in.as_millis()).ok()
        }
        _ => None,
    });
    delay.expect("it is offline")
}

#[test]
fn a_token_is_tried_first_and_the_password_after_it() {
    let mut run = TestClientMachine::new(true, true);
    run.connect();
    assert_eq!(run.machine.take(), [ClientMachineOutput::LogIn(ClientCredentialChoice::Token)]);
    let asked = run.reply("RE_SIGNUP", "log-in", "LF");
    assert_eq!(sent(&asked)[0]["TYPE"], "0", "a heartbeat brings the cause to light");
    assert_eq!(
        run.error("hongyan-client-1", "NOT_LOGGED_IN"),
        [ClientMachineOutput::LogIn(ClientCredentialChoice::Password)]
    );
    let outputs = run.reply("RE_SIGNUP", "log-in", "LS");
    assert_eq!(outputs[0], ClientMachineOutput::Connection(ConnectionToServerState::Online));
    let token = &sent(&outputs)[0];
    assert_eq!((token["TYPE"].as_str(), token["CONTENT"]["want"].as_str()), (Some("TOKEN"), Some("new")));
    let id = token["MID"].as_str().unwrap();
    assert_eq!(run.reply("RE_TOKEN", id, "secret"), [ClientMachineOutput::KeepToken("secret".into())]);
}

#[test]
fn a_token_that_is_too_large_for_a_log_in_is_not_sent_again() {
    let mut run = TestClientMachine::new(true, true);
    run.connect();
    assert_eq!(run.machine.take(), [ClientMachineOutput::LogIn(ClientCredentialChoice::Token)]);
    run.error("", "TOO_LARGE");
    assert_eq!(run.sleep(), [ClientMachineOutput::Connect]);
    assert_eq!(
        run.handle(ClientMachineInput::Connected),
        [ClientMachineOutput::LogIn(ClientCredentialChoice::Password)]
    );
}

#[test]
fn a_wrong_password_ends_it() {
    let mut run = TestClientMachine::new(false, true);
    run.connect();
    run.reply("RE_SIGNUP", "log-in", "LF");
    let outputs = run.error("hongyan-client-1", "NOT_LOGGED_IN");
    assert_eq!(end(&outputs), Some(&ClientEndReason::WrongPassword));
    assert_eq!(run.machine.deadline(), None, "it never tries again");
    assert_eq!(done(&run.begin(1, "m")).len(), 1, "and takes no requests");
}

#[test]
fn a_password_that_was_changed_elsewhere_ends_it() {
    let mut run = TestClientMachine::online();
    run.handle(ClientMachineInput::Lost("gone".into()));
    let outputs = run.sleep();
    assert_eq!(outputs, [ClientMachineOutput::Connect]);
    assert_eq!(run.handle(ClientMachineInput::Connected), [ClientMachineOutput::LogIn(ClientCredentialChoice::Token)]);
    run.reply("RE_SIGNUP", "log-in", "LF");
    assert_eq!(
        run.error("hongyan-client-1", "NOT_LOGGED_IN"),
        [ClientMachineOutput::LogIn(ClientCredentialChoice::Password)]
    );
    run.reply("RE_SIGNUP", "log-in", "LF");
    // The server sends nothing more: the reason is the usual one.
    assert_eq!(end(&run.sleep()), Some(&ClientEndReason::WrongPassword));
}

#[test]
fn a_banned_user_is_told_and_one_with_too_many_tries_waits() {
    let mut run = TestClientMachine::new(false, true);
    run.connect();
    run.reply("RE_SIGNUP", "log-in", "LF");
    assert!(
        matches!(end(&run.error("log-in", "FORBIDDEN")), Some(ClientEndReason::Forbidden(text)) if text.contains("a sentence"))
    );

    let mut run = TestClientMachine::new(false, true);
    run.connect();
    run.reply("RE_SIGNUP", "log-in", "LF");
    let outputs = run.error("log-in", "RATE_LIMITED");
    assert!(offline_ms(&outputs) >= 6_000);
    assert_eq!(run.sleep(), [ClientMachineOutput::Connect]);
}

#[test]
fn it_ends_when_the_user_is_elsewhere_and_when_the_operator_says_so() {
    for (code, expected) in [
        ("REPLACED", ClientEndReason::Replaced),
        ("FORBIDDEN", ClientEndReason::Forbidden("FORBIDDEN: a sentence".to_owned())),
    ] {
        let mut run = TestClientMachine::online();
        run.begin(1, "m");
        let outputs = run.error("", code);
        assert_eq!(end(&outputs), Some(&expected));
        assert_eq!(done(&outputs), [(1, &Err(Error::Ended(expected.clone())))]);
        assert!(run.handle(ClientMachineInput::Lost("closed".into())).is_empty());
        assert_eq!(run.machine.deadline(), None);
    }
}

#[test]
fn it_comes_back_after_everything_else() {
    for code in ["IDLE", "SHUTTING_DOWN", "UNAVAILABLE", "RATE_LIMITED"] {
        let mut run = TestClientMachine::online();
        let outputs = run.error("", code);
        assert_eq!(outputs[0], ClientMachineOutput::Disconnect, "{code}");
        assert!(offline_ms(&outputs) >= 1_000);
        assert_eq!(run.sleep(), [ClientMachineOutput::Connect]);
    }
}

#[test]
fn delays_grow_until_a_connection_holds() {
    let mut run = TestClientMachine::new(true, false);
    let mut most = 0;
    for _ in 0..12 {
        assert_eq!(run.sleep(), [ClientMachineOutput::Connect]);
        most = most.max(offline_ms(&run.handle(ClientMachineInput::Lost("refused".into()))));
    }
    assert!((30_000..=60_000).contains(&most), "{most}");
    let reconnect = |run: &mut TestClientMachine| {
        run.sleep();
        run.handle(ClientMachineInput::Connected);
        run.reply("RE_SIGNUP", "log-in", "LS");
    };
    reconnect(&mut run);
    assert!(
        offline_ms(&run.handle(ClientMachineInput::Lost("at once".into()))) >= 30_000,
        "a log-in alone changes nothing"
    );
    reconnect(&mut run);
    run.now += GOOD_MS;
    assert!(offline_ms(&run.handle(ClientMachineInput::Lost("later".into()))) <= 2_000);
}

#[test]
fn a_heartbeat_every_30_s_and_silence_ends_the_connection() {
    let mut run = TestClientMachine::online();
    let began = run.now;
    for n in 1..=3 {
        let outputs = run.sleep();
        assert_eq!((sent(&outputs)[0]["TYPE"].as_str(), run.now - began), (Some("0"), n * 30_000));
        run.handle(ClientMachineInput::Bytes);
    }
    run.sleep();
    let outputs = run.sleep();
    assert_eq!(outputs[0], ClientMachineOutput::Disconnect);
    assert_eq!(run.now - began, 130_000, "10 s after the heartbeat");
}

#[test]
fn a_program_that_reads_nothing_does_not_lose_its_connection() {
    let mut run = TestClientMachine::online();
    run.sleep();
    run.machine.deaf();
    assert_eq!(sent(&run.sleep())[0]["TYPE"], "0");
}

#[test]
fn a_message_is_sent_again_under_its_id_until_it_is_promised() {
    let mut run = TestClientMachine::new(true, false);
    assert!(run.begin(1, "m1").is_empty(), "not yet online");
    run.begin(2, "m2");
    run.connect();
    run.machine.take();
    let ids = |outputs: &[ClientMachineOutput]| -> Vec<String> {
        sent(outputs).iter().map(|sent| sent["CONTENT"]["messageId"].as_str().unwrap_or("").to_owned()).collect()
    };
    let outputs = run.reply("RE_SIGNUP", "log-in", "LS");
    assert_eq!(ids(&outputs), ["m1", "m2"]);
    assert_eq!(done(&run.reply("RE_MESSAGE", "m2", "MS")), [(2, &Ok(ClientMachineRequestAnswer::Taken))]);
    run.handle(ClientMachineInput::Lost("gone".into()));
    run.sleep();
    run.handle(ClientMachineInput::Connected);
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
    assert_eq!(done(&run.reply("RE_MESSAGE", "m1", "MS")), [(1, &Ok(ClientMachineRequestAnswer::Taken))]);
}

#[test]
fn a_message_that_a_server_refuses_because_it_stops_is_sent_to_the_next_one() {
    let mut run = TestClientMachine::online();
    run.begin(1, "m1");
    run.reply("RE_MESSAGE", "m1", "MF");
    assert!(done(&run.error("m1", "SHUTTING_DOWN")).is_empty());
    run.error("", "SHUTTING_DOWN");
    assert_eq!(run.sleep(), [ClientMachineOutput::Connect]);
    run.handle(ClientMachineInput::Connected);
    assert_eq!(sent(&run.reply("RE_SIGNUP", "log-in", "LS"))[0]["CONTENT"]["messageId"], "m1");
}

#[test]
fn a_refusal_of_the_server_is_told_with_its_cause() {
    let mut run = TestClientMachine::online();
    run.begin(1, "m1");
    let asked = run.reply("RE_MESSAGE", "m1", "MF");
    assert_eq!(sent(&asked)[0]["TYPE"], "0");
    // Another frame follows: the reason is the usual one.
    assert_eq!(done(&run.reply("RE_HEARTBEAT", "x", "1")), [(1, &Err(Error::NotFriends))]);
    run.begin(2, "m2");
    run.reply("RE_MESSAGE", "m2", "MF");
    let outputs = run.error("m2", "FULL");
    let [(2, Err(error @ Error::Refused(_)))] = done(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(error.recommended_action(), crate::client::RecommendedAction::TryLater);
}

#[test]
fn time_ends_a_request_with_the_last_word_about_it() {
    let mut run = TestClientMachine::online();
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
fn a_request_that_is_not_repeatable_is_not_sent_twice() {
    let mut run = TestClientMachine::online();
    let request = OutgoingClientRequestFrame::word("PASSWORD", "p", &json!({"old": "a", "new": "b"})).not_repeatable();
    run.handle(ClientMachineInput::Begin(1, request.clone()));
    assert_eq!(done(&run.handle(ClientMachineInput::Lost("gone".into()))), [(1, &Err(Error::Unknown))]);
    // A request that was not written can wait.
    assert!(run.handle(ClientMachineInput::Begin(2, request)).is_empty());
    run.sleep();
    run.handle(ClientMachineInput::Connected);
    assert_eq!(sent(&run.reply("RE_SIGNUP", "log-in", "LS")).len(), 1);
    assert_eq!(
        done(&run.reply("RE_PASSWORD", "p", "changed")),
        [(2, &Ok(ClientMachineRequestAnswer::Text("changed".into())))]
    );
}

#[test]
fn either_password_may_hold_while_it_is_changed() {
    let mut run = TestClientMachine::online();
    run.handle(ClientMachineInput::Order(ProgramOrderToClientMachine::Password(ClientPassword::Hash("new".into()))));
    run.handle(ClientMachineInput::Lost("gone".into()));
    run.sleep();
    run.handle(ClientMachineInput::Connected);
    run.reply("RE_SIGNUP", "log-in", "LF");
    assert_eq!(run.error("x", "NOT_LOGGED_IN"), [ClientMachineOutput::LogIn(ClientCredentialChoice::NewPassword)]);
    let outputs = run.reply("RE_SIGNUP", "log-in", "LS");
    assert!(outputs.contains(&ClientMachineOutput::PasswordIs(ClientCredentialChoice::NewPassword)));
}

#[test]
fn two_requests_with_one_id_wait_for_each_other() {
    let mut run = TestClientMachine::online();
    let accept = |from: &str| OutgoingClientRequestFrame::friend("2", "f1", from, "ann", "");
    assert_eq!(sent(&run.handle(ClientMachineInput::Begin(1, accept("bob")))).len(), 1);
    assert!(sent(&run.handle(ClientMachineInput::Begin(2, accept("cy")))).is_empty());
    let outputs = run.reply("RE_FRI_REQ", "f1", "17");
    assert_eq!(done(&outputs), [(1, &Ok(ClientMachineRequestAnswer::Time(17)))]);
    assert_eq!(sent(&outputs)[0]["CONTENT"]["sender"], "cy");
    // A request that is to be tried again waits for a newer one with the same id, and the machine
    // is not woken for it all the time.
    run.error("f1", "UNAVAILABLE");
    assert_eq!(sent(&run.handle(ClientMachineInput::Begin(3, accept("dan")))).len(), 1);
    run.now += 5_000;
    assert!(run.tick().is_empty());
    assert!(run.machine.deadline().unwrap() > run.now);
}

#[test]
fn a_push_is_given_once_and_acked_when_it_is_dealt_with() {
    let mut run = TestClientMachine::online();
    let outputs = run.push("m1", "1");
    let [ClientMachineOutput::Push(push)] = &outputs[..] else { panic!("{outputs:?}") };
    assert!(run.push("m1", "1").is_empty(), "sent again while the program has it");
    let done_with =
        |acked| ClientMachineInput::DoneWith { key: push.key(), message_id: "m1".into(), sender: "bob".into(), acked };
    assert!(run.handle(done_with(false)).is_empty());
    assert_eq!(run.push("m1", "1").len(), 1, "not dealt with: given again");
    let acks = sent(&run.handle(done_with(true)));
    assert_eq!(acks[0], json!({"TYPE": "5", "CONTENT": {"MessageId": "m1", "sender": "bob"}}));
    let again = run.push("m1", "1");
    assert!(matches!(&again[..], [ClientMachineOutput::AckAgain(_)]), "a duplicate is acked, too: {again:?}");
    assert!(matches!(run.push("m1", "2")[..], [ClientMachineOutput::Push(_)]), "the same id at another time is new");
}

#[test]
fn an_ack_that_cannot_be_sent_is_made_up_for_after_the_reconnect() {
    let mut run = TestClientMachine::online();
    let outputs = run.push("m1", "1");
    let [ClientMachineOutput::Push(push)] = &outputs[..] else { panic!("{outputs:?}") };
    let key = push.key();
    run.handle(ClientMachineInput::Lost("gone".into()));
    assert!(
        run.handle(ClientMachineInput::DoneWith { key, message_id: "m1".into(), sender: "bob".into(), acked: true })
            .is_empty()
    );
    run.sleep();
    run.handle(ClientMachineInput::Connected);
    run.reply("RE_SIGNUP", "log-in", "LS");
    assert!(matches!(run.push("m1", "1")[..], [ClientMachineOutput::AckAgain(_)]));
}

#[test]
fn presence_is_watched_again_after_a_reconnect() {
    let mut run = TestClientMachine::online();
    run.handle(ClientMachineInput::Order(ProgramOrderToClientMachine::Watch));
    run.handle(ClientMachineInput::Lost("gone".into()));
    run.sleep();
    run.handle(ClientMachineInput::Connected);
    let asked = sent(&run.reply("RE_SIGNUP", "log-in", "LS"));
    assert_eq!((&asked[0]["TYPE"], &asked[0]["CONTENT"]["watch"]), (&json!("ROSTER"), &json!(true)));
    let page =
        |more| json!({"friends": [{"userName": "bob", "online": true}], "incoming": [], "outgoing": [], "more": more});
    let outputs = run.frame("RE_ROSTER", &json!({"MessageId": asked[0]["MID"], "Content": page(true)}));
    assert_eq!(outputs[0], ClientMachineOutput::Presence("bob".into(), true));
    assert_eq!(sent(&outputs)[0]["CONTENT"]["after"], "bob");
    assert_eq!(
        run.frame("PRESENCE", &json!({"userName": "bob", "online": false})),
        [ClientMachineOutput::Presence("bob".into(), false)]
    );
}

#[test]
fn a_refused_request_of_the_library_ends_no_other_one() {
    let mut run = TestClientMachine::new(false, true);
    run.handle(ClientMachineInput::Order(ProgramOrderToClientMachine::Watch));
    run.connect();
    let asked = sent(&run.reply("RE_SIGNUP", "log-in", "LS"));
    assert_eq!([&asked[0]["TYPE"], &asked[1]["TYPE"]], ["TOKEN", "ROSTER"]);
    run.error(asked[1]["MID"].as_str().unwrap(), "UNKNOWN_TYPE");
    let outputs = run.reply("RE_TOKEN", asked[0]["MID"].as_str().unwrap(), "secret");
    assert_eq!(outputs, [ClientMachineOutput::KeepToken("secret".into())]);
}

#[test]
fn nonsense_of_the_server_harms_nothing() {
    let mut run = TestClientMachine::online();
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
    run.handle(ClientMachineInput::Begin(1, OutgoingClientRequestFrame::friend("1", "f", "ann", "bob", "")));
    assert!(matches!(done(&run.reply("RE_FRI_REQ", "f", "soon"))[..], [(1, Err(Error::BadAnswer(_)))]));
    let outputs = run.handle(ClientMachineInput::Garbage);
    assert_eq!(outputs[0], ClientMachineOutput::Disconnect);
    // The client leaves a server on which the user is no longer logged in.
    let mut run = TestClientMachine::online();
    assert_eq!(run.error("x", "NOT_LOGGED_IN")[0], ClientMachineOutput::Disconnect);
    // The same when the server says so after an MF: the message is sent again on the next
    // connection.
    let mut run = TestClientMachine::online();
    run.begin(1, "m1");
    run.reply("RE_MESSAGE", "m1", "MF");
    let outputs = run.error("m1", "NOT_LOGGED_IN");
    assert_eq!((&outputs[0], done(&outputs).len()), (&ClientMachineOutput::Disconnect, 0));
}

#[test]
fn a_log_in_that_is_not_answered_is_tried_on_another_connection() {
    let mut run = TestClientMachine::new(true, false);
    run.connect();
    run.machine.take();
    let outputs = run.sleep();
    assert_eq!(outputs[0], ClientMachineOutput::Disconnect);
    assert_eq!(run.sleep(), [ClientMachineOutput::Connect]);
}
