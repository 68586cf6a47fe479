//! The terminal: its state is changed at the start, and restored at the end, after a signal and
//! after a panic.

use crate::app::ChatApp;
use crate::session::{ChatSession, wait_for_end};
use crate::session_messages::{ChatSessionCommand, ChatSessionEvent};
use crate::setup::ChatClientSetup;
use crate::view::{self, TextTheme};
use crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste, Event};
use crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How many news and keys may wait for the screen.
const INPUTS_MAX: usize = 4_096;
/// How long it takes at most to notice a signal.
const WAIT: Duration = Duration::from_millis(200);
/// How long the reader of the terminal takes at most to notice the end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the end waits until all acks are written.
const FINISH: Duration = Duration::from_secs(3);

/// A thread has panicked, and the terminal has been restored already.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

enum UiEvent {
    Terminal(Event),
    News(Box<ChatSessionEvent>),
    /// The terminal can no longer be read.
    Gone,
}

/// How the chat ended.
pub(crate) enum ChatEnd {
    Left,
    /// The reason, and whether the log-in was refused.
    Ended(String, bool),
    Panicked,
}

/// The terminal while its state is changed. Dropping this restores it.
struct AlternateScreen {
    terminal: Terminal<CrosstermBackend<io::Stdout>>,
}

impl AlternateScreen {
    fn take() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let taken = execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())))
            // A program that was killed may have left its output on the screen.
            .and_then(|mut terminal| terminal.clear().map(|()| terminal));
        if taken.is_err() {
            restore();
        }
        Ok(Self { terminal: taken? })
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        if !HAS_PANICKED.load(Ordering::SeqCst) {
            restore();
        }
    }
}

fn restore() {
    // If the terminal is gone, nothing needs to be restored.
    execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show).unwrap_or(());
    terminal::disable_raw_mode().unwrap_or(());
}

/// From now on a panic of any thread restores the terminal before it prints its message.
fn give_back_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !HAS_PANICKED.swap(true, Ordering::SeqCst) {
            restore();
        }
        say(info);
    }));
}

/// Runs the chat until the user leaves. `offset` is the offset of local time from UTC, in seconds.
///
/// # Errors
/// One sentence.
pub(crate) fn run(setup: &ChatClientSetup, offset: i32) -> Result<ChatEnd, String> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err("hongyan chat needs a terminal; see hongyan send and hongyan listen for scripts".to_owned());
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let (sender, inputs) = sync_channel(INPUTS_MAX);
    let news = sender.clone();
    // After the end nobody reads the news.
    let tell = Arc::new(move |it| news.send(UiEvent::News(Box::new(it))).unwrap_or(()));
    let session = ChatSession::start(setup.clone(), tell)?;
    give_back_on_panic();
    let cannot = |error: io::Error| format!("cannot use the terminal: {error}");
    let screen = AlternateScreen::take().map_err(cannot)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let read = {
        let is_over = Arc::clone(&is_over);
        move || read_terminal(&sender, &is_over)
    };
    let keys = thread::Builder::new().name("keys".to_owned()).spawn(read).map_err(cannot)?;
    let app = ChatApp::new(&setup.user, &setup.server, offset);
    let ended = chat(app, screen, &session, &inputs, &stop);
    session.execute(ChatSessionCommand::Quit);
    // So that the session does not block on news that nobody reads.
    drop(inputs);
    // The next reader of the terminal (a question for the password, or the shell) must get all
    // keys.
    is_over.store(true, Ordering::SeqCst);
    wait_for_end(&keys, FINISH);
    session.finish(FINISH);
    ended.map_err(cannot)
}

fn chat(
    mut app: ChatApp,
    mut screen: AlternateScreen,
    session: &ChatSession,
    inputs: &Receiver<UiEvent>,
    stop: &AtomicBool,
) -> io::Result<ChatEnd> {
    let look = TextTheme { has_colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
    let (width, height) = terminal::size()?;
    app.resize(width, height);
    let mut is_stale = true;
    let mut last = Instant::now();
    loop {
        let now = Instant::now();
        is_stale |= app.on_time_passed(now.duration_since(last));
        last = now;
        if HAS_PANICKED.load(Ordering::SeqCst) {
            return Ok(ChatEnd::Panicked);
        }
        if stop.load(Ordering::SeqCst) {
            return Ok(ChatEnd::Left);
        }
        if std::mem::take(&mut app.wants_redraw) {
            screen.terminal.clear()?;
        }
        if is_stale {
            screen.terminal.draw(|frame| view::draw(&app, look, frame))?;
            is_stale = false;
        }
        let mut next = match inputs.recv_timeout(WAIT) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(ChatEnd::Left),
        };
        // Handles all inputs that are waiting, then draws once.
        let mut left = INPUTS_MAX;
        while let Some(input) = next.take() {
            is_stale = true;
            if matches!(input, UiEvent::Gone) {
                return Ok(ChatEnd::Left);
            }
            take(&mut app, session, input);
            if app.has_quit {
                return Ok(app.end_reason.map_or(ChatEnd::Left, |(why, is_refused)| ChatEnd::Ended(why, is_refused)));
            }
            left -= 1;
            if left > 0 {
                next = inputs.try_recv().ok();
            }
        }
    }
}

/// Handles a key or news, and gives the resulting orders to the session.
fn take(app: &mut ChatApp, session: &ChatSession, input: UiEvent) {
    let mut orders = VecDeque::new();
    match input {
        UiEvent::Terminal(Event::Key(key)) => orders.extend(app.on_key(key)),
        UiEvent::Terminal(Event::Paste(text)) => app.paste(&text),
        UiEvent::Terminal(Event::Resize(width, height)) => app.resize(width, height),
        UiEvent::Terminal(_) | UiEvent::Gone => {}
        UiEvent::News(news) => orders.extend(app.on_event(*news)),
    }
    while let Some(order) = orders.pop_front() {
        for news in session.execute(order) {
            orders.extend(app.on_event(news));
        }
    }
}

/// Passes on the events of the terminal, until the end.
fn read_terminal(inputs: &SyncSender<UiEvent>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let input = match event::poll(LOOK_EVERY) {
            Ok(false) => continue,
            Ok(true) => event::read().map_or(UiEvent::Gone, UiEvent::Terminal),
            Err(_) => UiEvent::Gone,
        };
        let is_gone = matches!(input, UiEvent::Gone);
        if inputs.send(input).is_err() || is_gone {
            return;
        }
    }
}
