//! Text of clients and databases that ends on a terminal, in a log or in an answer to an operator.

use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

/// Does it show as itself: no control character (line ends, colours), nothing invisible, nothing
/// that changes the order of what is shown, and no space but the usual one?
#[must_use]
pub fn is_shown(char: char) -> bool {
    use GeneralCategory as Category;
    if char.is_ascii() {
        return !char.is_ascii_control();
    }
    !matches!(
        CodePointMapData::<Category>::new().get(char),
        Category::Control
            | Category::Format
            | Category::LineSeparator
            | Category::ParagraphSeparator
            | Category::SpaceSeparator
            | Category::Surrogate
            | Category::PrivateUse
            | Category::Unassigned
    )
}
