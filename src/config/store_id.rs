//! An id of a store, without its password and the user of the database, by which a command for one
//! server never changes another.

use super::StoreUrl;
use ring::digest::{SHA256, digest};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const PORT_OF_MYSQL: &str = "3306";

impl StoreUrl {
    /// The id that a command sends; `None` for a file whose absolute path is not known here.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Memory => Some(hash("memory:")),
            Self::Sqlite(path) => {
                let known = resolved(path).or_else(|| path.is_absolute().then(|| path.clone()))?;
                Some(hash_of_path(&known))
            }
            Self::Mysql(url) => Some(hash(&place_of(url))),
        }
    }

    /// Is it the store of this id?
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        let is_as_written = match self {
            // A caller on another machine cannot resolve links.
            Self::Sqlite(path) => path.is_absolute() && hash_of_path(path) == id,
            Self::Memory | Self::Mysql(_) => false,
        };
        is_as_written || self.id().is_some_and(|own| own == id)
    }
}

/// The path without links, even if the file does not exist yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    let in_folder = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(in_folder)
}

/// Host, port and database.
fn place_of(url: &str) -> String {
    let rest = url.strip_prefix("mysql://").unwrap_or(url);
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let database = database.split('?').next().unwrap_or_default();
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    let port = if behind.contains(':') { String::new() } else { format!(":{PORT_OF_MYSQL}") };
    format!("mysql://{}{port}/{database}", host.to_ascii_lowercase())
}

fn hash_of_path(path: &Path) -> String {
    hash(&format!("sqlite:{}", path.display()))
}

fn hash(text: &str) -> String {
    let mut id = String::new();
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        // Writing into a String cannot fail.
        write!(id, "{byte:02x}").unwrap_or(());
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(one: &str, other: &str) -> bool {
        let [one, other] = [one, other].map(|url| StoreUrl::parse(url).unwrap());
        one.has_id(&other.id().unwrap())
    }

    #[test]
    fn a_database_is_known_by_its_place_alone() {
        for (one, other) in [
            ("mysql://u:p@DB/prod", "mysql://other:secret@db:3306/prod?x=y"),
            ("mysql://u@[::1]/d", "mysql://v@[::1]:3306/d"),
            ("memory:", "memory:"),
        ] {
            assert!(is_same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("mysql://u:p@h/prod", "mysql://u:p@h/test"),
            ("mysql://u:p@h/prod", "mysql://u:p@i/prod"),
            ("mysql://u:p@h/prod", "mysql://u:p@h:3307/prod"),
            ("mysql://u:p@h/prod", "memory:"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_file_is_known_by_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let url = |path: &str| format!("sqlite:{}", folder.path().join(path).display());
        std::fs::create_dir(folder.path().join("a")).unwrap();
        assert!(is_same(&url("new.db"), &url("a/../new.db")), "a file that is not there yet");
        std::fs::write(folder.path().join("new.db"), "").unwrap();
        assert!(is_same(&url("new.db"), &url("a/../new.db")));
        assert!(!is_same(&url("new.db"), &url("new.test")));
        assert!(is_same("sqlite:/no/such/folder/a.db", "sqlite:/no/such/folder/a.db"));
        assert_eq!(StoreUrl::parse("sqlite:no/such/folder/a.db").unwrap().id(), None);
    }
}
