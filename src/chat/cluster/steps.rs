//! How much the parts of a cluster go through: counted in unit tests only, which show that one
//! user costs nothing that grows with all others.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// So many entries were looked at.
#[cfg(test)]
pub(super) fn count(entries: usize) {
    STEPS.set(STEPS.get() + entries);
}

#[cfg(not(test))]
pub(super) fn count(_entries: usize) {}

/// Those since the last call.
#[cfg(test)]
pub(super) fn take() -> usize {
    STEPS.take()
}
