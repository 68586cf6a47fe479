//! The embedded store: one SQLite file, one writer, every commit on the disk before it is answered.

mod accounts;
mod backup;
mod blocks;
mod export;
mod friendships;
mod journal_owner;
mod log_owner;
mod open;
mod place;
mod roster;
mod tokens;

pub use backup::{BackupContents, backup, check_source};

use super::accounts::AccountRepository;
use super::blocks::BlockedUserRepository;
use super::friendship::FriendshipRepository;
use super::roster::RosterReadRepository;
use super::token::ResumeTokenRepository;
use super::{MailboxSaveResult, PushSenderAndSize, StoreConnection, StoreError, corrupt_error};
use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::push::{Push, PushKind};
use open::FileLock;
use place::StoreFiles;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use std::time::Duration;

/// A connection to the file.
#[derive(Debug)]
pub struct SqliteStore {
    /// It is declared before `_lock`, so it is dropped first: closing any handle of the file
    /// releases SQLite's own locks on it.
    db: Connection,
    /// Held so that a second server on the same file is refused.
    _lock: FileLock,
    files: StoreFiles,
    /// A write-ahead log is used, and the file is marked so.
    has_log: bool,
}

impl Drop for SqliteStore {
    /// Checkpoints the write-ahead log and removes the mark from the file: a log that is beside it
    /// at the next start then belongs to another file. If another process reads the file, this
    /// fails and the mark stays, which does no harm.
    fn drop(&mut self) {
        if self.has_log && self.db.is_autocommit() && self.files.check().is_ok() {
            let unmark = || {
                self.db.busy_timeout(Duration::ZERO)?;
                self.db.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0))
            };
            if let Err(error) = unmark() {
                log::debug!("the write-ahead log stays: {error}");
            }
        }
    }
}

/// The sizes of waiting pushes. SQLite knows these lengths without reading the texts.
const WAITING: &str = "SELECT seq, sender, octet_length(receiver) + octet_length(sender) + octet_length(message_id)
        + octet_length(content)
     FROM pushes WHERE receiver = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
const SIZE: &str = "SELECT sender, octet_length(receiver) + octet_length(sender) + octet_length(message_id)
        + octet_length(content)
     FROM pushes WHERE seq = ?1 AND receiver = ?2";

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        if let rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) = error
        {
            return corrupt_error(&why);
        }
        // SQLite's own message names no cause in these cases.
        let of = |cause: &str| format!("{why}: {cause}");
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Unavailable(of("there is no room on its disk")),
            Some(ErrorCode::ReadOnly) => Self::Unavailable(of("the file, its folder or its disk is read-only")),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy(of("another process holds the file (sqlite3, a backup)"))
            }
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => Self::Refused(why),
            Some(ErrorCode::TooBig) => Self::TooLarge(why),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(of("put a backup in its place"))
            }
            _ => Self::Unavailable(why),
        }
    }
}

impl SqliteStore {
    /// Runs a statement without values, which is parsed once.
    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.db.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn insert(&self, push: &Push) -> Result<MailboxSaveResult, StoreError> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO pushes (seq, receiver, sender, message_id, kind, once, time_ms, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?;
        let once = if push.kind == PushKind::Message { 0 } else { to_i64(push.seq) };
        let row = params![
            to_i64(push.seq),
            push.receiver(),
            push.sender(),
            push.id(),
            push.kind.code(),
            once,
            to_i64(push.time_ms),
            push.content()
        ];
        if insert.execute(row)? > 0 {
            return Ok(MailboxSaveResult::Itself);
        }
        Ok(if self.is_stored(push)? { MailboxSaveResult::Before } else { MailboxSaveResult::Duplicate })
    }

    /// The result of saving a push if it, or another push with the same message, is in the store.
    fn find(&self, push: &Push) -> Result<Option<MailboxSaveResult>, StoreError> {
        if self.is_stored(push)? {
            return Ok(Some(MailboxSaveResult::Before));
        }
        let mut same = self.db.prepare_cached(
            "SELECT 1 FROM pushes WHERE receiver = ?1 AND sender = ?2 AND message_id = ?3 AND once = 0",
        )?;
        let kept = push.kind == PushKind::Message && same.exists([push.receiver(), push.sender(), push.id()])?;
        Ok(kept.then_some(MailboxSaveResult::Duplicate))
    }

    /// Is this very push in the store?
    fn is_stored(&self, push: &Push) -> Result<bool, StoreError> {
        let mut find = self.db.prepare_cached("SELECT receiver, sender, message_id FROM pushes WHERE seq = ?1")?;
        let found = find
            .query_row([to_i64(push.seq)], |row| {
                let same = |at: usize, text: &str| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str()? == text);
                Ok((same(0, push.receiver())?, same(1, push.sender())?, same(2, push.id())?))
            })
            .optional()?;
        match found {
            None => Ok(false),
            Some((true, true, true)) => Ok(true),
            Some(_) => Err(StoreError::Refused(format!("another push stands under the number {}", push.seq))),
        }
    }

    fn delete(&self, receiver: &str, seq: i64) -> Result<(), StoreError> {
        let mut delete = self.db.prepare_cached("DELETE FROM pushes WHERE seq = ?1 AND receiver = ?2")?;
        delete.execute(params![seq, receiver])?;
        Ok(())
    }
}

/// A number for SQLite, whose integers are signed. Every `seq` and time stays below 2^63.
fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored time. A negative one, which this server never writes, counts as 0.
fn time(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

fn profile_of(user: &UserName, row: &Row<'_>) -> rusqlite::Result<Profile> {
    Ok(Profile {
        user_name: user.clone(),
        email_address: row.get(0)?,
        nick_name: row.get(1)?,
        profile_picture: row.get(2)?,
        location: row.get(3)?,
        personal_description: row.get(4)?,
        rsa_public_key: row.get(5)?,
    })
}

impl StoreConnection for SqliteStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.files.check_if_due()?;
        self.run("BEGIN IMMEDIATE")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT")?;
        // A commit into a file that lost its name must not be promised.
        self.files.check()
    }

    fn begin_reads(&mut self) -> Result<(), StoreError> {
        self.files.check_if_due()?;
        self.run("BEGIN")
    }

    fn end_reads(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT")
    }

    fn rollback(&mut self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            log::error!("the store could not roll back: {error}");
        }
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.files.check()?;
        // Write the version that is stored already: one page goes to the log.
        self.db.pragma_update(None, "user_version", self.version()?)?;
        self.files.check()
    }

    fn wal_bytes(&self) -> Option<u64> {
        let path = self.db.path()?;
        std::fs::metadata(format!("{path}-wal")).ok().map(|data| data.len())
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        // A pending request names its push even after the ack: that number must not be given to
        // another push.
        let last: i64 = self.db.query_row(
            "SELECT max(ifnull((SELECT max(seq) FROM pushes), 0), ifnull((SELECT max(push_seq) FROM friend_requests), 0))",
            [],
            |row| row.get(0),
        )?;
        u64::try_from(last).map_err(|_| corrupt_error("a negative number"))
    }

    fn create_account(&mut self, profile: &Profile, password_hash: &Secret) -> Result<bool, StoreError> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO accounts (user_name, password_hash, email_address, nick_name, profile_picture, location,
                personal_description, rsa_public_key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?;
        let row = params![
            profile.user_name.as_str(),
            password_hash.expose(),
            profile.email_address,
            profile.nick_name,
            profile.profile_picture,
            profile.location,
            profile.personal_description,
            profile.rsa_public_key
        ];
        let created = insert.execute(row)? > 0;
        drop(insert);
        if created {
            return Ok(true);
        }
        // The same hash means a repetition after a commit whose answer was lost: the same request
        // made the account.
        Ok(self.password_hash(&profile.user_name)?.as_ref() == Some(password_hash))
    }

    fn profile(&mut self, user: &UserName) -> Result<Option<Profile>, StoreError> {
        let mut find = self.db.prepare_cached(
            "SELECT email_address, nick_name, profile_picture, location, personal_description, rsa_public_key
             FROM accounts WHERE user_name = ?1 AND state < 2",
        )?;
        Ok(find.query_row([user.as_str()], |row| profile_of(user, row)).optional()?)
    }

    fn friends(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError> {
        let mut find = self.db.prepare_cached("SELECT friend_name FROM friendships WHERE user_name = ?1")?;
        let mut rows = find.query([user.as_str()])?;
        let mut friends = Vec::new();
        while let Some(row) = rows.next()? {
            let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            friends.push(UserName::new(name).map_err(corrupt_error)?);
        }
        Ok(friends)
    }

    fn pushes(
        &mut self,
        user: &UserName,
        after_seq: u64,
        count_max: u32,
        bytes_max: usize,
    ) -> Result<Vec<Push>, StoreError> {
        let mut find = self.db.prepare_cached(
            "SELECT seq, time_ms, kind, message_id, sender, content FROM pushes
             WHERE receiver = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )?;
        let mut rows = find.query(params![user.as_str(), to_i64(after_seq), count_max])?;
        let (mut pushes, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(row) = rows.next()?
        {
            let number =
                |at: usize| u64::try_from(row.get::<_, i64>(at)?).map_err(|_| corrupt_error("a negative number"));
            let text =
                |at: usize| row.get_ref(at)?.as_str().map_err(|error| StoreError::from(rusqlite::Error::from(error)));
            let (seq, time_ms, kind) = (number(0)?, number(1)?, row.get::<_, u8>(2)?);
            let push = Push::from_row(seq, time_ms, kind, text(3)?, text(4)?, user, text(5)?).map_err(corrupt_error)?;
            bytes += push.text_bytes();
            pushes.push(push);
        }
        Ok(pushes)
    }

    fn save_pushes(&mut self, pushes: &[Push]) -> Result<Vec<MailboxSaveResult>, StoreError> {
        pushes.iter().map(|push| self.insert(push)).collect()
    }

    fn find_pushes(&mut self, pushes: &[Push]) -> Result<Vec<Option<MailboxSaveResult>>, StoreError> {
        pushes.iter().map(|push| self.find(push)).collect()
    }

    fn waiting_pushes(
        &mut self,
        receivers: &[(&str, u64)],
        count_max: u32,
        note: &mut dyn FnMut(usize, u64, &str, u64),
    ) -> Result<(), StoreError> {
        let mut find = self.db.prepare_cached(WAITING)?;
        for (place, (receiver, after_seq)) in receivers.iter().enumerate() {
            let mut rows = find.query(params![receiver, to_i64(*after_seq), count_max])?;
            while let Some(row) = rows.next()? {
                let number =
                    |at: usize| u64::try_from(row.get::<_, i64>(at)?).map_err(|_| corrupt_error("a negative number"));
                let sender = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
                note(place, number(0)?, sender, number(2)?);
            }
        }
        Ok(())
    }

    fn sizes(&mut self, pushes: &[(UserName, u64)]) -> Result<Vec<Option<PushSenderAndSize>>, StoreError> {
        let mut find = self.db.prepare_cached(SIZE)?;
        let mut size = |receiver: &UserName, seq: u64| {
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
            let found = find.query_row(params![to_i64(seq), receiver.as_str()], row).optional()?;
            found
                .map(|(sender, bytes)| {
                    Ok((sender, u64::try_from(bytes).map_err(|_| corrupt_error("a negative size"))?))
                })
                .transpose()
        };
        pushes.iter().map(|(receiver, seq)| size(receiver, *seq)).collect()
    }

    fn delete_pushes(&mut self, pushes: &[(UserName, u64)]) -> Result<(), StoreError> {
        pushes.iter().try_for_each(|(receiver, seq)| self.delete(receiver.as_str(), to_i64(*seq)))
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

#[cfg(test)]
mod tests;
