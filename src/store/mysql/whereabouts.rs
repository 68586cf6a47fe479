//! The whereabouts of the users of a cluster.

use super::values::{bytes, corrupt_error, number, text};
use super::{MysqlStore, fault, read_page};
use crate::chat::contract::{NodeId, NodeIncarnation, UserOwner};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use crate::store::StoreError;
use crate::store::node::ClusterStore;
use mysql::prelude::Queryable;
use mysql::{Row, Value};
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

const OWNER: &str =
    "SELECT user_name, node, node_epoch, epoch, floor FROM whereabouts WHERE device = '' AND user_name = ?";

/// A name as SQL. No character in it can end the literal.
fn literal(name: &str) -> String {
    let mut text = String::with_capacity(3 + 2 * name.len());
    text.push_str("x'");
    for byte in name.bytes() {
        write!(text, "{byte:02x}").unwrap_or(());
    }
    text.push('\'');
    text
}

fn owner_of(row: &Row) -> Result<UserOwner, StoreError> {
    let node = u16::try_from(number(row, 1)?).map_err(|_| corrupt_error("no node has this number"))?;
    let epoch = number(row, 2)?;
    let at = NodeId::new(node).map(|node| NodeIncarnation { node, epoch });
    Ok(UserOwner { incarnation: at, epoch: number(row, 3)?, floor: number(row, 4)? })
}

impl MysqlStore {
    /// Sends `COMMIT`, and the reads after it. Only an error of `COMMIT` itself means that the
    /// outcome is not known.
    fn commit_then(&mut self, sql: &str) -> Result<Result<Vec<Row>, mysql::Error>, StoreError> {
        self.run(|conn| {
            let mut results = conn.query_iter(sql)?;
            let (mut rows, mut is_first) = (Vec::new(), true);
            while let Some(result) = results.iter() {
                // The answer to the commit has arrived; otherwise `query_iter` would have failed.
                for row in result {
                    match row {
                        Ok(row) if !is_first => rows.push(row),
                        Ok(_) => {}
                        Err(error) => return Ok(Err(error)),
                    }
                }
                is_first = false;
            }
            Ok(Ok(rows))
        })
    }
}

impl ClusterStore for MysqlStore {
    fn incarnation(&self) -> NodeIncarnation {
        // The floor is read only if there is a row; the other case cannot write anything.
        match &self.lock.seat {
            Some(seat) => seat.incarnation,
            None => unreachable!("a server alone has no nodes"),
        }
    }

    fn seq_max(&self) -> u64 {
        self.lock.seat.as_ref().map_or(u64::MAX, |seat| seat.seq_max.get())
    }

    fn wait_for_seq_max(&self, seq: u64, within: Duration) -> u64 {
        self.lock.seat.as_ref().map_or(u64::MAX, |seat| seat.seq_max.wait_for(seq, within))
    }

    fn owner(&mut self, user: &UserName) -> Result<UserOwner, StoreError> {
        self.row(OWNER, vec![bytes(user.as_str())])?.map_or(Ok(UserOwner::default()), |row| owner_of(&row))
    }

    fn claim(&mut self, user: &UserName, epoch: u64, floor: u64) -> Result<bool, StoreError> {
        let me = self.incarnation();
        if epoch == 0 {
            // The user has never belonged to a node: there may be no row.
            let sql = "INSERT INTO whereabouts (user_name, node, node_epoch, epoch, floor) VALUES (?, 0, 0, 0, 0) \
                       ON DUPLICATE KEY UPDATE user_name = user_name";
            self.change(sql, vec![bytes(user.as_str())])?;
        }
        let sql = "UPDATE whereabouts SET node = ?, node_epoch = ?, epoch = epoch + 1, floor = GREATEST(floor, ?) \
                   WHERE user_name = ? AND device = '' AND epoch = ?";
        let values = vec![
            Value::UInt(me.node.get().into()),
            Value::UInt(me.epoch),
            Value::UInt(floor),
            bytes(user.as_str()),
            Value::UInt(epoch),
        ];
        Ok(self.change(sql, values)? == 1)
    }

    fn commit_and_read(&mut self, users: &[&str]) -> Result<Option<Vec<UserOwner>>, StoreError> {
        if users.is_empty() {
            return self.run(|conn| conn.query_drop("COMMIT")).map(|()| Some(Vec::new()));
        }
        let mut names: Vec<String> = users.iter().map(|name| literal(name)).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.join(", ");
        let sql = format!(
            "COMMIT; SELECT user_name, node, node_epoch, epoch, floor FROM whereabouts \
             WHERE device = '' AND user_name IN ({names})"
        );
        let rows = match self.commit_then(&sql)? {
            Ok(rows) => rows,
            Err(error) => {
                if !fault(&error).1 {
                    self.drop_connection();
                }
                return Ok(None);
            }
        };
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            // A row that cannot be read says nothing about the commit.
            if let (Ok(name), Ok(owner)) = (text(row, 0), owner_of(row)) {
                found.insert(name, owner);
            }
        }
        Ok(Some(users.iter().map(|name| found.get(name).copied().unwrap_or_default()).collect()))
    }

    fn find_other_message(&mut self, push: &Push) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT seq, time_ms, content FROM pushes FORCE INDEX (kept_once) \
                   WHERE receiver = ? AND sender = ? AND message_id = ? AND once = 0 FOR UPDATE";
        let values = vec![bytes(push.receiver()), bytes(push.sender()), bytes(push.id())];
        let Some(row) = self.row(sql, values)? else { return Ok(None) };
        let is_other = !push.is_repetition_of(number(&row, 1)?, text(&row, 2)?);
        Ok(is_other.then_some(number(&row, 0)?))
    }

    fn free_message_id(&mut self, seq: u64) -> Result<(), StoreError> {
        // Unique, as for pushes that are no messages.
        self.change("UPDATE pushes SET once = seq WHERE seq = ?", vec![Value::UInt(seq)]).map(drop)
    }

    fn pushes_except(
        &mut self,
        user: &UserName,
        except: &[u64],
        count_max: u32,
        bytes_max: usize,
    ) -> Result<Vec<Push>, StoreError> {
        let receiver = literal(user.as_str());
        let but = match except {
            [] => String::new(),
            some => {
                let seqs: Vec<String> = some.iter().map(u64::to_string).collect();
                format!("AND seq NOT IN ({})", seqs.join(", "))
            }
        };
        let sql = format!(
            "SELECT seq, time_ms, kind, message_id, sender, content FROM pushes FORCE INDEX (by_receiver) \
             WHERE receiver = {receiver} {but} ORDER BY seq LIMIT {count_max}"
        );
        self.run(|conn| read_page(&mut conn.query_iter(sql)?, user, bytes_max))?.into_iter().collect()
    }
}
