//! The size of the pushes in a job.

use super::contract::{AdminStoreJob, Job};

impl Job {
    /// The bytes of push text in the job. The rest of a job is small, and bounded by the number of
    /// jobs.
    #[must_use]
    pub fn push_bytes(&self) -> usize {
        match self {
            Self::SavePush { push } | Self::AskFriend { push, .. } | Self::AnswerFriend { push, .. } => {
                push.weight_bytes()
            }
            Self::Admin { job, .. } => match &**job {
                AdminStoreJob::Notice { push } => push.weight_bytes(),
                _ => 0,
            },
            _ => 0,
        }
    }
}
