//! `hongyan listen`: pushes as lines of JSON, for scripts. A push is acked when its line was
//! written, or when a command has handled it.

use crate::args::{self, ChatLoginArgs};
use crate::keyring::E2eKeyring;
use crate::message::MessageEncryptionStatus;
use crate::setup::ChatClientSetup;
use crate::text;
use hongyan::client::{Client, ClientEndReason, ClientEvent, ConnectionToServerState, Error, Push, PushKind};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long it takes at most to notice a signal.
const WAIT: Duration = Duration::from_millis(200);
/// How often a running command is checked.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An error: the exit status and a sentence.
type ListenSubcommandError = (u8, String);

/// Listens until a signal, the last wanted push, or the end of the connection.
///
/// # Errors
/// The exit status and one sentence.
pub(crate) fn run(who: &ChatLoginArgs, listen: &args::ListenSubcommandArgs) -> Result<(), ListenSubcommandError> {
    let wrong = |reason: String| (2, reason);
    let mut setup = ChatClientSetup::new(who).map_err(wrong)?;
    setup.need_secret().map_err(wrong)?;
    let _lock = setup.folder.lock().map_err(wrong)?;
    let mut keyring = E2eKeyring::open(&setup.user, &setup.folder, setup.keys.as_deref()).map_err(wrong)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| wrong(format!("cannot watch for signals: {error}")))?;
    }
    let client = setup.start().map_err(|error| end_error(&error))?;
    let mut left = listen.count;
    while left != Some(0) && !stop.load(Ordering::SeqCst) {
        match client.next(WAIT).map_err(|error| end_error(&error))? {
            Some(ClientEvent::Push(delivery)) => {
                let Some(line) = line(&client, &mut keyring, &delivery) else { continue };
                // A push that is not acked is sent again by the server.
                if handle_line(&line, listen, &stop)? {
                    delivery.ack();
                    left = left.map(|left| left - 1);
                }
            }
            Some(ClientEvent::Connection(ConnectionToServerState::Offline { reason, .. })) => {
                crate::print_error(&format!("not connected, trying again: {}", text::line(&reason)));
            }
            Some(ClientEvent::Connection(ConnectionToServerState::Ended(end))) => {
                return Err(end_error(&Error::Ended(end)));
            }
            _ => {}
        }
    }
    client.close();
    Ok(())
}

fn end_error(error: &Error) -> ListenSubcommandError {
    let status = match error {
        Error::Ended(ClientEndReason::WrongPassword | ClientEndReason::Forbidden(_)) => 4,
        Error::Setting(_) | Error::Token(_) => 2,
        _ => 1,
    };
    (status, text::line(&error.to_string()))
}

/// The line for a push; `None` if the sender's keys cannot be fetched at the moment.
fn line(client: &Client, keyring: &mut E2eKeyring, push: &Push) -> Option<String> {
    if push.kind == PushKind::Message && keyring.needs_keys_of(push) {
        let profile = client.profile(&push.sender).ok()?.unwrap_or_default();
        if let Err(why) = keyring.check_friend_keys(&push.sender, &profile.rsa_public_key) {
            crate::print_error(&text::line(&why));
            return None;
        }
    }
    Some(line_of(keyring, push))
}

fn line_of(keyring: &E2eKeyring, push: &Push) -> String {
    let kind = match push.kind {
        PushKind::Message => "message",
        PushKind::FriendRequest => "request",
        PushKind::FriendAccept => "accepted",
        PushKind::FriendReject => "rejected",
    };
    let mut line = json!({
        "type": kind, "from": push.sender, "to": push.receiver, "id": push.message_id, "time": push.time_ms(),
    });
    let (content, seal) = match push.kind {
        PushKind::Message => keyring.open_message(&push.sender, &push.message_id, &push.content),
        _ => (push.content.clone(), MessageEncryptionStatus::Plain),
    };
    match seal {
        // Scripts read `text`: it must not contain anything that is not genuine.
        MessageEncryptionStatus::Doubtful => {
            line["encrypted"] = true.into();
            line["doubtful"] = content.into();
        }
        seal => {
            line["encrypted"] = (seal == MessageEncryptionStatus::Sealed).into();
            line["text"] = content.into();
        }
    }
    if seal == MessageEncryptionStatus::Unsealed {
        line["sender_has_keys"] = true.into();
    }
    text::json(&line.to_string())
}

/// Writes the line, or runs the command with it. False: the push is not acked, so that the server
/// sends it again.
fn handle_line(
    line: &str,
    listen: &args::ListenSubcommandArgs,
    stop: &AtomicBool,
) -> Result<bool, ListenSubcommandError> {
    let Some(command) = &listen.exec else {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{line}").and_then(|()| out.flush());
        // The reader has closed stdout.
        return written.map(|()| true).map_err(|error| (2, format!("cannot write: {error}")));
    };
    match run_command(command, line, listen.exec_timeout, stop) {
        Ok(()) => Ok(true),
        Err(why) => {
            crate::print_error(&format!("the command failed, and the push comes again: {why}"));
            Ok(false)
        }
    }
}

fn run_command(command: &str, line: &str, limit: Duration, stop: &AtomicBool) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::piped());
    // All processes that the shell starts are in its process group, and are ended with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    let mut child = shell.spawn().map_err(|error| format!("sh does not start: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let line = format!("{line}\n");
        // A command need not read the line, and may read it slowly. This thread ends with the
        // command.
        let write = move || stdin.write_all(line.as_bytes()).unwrap_or(());
        thread::Builder::new().spawn(write).map_err(|error| error.to_string())?;
    }
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if stop.load(Ordering::SeqCst) => return end(&mut child, "it was stopped"),
            Ok(None) if Instant::now() >= until => return end(&mut child, "it took too long"),
            Ok(None) => thread::sleep(LOOK_EVERY),
            Err(error) => return end(&mut child, &error.to_string()),
        }
    }
}

fn end(child: &mut Child, why: &str) -> Result<(), String> {
    // The command may have ended by itself meanwhile.
    kill(child).and_then(|()| child.wait().map(|_| ())).unwrap_or(());
    Err(why.to_owned())
}

/// Kills the shell and all processes that it has started.
#[cfg(target_os = "linux")]
fn kill(child: &Child) -> io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process_group};
    // The process was not waited for, so its process id cannot belong to another process.
    kill_process_group(Pid::from_child(child), Signal::KILL).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn kill(child: &mut Child) -> io::Result<()> {
    child.kill()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::ChatUserDataDir;

    #[test]
    fn a_line_is_json_that_may_be_shown() {
        let base = tempfile::tempdir().unwrap();
        let folder = ChatUserDataDir::open(base.path(), "server", "ann").unwrap();
        let keyring = E2eKeyring::open("ann", &folder, None).unwrap();
        let push = Push {
            kind: PushKind::Message,
            message_id: "1".into(),
            sender: "bob".into(),
            receiver: "ann".into(),
            time: "1652791027673".into(),
            content: "two\nlines \u{1b}[2J \u{202e}鸿".into(),
        };
        let line = line_of(&keyring, &push);
        assert!(line.chars().all(hongyan::safe_text::is_shown), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["text"], &value["time"]), (&push.content.clone().into(), &1_652_791_027_673_u64.into()));
        assert_eq!((&value["type"], &value["encrypted"]), (&"message".into(), &false.into()));
    }

    #[test]
    fn a_command_gets_the_line_and_its_status_counts() {
        let stop = AtomicBool::new(false);
        let long = Duration::from_secs(20);
        assert_eq!(run_command("grep -q goose", "a goose", long, &stop), Ok(()));
        assert!(run_command("grep -q goose", "a swan", long, &stop).is_err());
        assert_eq!(run_command("exit 0", &"x".repeat(200_000), long, &stop), Ok(()), "that reads nothing");
        assert_eq!(run_command("sleep 60", "", Duration::from_millis(50), &stop), Err("it took too long".into()));
        stop.store(true, Ordering::SeqCst);
        assert_eq!(run_command("sleep 60", "", long, &stop), Err("it was stopped".into()));
    }

    /// Programs that ended and that nobody waited for (zombies) are listed, too.
    #[cfg(target_os = "linux")]
    fn runs(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processes_that_a_command_has_started_end_with_it() {
        let until = Instant::now() + Duration::from_secs(20);
        let wait_until = |is_so: &dyn Fn() -> bool| {
            while !is_so() {
                assert!(Instant::now() < until);
                thread::sleep(LOOK_EVERY);
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = format!("sleep 600 & echo $! > '{0}.new' && mv '{0}.new' '{0}' && wait", file.display());
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let run = scope.spawn(|| run_command(&command, "", Duration::from_secs(600), &stop));
            wait_until(&|| file.exists());
            stop.store(true, Ordering::SeqCst);
            assert_eq!(run.join().unwrap(), Err("it was stopped".into()));
        });
        let pid = std::fs::read_to_string(&file).unwrap();
        wait_until(&|| !runs(pid.trim()));
    }
}
