//! Values and errors of the database, and what they mean.

use super::error_text;
use crate::protocol::field::UserName;
use crate::store::StoreError;
pub(super) use crate::store::corrupt_error;
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use std::time::{Duration, Instant};

/// Error numbers: the server, the transaction, or the server's mode is read-only.
const READ_ONLY: u16 = 1290;
const READ_ONLY_TRANSACTION: u16 = 1792;
const READ_ONLY_MODE: u16 = 1836;

/// If the database server is read-only, a connection at least this old is dropped: the same name
/// may meanwhile lead to another server, which accepts writes.
const DEMOTED_AFTER: Duration = Duration::from_secs(1);

/// Has the server become read-only, and is this connection to be dropped for that?
pub(super) fn was_demoted(error: &mysql::Error, opened_at: Instant) -> bool {
    is_read_only(error) && is_old_enough_to_drop(opened_at)
}

/// Is a connection to a read-only server to be dropped? New ones stay: there may be no other
/// server.
pub(super) fn is_old_enough_to_drop(opened_at: Instant) -> bool {
    opened_at.elapsed() >= DEMOTED_AFTER
}

/// Does the database server take writes? A server that does not say it takes none, as one that is a
/// replica or was one.
pub(super) fn takes_writes(conn: &mut Conn) -> mysql::Result<bool> {
    // It may be NULL.
    let read_only: Option<Option<String>> = conn.query_first("SELECT @@GLOBAL.read_only")?;
    Ok(matches!(read_only.flatten().as_deref(), Some("0" | "OFF")))
}

/// Does this error mean that the server is read-only?
fn is_read_only(error: &mysql::Error) -> bool {
    matches!(
        error,
        mysql::Error::MySqlError(server)
            if matches!(server.code, READ_ONLY | READ_ONLY_TRANSACTION | READ_ONLY_MODE)
    )
}

/// Did the driver refuse to send a packet because of its size? The type of that error is private to
/// the driver.
fn is_too_large(error: &mysql::Error) -> bool {
    match error {
        mysql::Error::DriverError(mysql::DriverError::PacketTooLarge) => true,
        mysql::Error::CodecError(error) => error.to_string().contains("max_allowed_packet"),
        _ => false,
    }
}

/// The meaning of an error, and whether the connection may still be used.
pub(super) fn fault(error: &mysql::Error) -> (StoreError, bool) {
    if is_too_large(error) {
        return (StoreError::TooLarge("it is larger than max_allowed_packet of the database".to_owned()), false);
    }
    let mysql::Error::MySqlError(server) = error else {
        return (StoreError::Unavailable(error_text::of_driver(error)), false);
    };
    let (meaning, usable) = meaning(server.code);
    (meaning(format!("{} (error {})", server.message, server.code)), usable)
}

/// The meaning of a server error by its number, and whether the connection may still be used. Each
/// number that is listed means the same on MySQL 8 and 9 and on MariaDB.
fn meaning(code: u16) -> (fn(String) -> StoreError, bool) {
    match code {
        // Too many connections or transactions, a limit of this user, a lock wait time-out, a
        // deadlock, an interrupted query, a row or a table that changed meanwhile; a conflict with
        // another member of a cluster.
        1020 | 1040 | 1203 | 1205 | 1206 | 1213 | 1226 | 1317 | 1412 | 1613..=1615 | 1637 | 1689 | 1969 => {
            (StoreError::Busy, true)
        }
        3024 | 3058 | 3101 | 3572 => (StoreError::Busy, true),
        // The server ends this connection: it stops, goes offline, the connection was killed or
        // idle for too long; or the outcome of a commit or statement is unknown. Or the database
        // behind a proxy is gone, or the proxy itself reports an error.
        1053
        | 1077
        | 1079
        | 1158..=1161
        | 1180
        | 1181
        | 1243
        | 1927
        | 2006
        | 2013
        | 3032
        | 3169
        | 4031
        | 9000..=9999 => (StoreError::Unavailable, false),
        // The row is not the cause: the disk or the memory is full or fails; a file or a table is
        // damaged; this host is blocked for a while; the server is read-only, is outside of its
        // cluster, cannot replicate the statement, or could not commit.
        1016 | 1021 | 1024 | 1026 | 1030 | 1034 | 1037 | 1038 | 1041 | 1047 | 1114 | 1129 | 1135 | 1194 => {
            (StoreError::Unavailable, true)
        }
        1296 | 1297 | 1461 | 1665 | 1712 | 1877 | 3100 => (StoreError::Unavailable, true),
        READ_ONLY | READ_ONLY_TRANSACTION | READ_ONLY_MODE => (StoreError::Unavailable, true),
        // The row is not the cause either: this user or host has no access, the password has
        // expired, or something is missing: a database, a right, a table, a column, a function, a
        // setting, or the value of a foreign column.
        1044..=1046 | 1049 | 1054 | 1064 | 1115 | 1130 | 1142 | 1143 | 1146 | 1193 | 1227 | 1231 | 1235 | 1251 => {
            (StoreError::Unusable, true)
        }
        1273 | 1275 | 1305 | 1364 | 1370 | 1524 | 1698 | 1820 | 1862 | 3118 | 3955 | 4151 => {
            (StoreError::Unusable, true)
        }
        // A row larger than the server takes, which ends the connection.
        1153 => (StoreError::TooLarge, false),
        // The row is the cause: a value is missing, a duplicate, too long, out of range, or not
        // valid as text, time or JSON; or the row is too large.
        1022 | 1048 | 1062 | 1118 | 1162 | 1169 | 1264 | 1265 | 1292 | 1300 | 1301 | 1366 | 1367 | 1406 | 1441 => {
            (StoreError::Refused, true)
        }
        1525 | 1586 | 1690 | 3140 | 3141 | 3988 => (StoreError::Refused, true),
        // Something that was added to the schema forbids it: a foreign key, a check (MySQL's,
        // MariaDB's), a trigger, a partition.
        1216 | 1217 | 1369 | 1451 | 1452 | 1526 | 1644 | 3819 | 4025 => (StoreError::Refused, true),
        _ => (StoreError::Unknown, false),
    }
}

pub(super) fn text(row: &Row, at: usize) -> Result<&str, StoreError> {
    match row.as_ref(at) {
        Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| corrupt_error("no UTF-8")),
        _ => Err(corrupt_error("no text")),
    }
}

pub(super) fn number(row: &Row, at: usize) -> Result<u64, StoreError> {
    match row.as_ref(at) {
        Some(Value::UInt(number)) => Ok(*number),
        Some(Value::Int(number)) => u64::try_from(*number).map_err(|_| corrupt_error("a negative number")),
        // The form of a number from a statement that was not prepared.
        Some(Value::Bytes(digits)) => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| corrupt_error("no number")),
        _ => Err(corrupt_error("no number")),
    }
}

pub(super) fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

pub(super) fn name(row: &Row, at: usize) -> Result<UserName, StoreError> {
    UserName::new(text(row, at)?).map_err(corrupt_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16) -> (StoreError, bool) {
        let server = mysql::error::MySqlError { state: "HY000".into(), message: "no".into(), code };
        fault(&mysql::Error::MySqlError(server))
    }

    #[test]
    fn every_error_has_its_meaning_and_an_unlisted_one_is_nobodys_fault() {
        const BUSY: &[u16] = &[
            1020, 1040, 1203, 1205, 1206, 1213, 1226, 1317, 1412, 1613, 1614, 1615, 1637, 1689, 1969, 3024, 3058, 3101,
            3572,
        ];
        const LOST: &[u16] = &[
            1053, 1077, 1079, 1158, 1159, 1160, 1161, 1180, 1181, 1243, 1927, 2006, 2013, 3032, 3169, 4031, 9000, 9001,
            9999,
        ];
        const AWAY: &[u16] = &[
            1016, 1021, 1024, 1026, 1030, 1034, 1037, 1038, 1041, 1047, 1114, 1129, 1135, 1194, 1290, 1296, 1297, 1461,
            1665, 1712, 1792, 1836, 1877, 3100,
        ];
        const UNUSABLE: &[u16] = &[
            1044, 1045, 1046, 1049, 1054, 1064, 1115, 1130, 1142, 1143, 1146, 1193, 1227, 1231, 1235, 1251, 1273, 1275,
            1305, 1364, 1370, 1524, 1698, 1820, 1862, 3118, 3955, 4151,
        ];
        const REFUSED: &[u16] = &[
            1022, 1048, 1062, 1118, 1162, 1169, 1216, 1217, 1264, 1265, 1292, 1300, 1301, 1366, 1367, 1369, 1406, 1441,
            1451, 1452, 1525, 1526, 1586, 1644, 1690, 3140, 3141, 3819, 3988, 4025,
        ];
        type Make = fn(String) -> StoreError;
        let table: [(&[u16], Make, bool); 6] = [
            (BUSY, StoreError::Busy, true),
            (LOST, StoreError::Unavailable, false),
            (AWAY, StoreError::Unavailable, true),
            (UNUSABLE, StoreError::Unusable, true),
            (REFUSED, StoreError::Refused, true),
            (&[1153], StoreError::TooLarge, false),
        ];
        for code in 0..=u16::MAX {
            let listed = table
                .iter()
                .find(|(codes, ..)| codes.contains(&code) || (codes == &LOST && (9000..=9999).contains(&code)));
            let (make, usable) =
                listed.map_or((StoreError::Unknown as Make, false), |(_, make, usable)| (*make, *usable));
            assert_eq!(of(code), (make(format!("no (error {code})")), usable));
        }
        let ended = mysql::Error::IoError(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(fault(&ended), (StoreError::Unavailable(_), false)));
    }
}
