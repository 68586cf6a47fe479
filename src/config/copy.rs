//! The command line of `hongyan copy`.

use super::StoreUrl;
use super::arg_errors::{error_sentence, given_twice_error, unexpected_argument_error, version};
use super::command::{CliCommand, CopyArgs};
use super::known::{EnvVariables, FROM, TO, did_you_mean};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;

/// The name of the command.
pub(super) const NAME: &str = "copy";
const HELP: &str = "hongyan copy --help";

/// Reads the arguments after `copy`, and the variables of the environment. Flags override
/// variables.
pub(super) fn read(
    parser: &mut Parser,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<CliCommand, String> {
    let mut ends = [CopyUrlOption::new("from", FROM), CopyUrlOption::new("to", TO)];
    while let Some(arg) = parser.next().map_err(|error| error_sentence(&error))? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(CliCommand::Print(help())),
            Arg::Long("version") | Arg::Short('V') => return Ok(CliCommand::Print(version())),
            Arg::Long(name) => match ends.iter_mut().find(|end| end.flag == name) {
                Some(end) => {
                    let needs = |_| format!("--{0} needs a value: --{0} URL", end.flag);
                    if end.given.replace(parser.value().map_err(needs)?).is_some() {
                        return Err(given_twice_error(end.flag));
                    }
                }
                None => {
                    let meant = did_you_mean("--", name, ["from", "to", "help", "version"]);
                    return Err(format!("hongyan copy has no option \"--{name}\"{meant}; see {HELP}"));
                }
            },
            Arg::Short(letter) => {
                return Err(format!("hongyan copy has no option \"-{letter}\"; see {HELP}"));
            }
            Arg::Value(value) => return Err(unexpected_argument_error(&value, HELP)),
        }
    }
    let variables = EnvVariables::new(variables)?;
    let [from, to] = ends;
    Ok(CliCommand::Copy(CopyArgs { from: from.url(&variables)?, to: to.url(&variables)? }))
}

/// One of the two options, `--from` or `--to`.
struct CopyUrlOption {
    flag: &'static str,
    variable: &'static str,
    given: Option<OsString>,
}

impl CopyUrlOption {
    fn new(flag: &'static str, variable: &'static str) -> Self {
        Self { flag, variable, given: None }
    }

    fn url(self, variables: &EnvVariables) -> Result<StoreUrl, String> {
        let Self { flag, variable, given } = self;
        let from_env = || variables.get(variable).map(|value| (variable.to_owned(), value.clone()));
        let Some((source, value)) = given.map(|value| (format!("--{flag}"), value)).or_else(from_env) else {
            return Err(format!("hongyan copy needs --{flag} URL, or {variable} in the environment"));
        };
        let value = value.string().map_err(|_| format!("{source} is not valid UTF-8"))?;
        StoreUrl::parse(&value).map_err(|why| format!("{source}: {why}"))
    }
}

/// The text of `hongyan copy --help`, at most 100 columns wide.
fn help() -> String {
    version()
        + "\
Copies a whole store into an empty one, of the same kind or another, and verifies it: accounts with
their passwords, friendships, friend requests and undelivered pushes.

Usage: hongyan copy --from URL --to URL

  --from URL
      The store to copy: sqlite:PATH or mysql://USER:PASSWORD@HOST:PORT/DATABASE. It must exist, and
      is not changed. [environment: HONGYAN_FROM]
  --to URL
      The store to copy into. A SQLite file is created if it does not exist; a MySQL database must
      exist and be empty. [environment: HONGYAN_TO]
  -h, --help
      Print this help and exit.

No server may use either store meanwhile. Other users of the machine can see a password on the
command line, so give it in the environment. Progress is written to stderr, and the number of
records of each kind to stdout. The exit status is 0 when every record was compared and is equal,
and 2, with one sentence, when anything failed. An incomplete copy is marked as such, and no server
starts on it.
"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::args;

    fn read_with(args: &[&str], env: &[(&str, &str)]) -> Result<CopyArgs, String> {
        let variables = env.iter().map(|(name, value)| (name.into(), value.into()));
        match args::read(args.iter().map(OsString::from), variables)? {
            CliCommand::Copy(order) => Ok(order),
            CliCommand::Print(text) => Err(text),
            _ => panic!("{args:?} is something else"),
        }
    }

    #[test]
    fn both_ends_come_from_flags_or_the_environment() {
        let (a, b) = (StoreUrl::Sqlite("a".into()), StoreUrl::Sqlite("b".into()));
        let order = CopyArgs { from: a.clone(), to: b.clone() };
        let env = [("HONGYAN_FROM", "sqlite:a"), ("HONGYAN_TO", "sqlite:b")];
        assert_eq!(read_with(&["copy", "--from", "sqlite:a", "--to=sqlite:b"], &[]), Ok(order.clone()));
        assert_eq!(read_with(&["copy"], &env), Ok(order.clone()));
        let other = [("HONGYAN_FROM", "sqlite:a"), ("HONGYAN_TO", "sqlite:c")];
        assert_eq!(read_with(&["copy", "--to", "sqlite:b"], &other), Ok(order), "the flag beats the environment");
        assert_eq!(
            read_with(&["copy", "--to", "sqlite:a", "--from", "sqlite:b"], &env),
            Ok(CopyArgs { from: b, to: a })
        );
    }

    #[test]
    fn an_error_is_one_sentence_without_a_password() {
        for (args, words) in [
            (&["copy"][..], &["--from URL", "HONGYAN_FROM"][..]),
            (&["copy", "--from", "sqlite:a"], &["--to URL", "HONGYAN_TO"]),
            (&["copy", "--to"], &["--to URL"]),
            (&["copy", "--store", "sqlite:a"], &["--store", "hongyan copy --help"]),
            (&["copy", "--form", "sqlite:a"], &["--form", "did you mean --from?"]),
            (&["copy", "--to", "sqlite:c", "--to", "sqlite:b"], &["--to is given twice"]),
            (&["copy", "--from", "sqlite::memory:", "--to", "sqlite:b"], &["--from", "memory:"]),
            (&["copy", "--from", "sqlite:a", "--to", "sqlite:file:b"], &["--to", "file:"]),
            (&["copy", "-x"], &["-x", "hongyan copy --help"]),
            (&["copy", "there"], &["there", "hongyan copy --help"]),
            (&["copy", "mysql://u:geheim@h/d"], &["unexpected argument", "hongyan copy --help"]),
            (&["copy", "--from", "mysql://u:geheim@"], &["--from"]),
            (&["copy", "--form=mysql://u:geheim@h/d"], &["--form"]),
            (&["--log", "info", "copy"], &["unexpected argument \"copy\""]),
        ] {
            let why = read_with(args, &[("HONGYAN_TO", "")]).unwrap_err();
            assert!(!why.contains("geheim") && !why.contains('\n'), "{why}");
            for word in words {
                assert!(why.contains(word), "{args:?}: {why}");
            }
        }
        let why = read_with(&["copy", "--from", "sqlite:a"], &[("HONGYAN_TO", "pg://u:geheim@h")]).unwrap_err();
        assert!(why.contains("HONGYAN_TO") && !why.contains("geheim"), "{why}");
        let why = read_with(&["copy", "--from", "sqlite:a"], &[("HONGYAN_TOO", "sqlite:b")]).unwrap_err();
        assert!(why.contains("HONGYAN_TOO (did you mean HONGYAN_TO?)"), "{why}");
    }

    #[test]
    fn the_help_fits_the_screen() {
        let help = read_with(&["copy", "--help"], &[]).unwrap_err();
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        for word in ["--from", "--to", "HONGYAN_FROM", "HONGYAN_TO"] {
            assert!(help.contains(word), "{word}");
        }
    }
}
