//! One option: its name, its group, its value with bounds and the setting it stands for.

use crate::config::known::cut;
use crate::config::units::{parse_bytes, parse_count, parse_duration_ms, show_bytes, show_duration_ms};
use crate::config::{BusUrls, Config, StoreUrl};
use log::LevelFilter;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The value of a file option that is not set.
const NO_FILE: &str = "none";

/// The kind of an option's value, with its bounds and the setting that it stands for.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Milliseconds, written with a unit.
    Duration(Number),
    /// Bytes, written with or without a unit.
    Size(Number),
    /// A plain number.
    Count(Number),
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
        show: fn(&Config) -> String,
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
pub struct Number {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) get: fn(&Config) -> u64,
    pub(super) set: fn(&mut Config, u64),
}

/// When a changed option takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At SIGHUP.
    Live,
    /// At the next start.
    AtStart,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name without the dashes.
    pub name: &'static str,
    /// The heading under which the help shows it.
    pub group: &'static str,
    /// Its help, as one sentence.
    pub help: &'static str,
    /// Its values.
    pub kind: Kind,
    /// When a change takes effect.
    pub reload: Reload,
}

impl Opt {
    /// The option's environment variable.
    #[must_use]
    pub fn env(&self) -> String {
        format!("HONGYAN_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// The placeholder of the value in the help.
    #[must_use]
    pub fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Duration(_) => "TIME",
            Kind::Size(_) => "SIZE",
            Kind::Count(_) => "N",
            Kind::File { .. } => "FILE",
            Kind::Switch { .. } => "on|off",
            Kind::List { value_name, .. } | Kind::Choice { value_name, .. } => value_name,
            Kind::Listen => "ADDR:PORT",
            Kind::Store => "URL",
            Kind::Bus => "URLS",
            Kind::Log => "LEVEL",
            Kind::Config => "FILE",
        }
    }

    /// The flag with the placeholder of its value, as it is typed.
    #[must_use]
    pub fn usage(&self) -> String {
        let (name, value) = (self.name, self.value_name());
        match self.kind {
            Kind::Switch { .. } => format!("--{name}[={value}]"),
            _ => format!("--{name} {value}"),
        }
    }

    /// The option's value in a config, as text.
    #[must_use]
    pub fn show(&self, config: &Config) -> String {
        match self.kind {
            Kind::Duration(number) => show_duration_ms((number.get)(config)),
            Kind::Size(number) => show_bytes((number.get)(config)),
            Kind::Count(number) => (number.get)(config).to_string(),
            Kind::File { get, .. } => {
                get(config).as_ref().map_or_else(|| NO_FILE.to_owned(), |path| path.display().to_string())
            }
            Kind::Switch { get, .. } => if get(config) { "on" } else { "off" }.to_owned(),
            Kind::List { show, .. } => show(config),
            Kind::Choice { get, .. } => get(config).to_owned(),
            Kind::Listen => config.listen.to_string(),
            Kind::Store => config.store.to_string(),
            Kind::Bus => config.bus.to_string(),
            Kind::Log => config.log.as_str().to_ascii_lowercase(),
            Kind::Config => config.file.as_ref().map_or("none".to_owned(), |path| path.display().to_string()),
        }
    }

    /// The allowed values, for the help and for errors.
    #[must_use]
    pub fn range(&self) -> String {
        match self.kind {
            Kind::Duration(n) => format!("{} to {}", show_duration_ms(n.min), show_duration_ms(n.max)),
            Kind::Size(n) => format!("{} to {}", show_bytes(n.min), show_bytes(n.max)),
            Kind::Count(n) => format!("{} to {}", n.min, n.max),
            Kind::File { .. } => "a file".to_owned(),
            Kind::Switch { .. } => "on or off".to_owned(),
            Kind::List { allowed, .. } => allowed.to_owned(),
            Kind::Choice { words, .. } => words.join(" or "),
            Kind::Listen => "an IP address and a port, as in 127.0.0.1:1102 or [::]:1102".to_owned(),
            Kind::Store => "sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/DATABASE or memory:".to_owned(),
            Kind::Bus => {
                "none, or URLs with commas between them, as in redis://10.0.0.1:6379,redis://10.0.0.2:6379".to_owned()
            }
            Kind::Log => "error, warn, info, debug, trace or off".to_owned(),
            Kind::Config => "the path of a file".to_owned(),
        }
    }

    /// Do two configs have different values for it?
    #[must_use]
    pub fn differs(&self, one: &Config, other: &Config) -> bool {
        match self.kind {
            // The text lacks the password, so compare the values.
            Kind::Store => one.store != other.store,
            Kind::Bus => one.bus != other.bus,
            _ => self.show(one) != self.show(other),
        }
    }

    /// Copies the option's value from one config to another.
    ///
    /// # Errors
    /// Never: the value was allowed there.
    pub fn copy(&self, from: &Config, to: &mut Config) -> Result<(), String> {
        match self.kind {
            Kind::Store => to.store = from.store.clone(),
            Kind::Bus => to.bus = from.bus.clone(),
            Kind::File { get, set } => set(to, get(from).clone()),
            Kind::Config => to.file.clone_from(&from.file),
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
        let shown = cut(text);
        let allowed = || format!("{source} {shown:?} is not allowed: it must be {}", self.range());
        let (number, parsed) = match self.kind {
            Kind::Duration(number) => (number, parse_duration_ms(text)),
            Kind::Size(number) => (number, parse_bytes(text)),
            Kind::Count(number) => (number, parse_count(text)),
            Kind::File { set, .. } => {
                set(config, (text != NO_FILE).then(|| PathBuf::from(text)));
                return Ok(());
            }
            Kind::Switch { set, .. } => {
                match text {
                    "on" => set(config, true),
                    "off" => set(config, false),
                    _ => return Err(allowed()),
                }
                return Ok(());
            }
            Kind::List { set, .. } => {
                return set(config, text).map_err(|why| format!("{source}: {why}; allowed: {}", self.range()));
            }
            Kind::Choice { words, set, .. } => {
                if !words.contains(&text) {
                    return Err(allowed());
                }
                set(config, text);
                return Ok(());
            }
            Kind::Listen => {
                config.listen = text.parse::<SocketAddr>().map_err(|_| allowed())?;
                return Ok(());
            }
            Kind::Store => {
                config.store = StoreUrl::parse(text).map_err(|why| format!("{source}: {why}"))?;
                return Ok(());
            }
            Kind::Bus => {
                config.bus = BusUrls::parse(text).map_err(|why| format!("{source}: {why}"))?;
                return Ok(());
            }
            Kind::Log => {
                config.log = text.parse::<LevelFilter>().map_err(|_| allowed())?;
                return Ok(());
            }
            Kind::Config => {
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
