//! The commands that the user enters after a slash.

use std::path::PathBuf;

/// A command of the input line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InputCommand {
    Help,
    Quit,
    LogOut,
    Connect,
    Open(String),
    Find(String),
    Request {
        name: String,
        text: String,
    },
    Withdraw(String),
    Accept(String),
    Reject(String),
    Remove(String),
    Block(String),
    Unblock(String),
    Blocked,
    Search(String),
    Safety,
    Agree,
    Retry,
    Export(PathBuf),
    Import(PathBuf),
    NewKeys,
    Profile {
        key: &'static str,
        value: String,
    },
    Password,
    DeleteAccount,
    /// For the test that a panic restores the terminal.
    #[cfg(debug_assertions)]
    Panic,
}

/// Of each command: the name, the arguments, and the description.
pub(crate) const COMMANDS: &[(&str, &str, &str)] = &[
    ("open", "NAME", "open the chat with a friend"),
    ("find", "NAME", "show a user's profile"),
    ("request", "NAME [TEXT]", "send a friend request to a user"),
    ("withdraw", "NAME", "withdraw a friend request"),
    ("accept", "NAME", "accept the friend request of a user"),
    ("reject", "NAME", "reject the friend request of a user"),
    ("remove", "[NAME]", "end a friendship"),
    ("block", "[NAME]", "block a user, without telling them"),
    ("unblock", "NAME", "unblock a user"),
    ("blocked", "", "show the blocked users"),
    ("search", "TEXT", "show only the messages with this text; Esc shows all"),
    ("safety", "", "show the safety number of this chat"),
    ("agree", "", "trust the friend's new keys: shows their safety number and asks y/n"),
    ("retry", "", "send failed messages again"),
    ("export", "FILE", "write your keys to a passphrase-protected file"),
    ("import", "FILE", "read your keys from a file written by export"),
    ("newkeys", "", "make new keys; your friends will see a warning"),
    ("profile", "KEY TEXT", "change nick, mail, picture, location or about"),
    ("password", "", "change your password"),
    ("delete-account", "", "delete your account permanently"),
    ("connect", "", "connect again"),
    ("logout", "", "log out, and end the stored log-ins of all clients"),
    ("quit", "", "leave (also Ctrl-Q)"),
    ("help", "", "show the keys and commands (also F1)"),
];

/// The keys of a profile, by the words that the user enters for them.
const PROFILE: &[(&str, &str)] = &[
    ("nick", "nickName"),
    ("mail", "emailAddress"),
    ("picture", "profilePicture"),
    ("location", "location"),
    ("about", "personalDescription"),
];

/// Parses a line that begins with a slash; the slash is left out here. `open` is the friend whose
/// chat is open.
///
/// # Errors
/// One sentence.
pub(crate) fn parse(line: &str, open: Option<&str>) -> Result<InputCommand, String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    #[cfg(debug_assertions)]
    if word == "panic" && std::env::var_os("HONGYAN_TEST_PANIC").is_some() {
        return Ok(InputCommand::Panic);
    }
    let Some((word, usage, _)) = COMMANDS.iter().find(|(name, ..)| *name == word) else {
        return Err(format!("there is no command /{word}; /help lists the commands, // writes a slash"));
    };
    if usage.is_empty() && !rest.is_empty() {
        return Err(format!("/{word} takes nothing behind it"));
    }
    let needs = || format!("/{word} needs more: /{word} {usage}");
    let name = || if rest.is_empty() { Err(needs()) } else { Ok(rest.to_owned()) };
    let or_open = || if rest.is_empty() { open.map(str::to_owned).ok_or_else(needs) } else { Ok(rest.to_owned()) };
    let file = || name().map(PathBuf::from);
    Ok(match *word {
        "open" => InputCommand::Open(name()?),
        "find" => InputCommand::Find(name()?),
        "request" => {
            let (name, text) = quoted(rest).ok_or_else(needs)?;
            InputCommand::Request { name, text }
        }
        "withdraw" => InputCommand::Withdraw(or_open()?),
        "accept" => InputCommand::Accept(or_open()?),
        "reject" => InputCommand::Reject(or_open()?),
        "remove" => InputCommand::Remove(or_open()?),
        "block" => InputCommand::Block(or_open()?),
        "unblock" => InputCommand::Unblock(or_open()?),
        "blocked" => InputCommand::Blocked,
        "search" => InputCommand::Search(name()?),
        "safety" => InputCommand::Safety,
        "agree" => InputCommand::Agree,
        "retry" => InputCommand::Retry,
        "export" => InputCommand::Export(file()?),
        "import" => InputCommand::Import(file()?),
        "newkeys" => InputCommand::NewKeys,
        "profile" => {
            let (word, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let key = PROFILE.iter().find(|(name, _)| *name == word).ok_or_else(needs)?.1;
            InputCommand::Profile { key, value: value.trim().to_owned() }
        }
        "password" => InputCommand::Password,
        "delete-account" => InputCommand::DeleteAccount,
        "connect" => InputCommand::Connect,
        "logout" => InputCommand::LogOut,
        "quit" => InputCommand::Quit,
        _ => InputCommand::Help,
    })
}

/// Splits a name from the rest of the line; a name with spaces is in quotes.
fn quoted(text: &str) -> Option<(String, String)> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(text) => text.split_once('"')?,
        None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
    };
    (!name.is_empty()).then(|| (name.to_owned(), rest.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read() {
        for (name, usage, _) in COMMANDS {
            let line = format!("{name} {}", if *name == "profile" { "nick a b" } else { usage });
            assert!(parse(line.trim(), Some("bob")).is_ok(), "{line}");
        }
        let request = |name: &str, text: &str| Ok(InputCommand::Request { name: name.into(), text: text.into() });
        assert_eq!(parse("request bob", None), request("bob", ""));
        assert_eq!(parse("request bob  I am Ann ", None), request("bob", "I am Ann"));
        assert_eq!(parse("request \"bob b\" hello", None), request("bob b", "hello"));
        assert_eq!(parse("find bob b", None), Ok(InputCommand::Find("bob b".into())));
        assert_eq!(parse("block", Some("bob")), Ok(InputCommand::Block("bob".into())));
        let profile = InputCommand::Profile { key: "nickName", value: "A B".into() };
        assert_eq!(parse("profile nick A B", None), Ok(profile));
    }

    #[test]
    fn the_page_lists_every_command() {
        let page = include_str!("../../../docs/terminal.md");
        for (name, usage, what) in COMMANDS {
            let row = format!("| `{}` | {what} |", format!("/{name} {usage}").trim());
            assert!(page.contains(&row), "docs/terminal.md lacks {row}");
        }
    }

    #[test]
    fn a_wrong_command_is_refused_in_one_sentence() {
        for line in ["nonsense", "", "find", "block", "request", "request \"bob", "profile shoes 7", "quit now"] {
            let why = parse(line, None).unwrap_err();
            assert!(!why.contains('\n') && why.contains('/'), "{line}: {why}");
        }
    }
}
