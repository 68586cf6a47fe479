//! `hongyan chat`, `hongyan send` and `hongyan listen`: a client for terminals and scripts. It is a
//! separate program, so that the server's program does not become larger.

mod app;
mod args;
mod chat;
mod commands;
mod editor;
mod files;
mod history;
mod keyring;
mod listen;
mod message;
mod prompt;
mod secret;
mod send;
mod session;
mod session_messages;
mod setup;
mod terminal;
mod text;
mod view;

use args::{ChatCliCommand, ChatLoginArgs};
use keyring::E2eKeyring;
use setup::ChatClientSetup;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use terminal::ChatEnd;
use time::UtcOffset;

fn main() -> ExitCode {
    let done = match args::read(std::env::args_os().skip(1)) {
        Ok(ChatCliCommand::Chat { who, is_new }) => chat_as(&who, is_new),
        Ok(ChatCliCommand::Send { who, send }) => send::run(&who, &send),
        Ok(ChatCliCommand::Listen { who, listen }) => listen::run(&who, &listen),
        // A reader that closed stdout needs nothing more.
        Ok(ChatCliCommand::Print(text)) => {
            io::stdout().write_all(text.as_bytes()).unwrap_or(());
            Ok(())
        }
        Err(why) => Err((2, why)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, why)) => {
            if !why.is_empty() {
                print_error(&why);
            }
            ExitCode::from(status)
        }
    }
}

/// Writes one sentence to stderr.
fn print_error(sentence: &str) {
    writeln!(io::stderr(), "hongyan: {sentence}").unwrap_or(());
}

fn chat_as(who: &ChatLoginArgs, is_new: bool) -> Result<(), (u8, String)> {
    let wrong = |why: String| (2, why);
    // The offset can be determined only while there is a single thread.
    let offset = UtcOffset::current_local_offset().map_or(0, UtcOffset::whole_seconds);
    let mut setup = ChatClientSetup::new(who).map_err(wrong)?;
    let _lock = setup.folder.lock().map_err(wrong)?;
    if is_new {
        sign_up(&mut setup).map_err(wrong)?;
    } else {
        setup.need_secret().map_err(wrong)?;
    }
    loop {
        match terminal::run(&setup, offset).map_err(wrong)? {
            ChatEnd::Left => return Ok(()),
            // The token is no longer valid.
            ChatEnd::Ended(why, true) if setup.hash.is_none() && io::stdin().is_terminal() => {
                print_error(&why);
                setup.ask_password().map_err(wrong)?;
            }
            ChatEnd::Ended(why, true) => return Err((4, why)),
            ChatEnd::Ended(why, false) => {
                print_error(&why);
                return Ok(());
            }
            // The panic has printed its message.
            ChatEnd::Panicked => return Err((101, String::new())),
        }
    }
}

/// Creates an account with keys. If the name is taken, the keys that were generated for it are
/// removed.
fn sign_up(setup: &mut ChatClientSetup) -> Result<(), String> {
    setup.need_new_secret()?;
    let mut keyring = E2eKeyring::open(&setup.user, &setup.folder, setup.keys.as_deref())?;
    let kept = keyring.public_text();
    let is_kept = kept.is_some();
    let public = kept.map_or_else(|| keyring.renew(), Ok)?;
    let Err(error) = setup.sign_up(public) else { return Ok(()) };
    let may_be_made = error.may_have_been_executed();
    // If the account may exist with these public keys in its profile, the only copy of the private
    // keys must not be lost.
    if !may_be_made && !is_kept {
        keyring.remove_unpublished()?;
    }
    let was_made = if may_be_made { "an account was made, perhaps: try to log in" } else { "no account was made" };
    Err(format!("{was_made}: {}", text::line(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    /// A server that answers one sign-up with this frame.
    fn answering(frame: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
            assert!(lines.next().unwrap().unwrap().contains("hashValue"));
            socket.write_all(format!("{frame}\n").as_bytes()).unwrap();
            // Until the client closes the connection.
            lines.for_each(drop);
        });
        url
    }

    #[test]
    fn keys_outlive_a_sign_up_that_may_have_been_done() {
        for (frame, is_kept) in [
            (
                r#"{"TYPE":"RE_ERROR","CONTENT":{"MessageId":"sign-up","Content":"UNAVAILABLE: the store is away"}}"#,
                true,
            ),
            ("no frame", true),
            (r#"{"TYPE":"RE_ERROR","CONTENT":{"MessageId":"sign-up","Content":"BAD_FIELD: another name"}}"#, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let password_file = Some(folder.path().join("password"));
            std::fs::write(folder.path().join("password"), "password\n").unwrap();
            let (server, user, data) = (answering(frame), Some("ann".into()), Some(folder.path().to_owned()));
            let who = ChatLoginArgs { server, user, password_file, token_file: None, keys: None, data, ca_file: None };
            let mut setup = ChatClientSetup::new(&who).unwrap();
            let why = sign_up(&mut setup).unwrap_err();
            assert_eq!(why.contains("perhaps"), is_kept, "{why}");
            assert_eq!(setup.folder.file("keys").exists(), is_kept, "{frame}");
        }
    }
}
