//! The chat with one friend: the name, the messages, the reason why it is stopped (if it is), and
//! the input line.

use super::lines::put;
use super::look::TextTheme;
use crate::app::{ChatApp, Focus};
use crate::chat::{FriendChatView, mark, remark, visible};
use crate::message::{ChatHistoryMessage, KeyTrust, MessageEncryptionStatus};
use crate::text;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use time::OffsetDateTime;
use time::macros::format_description;

/// How many rows the text above the input line may take.
const BANNER_ROWS_MAX: usize = 3;
/// The prompt before the input.
const PROMPT: &str = "> ";

/// Draws the chat. Returns the position of the cursor.
pub(super) fn draw(app: &ChatApp, look: TextTheme, frame: &mut Frame<'_>, area: Rect) -> Option<(u16, u16)> {
    put(frame, area, 0, head(app, look, area.width.into()));
    let height = height(app, area);
    if let Some(chat) = app.chat() {
        let mut rows = rows(app, chat, area.width, chat.scroll + height, look);
        // The rows, newest first: those below the lower edge, then the visible ones.
        let below = chat.scroll.min(rows.len().saturating_sub(height));
        let shown: Vec<Line<'static>> = rows.drain(..).skip(below).take(height).collect();
        for (row, line) in (1..).zip(shown.into_iter().rev()) {
            put(frame, area, row, line);
        }
    }
    let banner = banner(app, area.width.into());
    let first = area.height.saturating_sub(1 + rows_of_banner(&banner));
    for (row, line) in (first..).zip(banner) {
        put(frame, area, row, Line::styled(line, look.alarm()));
    }
    let (input, at) = app.editor().window(usize::from(area.width).saturating_sub(PROMPT.len()));
    let style = if app.focus == Focus::Chat { look.strong() } else { look.faint() };
    let line = Line::from(vec![Span::styled(PROMPT, style), Span::raw(input)]);
    put(frame, area, area.height - 1, line);
    let x = area.x.saturating_add(u16::try_from(PROMPT.len() + at).unwrap_or(u16::MAX));
    (app.focus == Focus::Chat).then_some((x, area.bottom() - 1))
}

/// How many rows there are for messages.
pub(super) fn height(app: &ChatApp, area: Rect) -> usize {
    let banner = banner(app, area.width.into());
    usize::from(area.height.saturating_sub(2 + rows_of_banner(&banner)))
}

fn rows_of_banner(banner: &[String]) -> u16 {
    u16::try_from(banner.len()).unwrap_or(0)
}

/// The reason why the chat is stopped until the user has agreed.
fn banner(app: &ChatApp, width: usize) -> Vec<String> {
    let why = app.open.as_ref().and_then(|open| app.blocks_sending(open));
    let Some(why) = why else { return Vec::new() };
    let mut rows = text::wrap(&format!("! {why}"), width);
    rows.truncate(BANNER_ROWS_MAX);
    rows
}

fn head(app: &ChatApp, look: TextTheme, width: usize) -> Line<'static> {
    let Some(name) = &app.open else {
        let hint = match app.focus {
            _ if app.rows().is_empty() => "No chat is open. /request NAME asks a user to become a friend.",
            Focus::List => "No chat is open. Choose in the list, Enter opens.",
            Focus::Chat => "No chat is open. Tab goes to the list, Enter opens.",
        };
        return Line::styled(text::truncate(hint, width), look.faint());
    };
    let chat = app.chats.get(name);
    let friend = app.friends.get(name);
    let presence = match friend {
        Some(friend) if friend.is_online => ", online",
        Some(_) => ", away",
        None if name == "system" => ", the operator",
        None => ", no friend",
    };
    let (seal, style) = match chat.map(|chat| &chat.trust) {
        _ if name == "system" => ("", look.plain()),
        Some(KeyTrust::Pinned { .. }) => ("encrypted", look.good()),
        Some(KeyTrust::NoKeys) => ("NOT ENCRYPTED", look.alarm()),
        Some(KeyTrust::Changed { .. } | KeyTrust::Gone) => ("KEYS CHANGED", look.alarm()),
        Some(KeyTrust::CannotSeal) => ("YOU HAVE NO KEYS", look.alarm()),
        Some(KeyTrust::Unknown) | None => ("", look.plain()),
    };
    let search = chat.and_then(|chat| chat.search.as_ref());
    let search = search.map(|search| format!("  only “{}”, Esc: all", text::line(search))).unwrap_or_default();
    let nick = friend.map(|friend| text::line(&friend.nick)).filter(|nick| !nick.is_empty() && nick != name);
    let nick = nick.map(|nick| format!(" ({nick})")).unwrap_or_default();
    let room = width.saturating_sub(presence.len() + 2 + seal.len() + text::columns(&search));
    let who = text::truncate(&format!("{}{nick}", text::line(name)), room);
    Line::from(vec![
        Span::styled(who, look.strong()),
        Span::styled(format!("{presence}  "), look.plain()),
        Span::styled(seal, style),
        Span::styled(search, look.strong()),
    ])
}

/// The rows of the messages, newest first, at most `most`.
pub(super) fn rows(
    app: &ChatApp,
    chat: &FriendChatView,
    width: u16,
    most: usize,
    look: TextTheme,
) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    let is_sealed_usually = is_sealed_usually(app, chat);
    let mut messages = chat.shown().peekable();
    while let Some(message) = messages.next() {
        let mut of_message = rows_of(app, message, width.into(), is_sealed_usually, look);
        of_message.reverse();
        rows.append(&mut of_message);
        let today = day(message.time, app.offset);
        if messages.peek().is_none_or(|older| day(older.time, app.offset) != today) {
            rows.push(Line::styled(text::truncate(&format!("── {today} ──"), width.into()), look.faint()));
        }
        if rows.len() >= most {
            rows.truncate(most);
            break;
        }
    }
    rows
}

/// Must each unencrypted message be marked as such? If not, the heading of the chat says it for
/// all.
fn is_sealed_usually(app: &ChatApp, chat: &FriendChatView) -> bool {
    !matches!(chat.trust, KeyTrust::NoKeys) && app.open.as_deref() != Some("system")
}

/// How many rows one message takes.
pub(super) fn rows_of_message(app: &ChatApp, message: &ChatHistoryMessage, area: Rect) -> usize {
    let is_sealed_usually = app.chat().is_some_and(|chat| is_sealed_usually(app, chat));
    rows_of(app, message, area.width.into(), is_sealed_usually, TextTheme::default()).len()
}

fn rows_of(
    app: &ChatApp,
    message: &ChatHistoryMessage,
    width: usize,
    is_sealed_usually: bool,
    look: TextTheme,
) -> Vec<Line<'static>> {
    let (name, style) = match message.is_own() {
        true => ("you".to_owned(), look.mine()),
        false => (text::truncate(&text::line(&message.with), (width / 3).max(4)), look.theirs()),
    };
    let before = format!("{} {} ", clock(message.time, app.offset), mark(message));
    let is_narrow = width < 30;
    let indent = if is_narrow { 2 } else { text::columns(&before) };
    let mut rows = Vec::new();
    let head = vec![Span::styled(before.clone(), look.faint()), Span::styled(format!("{name}: "), style)];
    let text_style = if message.seal == MessageEncryptionStatus::Doubtful { look.alarm() } else { look.plain() };
    let mut pieces = Vec::new();
    let used = text::columns(&before) + text::columns(&name) + 2;
    for (number, line) in text::lines(&visible(message)).iter().enumerate() {
        // The first piece is on the same row as the name, if there is room for part of it.
        let first = if number == 0 && !is_narrow { width.saturating_sub(used) } else { 0 };
        if first >= 10 {
            pieces.extend(text::wrap_behind(line, first, width.saturating_sub(indent)));
            continue;
        }
        if number == 0 {
            pieces.push(String::new());
        }
        pieces.extend(text::wrap(line, width.saturating_sub(indent)));
    }
    let mut pieces = pieces.into_iter();
    let mut first = head;
    first.push(Span::styled(pieces.next().unwrap_or_default(), text_style));
    rows.push(Line::from(first));
    let gap = " ".repeat(indent);
    rows.extend(pieces.map(|piece| Line::from(vec![Span::raw(gap.clone()), Span::styled(piece, text_style)])));
    if let Some(remark) = remark(message, is_sealed_usually) {
        let rest = text::wrap(&format!("[{remark}]"), width.saturating_sub(indent));
        rows.extend(rest.into_iter().map(|row| Line::styled(format!("{gap}{row}"), look.alarm())));
    }
    rows
}

fn local(time: u64, offset: i32) -> Option<OffsetDateTime> {
    let seconds = i64::try_from(time / 1_000).ok()?.checked_add(offset.into())?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

fn clock(time: u64, offset: i32) -> String {
    let format = format_description!("[hour]:[minute]");
    local(time, offset).and_then(|at| at.format(format).ok()).unwrap_or_else(|| "--:--".to_owned())
}

fn day(time: u64, offset: i32) -> String {
    let format = format_description!("[year]-[month]-[day], [weekday]");
    local(time, offset).and_then(|at| at.format(format).ok()).unwrap_or_else(|| "another time".to_owned())
}
