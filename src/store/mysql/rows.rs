//! Single statements, and the classification of their errors.

use super::lanes::epoch_of_lane;
use super::values::{is_old_enough_to_drop, takes_writes};
use super::*;

impl MysqlStore {
    pub(super) fn new(conn: Conn, packet_max: u64, lock: WriterFenceLane) -> Self {
        Self { conn: Some(conn), opened_at: Instant::now(), packet_max, lock }
    }

    /// Every statement to the database server goes through here.
    pub(super) fn run<T>(&mut self, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> Result<T, StoreError> {
        let Some(conn) = &mut self.conn else {
            return Err(StoreError::Unavailable("its connection is lost".into()));
        };
        work(conn).map_err(|error| {
            let is_demoted = was_demoted(&error, self.opened_at);
            let (error, usable) = fault(&error);
            if !usable || is_demoted {
                self.drop_connection();
            }
            error
        })
    }

    /// A node reads what other nodes have just written, as soon as they tell it. If the primary has
    /// changed, they may have written it on another server than the one that this connection still
    /// leads to, which is read-only since before the other one took writes.
    pub(super) fn check_reads_are_current(&mut self) -> Result<(), StoreError> {
        if self.run(takes_writes)? {
            return Ok(());
        }
        if is_old_enough_to_drop(self.opened_at) {
            self.drop_connection();
        }
        Err(StoreError::Unavailable("the database server is read-only, so another one may be the primary".into()))
    }

    /// A transaction did not find its row with the epoch of this node. A later epoch means that the
    /// node was fenced; an earlier one, or none, that the database server is not the primary any
    /// more, or a copy. Then nothing is known about this node.
    pub(super) fn find_out_whether_fenced(&mut self, seat: &NodeIdentity) -> StoreError {
        let (node, lane) = (seat.incarnation.node.get(), self.lock.lane.number);
        match self.run(|conn| epoch_of_lane(conn, node, lane)) {
            Ok(found) => seat.note_other_epoch(found),
            Err(error) => error,
        }
    }

    pub(super) fn drop_connection(&mut self) {
        if let Some(conn) = self.conn.take() {
            background_close::close(conn);
        }
    }

    pub(super) fn rows(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.run(|conn| conn.exec(sql, params))
    }

    pub(super) fn row(&mut self, sql: &str, params: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, params)?.into_iter().next())
    }

    /// Runs a statement; gives the number of changed rows.
    pub(super) fn change(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        self.run(|conn| {
            conn.exec_drop(sql, params)?;
            Ok(conn.affected_rows())
        })
    }

    /// Saves the pushes of one statement.
    pub(super) fn insert(
        &mut self,
        pushes: &[Push],
        size: usize,
        saved: &mut Vec<MailboxSaveResult>,
    ) -> Result<(), StoreError> {
        let mut params = Vec::with_capacity(pushes.len() * 8);
        for push in pushes {
            if (push.content().len() + ROW_BYTES) as u64 > self.packet_max {
                return Err(StoreError::TooLarge("it is larger than max_allowed_packet of the database".into()));
            }
            let once = if push.kind == PushKind::Message { 0 } else { push.seq };
            params.extend([
                Value::UInt(push.seq),
                bytes(push.receiver()),
                bytes(push.sender()),
                bytes(push.id()),
                Value::UInt(push.kind.code().into()),
                Value::UInt(once),
                Value::UInt(push.time_ms),
                bytes(push.content()),
            ]);
        }
        let inserted = self.change(&INSERTS[size], params)?;
        if inserted == pushes.len() as u64 {
            saved.extend(pushes.iter().map(|_| MailboxSaveResult::Itself));
            return Ok(());
        }
        let seqs = pushes.iter().map(|push| Value::UInt(push.seq)).collect();
        let rows = self.rows(&READ_BACKS[size], seqs)?;
        let stored =
            rows.iter().map(|row| Ok((number(row, 0)?, row))).collect::<Result<HashMap<_, _>, StoreError>>()?;
        // The database server tells only how many rows were new, not which of them.
        let found = pushes.iter().filter(|push| stored.contains_key(&push.seq)).count() as u64;
        let there = if found == inserted { MailboxSaveResult::Itself } else { MailboxSaveResult::Before };
        for push in pushes {
            saved.push(match stored.get(&push.seq) {
                Some(row) => check_same(push, row).map(|()| there)?,
                None if push.kind == PushKind::Message => MailboxSaveResult::Duplicate,
                None => return Err(StoreError::Corrupt("a push was neither saved nor there before".into())),
            });
        }
        Ok(())
    }
}

/// Checks that this row, which was read back, is the row of this push.
pub(super) fn check_same(push: &Push, row: &Row) -> Result<(), StoreError> {
    if text(row, 1)? == push.receiver() && text(row, 2)? == push.sender() && text(row, 3)? == push.id() {
        return Ok(());
    }
    Err(StoreError::Refused(format!("another push stands under the number {}", push.seq)))
}
