//! Whether a commit that the database server has answered outlives a crash of its machine.

use super::fault;
use crate::store::StoreError;
use mysql::Conn;
use mysql::prelude::Queryable;

/// Why commits of this database server are not safe, if they are not.
pub(super) fn why_commits_are_not_safe(conn: &mut Conn) -> Result<Option<String>, StoreError> {
    let sql = "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin, @@GLOBAL.sync_binlog";
    let found: Option<(u64, bool, u64)> = match conn.query_first(sql) {
        Ok(found) => found,
        Err(mysql::Error::MySqlError(error)) => {
            log::warn!("cannot ask the store whether its commits are safe: {error}");
            None
        }
        Err(error) => return Err(fault(&error).0),
    };
    Ok(found.and_then(|(flushes, has_binlog, sync_binlog)| unsafe_reason(flushes, has_binlog, sync_binlog)))
}

/// Why an answered commit is not safe with these settings, if it is not. If there is a binary log,
/// it decides after a crash which transactions are committed, and InnoDB itself only flushes that
/// they were prepared: transactions that the log lacks are rolled back.
fn unsafe_reason(flushes: u64, has_binlog: bool, sync_binlog: u64) -> Option<String> {
    let (setting, value) = match flushes {
        // MariaDB's 3 does everything that 1 does, and one more flush.
        3 => return None,
        1 if !has_binlog || sync_binlog == 1 => return None,
        1 => ("sync_binlog", sync_binlog),
        _ => ("innodb_flush_log_at_trx_commit", flushes),
    };
    Some(format!("its {setting} is {value}: promised messages could be lost in a crash; set it to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_safe_if_the_log_that_decides_after_a_crash_is_on_the_disk() {
        for (flushes, has_binlog, sync_binlog) in [(1, false, 0), (1, true, 1), (3, true, 0)] {
            assert_eq!(unsafe_reason(flushes, has_binlog, sync_binlog), None);
        }
        for (flushes, has_binlog, sync_binlog, setting) in [
            (0, false, 1, "its innodb_flush_log_at_trx_commit is 0:"),
            (2, true, 1, "its innodb_flush_log_at_trx_commit is 2:"),
            (1, true, 0, "its sync_binlog is 0:"),
            (1, true, 100, "its sync_binlog is 100:"),
        ] {
            let why = unsafe_reason(flushes, has_binlog, sync_binlog).unwrap();
            assert!(why.starts_with(setting), "{why}");
        }
    }
}
