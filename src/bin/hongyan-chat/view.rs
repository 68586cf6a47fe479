//! Draws the state: where each part of the screen is and what it shows. This needs no terminal,
//! because it draws into ratatui's buffer.

mod lines;
mod list;
mod look;
mod popup;
mod talk;

use crate::app::{ChatApp, Focus, Popup};
use crate::message::ChatHistoryMessage;
use crate::session_messages::ServerLinkStatus;
use crate::text;
use lines::put;
pub(crate) use look::TextTheme;
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

/// From this width on, the list and the chat are side by side.
const WIDE: u16 = 60;
const SMALLEST: (u16, u16) = (16, 5);

/// The areas of the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScreenAreas {
    title: Rect,
    list: Option<Rect>,
    chat: Option<Rect>,
    status: Rect,
}

fn parts(app: &ChatApp) -> ScreenAreas {
    let (width, height) = app.size;
    let row = |y| Rect::new(0, y, width, 1);
    let middle = |x, width| Rect::new(x, 1, width, height.saturating_sub(2));
    let (list, chat) = if width >= WIDE {
        let beside = (width / 4).clamp(16, 30);
        (Some(middle(0, beside)), Some(middle(beside + 1, width - beside - 1)))
    } else if app.focus == Focus::List {
        (Some(middle(0, width)), None)
    } else {
        (None, Some(middle(0, width)))
    };
    ScreenAreas { title: row(0), list, chat, status: row(height.saturating_sub(1)) }
}

/// How many rows a page of the chat has.
pub(crate) fn page(app: &ChatApp) -> usize {
    let rows = parts(app).chat.map_or(0, |area| talk::height(app, area));
    rows.saturating_sub(1).max(1)
}

/// How far the open chat can be scrolled back, counted only as far as needed for its present
/// position.
pub(crate) fn scroll_max(app: &ChatApp) -> usize {
    let (Some(area), Some(chat)) = (parts(app).chat, app.chat()) else { return 0 };
    let height = talk::height(app, area);
    talk::rows(app, chat, area.width, chat.scroll.saturating_add(height), TextTheme::default())
        .len()
        .saturating_sub(height)
}

/// How many rows a message of the open chat takes.
pub(crate) fn rows_of(app: &ChatApp, message: &ChatHistoryMessage) -> usize {
    parts(app).chat.map_or(0, |area| talk::rows_of_message(app, message, area))
}

/// How far the text of a window can be scrolled.
pub(crate) fn popup_scroll_max(popup: &Popup, size: (u16, u16)) -> usize {
    popup::scroll_max(popup, Rect::new(0, 0, size.0, size.1))
}

/// Draws everything.
pub(crate) fn draw(app: &ChatApp, look: TextTheme, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        put(frame, area, 0, Line::from(text::truncate("too small", area.width.into())));
        return;
    }
    let parts = parts(app);
    put(frame, parts.title, 0, title(app, look, parts.title.width));
    if let Some(area) = parts.list {
        list::draw(app, look, frame, area);
        if parts.chat.is_some() {
            for y in 0..area.height {
                frame.buffer_mut().set_string(area.right(), area.y + y, "│", look.faint());
            }
        }
    }
    let mut cursor = None;
    if let Some(area) = parts.chat {
        cursor = talk::draw(app, look, frame, area);
    }
    put(frame, parts.status, 0, status(app, look, parts.status.width));
    if let Some(popup) = &app.popup {
        cursor = popup::draw(popup, look, frame, area);
    }
    if let Some((x, y)) = cursor {
        frame.set_cursor_position(Position::new(x.min(area.right() - 1), y.min(area.bottom() - 1)));
    }
}

fn title(app: &ChatApp, look: TextTheme, width: u16) -> Line<'static> {
    let (state, style) = match app.link {
        ServerLinkStatus::Here => ("connected", look.good()),
        ServerLinkStatus::Connecting => ("connecting", look.faint()),
        ServerLinkStatus::Away(_) => ("NOT CONNECTED, trying again", look.alarm()),
        ServerLinkStatus::Over(_) => ("NOT CONNECTED", look.alarm()),
    };
    let unread: usize = app.chats.values().map(|chat| chat.unread).sum();
    let unread = if unread == 0 { String::new() } else { format!("  {unread} unread") };
    let room = usize::from(width).saturating_sub(state.len() + unread.len() + 3);
    let who = text::truncate(&format!("{} at {}", text::line(&app.own_name), text::line(&app.server)), room);
    Line::from(vec![
        Span::styled(who, look.strong()),
        Span::raw("  "),
        Span::styled(state, style),
        Span::styled(unread, look.strong()),
    ])
}

/// The sentence at the bottom: the last one that was said, or, if there is none and the connection
/// is lost, the reason.
fn status(app: &ChatApp, look: TextTheme, width: u16) -> Line<'static> {
    let (said, is_warning) = &app.status_line;
    let (shown, style) = match app.connection_problem() {
        _ if !said.is_empty() => (said.clone(), if *is_warning { look.alarm() } else { look.plain() }),
        Some(trouble) => (text::line(&trouble), look.alarm()),
        None => ("F1 help   Tab list/chat   Ctrl-Q leave".to_owned(), look.faint()),
    };
    Line::from(Span::styled(text::truncate(&shown, width.into()), style))
}

#[cfg(test)]
mod tests;
