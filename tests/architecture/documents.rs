//! The documents agree with the sources.

use super::{MAY_KNOW, files, none, read, root, shown};
use std::collections::{BTreeMap, BTreeSet};

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

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The table of modules in a document: each module, and the names that it may import.
fn table_of_modules(document: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let from_table = document.lines().skip_while(|line| *line != "| module | purpose | may import |");
    let mut table = BTreeMap::new();
    for row in from_table.skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [modules, _, imports] = cells[..] else { panic!("not three columns: {row}") };
        for path in quoted(modules).filter_map(|path| path.strip_prefix("src/")) {
            let module = path.split(['/', '.']).next().unwrap();
            table.insert(module, quoted(imports).collect());
        }
    }
    table
}

/// The differences between the table of a document and the table of the tests.
fn differences(document: &str, may_know: &[(&str, &[&str])]) -> Vec<String> {
    let documented = table_of_modules(document);
    let checked: BTreeMap<&str, BTreeSet<&str>> =
        may_know.iter().map(|(module, names)| (*module, names.iter().copied().collect())).collect();
    let modules: BTreeSet<_> = documented.keys().chain(checked.keys()).collect();
    let differing = modules.into_iter().filter(|module| documented.get(*module) != checked.get(*module));
    let say = |names: Option<&BTreeSet<&str>>| names.map_or("no row".to_owned(), |names| format!("{names:?}"));
    differing
        .map(|module| {
            let (documented, checked) = (say(documented.get(module)), say(checked.get(module)));
            format!("{module}: {documented} in docs/architecture.md, {checked} in tests/architecture/main.rs")
        })
        .collect()
}

#[test]
fn the_document_lists_the_imports_that_each_module_may_have() {
    none(&differences(&read(&root().join("docs/architecture.md")), MAY_KNOW));
}

#[test]
fn a_row_that_says_something_else_is_found() {
    let document = "text\n\n| module | purpose | may import |\n|---|---|---|\n\
        | `src/a.rs`, `src/b/` | `x` | `c::d`, `e` |\n| `src/c/` | | nothing |\n\ntext\n";
    let (both, one, nothing): (&[&str], &[&str], &[&str]) = (&["e", "c::d"], &["e"], &[]);
    let agreed = [("a", both), ("b", both), ("c", nothing)];
    assert_eq!(differences(document, &agreed), Vec::<String>::new());
    let more = [("a", both), ("b", both), ("c", one)];
    assert_eq!(differences(document, &more).len(), 1);
    let less = [("a", both), ("b", one), ("c", nothing)];
    assert_eq!(differences(document, &less).len(), 1);
    assert_eq!(differences(document, &agreed[1..]).len(), 1, "a row too many");
    let new = [("a", both), ("b", both), ("c", nothing), ("d", nothing)];
    assert_eq!(differences(document, &new).len(), 1, "no row");
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

/// The symbols in the label of an edge of a Mermaid diagram: capitalised words in parentheses, and
/// words like `CamelCase` or `Type::Member` anywhere.
fn symbols_of_label(label: &str) -> Vec<&str> {
    let (mut found, mut is_in_parentheses) = (Vec::new(), false);
    for part in label.split_inclusive([' ', ',', '(', ')']) {
        let word = part.trim_end_matches([' ', ',', '(', ')']);
        let is_compound = word.contains("::") || word.chars().skip(1).any(|c| c.is_ascii_uppercase());
        if is_symbol(word) && (is_in_parentheses || is_compound) {
            found.push(word);
        }
        is_in_parentheses = part.ends_with('(') || (is_in_parentheses && !part.ends_with(')'));
    }
    found
}

/// The symbols that a document names, with the numbers of their lines: those in backticks, and
/// those in the labels of diagrams.
fn symbols(document: &str) -> Vec<(usize, &str)> {
    let (mut found, mut is_diagram) = (Vec::new(), false);
    for (line, number) in document.lines().zip(1..) {
        if line.starts_with("```") {
            is_diagram = line == "```mermaid";
        } else if is_diagram {
            let label = line.split_once(": ").map_or("", |(_, label)| label);
            found.extend(symbols_of_label(label).into_iter().map(|symbol| (number, symbol)));
        } else {
            found.extend(quoted(line).filter(|quoted| is_symbol(quoted)).map(|quoted| (number, quoted)));
        }
    }
    found
}

/// The symbols of a document that have a word which is not in the sources.
fn unknown_symbols(document: &str, known: &BTreeSet<&str>) -> Vec<String> {
    let complaints = symbols(document).into_iter().filter_map(|(line, symbol)| {
        let unknown = words(symbol).find(|word| !known.contains(word))?;
        Some(format!("{line}: there is no {unknown}"))
    });
    complaints.collect()
}

#[test]
fn the_documents_name_only_symbols_that_are_there() {
    let folders = ["src", "tests", "benches"].into_iter().flat_map(|folder| files(folder, "rs"));
    let sources: Vec<String> =
        folders.filter(|path| !path.ends_with("architecture/documents.rs")).map(|path| read(&path)).collect();
    let known: BTreeSet<&str> = sources.iter().flat_map(|text| words(text)).collect();
    let (mut complaints, mut count) = (Vec::new(), 0);
    for path in ["docs/states.md", "docs/architecture.md"].map(|path| root().join(path)) {
        let document = read(&path);
        count += symbols(&document).len();
        let unknown = unknown_symbols(&document, &known);
        complaints.extend(unknown.into_iter().map(|complaint| format!("{}:{complaint}", shown(&path))));
    }
    assert!(count > 80, "{count} symbols");
    none(&complaints);
}

#[test]
fn planted_symbols_are_found_in_the_text_and_in_the_labels_of_diagrams() {
    let known = BTreeSet::from(["ConnectionHub", "State", "Open"]);
    let document = "`ConnectionHub` and `State::Open`, `State::Gone`, `a/file.rs`\n```mermaid\n\
        [*] --> Shut: opened (ConnectionHub, State::Open), a word as such (LF, not a Symbol)\n\
        Shut --> [*]: closed (State Open), Later or State::Never, a CamelCase too\n```\n(Elsewhere)\n";
    assert_eq!(
        unknown_symbols(document, &known),
        ["1: there is no Gone", "3: there is no Symbol", "4: there is no Never", "4: there is no CamelCase"]
    );
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
