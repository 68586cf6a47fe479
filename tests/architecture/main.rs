//! The architecture as a test: which module may import which, how long a file may be, which words
//! are forbidden, and that the documents name only files that exist.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod documents;
mod functions;
mod imports;
mod texts;

use imports::{Import, Name, cycles, graph, imports, module_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// The names of the crate that the files below `src` use, without test-only code.
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
    // The root of the crate may name all parts.
    let Some(part) = module.first() else { return Vec::new() };
    let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| name == part) else {
        return vec![format!("{part} is new: list its allowed imports in MAY_KNOW (tests/architecture/main.rs)")];
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
        format!("{}, line {}: {part} must not name {}", module.join("::"), import.line, import.name.join("::"))
    })
    .collect()
}

#[test]
fn every_part_names_only_modules_that_it_may() {
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
        ("use crate::net::ConnectionHub;", 1),
        ("use super::super::net::ConnectionHub;", 1),
        ("use crate::{protocol::push::Push, store::{Pool, self}};", 1),
        ("#[cfg(test)]\nmod tests {}\n\nuse crate::net::ConnectionHub;", 4),
        ("fn f() {\n    let hub = crate::net::ConnectionHub::new();\n}", 2),
        ("fn f() { g::<crate::net::ConnectionHub>(); }", 1),
        ("fn f() { assert!(x == crate::net::ConnectionHub::new()); }", 1),
        ("fn f() { vec![super::super::store::Pool] }", 1),
        ("mod inner { use super::super::super::net::ConnectionHub; }", 1),
        ("struct S { hub: hongyan::net::ConnectionHub }", 1),
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
        "// use crate::net::ConnectionHub;\nconst TEXT: &str = \"crate::net::ConnectionHub\";",
        "#[cfg(test)]\nmod tests { use crate::net::ConnectionHub; }",
        "#[cfg(test)]\nuse crate::net::ConnectionHub;",
        "impl S { #[cfg(test)] fn f() { crate::net::g() } }",
        "pub(in super::super) struct S;",
        "fn f() { std::mem::take(&mut net::x) }",
    ] {
        let (found, _) = imports(harmless, &module);
        assert_eq!(forbidden(&module, &found), Vec::<String>::new(), "{harmless}");
    }
}

#[test]
fn a_cycle_is_found_and_modules_that_only_lead_to_or_from_it_are_not_blamed() {
    let of = |module: &str, text: &str| (name(module), imports(text, &name(module)).0);
    let all = BTreeMap::from([
        of("chat::a", "use super::b::B;"),
        of("chat::b", "use super::c::inner::C; use super::d;"),
        of("chat::c", "fn f(a: crate::chat::a::A) {}"),
        of("chat::d", ""),
        of("chat::e", "use super::a;"),
    ]);
    assert_eq!(cycles(&graph(&all)), [name("chat::a"), name("chat::b"), name("chat::c")]);
}

/// The parts of the program whose modules must not name each other in a cycle. The root of a part
/// does not count: it may name all its modules, and they may name it.
const WITHOUT_CYCLES: [&str; 12] =
    ["protocol", "chat", "net", "store", "admin", "config", "bus", "client", "push_hook", "server", "copy", "bin"];

/// Types that have the state of a part, or of a large module of it. Its modules add methods to the
/// type, and the type has fields of the types of these modules, so naming it does not count.
/// (`ServerCore` is in the root of its part, which may name all its modules.)
const STATE_OF_A_PART: [&str; 3] =
    ["net::hub::ConnectionHub", "bin::hongyan-chat::app::ChatApp", "bin::hongyan-chat::session::ChatSessionWorker"];

/// Is this a module inside of a part? The root of a program below `src/bin` is a folder deeper.
fn is_inside(module: &Name, part: &str) -> bool {
    module.first().is_some_and(|first| first == part) && module.len() > if part == "bin" { 2 } else { 1 }
}

/// The modules of a part that name each other in a cycle, and the modules that each of them names.
fn cycles_in(part: &str, all: &BTreeMap<Name, Vec<Import>>) -> Vec<String> {
    let is_state = |import: &Import| STATE_OF_A_PART.iter().any(|state| import.name == name(state));
    let of_part = all.iter().filter(|(module, _)| is_inside(module, part));
    let counted = of_part.map(|(module, imports)| {
        let imports = imports.iter().filter(|import| !is_state(import));
        (module.clone(), imports.cloned().collect())
    });
    let edges = graph(&counted.collect());
    let said = cycles(&edges).into_iter().map(|module| {
        let to: Vec<String> = edges[&module].iter().map(|to| to.join("::")).collect();
        format!("{} names {}", module.join("::"), to.join(", "))
    });
    said.collect()
}

#[test]
fn the_modules_of_a_part_do_not_name_each_other_in_a_cycle() {
    let all = all_imports();
    for part in WITHOUT_CYCLES {
        assert!(all.keys().any(|module| is_inside(module, part)), "{part} has no modules");
        none(&cycles_in(part, &all));
    }
}

#[test]
fn a_cycle_is_found_in_its_part_and_not_by_the_state_of_the_part() {
    let of = |module: &str, text: &str| (name(module), imports(text, &name(module)).0);
    let all = BTreeMap::from([
        of("net::hub", "use super::input::Input;"),
        of("net::input", "use super::hub::ConnectionHub; use crate::store::pool::Pool;"),
        of("store", "use pool::Pool; use self::work;"),
        of("store::pool", "use super::work::Work; use super::Store;"),
        of("store::work", "use crate::store::pool::Pool;"),
    ]);
    assert_eq!(cycles_in("net", &all), Vec::<String>::new());
    assert_eq!(
        cycles_in("store", &all),
        ["store::pool names store::work", "store::work names store::pool"],
        "the root of a part may be named"
    );
    let program = BTreeMap::from([
        of("bin::page", "mod app; mod view; use app::App;"),
        of("bin::page::app", "use crate::view::View; use crate::Session;"),
        of("bin::page::view", "use crate::app::App;"),
    ]);
    assert_eq!(
        cycles_in("bin", &program),
        ["bin::page::app names bin::page::view", "bin::page::view names bin::page::app"],
        "the root of a program may be named"
    );
    let more = of("net::hub", "use super::input::Input; pub struct Settings;");
    let input = of("net::input", "use super::hub::{ConnectionHub, Settings};");
    assert_eq!(cycles_in("net", &BTreeMap::from([more, input])).len(), 2, "another type of the same file");
}
