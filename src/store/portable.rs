//! Moves the whole content of a store out and in: tables of plain fields, page by page in the order
//! of their keys.
//!
//! A new kind of record is one more entry of [`TABLES`]; reading, writing, counting and comparing
//! follow it.

use super::StoreError;

/// The purpose for which a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To serve: it is made if it is not there, and brought up to date.
    Serve,
    /// To be copied from: it must be there, whole and up to date, and is not changed.
    CopyFrom,
    /// To be copied into: it is made if it is not there, and marked until the copy is whole.
    CopyInto,
}

/// One column. Texts compare byte for byte in every store, so all of them have the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Text.
    Text(&'static str),
    /// A number below 2^63.
    Number(&'static str),
    /// When the row was made, in ms since the epoch, from 0 to the end of the year 9999: what both
    /// stores can hold.
    Created,
}

/// One kind of record.
#[derive(Debug)]
pub struct Table {
    /// Its name, in every store.
    pub name: &'static str,
    /// So many of the columns, the first ones, are its primary key.
    pub key: usize,
    /// All its columns.
    pub columns: &'static [Column],
}

impl Table {
    /// Its name as a person would write it.
    #[must_use]
    pub fn shown(&self) -> String {
        self.name.replace('_', " ")
    }
}

/// All that is in a store, in the order in which it is copied.
pub const TABLES: &[Table] = &[
    Table {
        name: "accounts",
        key: 1,
        columns: &[
            Column::Text("user_name"),
            Column::Text("password_hash"),
            Column::Text("email_address"),
            Column::Text("nick_name"),
            Column::Text("profile_picture"),
            Column::Text("location"),
            Column::Text("personal_description"),
            Column::Text("rsa_public_key"),
            Column::Created,
            Column::Number("state"),
        ],
    },
    Table { name: "friendships", key: 2, columns: &[Column::Text("user_name"), Column::Text("friend_name")] },
    Table {
        name: "friend_requests",
        key: 2,
        columns: &[
            Column::Text("receiver"),
            Column::Text("sender"),
            Column::Text("message_id"),
            Column::Number("time_ms"),
            Column::Number("push_seq"),
            Column::Number("hidden"),
            Column::Text("content"),
        ],
    },
    Table {
        name: "pushes",
        key: 1,
        columns: &[
            Column::Number("seq"),
            Column::Text("receiver"),
            Column::Text("sender"),
            Column::Text("message_id"),
            Column::Number("kind"),
            Column::Number("once"),
            Column::Number("time_ms"),
            Column::Text("content"),
        ],
    },
    Table {
        name: "resume_tokens",
        key: 2,
        columns: &[Column::Text("user_name"), Column::Text("token_hash"), Column::Number("expires_ms")],
    },
    Table { name: "blocks", key: 2, columns: &[Column::Text("user_name"), Column::Text("blocked_name")] },
    Table { name: "deletions", key: 1, columns: &[Column::Text("user_name")] },
];

/// The value in one column of one row.
#[derive(Clone, PartialEq, Eq)]
pub enum Field {
    /// In a column of text.
    Text(Box<str>),
    /// In any other.
    Number(u64),
}

impl Field {
    /// The bytes that it stands for in a statement and in memory, about.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::Text(text) => size_of::<Self>() + text.len(),
            Self::Number(_) => size_of::<Self>(),
        }
    }
}

/// The fields of one row, in the order of the table's columns. Has no `Debug`: password hashes are
/// among them.
pub type Row = Vec<Field>;

/// The bytes that a row stands for, about.
#[must_use]
pub fn row_weight_bytes(row: &[Field]) -> usize {
    row.iter().map(Field::weight_bytes).sum()
}

/// The limits of one read; at least one row is always read.
#[derive(Clone, Copy, Debug)]
pub struct PageMax {
    /// Rows.
    pub rows: u32,
    /// Bytes: the row that reaches it is the last one.
    pub bytes: usize,
}

/// A store that can be copied. It holds its lock until it is dropped.
pub trait Portable {
    /// The number of rows in a table.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn count(&mut self, table: &Table) -> Result<u64, StoreError>;
    /// The rows whose key is greater than `after` (`None`: from the first), ascending; none when
    /// there are no more.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn read(&mut self, table: &Table, after: Option<&[Field]>, max: PageMax) -> Result<Vec<Row>, StoreError>;
    /// Writes rows that are not there yet, all or none, and makes them durable.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn write(&mut self, table: &Table, rows: &[Row]) -> Result<(), StoreError>;
    /// Marks the store as the target of a copy that is not finished. Nothing opens such a store any
    /// more, whatever its role.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn mark(&mut self) -> Result<(), StoreError>;
    /// Takes the mark away: from now on it is a store like any other.
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

/// Stands in the place of the schema's version while a copy into the store is under way.
pub(super) const UNFINISHED: i64 = -1;

/// The names of the tables that a file of ours makes.
pub(super) fn tables_of(sql: &str) -> impl Iterator<Item = &str> {
    let made = sql.lines().filter_map(|line| line.strip_prefix("CREATE TABLE "));
    made.filter_map(|rest| rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest).split([' ', '(']).next())
}

pub(super) fn unfinished() -> StoreError {
    StoreError::Corrupt(
        "a copy into it was begun and not finished, so it is not whole: delete it and copy again".into(),
    )
}

/// Is this the version of the tables that a store must have to be copied?
pub(super) fn check_current(found: i64, known: usize) -> Result<(), StoreError> {
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
        assert_eq!(check_current(3, 3), Ok(()));
        assert!(check_current(0, 3).unwrap_err().to_string().contains("there is no hongyan store in it"));
        let why = check_current(2, 3).unwrap_err().to_string();
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
