//! The reads of a log-in: whether its credential is good, the user's friends, and a page of waiting
//! pushes.

use super::accounts::AccountAuthData;
use super::password::{PasswordCacheResult, VerifiedPasswordCache};
use super::token::{self, ValidTokenExpiryRange};
use super::{StoreConnection, StoreError};
use crate::chat::contract::{JobOutcome, PushPage};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use crate::protocol::request::Credential;

/// Checks a credential. `uses_cache`: a password may be compared with the remembered one.
pub(super) fn prove(
    store: &mut dyn StoreConnection,
    user: &UserName,
    (credential, uses_cache): (&Credential, bool),
    span: ValidTokenExpiryRange,
    verified: &VerifiedPasswordCache,
) -> Result<JobOutcome, StoreError> {
    let account = match store.accounts().account(user) {
        // The other jobs of the batch are not the cause, and only a new password helps.
        Err(StoreError::Corrupt(why)) => {
            verified.log_unreadable_hash(user, &why);
            return Ok(JobOutcome::Refused);
        }
        account => account?,
    };
    let unproven = |password_hash, differs_from_verified| JobOutcome::Unproven { password_hash, differs_from_verified };
    let Some(AccountAuthData { password_hash: stored, is_banned }) = account else { return Ok(unproven(None, false)) };
    // Only clients with a good credential learn of a ban.
    let proven = if is_banned { JobOutcome::Banned } else { JobOutcome::Proven };
    Ok(match credential {
        Credential::Password(_) if !uses_cache => unproven(Some(stored), false),
        Credential::Password(secret) => match verified.compare(user, secret, &stored) {
            PasswordCacheResult::Fits => proven,
            compared => unproven(Some(stored), compared == PasswordCacheResult::Differs),
        },
        Credential::Token(token) if !token::is_usable(store, user, &token::hash(user, token, &stored), span)? => {
            unproven(None, false)
        }
        Credential::Token(_) => proven,
    })
}

/// May a user whose credential is good log in? Since it was compared, the account may have been
/// banned or deleted.
pub(super) fn may_log_in(store: &mut dyn StoreConnection, user: &UserName) -> Result<JobOutcome, StoreError> {
    Ok(match store.accounts().account(user)? {
        None => JobOutcome::Unproven { password_hash: None, differs_from_verified: false },
        Some(account) if account.is_banned => JobOutcome::Banned,
        Some(_) => JobOutcome::Proven,
    })
}

/// Reads the friends and the first page for a log-in.
pub(super) fn load_proven(
    store: &mut dyn StoreConnection,
    user: &UserName,
    pushes_max: u32,
    bytes_max: usize,
) -> Result<JobOutcome, StoreError> {
    match may_log_in(store, user)? {
        JobOutcome::Proven => load(store, user, pushes_max, bytes_max),
        outcome => Ok(outcome),
    }
}

pub(super) fn load(
    store: &mut dyn StoreConnection,
    user: &UserName,
    pushes_max: u32,
    bytes_max: usize,
) -> Result<JobOutcome, StoreError> {
    let page = page(store, user, 0, pushes_max, bytes_max)?;
    Ok(JobOutcome::Loaded { friends: store.friends(user)?, page })
}

pub(super) fn page(
    store: &mut dyn StoreConnection,
    user: &UserName,
    after_seq: u64,
    count_max: u32,
    bytes_max: usize,
) -> Result<PushPage, StoreError> {
    // One more than asked for tells whether there are more.
    let pushes = store.pushes(user, after_seq, count_max.saturating_add(1), bytes_max)?;
    Ok(page_of(pushes, count_max, bytes_max))
}

/// Makes a page of the pushes that were read, which may be one more than allowed.
pub(super) fn page_of(mut pushes: Vec<Push>, count_max: u32, bytes_max: usize) -> PushPage {
    let bytes: usize = pushes.iter().map(Push::text_bytes).sum();
    let more = pushes.len() > count_max as usize || bytes >= bytes_max;
    pushes.truncate(count_max as usize);
    PushPage { pushes, has_more: more }
}
