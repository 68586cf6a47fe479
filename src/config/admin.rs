//! The command line of `hongyan admin`.

use super::admin_place::{AdminInterfaceAddress, AdminPlace};
use super::arg_errors::{error_sentence, given_twice_error, unexpected_argument_error, version};
use super::command::{AdminCliAccountCommand, AdminCliCommand, AdminCliVerb, BackupArgs, CliCommand};
use super::known::{EnvVariables, did_you_mean};
use super::options::{CONFIG, ConfigOption, find};
use super::settings::{LoadedConfig, relate_admin, settings};
use super::store_url::StoreUrl;
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;

/// The name of the command.
pub(super) const NAME: &str = "admin";
const HELP: &str = "hongyan admin --help";

/// The server's options by which its admin interface is found.
const OPTIONS_OF_PLACE: [&str; 4] = [CONFIG, "store", "admin", "admin-token-file"];

/// The parsed words of the command line.
#[derive(Default)]
struct ParsedAdminArgs {
    words: Vec<String>,
    flags: Vec<(&'static ConfigOption, OsString)>,
    is_json: bool,
    to_all: bool,
    is_confirmed: bool,
    is_plain: bool,
    waits: bool,
}

/// Reads the arguments after `admin`, and the variables of the environment.
pub(super) fn read(
    parser: &mut Parser,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<CliCommand, String> {
    let mut given = ParsedAdminArgs::default();
    while let Some(arg) = parser.next().map_err(|error| error_sentence(&error))? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(CliCommand::Print(help())),
            Arg::Long("version") | Arg::Short('V') => return Ok(CliCommand::Print(version())),
            Arg::Long("json") => given.is_json = true,
            Arg::Long("all") => given.to_all = true,
            Arg::Long("yes") => given.is_confirmed = true,
            Arg::Long("plain") => given.is_plain = true,
            Arg::Long("wait") => given.waits = true,
            Arg::Long(name) => {
                match OPTIONS_OF_PLACE.iter().find(|known| **known == name).and_then(|name| find(name)) {
                    Some(opt) => {
                        let needs = format!("--{} needs a value: --{} {}", opt.name, opt.name, opt.value_name());
                        let value = parser.value().map_err(|_| needs)?;
                        if given.flags.iter().any(|(flag, _)| flag.name == opt.name) {
                            return Err(given_twice_error(opt.name));
                        }
                        given.flags.push((opt, value));
                    }
                    None => {
                        let known = OPTIONS_OF_PLACE.into_iter().chain(FLAGS);
                        let meant = did_you_mean("--", name, known);
                        return Err(format!("hongyan admin has no option \"--{name}\"{meant}; see {HELP}"));
                    }
                }
            }
            Arg::Short(letter) => {
                return Err(format!("hongyan admin has no option \"-{letter}\"; see {HELP}"));
            }
            Arg::Value(word) => {
                let word = word.string().map_err(|_| "an argument is not valid UTF-8".to_owned())?;
                given.words.push(word);
            }
        }
    }
    given.command(&EnvVariables::new(variables)?)
}

/// The options without a value, for hints.
const FLAGS: [&str; 7] = ["json", "all", "yes", "plain", "wait", "help", "version"];
/// The names of the commands, for hints.
const VERBS: [&str; 13] = [
    "status",
    "nodes",
    "forget-node",
    "users",
    "user",
    "where",
    "notice",
    "disconnect",
    "ban",
    "unban",
    "reset-password",
    "delete",
    "drain",
];

impl ParsedAdminArgs {
    fn command(self, variables: &EnvVariables) -> Result<CliCommand, String> {
        let LoadedConfig { config, names_store, .. } =
            settings(&self.flags, variables, |config, _| relate_admin(config))?;
        if let [verb, file] = &self.words[..]
            && verb == super::backup::NAME
        {
            self.check_flags(verb, &[])?;
            return Ok(CliCommand::Backup(BackupArgs { store: config.store, file: file.into() }));
        }
        let verb = self.verb()?;
        let endpoint = config.admin.endpoint_for(&config.store).ok_or("the admin interface is off: --admin off")?;
        if matches!(&endpoint, AdminInterfaceAddress::Tcp(addr) if addr.port() == 0) {
            return Err(format!("--admin {endpoint}: port 0 is a free port, and nobody but the server knows which"));
        }
        let token_file = config.admin_token_file;
        // The socket beside a file belongs to the server of that file, by whatever path the server
        // knows it.
        let is_beside = config.admin == AdminPlace::Auto && matches!(config.store, StoreUrl::Sqlite(_));
        let store_id = if names_store && !is_beside { config.store.id() } else { None };
        Ok(CliCommand::Admin(AdminCliCommand { endpoint, token_file, store_id, is_json: self.is_json, verb }))
    }

    fn verb(&self) -> Result<AdminCliVerb, String> {
        let Some((verb, words)) = self.words.split_first() else {
            return Err(format!("hongyan admin needs a command, such as status; see {HELP}"));
        };
        let change = |change| AdminCliVerb::Change { name: words.first().cloned().unwrap_or_default(), change };
        let (usage, count, read) = match verb.as_str() {
            "status" => ("", 0, AdminCliVerb::Status),
            "nodes" => ("", 0, AdminCliVerb::Nodes),
            "forget-node" => ("NAME", 1, AdminCliVerb::ForgetNode(words.first().cloned().unwrap_or_default())),
            "users" => ("", 0, AdminCliVerb::Users),
            "drain" => ("[--wait]", 0, AdminCliVerb::Drain { waits: self.waits }),
            "user" => ("NAME", 1, AdminCliVerb::User(words.first().cloned().unwrap_or_default())),
            "where" => {
                let [receiver, id] = [0, 1].map(|at| words.get(at).cloned().unwrap_or_default());
                ("RECEIVER ID", 2, AdminCliVerb::Where { receiver, id })
            }
            "notice" => {
                let to = words.first().filter(|_| !self.to_all).cloned();
                let text = words.last().cloned().unwrap_or_default();
                let (usage, count) = if self.to_all { ("--all TEXT", 1) } else { ("NAME TEXT, or --all TEXT", 2) };
                (usage, count, AdminCliVerb::Notice { to, text })
            }
            "disconnect" => ("NAME", 1, change(AdminCliAccountCommand::Disconnect)),
            "ban" => ("NAME", 1, change(AdminCliAccountCommand::Ban)),
            "unban" => ("NAME", 1, change(AdminCliAccountCommand::Unban)),
            "reset-password" => {
                ("[--plain] NAME", 1, change(AdminCliAccountCommand::ResetPassword { is_plain: self.is_plain }))
            }
            "delete" => ("NAME --yes", 1, change(AdminCliAccountCommand::Delete)),
            "backup" => return Err(format!("hongyan admin backup needs one FILE; see {HELP}")),
            // Not repeated: it may be a password in the wrong place.
            other => {
                let meant = did_you_mean("", other, VERBS.into_iter().chain(["backup"]));
                let shown = if meant.is_empty() { String::new() } else { format!(" {other:?}{meant}") };
                return Err(format!("hongyan admin has no such command{shown}; see {HELP}"));
            }
        };
        let allowed: &[&str] = match verb.as_str() {
            "notice" => &["all"],
            "reset-password" => &["plain"],
            "delete" => &["yes"],
            "drain" => &["wait"],
            _ => &[],
        };
        self.check_flags(verb, allowed)?;
        if words.len() != count {
            return Err(match words.get(count) {
                Some(_) if verb == "notice" => {
                    format!("a notice has one TEXT: put the text in quotes: hongyan admin notice {usage}")
                }
                Some(word) => unexpected_argument_error(word.as_ref(), HELP),
                None => format!("hongyan admin {verb} needs more: hongyan admin {verb} {usage}"),
            });
        }
        if verb == "delete" && !self.is_confirmed {
            return Err(
                "an account that is deleted does not come back, and nobody gets its name; add --yes if that is meant"
                    .to_owned(),
            );
        }
        Ok(read)
    }

    /// Refuses flags that belong to other commands.
    fn check_flags(&self, verb: &str, allowed: &[&str]) -> Result<(), String> {
        let given = [("all", self.to_all), ("yes", self.is_confirmed), ("plain", self.is_plain), ("wait", self.waits)];
        match given.into_iter().find(|(flag, is_given)| *is_given && !allowed.contains(flag)) {
            Some((flag, _)) => Err(format!("hongyan admin {verb} has no option --{flag}; see {HELP}")),
            None => Ok(()),
        }
    }
}

/// The text of `hongyan admin --help`, at most 100 columns wide.
fn help() -> String {
    version()
        + "\
Queries or controls a running server through its admin interface.

Usage: hongyan admin [OPTIONS] COMMAND

  status                     whether the server is ready, and if not, why; the main numbers
  users                      who is online
  nodes                      the nodes of the cluster: do they live, and what waits for them
  forget-node NAME           remove a node of the cluster that has stopped and will not come back
  user NAME                  since when and from where the user is online, how many messages are
                             waiting, whether the user is banned
  where RECEIVER ID          the state of the messages to RECEIVER with this messageId
  notice NAME TEXT           send a message from system to one user
  notice --all TEXT          send a message from system to all users
  disconnect NAME            close the user's connection; their client may log in again
  ban NAME                   refuse the user's log-ins; end their session and resume tokens
  unban NAME                 end a ban
  reset-password NAME        set and print a new random password, which stays valid until it is
                             changed; end the user's session and resume tokens
  delete NAME --yes          delete an account permanently; nobody can register its name again
  drain [--wait]             take no log-ins any more, close all connections, a slice at a time over
                             the server's --drain, and stop it; with --wait, return when it has
                             stopped
  backup FILE                the same as hongyan backup, for the configured store

  --admin unix:PATH|ADDR:PORT
      The address of the admin interface. Default: the one that a server with the same --config,
      --store and environment would use. [environment: HONGYAN_ADMIN]
  --admin-token-file FILE
      The file with the token, for ADDR:PORT. [environment: HONGYAN_ADMIN_TOKEN_FILE]
  --config FILE, --store URL
      The same as for a server. [environment: HONGYAN_CONFIG, HONGYAN_STORE]
  --plain
      With reset-password: for clients that send the password itself, and not its hash as
      described in docs/protocol.md.
  --json
      Print the server's answer as JSON.
  -h, --help
      Print this help and exit.

The exit status is 0 when the command succeeded, 1 when the server refused it, does not know the
user or message, or is not ready, and 2 when the server could not be reached. Put words that begin
with a dash after -- (two dashes).
"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::args;

    fn read_with(words: &[&str], env: &[(&str, &str)]) -> Result<CliCommand, String> {
        let variables = env.iter().map(|(name, value)| (name.into(), value.into()));
        match args::read([&["admin"], words].concat().iter().map(OsString::from), variables)? {
            CliCommand::Print(text) => Err(text),
            command => Ok(command),
        }
    }

    fn order(words: &[&str], env: &[(&str, &str)]) -> AdminCliCommand {
        match read_with(words, env) {
            Ok(CliCommand::Admin(order)) => order,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn the_socket_is_found_as_a_server_would_choose_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hongyan.toml");
        std::fs::write(&file, "store = \"sqlite:of/file.db\"\n").unwrap();
        let file = file.to_str().unwrap();
        for (words, env, place) in [
            (&["status"][..], &[][..], "unix:hongyan.db.sock"),
            (&["status", "--store", "sqlite:a/b.db"], &[], "unix:a/b.db.sock"),
            (&["--admin=unix:x", "status"], &[("HONGYAN_ADMIN", "unix:y")], "unix:x"),
            (&["status"], &[("HONGYAN_ADMIN", "127.0.0.1:7")], "127.0.0.1:7"),
            (&["status"], &[("HONGYAN_STORE", "sqlite:c.db")], "unix:c.db.sock"),
            (&["status", "--config", file], &[], "unix:of/file.db.sock"),
            (&["status"], &[("HONGYAN_CONFIG", file)], "unix:of/file.db.sock"),
            (&["status", "--store=sqlite:d.db"], &[("HONGYAN_CONFIG", file)], "unix:d.db.sock"),
        ] {
            assert_eq!(order(words, env).endpoint.to_string(), place, "{words:?} {env:?}");
        }
        let found = order(&["--json", "status", "--admin=10.0.0.1:7", "--admin-token-file", "t"], &[]);
        assert_eq!((found.token_file, found.is_json), (Some("t".into()), true));
    }

    #[test]
    fn the_store_is_said_only_where_the_place_does_not_say_it() {
        let of = |words: &[&str], env: &[(&str, &str)]| order(&[&["status"], words].concat(), env).store_id;
        for (words, env) in [
            (&[][..], &[][..]),
            (&["--store=sqlite:/a.db"], &[]),
            (&["--admin=127.0.0.1:7"], &[]),
            (&["--admin=127.0.0.1:7", "--store=sqlite:no/such/folder/a.db"], &[]),
        ] {
            assert_eq!(of(words, env), None, "{words:?}");
        }
        let url = "mysql://u:geheim@h/d";
        let id = StoreUrl::parse(url).unwrap().id();
        assert!(id.is_some());
        assert_eq!(of(&["--store", url], &[]), id);
        assert_eq!(of(&["--admin=127.0.0.1:7"], &[("HONGYAN_STORE", url)]), id);
        assert!(of(&["--admin=127.0.0.1:7", "--store=sqlite:/a.db"], &[]).is_some());
    }

    #[test]
    fn relations_between_settings_of_a_server_are_not_checked() {
        for env in [("HONGYAN_BUS", "redis://h:6379"), ("HONGYAN_TLS_CERT", "c.pem"), ("HONGYAN_STANDBY", "on")] {
            assert_eq!(order(&["status"], &[env]).verb, AdminCliVerb::Status, "{env:?}");
        }
    }

    #[test]
    fn every_command_is_read() {
        let name = || "ann".to_owned();
        let change = |change| AdminCliVerb::Change { name: name(), change };
        for (words, verb) in [
            (&["users"][..], AdminCliVerb::Users),
            (&["nodes"], AdminCliVerb::Nodes),
            (&["drain"], AdminCliVerb::Drain { waits: false }),
            (&["drain", "--wait"], AdminCliVerb::Drain { waits: true }),
            (&["user", "ann"], AdminCliVerb::User(name())),
            (&["where", "ann", "m1"], AdminCliVerb::Where { receiver: name(), id: "m1".into() }),
            (&["notice", "ann", "hello you"], AdminCliVerb::Notice { to: Some(name()), text: "hello you".into() }),
            (&["notice", "--all", "hello"], AdminCliVerb::Notice { to: None, text: "hello".into() }),
            (&["notice", "ann", "--", "--all"], AdminCliVerb::Notice { to: Some(name()), text: "--all".into() }),
            (&["disconnect", "ann"], change(AdminCliAccountCommand::Disconnect)),
            (&["ban", "ann"], change(AdminCliAccountCommand::Ban)),
            (&["unban", "ann"], change(AdminCliAccountCommand::Unban)),
            (&["reset-password", "ann"], change(AdminCliAccountCommand::ResetPassword { is_plain: false })),
            (&["reset-password", "--plain", "ann"], change(AdminCliAccountCommand::ResetPassword { is_plain: true })),
            (&["delete", "ann", "--yes"], change(AdminCliAccountCommand::Delete)),
        ] {
            assert_eq!(order(words, &[]).verb, verb, "{words:?}");
        }
        let Ok(CliCommand::Backup(backup)) = read_with(&["backup", "f", "--store", "sqlite:a"], &[]) else { panic!() };
        assert_eq!(backup, BackupArgs { store: StoreUrl::Sqlite("a".into()), file: "f".into() });
    }

    #[test]
    fn a_wrong_admin_command_is_refused_in_one_sentence() {
        for (words, said) in [
            (&[][..], "needs a command"),
            (&["staus"], "did you mean status?"),
            (&["geheim"], "no such command;"),
            (&["user"], "hongyan admin user NAME"),
            (&["user", "ann", "bob"], "unexpected argument"),
            (&["status", "ann"], "unexpected argument"),
            (&["notice", "hello"], "NAME TEXT, or --all TEXT"),
            (&["notice", "--all"], "--all TEXT"),
            (&["notice", "--all", "ann", "hello"], "put the text in quotes: hongyan admin notice --all TEXT"),
            (&["notice", "bob", "Please", "update"], "put the text in quotes: hongyan admin notice NAME TEXT"),
            (&["delete", "ann"], "--yes"),
            (&["ban", "ann", "--yes"], "no option --yes"),
            (&["users", "--all"], "no option --all"),
            (&["status", "--wait"], "no option --wait"),
            (&["backup"], "one FILE"),
            (&["backup", "f", "--yes"], "no option --yes"),
            (&["status", "--amdin=x"], "did you mean --admin?"),
            (&["status", "--admin"], "--admin unix:PATH|ADDR:PORT"),
            (&["status", "--admin=off"], "the admin interface is off"),
            (&["status", "--admin=127.0.0.1:0"], "port 0"),
            (&["status", "--admin=10.0.0.1:7"], "--admin-token-file"),
            (&["status", "-x"], "-x"),
        ] {
            let Err(why) = read_with(words, &[]) else { panic!("{words:?} was taken") };
            assert!(why.contains(said) && !why.contains('\n') && !why.contains("geheim"), "{words:?}: {why}");
        }
    }

    #[test]
    fn the_help_fits_the_screen_and_names_every_command() {
        let help = read_with(&["--help"], &[]).unwrap_err();
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(VERBS.iter().all(|verb| help.contains(&format!("\n  {verb} "))), "{help}");
    }
}
