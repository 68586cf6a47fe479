//! The text of errors of the system, as operators read it.

use std::io;

/// The text of a system error, without the number that Rust appends.
#[must_use]
pub fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_system_error_is_left_out() {
        let error = io::Error::from_raw_os_error(5);
        let shown = error.to_string();
        assert!(shown.ends_with(" (os error 5)"), "{shown}");
        assert_eq!(without_number(&error), shown.trim_end_matches(" (os error 5)"));
        assert_eq!(without_number(&io::Error::other("it is closed")), "it is closed");
    }
}
