//! The command line of `hongyan backup`.

use super::StoreUrl;
use super::arg_errors::{error_sentence, given_twice_error, unexpected_argument_error, version};
use super::command::{BackupArgs, CliCommand};
use super::known::{EnvVariables, did_you_mean};
use super::options::find;
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

/// The name of the command.
pub(super) const NAME: &str = "backup";
const HELP: &str = "hongyan backup --help";

/// Reads the arguments after `backup`, and the variables of the environment. Flags override
/// variables.
pub(super) fn read(
    parser: &mut Parser,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<CliCommand, String> {
    let (mut store, mut file): (Option<OsString>, Option<PathBuf>) = (None, None);
    while let Some(arg) = parser.next().map_err(|error| error_sentence(&error))? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(CliCommand::Print(help())),
            Arg::Long("version") | Arg::Short('V') => return Ok(CliCommand::Print(version())),
            Arg::Long("store") => {
                let value = parser.value().map_err(|_| "--store needs a value: --store URL".to_owned())?;
                if store.replace(value).is_some() {
                    return Err(given_twice_error("store"));
                }
            }
            Arg::Long(name) => {
                let meant = did_you_mean("--", name, ["store", "help", "version"]);
                return Err(format!("hongyan backup has no option \"--{name}\"{meant}; see {HELP}"));
            }
            Arg::Short(letter) => {
                return Err(format!("hongyan backup has no option \"-{letter}\"; see {HELP}"));
            }
            Arg::Value(value) if file.is_none() && !value.is_empty() => file = Some(value.into()),
            Arg::Value(value) => return Err(unexpected_argument_error(&value, HELP)),
        }
    }
    let variables = EnvVariables::new(variables)?;
    let variable = find("store").map(|opt| opt.env()).unwrap_or_default();
    let from_env = || variables.get(&variable).map(|value| (variable.clone(), value.clone()));
    let Some((source, value)) = store.map(|value| ("--store".to_owned(), value)).or_else(from_env) else {
        return Err(format!("hongyan backup needs --store URL, or {variable} in the environment"));
    };
    let value = value.string().map_err(|_| format!("{source} is not valid UTF-8"))?;
    let store = StoreUrl::parse(&value).map_err(|why| format!("{source}: {why}"))?;
    let file = file.ok_or_else(|| format!("hongyan backup needs a FILE to write to; see {HELP}"))?;
    Ok(CliCommand::Backup(BackupArgs { store, file }))
}

/// The text of `hongyan backup --help`, at most 100 columns wide.
fn help() -> String {
    version()
        + "\
Writes a backup of a SQLite store to one new file and verifies it. A server may use the store
meanwhile: no commit waits for the backup, and everything committed before it began is in it.

Usage: hongyan backup --store sqlite:PATH FILE

  FILE
      The new file, readable by its owner only. It must not exist. Until the backup is verified it
      is named FILE.partial.
  --store URL
      The store to back up: sqlite:PATH. [environment: HONGYAN_STORE]
  -h, --help
      Print this help and exit.

A summary of what was written goes to stdout. The exit status is 0 when the backup is verified and
on the disk, and 2, with one sentence and without FILE, when anything failed. Back up a MySQL or
MariaDB database with its own tools: docs/operations.md has the command.
"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::args;

    fn read_with(args: &[&str], env: &[(&str, &str)]) -> Result<BackupArgs, String> {
        let variables = env.iter().map(|(name, value)| (name.into(), value.into()));
        match args::read(args.iter().map(OsString::from), variables)? {
            CliCommand::Backup(order) => Ok(order),
            CliCommand::Print(text) => Err(text),
            _ => panic!("{args:?} is something else"),
        }
    }

    #[test]
    fn the_store_comes_from_a_flag_or_the_environment() {
        let order = |store: &str| BackupArgs { store: StoreUrl::Sqlite(store.into()), file: "f".into() };
        let env = [("HONGYAN_STORE", "sqlite:a")];
        assert_eq!(read_with(&["backup", "f"], &env), Ok(order("a")));
        assert_eq!(read_with(&["backup", "--store", "sqlite:b", "f"], &env), Ok(order("b")));
        assert_eq!(read_with(&["backup", "f", "--store=sqlite:b"], &[]), Ok(order("b")));
    }

    #[test]
    fn each_error_is_one_sentence_without_a_password() {
        for (args, words) in [
            (&["backup", "f"][..], &["--store URL", "HONGYAN_STORE"][..]),
            (&["backup", "--store", "sqlite:a"], &["FILE", "hongyan backup --help"]),
            (&["backup", "--store", "sqlite:a", "f", "g"], &["unexpected argument \"g\""]),
            (&["backup", "--store", "sqlite:a", ""], &["unexpected argument"]),
            (&["backup", "--store", "sqlite:a", "--store", "sqlite:b", "f"], &["--store is given twice"]),
            (&["backup", "--stor", "sqlite:a", "f"], &["did you mean --store?"]),
            (&["backup", "-x"], &["-x", "hongyan backup --help"]),
            (&["backup", "--store", "mysql://u:geheim@", "f"], &["--store"]),
            (&["backup", "f", "mysql://u:geheim@h/d"], &["unexpected argument", "hongyan backup --help"]),
        ] {
            let why = read_with(args, &[]).unwrap_err();
            assert!(!why.contains("geheim") && !why.contains('\n'), "{why}");
            assert!(words.iter().all(|word| why.contains(word)), "{args:?}: {why}");
        }
    }

    #[test]
    fn the_help_fits_the_screen() {
        let help = read_with(&["backup", "--help"], &[]).unwrap_err();
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(["--store", "FILE", "HONGYAN_STORE"].iter().all(|word| help.contains(word)));
    }
}
