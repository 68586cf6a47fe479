//! One batch of jobs in one transaction. Each group of writes is one call.

use super::job_kinds::{accounts_to_lock, is_write};
use super::login_reads::{load, load_proven, page, prove};
use super::password::VerifiedPasswordCache;
use super::quota::MailboxUsageCache;
use super::token::ValidTokenExpiryRange;
use super::{StoreConnection, StoreError, account_job, admin, push_jobs, token};
use crate::chat::contract::{Job, JobOutcome, OwnAccountStoreJob, OwnAccountStoreJobOutcome};

/// How far a transaction came, whatever its outcome.
#[derive(Default)]
pub(super) struct TransactionProgress {
    /// It has begun.
    pub(super) has_begun: bool,
    /// The commit was requested: if it fails, the outcome is not known.
    pub(super) committing: bool,
}

/// Begins the transaction of a batch, and locks the users whose friendships it will change. Returns
/// whether it writes.
pub(super) fn begin(
    store: &mut dyn StoreConnection,
    jobs: &[Job],
    progress: &mut TransactionProgress,
) -> Result<bool, StoreError> {
    let writes = jobs.iter().any(is_write);
    if writes {
        store.begin()?;
    } else {
        store.begin_reads()?;
    }
    progress.has_begun = true;
    let people = accounts_to_lock(jobs);
    if !people.is_empty() {
        store.lock_users(&people)?;
    }
    Ok(writes)
}

pub(super) fn transact(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    jobs: &[Job],
    verified: &VerifiedPasswordCache,
    progress: &mut TransactionProgress,
) -> Result<Vec<JobOutcome>, StoreError> {
    let writes = begin(store, jobs, progress)?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    let mut rest = jobs;
    while let Some((job, after)) = rest.split_first() {
        rest = match job {
            Job::SavePush { .. } => push_jobs::save_all(store, mailbox_counts, rest, &mut outcomes)?,
            Job::DeletePush { .. } => push_jobs::delete_all(store, mailbox_counts, rest, &mut outcomes)?,
            job => {
                outcomes.push(run_job(store, mailbox_counts, job, verified)?);
                after
            }
        };
    }
    if writes {
        progress.committing = true;
        store.commit()?
    } else {
        store.end_reads()?
    }
    Ok(outcomes)
}

pub(super) fn run_job(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    job: &Job,
    verified: &VerifiedPasswordCache,
) -> Result<JobOutcome, StoreError> {
    Ok(match job {
        Job::CreateAccount { profile, password_hash } => {
            if store.create_account(profile, password_hash)? {
                JobOutcome::Created
            } else {
                JobOutcome::NameTaken
            }
        }
        Job::LogIn { user, credential, uses_cache, now_ms, latest_ms, pushes_max, bytes_max } => {
            let span = ValidTokenExpiryRange { now_ms: *now_ms, latest_ms: *latest_ms };
            match prove(store, user, (credential, *uses_cache), span, verified)? {
                JobOutcome::Proven => load(store, user, *pushes_max, *bytes_max)?,
                outcome => outcome,
            }
        }
        Job::Prove { user, credential, uses_cache, now_ms, latest_ms } => {
            let span = ValidTokenExpiryRange { now_ms: *now_ms, latest_ms: *latest_ms };
            prove(store, user, (credential, *uses_cache), span, verified)?
        }
        Job::Load { user, pushes_max: 0, bytes_max } => load(store, user, 0, *bytes_max)?,
        Job::Load { user, pushes_max, bytes_max } => load_proven(store, user, *pushes_max, *bytes_max)?,
        Job::LoadPage { user, after_seq, pushes_max, bytes_max } => {
            JobOutcome::Page(page(store, user, *after_seq, *pushes_max, *bytes_max)?)
        }
        Job::GetProfile { user, .. } => JobOutcome::Profile(store.profile(user)?.map(Box::new)),
        Job::AskFriend { push, pending_max } => {
            JobOutcome::Asked(push_jobs::ask_friend(store, mailbox_counts, push, *pending_max)?)
        }
        Job::AnswerFriend { push, friends_max } => {
            JobOutcome::Answered(push_jobs::answer_friend(store, mailbox_counts, push, *friends_max)?)
        }
        Job::MakeToken { user, now_ms, expires_ms, latest_ms, tokens_max } => {
            let Some(stored) = store.password_hash(user)? else {
                return Err(StoreError::Refused("a token for a user that does not exist".into()));
            };
            let token = token::new_token()?;
            let hash = token::hash(user, &token, &stored);
            let span = ValidTokenExpiryRange { now_ms: *now_ms, latest_ms: *latest_ms };
            token::save(store, user, &(hash, *expires_ms), span, *tokens_max)?;
            JobOutcome::Token(token)
        }
        Job::RevokeTokens { user } => store.tokens().remove_all(user).map(|_| JobOutcome::TokensRevoked)?,
        Job::Unfriend { user, other } => {
            push_jobs::unfriend(store, mailbox_counts, user, other)?;
            JobOutcome::Unfriended
        }
        Job::Account { user, job } => {
            let changes_password = matches!(**job, OwnAccountStoreJob::ChangePassword { .. });
            let outcome = account_job::run(store, mailbox_counts, user, job)?;
            if changes_password && outcome == OwnAccountStoreJobOutcome::Changed {
                // With the old one verified, the new password would count as different.
                verified.remove(user);
            }
            JobOutcome::Account(Box::new(outcome))
        }
        Job::Admin { user, job } => JobOutcome::Admin(Box::new(admin::run(store, mailbox_counts, user, job)?)),
        Job::Cluster { .. } => return Err(StoreError::Refused("this store has no cluster".into())),
        Job::SavePush { .. } | Job::DeletePush { .. } | Job::Hash { .. } | Job::Verify { .. } => {
            return Err(StoreError::Refused("a job of another lane".into()));
        }
    })
}
