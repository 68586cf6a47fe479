//! Questions that are asked before the screen is drawn. The letters of a secret are not shown, not
//! even as dots.

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal;
use std::io::{self, IsTerminal, Write};

/// The maximum number of characters of a secret.
const CHARS_MAX: usize = 1_024;

/// Asks for a line, which is shown while it is typed.
///
/// # Errors
/// One sentence.
pub(crate) fn line(question: &str) -> Result<String, String> {
    ask_on_terminal(question)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| format!("cannot read the answer: {error}"))?;
    let line = line.trim().to_owned();
    if line.is_empty() { Err("nothing was entered".to_owned()) } else { Ok(line) }
}

/// Asks for a password.
///
/// # Errors
/// One sentence, also when the user gives up.
pub(crate) fn secret(question: &str) -> Result<String, String> {
    ask_on_terminal(question)?;
    let cannot = |error: io::Error| format!("cannot read a password from the terminal: {error}");
    let raw = RawTerminal::start().map_err(cannot)?;
    let mut secret = String::new();
    let entered = loop {
        let Event::Key(key) = event::read().map_err(cannot)? else { continue };
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if key.kind == KeyEventKind::Release => {}
            KeyCode::Enter => break true,
            KeyCode::Char('j' | 'm') if is_control => break true,
            KeyCode::Char('c' | 'd') if is_control => break false,
            KeyCode::Esc => break false,
            KeyCode::Char('u') if is_control => secret.clear(),
            KeyCode::Backspace => {
                secret.pop();
            }
            KeyCode::Char(char) if !is_control && secret.len() < CHARS_MAX => secret.push(char),
            _ => {}
        }
    };
    drop(raw);
    writeln!(io::stderr()).map_err(cannot)?;
    if entered && !secret.is_empty() { Ok(secret) } else { Err("no password was entered".to_owned()) }
}

/// Asks for a new password, twice. If the two differ, it asks again. If the program ended instead,
/// the user might type the password again into the shell, which would show and store it.
///
/// # Errors
/// One sentence, also when the user gives up.
pub(crate) fn new_secret(question: &str) -> Result<String, String> {
    loop {
        let first = secret(question)?;
        if secret("The same again: ")? == first {
            return Ok(first);
        }
        crate::print_error("the two were not the same");
    }
}

fn ask_on_terminal(question: &str) -> Result<(), String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(format!(
            "there is no terminal to ask on ({}); see --password-file",
            question.trim_end_matches(": ")
        ));
    }
    write!(io::stderr(), "{question}").and_then(|()| io::stderr().flush()).map_err(|error| error.to_string())
}

/// The terminal echoes nothing until this is dropped.
struct RawTerminal;

impl RawTerminal {
    fn start() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        Ok(Self)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // An error here cannot be handled.
        terminal::disable_raw_mode().unwrap_or(());
    }
}
