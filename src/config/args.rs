//! The command line, the environment and the configuration file → [`Config`], and the texts of
//! `--help` and `--version`.

use super::admin::{self, AdminCommand};
use super::backup::{self, BackupOrder};
use super::copy::{self, CopyArgs};
use super::file::ConfigFile;
use super::known::{EnvVariables, did_you_mean, shorten};
use super::options::{CONFIG, ConfigOption, OPTIONS, OptionEffectTime, OptionKind, find};
use super::{AdminEndpoint, AdminPlace, Config, StoreUrl};
use crate::versions::{FRAME_MAX, FRAME_MIN, SCHEMA};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::path::Path;

/// The command that the command line asks for.
#[derive(Debug)]
pub enum CliCommand {
    /// Run a server.
    Run(Box<ServerSettings>),
    /// Check its settings only.
    Check(Box<ServerSettings>),
    /// Copy a store.
    Copy(CopyArgs),
    /// Back a store up.
    Backup(BackupOrder),
    /// Ask a running server.
    Admin(AdminCommand),
    /// Run the client program with these arguments.
    Client(Vec<OsString>),
    /// Print this text and exit.
    Print(String),
}

/// The settings of a server, with messages about them.
#[derive(Debug)]
pub struct ServerSettings {
    /// The settings.
    pub config: Config,
    /// A line about where they came from, and the two most important ones.
    pub summary: String,
    /// A warning about settings that are valid but should be different; a sentence.
    pub warning: Option<String>,
    /// The store was set explicitly.
    pub names_store: bool,
}

const CHECK: &str = "check-config";
/// The commands of the client (`src/bin/hongyan-chat/`).
const CLIENT: [&str; 3] = ["chat", "send", "listen"];
type GivenFlags = Vec<(&'static ConfigOption, OsString)>;

/// Reads the arguments (without the program's name), the variables of the environment, and the
/// configuration file that one of them may name. A flag beats a variable, and a variable beats the
/// file.
///
/// # Errors
/// One sentence about the first thing that is wrong.
pub fn read<A, V>(args: A, variables: V) -> Result<CliCommand, String>
where
    A: IntoIterator<Item = OsString>,
    V: IntoIterator<Item = (OsString, OsString)>,
{
    let (mut flags, mut is_check) = (GivenFlags::new(), false);
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error_sentence(&error))? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(CliCommand::Print(help())),
            Arg::Long("version") | Arg::Short('V') => return Ok(CliCommand::Print(version())),
            Arg::Long(CHECK) => is_check = true,
            Arg::Long(name) => match find(name) {
                Some(opt) => {
                    let alone = matches!(opt.kind, OptionKind::Switch { .. }).then(|| parser.optional_value());
                    let value = alone
                        .map_or_else(|| parser.value(), |value| Ok(value.unwrap_or_else(|| "on".into())))
                        .map_err(|_| format!("--{} needs a value: --{} {}", opt.name, opt.name, opt.value_name()))?;
                    if flags.iter().any(|(flag, _)| flag.name == opt.name) {
                        return Err(given_twice_error(opt.name));
                    }
                    flags.push((opt, value));
                }
                None => {
                    let known = OPTIONS.iter().map(|opt| opt.name).chain([CHECK, "help", "version"]);
                    return Err(unknown_flag_error(&format!("--{name}"), &did_you_mean("--", name, known)));
                }
            },
            Arg::Short(letter) => return Err(unknown_flag_error(&format!("-{letter}"), "")),
            Arg::Value(value) if value == copy::NAME && flags.is_empty() && !is_check => {
                return copy::read(&mut parser, variables);
            }
            Arg::Value(value) if value == backup::NAME && flags.is_empty() && !is_check => {
                return backup::read(&mut parser, variables);
            }
            Arg::Value(value) if value == admin::NAME && flags.is_empty() && !is_check => {
                return admin::read(&mut parser, variables);
            }
            Arg::Value(value) if CLIENT.iter().any(|name| value == *name) && flags.is_empty() && !is_check => {
                let rest = parser.raw_args().map_err(|error| error_sentence(&error))?;
                return Ok(CliCommand::Client(std::iter::once(value).chain(rest).collect()));
            }
            Arg::Value(value) => return Err(unexpected_argument_error(&value, "hongyan --help")),
        }
    }
    let settings = Box::new(settings(&flags, &EnvVariables::new(variables)?, check_relations)?);
    Ok(if is_check { CliCommand::Check(settings) } else { CliCommand::Run(settings) })
}

/// Reads the settings from the file, the variables and the flags. The whole file is checked, even
/// the settings that are overridden. `check_relations` checks the relations between the settings
/// that are used.
pub(super) fn settings(
    flags: &[(&'static ConfigOption, OsString)],
    variables: &EnvVariables,
    check_relations: impl FnOnce(&mut Config, &[&str]) -> Result<(), String>,
) -> Result<ServerSettings, String> {
    let of_flag = |opt: &ConfigOption| {
        let flag = flags.iter().find(|(flag, _)| flag.name == opt.name);
        flag.map(|(_, value)| (format!("--{}", opt.name), value.clone()))
    };
    let of_env = |opt: &ConfigOption| variables.get(&opt.env()).map(|value| (opt.env(), value.clone()));
    let mut config = Config::default();
    let named = find(CONFIG).and_then(|opt| of_flag(opt).or_else(|| of_env(opt)));
    let file = named.map(|(source, path)| ConfigFile::read(&source, Path::new(&path))).transpose()?;
    let entries = file.as_ref().map(|file| &file.entries[..]).unwrap_or_default();
    for entry in entries {
        entry.opt.apply(&mut config, &entry.source, &entry.text)?;
    }
    let in_file = |opt: &ConfigOption| entries.iter().any(|entry| entry.opt.name == opt.name);
    let (mut given, mut counts) = (Vec::new(), [0; 3]);
    for opt in OPTIONS {
        let (rank, set) = match (of_flag(opt), of_env(opt)) {
            (Some(flag), _) => (2, Some(flag)),
            (None, Some(variable)) => (1, Some(variable)),
            (None, None) if in_file(opt) => (0, None),
            (None, None) => continue,
        };
        if let Some((source, value)) = set {
            let value = value.string().map_err(|_| format!("{source} is not valid UTF-8"))?;
            opt.apply(&mut config, &source, &value)?;
        }
        given.push(opt.name);
        counts[rank] += usize::from(opt.name != CONFIG);
    }
    check_relations(&mut config, &given)?;
    let is_of_file = |name| find(name).is_some_and(|opt| in_file(opt) && of_flag(opt).or(of_env(opt)).is_none());
    let of_store = config.store.has_password() && is_of_file("store");
    let holds = if of_store { "store" } else { "bus" };
    let tells = of_store || config.bus.has_password() && is_of_file("bus");
    let tells = tells && file.as_ref().is_some_and(|file| file.is_world_readable);
    let warning = config.file.as_ref().filter(|_| tells).map(|path| {
        let path = path.display();
        format!("{path} holds the password of the {holds}, and everybody on this machine may read it: chmod o-r {path}")
    });
    let names_store = given.contains(&"store");
    Ok(ServerSettings { summary: summary(&config, counts), warning, names_store, config })
}

/// The line that `--check-config` prints.
fn summary(config: &Config, counts: [usize; 3]) -> String {
    let path = config.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let from = [(counts[0], path.as_str()), (counts[1], "the environment"), (counts[2], "the command line")];
    let from = from.iter().filter(|(count, _)| *count > 0).map(|(count, place)| format!("{count} set in {place}"));
    let from: Vec<String> = from.collect();
    let from = if from.is_empty() { "every option has its default".to_owned() } else { from.join(", ") };
    format!("listen {}, store {}; {from}", config.listen, config.store)
}

/// Checks the relations between settings. A setting that was not given is adapted to the given
/// ones.
fn check_relations(config: &mut Config, given: &[&str]) -> Result<(), String> {
    let shown = |config: &Config, name: &str| find(name).map(|opt| opt.show(config)).unwrap_or_default();
    if config.rules.outstanding_max > config.rules.list_max {
        if given.contains(&"outstanding-max") {
            let (outstanding, list) = (shown(config, "outstanding-max"), shown(config, "list-max"));
            return Err(format!("--outstanding-max {outstanding} must not be greater than --list-max {list}"));
        }
        config.rules.outstanding_max = config.rules.list_max;
    }
    if config.rules.auth_jobs_max > config.rules.jobs_max {
        if given.contains(&"auth-jobs-max") {
            let (auth, jobs) = (shown(config, "auth-jobs-max"), shown(config, "jobs-max"));
            return Err(format!("--auth-jobs-max {auth} must not be greater than --jobs-max {jobs}"));
        }
        config.rules.auth_jobs_max = config.rules.jobs_max;
    }
    // If the save delay were longer than that time, messages to a receiver who does not ack would
    // always be answered MF.
    if config.rules.save_after_ms > config.rules.answer_within_ms {
        if given.contains(&"save-after") {
            let (save, answer) = (shown(config, "save-after"), shown(config, "answer-within"));
            return Err(format!("--save-after {save} must not be longer than --answer-within {answer}"));
        }
        config.rules.save_after_ms = config.rules.answer_within_ms;
    }
    match (&config.tls_cert, &config.tls_key) {
        (Some(_), None) => return Err("--tls-cert needs --tls-key, the private key of the certificate".to_owned()),
        (None, Some(_)) => return Err("--tls-key needs --tls-cert, the certificate of the key".to_owned()),
        (None, None) if config.tls_only => {
            return Err("--tls-only needs --tls-cert and --tls-key: without them nobody could connect".to_owned());
        }
        _ => {}
    }
    match (&config.push_hook, &config.push_hook_secret_file) {
        (Some(_), None) => {
            return Err("--push-hook needs --push-hook-secret-file, the key of its signatures".to_owned());
        }
        (None, Some(_)) => return Err("--push-hook-secret-file needs --push-hook, the URL to tell".to_owned()),
        _ => {}
    }
    relate_admin(config)?;
    if config.is_standby && !matches!(config.store, StoreUrl::Mysql(_)) {
        return Err("--standby needs a store that two machines share: --store mysql://…".to_owned());
    }
    if config.node_name.is_none() && !config.bus.is_empty() {
        return Err("--bus needs --node-name: it is there for nodes to talk to each other".to_owned());
    }
    if config.node_name.is_some() {
        if !matches!(config.store, StoreUrl::Mysql(_)) {
            return Err("--node-name needs a store that several machines share: --store mysql://…".to_owned());
        }
        if config.is_standby {
            return Err("--standby and --node-name exclude each other: the nodes stand in for one another".to_owned());
        }
    }
    // A frame becomes at most three times as large when it is written in the other content form. A
    // few frames must fit into the output.
    let output_min = config.frame_bytes_max.saturating_mul(4);
    if config.output_bytes_max < output_min {
        if given.contains(&"output-bytes-max") {
            let (output, frame) = (shown(config, "output-bytes-max"), shown(config, "max-frame"));
            return Err(format!("--output-bytes-max {output} must be at least four times --max-frame {frame}"));
        }
        config.output_bytes_max = output_min;
    }
    Ok(())
}

/// The only relation that concerns `hongyan admin` too.
pub(super) fn relate_admin(config: &Config) -> Result<(), String> {
    if let AdminPlace::At(AdminEndpoint::Tcp(addr)) = config.admin
        && !addr.ip().to_canonical().is_loopback()
        && config.admin_token_file.is_none()
    {
        return Err(format!("--admin {addr} is no loopback address: it needs --admin-token-file"));
    }
    Ok(())
}

fn unknown_flag_error(flag: &str, meant: &str) -> String {
    format!("unknown option {:?}{meant}; hongyan --help shows what there is", shorten(flag))
}

/// The error about an option that is given twice.
pub(super) fn given_twice_error(name: &str) -> String {
    format!("--{name} is given twice")
}

/// The error about an unexpected argument. The argument may be a store URL whose flag was
/// forgotten: the error does not repeat an argument that looks like one.
pub(super) fn unexpected_argument_error(value: &OsStr, help: &str) -> String {
    let value = value.to_string_lossy();
    let shown = if value.contains([':', '@']) { String::new() } else { format!(" {:?}", shorten(&value)) };
    format!("unexpected argument{shown}; {help} shows what there is")
}

/// Lexopt's errors as sentences, without repeating a value (it may be a store URL with its
/// password).
pub(super) fn error_sentence(error: &lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        lexopt::Error::MissingValue { option: Some(option) } => format!("{option} needs a value"),
        other => other.to_string(),
    }
}

/// `hongyan 0.1.0 (schema 11, frames 1-1)`: the versions that nodes of a cluster compare.
#[must_use]
pub fn version() -> String {
    let build = env!("CARGO_PKG_VERSION");
    format!("hongyan {build} (schema {SCHEMA}, frames {FRAME_MIN}-{FRAME_MAX})\n")
}

const WIDTH: usize = 98;
const INDENT: usize = 6;

/// The text of `--help`, at most 100 columns wide.
#[must_use]
pub fn help() -> String {
    let default = Config::default();
    let mut text = version();
    text.push_str(concat!(
        env!("CARGO_PKG_DESCRIPTION"),
        ".\n\nUsage: hongyan [OPTIONS]                       runs a server\n",
        "       hongyan copy --from URL --to URL        moves a store (hongyan copy --help)\n",
        "       hongyan backup --store URL FILE         backs a store up (hongyan backup --help)\n",
        "       hongyan admin COMMAND                   asks a running server (hongyan admin --help)\n",
        "       hongyan chat                            chats in the terminal (hongyan chat --help)\n",
        "       hongyan send --to NAME TEXT             sends a message (hongyan send --help)\n",
        "       hongyan listen                          prints what arrives (hongyan listen --help)\n\n"
    ));
    text.push_str(
        "Every option can be set in the environment too: --idle-timeout is HONGYAN_IDLE_TIMEOUT; and in a\n\
         file: idle-timeout = \"120s\". A flag beats the environment, and the environment beats the file.\n\
         SIGHUP has the file read again; an option whose change needs a restart says so.\n\
         Times are written like 200ms, 120s, 10m or 24h, sizes like 4096B, 64KiB or 1MiB.\n",
    );
    let mut group = "";
    for opt in OPTIONS {
        if opt.group != group {
            group = opt.group;
            push(&mut text, format_args!("\n{group}:\n"));
        }
        push(&mut text, format_args!("  {}\n", opt.usage()));
        let bounds = match opt.kind {
            OptionKind::Listen
            | OptionKind::Store
            | OptionKind::Log
            | OptionKind::Config
            | OptionKind::File { .. }
            | OptionKind::Switch { .. } => String::new(),
            _ => format!(", {}", opt.range()),
        };
        let reload = if opt.reload == OptionEffectTime::AtStart { "; a change needs a restart" } else { "" };
        wrap(&mut text, &format!("{} [default {}{bounds}{reload}]", opt.help, opt.show(&default)));
    }
    text.push_str(
        "\nOther:\n  --check-config\n      Check all options and exit; neither the store nor the port is opened.\n  \
         -h, --help\n      Print this help and exit.\n  -V, --version\n      Print the version and exit.\n",
    );
    text
}

/// The table of all options in Markdown, for docs/options.md.
#[must_use]
pub fn markdown() -> String {
    let default = Config::default();
    let (mut text, mut group) = (String::new(), "");
    for opt in OPTIONS {
        if opt.group != group {
            group = opt.group;
            push(&mut text, format_args!("\n## {group}\n\n"));
            text.push_str("| option | environment | default | allowed | a change | |\n|---|---|---|---|---|---|\n");
        }
        push(
            &mut text,
            format_args!(
                "| `{}` | `{}` | `{}` | {} | {} | {} |\n",
                // A bar would end the table cell.
                opt.usage().replace('|', "\\|"),
                opt.env(),
                opt.show(&default),
                opt.range(),
                if opt.reload == OptionEffectTime::Live { "SIGHUP" } else { "restart" },
                opt.help
            ),
        );
    }
    text
}

fn push(text: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    text.write_fmt(args).unwrap_or(());
}

fn wrap(text: &mut String, paragraph: &str) {
    let mut column = 0;
    for word in paragraph.split(' ') {
        if column > 0 && column + 1 + word.len() > WIDTH {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.push_str(&" ".repeat(INDENT));
            column = INDENT;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests;
