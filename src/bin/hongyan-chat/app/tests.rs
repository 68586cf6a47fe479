use super::*;
use crate::message::{ChatHistoryMessage, ChatHistoryMessageState, KeyTrust, MessageEncryptionStatus};
use crate::session_messages::{ChatContactListSnapshot, ChatSessionEvent};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

fn app() -> ChatApp {
    let mut app = ChatApp::new("ann", "server", 0);
    app.on_event(ChatSessionEvent::Link(ServerLinkStatus::Here));
    let friend = |name: &str| ChatContactListFriend { name: name.into(), nick: String::new(), is_online: false };
    app.on_event(ChatSessionEvent::Roster(ChatContactListSnapshot {
        friends: vec![friend("bob"), friend("zoe")],
        incoming: vec![ask("carl")],
        outgoing: vec![ask("dora")],
    }));
    app
}

fn ask(name: &str) -> ChatContactListFriendRequest {
    ChatContactListFriendRequest { name: name.into(), id: format!("of {name}"), text: format!("words of {name}") }
}

fn press(app: &mut ChatApp, code: KeyCode) -> Vec<ChatSessionCommand> {
    app.on_key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn control(app: &mut ChatApp, letter: char) -> Vec<ChatSessionCommand> {
    app.on_key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
}

fn enter(app: &mut ChatApp, line: &str) -> Vec<ChatSessionCommand> {
    app.focus = Focus::Chat;
    line.chars().for_each(|char| drop(press(app, KeyCode::Char(char))));
    press(app, KeyCode::Enter)
}

fn secret_of(text: &str) -> Secret {
    text.to_owned().into()
}

fn received(with: &str, time: u64) -> ChatSessionEvent {
    let (id, text) = (time.to_string(), format!("text {time}"));
    ChatSessionEvent::Message(ChatHistoryMessage {
        with: with.into(),
        id,
        time,
        text,
        way: ChatHistoryMessageState::Received,
        seal: MessageEncryptionStatus::Sealed,
    })
}

#[test]
fn a_line_becomes_a_message_and_two_slashes_one() {
    let mut app = app();
    assert!(enter(&mut app, "hello").is_empty() && app.status_line.0.contains("no chat is open"));
    app.list_editor.clear();
    assert_eq!(app.enter("bob"), [ChatSessionCommand::LookAt("bob".into())]);
    let send = |text: &str| vec![ChatSessionCommand::Send { to: "bob".into(), text: text.into() }];
    assert_eq!(enter(&mut app, "hello"), send("hello"));
    assert_eq!(enter(&mut app, "//etc"), send("/etc"));
    assert!(enter(&mut app, "   ").is_empty());
    app.editor_mut().clear();
    app.paste("two\nlines\n/quit");
    assert_eq!(press(&mut app, KeyCode::Enter), send("two\nlines\n/quit"), "pasted text is not typed");
    assert!(app.editor().is_empty() && !app.has_quit);
}

#[test]
fn changed_keys_stop_a_chat_until_the_user_agrees() {
    let mut app = app();
    app.enter("bob");
    let changed = KeyTrust::Changed { safety: "1 2".into(), keys: "new".into() };
    for (trust, keys) in [(changed, "new"), (KeyTrust::Gone, "")] {
        app.on_event(ChatSessionEvent::Trust { name: "bob".into(), trust });
        assert!(enter(&mut app, "hello").is_empty() && app.status_line.1, "nothing is sent");
        assert!(app.editor().is_empty(), "there is room for the command");
        assert!(enter(&mut app, "/agree").is_empty(), "it asks first");
        let Some(Popup::Confirm { question, .. }) = &app.popup else { panic!() };
        assert_eq!(question.contains("1 2"), keys == "new", "with the number of these keys: {question}");
        // The keys have changed meanwhile: the answer is about those that were shown.
        let other = KeyTrust::Changed { safety: "3 4".into(), keys: "other".into() };
        app.on_event(ChatSessionEvent::Trust { name: "bob".into(), trust: other });
        let agree = ChatSessionCommand::Agree { name: "bob".into(), keys: keys.into() };
        assert_eq!(press(&mut app, KeyCode::Char('y')), [agree]);
    }
    app.on_event(ChatSessionEvent::Trust { name: "bob".into(), trust: KeyTrust::Pinned { safety: "1 2".into() } });
    let send = |text: &str| vec![ChatSessionCommand::Send { to: "bob".into(), text: text.into() }];
    for _ in 0..2 {
        assert_eq!(app.editor().text(), "hello", "nothing is lost");
        assert_eq!(press(&mut app, KeyCode::Enter), send("hello"));
    }
    assert!(app.editor().is_empty() && enter(&mut app, "/agree").is_empty());
    app.on_event(ChatSessionEvent::Trust { name: "bob".into(), trust: KeyTrust::CannotSeal });
    assert!(enter(&mut app, "hello").is_empty());
}

#[test]
fn a_text_that_is_not_sent_comes_back() {
    let mut app = app();
    app.enter("bob");
    enter(&mut app, "half a sentence");
    let reason = "the disk is full".to_owned();
    app.on_event(ChatSessionEvent::NotKept { with: "bob".into(), text: "/etc".into(), reason });
    assert_eq!((app.editor().text(), app.status_line.1), ("//etc", true), "as it was entered");
    // A command from the list does not delete the text that is being written.
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Char('/'));
    assert_eq!(app.editor().text(), "/");
    enter(&mut app, "safety");
    assert_eq!(app.editor().text(), "//etc");
    let system = "system".to_owned();
    app.enter(&system);
    assert!(enter(&mut app, "why?").is_empty() && app.editor().text() == "why?", "nothing would bring it back");
}

#[test]
fn a_sentence_goes_after_a_while_and_a_warning_once_the_user_is_there() {
    let mut app = app();
    app.on_event(ChatSessionEvent::Said("bob was asked".into()));
    assert!(!app.on_time_passed(SAID_FOR / 2) && app.on_time_passed(SAID_FOR / 2) && app.status_line.0.is_empty());
    app.on_event(ChatSessionEvent::Warned("the disk is full".into()));
    assert!(!app.on_time_passed(SAID_FOR * 9) && !app.status_line.0.is_empty());
    press(&mut app, KeyCode::Down);
    assert!(!app.on_time_passed(SAID_FOR / 2) && app.on_time_passed(SAID_FOR) && app.status_line.0.is_empty());
    assert!(!app.on_time_passed(SAID_FOR));
}

#[test]
fn text_typed_over_a_window_is_a_command_or_nothing() {
    let mut app = app();
    let mut typed = |line: &str| {
        assert!(press(&mut app, KeyCode::Enter).is_empty() && matches!(app.popup, Some(Popup::Text { .. })), "{line}");
        let orders = line.chars().flat_map(|char| press(&mut app, KeyCode::Char(char))).collect::<Vec<_>>();
        let entered = press(&mut app, KeyCode::Enter);
        assert!(orders.is_empty() && app.popup.is_none(), "{line}: {orders:?}");
        app.focus = Focus::List;
        entered
    };
    // With letters that are shortcuts of the list, and a space.
    assert_eq!(typed("/accept carl"), [ChatSessionCommand::Answer { ask: ask("carl"), is_accepted: true }]);
    assert_eq!(typed("/request zed hi"), [ChatSessionCommand::Ask { name: "zed".into(), text: "hi".into() }]);
    assert_eq!(typed("q reject b d"), [], "Enter closes it");
}

#[test]
fn requests_are_answered_from_the_list() {
    let mut app = app();
    assert_eq!(app.current_row(), Some(ChatContactListRow::Asks("carl".into())));
    assert!(press(&mut app, KeyCode::Enter).is_empty());
    let Some(Popup::Text { text, .. }) = &app.popup else { panic!() };
    assert!(text.contains("words of carl") && text.contains("/accept carl or /reject carl"), "{text}");
    press(&mut app, KeyCode::Esc);
    assert_eq!(
        press(&mut app, KeyCode::Char('a')),
        [ChatSessionCommand::Answer { ask: ask("carl"), is_accepted: true }]
    );
    assert_eq!(
        press(&mut app, KeyCode::Char('r')),
        [ChatSessionCommand::Answer { ask: ask("carl"), is_accepted: false }]
    );
    press(&mut app, KeyCode::End);
    assert_eq!(press(&mut app, KeyCode::Char('w')), [ChatSessionCommand::Withdraw(ask("dora"))]);
    assert!(press(&mut app, KeyCode::Char('a')).is_empty(), "a sent request cannot be accepted");
    press(&mut app, KeyCode::Up);
    assert_eq!(app.current_row(), Some(ChatContactListRow::Friend("zoe".into())));
    assert!(press(&mut app, KeyCode::Char('b')).is_empty());
    assert!(press(&mut app, KeyCode::Char('x')).is_empty() && app.popup.is_some(), "a question waits for y or n");
    assert_eq!(press(&mut app, KeyCode::Char('y')), [ChatSessionCommand::Block("zoe".into())]);
    press(&mut app, KeyCode::Char('d'));
    assert!(press(&mut app, KeyCode::Char('n')).is_empty() && app.popup.is_none());
    app.on_event(ChatSessionEvent::Asked(ask("emil")));
    assert!(app.status_line.0.contains("/accept emil or /reject emil"), "{}", app.status_line.0);
    app.on_event(ChatSessionEvent::Asked(ask("emil")));
    assert_eq!(app.incoming.iter().filter(|ask| ask.name == "emil").count(), 1);
    assert_eq!(enter(&mut app, "/reject emil"), [ChatSessionCommand::Answer { ask: ask("emil"), is_accepted: false }]);
    let asks = ChatSessionCommand::Ask { name: "fred".into(), text: "it's Ann".into() };
    assert_eq!(enter(&mut app, "/request fred it's Ann"), [asks]);
}

#[test]
fn only_messages_in_sight_become_read() {
    let mut app = app();
    app.on_event(received("bob", 5));
    assert_eq!(app.chats["bob"].unread, 1);
    let saw = |time| ChatSessionCommand::Saw { with: "bob".into(), time };
    assert_eq!(control(&mut app, 'n'), [ChatSessionCommand::LookAt("bob".into()), saw(5)]);
    assert_eq!(app.on_event(received("bob", 6)), [saw(6)]);
    press(&mut app, KeyCode::Tab);
    assert!(app.on_event(received("bob", 7)).is_empty());
    assert_eq!(press(&mut app, KeyCode::Tab), [saw(7)]);
    assert!(enter(&mut app, "/search text").is_empty());
    assert!(app.on_event(received("bob", 8)).is_empty(), "not during a search");
    assert_eq!(press(&mut app, KeyCode::Esc), [saw(8)]);
}

#[test]
fn all_that_failed_is_sent_again_under_its_id() {
    let mut app = app();
    app.enter("bob");
    for id in 1..4_u64 {
        let way = if id == 2 { ChatHistoryMessageState::Safe } else { ChatHistoryMessageState::Failed("FULL".into()) };
        let (with, text) = ("bob".into(), String::new());
        app.on_event(ChatSessionEvent::Message(ChatHistoryMessage {
            with,
            id: id.to_string(),
            time: id,
            text,
            way,
            seal: MessageEncryptionStatus::Sealed,
        }));
    }
    let again = |id: &str| ChatSessionCommand::Retry { with: "bob".into(), id: id.into() };
    assert_eq!(enter(&mut app, "/retry"), [again("1"), again("3")]);
    assert!(control(&mut app, 'r').is_empty(), "they are on their way");
    app.on_event(ChatSessionEvent::Became {
        with: "bob".into(),
        id: "3".into(),
        way: ChatHistoryMessageState::Failed("FULL".into()),
    });
    assert_eq!(control(&mut app, 'r'), [again("3")]);
}

#[test]
fn a_secret_goes_where_it_was_asked_for() {
    let mut app = app();
    let secret = |app: &mut ChatApp, text: &str| {
        app.paste(text);
        press(app, KeyCode::Enter)
    };
    enter(&mut app, "/export my keys");
    let good = "twelve chars";
    assert!(secret(&mut app, good).is_empty());
    let order = ChatSessionCommand::Export { file: "my keys".into(), passphrase: secret_of(good) };
    assert_eq!(secret(&mut app, good), std::slice::from_ref(&order));
    enter(&mut app, "/export my keys");
    // A secret that cannot be used is asked for again, and goes nowhere else.
    for (text, label) in [
        ("", "A passphrase"),
        ("elevenchars", "at least 12"),
        (good, "again"),
        ("twelve other", "not the same"),
        (good, "again"),
    ] {
        assert!(secret(&mut app, text).is_empty());
        let Some(Popup::Secret { label: shown, .. }) = &app.popup else { panic!("{text}") };
        assert!(shown.contains(label), "{shown}");
    }
    let shown = ChatSessionEvent::Shown { title: "Profile".into(), text: "of bob".into() };
    app.on_event(shown);
    assert!(matches!(app.popup, Some(Popup::Secret { .. })), "an answer does not take its place");
    assert_eq!(secret(&mut app, good), [order]);
    assert!(matches!(app.popup, Some(Popup::Text { .. })));
    press(&mut app, KeyCode::Esc);
    enter(&mut app, "/password");
    for text in ["old", "new", "other", "new"] {
        assert!(secret(&mut app, text).is_empty() && app.popup.is_some());
    }
    assert_eq!(
        secret(&mut app, "new"),
        [ChatSessionCommand::Password { old: secret_of("old"), new: secret_of("new") }]
    );
    enter(&mut app, "/password");
    app.paste("old-one");
    assert!(!format!("{app:?}").contains("old-one"), "nor is it in what is printed of the state");
    press(&mut app, KeyCode::Enter);
    assert!(!format!("{app:?}").contains("old-one"));
    press(&mut app, KeyCode::Esc);
    enter(&mut app, "/delete-account");
    assert!(secret(&mut app, "").is_empty() && app.popup.is_some());
}

#[test]
fn the_end_is_said_and_the_way_out_always_works() {
    for letter in ['q', 'c'] {
        let mut app = app();
        press(&mut app, KeyCode::F(1));
        assert_eq!(control(&mut app, letter), [ChatSessionCommand::Quit]);
        assert!(app.has_quit && app.end_reason.is_none());
    }
    let mut app = app();
    app.on_event(ChatSessionEvent::Ended { reason: "wrong\npassword".into(), is_refused: true });
    assert_eq!((app.has_quit, app.end_reason), (true, Some(("wrong⏎password".into(), true))));
    let mut app = self::app();
    app.on_event(ChatSessionEvent::Link(ServerLinkStatus::Over("the user logged in elsewhere".into())));
    assert!(!app.has_quit && app.status_line.0.contains("/connect"));
    assert_eq!(enter(&mut app, "/connect"), [ChatSessionCommand::Connect]);
}

#[test]
fn the_list_keeps_its_place_while_others_come_and_go() {
    let mut app = app();
    app.select("zoe");
    app.on_event(received("yan", 1));
    assert_eq!(app.current_row(), Some(ChatContactListRow::Friend("zoe".into())));
    assert!(app.rows().contains(&ChatContactListRow::Other("yan".into())), "no friend, but there are messages");
    app.on_event(ChatSessionEvent::Roster(ChatContactListSnapshot::default()));
    assert_eq!(app.current_row(), Some(ChatContactListRow::Other("yan".into())));
}
