//! The files that packages install beside the program: the configuration file and the systemd unit
//! fit the program as it is. The package itself is tried by `packaging/try-deb`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn check(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hongyan")).args(args).arg("--check-config").output().unwrap()
}

#[track_caller]
fn good(path: &Path) -> String {
    let output = check(&["--config", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_configuration_file_is_good_and_so_is_every_line_that_is_commented_out() {
    let path = packaging("hongyan.toml");
    let said = good(&path);
    assert!(said.contains("listen 127.0.0.1:1102, store sqlite:/var/lib/hongyan/hongyan.db; 2 set in"), "{said}");
    // The default is what stands behind each `#`, except for the second store.
    let text = fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with([' ', '!'])) {
        if line.is_empty() {
            continue;
        }
        let one = folder.path().join("one.toml");
        fs::write(&one, line).unwrap();
        good(&one);
        let (name, value) = line.split_once(" = ").unwrap();
        if name != "store" {
            let opt = hongyan::config::options::find(name).unwrap();
            let default = opt.show(&hongyan::config::Config::default());
            assert_eq!(value.trim_matches('"'), default, "{name}");
            lines.push(line);
        }
    }
    assert!(lines.len() > 5, "{lines:?}");
    let all = folder.path().join("all.toml");
    fs::write(&all, format!("{text}\n{}\n", lines.join("\n"))).unwrap();
    assert!(good(&all).contains(&format!("{} set in", lines.len() + 2)));
}

fn setting(unit: &str, name: &str) -> String {
    let prefix = format!("{name}=");
    let mut found = unit.lines().filter_map(|line| line.strip_prefix(&prefix));
    let value = found.next().unwrap_or_else(|| panic!("the unit has no {name}"));
    assert!(found.next().is_none(), "{name} stands there once");
    value.to_owned()
}

#[test]
fn the_unit_starts_the_program_as_it_is() {
    let unit = fs::read_to_string(packaging("hongyan.service")).unwrap();
    let command = setting(&unit, "ExecStart");
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("/usr/bin/hongyan"));
    let installed = packaging("hongyan.toml");
    let args: Vec<&str> = words
        .map(|word| if word == "/etc/hongyan/hongyan.toml" { installed.to_str().unwrap() } else { word })
        .collect();
    assert_eq!(args[0], "--config");
    assert!(check(&args).status.success());
    assert_eq!(setting(&unit, "Type"), "notify");
    assert_eq!(setting(&unit, "StateDirectory"), "hongyan");
    // The defaults fit into it: a descriptor for each connection, and time to stop.
    let config = hongyan::config::Config::default();
    assert!(setting(&unit, "LimitNOFILE").parse::<usize>().unwrap() > config.connections_max + 100);
    let stop = setting(&unit, "TimeoutStopSec").trim_end_matches('s').parse::<u64>().unwrap();
    assert!(stop * 1_000 > 2 * config.stop_wait_ms);
}

/// Where systemd is installed; it need not run.
#[test]
fn the_unit_is_sandboxed() {
    let unit = packaging("hongyan.service");
    // In tenths: 2.0.
    let rated =
        Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20"]).arg(unit).output();
    let Ok(output) = rated else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("exposure level"), "{said}");
}

/// `hongyan chat` starts the client beside it.
#[test]
fn the_package_has_the_client_and_is_built_with_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = fs::read_to_string(path).unwrap();
    let deb = text.split_once("[package.metadata.deb]").unwrap().1;
    assert!(deb.contains("[\"target/release/hongyan-chat\", \"usr/bin/\", \"755\"]"), "{deb}");
    assert!(deb.contains("features = [\"client\"]"), "{deb}");
}
