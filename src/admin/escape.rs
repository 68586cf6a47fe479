//! Escapes text of clients for a terminal: it must not move the cursor, change a colour or the
//! order of letters.

use crate::safe_text::is_shown;
use std::fmt::Write;

/// The text with everything escaped that a terminal would not print.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            // Writing into a String cannot fail.
            char if !is_shown(char) => write!(shown, "\\u{{{:x}}}", u32::from(char)).unwrap_or(()),
            char => shown.push(char),
        }
    }
    shown
}

/// A JSON text with the same meaning, with such characters escaped. They can only be in its
/// strings.
pub(super) fn json(text: &str) -> String {
    if !text.chars().any(|char| !is_shown(char)) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            // Line ends between values, in pretty-printed JSON.
            '\n' => shown.push(char),
            char if !is_shown(char) => {
                let mut units = [0; 2];
                for unit in char.encode_utf16(&mut units) {
                    // Writing into a String cannot fail.
                    write!(shown, "\\u{unit:04x}").unwrap_or(());
                }
            }
            char => shown.push(char),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ODD: &str = "a\u{1b}[31m\u{9b}2J\u{202e}b\r\n\t\u{7f}\u{e0041}鸿 🪿 é\0";

    #[test]
    fn nothing_hidden_reaches_a_terminal() {
        let shown = printable(ODD);
        assert_eq!(shown, "a\\u{1b}[31m\\u{9b}2J\\u{202e}b\\u{d}\\n\\t\\u{7f}\\u{e0041}鸿 🪿 é\\u{0}");
        assert!(shown.chars().all(is_shown));
    }

    #[test]
    fn a_json_text_means_the_same() {
        for value in [json!({"name": ODD, ODD: [ODD]}), json!("plain 鸿"), Value::Null] {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let shown = super::json(&text);
                assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
                assert!(!shown.chars().any(|char| !is_shown(char) && char != '\n'), "{shown}");
            }
        }
    }
}
