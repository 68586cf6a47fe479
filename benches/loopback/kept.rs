//! Prepared stores, kept for several rows.

use super::Fallible;
use super::mariadb::Database;
use super::subjects::Starter;
use std::path::PathBuf;

/// Filled once, and then used for each row without its messages.
pub enum Kept {
    Sqlite(PathBuf),
    Mysql(Database),
}

impl Kept {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Mysql(_) => "MariaDB",
        }
    }

    /// The URL of the store as it was prepared.
    pub fn fresh(&self, starter: &Starter) -> Fallible<String> {
        match self {
            Self::Sqlite(file) => starter.copy(file),
            Self::Mysql(database) => database.empty_lists().map(|()| database.url()),
        }
    }
}
