//! What the database says: its values, and what its errors mean.

use crate::protocol::field::UserName;
use crate::store::StoreError;
use mysql::{Row, Value};

/// The server, the transaction, the server's mode is read-only.
const READ_ONLY: u16 = 1290;
const READ_ONLY_TRANSACTION: u16 = 1792;
const READ_ONLY_MODE: u16 = 1836;

/// Does the server say that it only reads?
pub(super) fn is_read_only(error: &mysql::Error) -> bool {
    matches!(
        error,
        mysql::Error::MySqlError(server)
            if matches!(server.code, READ_ONLY | READ_ONLY_TRANSACTION | READ_ONLY_MODE)
    )
}

/// What an error means, and whether the connection may still be used.
pub(super) fn fault(error: &mysql::Error) -> (StoreError, bool) {
    let mysql::Error::MySqlError(server) = error else {
        return (StoreError::Unavailable(error.to_string()), false);
    };
    let why = format!("{} (error {})", server.message, server.code);
    match server.code {
        // Too many connections, a limit of this user's, a lock that was waited for in vain, a deadlock, an interrupted query, a table
        // that changed meanwhile, a statement to be prepared again, a group of servers that would not commit this time.
        1020 | 1040 | 1203 | 1205 | 1206 | 1213 | 1226 | 1317 | 1412 | 1615 | 1969 | 3024 | 3101 => {
            (StoreError::Busy(why), true)
        }
        // The server ends this connection: it stops, goes offline, somebody killed it, it was silent; or it does not know what became of
        // a commit. Or something between us and the server says that it has lost it.
        1053 | 1077 | 1079 | 1158..=1161 | 1180 | 1927 | 3032 | 3169 | 4031 | 2000..=2999 | 9000..=9999 => {
            (StoreError::Unavailable(why), false)
        }
        // Nothing is wrong with the row. The disk or the memory is full, or fails; this host is kept out for a while; the server is
        // read-only, no part of its cluster, or does not replicate what we do.
        1021 | 1026 | 1030 | 1037 | 1038 | 1041 | 1047 | 1114 | 1129 | 1665 | 3100 => {
            (StoreError::Unavailable(why), true)
        }
        READ_ONLY | READ_ONLY_TRANSACTION | READ_ONLY_MODE => (StoreError::Unavailable(why), true),
        // Nor here: this user or host is not let in, or a database, a right, a table or a column is missing.
        1044..=1046 | 1049 | 1054 | 1130 | 1142 | 1143 | 1146 | 1251 | 1275 | 1698 | 3118 => {
            (StoreError::Unusable(why), true)
        }
        // Larger than the server takes, which closes the connection after saying so.
        1153 => (StoreError::Refused(why), false),
        // The row's own fault: it does not fit its columns, or what an administrator has added to the tables (keys, checks, triggers).
        1048 | 1062 | 1118 | 1169 | 1216 | 1217 | 1264 | 1265 | 1292 | 1300 | 1301 | 1364 | 1366 | 1406 | 1407
        | 1451 | 1452 | 1526 | 1557 | 1644 | 1690 | 3140 | 3819 | 4025 => (StoreError::Refused(why), true),
        // Nobody knows whose fault it is: it is tried again, then half by half, and what fails in the end was not promised.
        _ => (StoreError::Busy(why), true),
    }
}

pub(super) fn corrupt(why: &str) -> StoreError {
    StoreError::Corrupt(format!("a row of the store is not what this server writes: {why}"))
}

pub(super) fn text(row: &Row, at: usize) -> Result<&str, StoreError> {
    match row.as_ref(at) {
        Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| corrupt("no UTF-8")),
        _ => Err(corrupt("no text")),
    }
}

pub(super) fn number(row: &Row, at: usize) -> Result<u64, StoreError> {
    match row.as_ref(at) {
        Some(Value::UInt(number)) => Ok(*number),
        Some(Value::Int(number)) => u64::try_from(*number).map_err(|_| corrupt("a negative number")),
        _ => Err(corrupt("no number")),
    }
}

pub(super) fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

pub(super) fn name(row: &Row, at: usize) -> Result<UserName, StoreError> {
    UserName::new(text(row, at)?).map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16) -> (StoreError, bool) {
        fault(&mysql::Error::MySqlError(mysql::error::MySqlError { state: "HY000".into(), message: "no".into(), code }))
    }

    #[test]
    fn what_the_database_says_means_one_thing() {
        for code in [1020, 1040, 1203, 1205, 1206, 1213, 1226, 1317, 1412, 1615, 1969, 3024, 3101] {
            assert!(matches!(of(code), (StoreError::Busy(_), true)), "{code}");
        }
        for code in [1053, 1077, 1079, 1158, 1161, 1180, 1927, 3032, 3169, 4031, 2006, 2013, 9001] {
            assert!(matches!(of(code), (StoreError::Unavailable(_), false)), "{code}");
        }
        for code in [1021, 1026, 1030, 1037, 1038, 1041, 1047, 1114, 1129, 1290, 1665, 1792, 1836, 3100] {
            assert!(matches!(of(code), (StoreError::Unavailable(_), true)), "{code}");
        }
        for code in [1044, 1045, 1046, 1049, 1054, 1130, 1142, 1143, 1146, 1251, 1275, 1698, 3118] {
            assert!(matches!(of(code), (StoreError::Unusable(_), true)), "{code}");
        }
        for code in [1048, 1062, 1264, 1292, 1300, 1366, 1406, 1452, 1644, 3140, 3819, 4025] {
            assert!(matches!(of(code), (StoreError::Refused(_), true)), "{code}");
        }
        assert!(matches!(of(1153), (StoreError::Refused(_), false)), "the server ends the connection");
        // Whatever else there is or will be: nobody's row is blamed, and no batch fails without a second look.
        for code in [1, 1105, 1999, 3999, 5000, u16::MAX] {
            assert!(matches!(of(code), (StoreError::Busy(_), true)), "{code}");
        }
        let lost = mysql::Error::IoError(std::io::ErrorKind::TimedOut.into());
        assert!(matches!(fault(&lost), (StoreError::Unavailable(_), false)));
    }
}
