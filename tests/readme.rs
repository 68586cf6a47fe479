//! The commands of the README work as it says, and the Chinese README has the same commands.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::Server;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The blocks of code, each with its language in front.
fn blocks(text: &str) -> Vec<&str> {
    text.split("```").skip(1).step_by(2).collect()
}

#[test]
fn the_chinese_readme_has_the_same_commands_and_the_same_conversation() {
    let (english, chinese) = (read("README.md"), read("README.zh-CN.md"));
    assert_eq!(blocks(&english), blocks(&chinese));
    for (text, other) in [(&english, "(README.zh-CN.md)"), (&chinese, "(README.md)")] {
        assert!(text.contains(other), "each README links the other one");
        assert!(text.contains("http://127.0.0.1:1102"));
    }
}

#[test]
fn the_pictures_and_pages_that_the_readmes_link_exist() {
    for name in ["README.md", "README.zh-CN.md"] {
        for link in read(name).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                assert!(root().join(target).exists(), "{name} links {target}");
            }
        }
    }
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
}

#[test]
fn the_headings_that_pages_link_exist() {
    let folder = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = folder.chain(["README.md", "README.zh-CN.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    for page in pages.filter(|page| page.extension().is_some_and(|ending| ending == "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            let Some((file, heading)) = target.split_once('#').filter(|_| !target.contains("://")) else { continue };
            let other = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let other = std::fs::read_to_string(&other).unwrap_or_else(|_| panic!("{} links {target}", page.display()));
            let mut headings = other.lines().filter_map(|line| line.strip_prefix('#'));
            let is_there = headings.any(|line| anchor(line.trim_start_matches('#')) == heading);
            assert!(is_there, "{} links {target}, and there is no such heading", page.display());
        }
    }
}

#[test]
fn the_first_conversation_works_as_the_readme_says() {
    let readme = read("README.md");
    let blocks = blocks(&readme);
    let lines: Vec<&str> = blocks.iter().filter_map(|block| block.strip_prefix("\n{")).collect();
    let [ann_begins, bob_asks, ann_accepts, bob_writes, ann_acks] = lines[..] else { panic!("five blocks: {lines:?}") };
    let server = Server::start();
    let (mut ann, mut bob) = (server.object(), server.object());
    let paste = |client: &mut common::Client, block: &str| client.send_bytes(format!("{{{block}").as_bytes());
    paste(&mut ann, ann_begins);
    ann.expect_reply("RE_SIGNUP", "s1", "SS");
    ann.expect_reply("RE_SIGNUP", "l1", "LS");
    paste(&mut bob, bob_asks);
    bob.expect_reply("RE_SIGNUP", "s2", "SS");
    bob.expect_reply("RE_SIGNUP", "l2", "LS");
    bob.expect_time("f1");
    ann.expect_push("6", "f1");
    paste(&mut ann, ann_accepts);
    ann.expect_time("f1");
    bob.expect_push("6", "f1");
    paste(&mut bob, bob_writes);
    ann.expect_push("4", "m1");
    paste(&mut ann, ann_acks);
    bob.expect_reply("RE_MESSAGE", "m1", "MS");
}
