//! Writes lines into the areas of the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// Writes a line into a row of an area, and cuts off what does not fit.
pub(super) fn put(frame: &mut Frame<'_>, area: Rect, row: u16, line: Line<'_>) {
    if row < area.height {
        let (x, y) = (area.x, area.y + row);
        frame.buffer_mut().set_line(x, y, &line, area.width);
    }
}
