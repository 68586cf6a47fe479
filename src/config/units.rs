//! Durations, sizes and counts as people write them, both ways.

/// Splits `120s` into 120 and `s`.
fn split(text: &str) -> Result<(u64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err("does not begin with a whole number".to_owned());
    }
    let number = digits.parse().map_err(|_| "is too large a number".to_owned())?;
    Ok((number, unit))
}

fn scale(number: u64, factor: u64) -> Result<u64, String> {
    number.checked_mul(factor).ok_or_else(|| "is too large a number".to_owned())
}

/// `200ms`, `120s`, `10m`, `24h` → milliseconds.
pub(super) fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    match unit {
        "ms" => Ok(number),
        "s" => scale(number, 1_000),
        "m" => scale(number, 60_000),
        "h" => scale(number, 3_600_000),
        "" => Err("has no unit; ms, s, m or h is needed, as in 120s".to_owned()),
        _ => Err("has an unknown unit; known are ms, s, m and h".to_owned()),
    }
}

/// `4096`, `4096B`, `64KiB`, `1MiB`, `1GiB` → bytes.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    match unit {
        "" | "B" => Ok(number),
        "KiB" => scale(number, 1 << 10),
        "MiB" => scale(number, 1 << 20),
        "GiB" => scale(number, 1 << 30),
        _ => Err("has an unknown unit; known are B, KiB, MiB and GiB".to_owned()),
    }
}

/// A plain whole number.
pub(super) fn parse_count(text: &str) -> Result<u64, String> {
    match split(text)? {
        (number, "") => Ok(number),
        _ => Err("is not a plain whole number".to_owned()),
    }
}

/// The shortest exact way to write a duration.
pub(super) fn show_duration_ms(ms: u64) -> String {
    match ms {
        0 => "0ms".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 && ms > 120_000 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// The shortest exact way to write a size.
pub(super) fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => "0B".to_owned(),
        bytes if bytes % (1 << 30) == 0 => format!("{}GiB", bytes >> 30),
        bytes if bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
        bytes => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_and_shown() {
        for (text, ms) in [("200ms", 200), ("120s", 120_000), ("10m", 600_000), ("24h", 86_400_000), ("0ms", 0)] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
            assert_eq!(show_duration_ms(ms), text);
        }
        for (text, bytes) in [("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("4095B", 4_095), ("0B", 0)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
            assert_eq!(show_bytes(bytes), text);
        }
        assert_eq!(parse_bytes("4096"), Ok(4_096));
        assert_eq!(parse_count("17"), Ok(17));
    }

    #[test]
    fn malformed_values_are_refused() {
        for bad in ["", "s", "-1s", "1", "1d", "1.5s", "1 s", "99999999999999999999s", "9999999999999999999h", "+1s"] {
            assert!(parse_duration_ms(bad).is_err(), "{bad}");
        }
        for bad in ["", "KiB", "1KB", "1kib", "18446744073709551615KiB", "1 MiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        for bad in ["", "x", "1s", "-3"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }
}
