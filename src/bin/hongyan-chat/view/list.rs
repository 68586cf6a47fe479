//! The list: requests, friends with presence and unread counts, others.

use super::lines::put;
use super::look::TextTheme;
use crate::app::{ChatApp, ChatContactListRow, Focus};
use crate::text;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

pub(super) fn draw(app: &ChatApp, look: TextTheme, frame: &mut Frame<'_>, area: Rect) {
    let rows = app.rows();
    if rows.is_empty() {
        let words = ["No friends yet.", "", "/request NAME", "asks somebody."];
        for (row, words) in (0..).zip(words) {
            put(frame, area, row, Line::styled(text::truncate(words, area.width.into()), look.faint()));
        }
        return;
    }
    let current = app.current_row();
    let at = rows.iter().position(|row| Some(row) == current.as_ref()).unwrap_or(0);
    let height = usize::from(area.height);
    // The selected row is always visible.
    let first = (at + 1).saturating_sub(height);
    for (row, entry) in (0..area.height).zip(rows.iter().skip(first)) {
        let is_chosen = Some(entry) == current.as_ref();
        put(frame, area, row, line(app, look, entry, is_chosen, area.width.into()));
    }
}

fn line(app: &ChatApp, look: TextTheme, row: &ChatContactListRow, is_chosen: bool, width: usize) -> Line<'static> {
    let unread = app.chats.get(row.name()).map_or(0, |chat| chat.unread);
    let (sign, style) = match row {
        ChatContactListRow::Asks(_) => ("→", look.strong()),
        ChatContactListRow::Asked(_) => ("…", look.faint()),
        ChatContactListRow::Other(_) => (" ", look.faint()),
        ChatContactListRow::Friend(name) => match app.friends.get(name) {
            Some(friend) if friend.is_online => ("●", look.good()),
            _ => ("○", look.faint()),
        },
    };
    let tail = match row {
        ChatContactListRow::Asks(_) => " asks".to_owned(),
        ChatContactListRow::Asked(_) => " asked".to_owned(),
        _ if unread > 0 => format!(" ({unread})"),
        _ => String::new(),
    };
    let room = width.saturating_sub(2 + text::columns(&tail));
    let name = text::truncate(&text::line(row.name()), room);
    let gap = " ".repeat(room.saturating_sub(text::columns(&name)));
    let is_open = app.open.as_deref() == Some(row.name())
        && matches!(row, ChatContactListRow::Friend(_) | ChatContactListRow::Other(_));
    let base = match (is_chosen, app.focus) {
        (true, Focus::List) => look.chosen(),
        _ if is_open => look.strong(),
        _ => Style::new(),
    };
    let name_style = if unread > 0 { base.patch(look.strong()) } else { base };
    Line::from(vec![
        Span::styled(format!("{sign} "), style.patch(base)),
        Span::styled(name, name_style),
        Span::styled(format!("{gap}{tail}"), base),
    ])
}
