//! The jobs for the operator: the checks, and the changes that belong together, for every store.

use super::quota::MailboxUsageCache;
use super::{StoreConnection, StoreError, push_jobs};
use crate::chat::contract::{AdminStoreJob, AdminStoreJobOutcome, Job, JobOutcome};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;

/// Does one job about a user.
pub(super) fn run(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    user: &UserName,
    job: &AdminStoreJob,
) -> Result<AdminStoreJobOutcome, StoreError> {
    Ok(match job {
        AdminStoreJob::Look { rows_max } => look_up_user(store, user, *rows_max)?,
        AdminStoreJob::FindPushes { id, after_seq, rows_max } => {
            let (pushes, next) = store.accounts().pushes_with_id(user, id, *after_seq, *rows_max)?;
            AdminStoreJobOutcome::Found { pushes, next }
        }
        AdminStoreJob::Notice { push } => keep_notice(store, mailbox_counts, user, push)?,
        AdminStoreJob::SetBanned { is_banned } => {
            change(store, user, |store| store.accounts().set_banned(user, *is_banned))?
        }
        AdminStoreJob::SetPassword { password_hash } => {
            change(store, user, |store| store.accounts().set_password(user, password_hash))?
        }
        AdminStoreJob::Delete { rows_max } => delete(store, mailbox_counts, user, *rows_max)?,
        AdminStoreJob::Accounts { after, rows_max } => {
            let mut names = store.accounts().names(after.as_ref(), rows_max.saturating_add(1))?;
            let more = names.len() > *rows_max as usize;
            names.truncate(*rows_max as usize);
            AdminStoreJobOutcome::Accounts { names, has_more: more }
        }
    })
}

fn look_up_user(
    store: &mut dyn StoreConnection,
    user: &UserName,
    rows_max: u32,
) -> Result<AdminStoreJobOutcome, StoreError> {
    let Some(account) = store.accounts().account(user)? else {
        return Ok(AdminStoreJobOutcome::NoSuchUser);
    };
    let mut seqs = Vec::new();
    store.waiting_pushes(&[(user.as_str(), 0)], rows_max.saturating_add(1), &mut |_, seq, _, _| seqs.push(seq))?;
    let more = seqs.len() > rows_max as usize;
    seqs.truncate(rows_max as usize);
    Ok(AdminStoreJobOutcome::Account { is_banned: account.is_banned, seqs, has_more: more })
}

fn keep_notice(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    user: &UserName,
    push: &Push,
) -> Result<AdminStoreJobOutcome, StoreError> {
    if store.accounts().account(user)?.is_none() {
        return Ok(AdminStoreJobOutcome::NoSuchUser);
    }
    let mut outcomes = Vec::new();
    push_jobs::save_all(store, mailbox_counts, &[Job::SavePush { push: push.clone() }], &mut outcomes)?;
    Ok(match outcomes.as_slice() {
        [JobOutcome::Full(quota)] => AdminStoreJobOutcome::Full(*quota),
        _ => AdminStoreJobOutcome::Done,
    })
}

/// Changes an account, and deletes all of its tokens.
fn change(
    store: &mut dyn StoreConnection,
    user: &UserName,
    change: impl FnOnce(&mut dyn StoreConnection) -> Result<(), StoreError>,
) -> Result<AdminStoreJobOutcome, StoreError> {
    if store.accounts().account(user)?.is_none() {
        return Ok(AdminStoreJobOutcome::NoSuchUser);
    }
    change(store)?;
    store.tokens().remove_all(user)?;
    Ok(AdminStoreJobOutcome::Done)
}

/// One step of a deletion. Friendships and requests also concern users in other lanes: this step
/// only names the pairs. The first step is never the last one. So if it is repeated because its
/// answer was lost, the account is not taken for one that never existed.
fn delete(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    user: &UserName,
    rows_max: u32,
) -> Result<AdminStoreJobOutcome, StoreError> {
    let begins = store.accounts().account(user)?.is_some();
    if begins {
        store.accounts().begin_deletion(user)?;
        store.tokens().remove_all(user)?;
        return Ok(AdminStoreJobOutcome::Deleting { pairs: pairs(store, user, rows_max)? });
    }
    if !store.accounts().is_deleting(user)? {
        return Ok(AdminStoreJobOutcome::NoSuchUser);
    }
    let pairs = pairs(store, user, rows_max)?;
    if !pairs.is_empty() || store.blocks().remove_blocks(user, rows_max)? > 0 {
        return Ok(AdminStoreJobOutcome::Deleting { pairs });
    }
    let mut pushes = Vec::new();
    store.waiting_pushes(&[(user.as_str(), 0)], rows_max, &mut |_, seq, sender, text_bytes| {
        pushes.push((seq, Box::<str>::from(sender), text_bytes));
    })?;
    let keys: Vec<(UserName, u64)> = pushes.iter().map(|(seq, ..)| (user.clone(), *seq)).collect();
    if !keys.is_empty() {
        let is_counted = mailbox_counts.is_known(user.as_str());
        for (seq, sender, text_bytes) in pushes.into_iter().filter(|_| is_counted) {
            mailbox_counts.note_deleted(user, seq, sender, text_bytes);
        }
        store.delete_pushes(&keys)?;
        return Ok(AdminStoreJobOutcome::Deleting { pairs });
    }
    store.accounts().end_deletion(user)?;
    Ok(AdminStoreJobOutcome::Done)
}

/// Some of the pairs with this user that are friends, or of which the first has asked the second.
fn pairs(
    store: &mut dyn StoreConnection,
    user: &UserName,
    rows_max: u32,
) -> Result<Vec<(UserName, UserName)>, StoreError> {
    let mut pairs: Vec<(UserName, UserName)> = store.accounts().requests(user, rows_max)?;
    let room = (rows_max as usize).saturating_sub(pairs.len());
    let friends = store.friends(user)?;
    pairs.extend(friends.into_iter().take(room).map(|friend| (user.clone(), friend)));
    Ok(pairs)
}
