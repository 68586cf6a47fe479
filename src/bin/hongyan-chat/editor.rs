//! The input line: text, a cursor, and the part of the text around the cursor that fits on the
//! screen.

use crate::text;
use unicode_segmentation::UnicodeSegmentation;

/// The maximum length of the text in bytes. The server accepts 64 KiB for a whole envelope, and
/// encryption makes a text longer by a third.
pub(crate) const BYTES_MAX: usize = 32 * 1024;

/// How many texts can be put aside.
const ASIDE_MAX: usize = 64;

/// One text and a cursor in it.
#[derive(Clone, Default)]
pub(crate) struct LineEditor {
    text: String,
    /// The position in bytes, always between two letters.
    cursor: usize,
    /// Texts that could not be sent, oldest first. They come back into the line when it is empty.
    unsent_texts: Vec<String>,
}

/// The text is not shown: it may be a secret.
impl std::fmt::Debug for LineEditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineEditor").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl LineEditor {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn set(&mut self, text: &str) {
        self.clear();
        self.insert(text);
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.cursor = 0;
    }

    /// Removes and returns the text.
    pub(crate) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Keeps a text for later; false if there are too many.
    pub(crate) fn keep_unsent(&mut self, text: &str) -> bool {
        let has_room = self.unsent_texts.len() < ASIDE_MAX;
        if has_room {
            self.unsent_texts.push(text.to_owned());
        }
        has_room
    }

    /// Puts the oldest text that was put aside back into the line, if the line is empty.
    pub(crate) fn restore_unsent(&mut self) -> bool {
        let comes = self.text.is_empty() && !self.unsent_texts.is_empty();
        if comes {
            let text = self.unsent_texts.remove(0);
            self.set(&text);
        }
        comes
    }

    /// Inserts text at the cursor. Line ends and tabs are kept; other control characters are left
    /// out, and so is everything beyond the maximum length.
    pub(crate) fn insert(&mut self, text: &str) {
        for char in text.replace("\r\n", "\n").replace('\r', "\n").chars() {
            let is_kept = !char.is_control() || matches!(char, '\n' | '\t');
            if is_kept && self.text.len() + char.len_utf8() <= BYTES_MAX {
                self.text.insert(self.cursor, char);
                self.cursor += char.len_utf8();
            }
        }
    }

    fn previous_boundary(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn next_boundary(&self) -> usize {
        let next = self.text[self.cursor..].graphemes(true).next();
        self.cursor + next.map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let mut words = self.text[..self.cursor].unicode_word_indices();
        words.next_back().map_or(0, |(at, _)| at)
    }

    pub(crate) fn left(&mut self) {
        self.cursor = self.previous_boundary();
    }

    pub(crate) fn right(&mut self) {
        self.cursor = self.next_boundary();
    }

    pub(crate) fn home(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(crate) fn delete_before(&mut self) {
        let from = self.previous_boundary();
        self.remove(from, self.cursor);
    }

    pub(crate) fn delete_behind(&mut self) {
        let to = self.next_boundary();
        self.remove(self.cursor, to);
    }

    pub(crate) fn delete_word(&mut self) {
        let from = self.word_before();
        self.remove(from, self.cursor);
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
        // Two letters that were separate may have combined into one.
        while !self.is_boundary() {
            self.cursor += self.text[self.cursor..].chars().next().map_or(1, char::len_utf8);
        }
    }

    fn is_boundary(&self) -> bool {
        let starts = || self.text.grapheme_indices(true).any(|(at, _)| at == self.cursor);
        self.cursor >= self.text.len() || starts()
    }

    /// The part of the text that fits into a row of this width, and the column of the cursor in it.
    pub(crate) fn window(&self, width: usize) -> (String, usize) {
        let width = width.max(3);
        let before = text::line(&self.text[..self.cursor]);
        let behind = text::line(&self.text[self.cursor..]);
        let (mut start, mut at) = (before.len(), 0);
        for (index, cluster) in before.grapheme_indices(true).rev() {
            let wide = text::cluster_columns(cluster);
            // One column is reserved for the cursor after the last letter.
            if at + wide >= width {
                break;
            }
            (start, at) = (index, at + wide);
        }
        let (mut shown, mut used) = (before[start..].to_owned(), at);
        for cluster in behind.graphemes(true) {
            used += text::cluster_columns(cluster);
            if used > width {
                break;
            }
            shown.push_str(cluster);
        }
        (shown, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_steps_over_whole_letters() {
        let mut editor = LineEditor::default();
        editor.insert("a鸿e\u{301}👩\u{200d}👧");
        editor.delete_before();
        assert_eq!(editor.text(), "a鸿e\u{301}");
        editor.left();
        editor.left();
        editor.insert("x");
        assert_eq!(editor.text(), "ax鸿e\u{301}");
        editor.delete_behind();
        editor.delete_behind();
        editor.delete_behind();
        assert_eq!(editor.text(), "ax");
        editor.home();
        editor.delete_before();
        editor.end();
        editor.right();
        editor.insert("!");
        assert_eq!(editor.text(), "ax!");
    }

    #[test]
    fn words_are_deleted_and_letters_that_meet_become_one() {
        let mut editor = LineEditor::default();
        editor.insert("the wild goose");
        editor.delete_word();
        assert_eq!(editor.text(), "the wild ");
        editor.set("ex\u{301}");
        editor.left();
        editor.delete_before();
        assert_eq!(editor.text(), "x\u{301}");
        editor.set("e \u{301}");
        editor.home();
        editor.right();
        editor.delete_behind();
        editor.insert("y");
        assert!(editor.text().starts_with('e'), "{}", editor.text());
    }

    #[test]
    fn pasted_input_is_text_and_has_a_bound() {
        let mut editor = LineEditor::default();
        editor.insert("a\u{1b}[2Jb\r\nc\0");
        assert_eq!(editor.text(), "a[2Jb\nc");
        editor.insert(&"鸿".repeat(BYTES_MAX));
        assert!(editor.text().len() <= BYTES_MAX);
        assert_eq!(editor.window(10), ("鸿".repeat(4), 8));
    }

    #[test]
    fn the_window_shows_the_cursor() {
        let mut editor = LineEditor::default();
        editor.insert("0123456789");
        assert_eq!(editor.window(5), ("6789".to_owned(), 4));
        editor.home();
        assert_eq!(editor.window(5), ("01234".to_owned(), 0));
        editor.set("鸿雁传书");
        for width in 3..10 {
            let (shown, at) = editor.window(width);
            assert!(text::columns(&shown) <= width && at < width, "{width}: {shown:?} {at}");
        }
    }
}
