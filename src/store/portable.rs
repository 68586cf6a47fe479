//! The content of a store as tables of plain fields, which are read and written page by page in the
//! order of their keys.
//!
//! A new kind of record is one more entry of [`TABLES`]: reading, writing, counting and comparing
//! are derived from it.

use super::StoreError;

/// The purpose for which a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOpenMode {
    /// To serve: the store is created if it does not exist, and upgraded.
    Serve,
    /// To be copied from: it must exist, complete and of the present version, and is not changed.
    CopyFrom,
    /// To be copied into: it is created if it does not exist, and marked until the copy is
    /// complete.
    CopyInto,
}

/// One column. Texts compare byte for byte in every store, so all of them have the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyTableColumn {
    /// Text.
    Text(&'static str),
    /// A number below 2^63.
    Number(&'static str),
    /// The creation time of the row, in ms since the epoch, from 0 to the end of the year 9999: the
    /// range of both stores.
    Created,
}

/// One kind of record.
#[derive(Debug)]
pub struct CopyTableSchema {
    /// Its name, in every store.
    pub name: &'static str,
    /// The number of columns in its primary key, which are the first ones.
    pub key: usize,
    /// All its columns.
    pub columns: &'static [CopyTableColumn],
}

impl CopyTableSchema {
    /// Its name for messages to people.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.name.replace('_', " ")
    }
}

/// All tables of a store, in the order in which they are copied.
pub const TABLES: &[CopyTableSchema] = &[
    CopyTableSchema {
        name: "accounts",
        key: 1,
        columns: &[
            CopyTableColumn::Text("user_name"),
            CopyTableColumn::Text("password_hash"),
            CopyTableColumn::Text("email_address"),
            CopyTableColumn::Text("nick_name"),
            CopyTableColumn::Text("profile_picture"),
            CopyTableColumn::Text("location"),
            CopyTableColumn::Text("personal_description"),
            CopyTableColumn::Text("rsa_public_key"),
            CopyTableColumn::Created,
            CopyTableColumn::Number("state"),
        ],
    },
    CopyTableSchema {
        name: "friendships",
        key: 2,
        columns: &[CopyTableColumn::Text("user_name"), CopyTableColumn::Text("friend_name")],
    },
    CopyTableSchema {
        name: "friend_requests",
        key: 2,
        columns: &[
            CopyTableColumn::Text("receiver"),
            CopyTableColumn::Text("sender"),
            CopyTableColumn::Text("message_id"),
            CopyTableColumn::Number("time_ms"),
            CopyTableColumn::Number("push_seq"),
            CopyTableColumn::Number("hidden"),
            CopyTableColumn::Text("content"),
        ],
    },
    CopyTableSchema {
        name: "pushes",
        key: 1,
        columns: &[
            CopyTableColumn::Number("seq"),
            CopyTableColumn::Text("receiver"),
            CopyTableColumn::Text("sender"),
            CopyTableColumn::Text("message_id"),
            CopyTableColumn::Number("kind"),
            CopyTableColumn::Number("once"),
            CopyTableColumn::Number("time_ms"),
            CopyTableColumn::Text("content"),
        ],
    },
    CopyTableSchema {
        name: "resume_tokens",
        key: 2,
        columns: &[
            CopyTableColumn::Text("user_name"),
            CopyTableColumn::Text("token_hash"),
            CopyTableColumn::Number("expires_ms"),
        ],
    },
    CopyTableSchema {
        name: "blocks",
        key: 2,
        columns: &[CopyTableColumn::Text("user_name"), CopyTableColumn::Text("blocked_name")],
    },
    CopyTableSchema { name: "deletions", key: 1, columns: &[CopyTableColumn::Text("user_name")] },
];

/// The value in one column of one row.
#[derive(Clone, PartialEq, Eq)]
pub enum CopyColumnValue {
    /// A value of a text column.
    Text(Box<str>),
    /// A value of any other column.
    Number(u64),
}

impl CopyColumnValue {
    /// Its approximate size in a statement and in memory, in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::Text(text) => size_of::<Self>() + text.len(),
            Self::Number(_) => size_of::<Self>(),
        }
    }
}

/// The fields of one row, in the order of the table's columns. There is no `Debug`, because fields
/// may be password hashes.
pub type CopyRow = Vec<CopyColumnValue>;

/// The approximate size of a row, in bytes.
#[must_use]
pub fn row_weight_bytes(row: &[CopyColumnValue]) -> usize {
    row.iter().map(CopyColumnValue::weight_bytes).sum()
}

/// The limits of one read; at least one row is always read.
#[derive(Clone, Copy, Debug)]
pub struct CopyReadLimits {
    /// The largest number of rows.
    pub rows: u32,
    /// The largest size in bytes. The row that reaches it is the last one.
    pub bytes: usize,
}

/// A store that can be copied. It holds its lock until it is dropped.
pub trait CopyableStore {
    /// The number of rows in a table.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn count(&mut self, table: &CopyTableSchema) -> Result<u64, StoreError>;
    /// The rows whose key is greater than `after` (`None`: from the first), ascending; none when
    /// there are no more.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn read(
        &mut self,
        table: &CopyTableSchema,
        after: Option<&[CopyColumnValue]>,
        max: CopyReadLimits,
    ) -> Result<Vec<CopyRow>, StoreError>;
    /// Writes rows that do not exist yet, all or none, and makes them durable.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn write(&mut self, table: &CopyTableSchema, rows: &[CopyRow]) -> Result<(), StoreError>;
    /// Marks the store as the target of an unfinished copy. A marked store cannot be opened in any
    /// role.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn mark_unfinished(&mut self) -> Result<(), StoreError>;
    /// Removes the mark: from now on it is a normal store.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn unmark(&mut self) -> Result<(), StoreError>;
    /// Fails if the lock that keeps others away was lost.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn check_lock(&mut self) -> Result<(), StoreError>;
}

/// The schema version of the target while a copy is in progress.
pub(super) const UNFINISHED: i64 = -1;

/// The names of the tables that an SQL file creates.
pub(super) fn tables_of(sql: &str) -> impl Iterator<Item = &str> {
    let made = sql.lines().filter_map(|line| line.strip_prefix("CREATE TABLE "));
    made.filter_map(|rest| rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest).split([' ', '(']).next())
}

pub(super) fn unfinished_copy_error() -> StoreError {
    StoreError::Corrupt(
        "a copy into it was begun and not finished, so it is not whole: delete it and copy again".into(),
    )
}

/// Checks that the tables have the version that a store must have to be copied.
pub(super) fn check_schema_version(found: i64, known: usize) -> Result<(), StoreError> {
    if found == 0 {
        return Err(StoreError::Unavailable("there is no hongyan store in it".into()));
    }
    if found != known as i64 {
        return Err(StoreError::Unavailable(format!(
            "its schema is {found} and this hongyan copies {known} only: start this hongyan on it once, and stop it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_of_this_very_version_is_copied() {
        assert_eq!(check_schema_version(3, 3), Ok(()));
        assert!(check_schema_version(0, 3).unwrap_err().to_string().contains("there is no hongyan store in it"));
        let why = check_schema_version(2, 3).unwrap_err().to_string();
        assert!(why.contains("its schema is 2 and this hongyan copies 3 only"), "{why}");
    }

    #[test]
    fn the_tables_are_told_apart_and_have_a_key() {
        for (at, table) in TABLES.iter().enumerate() {
            assert!((1..=table.columns.len()).contains(&table.key), "{}", table.name);
            assert!(TABLES[..at].iter().all(|other| other.name != table.name), "{}", table.name);
        }
    }
}
