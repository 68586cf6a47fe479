//! Properties of the jobs in a batch: whether they write, which accounts they lock, and the numbers
//! of their pushes.

use crate::chat::contract::{AdminStoreJob, Job};

pub(super) fn is_write(job: &Job) -> bool {
    match job {
        Job::LogIn { .. } | Job::Prove { .. } | Job::Load { .. } | Job::LoadPage { .. } | Job::GetProfile { .. } => {
            false
        }
        Job::Account { job, .. } => !job.is_read_only(),
        Job::Admin { job, .. } => !job.is_read_only(),
        Job::Cluster { job, .. } => !job.is_read_only(),
        _ => true,
    }
}

/// The users whose accounts must be locked, in ascending order: those in jobs about friendships and
/// blocks, and those in jobs that write into accounts beside such jobs.
pub(super) fn accounts_to_lock(jobs: &[Job]) -> Vec<&str> {
    let mut people = Vec::new();
    for job in jobs {
        match job {
            Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => {
                people.extend([push.sender(), push.receiver()])
            }
            Job::Unfriend { user, other } => people.extend([user.as_str(), other.as_str()]),
            Job::Account { user, job } => {
                people.extend(job.other().into_iter().flat_map(|other| [user.as_str(), other.as_str()]));
            }
            // It also deletes the blocks of others.
            Job::Admin { user, job } if matches!(**job, AdminStoreJob::Delete { .. }) => people.push(user.as_str()),
            _ => {}
        }
    }
    if !people.is_empty() {
        people.extend(jobs.iter().filter_map(|job| match job {
            Job::CreateAccount { profile, .. } => Some(profile.user_name.as_str()),
            Job::Account { user, job } if !job.is_read_only() => Some(user.as_str()),
            Job::Admin { user, job } if !job.is_read_only() => Some(user.as_str()),
            _ => None,
        }));
    }
    people.sort_unstable();
    people.dedup();
    people
}

/// The `seq` of the push that a job writes, if it writes one.
pub(super) fn push_seq(job: &Job) -> Option<u64> {
    match job {
        Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => Some(push.seq),
        Job::Admin { job, .. } => match &**job {
            AdminStoreJob::Notice { push } => Some(push.seq),
            _ => None,
        },
        _ => None,
    }
}
