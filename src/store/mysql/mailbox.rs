//! The number and size of waiting pushes for each receiver, from which quotas are computed; and
//! their deletion.

use super::rows::check_same;
use super::values::{bytes, number, text};
use super::{MysqlStore, READ_BACKS, SIZES, repeat_list, size_of_group};
use crate::protocol::field::UserName;
use crate::protocol::push::{Push, PushKind};
use crate::store::{MailboxSaveResult, PushSenderAndSize, StoreError};
use mysql::Value;
use mysql::prelude::Queryable;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The primary key comes first, because not every server uses an index for pairs.
static DELETES: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let (one, pair) = (repeat_list("?", rows), repeat_list("(?, ?)", rows));
        format!("DELETE FROM pushes WHERE seq IN ({one}) AND (receiver, seq) IN ({pair})")
    })
});
/// Reads the mailboxes of several receivers in one round trip, by one SELECT each, so that each has
/// its own limit.
static WAITING: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|receivers| {
        let one = |place| {
            format!(
                "(SELECT {place} AS place, seq, sender, \
                 LENGTH(receiver) + LENGTH(sender) + LENGTH(message_id) + LENGTH(content) \
                 FROM pushes FORCE INDEX (by_receiver) WHERE receiver = ? AND seq > ? ORDER BY seq LIMIT ?)"
            )
        };
        (0..receivers).map(one).collect::<Vec<_>>().join(" UNION ALL ")
    })
});
static LENGTHS: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        format!(
            "SELECT seq, receiver, sender, \
             LENGTH(receiver) + LENGTH(sender) + LENGTH(message_id) + LENGTH(content) \
             FROM pushes WHERE seq IN ({})",
            repeat_list("?", rows)
        )
    })
});
static SAME: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let one = "(receiver = ? AND sender = ? AND message_id = ? AND once = 0)";
        let any = vec![one; rows].join(" OR ");
        format!("SELECT receiver, sender, message_id FROM pushes FORCE INDEX (kept_once) WHERE {any}")
    })
});

impl MysqlStore {
    /// See [`StoreConnection::waiting_pushes`](crate::store::StoreConnection::waiting_pushes).
    pub(super) fn read_waiting(
        &mut self,
        receivers: &[(&str, u64)],
        count_max: u32,
        note: &mut dyn FnMut(usize, u64, &str, u64),
    ) -> Result<(), StoreError> {
        let (mut rest, mut base) = (receivers, 0);
        while !rest.is_empty() {
            let size = size_of_group(rest.len(), |_| true);
            let (group, after) = rest.split_at(SIZES[size]);
            let mut params = Vec::with_capacity(group.len() * 3);
            for (receiver, after_seq) in group {
                params.extend([bytes(receiver), Value::UInt(*after_seq), Value::UInt(count_max.into())]);
            }
            let mut odd = None;
            self.run(|conn| {
                for row in conn.exec_iter(&WAITING[size], params)? {
                    let row = row?;
                    let read = || Ok((number(&row, 0)? as usize, number(&row, 1)?, text(&row, 2)?, number(&row, 3)?));
                    match read() {
                        Ok((place, seq, sender, size)) => note(base + place, seq, sender, size),
                        Err(error) => odd = Some(error),
                    }
                }
                Ok(())
            })?;
            if let Some(error) = odd {
                return Err(error);
            }
            base += group.len();
            rest = after;
        }
        Ok(())
    }

    /// See [`StoreConnection::sizes`](crate::store::StoreConnection::sizes).
    pub(super) fn read_sizes(
        &mut self,
        pushes: &[(UserName, u64)],
    ) -> Result<Vec<Option<PushSenderAndSize>>, StoreError> {
        let (mut rest, mut sizes) = (pushes, Vec::with_capacity(pushes.len()));
        while !rest.is_empty() {
            let size = size_of_group(rest.len(), |_| true);
            let (group, after) = rest.split_at(SIZES[size]);
            let rows = self.rows(&LENGTHS[size], group.iter().map(|(_, seq)| Value::UInt(*seq)).collect())?;
            let mut found = HashMap::with_capacity(rows.len());
            for row in &rows {
                found.insert((number(row, 0)?, text(row, 1)?), (text(row, 2)?, number(row, 3)?));
            }
            sizes.extend(group.iter().map(|(receiver, seq)| {
                found.get(&(*seq, receiver.as_str())).map(|&(sender, bytes)| (Box::from(sender), bytes))
            }));
            rest = after;
        }
        Ok(sizes)
    }

    /// See [`StoreConnection::find_pushes`](crate::store::StoreConnection::find_pushes).
    pub(super) fn find(&mut self, pushes: &[Push]) -> Result<Vec<Option<MailboxSaveResult>>, StoreError> {
        let (mut rest, mut found) = (pushes, Vec::with_capacity(pushes.len()));
        while !rest.is_empty() {
            let size = size_of_group(rest.len(), |_| true);
            let (group, after) = rest.split_at(SIZES[size]);
            let rows = self.rows(&READ_BACKS[size], group.iter().map(|push| Value::UInt(push.seq)).collect())?;
            let mut stored = HashMap::with_capacity(rows.len());
            for row in &rows {
                stored.insert(number(row, 0)?, row);
            }
            // Only messages are unique by their id.
            let rows = if group.iter().any(|push| push.kind == PushKind::Message) {
                let params =
                    group.iter().flat_map(|push| [push.receiver(), push.sender(), push.id()].map(bytes)).collect();
                self.rows(&SAME[size], params)?
            } else {
                Vec::new()
            };
            let mut kept = HashSet::with_capacity(rows.len());
            for row in &rows {
                kept.insert((text(row, 0)?, text(row, 1)?, text(row, 2)?));
            }
            for push in group {
                let is_kept =
                    push.kind == PushKind::Message && kept.contains(&(push.receiver(), push.sender(), push.id()));
                found.push(match stored.get(&push.seq) {
                    Some(row) => check_same(push, row).map(|()| Some(MailboxSaveResult::Before))?,
                    None => is_kept.then_some(MailboxSaveResult::Duplicate),
                });
            }
            rest = after;
        }
        Ok(found)
    }

    /// Deletes the pushes of one statement.
    pub(super) fn delete(&mut self, pushes: &[(UserName, u64)], size: usize) -> Result<(), StoreError> {
        let mut params: Vec<Value> = pushes.iter().map(|(_, seq)| Value::UInt(*seq)).collect();
        for (receiver, seq) in pushes {
            params.extend([bytes(receiver.as_str()), Value::UInt(*seq)]);
        }
        self.change(&DELETES[size], params).map(drop)
    }
}
