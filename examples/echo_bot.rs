//! A bot that accepts every friend request and sends each message back.
//!
//! `cargo run --example echo_bot -- tcp://127.0.0.1:1102 echo PASSWORD_FILE TOKEN_FILE`
//!
//! It creates its account if the name is free. It may be stopped at any time: it acks a message
//! when the server has promised to deliver the echo or has refused it, and derives the echo's id
//! from the message, so that a message that is handled twice is answered once.
#![allow(missing_docs, unreachable_pub, reason = "a program, which a test runs as well")]

use hongyan::client::{
    Client, ClientEvent, ClientOptions, ConnectionToServerState, Error, PushKind, ReceivedPush, RecommendedAction,
    ResumeTokenFile, UserProfile, sign_up,
};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, user, password_file, token_file] = args.as_slice() else {
        eprintln!("echo_bot URL USER PASSWORD_FILE TOKEN_FILE");
        return ExitCode::from(2);
    };
    let password = match std::fs::read_to_string(password_file) {
        Ok(text) => text.trim_end_matches(['\n', '\r']).to_owned(),
        Err(error) => {
            eprintln!("{password_file}: {error}");
            return ExitCode::from(2);
        }
    };
    match run(url, user, &password, token_file) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until the client ends for good.
pub fn run(url: &str, user: &str, password: &str, token_file: &str) -> Result<std::convert::Infallible, Error> {
    let options = || ClientOptions::new(url, user).password(password).tokens(ResumeTokenFile::new(token_file));
    match sign_up(&options(), &UserProfile::default()) {
        Ok(()) | Err(Error::NameTaken) => {}
        // The account may exist already: the log-in shows whether it does.
        Err(error) if error.may_have_been_executed() => {}
        Err(error) => return Err(error),
    }
    let client = Client::start(options())?;
    loop {
        match client.next(Duration::from_secs(60))? {
            Some(ClientEvent::Push(push)) => answer(&client, push),
            Some(ClientEvent::Connection(ConnectionToServerState::Offline { reason, retry_in })) => {
                eprintln!("{reason}; trying again in {retry_in:?}");
            }
            _ => {}
        }
    }
}

/// Acks a push once it is handled. If it is dropped without an ack, the server sends it again.
fn answer(client: &Client, push: ReceivedPush) {
    let result = match push.kind {
        PushKind::Message if push.is_notice() => Ok(()),
        PushKind::Message => {
            let key: String = push.key().iter().map(|byte| format!("{byte:02x}")).collect();
            client.send_with_id(&format!("echo-{key}"), &push.sender, &push.content)
        }
        PushKind::FriendRequest => client.accept(&push, "I send everything back.").map(|_| ()),
        PushKind::FriendAccept | PushKind::FriendReject => Ok(()),
    };
    match result {
        Ok(()) => push.ack(),
        Err(error) => {
            eprintln!("{}: {error}", push.sender);
            if is_final(push.kind, &error) {
                push.ack();
            }
            // The server sends any other push again after 15 s.
        }
    }
}

/// Is the error final, so that the push must not be tried again? Another try may be useless: for
/// example, the sender may no longer be a friend, or the request may have been withdrawn. An error
/// that other users can cause for ever (a full mailbox, or a limit on friends) must not keep a push
/// unacked either, because the server stops sending when too many pushes are unacked. In this case
/// the friend request stays pending.
pub fn is_final(kind: PushKind, error: &Error) -> bool {
    use RecommendedAction::{AskTheUser, ChangeTheRequest, FixTheClient, ForgetIt, SlowDown, Stop, TryLater};
    match error.recommended_action() {
        AskTheUser | ChangeTheRequest | FixTheClient | ForgetIt | Stop => !error.may_have_been_executed(),
        TryLater => true,
        SlowDown => kind == PushKind::FriendRequest && *error != Error::Busy,
        _ => false,
    }
}
