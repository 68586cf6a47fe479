//! The URL of the store. It never shows its password.

use std::fmt;
use std::path::PathBuf;

/// The place where accounts, friendships and unacked pushes are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `memory:`: in memory; lost when the process ends.
    Memory,
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
    /// `mysql://user:password@host:port/database`, percent-encoded, as it was given.
    Mysql(String),
}

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The fault in the URL, as the end of a sentence; a password in it is not repeated.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(behind) = text.strip_prefix("memory:") {
            // What stands behind it is not repeated: it may be a password.
            let why = "nothing may stand behind \"memory:\": a store in memory has neither a name nor a file";
            return if behind.is_empty() { Ok(Self::Memory) } else { Err(why.to_owned()) };
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            // `sqlite:///var/x.db` is how most other programs write an absolute path.
            let path = path.strip_prefix("//").unwrap_or(path);
            return Self::parse_sqlite(path);
        }
        if text.starts_with("mysql:") {
            return Self::parse_mysql(text);
        }
        // The rest may contain a password: only the part before the colon is repeated.
        let scheme = text.split(':').next().unwrap_or_default();
        Err(format!(
            "{scheme:?} is no kind of store; allowed are sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/DATABASE and memory:"
        ))
    }

    /// Does it contain a password?
    #[must_use]
    pub fn has_password(&self) -> bool {
        let Self::Mysql(url) = self else { return false };
        let rest = url.strip_prefix("mysql://").unwrap_or(url);
        let (user_info, _) = rest.rsplit_once('@').unwrap_or_default();
        user_info.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    }

    /// Accepts only the path of a file. A path that SQLite could interpret differently is refused,
    /// so that the locked file is certainly the opened one.
    fn parse_sqlite(path: &str) -> Result<Self, String> {
        let ends = |ends: &[&str]| ends.iter().any(|end| path.ends_with(end));
        let why = if path.is_empty() {
            "\"sqlite:\" needs the path of a file behind it, as in sqlite:hongyan.db".to_owned()
        } else if path.starts_with(":memory:") {
            "for a store in memory write memory:, without sqlite: (it is gone with the process)".to_owned()
        } else if path.starts_with(':') {
            format!("{path:?} begins with a colon, which means something else to SQLite; write sqlite:./{path}")
        } else if path.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("file:")) {
            format!("{path:?} is a URI; \"sqlite:\" needs a plain path behind it, without file: and parameters")
        } else if path.contains('\0') {
            "no path has a NUL in it".to_owned()
        } else if ends(&["/", "/.", "/.."]) || path == "." || path == ".." {
            format!("{path:?} is a folder; \"sqlite:\" needs the path of a file behind it")
        } else if ends(&["-wal", "-shm", "-journal"]) {
            format!("{path:?} ends like a file that SQLite keeps beside another; choose another name")
        } else {
            return Ok(Self::Sqlite(PathBuf::from(path)));
        };
        Err(why)
    }

    fn parse_mysql(text: &str) -> Result<Self, String> {
        let shape = "must look like mysql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters percent-encoded";
        let rest = text.strip_prefix("mysql://").ok_or(shape)?;
        let (authority, database) =
            rest.split_once('/').ok_or_else(|| format!("the URL names no database; it {shape}"))?;
        if database.is_empty() || database.starts_with('?') {
            return Err(format!("the URL names no database; it {shape}"));
        }
        let (user_info, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user_info.contains(['?', '#', '@']) {
            return Err(
                "the user or password of the URL has special characters: they must be percent-encoded".to_owned()
            );
        }
        if host.is_empty() || host.starts_with(':') {
            return Err(format!("names no host; it {shape}"));
        }
        // The part after an IPv6 address in brackets.
        let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        let is_behind_user = !user_info.is_empty() && !database.contains('@');
        let is_port =
            |port: &str| is_behind_user || !text.contains('@') && port.bytes().all(|byte| byte.is_ascii_digit());
        match behind.split_once(':') {
            Some((_, port)) if !port.parse::<u16>().is_ok_and(|port| port > 0) => {
                // A text that looks like a port may also be the beginning of a password.
                let shown = if is_port(port) { format!(" {port:?}") } else { String::new() };
                Err(format!("its port{shown} is none: a port is a number from 1 to 65535"))
            }
            _ => Ok(Self::Mysql(text.to_owned())),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Mysql(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL with `***` for its password. It hides too much rather than too little: everything from
/// the first colon after the scheme to the last `@`, wherever that is, and all parameters.
fn without_password(url: &str) -> String {
    let rest = url.strip_prefix("mysql://").unwrap_or(url);
    let (user_info, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let user = user_info.split(':').next().unwrap_or_default();
    let (place, has_parameters) = match place.split_once('?') {
        Some((place, _)) => (place, true),
        None => (place, false),
    };
    let secret = if user_info.contains(':') { ":***" } else { "" };
    let at = if user_info.is_empty() { "" } else { "@" };
    let tail = if has_parameters { "?***" } else { "" };
    format!("mysql://{user}{secret}{at}{place}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds() {
        assert_eq!(StoreUrl::parse("memory:"), Ok(StoreUrl::Memory));
        assert_eq!(StoreUrl::parse("sqlite:a/b.db"), Ok(StoreUrl::Sqlite("a/b.db".into())));
        assert_eq!(StoreUrl::parse("sqlite:///var/b.db"), Ok(StoreUrl::Sqlite("/var/b.db".into())));
        let url = "mysql://u:p%40@h:3306/d";
        assert_eq!(StoreUrl::parse(url), Ok(StoreUrl::Mysql(url.to_owned())));
    }

    #[test]
    fn a_bad_store_url_is_refused_without_its_password() {
        for bad in [
            "",
            "memory",
            "memory:geheim",
            "memory://",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite::memory:?cache=shared",
            "sqlite:file:im.db",
            "sqlite:FILE:im.db?mode=memory",
            "sqlite://file:im.db",
            "sqlite::odd",
            "sqlite:im\0.db",
            "sqlite:/var/lib/",
            "sqlite:.",
            "sqlite:a/..",
            "sqlite:im.db-wal",
            "sqlite:im.db-shm",
            "sqlite:im.db-journal",
            "mysql://u:ge?heim@h/d",
            "mysql://u:ge#heim@h/d",
            "mysql://u:geheim@x@h/d",
            "mysql://u:geheim/x@h/d",
            "mysql://u:p@h:70000/d",
            "mysql://u:p@h:0/d",
            "mysql://u:p@h:/d",
            "mysql://u:p@h:33o6/d",
            "mysql://u:p@[::1]:x/d",
            "postgres://u:geheim@h/d",
            "mysql:u:geheim@h/d",
            "mysql://u:geheim@h",
            "mysql://u:geheim@h/",
            "mysql://u:geheim@/d",
            "mysql://u:geheim@:3306/d",
            "mysql://u:geheim@h/?a=b",
        ] {
            let why = StoreUrl::parse(bad).unwrap_err();
            assert!(!why.contains("geheim") && !why.contains("heim") && !why.contains('\0'), "{bad}: {why}");
            assert!(!why.ends_with('.') && !why.contains('\n'), "the end of a sentence: {why}");
        }
        assert!(StoreUrl::parse("memory").unwrap_err().starts_with("\"memory\" is no kind of store"));
        assert!(StoreUrl::parse("memory:x").unwrap_err().starts_with("nothing may stand behind \"memory:\""));
        for url in ["mysql://u:p@h:70000/d", "mysql://h:70000/d"] {
            assert!(StoreUrl::parse(url).unwrap_err().contains("70000"));
        }
        for good in
            ["mysql://u:p@[::1]/d", "mysql://u:p@[::1]:3306/d", "mysql://u@h/d", "sqlite:a:b", "sqlite:profile:x"]
        {
            assert!(StoreUrl::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        for (url, shown) in [
            ("mysql://u:geheim@h:1/d", "mysql://u:***@h:1/d"),
            ("mysql://u:ge/he@im@h:1/d", "mysql://u:***@h:1/d"),
            ("mysql://u@h:1/d", "mysql://u@h:1/d"),
            ("mysql://h:1/d", "mysql://h:1/d"),
            ("mysql://u:geheim@h:1/d?password=geheim", "mysql://u:***@h:1/d?***"),
            ("mysql://u:geheim@h:1/d?x=@geheim", "mysql://u:***@geheim"),
        ] {
            let url = StoreUrl::Mysql(url.to_owned());
            assert_eq!(format!("{url}"), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }

    #[test]
    fn whether_it_holds_a_password_is_known() {
        for (url, holds) in [
            ("mysql://u:geheim@h/d", true),
            ("mysql://u:ge/he@im@h:1/d", true),
            ("mysql://u@h:1/d", false),
            ("mysql://u:@h:1/d", false),
            ("mysql://h:1/d", false),
            ("sqlite:a:b@c", false),
            ("memory:", false),
        ] {
            let url =
                if url.starts_with("mysql") { StoreUrl::Mysql(url.into()) } else { StoreUrl::parse(url).unwrap() };
            assert_eq!(url.has_password(), holds, "{url}");
        }
    }
}
