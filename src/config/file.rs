//! The configuration file: TOML, whose keys are the names of the options.

use super::Config;
use super::known::{did_you_mean, shorten};
use super::options::{CONFIG, ConfigOption, OPTIONS, OptionKind, find};
use super::regular_file;
use std::fs::Metadata;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The content of a configuration file.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) entries: Vec<ConfigFileEntry>,
    /// Everybody on the machine may read it.
    pub(super) is_world_readable: bool,
}

/// One option that the file sets.
#[derive(Debug)]
pub(super) struct ConfigFileEntry {
    pub(super) opt: &'static ConfigOption,
    /// The file, line and name of the option, for errors.
    pub(super) source: String,
    /// The value as text, as a flag would have it.
    pub(super) text: String,
}

impl ConfigFile {
    /// Reads a file. `source` is the flag or the variable that names it.
    ///
    /// # Errors
    /// One sentence about the first thing that is wrong, with its line. Values that may be secrets
    /// are not repeated.
    pub(super) fn read(source: &str, path: &Path) -> Result<Self, String> {
        let fault = |why: &str| format!("{source} {} cannot be used: {why}", path.display());
        let (bytes, data) = regular_file::read_file(path).map_err(|why| fault(&why))?;
        let is_world_readable = is_world_readable(&data);
        let text = String::from_utf8(bytes).map_err(|_| fault("it is not valid UTF-8"))?;
        Ok(Self { entries: parse(&path.display().to_string(), &text)?, is_world_readable })
    }
}

/// The options in the text of a file, in the order of its lines.
fn parse(path: &str, text: &str) -> Result<Vec<ConfigFileEntry>, String> {
    let table = DeTable::parse(text).map_err(|error| syntax(path, text, &error))?.into_inner();
    let mut found: Vec<_> = table.iter().collect();
    found.sort_by_key(|(key, _)| key.span().start);
    found
        .into_iter()
        .map(|(key, value)| entry(&position_text(path, text, &key.span()), key.get_ref(), value.get_ref()))
        .collect()
}

fn entry(place: &str, key: &str, value: &DeValue<'_>) -> Result<ConfigFileEntry, String> {
    let Some(opt) = find(key) else {
        let key = shorten(key);
        if value.is_table() {
            return Err(format!("{place}: {key:?} is a table; all options stand at the top of the file, in no table"));
        }
        let known = OPTIONS.iter().map(|opt| opt.name).filter(|name| *name != CONFIG);
        let meant = did_you_mean("", &key, known);
        return Err(format!("{place}: unknown option {key:?}{meant}; see hongyan --help"));
    };
    if opt.name == CONFIG {
        return Err(format!("{place}: a configuration file cannot name another one"));
    }
    let text = match (opt.kind, value) {
        (OptionKind::Count(_) | OptionKind::Size(_), DeValue::Integer(number)) => number.to_string(),
        (OptionKind::Switch { .. }, DeValue::Boolean(is_on)) => if *is_on { "on" } else { "off" }.to_owned(),
        (OptionKind::Count(_), _) => return Err(wrong_type(place, opt, value)),
        (_, DeValue::String(text)) => text.clone().into_owned(),
        _ => return Err(wrong_type(place, opt, value)),
    };
    Ok(ConfigFileEntry { opt, source: format!("{place}: {key}"), text })
}

/// The error about a value of the wrong type, with the right form. The value is not repeated: it
/// may be a password.
fn wrong_type(place: &str, opt: &ConfigOption, value: &DeValue<'_>) -> String {
    let (name, shown) = (opt.name, opt.show(&Config::default()));
    let wanted = match opt.kind {
        OptionKind::Count(_) => format!("a number without quotes, as in {name} = {shown}"),
        _ => format!("text in quotes, as in {name} = \"{shown}\""),
    };
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{place}: {name} must be {wanted}; here it is {article} {kind}")
}

/// The parser's own sentence with the line. The line itself is not repeated: it may hold a
/// password.
fn syntax(path: &str, text: &str, error: &toml::de::Error) -> String {
    let span = error.span().unwrap_or(0..0);
    let place = position_text(path, text, &span);
    let message = error.message();
    if message.contains("duplicate key") {
        let key = text.get(span).unwrap_or_default().trim_matches(['"', '\'']);
        return format!("{place}: {} is given twice", shorten(key));
    }
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{place}: this is not TOML ({message}); an option is written like idle-timeout = \"120s\"")
}

fn position_text(path: &str, text: &str, span: &Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or(text);
    format!("{path}, line {}", before.matches('\n').count() + 1)
}

#[cfg(unix)]
fn is_world_readable(data: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    data.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn is_world_readable(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::args;
    use crate::config::command::CliCommand;
    use crate::config::settings::LoadedConfig;
    use std::fs;

    fn texts(text: &str) -> Result<Vec<(&'static str, String)>, String> {
        Ok(parse("im.toml", text)?.into_iter().map(|entry| (entry.opt.name, entry.text)).collect())
    }

    #[test]
    fn every_option_can_stand_in_the_file() {
        let default = Config::default();
        let mut lines = Vec::new();
        let options = || OPTIONS.iter().filter(|opt| opt.name != CONFIG);
        for opt in options() {
            let shown = opt.show(&default);
            let value = if matches!(opt.kind, OptionKind::Count(_)) { shown } else { format!("\"{shown}\"") };
            lines.push(format!("{} = {value}  # a comment\n", opt.name));
        }
        let found = texts(&lines.concat()).unwrap();
        let expected: Vec<_> = options().map(|opt| (opt.name, opt.show(&default))).collect();
        assert_eq!(found, expected, "in the order of the lines");
    }

    #[test]
    fn a_switch_may_be_written_as_a_toml_boolean() {
        let found = texts("standby = true\nsign-ups = false\ntls-only = \"on\"\n").unwrap();
        let expected = [("standby", "on"), ("sign-ups", "off"), ("tls-only", "on")];
        assert_eq!(found, expected.map(|(name, value)| (name, value.to_owned())));
        let why = texts("listen = true").unwrap_err();
        assert!(why.contains("listen must be text in quotes") && why.ends_with("a boolean"), "{why}");
    }

    #[test]
    fn the_forms_of_values() {
        let text = "max-frame = 65_536\n\"log\" = 'debug'\njobs-max = 1_000\nstore = \"sqlite:\\u0061.db\"\r\n";
        let found = [("max-frame", "65536"), ("log", "debug"), ("jobs-max", "1000"), ("store", "sqlite:a.db")];
        assert_eq!(texts(text).unwrap(), found.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(texts("# nothing\n\n").unwrap(), []);
    }

    #[test]
    fn an_error_in_the_file_is_one_sentence_with_file_and_line() {
        for (text, line, words) in [
            ("\nidle-timeuot = \"1s\"", 2, &["unknown option \"idle-timeuot\"", "did you mean idle-timeout?"][..]),
            ("idle_timeout = \"1s\"", 1, &["did you mean idle-timeout?"]),
            ("confg = \"a\"", 1, &["unknown option \"confg\"", "hongyan --help"]),
            ("config = \"other.toml\"", 1, &["cannot name another one"]),
            (
                "log = \"info\"\n\nlisten = 1102",
                3,
                &["listen must be text in quotes", "= \"127.0.0.1:1102\"", "an integer"],
            ),
            (
                "idle-timeout = 120",
                1,
                &["idle-timeout must be text in quotes, as in idle-timeout = \"120s\"", "an integer"],
            ),
            ("jobs-max = \"5\"", 1, &["jobs-max must be a number without quotes, as in jobs-max = 65536", "a string"]),
            ("jobs-max = 5.0", 1, &["jobs-max must be a number", "a float"]),
            ("store = [\"memory:\"]", 1, &["store must be text in quotes", "an array"]),
            ("[listen]\nport = 1", 1, &["listen must be text in quotes", "a table"]),
            ("log = \"info\"\n[server]\nlisten = \"x\"", 2, &["\"server\" is a table", "at the top of the file"]),
            ("log = \"info\"\n# again\nlog = \"info\"", 3, &["log is given twice"]),
            ("log = \"info\"\n\"log\" = \"info\"", 2, &["log is given twice"]),
            (&format!("{} = 1", "k".repeat(500_000)), 1, &["unknown option \"kkk", "kkk…\"; see hongyan --help"]),
            ("log = \"info\"\nidle-timeout = 120s", 2, &["not TOML", "idle-timeout = \"120s\""]),
            ("log = \"info\"\nstore = mysql://u:geheim@h/d", 2, &["not TOML"]),
            ("store = \"mysql://u:geheim@h/d", 1, &["not TOML"]),
            ("listen", 1, &["not TOML"]),
            ("--listen = \"127.0.0.1:1\"", 1, &["unknown option \"--listen\"", "did you mean listen?"]),
        ] {
            let why = texts(text).unwrap_err();
            assert!(why.starts_with(&format!("im.toml, line {line}: ")), "{text}: {why}");
            assert!(!why.contains('\n') && !why.contains("geheim"), "{why}");
            for word in words {
                assert!(why.contains(word), "{text}: {why}");
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("latin.toml", b"# caf\xe9\n");
        write("large.toml", &vec![b'#'; (1 << 20) + 1]);
        for (name, why) in [
            ("missing.toml", "there is no such file"),
            ("", "it is a folder"),
            ("latin.toml", "it is not valid UTF-8"),
            ("large.toml", "it is larger than 1 MiB"),
        ] {
            let path = folder.path().join(name);
            let said = ConfigFile::read("--config", &path).unwrap_err();
            assert_eq!(said, format!("--config {} cannot be used: {why}", path.display()));
        }
    }

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<LoadedConfig, String> {
        let variables = env.iter().map(|(name, value)| (name.into(), value.into()));
        match args::read(args.iter().map(Into::into), variables)? {
            CliCommand::Run(settings) | CliCommand::Check(settings) => Ok(*settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_override_the_environment_and_that_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hongyan.toml");
        let path = path.to_str().unwrap();
        fs::write(path, "listen = \"[::1]:1\"\nlist-max = 8\nlog = \"warn\"\nidle-timeout = \"7s\"\n").unwrap();
        let env = [("HONGYAN_CONFIG", path), ("HONGYAN_LOG", "debug"), ("HONGYAN_IDLE_TIMEOUT", "8s")];
        let LoadedConfig { config, summary, .. } = read(&["--idle-timeout", "9s"], &env).unwrap();
        assert_eq!(config.listen.to_string(), "[::1]:1", "the file beats the default");
        assert_eq!(config.log, log::LevelFilter::Debug, "the environment beats the file");
        assert_eq!(config.rules.idle_timeout_ms, 9_000, "a flag beats both");
        assert_eq!(config.rules.outstanding_max, 8, "a default follows the options that were given");
        assert_eq!(config.file.as_deref(), Some(Path::new(path)));
        let sources = format!("2 set in {path}, 1 set in the environment, 1 set in the command line");
        assert_eq!(summary, format!("listen [::1]:1, store sqlite:hongyan.db; {sources}"));
        // A flag names a different file than the environment.
        let LoadedConfig { config, summary, .. } = read(&["--config", path], &[("HONGYAN_CONFIG", "no.toml")]).unwrap();
        assert_eq!((config.rules.idle_timeout_ms, config.rules.list_max), (7_000, 8));
        assert!(summary.ends_with(&format!("; 4 set in {path}")), "{summary}");
        let LoadedConfig { config, summary, .. } = read(&[], &[("HONGYAN_CONFIG", "")]).unwrap();
        assert_eq!((config.file, summary.rsplit("; ").next()), (None, Some("every option has its default")));
    }

    #[test]
    fn a_file_is_checked_as_a_whole_and_with_the_options_set_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hongyan.toml");
        let file = path.to_str().unwrap();
        for (text, args, why) in [
            ("\nidle-timeout = \"25h\"", &["--idle-timeout", "9s"][..], "line 2: idle-timeout \"25h\" is not allowed"),
            ("listen = \"localhost\"", &[], "line 1: listen \"localhost\" is not allowed"),
            ("store = \"pg://u:geheim@h\"", &[], "line 1: store: \"pg\" is no kind of store"),
            ("outstanding-max = 9", &["--list-max", "8"], "--outstanding-max 9 must not be greater than --list-max 8"),
        ] {
            fs::write(&path, text).unwrap();
            let said = read(&[&["--config", file], args].concat(), &[]).unwrap_err();
            assert!(said.contains(why) && !said.contains("geheim"), "{said}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_password_that_everybody_may_read_is_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hongyan.toml");
        let file = path.to_str().unwrap();
        let with = "store = \"mysql://u:geheim@h/d\"\n";
        let elsewhere = [("HONGYAN_STORE", "mysql://u:geheim@h/d")];
        for (text, mode, env, is_warned) in [
            (with, 0o644, &[][..], true),
            (with, 0o640, &[], false),
            (with, 0o644, &elsewhere, false),
            ("store = \"mysql://u@h/d\"\n", 0o644, &[], false),
            ("store = \"mysql://u@h/d\"\nnode-name = \"a\"\nbus = \"redis://:geheim@h\"\n", 0o644, &[], true),
            ("store = \"mysql://u@h/d\"\nnode-name = \"a\"\nbus = \"redis://h\"\n", 0o644, &[], false),
            ("log = \"info\"\n", 0o644, &elsewhere, false),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let warning = read(&["--config", file], env).unwrap().warning;
            assert_eq!(warning.is_some(), is_warned, "{text} {mode:o} {warning:?}");
            assert!(warning.is_none_or(|why| why.contains(file) && !why.contains("geheim")));
        }
    }

    #[test]
    #[cfg(unix)]
    fn whether_everybody_may_read_it_is_known() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hongyan.toml");
        fs::write(&path, "log = \"info\"\n").unwrap();
        for (mode, expected) in [(0o644, true), (0o640, false), (0o600, false), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(ConfigFile::read("--config", &path).unwrap().is_world_readable, expected, "{mode:o}");
        }
    }
}
