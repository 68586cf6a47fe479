//! The table of accounts, and that of deletions.

use super::{SqliteStore, corrupt_error, to_i64};
use crate::chat::contract::{ProfileChange, StoredPushWithoutText};
use crate::protocol::field::{Secret, UserName};
use crate::protocol::push::PushKind;
use crate::store::StoreError;
use crate::store::accounts::{AccountAuthData, AccountRepository, BANNED, DELETED, state_of};
use rusqlite::{OptionalExtension, Row, params};

pub(super) fn name(row: &Row<'_>, at: usize) -> Result<UserName, StoreError> {
    UserName::new(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?).map_err(corrupt_error)
}

impl SqliteStore {
    pub(super) fn query_names(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<UserName>, StoreError> {
        let mut find = self.db.prepare_cached(sql)?;
        let (mut rows, mut names) = (find.query(params)?, Vec::new());
        while let Some(row) = rows.next()? {
            names.push(name(row, 0)?);
        }
        Ok(names)
    }
}

impl AccountRepository for SqliteStore {
    fn account(&mut self, user: &UserName) -> Result<Option<AccountAuthData>, StoreError> {
        let mut find = self.db.prepare_cached("SELECT password_hash, state FROM accounts WHERE user_name = ?1")?;
        let found =
            find.query_row([user.as_str()], |row| Ok((Secret::new(row.get_ref(0)?.as_str()?), row.get::<_, u8>(1)?)));
        let account = found.optional()?.filter(|&(_, state)| state < DELETED);
        Ok(account.map(|(password_hash, state)| AccountAuthData { password_hash, is_banned: state == BANNED }))
    }

    fn accounts_exist(&mut self, one: &UserName, other: &UserName) -> Result<[bool; 2], StoreError> {
        let mut find = self.db.prepare_cached("SELECT 1 FROM accounts WHERE user_name = ?1 AND state < 2")?;
        Ok([find.exists([one.as_str()])?, find.exists([other.as_str()])?])
    }

    fn set_banned(&mut self, user: &UserName, is_banned: bool) -> Result<(), StoreError> {
        let mut set = self.db.prepare_cached("UPDATE accounts SET state = ?2 WHERE user_name = ?1 AND state < 2")?;
        set.execute(params![user.as_str(), state_of(is_banned)])?;
        Ok(())
    }

    fn set_password(&mut self, user: &UserName, password_hash: &Secret) -> Result<(), StoreError> {
        let mut set =
            self.db.prepare_cached("UPDATE accounts SET password_hash = ?2 WHERE user_name = ?1 AND state < 2")?;
        set.execute(params![user.as_str(), password_hash.expose()])?;
        Ok(())
    }

    fn change_profile(&mut self, user: &UserName, change: &ProfileChange) -> Result<(), StoreError> {
        let mut set = self.db.prepare_cached(
            "UPDATE accounts SET email_address = ifnull(?2, email_address), nick_name = ifnull(?3, nick_name),
                profile_picture = ifnull(?4, profile_picture), location = ifnull(?5, location),
                personal_description = ifnull(?6, personal_description), rsa_public_key = ifnull(?7, rsa_public_key)
             WHERE user_name = ?1 AND state < 2",
        )?;
        set.execute(params![
            user.as_str(),
            change.email_address,
            change.nick_name,
            change.profile_picture,
            change.location,
            change.personal_description,
            change.rsa_public_key
        ])?;
        Ok(())
    }

    fn names(&mut self, after: Option<&UserName>, rows_max: u32) -> Result<Vec<UserName>, StoreError> {
        let after = after.map_or("", UserName::as_str);
        self.query_names(
            "SELECT user_name FROM accounts WHERE user_name > ?1 AND state < 2 ORDER BY user_name LIMIT ?2",
            params![after, rows_max],
        )
    }

    fn begin_deletion(&mut self, user: &UserName) -> Result<(), StoreError> {
        let mut empty = self.db.prepare_cached(
            "UPDATE accounts SET state = 2, password_hash = '', email_address = '', nick_name = '', profile_picture = '',
                location = '', personal_description = '', rsa_public_key = '' WHERE user_name = ?1 AND state < 2",
        )?;
        if empty.execute([user.as_str()])? > 0 {
            let mut begin =
                self.db.prepare_cached("INSERT INTO deletions (user_name) VALUES (?1) ON CONFLICT DO NOTHING")?;
            begin.execute([user.as_str()])?;
        }
        Ok(())
    }

    fn end_deletion(&mut self, user: &UserName) -> Result<(), StoreError> {
        self.db.prepare_cached("DELETE FROM deletions WHERE user_name = ?1")?.execute([user.as_str()])?;
        Ok(())
    }

    fn is_deleting(&mut self, user: &UserName) -> Result<bool, StoreError> {
        Ok(self.db.prepare_cached("SELECT 1 FROM deletions WHERE user_name = ?1")?.exists([user.as_str()])?)
    }

    fn deletions(&mut self, rows_max: u32) -> Result<Vec<UserName>, StoreError> {
        self.query_names("SELECT user_name FROM deletions ORDER BY user_name LIMIT ?1", [rows_max])
    }

    fn requests(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<(UserName, UserName)>, StoreError> {
        let mut find = self.db.prepare_cached(
            "SELECT sender, receiver FROM friend_requests WHERE sender = ?1
             UNION ALL SELECT sender, receiver FROM friend_requests WHERE receiver = ?1 LIMIT ?2",
        )?;
        let (mut rows, mut pairs) = (find.query(params![user.as_str(), rows_max])?, Vec::new());
        while let Some(row) = rows.next()? {
            pairs.push((name(row, 0)?, name(row, 1)?));
        }
        Ok(pairs)
    }

    fn pushes_with_id(
        &mut self,
        user: &UserName,
        id: &str,
        after_seq: u64,
        rows_max: u32,
    ) -> Result<(Vec<StoredPushWithoutText>, Option<u64>), StoreError> {
        let mut find = self.db.prepare_cached(
            "SELECT seq, message_id = ?2, sender, kind, time_ms FROM pushes
             WHERE receiver = ?1 AND seq > ?3 ORDER BY seq LIMIT ?4",
        )?;
        let mut rows = find.query(params![user.as_str(), id, to_i64(after_seq), rows_max])?;
        let (mut pushes, mut count, mut last_seq) = (Vec::new(), 0, None);
        while let Some(row) = rows.next()? {
            let number =
                |at: usize| u64::try_from(row.get::<_, i64>(at)?).map_err(|_| corrupt_error("a negative number"));
            let seq = number(0)?;
            (count, last_seq) = (count + 1, Some(seq));
            if row.get(1)? {
                let kind = PushKind::from_code(row.get(3)?).ok_or_else(|| corrupt_error("an unknown kind of push"))?;
                pushes.push(StoredPushWithoutText { seq, sender: name(row, 2)?, kind, time_ms: number(4)? });
            }
        }
        Ok((pushes, last_seq.filter(|_| count >= rows_max)))
    }
}
