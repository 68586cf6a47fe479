//! The signals of the whole process: which of them stop it, and which common ones are ignored so
//! that they do not kill it.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The signals that a server handles: SIGTERM and SIGINT stop it, SIGHUP reloads its settings.
pub(super) const OF_A_SERVER: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];

/// The signals that stop a copy. SIGHUP does, unless it was ignored at the start, as by `nohup`.
#[must_use]
pub fn stop_signals() -> Vec<i32> {
    let mut signals = vec![SIGTERM, SIGINT];
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    signals
}

/// A flag that is set by the first signal that stops the process. The second one ends it at once.
///
/// # Errors
/// The system refuses.
pub fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in stop_signals() {
        flag::register_conditional_default(signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// A flag that SIGTERM and SIGINT set while no loop handles them.
///
/// # Errors
/// The system refuses.
pub(super) fn note_stop() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Ignores SIGUSR1 and SIGUSR2, which would kill the process, and SIGXFSZ: a write beyond the limit
/// on file sizes then fails with an error, which is reported.
///
/// # Errors
/// The system refuses.
pub fn ignore_harmless_signals() -> io::Result<()> {
    for signal in [SIGUSR1, SIGUSR2, SIGXFSZ] {
        // Nobody reads the flag.
        flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Was the process started with this signal ignored? `false` if the system cannot tell.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn ignored_signals_are_recognised() {
        // The standard library ignores it in every program of ours.
        assert!(is_ignored(signal_hook::consts::SIGPIPE));
        assert!(!is_ignored(SIGTERM));
    }
}
