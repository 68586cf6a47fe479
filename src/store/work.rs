//! One batch of jobs: one transaction, groups of writes in one call, answers only after the commit; and what to do when the
//! store says no.

use super::password::VerifiedLogins;
use super::{SavedAs, Store, StoreError};
use crate::chat::contract::{Credentials, Job, Outcome, Page};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Opens one more connection to the store.
pub(super) type Opener = Box<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync>;

/// How often a batch is tried when somebody else holds what it needs, or when its outcome is not known.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// A data worker's connection and what it knows.
pub(super) struct Batch {
    /// `None` after a failure that leaves it in doubt; opened again for the next batch.
    store: Option<Box<dyn Store>>,
    opener: Arc<Opener>,
    verified: Arc<VerifiedLogins>,
    /// The last batch failed: said once.
    failing: bool,
}

impl Batch {
    pub(super) fn new(store: Box<dyn Store>, opener: Arc<Opener>, verified: Arc<VerifiedLogins>) -> Self {
        Self { store: Some(store), opener, verified, failing: false }
    }

    /// Does all jobs; one outcome for each, in their order.
    pub(super) fn run(&mut self, jobs: &[Job]) -> Vec<Outcome> {
        match self.try_run(jobs) {
            Ok(outcomes) => {
                if std::mem::take(&mut self.failing) {
                    log::info!("the store works again");
                }
                outcomes
            }
            // Something in it is refused by the store: half by half until only that fails, and nothing else with it.
            Err(StoreError::Refused(_)) if jobs.len() > 1 => {
                let (first, second) = jobs.split_at(jobs.len() / 2);
                let mut outcomes = self.run(first);
                outcomes.extend(self.run(second));
                outcomes
            }
            Err(StoreError::Refused(why)) => {
                log::error!("the store refused a job: {why}");
                vec![Outcome::Failed]
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    log::error!("the store does not work: {error}");
                }
                vec![Outcome::Failed; jobs.len()]
            }
        }
    }

    fn try_run(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, StoreError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            match self.attempt(jobs) {
                // Every write may be repeated, so a batch whose outcome is not known is simply done again.
                Err(StoreError::Busy(_) | StoreError::Unavailable(_)) => {
                    std::thread::sleep(pause);
                    pause *= 4;
                }
                result => return result,
            }
        }
        self.attempt(jobs)
    }

    fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, StoreError> {
        let mut store = match self.store.take() {
            Some(store) => store,
            None => (self.opener)()?,
        };
        let verified = &self.verified;
        // A driver that panics is dropped with its connection, and whatever it left half done with it.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = transact(store.as_mut(), jobs, verified);
            if result.is_err() {
                store.rollback();
            }
            result
        }));
        match result {
            Ok(Err(error @ StoreError::Unavailable(_))) => Err(error),
            Ok(result) => {
                self.store = Some(store);
                result
            }
            Err(_) => {
                // The panic itself was reported on stderr by the thread's hook.
                Err(StoreError::Corrupt("the store's driver panicked".into()))
            }
        }
    }
}

fn is_write(job: &Job) -> bool {
    !matches!(job, Job::Credentials { .. } | Job::Load { .. } | Job::LoadPage { .. } | Job::GetProfile { .. })
}

fn transact(store: &mut dyn Store, jobs: &[Job], verified: &VerifiedLogins) -> Result<Vec<Outcome>, StoreError> {
    let writes = jobs.iter().any(is_write);
    if writes {
        store.begin()?;
    }
    let mut outcomes = Vec::with_capacity(jobs.len());
    let mut rest = jobs;
    while let Some((job, after)) = rest.split_first() {
        rest = match job {
            Job::SavePush { .. } => save_all(store, rest, &mut outcomes)?,
            Job::DeletePush { .. } => delete_all(store, rest, &mut outcomes)?,
            job => {
                outcomes.push(single(store, job, verified)?);
                after
            }
        };
    }
    if writes {
        store.commit()?;
    }
    Ok(outcomes)
}

/// The savings at the front of `jobs`, in one call; gives the jobs behind them.
fn save_all<'a>(store: &mut dyn Store, jobs: &'a [Job], outcomes: &mut Vec<Outcome>) -> Result<&'a [Job], StoreError> {
    let saving = |job: &Job| match job {
        Job::SavePush { push } => Some(Arc::clone(push)),
        _ => None,
    };
    let pushes: Vec<Arc<Push>> = jobs.iter().map_while(saving).collect();
    let saved = store.save_pushes(&pushes)?;
    if saved.len() != pushes.len() {
        return Err(StoreError::Corrupt("the store answered for other pushes than it was given".into()));
    }
    outcomes.extend(saved.into_iter().map(|saved| match saved {
        SavedAs::Itself => Outcome::Saved,
        SavedAs::Duplicate => Outcome::Duplicate,
    }));
    Ok(&jobs[pushes.len()..])
}

/// The deletions at the front of `jobs`, in one call; gives the jobs behind them.
fn delete_all<'a>(
    store: &mut dyn Store,
    jobs: &'a [Job],
    outcomes: &mut Vec<Outcome>,
) -> Result<&'a [Job], StoreError> {
    let deleting = |job: &Job| match job {
        Job::DeletePush { receiver, seq } => Some((receiver.clone(), *seq)),
        _ => None,
    };
    let pushes: Vec<(UserName, u64)> = jobs.iter().map_while(deleting).collect();
    store.delete_pushes(&pushes)?;
    outcomes.extend(pushes.iter().map(|_| Outcome::Deleted));
    Ok(&jobs[pushes.len()..])
}

fn single(store: &mut dyn Store, job: &Job, verified: &VerifiedLogins) -> Result<Outcome, StoreError> {
    Ok(match job {
        Job::CreateAccount { profile, password_hash } => {
            if store.create_account(profile, password_hash)? {
                Outcome::Created
            } else {
                Outcome::NameTaken
            }
        }
        Job::Credentials { user, secret } => Outcome::Credentials(match store.password_hash(user)? {
            None => Credentials::NoSuchUser,
            Some(stored) if verified.knows(user, secret, &stored) => Credentials::Known,
            Some(stored) => Credentials::Check(stored),
        }),
        Job::Load { user, pushes_max } => {
            Outcome::Loaded { friends: store.friends(user)?, page: page(store, user, 0, *pushes_max)? }
        }
        Job::LoadPage { user, after_seq, pushes_max } => Outcome::Page(page(store, user, *after_seq, *pushes_max)?),
        Job::GetProfile { user } => Outcome::Profile(store.profile(user)?.map(Box::new)),
        Job::AskFriend { push } => Outcome::Asked(store.ask_friend(push)?),
        Job::AnswerFriend { push } => Outcome::Answered(store.answer_friend(push)?),
        Job::Unfriend { user, other } => {
            store.unfriend(user, other)?;
            Outcome::Unfriended
        }
        Job::SavePush { .. } | Job::DeletePush { .. } | Job::Hash { .. } | Job::Verify { .. } => {
            return Err(StoreError::Refused("a job of another lane".into()));
        }
    })
}

fn page(store: &mut dyn Store, user: &UserName, after_seq: u64, count_max: u32) -> Result<Page, StoreError> {
    // One more than asked for tells whether there are more.
    let mut pushes = store.pushes(user, after_seq, count_max.saturating_add(1))?;
    let more = pushes.len() > count_max as usize;
    pushes.truncate(count_max as usize);
    Ok(Page { pushes: pushes.into_iter().map(Arc::new).collect(), more })
}
