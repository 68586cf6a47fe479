//! Rules for text of clients and databases that is shown on a terminal, in a log or in an answer to
//! an operator.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Is this character invisible, or does it change how others are shown? No ASCII character counts.
#[must_use]
pub fn is_invisible(char: char) -> bool {
    CodePointMapData::<GeneralCategory>::new().get(char) == GeneralCategory::Format
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char)
}

/// Is this character shown as itself? Control characters (line ends, colours), invisible ones,
/// those that change the order of text, and unusual spaces are not.
#[must_use]
pub fn is_shown(char: char) -> bool {
    use GeneralCategory as Category;
    if char.is_ascii() {
        return !char.is_ascii_control();
    }
    let is_of_no_shape = matches!(
        CodePointMapData::<Category>::new().get(char),
        Category::Control
            | Category::LineSeparator
            | Category::ParagraphSeparator
            | Category::SpaceSeparator
            | Category::Surrogate
            | Category::PrivateUse
            | Category::Unassigned
    );
    !is_of_no_shape && !is_invisible(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_not_shown_as_themselves() {
        // Among them fillers of Hangul, a variation selector and a grapheme joiner.
        for char in "\u{3164}\u{fe00}\u{34f}\u{115f}\u{e0100}\u{200b}\u{202e}\u{a0}\u{7}\u{85}\u{e000}".chars() {
            assert!(!is_shown(char), "{char:?}");
        }
        assert!("aZ ~äß鸿雁안녕é🪿".chars().all(is_shown));
    }
}
