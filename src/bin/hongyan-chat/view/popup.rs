//! Windows in front of the rest of the screen: they show a text, or ask a question or for a secret.

use super::lines::put;
use super::look::TextTheme;
use crate::app::Popup;
use crate::text;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear};

/// Draws the window. Returns the position of the cursor, if the window asks for text.
pub(super) fn draw(popup: &Popup, look: TextTheme, frame: &mut Frame<'_>, area: Rect) -> Option<(u16, u16)> {
    let (width, inside) = widths(area);
    let (title, rows, scroll, end) = match popup {
        Popup::Text { title, text, scroll } => (title.as_str(), body(text, inside), *scroll, "Esc, or / and a command"),
        Popup::Confirm { question, .. } => ("", body(question, inside), 0, "y / n"),
        Popup::Secret { label, .. } => (label.as_str(), vec![String::new()], 0, "Enter / Esc"),
    };
    let height = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let frame_area = Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height);
    let last = rows.len().saturating_sub(usize::from(height.saturating_sub(2)));
    let scroll = scroll.min(last);
    let end = match popup {
        // The text is longer than the window.
        Popup::Text { .. } if last > 0 => {
            format!("{}–{} of {}, Up/Down, {end}", scroll + 1, scroll + rows.len() - last, rows.len())
        }
        _ => end.to_owned(),
    };
    let block = Block::bordered()
        .title_top(format!(" {} ", text::truncate(&text::line(title), inside)))
        .title_bottom(Line::from(format!(" {end} ")).right_aligned());
    frame.render_widget(Clear, frame_area);
    frame.render_widget(block, frame_area);
    let inner = Rect::new(frame_area.x + 2, frame_area.y + 1, width.saturating_sub(4), height.saturating_sub(2));
    for (row, line) in (0..inner.height).zip(rows.into_iter().skip(scroll)) {
        put(frame, inner, row, Line::styled(line, look.plain()));
    }
    match popup {
        // Not even the length of the secret is shown.
        Popup::Secret { .. } => Some((inner.x, inner.y)),
        _ => None,
    }
}

/// The width of the window with and without its frame.
fn widths(area: Rect) -> (u16, usize) {
    let width = area.width.min(78);
    (width, usize::from(width.saturating_sub(4)))
}

/// How far the window can be scrolled.
pub(super) fn scroll_max(popup: &Popup, area: Rect) -> usize {
    let Popup::Text { text, .. } = popup else { return 0 };
    body(text, widths(area).1).len().saturating_sub(usize::from(area.height.saturating_sub(2)))
}

fn body(text: &str, width: usize) -> Vec<String> {
    text::lines(text).iter().flat_map(|line| text::wrap(line, width)).collect()
}
