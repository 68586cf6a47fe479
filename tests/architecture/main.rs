//! The architecture as a test: which module may import which, how long a file may be, which words
//! are forbidden, and that the documents name only files that exist.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod imports;

use imports::{Import, Name, circles, graph, imports, module_of};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines of a source file.
const FILE_LINES_MAX: usize = 520;
/// Lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 80;
/// Columns of a line of comment; rustfmt looks after the code.
const COMMENT_COLUMNS_MAX: usize = 100;

/// The modules that each module may name. A module that is not listed may name only itself.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("main", &["server", "config", "admin", "backup", "chat_launcher", "copy", "logging"]),
    ("bin", &["client", "safe_text"]),
    ("chat_launcher", &[]),
    ("server", &["net", "store", "chat", "config", "admin", "push_hook", "bus"]),
    (
        "admin",
        &[
            "safe_text",
            "error_text",
            "logging",
            "bus::BusFigures",
            "bus::figures",
            "net::admin",
            "net::census",
            "net::counters",
            "chat::contract",
            "protocol",
            "config",
            "histogram",
        ],
    ),
    ("backup", &["store", "config"]),
    ("copy", &["store", "config"]),
    (
        "net",
        &[
            "chat",
            "protocol",
            "store::cluster",
            "store::pool",
            "config",
            "generational",
            "histogram",
            "web_page",
            "push_hook",
            "bus",
        ],
    ),
    ("store", &["chat::contract", "protocol", "config", "error_text", "histogram", "versions"]),
    ("push_hook", &["chat::contract", "protocol", "config"]),
    ("bus", &["chat::contract", "protocol", "config", "error_text", "store::records", "versions"]),
    ("versions", &[]),
    ("chat", &["protocol", "generational"]),
    ("client", &["protocol"]),
    ("config", &["chat::contract", "versions"]),
    ("protocol", &["safe_text"]),
    ("error_text", &[]),
    ("generational", &[]),
    ("histogram", &[]),
    ("logging", &["safe_text"]),
    ("web_page", &[]),
    ("safe_text", &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = all_files(folder);
    found.retain(|path| path.extension().is_some_and(|found| found == ending));
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

/// The top module of a source file: its folder, or its own name at the top.
fn top_module(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The names of the crate that the files below `src` use, without code for tests alone.
fn all_imports() -> BTreeMap<Name, Vec<Import>> {
    let (mut all, mut for_tests) = (BTreeMap::new(), Vec::new());
    for path in files("src", "rs") {
        let module = module_of(path.strip_prefix(root().join("src")).unwrap());
        let (found, tests) = imports(&read(&path), &module);
        all.insert(module, found);
        for_tests.extend(tests);
    }
    all.retain(|module, _| !for_tests.iter().any(|tests| module.starts_with(tests)));
    all
}

/// The imports of a module that its part of the program may not have.
fn forbidden(module: &Name, imports: &[Import]) -> Vec<String> {
    // The crate itself names all its parts.
    let Some(part) = module.first() else { return Vec::new() };
    let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| name == part) else {
        return vec![format!("{part} is new: say in tests/architecture/ what it may know")];
    };
    let may_name = |name: &Name| {
        name.first().is_none_or(|first| first == part)
            || allowed.iter().any(|allowed| {
                let allowed: Name = allowed.split("::").map(str::to_owned).collect();
                name.starts_with(&allowed)
            })
    };
    let bad = imports.iter().filter(|import| !may_name(&import.name));
    bad.map(|import| {
        format!("{}, line {}: {part} must not know {}", module.join("::"), import.line, import.name.join("::"))
    })
    .collect()
}

#[test]
fn every_part_knows_only_what_it_may() {
    let all = all_imports();
    none(&all.iter().flat_map(|(module, imports)| forbidden(module, imports)).collect::<Vec<_>>());
}

fn name(path: &str) -> Name {
    path.split("::").map(str::to_owned).collect()
}

#[test]
fn planted_violations_are_found_wherever_they_are() {
    let module = name("chat::list");
    for (planted, line) in [
        ("use crate::net::Hub;", 1),
        ("use super::super::net::Hub;", 1),
        ("use crate::{protocol::push::Push, store::{Pool, self}};", 1),
        ("#[cfg(test)]\nmod tests {}\n\nuse crate::net::Hub;", 4),
        ("fn f() {\n    let hub = crate::net::Hub::new();\n}", 2),
        ("fn f() { g::<crate::net::Hub>(); }", 1),
        ("fn f() { assert!(x == crate::net::Hub::new()); }", 1),
        ("fn f() { vec![super::super::store::Pool] }", 1),
        ("mod inner { use super::super::super::net::Hub; }", 1),
        ("struct S { hub: hongyan::net::Hub }", 1),
        ("impl super::super::store::Store for S { }", 1),
        ("use crate::net::*;", 1),
        ("use crate::net as other;", 1),
    ] {
        let (found, _) = imports(planted, &module);
        let complaints = forbidden(&module, &found);
        assert!(!complaints.is_empty(), "not found: {planted}");
        assert!(complaints[0].contains(&format!("line {line}:")), "{complaints:?}");
    }
    for harmless in [
        "use super::{Chat, item::Item};",
        "use crate::protocol::push::Push;",
        "// use crate::net::Hub;\nconst TEXT: &str = \"crate::net::Hub\";",
        "#[cfg(test)]\nmod tests { use crate::net::Hub; }",
        "#[cfg(test)]\nuse crate::net::Hub;",
        "impl S { #[cfg(test)] fn f() { crate::net::g() } }",
        "pub(in super::super) struct S;",
        "fn f() { std::mem::take(&mut net::x) }",
    ] {
        let (found, _) = imports(harmless, &module);
        assert_eq!(forbidden(&module, &found), Vec::<String>::new(), "{harmless}");
    }
}

#[test]
fn a_circle_is_found_and_what_hangs_on_it_is_not_blamed() {
    let of = |module: &str, text: &str| (name(module), imports(text, &name(module)).0);
    let all = BTreeMap::from([
        of("chat::a", "use super::b::B;"),
        of("chat::b", "use super::c::inner::C; use super::d;"),
        of("chat::c", "fn f(a: crate::chat::a::A) {}"),
        of("chat::d", ""),
        of("chat::e", "use super::a;"),
    ]);
    assert_eq!(circles(&graph(&all)), [name("chat::a"), name("chat::b"), name("chat::c")]);
}

/// Each submodule of chat adds methods to `Chat`, and `Chat` owns their types; this does not count
/// as a cycle. The imports between the submodules must have no cycle.
#[test]
fn the_parts_of_the_chat_do_not_name_each_other_in_a_circle() {
    let mut all = all_imports();
    all.retain(|module, _| module.first().is_some_and(|first| first == "chat") && module.len() > 1);
    assert!(all.len() > 20, "they were found");
    let edges = graph(&all);
    let said = circles(&edges).into_iter().map(|module| {
        let to: Vec<String> = edges[&module].iter().map(|to| to.join("::")).collect();
        format!("{} names {}", module.join("::"), to.join(", "))
    });
    none(&said.collect::<Vec<_>>());
}

#[test]
fn the_pure_modules_deny_clocks_and_threads() {
    for file in ["src/chat/mod.rs", "src/protocol/mod.rs"] {
        assert!(read(&root().join(file)).contains("#![deny(clippy::disallowed_methods)]"), "{file}");
    }
    let mut complaints = Vec::new();
    for path in files("src", "rs").into_iter().filter(|path| ["chat", "protocol"].contains(&top_module(path).as_str()))
    {
        for (number, line) in read(&path).lines().enumerate() {
            for word in ["std::net", "std::io", "std::fs", "std::thread", "std::time", "std::env", "mio::"] {
                if line.contains(word) {
                    complaints.push(format!("{}:{}: {word} in a pure module", shown(&path), number + 1));
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

/// The mark at the beginning of a line of comment, in files that are read as text.
fn comment_mark(path: &Path) -> Option<&'static str> {
    match path.extension().map(|ending| ending.to_str().unwrap_or_default()) {
        Some("rs" | "js" | "mjs") => Some("//"),
        Some("sql") => Some("--"),
        // Scripts have no extension.
        None | Some("toml" | "yml" | "conf" | "service" | "py") => Some("#"),
        Some(_) => None,
    }
}

/// The lines of comment that are too wide, as (line, columns).
fn wide_comments(path: &Path, text: &str) -> Vec<(usize, usize)> {
    let Some(mark) = comment_mark(path) else { return Vec::new() };
    let comments = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(mark));
    let columns = comments.map(|(number, line)| (number + 1, line.chars().count()));
    columns.filter(|(_, columns)| *columns > COMMENT_COLUMNS_MAX).collect()
}

#[test]
fn comments_can_be_read_without_moving_the_head() {
    let folders = ["src", "tests", "benches", "examples", "fuzz/fuzz_targets", "web", "packaging"];
    let alone = ["Cargo.toml", "fuzz/Cargo.toml", "clippy.toml", ".cargo/config.toml", "schema.sql", "build.rs", "test"];
    let alone = alone.iter().map(|file| root().join(file));
    let paths = folders.iter().flat_map(|folder| all_files(folder)).filter(|path| comment_mark(path).is_some());
    let mut complaints = Vec::new();
    for path in paths.chain(alone) {
        for (line, columns) in wide_comments(&path, &read(&path)) {
            complaints.push(format!("{}:{line}: a comment of {columns} columns", shown(&path)));
        }
    }
    none(&complaints);
}

#[test]
fn a_wide_comment_is_found_in_files_of_each_kind() {
    let words = "w".repeat(COMMENT_COLUMNS_MAX);
    for (file, mark) in [
        ("a.rs", "    ///"),
        ("a.js", "//"),
        ("a.mjs", "\t//"),
        ("a.sql", "--"),
        ("a.toml", "#"),
        ("a.yml", "#"),
        ("a.service", "#"),
        ("script", "    #"),
    ] {
        let text = format!("{mark} short\n{mark} {words}\n{words} {words}\n");
        let columns = mark.len() + 1 + COMMENT_COLUMNS_MAX;
        assert_eq!(wide_comments(Path::new(file), &text), [(2, columns)], "{file}");
    }
    assert_eq!(wide_comments(Path::new("a.json"), &format!("# {words}")), []);
}

#[test]
fn nothing_is_left_open_and_the_project_speaks_of_itself() {
    // Put together here, so that this file does not find itself.
    let open = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["un", "safe {"].concat(), ["#[ign", "ore"].concat()];
    let elsewhere =
        [["../sha", "red"].concat(), ["/wo", "rk/"].concat(), ["iss", "ue #"].concat(), ["crates", ".io/api"].concat()];
    let texts = [root().join("README.md"), root().join("CHANGELOG.md"), root().join("schema.sql"), root().join("test")];
    let packaging = ["hongyan.toml", "hongyan.service", "Containerfile", "try-deb", "deb/postinst", "deb/postrm"];
    let packaging = packaging.iter().map(|name| root().join("packaging").join(name));
    let mut complaints = Vec::new();
    let sources = files("src", "rs").into_iter().chain(files("tests", "rs")).chain(files("benches", "rs"));
    for path in sources.chain(files("docs", "md")).chain(texts).chain(packaging) {
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
