//! `hongyan send`: one message, for scripts. The exit status is its result.

use crate::args::{self, ChatLoginArgs};
use crate::keyring::E2eKeyring;
use crate::message::{KeyTrust, MessageEncryptionStatus};
use crate::setup::ChatClientSetup;
use crate::text;
use hongyan::client::{Client, ClientEndReason, Error, new_id};
use std::io::{self, Read};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// The server refused the message.
const REFUSED: u8 = 1;
/// An error on this machine.
const WRONG: u8 = 2;
/// The server may have accepted the message.
const UNKNOWN: u8 = 3;
/// The log-in was refused.
const NO_LOG_IN: u8 = 4;
/// The message was not sent because of the keys.
const KEYS: u8 = 5;

/// An error: the exit status and a sentence.
type SendSubcommandError = (u8, String);

fn usage_error(why: impl Into<String>) -> SendSubcommandError {
    (WRONG, why.into())
}

/// Sends the message.
///
/// # Errors
/// The exit status and one sentence.
pub(crate) fn run(who: &ChatLoginArgs, send: &args::SendSubcommandArgs) -> Result<(), SendSubcommandError> {
    let text = match &send.text {
        Some(text) => text.clone(),
        None => read_stdin()?,
    };
    let mut setup = ChatClientSetup::new(who).map_err(usage_error)?;
    setup.need_secret().map_err(usage_error)?;
    let mut keyring = E2eKeyring::open(&setup.user, &setup.folder, setup.keys.as_deref()).map_err(usage_error)?;
    let until = Instant::now() + send.timeout;
    let mut options = setup.options();
    (options.connect_limit, options.request_limit) = (send.timeout, send.timeout);
    // This client acks no pushes: they wait for a client that does.
    let client = Client::connect(options).map_err(|error| failed_to_connect(&error))?;
    let id = match &send.id {
        Some(id) => id.clone(),
        None => new_id().map_err(|error| send_error(&error, None))?,
    };
    let (tell, told) = sync_channel(1);
    let deliver = {
        let (client, send, id) = (client.clone(), send.clone(), id.clone());
        // After the deadline nobody receives the result, and the thread ends with the process.
        move || tell.send(deliver(&client, &mut keyring, &send, &id, &text)).unwrap_or(())
    };
    thread::Builder::new().spawn(deliver).map_err(|error| usage_error(error.to_string()))?;
    // One deadline for the connection and all requests.
    match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(sent) => {
            client.close();
            sent
        }
        Err(_) => Err(send_error(&Error::TimedOut, Some(&id))),
    }
}

fn deliver(
    client: &Client,
    keyring: &mut E2eKeyring,
    send: &args::SendSubcommandArgs,
    id: &str,
    text: &str,
) -> Result<(), SendSubcommandError> {
    check_own_keys(client, keyring)?;
    let theirs = client.profile(&send.to).map_err(|error| send_error(&error, None))?.unwrap_or_default();
    let trust = keyring.check_friend_keys(&send.to, &theirs.rsa_public_key).map_err(usage_error)?;
    let name = text::line(&send.to);
    let stopped = |why: &str| Err((KEYS, format!("nothing was sent: {why}")));
    let sealed = match trust {
        KeyTrust::Changed { .. } | KeyTrust::Gone => {
            return stopped(&format!("the keys of {name} have changed; agree to that in hongyan chat first"));
        }
        KeyTrust::CannotSeal if !send.is_plain => {
            return stopped(&format!(
                "{name} has keys, and there are none of yours here (--plain sends it all the same)"
            ));
        }
        KeyTrust::CannotSeal => None,
        KeyTrust::NoKeys | KeyTrust::Pinned { .. } | KeyTrust::Unknown => {
            Some(keyring.seal(&send.to, id, text).map_err(usage_error)?)
        }
    };
    let is_plain = sealed.as_ref().is_none_or(|sealed| sealed.seal == MessageEncryptionStatus::Plain);
    let content = sealed.map_or_else(|| text.to_owned(), |sealed| sealed.content);
    loop {
        match client.send_with_id(id, &send.to, &content) {
            Ok(()) => break,
            Err(Error::Busy) => thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(send_error(&error, Some(id))),
        }
    }
    if is_plain {
        crate::print_error(&format!("sent without encryption: {name} has no keys, or you have none here"));
    }
    Ok(())
}

/// Keys that the user's profile does not show are not used. The profile is not changed here either.
fn check_own_keys(client: &Client, keyring: &mut E2eKeyring) -> Result<(), SendSubcommandError> {
    let own = client.profile(client.user()).map_err(|error| send_error(&error, None))?.unwrap_or_default();
    keyring.take_next(&own.rsa_public_key).map_err(usage_error)?;
    keyring.check_own_keys(&own.rsa_public_key);
    Ok(())
}

fn read_stdin() -> Result<String, SendSubcommandError> {
    let mut text = String::new();
    let max = crate::editor::BYTES_MAX as u64;
    io::stdin()
        .take(max + 1)
        .read_to_string(&mut text)
        .map_err(|error| usage_error(format!("cannot read stdin: {error}")))?;
    if text.len() as u64 > max {
        return Err(usage_error(format!("the text has more than {max} bytes")));
    }
    // The same as `$(…)` in a shell.
    Ok(text.trim_end_matches('\n').to_owned())
}

fn failed_to_connect(error: &Error) -> SendSubcommandError {
    let status = match error {
        Error::Setting(_) | Error::Token(_) => WRONG,
        Error::Ended(ClientEndReason::WrongPassword | ClientEndReason::Forbidden(_)) => NO_LOG_IN,
        _ => UNKNOWN,
    };
    (status, format!("nothing was sent: {}", text::line(&error.to_string())))
}

fn send_error(error: &Error, id: Option<&str>) -> SendSubcommandError {
    let again = id.map(|id| format!("; the same message again: --id {}", text::line(id))).unwrap_or_default();
    let sentence = text::line(&error.to_string());
    match error {
        Error::Setting(_) | Error::Token(_) => usage_error(sentence),
        Error::Ended(ClientEndReason::WrongPassword | ClientEndReason::Forbidden(_)) if id.is_none() => {
            (NO_LOG_IN, sentence)
        }
        // The error is about the message itself: it had been sent before.
        error if error.may_have_been_executed() => (UNKNOWN, format!("{sentence}{again}")),
        Error::NotFriends | Error::Refused(_) | Error::TooLarge { .. } => (REFUSED, sentence),
        _ => (UNKNOWN, format!("{sentence}{again}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hongyan::client::{ErrorCode, ServerRefusal};
    use serde_json::{Value, json};
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// A server that delays each answer.
    fn slow_server(delay: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            for line in BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok) {
                let request: Value = serde_json::from_str(&line).unwrap();
                let (kind, content) = match request["TYPE"].as_str().unwrap() {
                    "2" => ("RE_SIGNUP", "LS"),
                    "3" => ("RE_GETUSER_FAILED", ""),
                    "4" => ("RE_MESSAGE", "MS"),
                    _ => continue,
                };
                let id = if kind == "RE_MESSAGE" { &request["CONTENT"]["messageId"] } else { &request["MID"] };
                let answer = json!({"TYPE": kind, "CONTENT": {"MessageId": id, "Content": content}});
                thread::sleep(delay);
                // The client may have closed the connection.
                socket.write_all(format!("{answer}\n").as_bytes()).unwrap_or(());
            }
        });
        url
    }

    #[test]
    fn all_requests_share_one_deadline() {
        for (delay, status) in [(Duration::ZERO, None), (Duration::from_secs(2), Some(UNKNOWN))] {
            let folder = tempfile::tempdir().unwrap();
            let password = folder.path().join("password");
            std::fs::write(&password, "password\n").unwrap();
            let who = ChatLoginArgs {
                server: slow_server(delay),
                user: Some("ann".into()),
                password_file: Some(password),
                token_file: None,
                keys: None,
                data: Some(folder.path().to_owned()),
                ca_file: None,
            };
            let (to, text) = ("bob".into(), Some("x".into()));
            // Each answer by itself would arrive in time.
            let timeout = if delay.is_zero() { Duration::from_secs(60) } else { Duration::from_secs(5) };
            let sent = run(&who, &args::SendSubcommandArgs { to, text, id: None, is_plain: false, timeout });
            assert_eq!(sent.err().map(|(status, _)| status), status);
        }
    }

    #[test]
    fn the_status_says_whether_the_message_may_be_delivered() {
        let refused = |code| Error::Refused(ServerRefusal { code: Some(code), text: "said".into() });
        for (error, status) in [
            (refused(ErrorCode::Unavailable), UNKNOWN),
            (refused(ErrorCode::ShuttingDown), UNKNOWN),
            (Error::TimedOut, UNKNOWN),
            (Error::Ended(ClientEndReason::Replaced), UNKNOWN),
            (Error::Ended(ClientEndReason::WrongPassword), UNKNOWN),
            (refused(ErrorCode::Full), REFUSED),
            (Error::NotFriends, REFUSED),
            (Error::Busy, UNKNOWN),
        ] {
            let (got, sentence) = send_error(&error, Some("the id"));
            assert_eq!(got, status, "{error:?}");
            assert_eq!(sentence.contains("--id the id"), status == UNKNOWN, "{sentence}");
        }
        assert_eq!(send_error(&Error::Ended(ClientEndReason::WrongPassword), None).0, NO_LOG_IN);
    }
}
