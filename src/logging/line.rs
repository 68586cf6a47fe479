//! One line of the log, as text or as a JSON object. Names, ids and texts of clients and databases
//! are escaped here for all lines, so that each stays one line and is shown in the order in which
//! it was written.

use crate::safe_text::is_shown;
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Record};
use std::fmt::{self, Write};
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The largest size of a message or value, in bytes; a longer one is cut.
const TEXT_BYTES_MAX: usize = 4_096;

/// The times of lines: RFC 3339 in UTC, to the microsecond.
pub(super) const TIME_FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// The purpose of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogLineEscaping {
    /// `message key=value`, behind the time and the level.
    Text,
    /// One JSON object.
    Json,
}

/// The message of a record and its fields.
pub(super) fn text_of(record: &Record<'_>) -> String {
    let mut line = LogLine { format: LogLineEscaping::Text, text: String::with_capacity(160) };
    line.escaped(*record.args());
    // Neither the visitor nor writing into a String can fail.
    record.key_values().visit(&mut line).unwrap_or(());
    line.text
}

/// The JSON object of a record, with the end of its line.
pub(super) fn json_of(time: SystemTime, record: &Record<'_>) -> Vec<u8> {
    let level = record.level();
    // The module is useful only for debugging the server itself.
    let target = Some(record.target()).filter(|_| level >= Level::Debug);
    let mut line = LogLine::begin(time, level, target, *record.args());
    record.key_values().visit(&mut line).unwrap_or(());
    line.end()
}

/// The JSON object for a text that is not a log record.
pub(super) fn json_of_text(time: SystemTime, level: Level, text: &str) -> Vec<u8> {
    LogLine::begin(time, level, None, format_args!("{text}")).end()
}

struct LogLine {
    format: LogLineEscaping,
    text: String,
}

impl LogLine {
    fn begin(time: SystemTime, level: Level, target: Option<&str>, message: fmt::Arguments<'_>) -> Self {
        let mut line = Self { format: LogLineEscaping::Json, text: String::with_capacity(160) };
        // It can fail only for years far in the future or the past.
        let time = OffsetDateTime::from(time).format(TIME_FORMAT).unwrap_or_default();
        let level = level.as_str().to_ascii_lowercase();
        write!(line.text, "{{\"time\":\"{time}\",\"level\":\"{level}\"").unwrap_or(());
        line.member("message", message);
        if let Some(target) = target {
            line.member("target", format_args!("{target}"));
        }
        line
    }

    fn end(mut self) -> Vec<u8> {
        self.text.push_str("}\n");
        self.text.into_bytes()
    }

    /// One more member of the object, as a string.
    fn member(&mut self, key: &str, value: fmt::Arguments<'_>) {
        self.text.push_str(",\"");
        self.escaped(format_args!("{key}"));
        self.text.push_str("\":\"");
        self.escaped(value);
        self.text.push('"');
    }

    fn escaped(&mut self, value: fmt::Arguments<'_>) {
        let quotes = self.format == LogLineEscaping::Json;
        let mut escaped = LogLineEscapingWriter {
            format: self.format,
            quotes,
            bytes_left: Some(TEXT_BYTES_MAX),
            out: &mut self.text,
        };
        escaped.write_fmt(value).unwrap_or(());
    }

    /// A value in a line of text: as it is if it is a plain word, or else in quotes.
    fn text_value(&mut self, value: &Value<'_>) {
        let from = self.text.len();
        let mut escaped = LogLineEscapingWriter {
            format: LogLineEscaping::Text,
            quotes: true,
            bytes_left: Some(TEXT_BYTES_MAX),
            out: &mut self.text,
        };
        write!(escaped, "{value}").unwrap_or(());
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-/+@%".contains(&byte);
        if self.text.len() == from || !self.text[from..].bytes().all(word) {
            self.text.insert(from, '"');
            self.text.push('"');
        }
    }
}

impl<'kvs> VisitSource<'kvs> for LogLine {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        match self.format {
            LogLineEscaping::Text => {
                self.text.push(' ');
                self.escaped(format_args!("{key}="));
                self.text_value(&value);
            }
            LogLineEscaping::Json if value.to_u64().is_some() || value.to_bool().is_some() => {
                self.text.push_str(",\"");
                self.escaped(format_args!("{key}"));
                write!(self.text, "\":{value}").unwrap_or(());
            }
            LogLineEscaping::Json => self.member(key.as_str(), format_args!("{value}")),
        }
        Ok(())
    }
}

/// Writes arbitrary text into a line, escaped.
struct LogLineEscapingWriter<'a> {
    format: LogLineEscaping,
    /// Quotes and backslashes are escaped as well.
    quotes: bool,
    /// The number of bytes that may still be written; `None`: the text was cut.
    bytes_left: Option<usize>,
    out: &'a mut String,
}

impl fmt::Write for LogLineEscapingWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            let Some(left) = self.bytes_left else { return Ok(()) };
            self.bytes_left = left.checked_sub(char.len_utf8());
            if self.bytes_left.is_none() {
                self.out.push('…');
                return Ok(());
            }
            if self.quotes && (char == '"' || char == '\\') {
                self.out.extend(['\\', char]);
            } else if is_shown(char) {
                self.out.push(char);
            } else if self.format == LogLineEscaping::Json {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(self.out, "\\u{unit:04x}")?;
                }
            } else {
                write!(self.out, "\\u{{{:x}}}", u32::from(char))?;
            }
        }
        Ok(())
    }
}

/// A line that is no record of the log, such as the one that says where the server listens.
pub(super) fn plain_line(is_json: bool, level: Level, text: &str) -> Vec<u8> {
    if is_json { json_of_text(SystemTime::now(), level, text) } else { format!("{text}\n").into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn line(form: LogLineEscaping, level: Level, message: &str, user: &str) -> String {
        let pairs = [("conn", Value::from("7.0")), ("count", Value::from(3_u64)), ("user", Value::from(user))];
        let args = format_args!("{message}");
        let record = Record::builder().level(level).target("hongyan::net").args(args).key_values(&pairs).build();
        match form {
            LogLineEscaping::Text => text_of(&record) + "\n",
            LogLineEscaping::Json => {
                let time = UNIX_EPOCH + Duration::from_micros(1_652_791_027_000_042);
                String::from_utf8(json_of(time, &record)).unwrap()
            }
        }
    }

    #[test]
    fn the_forms_of_a_line() {
        assert_eq!(
            line(LogLineEscaping::Text, Level::Info, "wrong password", "ann"),
            "wrong password conn=7.0 count=3 user=ann\n"
        );
        assert_eq!(line(LogLineEscaping::Text, Level::Info, "refused", ""), "refused conn=7.0 count=3 user=\"\"\n");
        assert_eq!(
            line(LogLineEscaping::Json, Level::Info, "wrong \"password\"", "ann"),
            "{\"time\":\"2022-05-17T12:37:07.000042Z\",\"level\":\"info\",\"message\":\"wrong \\\"password\\\"\",\
             \"conn\":\"7.0\",\"count\":3,\"user\":\"ann\"}\n"
        );
        let debug: serde_json::Value =
            serde_json::from_str(&line(LogLineEscaping::Json, Level::Debug, "x", "y")).unwrap();
        assert_eq!(debug["target"], "hongyan::net");
    }

    #[test]
    fn nothing_breaks_out_of_its_line_or_its_place() {
        for (user, text) in [
            ("x from 1.2.3.4", "\"x from 1.2.3.4\""),
            ("x\" address=1.2.3.4", "\"x\\\" address=1.2.3.4\""),
            ("x\\", "\"x\\\\\""),
            ("a=b", "\"a=b\""),
            ("x\n2026-01-01T00:00:00Z [INFO] y", "\"x\\u{a}2026-01-01T00:00:00Z [INFO] y\""),
            ("\u{1b}[31mred\u{9b}", "\"\\u{1b}[31mred\\u{9b}\""),
            ("a\u{2028}b\u{2029}c\u{85}d", "\"a\\u{2028}b\\u{2029}c\\u{85}d\""),
            ("\u{202e}4.3.2.1\u{2066}\u{200f}", "\"\\u{202e}4.3.2.1\\u{2066}\\u{200f}\""),
            ("a\u{a0}b\u{ad}\u{feff}\u{e0041}\u{e000}", "\"a\\u{a0}b\\u{ad}\\u{feff}\\u{e0041}\\u{e000}\""),
            ("安娜", "\"安娜\""),
            ("ที่", "\"ที่\""),
        ] {
            let said = line(LogLineEscaping::Text, Level::Info, "m", user);
            assert!(said == format!("m conn=7.0 count=3 user={text}\n"), "{said}");
            let in_message = line(LogLineEscaping::Text, Level::Info, user, "u");
            let json = line(LogLineEscaping::Json, Level::Info, user, user);
            for said in [&said, &in_message, &json] {
                assert_eq!(said.matches('\n').count(), 1, "{said:?}");
                assert!(said.trim_end().chars().all(is_shown), "{said:?}");
            }
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!((&json["user"], &json["message"]), (&user.into(), &user.into()), "and nothing is lost");
        }
    }

    #[test]
    fn a_long_log_line_is_cut() {
        let said = line(LogLineEscaping::Text, Level::Info, &"é".repeat(100_000), "u");
        assert!(said.len() < TEXT_BYTES_MAX + 200 && said.contains("é… conn=7.0"), "{}", said.len());
    }
}
