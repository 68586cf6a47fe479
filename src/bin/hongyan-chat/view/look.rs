//! Colours, or no colours: everything that is shown by a colour is also shown by a word or a sign.

use ratatui::style::{Color, Modifier, Style};

/// How text is highlighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextTheme {
    pub(crate) has_colours: bool,
}

impl TextTheme {
    fn of(self, colour: Color, otherwise: Modifier) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new().add_modifier(otherwise) }
    }

    pub(super) fn plain(self) -> Style {
        Style::new()
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Style {
        self.of(Color::DarkGray, Modifier::DIM)
    }

    pub(super) fn good(self) -> Style {
        self.of(Color::Green, Modifier::empty())
    }

    pub(super) fn mine(self) -> Style {
        self.of(Color::Cyan, Modifier::empty())
    }

    pub(super) fn theirs(self) -> Style {
        self.of(Color::Magenta, Modifier::BOLD)
    }

    pub(super) fn alarm(self) -> Style {
        self.of(Color::Red, Modifier::empty()).add_modifier(Modifier::BOLD)
    }

    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
