//! The jobs that were submitted and are not answered yet.

use super::contract::{CoreSettings, JobTicket};
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::job_tables::JobTicketTable;

/// Bytes of a job in flight beside the pushes in it: the job, its entry in the table, one or two
/// names.
const JOB_BYTES: usize = 512;

/// A job in flight.
#[derive(Debug)]
pub(super) struct JobInFlight {
    pub(super) purpose: JobPurpose,
    /// The size of its push in bytes.
    pub(super) bytes: usize,
    /// The user in whose load it counts, and how much.
    pub(super) charged_load: Option<(UserSlot, u32)>,
}

/// All jobs in flight, and the total size of the pushes in them.
#[derive(Debug, Default)]
pub(super) struct JobsInFlight {
    jobs: JobTicketTable<JobInFlight>,
    bytes: usize,
}

impl JobsInFlight {
    /// Is there room for one more job, with a push of this size? A push always has room if it is
    /// the only one.
    pub(super) fn has_room(&self, push_bytes: usize, rules: &CoreSettings) -> bool {
        let is_too_large = push_bytes > 0 && self.bytes > 0 && self.bytes + push_bytes > rules.jobs_bytes_max;
        !is_too_large && self.jobs.len() < rules.jobs_max
    }

    /// Is there room for a deletion? Acks cause them, and acks never wait, so they are kept from
    /// filling the queue: half of it is for jobs for which a client waits.
    pub(super) fn has_room_for_deletion(&self, rules: &CoreSettings) -> bool {
        self.jobs.len() < rules.jobs_max.div_ceil(2)
    }

    /// The number of jobs, and of bytes in them, for which there is room.
    pub(super) fn room(&self, rules: &CoreSettings) -> (usize, usize) {
        (rules.jobs_max.saturating_sub(self.jobs.len()), rules.jobs_bytes_max.saturating_sub(self.bytes))
    }

    /// Adds a job.
    pub(super) fn insert(&mut self, job: JobInFlight) -> JobTicket {
        self.bytes += job.bytes;
        self.jobs.insert(job)
    }

    /// Takes a job out that is answered.
    pub(super) fn remove(&mut self, ticket: JobTicket) -> Option<JobInFlight> {
        let job = self.jobs.remove(ticket)?;
        self.bytes -= job.bytes;
        Some(job)
    }

    /// Is no job in flight?
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The memory of the jobs themselves, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.jobs.len() * JOB_BYTES
    }

    /// The same, and the memory of the pushes that soon only these jobs may use.
    pub(super) fn memory_bytes_with_pushes(&self) -> usize {
        self.bytes + self.memory_bytes()
    }

    /// All jobs, for the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn values(&self) -> impl Iterator<Item = &JobInFlight> {
        self.jobs.values()
    }

    /// The count is within its limit, and the size is right.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, rules: &CoreSettings) {
        assert!(self.jobs.len() <= rules.jobs_max);
        assert_eq!(self.bytes, self.jobs.values().map(|job| job.bytes).sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(bytes: usize) -> JobInFlight {
        JobInFlight { purpose: JobPurpose::Page(UserSlot::FIRST), bytes, charged_load: None }
    }

    #[test]
    fn there_is_room_for_so_many_jobs_and_bytes() {
        let rules = CoreSettings { jobs_max: 3, jobs_bytes_max: 100, ..CoreSettings::default() };
        let mut jobs = JobsInFlight::default();
        assert!(jobs.has_room(5_000, &rules), "a large push alone");
        let first = jobs.insert(job(60));
        assert!(jobs.has_room(40, &rules) && !jobs.has_room(41, &rules) && jobs.has_room(0, &rules));
        let second = jobs.insert(job(40));
        assert!(jobs.has_room(0, &rules), "a job without a push needs no bytes");
        assert_eq!(jobs.room(&rules), (1, 0));
        let third = jobs.insert(job(0));
        assert!(!jobs.has_room(0, &rules));
        assert_eq!(jobs.memory_bytes_with_pushes(), 200 + 3 * JOB_BYTES);
        jobs.check(&rules);
        for (ticket, bytes) in [(second, 40), (first, 60), (third, 0)] {
            assert_eq!(jobs.remove(ticket).map(|job| job.bytes), Some(bytes));
            assert!(jobs.remove(ticket).is_none(), "a job is answered once");
        }
        assert!(jobs.is_empty());
        assert_eq!((jobs.memory_bytes(), jobs.room(&rules)), (0, (3, 100)));
    }
}
