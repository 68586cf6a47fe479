//! The table of accounts, and that of deletions.

use super::MysqlStore;
use super::values::{bytes, corrupt_error, name, number, text};
use crate::chat::contract::{ProfileChange, StoredPushWithoutText};
use crate::protocol::field::{Secret, UserName};
use crate::protocol::push::PushKind;
use crate::store::StoreError;
use crate::store::accounts::{AccountAuthData, AccountRepository, BANNED, DELETED, state_of};
use mysql::Value;

const THERE: &str = "SELECT user_name FROM accounts WHERE user_name IN (?, ?) AND state < 2";
const NAMES: &str = "SELECT user_name FROM accounts WHERE user_name > ? AND state < 2 ORDER BY user_name LIMIT ?";
const CHANGE_PROFILE: &str = "UPDATE accounts SET email_address = IFNULL(?, email_address), \
                              nick_name = IFNULL(?, nick_name), profile_picture = IFNULL(?, profile_picture), \
                              location = IFNULL(?, location), \
                              personal_description = IFNULL(?, personal_description), \
                              rsa_public_key = IFNULL(?, rsa_public_key) WHERE user_name = ? AND state < 2";
const EMPTY: &str = "UPDATE accounts SET state = 2, password_hash = '', email_address = '', nick_name = '', \
                     profile_picture = '', location = '', personal_description = '', rsa_public_key = '' \
                     WHERE user_name = ? AND state < 2";
const REQUESTS: &str = "(SELECT sender, receiver FROM friend_requests FORCE INDEX (by_sender) WHERE sender = ? LIMIT ?) \
                        UNION ALL (SELECT sender, receiver FROM friend_requests WHERE receiver = ? LIMIT ?)";
const WITH_ID: &str = "SELECT seq, message_id, sender, kind, time_ms FROM pushes FORCE INDEX (by_receiver) \
                       WHERE receiver = ? AND seq > ? ORDER BY seq LIMIT ?";

impl AccountRepository for MysqlStore {
    fn account(&mut self, user: &UserName) -> Result<Option<AccountAuthData>, StoreError> {
        let sql = "SELECT password_hash, state FROM accounts WHERE user_name = ?";
        let Some(row) = self.row(sql, vec![bytes(user.as_str())])? else {
            return Ok(None);
        };
        let state = number(&row, 1)?;
        let account =
            AccountAuthData { password_hash: Secret::new(text(&row, 0)?), is_banned: state == u64::from(BANNED) };
        Ok((state < u64::from(DELETED)).then_some(account))
    }

    fn accounts_exist(&mut self, one: &UserName, other: &UserName) -> Result<[bool; 2], StoreError> {
        let rows = self.rows(THERE, vec![bytes(one.as_str()), bytes(other.as_str())])?;
        let found: Vec<UserName> = rows.iter().map(|row| name(row, 0)).collect::<Result<_, _>>()?;
        Ok([found.contains(one), found.contains(other)])
    }

    fn set_banned(&mut self, user: &UserName, is_banned: bool) -> Result<(), StoreError> {
        let sql = "UPDATE accounts SET state = ? WHERE user_name = ? AND state < 2";
        self.change(sql, vec![Value::UInt(state_of(is_banned).into()), bytes(user.as_str())]).map(drop)
    }

    fn set_password(&mut self, user: &UserName, password_hash: &Secret) -> Result<(), StoreError> {
        let sql = "UPDATE accounts SET password_hash = ? WHERE user_name = ? AND state < 2";
        self.change(sql, vec![bytes(password_hash.expose()), bytes(user.as_str())]).map(drop)
    }

    fn change_profile(&mut self, user: &UserName, change: &ProfileChange) -> Result<(), StoreError> {
        let fields = [
            &change.email_address,
            &change.nick_name,
            &change.profile_picture,
            &change.location,
            &change.personal_description,
            &change.rsa_public_key,
        ];
        let values = fields.into_iter().map(|field| field.as_deref().map_or(Value::NULL, bytes));
        self.change(CHANGE_PROFILE, values.chain([bytes(user.as_str())]).collect()).map(drop)
    }

    fn names(&mut self, after: Option<&UserName>, rows_max: u32) -> Result<Vec<UserName>, StoreError> {
        let after = bytes(after.map_or("", UserName::as_str));
        let rows = self.rows(NAMES, vec![after, Value::UInt(rows_max.into())])?;
        rows.iter().map(|row| name(row, 0)).collect()
    }

    fn begin_deletion(&mut self, user: &UserName) -> Result<(), StoreError> {
        if self.change(EMPTY, vec![bytes(user.as_str())])? > 0 {
            let sql = "INSERT INTO deletions (user_name) VALUES (?) ON DUPLICATE KEY UPDATE user_name = user_name";
            self.change(sql, vec![bytes(user.as_str())])?;
        }
        Ok(())
    }

    fn end_deletion(&mut self, user: &UserName) -> Result<(), StoreError> {
        self.change("DELETE FROM deletions WHERE user_name = ?", vec![bytes(user.as_str())]).map(drop)
    }

    fn is_deleting(&mut self, user: &UserName) -> Result<bool, StoreError> {
        Ok(self.row("SELECT 1 FROM deletions WHERE user_name = ?", vec![bytes(user.as_str())])?.is_some())
    }

    fn deletions(&mut self, rows_max: u32) -> Result<Vec<UserName>, StoreError> {
        let sql = "SELECT user_name FROM deletions ORDER BY user_name LIMIT ?";
        let rows = self.rows(sql, vec![Value::UInt(rows_max.into())])?;
        rows.iter().map(|row| name(row, 0)).collect()
    }

    fn requests(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<(UserName, UserName)>, StoreError> {
        let (user, limit) = (bytes(user.as_str()), Value::UInt(rows_max.into()));
        let mut rows = self.rows(REQUESTS, vec![user.clone(), limit.clone(), user, limit])?;
        rows.truncate(rows_max as usize);
        rows.iter().map(|row| Ok((name(row, 0)?, name(row, 1)?))).collect()
    }

    fn pushes_with_id(
        &mut self,
        user: &UserName,
        id: &str,
        after_seq: u64,
        rows_max: u32,
    ) -> Result<(Vec<StoredPushWithoutText>, Option<u64>), StoreError> {
        let params = vec![bytes(user.as_str()), Value::UInt(after_seq), Value::UInt(rows_max.into())];
        let rows = self.rows(WITH_ID, params)?;
        let mut pushes = Vec::new();
        for row in &rows {
            if text(row, 1)? == id {
                let kind = u8::try_from(number(row, 3)?).ok().and_then(PushKind::from_code);
                let kind = kind.ok_or_else(|| corrupt_error("an unknown kind of push"))?;
                pushes.push(StoredPushWithoutText {
                    seq: number(row, 0)?,
                    sender: name(row, 2)?,
                    kind,
                    time_ms: number(row, 4)?,
                });
            }
        }
        let next = match rows.last() {
            Some(last) if rows.len() >= rows_max as usize => Some(number(last, 0)?),
            _ => None,
        };
        Ok((pushes, next))
    }
}
