//! The jobs of users about their own accounts: the checks, and the changes that belong together,
//! for every store.

use super::quota::MailboxUsageCache;
use super::{StoreConnection, StoreError, push_jobs};
use crate::chat::contract::{OwnAccountStoreJob, OwnAccountStoreJobOutcome, RosterReply, RosterReplyFriendRequest};
use crate::protocol::field::{Secret, UserName};

/// Does one job of a user.
pub(super) fn run(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    user: &UserName,
    job: &OwnAccountStoreJob,
) -> Result<OwnAccountStoreJobOutcome, StoreError> {
    Ok(match job {
        OwnAccountStoreJob::Roster { after, rows_max, bytes_max } => {
            OwnAccountStoreJobOutcome::Roster(roster(store, user, after.as_ref(), *rows_max, *bytes_max)?)
        }
        OwnAccountStoreJob::ChangeProfile(_) if store.accounts().account(user)?.is_none() => {
            OwnAccountStoreJobOutcome::NoSuchUser
        }
        OwnAccountStoreJob::ChangeProfile(change) => {
            store.accounts().change_profile(user, change)?;
            OwnAccountStoreJobOutcome::Changed
        }
        OwnAccountStoreJob::ChangePassword { old_hash, new_hash } => {
            change_password(store, user, old_hash.as_ref(), new_hash)?
        }
        OwnAccountStoreJob::Block { other, blocked_max } => block(store, mailbox_counts, user, other, *blocked_max)?,
        OwnAccountStoreJob::Unblock { other } => unblock(store, mailbox_counts, user, other)?,
        OwnAccountStoreJob::Blocked => {
            OwnAccountStoreJobOutcome::Blocked { names: store.blocks().of_user(user)?, hidden_push: None }
        }
    })
}

fn roster(
    store: &mut dyn StoreConnection,
    user: &UserName,
    after: Option<&UserName>,
    rows_max: u32,
    bytes_max: usize,
) -> Result<RosterReply, StoreError> {
    // One more than asked for tells whether there are more.
    let mut friends = store.rosters().friends_after(user, after, rows_max.saturating_add(1))?;
    let more = friends.len() > rows_max as usize;
    friends.truncate(rows_max as usize);
    if after.is_some() {
        return Ok(RosterReply { friends, has_more: more, ..RosterReply::default() });
    }
    let incoming = limit_to_bytes(store.rosters().incoming(user, rows_max)?, bytes_max);
    let outgoing = limit_to_bytes(store.rosters().outgoing(user, rows_max)?, bytes_max);
    Ok(RosterReply { friends, has_more: more, incoming, outgoing })
}

/// Keeps the requests up to the one with which the texts exceed `bytes_max`.
fn limit_to_bytes(mut requests: Vec<RosterReplyFriendRequest>, bytes_max: usize) -> Vec<RosterReplyFriendRequest> {
    let mut bytes = 0;
    let fit = requests.iter().take_while(|request| {
        let begun_below = bytes < bytes_max;
        bytes += request.content.len();
        begun_below
    });
    let count = fit.count();
    requests.truncate(count);
    requests
}

/// Changes the password and deletes all tokens, if the stored hash is still that of the old
/// password.
fn change_password(
    store: &mut dyn StoreConnection,
    user: &UserName,
    old_hash: Option<&Secret>,
    new_hash: &Secret,
) -> Result<OwnAccountStoreJobOutcome, StoreError> {
    let Some(account) = store.accounts().account(user)? else {
        return Ok(OwnAccountStoreJobOutcome::NoSuchUser);
    };
    // The same hash, salt and all: the same job once more.
    if account.password_hash == *new_hash {
        return Ok(OwnAccountStoreJobOutcome::Changed);
    }
    if old_hash.is_some_and(|old| *old != account.password_hash) {
        return Ok(OwnAccountStoreJobOutcome::Stale);
    }
    store.accounts().set_password(user, new_hash)?;
    store.tokens().remove_all(user)?;
    Ok(OwnAccountStoreJobOutcome::Changed)
}

/// Blocks a user. Their friendship ends, the request of the blocking user is removed, and that of
/// the blocked user is hidden. The push of the hidden request is left to the lane that counts the
/// user's mailbox.
fn block(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    user: &UserName,
    other: &UserName,
    blocked_max: u32,
) -> Result<OwnAccountStoreJobOutcome, StoreError> {
    // Either account may have been deleted since, and no row about it may be written any more.
    if store.accounts().accounts_exist(user, other)? != [true, true] {
        return Ok(OwnAccountStoreJobOutcome::NoSuchUser);
    }
    let mut names = store.blocks().of_user(user)?;
    if let Err(place) = names.binary_search(other) {
        if names.len() >= blocked_max as usize {
            return Ok(OwnAccountStoreJobOutcome::TooMany);
        }
        names.insert(place, other.clone());
        store.blocks().add(user, other)?;
    }
    push_jobs::unfriend(store, mailbox_counts, user, other)?;
    let request = store.friendships().request(user, other)?;
    if request.as_ref().is_some_and(|request| !request.is_hidden) {
        store.friendships().hide_request(user, other)?;
    }
    Ok(OwnAccountStoreJobOutcome::Blocked { names, hidden_push: request.map(|request| request.seq) })
}

/// Unblocks a user. Their hidden request is removed with its push, which is still stored if the
/// answers to all blocks were lost.
fn unblock(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    user: &UserName,
    other: &UserName,
) -> Result<OwnAccountStoreJobOutcome, StoreError> {
    store.blocks().remove(user, other)?;
    let hidden_push = push_jobs::remove_hidden_request(store, mailbox_counts, user, other)?;
    Ok(OwnAccountStoreJobOutcome::Blocked { names: store.blocks().of_user(user)?, hidden_push })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_shown_up_to_the_one_that_goes_beyond_the_bytes() {
        let request = |bytes: usize| RosterReplyFriendRequest {
            user_name: UserName::new("ann").unwrap(),
            message_id: "r".into(),
            content: "x".repeat(bytes).into(),
            time_ms: 1,
        };
        let all: Vec<RosterReplyFriendRequest> = [3, 0, 4, 100, 1].map(request).into();
        for (bytes_max, count) in [(0, 0), (1, 1), (3, 1), (4, 3), (7, 3), (8, 4), (107, 4), (108, 5), (usize::MAX, 5)]
        {
            assert_eq!(limit_to_bytes(all.clone(), bytes_max).len(), count, "{bytes_max}");
        }
    }
}
