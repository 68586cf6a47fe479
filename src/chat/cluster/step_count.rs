//! Counts the entries that the parts of a cluster examine. Only unit tests count, and show that the
//! work for one user does not grow with the number of other users.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// Counts this many examined entries.
#[cfg(test)]
pub(super) fn count(entries: usize) {
    STEPS.set(STEPS.get() + entries);
}

#[cfg(not(test))]
pub(super) fn count(_entries: usize) {}

/// The count since the last call.
#[cfg(test)]
pub(super) fn take() -> usize {
    STEPS.take()
}
