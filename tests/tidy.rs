//! The rules of the house as a test: which room may know which, how large a file may grow, what
//! must not stand in it, and that the documents speak of what is there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

/// Lines of a source file.
const FILE_LINES_MAX: usize = 520;
/// Lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 80;
/// Columns of a line of comment; rustfmt looks after the code.
const COMMENT_COLUMNS_MAX: usize = 100;

/// Which rooms each room may name. What is not listed may name nothing but itself.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("main", &["server", "config", "copy", "logging"]),
    ("server", &["net", "store", "chat", "config"]),
    ("copy", &["store", "config"]),
    ("net", &["chat", "protocol", "store::pool", "config"]),
    ("store", &["chat::contract", "protocol", "config"]),
    ("chat", &["protocol"]),
    ("config", &["chat::contract"]),
    ("protocol", &[]),
    ("logging", &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The room of a source file: its folder, or its own name at the top.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

#[test]
fn every_room_knows_only_what_it_may() {
    let mut complaints = Vec::new();
    for path in files("src", "rs") {
        let room = room(&path);
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| *name == room) else {
            assert_eq!(room, "lib", "a new room: say in tests/tidy.rs what it may know");
            continue;
        };
        let tests_only = path.file_stem().is_some_and(|stem| stem == "tests");
        for (number, line) in read(&path).lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") || tests_only {
                break;
            }
            let code = line.split("//").next().unwrap_or_default();
            for (place, crate_name) in code.match_indices("crate::").chain(code.match_indices("hongyan::")) {
                let named = &code[place + crate_name.len()..];
                let itself = named.starts_with(&room);
                if !itself && !allowed.iter().any(|allowed| named.starts_with(allowed)) {
                    complaints.push(format!("{}:{}: {room} must not know {named}", shown(&path), number + 1));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn the_pure_rooms_deny_clocks_and_threads() {
    for file in ["src/chat/mod.rs", "src/protocol/mod.rs"] {
        assert!(read(&root().join(file)).contains("#![deny(clippy::disallowed_methods)]"), "{file}");
    }
    let mut complaints = Vec::new();
    for path in files("src", "rs").into_iter().filter(|path| ["chat", "protocol"].contains(&room(path).as_str())) {
        for (number, line) in read(&path).lines().enumerate() {
            for word in ["std::net", "std::io", "std::fs", "std::thread", "std::time", "std::env", "mio::"] {
                if line.contains(word) {
                    complaints.push(format!("{}:{}: {word} in a pure room", shown(&path), number + 1));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn files_and_functions_fit_a_head() {
    let mut complaints = Vec::new();
    for path in files("src", "rs").into_iter().chain(files("tests", "rs")).chain(files("benches", "rs")) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            complaints.push(format!("{}: {} lines, split it at a purpose", shown(&path), lines.len()));
        }
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function =
                line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(super) ").starts_with("fn ");
            if !is_function {
                continue;
            }
            // rustfmt puts the closing brace under the `fn`.
            let closing = format!("{}}}", " ".repeat(indent));
            let length = lines[start..].iter().position(|line| *line == closing).unwrap_or(0);
            if length > FUNCTION_LINES_MAX {
                complaints.push(format!("{}:{}: a function of {length} lines", shown(&path), start + 1));
            }
        }
    }
    none(&complaints);
}

#[test]
fn comments_can_be_read_without_moving_the_head() {
    let mut complaints = Vec::new();
    let folders = ["src", "tests", "benches", "examples", "fuzz/fuzz_targets"];
    for path in folders.iter().flat_map(|folder| files(folder, "rs")) {
        for (number, line) in read(&path).lines().enumerate() {
            let columns = line.chars().count();
            if line.trim_start().starts_with("//") && columns > COMMENT_COLUMNS_MAX {
                complaints.push(format!("{}:{}: a comment of {columns} columns", shown(&path), number + 1));
            }
        }
    }
    none(&complaints);
}

#[test]
fn nothing_is_left_open_and_the_project_speaks_of_itself() {
    // Put together here, so that this file does not find itself.
    let open = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["un", "safe {"].concat(), ["#[ign", "ore"].concat()];
    let elsewhere =
        [["../sha", "red"].concat(), ["/wo", "rk/"].concat(), ["iss", "ue #"].concat(), ["crates", ".io/api"].concat()];
    let texts = [root().join("README.md"), root().join("CHANGELOG.md"), root().join("schema.sql"), root().join("test")];
    let mut complaints = Vec::new();
    let sources = files("src", "rs").into_iter().chain(files("tests", "rs")).chain(files("benches", "rs"));
    for path in sources.chain(files("docs", "md")).chain(texts) {
        for (number, line) in read(&path).lines().enumerate() {
            for word in open.iter().chain(&elsewhere) {
                if line.contains(word.as_str()) {
                    complaints.push(format!("{}:{}: {word}", shown(&path), number + 1));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn the_documents_name_only_files_that_are_there() {
    let mut complaints = Vec::new();
    for path in files("docs", "md").into_iter().chain([root().join("README.md")]) {
        for (number, line) in read(&path).lines().enumerate() {
            for quoted in line.split('`').skip(1).step_by(2) {
                let is_path = ["src/", "tests/", "docs/", "benches/"].iter().any(|start| quoted.starts_with(start));
                let plain = quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
                if is_path && plain && !root().join(quoted).exists() {
                    complaints.push(format!("{}:{}: there is no {quoted}", shown(&path), number + 1));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn the_readme_lists_every_option_as_the_program_knows_it() {
    let table = hongyan::config::args::markdown();
    assert!(read(&root().join("README.md")).contains(&table), "the table of options in README.md is to be:\n{table}");
}

#[test]
fn every_dependency_outside_the_core_has_its_reason() {
    let core = ["mio", "serde", "serde_json", "slab", "log", "simplelog"];
    let manifest = read(&root().join("Cargo.toml"));
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[profile").next().unwrap();
    let mut before = "";
    for line in dependencies.lines() {
        // The head of a section may have a condition with an equals sign of its own.
        if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('[')) {
            let explained = before.starts_with('#') || before.starts_with("signal-hook");
            assert!(core.contains(&name.trim()) || explained, "no reason beside {name}");
        }
        before = line;
    }
}
