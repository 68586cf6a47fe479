//! The commands of docs/terminal.md, as they stand there.

use super::place::Place;
use super::tmux::{self, Tmux};
use crate::common::{PATIENCE, wait_until};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The blocks of the page: the word behind the fence, and the lines.
fn blocks() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/terminal.md")).unwrap();
    let (mut blocks, mut open) = (Vec::new(), None);
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(word), None) => open = Some((word.to_owned(), Vec::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, lines))) => lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn the_commands_of_the_page_work_as_described() {
    if !tmux::is_there() {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let folder = place.folder.path();
    // The page speaks of the usual port, and of a home with nothing in it.
    let program = Path::new(env!("CARGO_BIN_EXE_hongyan")).parent().unwrap().display().to_string();
    let here = |line: &str| line.replace("--user", &format!("--server tcp://{} --user", server.addr));
    let shell = |terminal: &Tmux| {
        terminal.enter(&format!("export NO_COLOR=1 HOME='{}' PATH=\"{program}:$PATH\"; cd; clear", folder.display()));
        terminal.wait_for("$");
    };
    let mut terminals: BTreeMap<String, Tmux> = BTreeMap::new();
    let mut ran = 0;
    for (word, lines) in blocks() {
        match word.split_once(' ').unwrap_or((&word, "")) {
            // The server runs already.
            ("sh", _) if lines[0].starts_with("hongyan --listen") => {}
            ("sh", _) if lines[0].starts_with("hongyan chat") => {
                let user = lines[0].rsplit(' ').next().unwrap();
                let terminal = Tmux::new(folder, user, (100, 30));
                shell(&terminal);
                terminal.enter(&here(&lines[0]));
                for question in ["A new password", "The same again"] {
                    terminal.wait_for(question);
                    terminal.enter("a good password");
                }
                terminal.wait_for("  connected");
                terminals.insert(user.to_owned(), terminal);
            }
            ("chat", user) => {
                for line in &lines {
                    if let Some(name) = line.strip_prefix("/accept ") {
                        terminals[user].wait_for(&format!("{name} asks"));
                    }
                    terminals[user].enter(line);
                }
            }
            ("sh", _) => {
                if ran == 0 {
                    terminals["bob"].wait_for("(1)");
                    terminals["ann"].wait_for("✓ you: The geese are back!");
                    terminals.values().for_each(|terminal| terminal.press("C-q"));
                    terminals.values().for_each(|terminal| {
                        terminal.wait_until("the shell", |screen| screen.trim_end().ends_with('$'));
                    });
                }
                let script = lines.iter().map(|line| here(line)).collect::<Vec<_>>().join("\n");
                run(folder, &program, &script);
                ran += 1;
            }
            _ => {}
        }
    }
    assert!(ran >= 4 && terminals.len() == 2, "the page has its commands");
    let inbox = std::fs::read_to_string(folder.join("inbox.jsonl")).unwrap();
    assert!(inbox.contains("\"text\":\"One more\"") && inbox.contains("\"encrypted\":true"), "{inbox}");
}

/// Runs a script as a user would in their home; all of it succeeds, in time.
fn run(folder: &Path, program: &str, script: &str) {
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command
        .args(["-euc", script])
        .current_dir(folder)
        .env("HOME", folder)
        .env("PATH", path)
        .env_remove("XDG_DATA_HOME");
    let mut child = command.spawn().unwrap();
    let until = std::time::Instant::now() + PATIENCE * 2;
    let mut status = None;
    wait_until(script, || {
        status = child.try_wait().unwrap();
        status.is_some() || std::time::Instant::now() > until
    });
    assert!(status.is_some_and(|status| status.success()), "{script}: {status:?}");
}
