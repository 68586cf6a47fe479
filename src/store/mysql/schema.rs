//! The tables: created in an empty database, upgraded if they are older, refused if they are newer.

use super::fault;
use crate::store::StoreError;
use crate::store::portable::{UNFINISHED, tables_of, unfinished};
use mysql::Conn;
use mysql::prelude::Queryable;

/// All tables as they are now, for a database that has none.
const SCHEMA: &str = include_str!("../../../schema.sql");
/// The steps from each version of the schema to the next, the first from version 1. Each step ends
/// by writing its version, and can be repeated: these servers commit every change of a table
/// immediately, so an interrupted step is done again.
const UPGRADES: &[&str] = &[
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
];
/// The newest version, after all steps.
pub(super) const KNOWN: usize = UPGRADES.len() + 1;
/// Error numbers for a key or a column that exists already: the step was interrupted after this
/// statement.
const DUPLICATE_KEY_NAME: u16 = 1061;
const DUPLICATE_COLUMN_NAME: u16 = 1060;
/// Error numbers for missing rights.
const DATABASE_DENIED: u16 = 1044;
const COMMAND_DENIED: u16 = 1142;

/// The statement that sets the version of the tables.
pub(super) fn set_version(version: i64) -> String {
    format!("UPDATE schema_version SET version = {version} WHERE one = 1")
}

/// The version of the tables; 0 when there are none.
pub(super) fn version(conn: &mut Conn) -> Result<usize, StoreError> {
    let count = |conn: &mut Conn, names: &str| {
        let sql = format!(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ({names})"
        );
        conn.query_first::<u64, _>(sql).map(Option::unwrap_or_default).map_err(|error| fault(&error).0)
    };
    if count(conn, "'schema_version'")? == 0 {
        let names: Vec<String> = ours().map(|name| format!("'{name}'")).collect();
        if count(conn, &names.join(", "))? > 0 {
            return Err(StoreError::Corrupt("it holds tables of another application".into()));
        }
        return Ok(0);
    }
    let version: Option<i64> =
        conn.query_first("SELECT version FROM schema_version WHERE one = 1").map_err(|error| fault(&error).0)?;
    match version.unwrap_or(0) {
        UNFINISHED => Err(unfinished()),
        version => {
            usize::try_from(version).map_err(|_| StoreError::Corrupt(format!("its schema has the number {version}")))
        }
    }
}

/// The names of the tables of all versions.
fn ours() -> impl Iterator<Item = &'static str> {
    [SCHEMA].into_iter().chain(UPGRADES.iter().copied()).flat_map(tables_of)
}

/// Refuses a database with a table or view of another application: it must not be changed, and its
/// owner might drop it with all tables.
pub(super) fn check_all_ours(conn: &mut Conn) -> Result<(), StoreError> {
    // A newer version may have tables that this one does not know.
    known_version(conn)?;
    let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name";
    let names: Vec<String> = conn.query(sql).map_err(|error| fault(&error).0)?;
    let ours: Vec<&str> = ours().collect();
    match names.iter().find(|name| !ours.contains(&name.as_str())) {
        Some(name) => Err(StoreError::Corrupt(format!("it holds tables of another application, {name:?} among them"))),
        None => Ok(()),
    }
}

/// The version of the tables; fails if it is newer than the known one.
pub(super) fn known_version(conn: &mut Conn) -> Result<usize, StoreError> {
    let found = version(conn)?;
    if found > KNOWN {
        let why = format!("it was written by a newer hongyan (schema {found}, this one knows {KNOWN})");
        return Err(StoreError::Corrupt(why));
    }
    Ok(found)
}

/// Does this error mean that a right is missing?
fn is_denied(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(error) if [DATABASE_DENIED, COMMAND_DENIED].contains(&error.code))
}

fn cannot_make(error: &mysql::Error) -> StoreError {
    match fault(error).0 {
        StoreError::Busy(why) | StoreError::Unavailable(why) => StoreError::Unavailable(why),
        said if is_denied(error) => StoreError::Unusable(format!(
            "cannot make its tables: {said}; grant this user CREATE, ALTER and INDEX, or apply schema.sql to the empty database"
        )),
        said => StoreError::Unusable(format!("cannot make its tables (schema.sql): {said}")),
    }
}

/// Makes the tables with the mark of an unfinished copy. These servers commit every change of a
/// table immediately, so the mark is set as early as possible: after the first statement. The
/// schema's own `INSERT IGNORE` does not overwrite it.
pub(super) fn make_marked(conn: &mut Conn) -> Result<(), StoreError> {
    let mark = format!("INSERT IGNORE INTO schema_version (one, version) VALUES (1, {UNFINISHED})");
    for (number, statement) in statements(SCHEMA).into_iter().enumerate() {
        conn.query_drop(statement).map_err(|error| cannot_make(&error))?;
        if number == 0 {
            conn.query_drop(&mark).map_err(|error| cannot_make(&error))?;
        }
    }
    Ok(())
}

/// Creates the tables, or does the missing steps. The lock must be held, so only one server does
/// this at a time.
pub(super) fn migrate(conn: &mut Conn) -> Result<(), StoreError> {
    let found = known_version(conn)?;
    if found == 0 {
        apply(conn, SCHEMA)?;
    } else {
        log::info!(
            "the store's tables are brought from schema {found} to {KNOWN}: where they are large this takes a while"
        );
        UPGRADES.iter().skip(found - 1).try_for_each(|step| apply(conn, step))?;
    }
    match version(conn)? {
        reached if reached == KNOWN => Ok(()),
        reached => Err(StoreError::Corrupt(format!("its schema is {reached} after it was brought to {KNOWN}"))),
    }
}

fn apply(conn: &mut Conn, sql: &str) -> Result<(), StoreError> {
    for statement in statements(sql) {
        match conn.query_drop(statement) {
            Err(mysql::Error::MySqlError(error))
                if matches!(error.code, DUPLICATE_KEY_NAME | DUPLICATE_COLUMN_NAME) => {}
            result => result.map_err(|error| cannot_make(&error))?,
        }
    }
    Ok(())
}

/// The statements of one of our files: comments are on lines of their own, and every statement ends
/// at the end of a line.
fn statements(sql: &str) -> Vec<String> {
    let code: Vec<&str> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = code.join("\n") + "\n";
    code.split(";\n").map(|statement| statement.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_cut_into_its_statements() {
        let found = statements(SCHEMA);
        assert_eq!(found.len(), 15);
        assert!(found[..14].iter().all(|one| one.starts_with("CREATE TABLE IF NOT EXISTS")));
        assert!(found[14].starts_with("INSERT IGNORE INTO schema_version"));
    }
}
