//! One option: its name, its group, its value with bounds and the setting it stands for.

use crate::config::known::shorten;
use crate::config::units::{parse_bytes, parse_count, parse_duration_ms, show_bytes, show_duration_ms};
use crate::config::{BusUrls, Config, StoreUrl};
use log::LevelFilter;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The value of a file option that is not set.
const NO_FILE: &str = "none";

/// The kind of an option's value, with its bounds and the setting that it stands for.
#[derive(Clone, Copy, Debug)]
pub enum OptionKind {
    /// Milliseconds, written with a unit.
    Duration(NumberOption),
    /// Bytes, written with or without a unit.
    Size(NumberOption),
    /// A plain number.
    Count(NumberOption),
    /// A file, or none.
    File {
        /// Reads the field.
        get: fn(&Config) -> &Option<PathBuf>,
        /// Writes the field.
        set: fn(&mut Config, Option<PathBuf>),
    },
    /// On or off; the flag without a value means on.
    Switch {
        /// Reads the field.
        get: fn(&Config) -> bool,
        /// Writes the field.
        set: fn(&mut Config, bool),
    },
    /// A list with commas between its entries, or another text in a form of its own.
    List {
        /// The placeholder of the value in the help.
        value_name: &'static str,
        /// The allowed values, for the help and for errors.
        allowed: &'static str,
        /// The value in a config, as text.
        format_value: fn(&Config) -> String,
        /// Parses a value and writes it into a config.
        set: fn(&mut Config, &str) -> Result<(), String>,
    },
    /// One of a few words.
    Choice {
        /// The placeholder of the value in the help.
        value_name: &'static str,
        /// All of them.
        words: &'static [&'static str],
        /// The word in a config.
        get: fn(&Config) -> &'static str,
        /// Writes a word into a config.
        set: fn(&mut Config, &str),
    },
    /// `--listen`.
    Listen,
    /// `--store`.
    Store,
    /// `--bus`.
    Bus,
    /// `--log`.
    Log,
    /// `--config`.
    Config,
}

/// A number with its bounds and its field.
#[derive(Clone, Copy, Debug)]
pub struct NumberOption {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) get: fn(&Config) -> u64,
    pub(super) set: fn(&mut Config, u64),
}

/// When a changed option takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionEffectTime {
    /// At SIGHUP.
    Live,
    /// At the next start.
    AtStart,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct ConfigOption {
    /// Its name without the dashes.
    pub name: &'static str,
    /// The heading under which the help shows it.
    pub group: &'static str,
    /// Its help, as one sentence.
    pub help: &'static str,
    /// Its values.
    pub kind: OptionKind,
    /// When a change takes effect.
    pub reload: OptionEffectTime,
}

impl ConfigOption {
    /// The option's environment variable.
    #[must_use]
    pub fn env(&self) -> String {
        format!("HONGYAN_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// The placeholder of the value in the help.
    #[must_use]
    pub fn value_name(&self) -> &'static str {
        match self.kind {
            OptionKind::Duration(_) => "TIME",
            OptionKind::Size(_) => "SIZE",
            OptionKind::Count(_) => "N",
            OptionKind::File { .. } => "FILE",
            OptionKind::Switch { .. } => "on|off",
            OptionKind::List { value_name, .. } | OptionKind::Choice { value_name, .. } => value_name,
            OptionKind::Listen => "ADDR:PORT",
            OptionKind::Store => "URL",
            OptionKind::Bus => "URLS",
            OptionKind::Log => "LEVEL",
            OptionKind::Config => "FILE",
        }
    }

    /// The flag with the placeholder of its value, as it is typed.
    #[must_use]
    pub fn usage(&self) -> String {
        let (name, value) = (self.name, self.value_name());
        match self.kind {
            OptionKind::Switch { .. } => format!("--{name}[={value}]"),
            _ => format!("--{name} {value}"),
        }
    }

    /// The option's value in a config, as text.
    #[must_use]
    pub fn show(&self, config: &Config) -> String {
        match self.kind {
            OptionKind::Duration(number) => show_duration_ms((number.get)(config)),
            OptionKind::Size(number) => show_bytes((number.get)(config)),
            OptionKind::Count(number) => (number.get)(config).to_string(),
            OptionKind::File { get, .. } => {
                get(config).as_ref().map_or_else(|| NO_FILE.to_owned(), |path| path.display().to_string())
            }
            OptionKind::Switch { get, .. } => if get(config) { "on" } else { "off" }.to_owned(),
            OptionKind::List { format_value, .. } => format_value(config),
            OptionKind::Choice { get, .. } => get(config).to_owned(),
            OptionKind::Listen => config.listen.to_string(),
            OptionKind::Store => config.store.to_string(),
            OptionKind::Bus => config.bus.to_string(),
            OptionKind::Log => config.log.as_str().to_ascii_lowercase(),
            OptionKind::Config => config.file.as_ref().map_or("none".to_owned(), |path| path.display().to_string()),
        }
    }

    /// The allowed values, for the help and for errors.
    #[must_use]
    pub fn range(&self) -> String {
        match self.kind {
            OptionKind::Duration(n) => format!("{} to {}", show_duration_ms(n.min), show_duration_ms(n.max)),
            OptionKind::Size(n) => format!("{} to {}", show_bytes(n.min), show_bytes(n.max)),
            OptionKind::Count(n) => format!("{} to {}", n.min, n.max),
            OptionKind::File { .. } => "a file".to_owned(),
            OptionKind::Switch { .. } => "on or off".to_owned(),
            OptionKind::List { allowed, .. } => allowed.to_owned(),
            OptionKind::Choice { words, .. } => words.join(" or "),
            OptionKind::Listen => "an IP address and a port, as in 127.0.0.1:1102 or [::]:1102".to_owned(),
            OptionKind::Store => "sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/DATABASE or memory:".to_owned(),
            OptionKind::Bus => {
                "none, or URLs with commas between them, as in redis://10.0.0.1:6379,redis://10.0.0.2:6379".to_owned()
            }
            OptionKind::Log => "error, warn, info, debug, trace or off".to_owned(),
            OptionKind::Config => "the path of a file".to_owned(),
        }
    }

    /// Do two configs have different values for it?
    #[must_use]
    pub fn differs(&self, one: &Config, other: &Config) -> bool {
        match self.kind {
            // The text lacks the password, so compare the values.
            OptionKind::Store => one.store != other.store,
            OptionKind::Bus => one.bus != other.bus,
            _ => self.show(one) != self.show(other),
        }
    }

    /// Copies the option's value from one config to another.
    ///
    /// # Errors
    /// Never: the value was allowed there.
    pub fn copy(&self, from: &Config, to: &mut Config) -> Result<(), String> {
        match self.kind {
            OptionKind::Store => to.store = from.store.clone(),
            OptionKind::Bus => to.bus = from.bus.clone(),
            OptionKind::File { get, set } => set(to, get(from).clone()),
            OptionKind::Config => to.file.clone_from(&from.file),
            _ => return self.apply(to, self.name, &self.show(from)),
        }
        Ok(())
    }

    /// Parses a value and writes it into the config. `source` is the flag, the variable or the
    /// place in a file from which it came.
    ///
    /// # Errors
    /// One sentence that names the source, the value and what is allowed. The values of `--store`
    /// and `--bus` are not repeated.
    pub fn apply(&self, config: &mut Config, source: &str, text: &str) -> Result<(), String> {
        let shown = shorten(text);
        let allowed = || format!("{source} {shown:?} is not allowed: it must be {}", self.range());
        let (number, parsed) = match self.kind {
            OptionKind::Duration(number) => (number, parse_duration_ms(text)),
            OptionKind::Size(number) => (number, parse_bytes(text)),
            OptionKind::Count(number) => (number, parse_count(text)),
            OptionKind::File { set, .. } => {
                set(config, (text != NO_FILE).then(|| PathBuf::from(text)));
                return Ok(());
            }
            OptionKind::Switch { set, .. } => {
                match text {
                    "on" => set(config, true),
                    "off" => set(config, false),
                    _ => return Err(allowed()),
                }
                return Ok(());
            }
            OptionKind::List { set, .. } => {
                return set(config, text).map_err(|why| format!("{source}: {why}; allowed: {}", self.range()));
            }
            OptionKind::Choice { words, set, .. } => {
                if !words.contains(&text) {
                    return Err(allowed());
                }
                set(config, text);
                return Ok(());
            }
            OptionKind::Listen => {
                config.listen = text.parse::<SocketAddr>().map_err(|_| allowed())?;
                return Ok(());
            }
            OptionKind::Store => {
                config.store = StoreUrl::parse(text).map_err(|why| format!("{source}: {why}"))?;
                return Ok(());
            }
            OptionKind::Bus => {
                config.bus = BusUrls::parse(text).map_err(|why| format!("{source}: {why}"))?;
                return Ok(());
            }
            OptionKind::Log => {
                config.log = text.parse::<LevelFilter>().map_err(|_| allowed())?;
                return Ok(());
            }
            OptionKind::Config => {
                config.file = Some(text.into());
                return Ok(());
            }
        };
        let value = parsed.map_err(|why| format!("{source} {shown:?} {why}; allowed: {}", self.range()))?;
        if value < number.min || value > number.max {
            return Err(allowed());
        }
        (number.set)(config, value);
        Ok(())
    }
}
