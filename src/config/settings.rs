//! The settings of a server, from the file, the environment and the flags, and the relations
//! between them.

use super::file::ConfigFile;
use super::known::EnvVariables;
use super::options::{CONFIG, ConfigOption, OPTIONS, find};
use super::{AdminInterfaceAddress, AdminPlace, Config, StoreUrl};
use lexopt::ValueExt;
use std::ffi::OsString;
use std::path::Path;

/// The settings of a server, with messages about them.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The settings.
    pub config: Config,
    /// One line: the two most important settings, and where the settings came from.
    pub summary: String,
    /// A warning about settings that are valid but should be different; a sentence.
    pub warning: Option<String>,
    /// The store was set explicitly.
    pub names_store: bool,
}

/// Reads the settings from the file, the variables and the flags. The whole file is checked, even
/// the settings that are overridden. `check_relations` checks the relations between the settings
/// that are used.
pub(super) fn settings(
    flags: &[(&'static ConfigOption, OsString)],
    variables: &EnvVariables,
    check_relations: impl FnOnce(&mut Config, &[&str]) -> Result<(), String>,
) -> Result<LoadedConfig, String> {
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
    Ok(LoadedConfig { summary: summary(&config, counts), warning, names_store, config })
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
pub(super) fn check_relations(config: &mut Config, given: &[&str]) -> Result<(), String> {
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
    // If the save delay were longer than the time limit of answers, messages to a receiver who does
    // not ack would always be answered MF.
    if config.rules.save_after_ms > config.rules.answer_within_ms {
        if given.contains(&"save-after") {
            let (save, answer) = (shown(config, "save-after"), shown(config, "answer-within"));
            return Err(format!("--save-after {save} must not be longer than --answer-within {answer}"));
        }
        config.rules.save_after_ms = config.rules.answer_within_ms;
    }
    check_files(config)?;
    relate_admin(config)?;
    if config.is_standby && !matches!(config.store, StoreUrl::Mysql(_)) {
        return Err("--standby needs a store that two machines share: --store mysql://…".to_owned());
    }
    if config.node_name.is_none() && !config.bus.is_empty() {
        return Err("--bus needs --node-name: only the nodes of a cluster use a bus".to_owned());
    }
    if config.node_name.is_some() {
        if !matches!(config.store, StoreUrl::Mysql(_)) {
            return Err("--node-name needs a store that several machines share: --store mysql://…".to_owned());
        }
        if config.is_standby {
            return Err("--standby and --node-name exclude each other: a node needs no standby".to_owned());
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

/// Checks that each file stands beside the option that uses it.
fn check_files(config: &Config) -> Result<(), String> {
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
        (None, Some(_)) => return Err("--push-hook-secret-file needs --push-hook, the URL of a service".to_owned()),
        _ => {}
    }
    if config.admin_token_file.is_some() && !matches!(config.admin, AdminPlace::At(AdminInterfaceAddress::Tcp(_))) {
        return Err("--admin-token-file needs --admin ADDR:PORT: only a port takes the token".to_owned());
    }
    Ok(())
}

/// The only relation that `hongyan admin` checks, too.
pub(super) fn relate_admin(config: &Config) -> Result<(), String> {
    if let AdminPlace::At(AdminInterfaceAddress::Tcp(addr)) = config.admin
        && !addr.ip().to_canonical().is_loopback()
        && config.admin_token_file.is_none()
    {
        return Err(format!("--admin {addr} is no loopback address: it needs --admin-token-file"));
    }
    Ok(())
}
