use super::*;
use crate::app::ChatApp;
use crate::message::{ChatHistoryMessage, ChatHistoryMessageState, KeyTrust, MessageEncryptionStatus};
use crate::session_messages::{
    ChatContactListFriend, ChatContactListFriendRequest, ChatContactListSnapshot, ChatSessionEvent, ServerLinkStatus,
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use hongyan::safe_text::is_shown;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const ODD: &str = "e\u{1b}[31mvil\u{9b}2J\u{202e}\u{2066}\0\u{7f}\r鸿雁🪿e\u{301}\u{301}\u{200d}\u{feff}\u{e000}";

fn drawn(app: &ChatApp, look: TextTheme) -> Vec<String> {
    let (width, height) = app.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(app, look, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
    (0..height).map(row).collect()
}

fn shows(app: &ChatApp, what: &str) -> bool {
    drawn(app, TextTheme::default()).join("\n").contains(what)
}

fn message(id: u64, way: ChatHistoryMessageState, text: &str) -> ChatHistoryMessage {
    let time = 1_764_230_400_000 + id * 60_000;
    ChatHistoryMessage {
        with: "bob".into(),
        id: id.to_string(),
        time,
        text: text.into(),
        way,
        seal: MessageEncryptionStatus::Sealed,
    }
}

fn app(name: &str) -> ChatApp {
    let mut app = ChatApp::new("ann", "tcp://127.0.0.1:1102", 0);
    app.on_event(ChatSessionEvent::Link(ServerLinkStatus::Here));
    let friend =
        |name: &str| ChatContactListFriend { name: name.into(), nick: format!("Nick {name}"), is_online: true };
    app.on_event(ChatSessionEvent::Roster(ChatContactListSnapshot {
        friends: vec![friend(name), friend("zoe")],
        incoming: vec![ChatContactListFriendRequest { name: "carl".into(), id: "7".into(), text: String::new() }],
        outgoing: vec![ChatContactListFriendRequest { name: "dora".into(), id: "8".into(), text: String::new() }],
    }));
    app
}

fn press(app: &mut ChatApp, code: KeyCode) {
    app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
}

#[test]
fn friends_requests_and_a_chat_stand_beside_each_other() {
    let mut app = app("bob");
    app.on_event(ChatSessionEvent::Message(message(1, ChatHistoryMessageState::Received, "Hello Ann")));
    assert!(shows(&app, "bob") && shows(&app, "(1)") && shows(&app, "1 unread") && shows(&app, "connected"));
    assert!(shows(&app, "Choose in the list, Enter opens"));
    assert!(shows(&app, "carl") && shows(&app, "asks") && shows(&app, "dora") && shows(&app, "asked"));
    app.enter("bob");
    app.on_event(ChatSessionEvent::Trust { name: "bob".into(), trust: KeyTrust::Pinned { safety: "1 2 3".into() } });
    app.on_event(ChatSessionEvent::Message(message(2, ChatHistoryMessageState::Safe, "Hello Bob")));
    let rows = drawn(&app, TextTheme::default());
    assert!(!rows.join("").contains("(1)"), "it was read");
    let row = rows.iter().find(|row| row.contains("bob: Hello Ann")).expect("it is shown");
    assert!(row.contains("08:01"), "{row}");
    assert!(shows(&app, "✓ you: Hello Bob") && shows(&app, "2025-11-27, Thursday") && shows(&app, "encrypted"));
    assert!(shows(&app, "Nick bob"));
}

#[test]
fn warnings_are_shown_in_words() {
    let mut app = app("bob");
    app.enter("bob");
    app.on_event(ChatSessionEvent::Trust { name: "bob".into(), trust: KeyTrust::NoKeys });
    assert!(shows(&app, "NOT ENCRYPTED"));
    app.on_event(ChatSessionEvent::Message(message(
        1,
        ChatHistoryMessageState::Failed("not delivered: FULL: no room".into()),
        "lost",
    )));
    assert!(shows(&app, "✗ you: lost") && shows(&app, "FULL: no room") && shows(&app, "/retry"));
    app.on_event(ChatSessionEvent::Message(ChatHistoryMessage {
        seal: MessageEncryptionStatus::Doubtful,
        ..message(2, ChatHistoryMessageState::Received, "forged")
    }));
    assert!(!shows(&app, "forged") && shows(&app, "NOT GENUINE"));
    app.on_event(ChatSessionEvent::Message(ChatHistoryMessage {
        seal: MessageEncryptionStatus::Unsealed,
        ..message(3, ChatHistoryMessageState::Received, "open")
    }));
    assert!(shows(&app, "NOT ENCRYPTED, although"));
    app.on_event(ChatSessionEvent::Trust {
        name: "bob".into(),
        trust: KeyTrust::Changed { safety: "1 2".into(), keys: "k".into() },
    });
    assert!(shows(&app, "KEYS CHANGED") && shows(&app, "/agree"));
    app.on_event(ChatSessionEvent::Link(ServerLinkStatus::Away("no route".into())));
    assert!(shows(&app, "NOT CONNECTED"));
}

#[test]
fn nothing_of_others_gets_to_the_terminal_as_it_is_and_every_size_is_drawn() {
    let mut app = app(ODD);
    app.on_event(ChatSessionEvent::Message(ChatHistoryMessage {
        with: ODD.into(),
        ..message(1, ChatHistoryMessageState::Received, &format!("{ODD}\n{ODD}"))
    }));
    app.on_event(ChatSessionEvent::Message(ChatHistoryMessage {
        with: ODD.into(),
        ..message(2, ChatHistoryMessageState::Failed(ODD.into()), &ODD.repeat(30))
    }));
    app.enter(ODD);
    app.paste(ODD);
    app.on_event(ChatSessionEvent::Trust {
        name: ODD.into(),
        trust: KeyTrust::Changed { safety: "1 2".into(), keys: "k".into() },
    });
    app.on_event(ChatSessionEvent::Said(ODD.into()));
    app.on_event(ChatSessionEvent::Link(ServerLinkStatus::Away(ODD.into())));
    let popup = ChatSessionEvent::Shown { title: ODD.into(), text: ODD.repeat(10) };
    for step in 0..4 {
        match step {
            1 => drop(app.on_key(KeyEvent::new(KeyCode::Tab, KeyModifiers::NONE))),
            2 => app.chat_mut().unwrap().search = Some(ODD.into()),
            3 => drop(app.on_event(popup.clone())),
            _ => {}
        }
        for (width, height) in
            (1..100).step_by(7).flat_map(|width| (1..30).step_by(3).map(move |height| (width, height)))
        {
            app.resize(width, height);
            for look in [TextTheme { has_colours: true }, TextTheme::default()] {
                for row in drawn(&app, look) {
                    assert!(row.chars().all(is_shown), "{width}x{height}: {row:?}");
                }
            }
        }
    }
}

#[test]
fn a_narrow_terminal_shows_one_part_at_a_time() {
    let mut app = app("bob");
    app.resize(40, 12);
    assert!(shows(&app, "carl") && !shows(&app, "> "));
    app.enter("bob");
    app.on_event(ChatSessionEvent::Message(message(
        1,
        ChatHistoryMessageState::Received,
        "鸿雁传书".repeat(20).as_str(),
    )));
    assert!(!shows(&app, "carl") && shows(&app, "> "));
    assert!(drawn(&app, TextTheme::default()).iter().filter(|row| row.contains('鸿')).count() >= 4, "it was wrapped");
    press(&mut app, KeyCode::Tab);
    assert!(shows(&app, "carl"));
    app.resize(8, 3);
    assert!(shows(&app, "too"));
}

#[test]
fn one_can_look_back_and_no_further_than_to_the_first() {
    let mut app = app("bob");
    (0..200).for_each(|id| {
        drop(app.on_event(ChatSessionEvent::Message(message(
            id,
            ChatHistoryMessageState::Received,
            &format!("number {id}."),
        ))))
    });
    app.enter("bob");
    assert!(shows(&app, "number 199."));
    for _ in 0..100 {
        press(&mut app, KeyCode::PageUp);
    }
    assert!(shows(&app, "number 0.") && !shows(&app, "number 199."));
    let top = app.chat().unwrap().scroll;
    press(&mut app, KeyCode::Up);
    assert_eq!(app.chat().unwrap().scroll, top);
    let talk = |app: &ChatApp| {
        let rows = drawn(app, TextTheme::default()).into_iter().skip(2).take(18);
        rows.map(|row| row.split_once('│').map(|(_, talk)| talk.to_owned())).collect::<Vec<_>>()
    };
    let before = talk(&app);
    app.on_event(ChatSessionEvent::Message(message(300, ChatHistoryMessageState::Received, &"unseen ".repeat(30))));
    assert_eq!(app.chat().unwrap().unread, 1, "it is not in sight");
    assert_eq!(talk(&app), before, "the text on the screen stays where it is");
    press(&mut app, KeyCode::Esc);
    assert!(shows(&app, "unseen") && app.chat().unwrap().unread == 0);
}

#[test]
fn without_colours_nothing_is_coloured() {
    let mut app = app("bob");
    app.enter("bob");
    app.on_event(ChatSessionEvent::Message(message(1, ChatHistoryMessageState::Failed("no".into()), "text")));
    let (width, height) = app.size;
    for (look, is_coloured) in [(TextTheme { has_colours: true }, true), (TextTheme::default(), false)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(&app, look, frame)).unwrap();
        let cells = &terminal.backend().buffer().content;
        let any =
            cells.iter().any(|cell| cell.fg != ratatui::style::Color::Reset || cell.bg != ratatui::style::Color::Reset);
        assert_eq!(any, is_coloured);
    }
}

#[test]
fn a_secret_is_not_shown() {
    let mut app = app("bob");
    app.paste("/password");
    press(&mut app, KeyCode::Enter);
    assert!(shows(&app, "The old password"));
    "geheim".chars().for_each(|char| press(&mut app, KeyCode::Char(char)));
    assert!(!shows(&app, "geheim") && !shows(&app, "*"));
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::F(1));
    assert!(shows(&app, "Help") && shows(&app, "Ctrl-Q") && shows(&app, "1–22 of "), "it says that there is more");
    (0..99).for_each(|_| press(&mut app, KeyCode::PageDown));
    assert!(shows(&app, "/help"));
    press(&mut app, KeyCode::Up);
    assert!(!shows(&app, "/help"), "one step back from the end");
    app.resize(80, 60);
    assert!(shows(&app, "/help") && !shows(&app, "1–"), "all of it");
}
