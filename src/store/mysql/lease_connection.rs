//! The connection on which a node gives its signs of life: one at a time for each life.

use super::epochs::lock;
use super::lanes::BEAT_LANE;
use super::named_lock::{holder, kill, take};
use super::nodes::NodeDatabase;
use crate::store::StoreError;
use mysql::Conn;

pub(super) fn open(server: &NodeDatabase) -> Result<Conn, StoreError> {
    let mut conn = server.session()?;
    let mark = lock(server.identity().incarnation, BEAT_LANE);
    if let Some(id) = holder(&mut conn, &mark)? {
        // Our own former connection, whose end the database has not noticed.
        kill(&mut conn, id)?;
    }
    if !take(&mut conn, &mark)? {
        return Err(StoreError::Unavailable("its previous connection has not ended yet".into()));
    }
    Ok(conn)
}
