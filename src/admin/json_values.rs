//! Values of an answer, for people.

use super::escape::printable;
use serde_json::Value;

/// A text of a client, escaped; empty if there is none.
pub(super) fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}

/// A number; 0 if there is none.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
