//! The command line of the server, and the texts of `--help`.

use super::arg_errors::{error_sentence, given_twice_error, unexpected_argument_error, version};
use super::command::CliCommand;
use super::known::{EnvVariables, did_you_mean, shorten};
use super::options::{ConfigOption, OPTIONS, OptionEffectTime, OptionKind, find};
use super::settings::{check_relations, settings};
use super::{Config, admin, backup, copy};
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::fmt::Write;

const CHECK: &str = "check-config";
/// The commands of the client (`src/bin/hongyan-chat/`).
const CLIENT: [&str; 3] = ["chat", "send", "listen"];
type GivenFlags = Vec<(&'static ConfigOption, OsString)>;

/// Reads the arguments (without the program's name), the variables of the environment, and the
/// configuration file that one of them may name. A flag beats a variable, and a variable beats the
/// file.
///
/// # Errors
/// One sentence about the first error.
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

fn unknown_flag_error(flag: &str, meant: &str) -> String {
    format!("unknown option {:?}{meant}; see hongyan --help", shorten(flag))
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
            _ => format!("; allowed {}", opt.range()),
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
            text.push_str(
                "| option | environment | default | allowed | applies at | meaning |\n|---|---|---|---|---|---|\n",
            );
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
