//! Facts about the process: its start, memory and descriptors. Callers' threads read them, never
//! the loop.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The process, with the time of its start.
#[derive(Debug)]
pub(super) struct ProcessStartTime {
    start_instant: Instant,
    started_at: SystemTime,
}

impl ProcessStartTime {
    pub(super) fn new() -> Self {
        Self { start_instant: Instant::now(), started_at: SystemTime::now() }
    }

    pub(super) fn uptime(&self) -> Duration {
        self.start_instant.elapsed()
    }

    /// The time of its start, in seconds since the epoch.
    pub(super) fn started_at(&self) -> f64 {
        self.started_at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    }
}

/// Resident memory in bytes.
#[cfg(target_os = "linux")]
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The number of open descriptors, and the limit.
#[cfg(target_os = "linux")]
pub(super) fn descriptors() -> (Option<u64>, Option<u64>) {
    // Since Linux 6.2 the size of the folder is their number.
    let size = std::fs::metadata("/proc/self/fd").map_or(0, |found| found.len());
    let counted = || std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
    let open = if size > 0 { Some(size) } else { counted() };
    (open, rustix::process::getrlimit(rustix::process::Resource::Nofile).current)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn resident_bytes() -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn descriptors() -> (Option<u64>, Option<u64>) {
    (None, None)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_reports_the_resources_of_a_process() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1024 * 1024));
        let (open, max) = descriptors();
        assert!(open.is_some_and(|open| open >= 3 && max.is_none_or(|max| open <= max)), "{open:?} of {max:?}");
    }
}
