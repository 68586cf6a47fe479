//! The work on pushes in the store, within the quotas: a worker counts a mailbox that it does not
//! know yet, saves the pushes for which there is room, and notes those that are gone.

use super::friendship::{self, RemovedFriendRequest};
use super::quota::{MailboxQuotaCheckResult, MailboxUsageCache};
use super::{MailboxSaveResult, StoreConnection, StoreError};
use crate::chat::contract::{FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome, MailboxQuotaKind};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;

/// The number of rows of each mailbox that one query for many mailboxes reads: nearly all mailboxes
/// have no more.
const FIRST_ROWS: u32 = 64;
/// The number of rows that each further query for one mailbox reads.
const NEXT_ROWS: u32 = 5_000;

/// Does the saves at the front of `jobs`; gives the jobs after them.
pub(super) fn save_all<'a>(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    jobs: &'a [Job],
    outcomes: &mut Vec<JobOutcome>,
) -> Result<&'a [Job], StoreError> {
    let saving = |job: &Job| match job {
        Job::SavePush { push } => Some(push.clone()),
        _ => None,
    };
    let pushes: Vec<Push> = jobs.iter().map_while(saving).collect();
    let behind = &jobs[pushes.len()..];
    // Every push gets its answer in some round.
    let mut kept = vec![Err(MailboxQuotaKind::Receiver); pushes.len()];
    let mut open: Vec<usize> = (0..pushes.len()).collect();
    while !open.is_empty() {
        open = save_round(store, mailbox_counts, &pushes, &open, &mut kept)?;
    }
    outcomes.extend(kept.into_iter().map(|kept| match kept {
        Ok(MailboxSaveResult::Itself | MailboxSaveResult::Before) => JobOutcome::Saved,
        Ok(MailboxSaveResult::Duplicate) => JobOutcome::Duplicate,
        Err(quota) => JobOutcome::Full(quota),
    }));
    Ok(behind)
}

/// Saves a message of a cluster that has the id of a stored one and is no repetition of it. The
/// stored one may have been acked on another node, which has not deleted it yet: the new one must
/// not depend on it. From then on the id is that of the new one. The outcome is `Duplicate` if it
/// is a repetition.
pub(super) fn save_beside(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    push: &Push,
) -> Result<JobOutcome, StoreError> {
    let Some(nodes) = store.nodes() else { return Ok(JobOutcome::Duplicate) };
    let Some(older) = nodes.find_other_message(push)? else { return Ok(JobOutcome::Duplicate) };
    if let Some(quota) = mailbox_counts.exceeded_quota(push) {
        return Ok(JobOutcome::Full(quota));
    }
    nodes.free_message_id(older)?;
    if store.save_pushes(std::slice::from_ref(push))? != [MailboxSaveResult::Itself] {
        return Err(StoreError::Corrupt("a message whose id was freed was not saved".into()));
    }
    mailbox_counts.note_saved(push);
    Ok(JobOutcome::Saved)
}

/// Saves the pushes for which there is room; gives those that must be checked again, because they
/// depend on the results of this round.
fn save_round(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    pushes: &[Push],
    open: &[usize],
    kept: &mut [Result<MailboxSaveResult, MailboxQuotaKind>],
) -> Result<Vec<usize>, StoreError> {
    let (mut room, mut full, mut later) = (Vec::with_capacity(open.len()), Vec::new(), Vec::new());
    let mut uncounted = Vec::new();
    mailbox_counts.next_round();
    let mut sort = |mailbox_counts: &mut MailboxUsageCache, places: &[usize], counted: bool| {
        for &at in places {
            match mailbox_counts.admit(&pushes[at], counted) {
                MailboxQuotaCheckResult::Room => room.push(at),
                MailboxQuotaCheckResult::Full(quota) => full.push((at, quota)),
                MailboxQuotaCheckResult::Later => later.push(at),
                MailboxQuotaCheckResult::Uncounted => uncounted.push(at),
            }
        }
        std::mem::take(&mut uncounted)
    };
    let unknown = sort(mailbox_counts, open, false);
    if !unknown.is_empty() {
        count(store, mailbox_counts, unknown.iter().map(|&at| pushes[at].receiver()))?;
        sort(mailbox_counts, &unknown, true);
        room.sort_unstable();
        later.sort_unstable();
    }
    let chosen = |places: &[usize]| -> Vec<Push> { places.iter().map(|&at| pushes[at].clone()).collect() };
    let all = room.len() == pushes.len();
    let saved = if all { store.save_pushes(pushes)? } else { store.save_pushes(&chosen(&room))? };
    if saved.len() != room.len() {
        return Err(StoreError::Corrupt("the store answered for other pushes than it was given".into()));
    }
    for (&at, saved) in room.iter().zip(saved) {
        if saved != MailboxSaveResult::Itself {
            mailbox_counts.note_not_saved(&pushes[at]);
        }
        if saved == MailboxSaveResult::Before {
            // Only a save with an unknown outcome is repeated, so its first try may have been
            // counted or not.
            mailbox_counts.recount_later(pushes[at].receiver());
        }
        kept[at] = Ok(saved);
    }
    if !full.is_empty() {
        let places: Vec<usize> = full.iter().map(|(at, _)| *at).collect();
        for ((at, quota), found) in full.into_iter().zip(store.find_pushes(&chosen(&places))?) {
            kept[at] = found.ok_or(quota);
        }
    }
    Ok(later)
}

/// Does the deletions at the front of `jobs`; gives the jobs after them.
pub(super) fn delete_all<'a>(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    jobs: &'a [Job],
    outcomes: &mut Vec<JobOutcome>,
) -> Result<&'a [Job], StoreError> {
    let deleting = |job: &Job| match job {
        Job::DeletePush { receiver, seq } => Some((receiver.clone(), *seq)),
        _ => None,
    };
    let pushes: Vec<(UserName, u64)> = jobs.iter().map_while(deleting).collect();
    let mut known: Vec<_> =
        pushes.iter().filter(|(receiver, _)| mailbox_counts.is_known(receiver.as_str())).cloned().collect();
    known.sort_unstable_by(|(one, seq), (other, next)| seq.cmp(next).then_with(|| one.cmp(other)));
    known.dedup();
    if !known.is_empty() {
        let sizes = store.sizes(&known)?;
        for ((receiver, seq), size) in known.iter().zip(sizes) {
            if let Some((sender, text_bytes)) = size {
                mailbox_counts.note_deleted(receiver, *seq, sender, text_bytes);
            }
        }
    }
    store.delete_pushes(&pushes)?;
    outcomes.extend(pushes.iter().map(|_| JobOutcome::Deleted));
    Ok(&jobs[pushes.len()..])
}

pub(super) fn ask_friend(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    push: &Push,
    pending_max: u32,
) -> Result<FriendRequestOutcome, StoreError> {
    count(store, mailbox_counts, [push.receiver()])?;
    let (asked, is_new) = friendship::ask(store, push, pending_max, mailbox_counts.exceeded_quota(push))?;
    if is_new {
        mailbox_counts.note_saved(push);
    }
    Ok(asked)
}

pub(super) fn answer_friend(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    push: &Push,
    friends_max: u32,
) -> Result<FriendAnswerOutcome, StoreError> {
    count(store, mailbox_counts, [push.receiver()])?;
    let reply = friendship::answer(store, push, friends_max, mailbox_counts.exceeded_quota(push))?;
    if reply.is_new {
        mailbox_counts.note_saved(push);
    }
    if let Some(crossed) = reply.crossed_request {
        note_withdrawn_request(mailbox_counts, crossed);
    }
    Ok(reply.outcome)
}

/// Ends a friendship. If this deletes the push of a pending request of `user`, the counts are
/// updated.
pub(super) fn unfriend(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    user: &UserName,
    other: &UserName,
) -> Result<(), StoreError> {
    let is_counted = mailbox_counts.is_known(other.as_str());
    if let Some(withdrawn) = friendship::end_friendship(store, user, other, is_counted)? {
        note_withdrawn_request(mailbox_counts, withdrawn);
    }
    Ok(())
}

/// Removes the hidden request of `sender` with its push, and updates the counts. The result is the
/// `seq` of the push.
pub(super) fn remove_hidden_request(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    receiver: &UserName,
    sender: &UserName,
) -> Result<Option<u64>, StoreError> {
    let is_counted = mailbox_counts.is_known(receiver.as_str());
    let Some(removed) = friendship::remove_hidden_request(store, receiver, sender, is_counted)? else {
        return Ok(None);
    };
    let seq = removed.seq;
    note_withdrawn_request(mailbox_counts, removed);
    Ok(Some(seq))
}

fn note_withdrawn_request(mailbox_counts: &mut MailboxUsageCache, withdrawn: RemovedFriendRequest) {
    if let Some((sender, text_bytes)) = withdrawn.push {
        mailbox_counts.note_deleted(&withdrawn.receiver, withdrawn.seq, sender, text_bytes);
    }
}

/// Counts those mailboxes of these receivers whose usage is not known well enough, as far as one
/// transaction may.
fn count<'a>(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    receivers: impl IntoIterator<Item = &'a str>,
) -> Result<(), StoreError> {
    let mut wanted: Vec<(&str, u64)> = receivers
        .into_iter()
        .filter_map(|receiver| Some((receiver, mailbox_counts.uncounted_after(receiver)?)))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    wanted.sort_unstable();
    wanted.dedup();
    wanted.iter().for_each(|(receiver, _)| mailbox_counts.counts(receiver));
    // The first query reads all of them; a mailbox with more rows is then counted alone.
    let mut first = true;
    while !wanted.is_empty() && mailbox_counts.rows_left() > 0 {
        let rest = wanted.split_off(if first { wanted.len() } else { 1 });
        let fair = mailbox_counts.rows_left() / u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        let rows_max = fair.clamp(1, if first { FIRST_ROWS } else { NEXT_ROWS });
        let (mut rows, mut more) = (vec![0; wanted.len()], Vec::new());
        store.waiting_pushes(&wanted, rows_max, &mut |place, seq, sender, text_bytes| {
            if let (Some((receiver, _)), Some(rows)) = (wanted.get(place), rows.get_mut(place)) {
                *rows += 1;
                mailbox_counts.count(receiver, seq, sender, text_bytes);
            }
        })?;
        for ((receiver, _), rows) in wanted.iter().zip(rows) {
            if rows < rows_max {
                mailbox_counts.counted_all(receiver);
            } else if let Some(after_seq) = mailbox_counts.uncounted_after(receiver) {
                more.push((*receiver, after_seq));
            }
        }
        more.extend(rest);
        (wanted, first) = (more, false);
    }
    Ok(())
}
