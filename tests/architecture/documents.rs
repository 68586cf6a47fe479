//! The documents agree with the sources.

use super::{files, none, read, root, shown};
use std::collections::BTreeSet;

#[test]
fn the_documents_name_only_files_that_are_there() {
    let mut complaints = Vec::new();
    for path in files("docs", "md").into_iter().chain([root().join("README.md")]) {
        for (number, line) in read(&path).lines().enumerate() {
            for quoted in line.split('`').skip(1).step_by(2) {
                let is_path =
                    ["src/", "tests/", "docs/", "benches/", "packaging/"].iter().any(|start| quoted.starts_with(start));
                let plain = quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
                if is_path && plain && !root().join(quoted).exists() {
                    complaints.push(format!("{}:{}: there is no {quoted}", shown(&path), number + 1));
                }
            }
        }
    }
    none(&complaints);
}

/// The words of a source text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Does this look like the name of a type, or of a function or field of one?
fn is_symbol(quoted: &str) -> bool {
    let is_type = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric())
            && word.chars().any(|c| c.is_ascii_lowercase())
    };
    quoted.split("::").next().is_some_and(is_type)
}

#[test]
fn the_documents_name_only_symbols_that_are_there() {
    let folders = ["src", "tests", "benches"].into_iter().flat_map(|folder| files(folder, "rs"));
    let sources: Vec<String> = folders.map(|path| read(&path)).collect();
    let known: BTreeSet<&str> = sources.iter().flat_map(|text| words(text)).collect();
    let (mut complaints, mut count) = (Vec::new(), 0);
    for path in ["docs/states.md", "docs/architecture.md"].map(|path| root().join(path)) {
        for (number, line) in read(&path).lines().enumerate() {
            for quoted in line.split('`').skip(1).step_by(2).filter(|quoted| is_symbol(quoted)) {
                count += 1;
                if let Some(unknown) = words(quoted).find(|word| !known.contains(word)) {
                    complaints.push(format!("{}:{}: there is no {unknown}", shown(&path), number + 1));
                }
            }
        }
    }
    assert!(count > 50, "{count} symbols");
    none(&complaints);
}

#[test]
fn the_docs_list_every_option_as_the_program_knows_it() {
    let (table, path) = (hongyan::config::args::markdown(), root().join("docs/options.md"));
    let docs = read(&path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let head = docs.split("\n## Server\n").next().unwrap();
        std::fs::write(&path, format!("{head}{table}")).unwrap();
    } else {
        let how = "UPDATE_DOCS=1 cargo test --test architecture docs_list";
        assert!(docs.ends_with(&table), "docs/options.md is not what the program knows; write it anew: {how}");
    }
    // The few in the README, too.
    let readme = read(&root().join("README.md"));
    let options = readme.lines().filter(|line| line.starts_with("| `--"));
    let lines: Vec<&str> = options.collect();
    assert!((4..=8).contains(&lines.len()), "a few in the README");
    none(
        &lines.iter().filter(|line| !table.contains(**line)).map(|line| format!("not so: {line}")).collect::<Vec<_>>(),
    );
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
