//! Counts the entries of lists that are examined (`cluster/step_count.rs` counts those of a cluster
//! alone, which one test compares exactly). Only unit tests count: they show that an ack
//! costs the same however long a list is and whatever is deferred.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

/// Counts this many examined entries.
#[cfg(test)]
pub(super) fn count(entries: usize) {
    LOOKS.set(LOOKS.get() + entries);
}

#[cfg(not(test))]
pub(super) fn count(_entries: usize) {}

/// The count since the last call.
#[cfg(test)]
pub(super) fn take() -> usize {
    LOOKS.take()
}
