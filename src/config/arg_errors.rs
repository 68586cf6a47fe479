//! Sentences about wrong arguments, and the version, for all commands.

use super::known::shorten;
use crate::versions::{FRAME_MAX, FRAME_MIN, SCHEMA};
use std::ffi::OsStr;

/// The error about an option that is given twice.
pub(super) fn given_twice_error(name: &str) -> String {
    format!("--{name} is given twice")
}

/// The error about an unexpected argument. The argument may be a store URL whose flag was
/// forgotten: the error does not repeat an argument that looks like one.
pub(super) fn unexpected_argument_error(value: &OsStr, help: &str) -> String {
    let value = value.to_string_lossy();
    let shown = if value.contains([':', '@']) { String::new() } else { format!(" {:?}", shorten(&value)) };
    format!("unexpected argument{shown}; see {help}")
}

/// Lexopt's errors as sentences, without repeating a value (it may be a store URL with its
/// password).
pub(super) fn error_sentence(error: &lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        lexopt::Error::MissingValue { option: Some(option) } => format!("{option} needs a value"),
        other => other.to_string(),
    }
}

/// `hongyan 0.1.0 (schema 11, frames 1-1)`: the versions that nodes of a cluster compare.
pub(super) fn version() -> String {
    let build = env!("CARGO_PKG_VERSION");
    format!("hongyan {build} (schema {SCHEMA}, frames {FRAME_MIN}-{FRAME_MAX})\n")
}
