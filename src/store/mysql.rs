//! The store of record for larger deployments: MySQL or MariaDB. One connection per worker, owned
//! by it.
//!
//! A connection that timed out may receive the late answer of the earlier query as the answer of
//! the next one. So **every error that the database server did not send itself drops the connection
//! at once**, and the owner of the store opens another. Then the whole transaction is done again,
//! which settles an unknown outcome: every write may be repeated.

mod accounts;
mod background_close;
mod blocks;
mod cluster_checks;
mod connect;
mod epochs;
mod error_text;
mod export;
mod forget_node;
mod friendships;
mod inbox_writer;
mod keeper;
mod lanes;
mod lease;
mod lease_connection;
mod life_signs;
mod look;
mod mailbox;
mod members;
mod mixed_builds;
mod named_lock;
mod node_identity;
mod node_mark;
mod node_names;
mod node_numbers;
mod nodes;
mod roster;
mod rows;
mod safe_commits;
mod schema;
mod seq_max;
mod signs;
mod silence;
mod standby;
mod tokens;
mod values;
mod whereabouts;

pub use connect::MysqlConnector;
pub use export::MysqlCopyStore;
pub use forget_node::ForgetNodeResult;
pub use inbox_writer::{NodeInboxWriter, NodeInboxWriterLimits};
pub use keeper::ActiveServerHeartbeat;
use lanes::{LockMoves, WriterFenceLane};
pub use lease::{ClusterEvent, FenceCause, LeaseCallbacks, NodeLease};
pub use life_signs::NodeLivenessFigures;
pub use members::{ClusterMembers, ClusterMembersReader, NodeLiveness, NodeStatusReport};
pub use node_identity::NodeIdentity;
pub use node_names::SharedNodeNames;
pub use nodes::NodeDatabase;
pub use standby::{ActiveServerCheckResult, ActiveServerWatch};
use values::{bytes, corrupt_error, fault, name, number, text, was_demoted};

use super::accounts::AccountRepository;
use super::blocks::BlockedUserRepository;
use super::friendship::FriendshipRepository;
use super::node::ClusterStore;
use super::roster::RosterReadRepository;
use super::token::ResumeTokenRepository;
use super::{MailboxSaveResult, PushSenderAndSize, StoreConnection, StoreError};
use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::push::{Push, PushKind};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// The possible numbers of rows in one statement: a few sizes, so that each is prepared once. The
/// largest one that fits is used.
const SIZES: [usize; 3] = [100, 10, 1];
/// The largest size of the texts in one statement, in bytes, unless it has a single row.
const STATEMENT_BYTES_MAX: usize = 1024 * 1024;
/// A generous bound on the size of a row beside its content, in bytes.
pub(super) const ROW_BYTES: usize = 4 * 1024;

static INSERTS: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let row = "(?, ?, ?, ?, ?, ?, ?, ?)";
        format!(
            "INSERT INTO pushes (seq, receiver, sender, message_id, kind, once, time_ms, content) VALUES {} \
             ON DUPLICATE KEY UPDATE seq = seq",
            repeat_list(row, rows)
        )
    })
});
static READ_BACKS: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        format!("SELECT seq, receiver, sender, message_id FROM pushes WHERE seq IN ({})", repeat_list("?", rows))
    })
});
static LOCKS: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let names = repeat_list("?", rows);
        format!("SELECT 1 FROM accounts WHERE user_name IN ({names}) ORDER BY user_name FOR UPDATE")
    })
});

fn repeat_list(what: &str, count: usize) -> String {
    vec![what; count].join(", ")
}

fn weight(push: &Push) -> usize {
    push.content().len() + push.receiver().len() + push.sender().len() + push.id().len()
}

/// The number of rows of the next statement, as an index into `SIZES`.
fn size_of_group(count: usize, weighs_at_most: impl Fn(usize) -> bool) -> usize {
    let fits = |size: &usize| count >= *size && weighs_at_most(*size);
    SIZES.iter().position(fits).unwrap_or(SIZES.len() - 1)
}

/// Reads a page row by row, so that memory never holds more than the page may have.
fn read_page(
    rows: &mut dyn Iterator<Item = mysql::Result<Row>>,
    user: &UserName,
    bytes_max: usize,
) -> mysql::Result<Vec<Result<Push, StoreError>>> {
    let read = |row: &Row| {
        let kind = u8::try_from(number(row, 2)?).map_err(|_| corrupt_error("an unknown kind of push"))?;
        Push::from_row(number(row, 0)?, number(row, 1)?, kind, text(row, 3)?, text(row, 4)?, user, text(row, 5)?)
            .map_err(corrupt_error)
    };
    let (mut pushes, mut size) = (Vec::new(), 0);
    for row in rows {
        // Read to the end: the driver would otherwise read the rest itself and hide its errors.
        let row = row?;
        if size < bytes_max || pushes.is_empty() {
            let push = read(&row);
            size += push.as_ref().map_or(0, Push::text_bytes);
            pushes.push(push);
        }
    }
    Ok(pushes)
}

/// A connection to the database.
pub struct MysqlStore {
    /// `None` after an error, when it cannot be trusted any more.
    conn: Option<Conn>,
    opened_at: Instant,
    packet_max: u64,
    /// The lane of this connection, and what keeps the lock on the database held.
    lock: WriterFenceLane,
}

impl std::fmt::Debug for MysqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MysqlStore").field("broken", &self.conn.is_none()).finish_non_exhaustive()
    }
}

impl StoreConnection for MysqlStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        // In the same round trip the lock is checked: it may have been lost without notice, and
        // another server may have it now.
        let begin = Arc::clone(&self.lock.begin_statements);
        let is_ours = self.run(|conn| {
            let mut results = conn.query_iter(&*begin)?;
            let mut changed = 0;
            while let Some(result) = results.iter() {
                changed = result.affected_rows();
                for row in result {
                    row?;
                }
            }
            Ok(changed == 1)
        })?;
        if is_ours {
            return Ok(());
        }
        let error = match self.lock.seat.clone() {
            Some(seat) => self.find_out_whether_fenced(&seat),
            None => StoreError::Unavailable("the lock on the database was lost".into()),
        };
        self.drop_connection();
        Err(error)
    }

    fn begin_reads(&mut self) -> Result<(), StoreError> {
        if self.lock.seat.is_some() {
            return self.check_reads_are_current();
        }
        if self.lock.lock_moves.as_ref().is_some_and(LockMoves::has_moved) {
            // The store is opened again, and the reads are done there.
            self.drop_connection();
            return Err(StoreError::Unavailable("its lock may be on another database server now".into()));
        }
        Ok(())
    }

    fn lock_users(&mut self, people: &[&str]) -> Result<(), StoreError> {
        let mut rest = people;
        while !rest.is_empty() {
            let size = size_of_group(rest.len(), |_| true);
            let (group, after) = rest.split_at(SIZES[size]);
            self.rows(&LOCKS[size], group.iter().map(|name| bytes(name)).collect())?;
            rest = after;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.run(|conn| conn.query_drop("COMMIT"))
    }

    fn rollback(&mut self) {
        if self.conn.is_some() && self.run(|conn| conn.query_drop("ROLLBACK")).is_err() {
            self.drop_connection();
        }
    }

    fn is_broken(&self) -> bool {
        self.conn.is_none()
    }

    fn nodes(&mut self) -> Option<&mut dyn ClusterStore> {
        self.lock.seat.is_some().then_some(self as &mut dyn ClusterStore)
    }

    fn row_bytes_max(&self) -> usize {
        usize::try_from(self.packet_max).unwrap_or(usize::MAX).saturating_sub(ROW_BYTES)
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        // A pending request names its push even after the ack: that number must not be given to
        // another push.
        let pushes = self.row("SELECT seq FROM pushes ORDER BY seq DESC LIMIT 1", Vec::new())?;
        let requests = self.row("SELECT push_seq FROM friend_requests ORDER BY push_seq DESC LIMIT 1", Vec::new())?;
        let last = |row: Option<Row>| row.map_or(Ok(0), |row| number(&row, 0));
        Ok(last(pushes)?.max(last(requests)?))
    }

    fn create_account(&mut self, profile: &Profile, password_hash: &Secret) -> Result<bool, StoreError> {
        let sql = "INSERT INTO accounts (user_name, password_hash, email_address, nick_name, profile_picture, location, \
                   personal_description, rsa_public_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
                   ON DUPLICATE KEY UPDATE user_name = user_name";
        let row = [
            profile.user_name.as_str(),
            password_hash.expose(),
            &profile.email_address,
            &profile.nick_name,
            &profile.profile_picture,
            &profile.location,
            &profile.personal_description,
            &profile.rsa_public_key,
        ];
        if self.change(sql, row.map(bytes).into())? > 0 {
            return Ok(true);
        }
        // The same hash means a repetition after a commit whose answer was lost: the same request
        // made the account.
        Ok(self.password_hash(&profile.user_name)?.as_ref() == Some(password_hash))
    }

    fn profile(&mut self, user: &UserName) -> Result<Option<Profile>, StoreError> {
        let sql = "SELECT email_address, nick_name, profile_picture, location, personal_description, rsa_public_key \
                   FROM accounts WHERE user_name = ? AND state < 2";
        let Some(row) = self.row(sql, vec![bytes(user.as_str())])? else {
            return Ok(None);
        };
        let text = |at| text(&row, at).map(Box::from);
        Ok(Some(Profile {
            user_name: user.clone(),
            email_address: text(0)?,
            nick_name: text(1)?,
            profile_picture: text(2)?,
            location: text(3)?,
            personal_description: text(4)?,
            rsa_public_key: text(5)?,
        }))
    }

    fn friends(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError> {
        let rows = self.rows("SELECT friend_name FROM friendships WHERE user_name = ?", vec![bytes(user.as_str())])?;
        rows.iter().map(|row| name(row, 0)).collect()
    }

    fn pushes(
        &mut self,
        user: &UserName,
        after_seq: u64,
        count_max: u32,
        bytes_max: usize,
    ) -> Result<Vec<Push>, StoreError> {
        // Because of the order, MySQL would otherwise walk along the primary key, past the pushes
        // of all users.
        let sql = "SELECT seq, time_ms, kind, message_id, sender, content FROM pushes FORCE INDEX (by_receiver) \
                   WHERE receiver = ? AND seq > ? ORDER BY seq LIMIT ?";
        let params = vec![bytes(user.as_str()), Value::UInt(after_seq), Value::UInt(count_max.into())];
        self.run(|conn| read_page(&mut conn.exec_iter(sql, params)?, user, bytes_max))?.into_iter().collect()
    }

    fn save_pushes(&mut self, pushes: &[Push]) -> Result<Vec<MailboxSaveResult>, StoreError> {
        let (mut saved, mut rest) = (Vec::with_capacity(pushes.len()), pushes);
        while !rest.is_empty() {
            let size = size_of_group(rest.len(), |size| {
                let bytes = rest[..size].iter().map(weight).sum::<usize>();
                bytes <= STATEMENT_BYTES_MAX && (bytes + ROW_BYTES) as u64 <= self.packet_max
            });
            let (group, after) = rest.split_at(SIZES[size]);
            self.insert(group, size, &mut saved)?;
            rest = after;
        }
        Ok(saved)
    }

    fn find_pushes(&mut self, pushes: &[Push]) -> Result<Vec<Option<MailboxSaveResult>>, StoreError> {
        self.find(pushes)
    }

    fn waiting_pushes(
        &mut self,
        receivers: &[(&str, u64)],
        count_max: u32,
        note: &mut dyn FnMut(usize, u64, &str, u64),
    ) -> Result<(), StoreError> {
        self.read_waiting(receivers, count_max, note)
    }

    fn sizes(&mut self, pushes: &[(UserName, u64)]) -> Result<Vec<Option<PushSenderAndSize>>, StoreError> {
        self.read_sizes(pushes)
    }

    fn delete_pushes(&mut self, pushes: &[(UserName, u64)]) -> Result<(), StoreError> {
        let mut rest = pushes;
        while !rest.is_empty() {
            let size = size_of_group(rest.len(), |_| true);
            let (group, after) = rest.split_at(SIZES[size]);
            self.delete(group, size)?;
            rest = after;
        }
        Ok(())
    }

    fn accounts(&mut self) -> &mut dyn AccountRepository {
        self
    }

    fn friendships(&mut self) -> &mut dyn FriendshipRepository {
        self
    }

    fn blocks(&mut self) -> &mut dyn BlockedUserRepository {
        self
    }

    fn rosters(&mut self) -> &mut dyn RosterReadRepository {
        self
    }

    fn tokens(&mut self) -> &mut dyn ResumeTokenRepository {
        self
    }
}
