//! The sizes of files, functions and comments, and the words that must not be in them.

use super::functions::{Function, functions};
use super::{all_files, files, none, read, root, shown, top_module};
use std::path::{Path, PathBuf};

/// Lines of a source file.
const FILE_LINES_MAX: usize = 520;
/// Lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Columns of a line of comment; rustfmt limits the code.
const COMMENT_COLUMNS_MAX: usize = 100;

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
fn files_and_functions_are_short() {
    let mut complaints = Vec::new();
    for path in ["src", "tests", "benches", "examples"].into_iter().flat_map(|folder| files(folder, "rs")) {
        let text = read(&path);
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines, split it into files with one purpose each", shown(&path)));
        }
        for Function { name, line, lines } in functions(&text).into_iter().filter(|of| of.lines > FUNCTION_LINES_MAX) {
            complaints.push(format!("{}:{line}: {name} has {lines} lines", shown(&path)));
        }
    }
    none(&complaints);
}

/// The mark at the beginning of a comment, in files that are read as text.
fn comment_mark(path: &Path) -> Option<&'static str> {
    match path.extension().map(|ending| ending.to_str().unwrap_or_default()) {
        Some("rs" | "js" | "mjs") => Some("//"),
        Some("sql") => Some("--"),
        // Scripts have no extension.
        None | Some("toml" | "yml" | "conf" | "service" | "py") => Some("#"),
        Some(_) => None,
    }
}

/// A comment is the whole line, or stands behind code. A mark in a text in quotes is none.
fn has_comment(line: &str, mark: &str) -> bool {
    let mut behind = line.match_indices(mark).filter(|(at, _)| line[..*at].ends_with(char::is_whitespace));
    line.trim_start().starts_with(mark) || behind.any(|(at, _)| line[..at].matches('"').count().is_multiple_of(2))
}

/// The lines with a comment that are too wide, as (line, columns).
fn wide_comments(path: &Path, text: &str) -> Vec<(usize, usize)> {
    let Some(mark) = comment_mark(path) else { return Vec::new() };
    let comments = text.lines().enumerate().filter(|(_, line)| has_comment(line, mark));
    let columns = comments.map(|(number, line)| (number + 1, line.chars().count()));
    columns.filter(|(_, columns)| *columns > COMMENT_COLUMNS_MAX).collect()
}

#[test]
fn comments_are_narrow() {
    let folders = ["src", "tests", "benches", "examples", "fuzz/fuzz_targets", "web", "packaging"];
    let alone =
        ["Cargo.toml", "fuzz/Cargo.toml", "clippy.toml", ".cargo/config.toml", "schema.sql", "build.rs", "test"];
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
        let text = format!("{mark} short\n{mark} {words}\n{words} {words}\nx {mark} {words}\n\"x {mark} {words}\"\n");
        let columns = mark.len() + 1 + COMMENT_COLUMNS_MAX;
        assert_eq!(wide_comments(Path::new(file), &text), [(2, columns), (4, columns + 2)], "{file}");
    }
    assert_eq!(wide_comments(Path::new("a.json"), &format!("# {words}")), []);
}

#[test]
fn there_are_no_open_ends_and_no_references_to_things_outside_the_project() {
    // The words are put together from parts, so that the test does not find them in this file.
    let open = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["un", "safe {"].concat(), ["#[ign", "ore"].concat()];
    let elsewhere =
        [["../sha", "red"].concat(), ["/wo", "rk/"].concat(), ["iss", "ue #"].concat(), ["crates", ".io/api"].concat()];
    let texts = [root().join("README.md"), root().join("CHANGELOG.md"), root().join("schema.sql"), root().join("test")];
    let folders = ["web", "examples", "packaging", "fuzz/fuzz_targets", "fuzz/src"];
    // Python leaves its compiled files beside the examples.
    let is_text = |path: &PathBuf| path.extension().is_none_or(|ending| ending != "pyc");
    let others = folders.into_iter().flat_map(all_files).filter(is_text);
    let mut complaints = Vec::new();
    let sources = files("src", "rs").into_iter().chain(files("tests", "rs")).chain(files("benches", "rs"));
    for path in sources.chain(files("docs", "md")).chain(texts).chain(others) {
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
