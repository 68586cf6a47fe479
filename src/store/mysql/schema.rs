//! The tables: created in an empty database, upgraded if they are older, refused if they are newer.

use super::fault;
use crate::store::StoreError;
use crate::store::portable::{UNFINISHED, tables_of, unfinished_copy_error};
use crate::versions;
use mysql::prelude::Queryable;
use mysql::{Conn, Row};

/// All tables as they are now, for a database that has none.
const SCHEMA: &str = include_str!("../../../schema.sql");
/// The steps from each version of the schema to the next, the first from version 1. Each step ends
/// by writing its version, and can be repeated: these servers commit every change of a table
/// immediately, so an interrupted step is done again.
const UPGRADES: &[SchemaStep] = &[
    SchemaStep::Breaking(include_str!("schema_2.sql")),
    SchemaStep::Breaking(include_str!("schema_3.sql")),
    SchemaStep::Breaking(include_str!("schema_4.sql")),
    SchemaStep::Breaking(include_str!("schema_5.sql")),
    SchemaStep::Breaking(include_str!("schema_6.sql")),
    SchemaStep::Breaking(include_str!("schema_7.sql")),
    SchemaStep::Breaking(include_str!("schema_8.sql")),
    SchemaStep::Breaking(include_str!("schema_9.sql")),
    SchemaStep::Breaking(include_str!("schema_10.sql")),
    SchemaStep::Expanding(include_str!("schema_11.sql")),
    #[cfg(next_build)]
    SchemaStep::Expanding(include_str!("schema_next.sql")),
];
/// The newest version, after all steps.
pub(super) const KNOWN: usize = UPGRADES.len() + 1;
const _: () = assert!(KNOWN == versions::SCHEMA);
/// The least version that a build must know to use the tables after all steps.
pub(super) const COMPATIBLE: usize = compatible_after(UPGRADES);
const _: () = assert!(COMPATIBLE == versions::COMPATIBLE);
/// The first version of the tables that knows clusters.
pub(super) const FIRST_OF_CLUSTERS: usize = 8;
/// The first version that says in the database with which builds it is compatible.
pub(super) const FIRST_COMPATIBLE: usize = 10;

/// A step from one version of the schema to the next.
enum SchemaStep {
    /// Builds that know the version before may use the tables during it and afterwards: it only
    /// adds what they do not look at.
    Expanding(&'static str),
    /// They may not.
    Breaking(&'static str),
}

impl SchemaStep {
    fn sql(&self) -> &'static str {
        match self {
            Self::Expanding(sql) | Self::Breaking(sql) => sql,
        }
    }
}

/// The version that the last breaking step leads to.
const fn compatible_after(steps: &[SchemaStep]) -> usize {
    let mut count = steps.len();
    while count > 0 && matches!(steps[count - 1], SchemaStep::Expanding(_)) {
        count -= 1;
    }
    count + 1
}

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
    read_version(conn).map(|found| found.version)
}

/// Which tables there are.
struct SchemaVersion {
    /// 0: none.
    version: usize,
    /// The least version that a build must know to use them.
    compatible: usize,
}

fn read_version(conn: &mut Conn) -> Result<SchemaVersion, StoreError> {
    let count = |conn: &mut Conn, names: &str| {
        let sql = format!(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ({names})"
        );
        conn.query_first::<u64, _>(sql).map(Option::unwrap_or_default).map_err(|error| fault(&error).0)
    };
    if count(conn, "'schema_version'")? == 0 {
        let names: Vec<String> = known_tables().map(|name| format!("'{name}'")).collect();
        if count(conn, &names.join(", "))? == 0 {
            return Ok(SchemaVersion { version: 0, compatible: 0 });
        }
        // Another server makes the tables just now, or they are not ours: this one is made first.
        if count(conn, "'schema_version'")? == 0 {
            return Err(StoreError::Corrupt("it holds tables of another application".into()));
        }
    }
    // An older version has fewer columns.
    let row: Option<Row> =
        conn.query_first("SELECT * FROM schema_version WHERE one = 1").map_err(|error| fault(&error).0)?;
    let number = |name: &str| row.as_ref().and_then(|row| row.get_opt::<i64, _>(name)).and_then(Result::ok);
    let version = match number("version").unwrap_or(0) {
        UNFINISHED => return Err(unfinished_copy_error()),
        version => {
            usize::try_from(version).map_err(|_| StoreError::Corrupt(format!("its schema has the number {version}")))?
        }
    };
    let compatible = number("compatible").and_then(|number| usize::try_from(number).ok()).unwrap_or(version);
    Ok(SchemaVersion { version, compatible })
}

/// The names of the tables of all versions.
fn known_tables() -> impl Iterator<Item = &'static str> {
    [SCHEMA].into_iter().chain(UPGRADES.iter().map(SchemaStep::sql)).flat_map(tables_of)
}

/// Refuses a database with a table or view of another application: it must not be changed, and its
/// owner might drop it with all tables.
pub(super) fn check_no_foreign_tables(conn: &mut Conn) -> Result<(), StoreError> {
    if usable_version(conn)? > KNOWN {
        // A newer version may have tables that this one does not know.
        return Ok(());
    }
    let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name";
    let names: Vec<String> = conn.query(sql).map_err(|error| fault(&error).0)?;
    let ours: Vec<&str> = known_tables().collect();
    match names.iter().find(|name| !ours.contains(&name.as_str())) {
        Some(name) => Err(StoreError::Corrupt(format!("it holds tables of another application, {name:?} among them"))),
        None => Ok(()),
    }
}

/// The version of the tables; fails if this build is too old for them. A newer version than the
/// known one may be compatible with this build.
pub(super) fn usable_version(conn: &mut Conn) -> Result<usize, StoreError> {
    let found = read_version(conn)?;
    match too_old_reason(&found) {
        Some(why) => Err(StoreError::Corrupt(why)),
        None => Ok(found.version),
    }
}

/// Logs that the tables are newer than this build, which may use them nevertheless.
pub(super) fn log_if_newer(found: usize) {
    if found > KNOWN {
        log::info!(
            "the tables are those of a newer hongyan (schema {found}, this one knows {KNOWN}), which this one may use"
        );
    }
}

fn too_old_reason(found: &SchemaVersion) -> Option<String> {
    let SchemaVersion { version, compatible } = found;
    if *compatible <= KNOWN {
        return None;
    }
    // The least version is raised before the first change of a breaking step.
    let needs =
        if compatible == version { String::new() } else { format!(", which needs one that knows {compatible}") };
    Some(format!(
        "it was written by a newer hongyan (schema {version}{needs}, this one knows {KNOWN}): start that one, or restore a dump from before its first start"
    ))
}

/// The version of the tables for a copy; fails if it is newer than the known one. Its new
/// columns and tables would be left behind.
pub(super) fn version_to_copy(conn: &mut Conn) -> Result<usize, StoreError> {
    match version(conn)? {
        version if version <= KNOWN => Ok(version),
        version => Err(StoreError::Corrupt(format!(
            "it was written by a newer hongyan (schema {version}, this one copies {KNOWN}): copy it with that one"
        ))),
    }
}

/// Does this error mean that a right is missing?
fn is_denied(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(error) if [DATABASE_DENIED, COMMAND_DENIED].contains(&error.code))
}

fn create_tables_error(error: &mysql::Error) -> StoreError {
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
pub(super) fn create_marked_tables(conn: &mut Conn) -> Result<(), StoreError> {
    let mark = format!("INSERT IGNORE INTO schema_version (one, version) VALUES (1, {UNFINISHED})");
    for (number, statement) in statements(SCHEMA).into_iter().enumerate() {
        conn.query_drop(statement).map_err(|error| create_tables_error(&error))?;
        if number == 0 {
            conn.query_drop(&mark).map_err(|error| create_tables_error(&error))?;
        }
    }
    Ok(())
}

/// Creates the tables, or does the missing steps. The lock must be held, so only one server does
/// this at a time. Nodes that do not know [`COMPATIBLE`] must not live.
pub(super) fn migrate(conn: &mut Conn) -> Result<(), StoreError> {
    let found = usable_version(conn)?;
    if found == 0 {
        apply(conn, SCHEMA)?;
    } else {
        log::info!(
            "the store's tables are brought from schema {found} to {KNOWN}: where they are large this takes a while"
        );
    }
    if found >= FIRST_COMPATIBLE {
        // Before the first change: an older build that starts meanwhile, by way of another server
        // of a cluster of databases, finds out.
        let sql = format!("UPDATE schema_version SET compatible = GREATEST(compatible, {COMPATIBLE}) WHERE one = 1");
        conn.query_drop(sql).map_err(|error| create_tables_error(&error))?;
    }
    let made = version(conn)?;
    UPGRADES.iter().skip(made.saturating_sub(1)).try_for_each(|step| apply(conn, step.sql()))?;
    match version(conn)? {
        reached if reached >= KNOWN => Ok(()),
        reached => Err(StoreError::Corrupt(format!("its schema is {reached} after it was brought to {KNOWN}"))),
    }
}

fn apply(conn: &mut Conn, sql: &str) -> Result<(), StoreError> {
    for statement in statements(sql) {
        match conn.query_drop(statement) {
            Err(mysql::Error::MySqlError(error))
                if matches!(error.code, DUPLICATE_KEY_NAME | DUPLICATE_COLUMN_NAME) => {}
            result => result.map_err(|error| create_tables_error(&error))?,
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

    #[test]
    fn only_a_breaking_step_shuts_older_builds_out() {
        use SchemaStep::{Breaking, Expanding};
        for (steps, compatible) in [
            (&[][..], 1),
            (&[Breaking("")], 2),
            (&[Breaking(""), Expanding("")], 2),
            (&[Expanding(""), Expanding("")], 1),
            (&[Breaking(""), Expanding(""), Breaking(""), Expanding("")], 4),
        ] {
            assert_eq!(compatible_after(steps), compatible, "{} steps", steps.len());
        }
    }

    #[test]
    fn each_step_and_the_whole_schema_write_their_compatible_version() {
        let whole =
            format!("INSERT IGNORE INTO schema_version (one, version, compatible) VALUES (1, {KNOWN}, {COMPATIBLE})");
        let last = statements(SCHEMA).pop().unwrap();
        assert_eq!(last, whole, "schema.sql is that of the last step");
        for (number, step) in (2..).zip(UPGRADES).filter(|(number, _)| *number >= FIRST_COMPATIBLE) {
            let compatible = compatible_after(&UPGRADES[..number - 1]);
            let end = format!(
                "UPDATE schema_version SET version = {number}, compatible = {compatible} \
                 WHERE one = 1 AND version < {number}"
            );
            assert_eq!(statements(step.sql()).pop().unwrap(), end);
        }
    }

    #[test]
    fn a_build_uses_newer_tables_that_say_they_are_compatible_with_it() {
        let why = |version, compatible| too_old_reason(&SchemaVersion { version, compatible });
        for (version, compatible) in [(0, 0), (1, 1), (KNOWN, KNOWN), (KNOWN + 1, KNOWN), (KNOWN + 9, 1)] {
            assert_eq!(why(version, compatible), None);
        }
        let (next, second) = (KNOWN + 1, KNOWN + 2);
        for version in [KNOWN - 1, KNOWN] {
            let said = why(version, next).expect("a newer build changes the tables");
            assert!(said.contains(&format!("(schema {version}, which needs one that knows {next}, this")), "{said}");
        }
        let said = why(next, next).unwrap();
        let schemas = format!("schema {next}, this one knows {KNOWN}");
        let remedy = "start that one, or restore a dump from before its first start";
        assert_eq!(said, format!("it was written by a newer hongyan ({schemas}): {remedy}"));
        let said = why(second, next).unwrap();
        assert!(said.contains(&format!("(schema {second}, which needs one that knows {next}, this one")), "{said}");
    }
}
