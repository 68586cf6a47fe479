//! Sessions with a server in this process. The friend is a client of the library.

use super::*;
use crate::args::ChatLoginArgs;
use crate::message::{ChatHistoryMessage, KeyTrust, MessageEncryptionStatus};
use hongyan::client::e2e::E2eKeyPairs;
use hongyan::client::{ProfileChange, PushKind};
use hongyan::config::{Config, StoreUrl};
use hongyan::server::{self, ServerHandle};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::channel;

/// The longest wait for an expected event. Even on a slow machine no event takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

fn server() -> ServerHandle {
    let mut config = Config { listen: ([127, 0, 0, 1], 0).into(), store: StoreUrl::Memory, ..Config::default() };
    (config.argon2_memory_kib, config.argon2_passes) = (8, 1);
    server::start(config).unwrap()
}

fn setup(folder: &Path, server: &ServerHandle, user: &str) -> ChatClientSetup {
    setup_at(folder, format!("tcp://{}", server.addr()), user)
}

fn setup_at(folder: &Path, server: String, user: &str) -> ChatClientSetup {
    let password = folder.join(format!("{user}.password"));
    std::fs::write(&password, "password\n").unwrap();
    ChatClientSetup::new(&ChatLoginArgs {
        server,
        user: Some(user.into()),
        password_file: Some(password),
        token_file: None,
        keys: None,
        data: Some(folder.to_owned()),
        ca_file: None,
    })
    .unwrap()
}

/// A session, and its news.
struct TestSession {
    session: ChatSession,
    news: Receiver<ChatSessionEvent>,
}

impl TestSession {
    /// Starts a session and waits until it is logged in.
    fn start(setup: &ChatClientSetup) -> Self {
        let (sender, news) = channel();
        let sender = Mutex::new(sender);
        // At the end of a test nobody receives the news.
        let tell = Arc::new(move |it| sender.lock().unwrap().send(it).unwrap_or(()));
        let told = Self { session: ChatSession::start(setup.clone(), tell).unwrap(), news };
        told.wait("a log-in", |news| (news == ChatSessionEvent::Link(ServerLinkStatus::Here)).then_some(()));
        told
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, is_it: impl Fn(ChatSessionEvent) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let news = self.news.recv_timeout(left).unwrap_or_else(|_| panic!("waited for {what}"));
            if let Some(found) = is_it(news) {
                return found;
            }
        }
    }

    /// Waits for the next state of this message, which the session sends again.
    #[track_caller]
    fn became(&self, what: &str) -> ChatHistoryMessageState {
        self.wait(what, |news| match news {
            ChatSessionEvent::Became { id, way, .. } if id == what => Some(way),
            _ => None,
        })
    }

    /// Sends a message to bob and waits for its state.
    #[track_caller]
    fn send(&self, text: &str) -> ChatHistoryMessageState {
        self.order(ChatSessionCommand::Send { to: "bob".into(), text: text.into() });
        self.wait(text, |news| match news {
            ChatSessionEvent::Became { way, .. } => Some(way),
            _ => None,
        })
    }

    #[track_caller]
    fn trust(&self) -> KeyTrust {
        self.wait("the keys of bob", |news| match news {
            ChatSessionEvent::Trust { trust, .. } => Some(trust),
            _ => None,
        })
    }

    fn order(&self, order: ChatSessionCommand) {
        let is_warning =
            |news: &ChatSessionEvent| matches!(news, ChatSessionEvent::Warned(_) | ChatSessionEvent::NotKept { .. });
        assert!(!self.session.execute(order).iter().any(is_warning));
    }

    fn end(self) {
        self.order(ChatSessionCommand::Quit);
        self.session.finish(PATIENCE);
    }
}

/// Ann, and bob, who is her friend and has keys.
fn friends(folder: &Path, server: &ServerHandle) -> (ChatClientSetup, Client) {
    let [ann, bob] = ["ann", "bob"].map(|user| setup(folder, server, user));
    ann.sign_up(String::new()).unwrap();
    bob.sign_up(new_keys()).unwrap();
    let bob = Client::connect(bob.options()).unwrap();
    let client = Client::connect(ann.options()).unwrap();
    client.ask_friend("bob", "").unwrap();
    let mut request = None;
    bob.receive(PATIENCE, |push| request = Some(push.clone())).unwrap();
    bob.accept(&request.unwrap(), "").unwrap();
    client.receive(PATIENCE, |push| assert_eq!(push.kind, PushKind::FriendAccept)).unwrap();
    client.close();
    (ann, bob)
}

/// The text of new public keys for a profile.
fn new_keys() -> String {
    E2eKeyPairs::generate("bob").unwrap().public().text()
}

fn change_keys(bob: &Client, keys: String) {
    bob.change_profile(&ProfileChange { rsa_public_key: Some(keys), ..ProfileChange::default() }).unwrap();
}

#[test]
fn keys_that_changed_unseen_stop_the_next_message() {
    let folder = tempfile::tempdir().unwrap();
    let server = server();
    let (ann, bob) = friends(folder.path(), &server);
    let session = TestSession::start(&ann);
    session.order(ChatSessionCommand::LookAt("bob".into()));
    assert!(matches!(session.trust(), KeyTrust::Pinned { .. }));
    session.end();
    change_keys(&bob, new_keys());
    // Bob's keys have changed, and ann has not opened the chat since then.
    let session = TestSession::start(&ann);
    for text in ["one", "and again"] {
        assert!(
            matches!(session.send(text), ChatHistoryMessageState::Failed(_)),
            "{text} was sealed for keys that bob has no more"
        );
    }
    session.end();
    // When this answer is here, all earlier pushes have arrived, too.
    bob.profile("ann").unwrap();
    assert!(!bob.receive(Duration::ZERO, |push| panic!("{push:?}")).unwrap());
}

#[test]
fn the_user_agrees_to_the_keys_that_were_shown_and_to_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = server();
    let (ann, bob) = friends(folder.path(), &server);
    let session = TestSession::start(&ann);
    let look = || {
        session.order(ChatSessionCommand::LookAt("bob".into()));
        session.trust()
    };
    assert!(matches!(look(), KeyTrust::Pinned { .. }));
    change_keys(&bob, new_keys());
    let KeyTrust::Changed { keys, .. } = look() else { panic!() };
    change_keys(&bob, new_keys());
    session.order(ChatSessionCommand::Agree { name: "bob".into(), keys });
    let KeyTrust::Changed { keys, .. } = session.trust() else { panic!("agreed to keys that nobody was shown") };
    assert!(matches!(session.send("not yet"), ChatHistoryMessageState::Failed(_)));
    session.order(ChatSessionCommand::Agree { name: "bob".into(), keys });
    session.wait("an agreement", |news| {
        matches!(news, ChatSessionEvent::Trust { trust: KeyTrust::Pinned { .. }, .. }).then_some(())
    });
    assert_eq!(session.send("now"), ChatHistoryMessageState::Safe);
    session.end();
}

#[test]
fn an_old_message_is_not_sent_again_by_itself_if_it_may_have_been_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let server = server();
    let (ann, bob) = friends(folder.path(), &server);
    let path = ann.folder.file("messages");
    let mut history = ChatHistoryFile::open(&path, ChatHistoryFileLimits::default()).unwrap();
    for id in ["tried", "never tried"] {
        let (with, text) = ("bob".into(), id.into());
        let message = ChatHistoryMessage {
            with,
            id: id.into(),
            time: 1,
            text,
            way: ChatHistoryMessageState::Sent,
            seal: MessageEncryptionStatus::Plain,
        };
        history.add(&message).unwrap();
    }
    history.store_first_try("bob", "tried", 1).unwrap();
    drop(history);
    let session = TestSession::start(&ann);
    let ChatHistoryMessageState::Failed(why) = session.became("tried") else { panic!("it was sent again") };
    assert!(why.contains("may have been delivered"), "{why}");
    assert_eq!(session.became("never tried"), ChatHistoryMessageState::Safe);
    assert!(bob.receive(PATIENCE, |push| assert_eq!(push.message_id, "never tried")).unwrap());
    // The user asks to send the message in spite of that.
    session.order(ChatSessionCommand::Retry { with: "bob".into(), id: "tried".into() });
    assert_eq!(session.became("tried"), ChatHistoryMessageState::Sent);
    assert_eq!(session.became("tried"), ChatHistoryMessageState::Safe);
    assert!(bob.receive(PATIENCE, |push| assert_eq!(push.message_id, "tried")).unwrap());
    session.end();
}

/// A server that accepts log-ins and answers nothing else.
fn silent_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        for line in BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok) {
            let request: serde_json::Value = serde_json::from_str(&line).unwrap();
            if request["TYPE"] == "2" {
                let content = serde_json::json!({"MessageId": request["MID"], "Content": "LS"});
                let answer = serde_json::json!({"TYPE": "RE_SIGNUP", "CONTENT": content});
                // The client may have closed the connection.
                socket.write_all(format!("{answer}\n").as_bytes()).unwrap_or(());
            }
        }
    });
    url
}

#[test]
fn a_message_is_kept_before_anything_waits_for_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup_at(folder.path(), silent_server(), "ann");
    // The session's thread is now waiting for the user's own keys, until the request times out.
    let session = TestSession::start(&setup);
    session.order(ChatSessionCommand::LookAt("bob".into()));
    let news = session.session.execute(ChatSessionCommand::Send { to: "bob".into(), text: "the geese fly".into() });
    let [ChatSessionEvent::Message(message)] = news.as_slice() else { panic!("{news:?}") };
    assert_eq!(
        (message.text.as_str(), &message.way),
        ("the geese fly", &ChatHistoryMessageState::Sent),
        "it is on the screen"
    );
    let kept = ChatHistoryFile::open(&setup.folder.file("messages"), ChatHistoryFileLimits::default()).unwrap();
    assert_eq!(kept.messages(), std::slice::from_ref(message), "and on the disk");
}

#[test]
fn a_message_that_cannot_be_kept_goes_back_to_the_user() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup_at(folder.path(), silent_server(), "ann");
    let session = TestSession::start(&setup);
    // Nothing can be written to this file, and it cannot be rewritten: a folder has the name of the
    // temporary file.
    std::fs::create_dir(folder.path().join(format!("full.{}.new", std::process::id()))).unwrap();
    let full =
        ChatHistoryFile::open(&folder.path().join("full"), ChatHistoryFileLimits { messages_max: 1, bytes_max: 0 })
            .unwrap();
    *session.session.shared.history() = full;
    let news = session.session.execute(ChatSessionCommand::Send { to: "bob".into(), text: "/etc".into() });
    let [ChatSessionEvent::NotKept { with, text, .. }] = news.as_slice() else { panic!("{news:?}") };
    assert_eq!((with.as_str(), text.as_str()), ("bob", "/etc"));
}
