//! The command line of `hongyan chat`, `hongyan send` and `hongyan listen`.

use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The command to execute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChatCliCommand {
    Chat { who: ChatLoginArgs, is_new: bool },
    Send { who: ChatLoginArgs, send: SendSubcommandArgs },
    Listen { who: ChatLoginArgs, listen: ListenSubcommandArgs },
    Print(String),
}

/// The user, the server, and the user's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatLoginArgs {
    pub(crate) server: String,
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) keys: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SendSubcommandArgs {
    pub(crate) to: String,
    /// `None`: the text is read from stdin.
    pub(crate) text: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) is_plain: bool,
    pub(crate) timeout: Duration,
}

/// How each push is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenSubcommandArgs {
    pub(crate) exec: Option<String>,
    pub(crate) exec_timeout: Duration,
    pub(crate) count: Option<u64>,
}

/// The default server: one on this machine, for trying the program.
const SERVER: &str = "tcp://127.0.0.1:1102";
const TIMEOUT: Duration = Duration::from_secs(30);
const EXEC_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum for every time limit: one day.
const SECONDS_MAX: u64 = 86_400;

const COMMON: &[&str] =
    &["server", "user", "password-file", "token-file", "keys", "data", "ca-file", "help", "version"];
const OF_CHAT: &[&str] = &["sign-up"];
const OF_SEND: &[&str] = &["to", "id", "plain", "timeout"];
const OF_LISTEN: &[&str] = &["exec", "exec-timeout", "count"];

/// All options as they were given.
#[derive(Default)]
struct RawChatOptionValues {
    values: Vec<(String, OsString)>,
    words: Vec<OsString>,
}

impl RawChatOptionValues {
    fn text(&self, name: &str) -> Result<Option<String>, String> {
        let value = self.values.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        value.map(|value| value.string().map_err(|_| format!("--{name} is not valid UTF-8"))).transpose()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.values.iter().find(|(given, _)| given == name).map(|(_, value)| value.into())
    }

    fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(given, _)| given == name)
    }

    fn number(&self, name: &str, max: u64) -> Result<Option<u64>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.map(Some).ok_or_else(|| format!("--{name} needs a number from 1 to {max}"))
    }

    fn seconds(&self, name: &str, default: Duration) -> Result<Duration, String> {
        Ok(self.number(name, SECONDS_MAX)?.map_or(default, Duration::from_secs))
    }

    fn login_args(&self) -> Result<ChatLoginArgs, String> {
        Ok(ChatLoginArgs {
            server: self.text("server")?.unwrap_or_else(|| SERVER.to_owned()),
            user: self.text("user")?,
            password_file: self.path("password-file"),
            token_file: self.path("token-file"),
            keys: self.path("keys"),
            data: self.path("data"),
            ca_file: self.path("ca-file"),
        })
    }
}

/// Parses the arguments, without the program's name.
///
/// # Errors
/// One sentence.
pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<ChatCliCommand, String> {
    let mut parser = Parser::from_args(args);
    let verb = match parser.next().map_err(|error| error.to_string())? {
        Some(Arg::Value(verb)) => verb.to_string_lossy().into_owned(),
        Some(Arg::Long("version") | Arg::Short('V')) => return Ok(ChatCliCommand::Print(version())),
        _ => return Ok(ChatCliCommand::Print(help(""))),
    };
    let own = match verb.as_str() {
        "chat" => OF_CHAT,
        "send" => OF_SEND,
        "listen" => OF_LISTEN,
        _ => return Err("use hongyan chat, hongyan send or hongyan listen; each has --help".to_owned()),
    };
    let mut given = RawChatOptionValues::default();
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(ChatCliCommand::Print(help(&verb))),
            Arg::Long("version") | Arg::Short('V') => return Ok(ChatCliCommand::Print(version())),
            Arg::Long("password") => {
                return Err("a password is never an argument, which every user of this machine can see; \
                            see --password-file"
                    .to_owned());
            }
            Arg::Long(name) if COMMON.contains(&name) || own.contains(&name) => {
                let name = name.to_owned();
                if given.has(&name) {
                    return Err(format!("--{name} is given twice"));
                }
                let is_switch = matches!(name.as_str(), "sign-up" | "plain");
                let value = match is_switch {
                    true => OsString::new(),
                    false => parser.value().map_err(|_| format!("--{name} needs a value"))?,
                };
                given.values.push((name, value));
            }
            Arg::Long(name) => {
                return Err(format!("hongyan {verb} has no option \"--{name}\"; see hongyan {verb} --help"));
            }
            Arg::Short(letter) => {
                return Err(format!("hongyan {verb} has no option \"-{letter}\"; see hongyan {verb} --help"));
            }
            Arg::Value(word) => given.words.push(word),
        }
    }
    command(&verb, &given)
}

fn command(verb: &str, given: &RawChatOptionValues) -> Result<ChatCliCommand, String> {
    let who = given.login_args()?;
    let words_max = usize::from(verb == "send");
    if given.words.len() > words_max {
        let hint = if verb == "send" { " (a text with spaces stands in quotes)" } else { "" };
        return Err(format!("hongyan {verb} takes no more words{hint}; see hongyan {verb} --help"));
    }
    match verb {
        "chat" => Ok(ChatCliCommand::Chat { who, is_new: given.has("sign-up") }),
        "send" => {
            let to = given.text("to")?.ok_or("hongyan send needs --to NAME")?;
            let word = given.words.first().ok_or("hongyan send needs a TEXT, or - for what stdin has")?;
            let text = word.to_str().ok_or("the text is not valid UTF-8")?.to_owned();
            let text = Some(text).filter(|text| text != "-");
            let (id, is_plain) = (given.text("id")?, given.has("plain"));
            Ok(ChatCliCommand::Send {
                who,
                send: SendSubcommandArgs { to, text, id, is_plain, timeout: given.seconds("timeout", TIMEOUT)? },
            })
        }
        _ => {
            let (exec, count) = (given.text("exec")?, given.number("count", u64::MAX)?);
            let exec_timeout = given.seconds("exec-timeout", EXEC_TIMEOUT)?;
            Ok(ChatCliCommand::Listen { who, listen: ListenSubcommandArgs { exec, exec_timeout, count } })
        }
    }
}

fn version() -> String {
    concat!("hongyan-chat ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}

// A line break after a backslash would remove the leading spaces of the first line.
const HELP_OF_ALL: &str = "  --server URL
      tcp://HOST:PORT, tls://HOST:PORT, ws://HOST:PORT or wss://HOST:PORT
      [default tcp://127.0.0.1:1102]
  --user NAME
      The user. Without it, the program asks on the terminal.
  --password-file FILE
      A file whose first line is the password. Without it, the program asks on the terminal, if
      the password is needed.
  --token-file FILE
      The file of the resume token, with which the next log-in needs no password; readable by its
      owner only.
  --keys FILE
      The file of the user's own keys; readable by its owner only.
  --data FOLDER
      The folder of the token, the keys, the trusted keys of friends, and the messages
      [default $XDG_DATA_HOME/hongyan or ~/.local/share/hongyan].
  --ca-file FILE
      Certificates (PEM) to trust for tls:// and wss://, instead of the public certificate
      authorities.
  -h, --help
      Print this help and exit.
";

const HELP_OF_CHAT: &str = "\
Chats in the terminal. F1 shows the keys and commands.

Usage: hongyan chat [OPTIONS]

  --sign-up
      Create a new account first, with new keys.
";

const END_OF_CHAT: &str = "
The exit status is 0 when the user leaves, 2 after an error, 4 when the log-in was refused.
";

const HELP_OF_SEND: &str = "\
Sends one message, encrypted if the receiver has keys, and waits until the server has promised to
deliver it. The user's undelivered pushes stay on the server. This log-in ends a hongyan chat of the
same user.

Usage: hongyan send --to NAME [OPTIONS] TEXT     (with - as TEXT: read from stdin)

  --to NAME
      The receiver, a friend.
  --id ID
      The id of the message. Use it to try again after status 3: within 10 minutes, a message with
      the same id is not delivered twice.
  --plain
      Send without encryption if encryption is not possible, although the receiver has keys.
  --timeout SECONDS
      How long to try [default 30].
";

const END_OF_SEND: &str = "
The exit status is 0 when the server has promised to deliver the message; 1 when the server refused
it, or the receiver is not a friend; 2 after an error on this machine; 3 when the result is unknown
(try again with the printed id; without a connection nothing was sent, and no id is printed); 4 when
the log-in was refused; 5 when the receiver's keys prevented it.
";

const HELP_OF_LISTEN: &str = "\
Prints one line of JSON for each push: messages, friend requests, answers to requests. A push is
acked after its line was written; the server sends a push that was not acked again. If a hongyan
chat or another listen of the same user is open on this machine, the exit status is 2: leave the
chat with Ctrl-Q first. This log-in ends one on another machine.

Usage: hongyan listen [OPTIONS]

  --exec CMD
      Instead of printing, run CMD in a shell for each push, with the line on its stdin. The push is
      acked if CMD succeeds; otherwise the server sends it again some seconds later.
  --exec-timeout SECONDS
      How long CMD may take; then it is killed and counts as failed [default 60].
  --count N
      Exit after N pushes.
";

const END_OF_LISTEN: &str = "
The exit status is 0 after a signal or N pushes, 1 when the connection has ended for good (because
of another log-in of the user, for example), 2 after an error on this machine, 4 when the log-in was
refused.
";

const HELP: &str = "
Usage: hongyan chat [OPTIONS]
       hongyan send --to NAME [OPTIONS] TEXT
       hongyan listen [OPTIONS]

Each command has --help.
";

fn help(verb: &str) -> String {
    let (text, end) = match verb {
        "chat" => (HELP_OF_CHAT, END_OF_CHAT),
        "send" => (HELP_OF_SEND, END_OF_SEND),
        "listen" => (HELP_OF_LISTEN, END_OF_LISTEN),
        _ => return version() + HELP,
    };
    format!("{}{text}{HELP_OF_ALL}{end}", version())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(words: &[&str]) -> Result<ChatCliCommand, String> {
        read(words.iter().map(OsString::from))
    }

    #[test]
    fn options_are_read() {
        let Ok(ChatCliCommand::Send { who, send }) =
            read_words(&["send", "--to", "bob", "--server=tls://h", "--user", "ann", "--id", "7", "hello you"])
        else {
            panic!()
        };
        assert_eq!((who.server.as_str(), who.user.as_deref()), ("tls://h", Some("ann")));
        assert_eq!((send.to.as_str(), send.text.as_deref(), send.id.as_deref()), ("bob", Some("hello you"), Some("7")));
        let Ok(ChatCliCommand::Send { who, send }) = read_words(&["send", "-", "--to=bob"]) else { panic!() };
        assert_eq!((who.server.as_str(), send.text, send.timeout), (SERVER, None, TIMEOUT));
        let Ok(ChatCliCommand::Send { send, .. }) = read_words(&["send", "--to=bob", "--", "--to"]) else { panic!() };
        assert_eq!(send.text.as_deref(), Some("--to"));
        let Ok(ChatCliCommand::Listen { listen, .. }) = read_words(&["listen", "--exec", "cat", "--count", "2"]) else {
            panic!()
        };
        assert_eq!((listen.exec.as_deref(), listen.count), (Some("cat"), Some(2)));
        assert!(matches!(read_words(&["chat", "--sign-up"]), Ok(ChatCliCommand::Chat { is_new: true, .. })));
    }

    #[test]
    fn wrong_arguments_are_refused_in_one_sentence() {
        for (words, said) in [
            (&["talk"][..], "hongyan chat"),
            (&["chat", "bob"], "no more words"),
            (&["chat", "--to", "bob"], "no option \"--to\""),
            (&["chat", "--password", "geheim"], "--password-file"),
            (&["chat", "--password=geheim"], "--password-file"),
            (&["chat", "--user"], "needs a value"),
            (&["chat", "--user=a", "--user=b"], "twice"),
            (&["send", "hello"], "--to NAME"),
            (&["send", "--to=bob"], "TEXT"),
            (&["send", "--to=bob", "hello", "you"], "quotes"),
            (&["send", "--to=bob", "x", "--timeout=0"], "from 1 to"),
            (&["listen", "--count", "many"], "from 1 to"),
            (&["listen", "-x"], "-x"),
        ] {
            let why = read_words(words).unwrap_err();
            assert!(why.contains(said) && !why.contains('\n') && !why.contains("geheim"), "{words:?}: {why}");
        }
    }

    #[test]
    fn the_help_fits_the_screen_and_names_every_option() {
        for (verb, own) in [("chat", OF_CHAT), ("send", OF_SEND), ("listen", OF_LISTEN)] {
            let Ok(ChatCliCommand::Print(help)) = read_words(&[verb, "--help"]) else { panic!() };
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
            let is_option = |line: &&str| line.trim_start().starts_with('-');
            assert!(help.lines().filter(is_option).all(|line| line.starts_with("  -")), "{help}");
            for name in COMMON.iter().chain(own).filter(|name| **name != "version") {
                assert!(help.contains(&format!("--{name}")), "{name}: {help}");
            }
        }
    }
}
