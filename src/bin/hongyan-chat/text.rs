//! Makes the text of other users safe for a terminal: nothing in the result moves the cursor,
//! changes a colour or reverses the order of letters. Also measures text in columns and wraps it to
//! a width.

use hongyan::safe_text::is_shown;
use std::fmt::Write;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// How many combining marks of one letter are shown; normal text has fewer.
const MARKS_MAX: usize = 6;
/// How many columns there are from one tab stop to the next.
const TAB: usize = 4;

/// Text on one line: a name, a line of the log.
pub(crate) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => shown.push('⏎'),
            other => push(&mut shown, other),
        }
    }
    limit_marks(&shown)
}

/// The text in its own lines.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for char in text.replace("\r\n", "\n").chars() {
        match char {
            '\n' => lines.push(String::new()),
            '\t' => {
                let line = lines.last_mut().map(|line| (columns(line), line));
                if let Some((at, line)) = line {
                    line.extend(std::iter::repeat_n(' ', TAB - at % TAB));
                }
            }
            other => {
                if let Some(line) = lines.last_mut() {
                    push(line, other);
                }
            }
        }
    }
    lines.iter().map(|line| limit_marks(line)).collect()
}

fn push(shown: &mut String, char: char) {
    match char {
        char if is_shown(char) => shown.push(char),
        // Joiners are removed: without them an emoji shows as its parts, and letters as letters.
        '\u{200c}' | '\u{200d}' => {}
        '\u{3000}' => shown.push_str("  "),
        char if char.is_whitespace() && !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}') => {
            shown.push(' ');
        }
        // Writing into a String cannot fail.
        char => write!(shown, "\\u{{{:x}}}", u32::from(char)).unwrap_or(()),
    }
}

/// Limits the combining marks of each letter, and puts marks without a letter on a dotted circle.
fn limit_marks(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut tame = String::with_capacity(text.len());
    for cluster in text.graphemes(true) {
        if cluster.width() == 0 {
            tame.push('◌');
        }
        tame.extend(cluster.chars().take(1 + MARKS_MAX));
    }
    tame
}

/// How many columns a text takes that was prepared by [`line()`] or [`lines`].
pub(crate) fn columns(text: &str) -> usize {
    text.graphemes(true).map(cluster_columns).sum()
}

/// How many columns one letter with its marks takes.
pub(crate) fn cluster_columns(cluster: &str) -> usize {
    cluster.width()
}

/// The part of a text that fits, with an ellipsis if something is cut off.
pub(crate) fn truncate(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let (mut cut, mut at) = (String::new(), 0);
    for cluster in text.graphemes(true) {
        let wide = cluster_columns(cluster);
        if at + wide + 1 > width {
            break;
        }
        cut.push_str(cluster);
        at += wide;
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// Characters with which a row does not begin, and characters with which it does not end.
const CLOSING: &str = ".,:;!?)]}'\"%/…’”»，。、！？：；）」』》〉】～";
const OPENING: &str = "([{‘“«（「『《〈【";

/// Splits a text into the pieces between which a line can be broken: words with their punctuation,
/// spaces, and each letter of a script that has no spaces.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut before) = (0, "");
    for (at, piece) in text.split_word_bound_indices() {
        if at > start && can_break(before, piece) {
            words.push(&text[start..at]);
            start = at;
        }
        before = piece;
    }
    words.push(&text[start..]);
    words
}

fn can_break(before: &str, behind: &str) -> bool {
    let (Some(last), Some(first)) = (before.chars().next_back(), behind.chars().next()) else { return true };
    if last.is_whitespace() || first.is_whitespace() {
        return true;
    }
    let is_wide = |piece: &str| piece.graphemes(true).any(|cluster| cluster_columns(cluster) > 1);
    (is_wide(before) || is_wide(behind)) && !OPENING.contains(last) && !CLOSING.contains(first)
}

/// Wraps a line: it is broken between words where possible, and between letters otherwise.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    wrap_behind(text, width, width)
}

/// Wraps a line as [`wrap`] does, with a first row that has less room than the others.
pub(crate) fn wrap_behind(text: &str, first: usize, others: usize) -> Vec<String> {
    let (mut width, others) = (first.max(2), others.max(2));
    let mut rows = Vec::new();
    let (mut row, mut at) = (String::new(), 0);
    for word in words(text) {
        let wide = columns(word);
        if at + wide <= width {
            row.push_str(word);
            at += wide;
            continue;
        }
        let is_space = word.trim().is_empty();
        // A word that is too long for any row begins on this one. A space at the end of a row is
        // dropped.
        if is_space || (at > 0 && wide <= others) {
            rows.push(std::mem::take(&mut row).trim_end().to_owned());
            (at, width) = (0, others);
        }
        if is_space {
            continue;
        }
        for cluster in word.graphemes(true) {
            let wide = cluster_columns(cluster);
            if at + wide > width {
                rows.push(std::mem::take(&mut row));
                (at, width) = (0, others);
            }
            row.push_str(cluster);
            at += wide;
        }
    }
    rows.push(row);
    rows
}

/// An equivalent JSON text that is safe to show on a terminal.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if is_shown(char) {
            shown.push(char);
        } else {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                // Writing into a String cannot fail.
                write!(shown, "\\u{unit:04x}").unwrap_or(());
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = "a\u{1b}[31m\u{9b}2J\u{202e}b\r\u{7f}\u{e0041}鸿 🪿 e\u{301}\0\u{2066}\u{2028}";

    #[test]
    fn nothing_hidden_reaches_the_terminal() {
        for text in [line(ODD), lines(ODD).join(""), json(ODD)] {
            assert!(text.chars().all(is_shown), "{text}");
            assert!(text.contains("鸿 🪿 e\u{301}"), "{text}");
        }
        assert_eq!(line("a\u{202e}b\u{1b}[0m"), "a\\u{202e}b\\u{1b}[0m");
        assert_eq!(line("two\nlines\tand\u{a0}more\u{3000}space"), "two⏎lines\\u{9}and more  space");
        assert_eq!(lines("one\r\n\ttwo\n"), ["one", "    two", ""]);
        assert_eq!(line("👩\u{200d}👩\u{200d}👧"), "👩👩👧");
    }

    #[test]
    fn marks_do_not_climb_over_other_lines() {
        let tall = format!("a{}b", "\u{301}".repeat(500));
        assert_eq!(line(&tall), format!("a{}b", "\u{301}".repeat(MARKS_MAX)));
        assert_eq!(columns(&line(&tall)), 2);
        assert_eq!(line("\u{301}"), "◌\u{301}");
        assert_eq!(columns(&line("\u{301}")), 1);
    }

    #[test]
    fn a_wide_character_counts_twice() {
        assert_eq!(columns("鸿雁"), 4);
        assert_eq!(columns("e\u{301}"), 1);
        assert_eq!(
            [truncate("鸿雁传书", 5), truncate("鸿雁传书", 4), truncate("鸿雁", 4), truncate("ab", 0)],
            ["鸿雁…", "鸿…", "鸿雁", ""]
        );
    }

    #[test]
    fn rows_break_between_words_and_never_grow_too_wide() {
        assert_eq!(wrap("the wild goose flies", 10), ["the wild", "goose", "flies"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("鸿雁传书", 5), ["鸿雁", "传书"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("it flies.", 8), ["it", "flies."]);
        assert_eq!(wrap("then (/agree), perhaps", 9), ["then", "(/agree),", "perhaps"]);
        assert_eq!(wrap("and then /agree", 10), ["and then", "/agree"]);
        assert_eq!(wrap("鸿雁，传「书」。", 8), ["鸿雁，传", "「书」。"]);
        for width in 1..20 {
            for text in ["the wild goose 鸿雁传书 carries\u{301} letters", "a  b   c    d", "🪿🪿🪿🪿"] {
                let rows = wrap(text, width);
                assert!(rows.iter().all(|row| columns(row) <= width.max(2)), "{width}: {rows:?}");
                let all: String = rows.concat().split_whitespace().collect();
                assert_eq!(all, text.split_whitespace().collect::<String>());
            }
        }
    }

    #[test]
    fn a_json_text_means_the_same() {
        let text = serde_json::json!({ "text": ODD }).to_string();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json(&text)).unwrap()["text"], ODD);
    }
}
