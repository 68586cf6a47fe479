//! Named locks of the database server: each is held by one connection, and ends with it.

use super::fault;
use crate::store::StoreError;
use mysql::Conn;
use mysql::prelude::Queryable;

/// How long to wait for a predecessor whose connection is just being closed, in s.
const LOCK_WAIT_S: u32 = 3;

/// The name of the lock on a database, as SQL. Hashed, because it has at most 64 characters and a
/// database's name may have as many.
pub(super) const LOCK_NAME: &str = "CONCAT('hongyan:', LEFT(SHA2(DATABASE(), 256), 40))";

/// The id of the connection that holds a lock, if there is one.
pub(super) fn holder(conn: &mut Conn, lock: &str) -> Result<Option<u64>, StoreError> {
    let holder: Option<Option<u64>> =
        conn.query_first(format!("SELECT IS_USED_LOCK({lock})")).map_err(|error| fault(&error).0)?;
    Ok(holder.flatten())
}

/// Takes a lock for this connection, if no other connection holds it.
pub(super) fn take(conn: &mut Conn, lock: &str) -> Result<bool, StoreError> {
    let taken: Option<Option<u8>> =
        conn.query_first(format!("SELECT GET_LOCK({lock}, {LOCK_WAIT_S})")).map_err(|error| fault(&error).0)?;
    Ok(taken.flatten() == Some(1))
}

/// Kills a connection. It is no error if it has ended already.
pub(super) fn kill(conn: &mut Conn, id: u64) -> Result<(), StoreError> {
    match conn.query_drop(format!("KILL {id}")) {
        Ok(()) | Err(mysql::Error::MySqlError(_)) => Ok(()),
        Err(error) => Err(fault(&error).0),
    }
}
