//! Names: the known variables of the environment, and suggestions for unknown names.

use super::options::OPTIONS;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;

const PREFIX: &str = "HONGYAN_";
/// The prefix of variables for the project's own tests.
const TESTS: &str = "HONGYAN_TEST_";
/// The two variables of `hongyan copy`.
pub(super) const FROM: &str = "HONGYAN_FROM";
pub(super) const TO: &str = "HONGYAN_TO";

/// The variables for this program, both for a server and for `hongyan copy`, since the two may
/// share a file of variables.
#[derive(Debug)]
pub(super) struct EnvVariables(BTreeMap<String, OsString>);

impl EnvVariables {
    /// Takes the variables with the program's prefix.
    ///
    /// # Errors
    /// One sentence about the first unknown variable. Its value is not repeated.
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, String> {
        // An empty variable counts as not set: compose files leave out a variable in this way.
        let given = variables.into_iter().filter(|(_, value)| !value.is_empty());
        let ours = given.map(|(name, value)| (name.to_string_lossy().into_owned(), value));
        let ours: BTreeMap<_, _> = ours.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        let known: Vec<String> =
            OPTIONS.iter().map(super::options::ConfigOption::env).chain([FROM.into(), TO.into()]).collect();
        for (name, value) in &ours {
            if !known.contains(name) && !name.starts_with(TESTS) && !is_from_kubernetes(name, &value.to_string_lossy())
            {
                let known = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
                let meant = did_you_mean(PREFIX, &name[PREFIX.len()..], known);
                let why = "unknown variable of the environment";
                return Err(format!("{why} {}{meant}; see hongyan --help", shorten(name)));
            }
        }
        Ok(Self(ours))
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }
}

/// Kubernetes sets variables about other services in every container. For a service named
/// `hongyan`, or `hongyan-database`, they look like ours: `…_SERVICE_HOST`, `…_SERVICE_PORT`,
/// `…_SERVICE_PORT_NAME`, `…_PORT`, `…_PORT_1102_TCP` and `…_PORT_1102_TCP_ADDR`, `_PORT` and
/// `_PROTO`.
fn is_from_kubernetes(name: &str, value: &str) -> bool {
    let is_url = || ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let ends_as_port = |name: &str| name.strip_suffix("_PORT").is_some_and(|service| service.starts_with("HONGYAN"));
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    // A user who wants to set a port would write the number alone, not a URL.
    if ends_as_port(name) && is_url() {
        return true;
    }
    let part = ["_ADDR", "_PORT", "_PROTO"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let numbered = ["_TCP", "_UDP", "_SCTP"].iter().find_map(|end| part.strip_suffix(end)).unwrap_or_default();
    numbered.rsplit_once('_').is_some_and(|(port, number)| ends_as_port(port) && number.parse::<u16>().is_ok())
}

/// A key or a value for an error message: only its beginning, if it is long.
pub(super) fn shorten(text: &str) -> Cow<'_, str> {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// ` (did you mean NAME?)`, or nothing if no known name is similar. `prefix` is put before the
/// known name.
pub(super) fn did_you_mean<'a>(prefix: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = known.into_iter().map(|known| (distance(name, known), known)).min();
    match nearest {
        // At most a third of the letters, and at most three, may be wrong.
        Some((distance, known)) if distance <= (known.len() / 3).clamp(1, 3) => {
            format!(" (did you mean {prefix}{known}?)")
        }
        _ => String::new(),
    }
}

/// The edit distance: letters to add, leave out, replace, or exchange with the next one.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().take(100).collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(given: &[(&str, &str)]) -> Result<EnvVariables, String> {
        EnvVariables::new(given.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn the_nearest_name_is_suggested_and_only_a_near_one() {
        let known = ["store", "store-wait", "stop-wait", "listen", "log"];
        for (name, meant) in
            [("stroe", "store"), ("Store", "store"), ("listn", "listen"), ("stop-wiat", "stop-wait"), ("lgo", "log")]
        {
            assert_eq!(did_you_mean("--", name, known), format!(" (did you mean --{meant}?)"), "{name}");
        }
        for name in ["nonsense", "", "x", "database"] {
            assert_eq!(did_you_mean("--", name, known), "", "{name}");
        }
        assert_eq!([distance("ab", "ba"), distance("", "abc"), distance("kitten", "sitting")], [1, 3, 3]);
    }

    #[test]
    fn a_long_value_is_cut_for_an_error() {
        assert_eq!(shorten(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(shorten(&"é".repeat(500_000)), format!("{}…", "é".repeat(80)));
    }

    #[test]
    fn an_unknown_variable_is_named_without_its_value() {
        for (name, words) in [
            ("HONGYAN_STOER", &["HONGYAN_STOER", "did you mean HONGYAN_STORE?"][..]),
            ("HONGYAN_LISTEN_ADDR", &["HONGYAN_LISTEN_ADDR"]),
            ("HONGYAN_PORT", &["HONGYAN_PORT"]),
            ("HONGYAN_LISTEN_PORT", &["HONGYAN_LISTEN_PORT"]),
            ("HONGYAN_", &["HONGYAN_"]),
        ] {
            let why = variables(&[(name, "geheim")]).unwrap_err();
            assert!(!why.contains("geheim") && words.iter().all(|word| why.contains(word)), "{why}");
        }
        assert!(variables(&[("HONGYAN_STOER", ""), ("HONGYANG", "x"), ("PATH", "/bin")]).is_ok());
        let both = variables(&[("HONGYAN_FROM", "a"), ("HONGYAN_STORE", "b"), ("HONGYAN_TEST_MYSQL", "c")]).unwrap();
        assert_eq!(both.get("HONGYAN_STORE"), Some(&"b".into()));
    }

    #[test]
    fn variables_set_by_kubernetes_are_ignored() {
        for (name, value) in [
            ("HONGYAN_SERVICE_HOST", "10.0.0.1"),
            ("HONGYAN_SERVICE_PORT", "1102"),
            ("HONGYAN_SERVICE_PORT_CHAT", "1102"),
            ("HONGYAN_PORT", "tcp://10.0.0.1:1102"),
            ("HONGYAN_PORT_1102_TCP", "tcp://10.0.0.1:1102"),
            ("HONGYAN_PORT_1102_TCP_PROTO", "tcp"),
            ("HONGYAN_PORT_1102_TCP_PORT", "1102"),
            ("HONGYAN_PORT_1102_TCP_ADDR", "10.0.0.1"),
            ("HONGYAN_DATABASE_SERVICE_HOST", "10.0.0.2"),
            ("HONGYAN_DATABASE_PORT", "tcp://10.0.0.2:3306"),
            ("HONGYAN_DATABASE_PORT_53_UDP_ADDR", "10.0.0.2"),
        ] {
            assert!(variables(&[(name, value)]).is_ok(), "{name}");
        }
        for (name, value) in [
            ("HONGYAN_PORT_X_TCP", "tcp://10.0.0.1:1102"),
            ("HONGYAN_PORT_1102", "1"),
            ("HONGYAN_1102_TCP", "1"),
            ("HONGYAN_PORT_99999_TCP", "1"),
        ] {
            assert!(variables(&[(name, value)]).is_err(), "{name}");
        }
    }
}
