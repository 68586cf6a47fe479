//! Rows of the model store, which notice that somebody may have changed them.

use super::store::Model;
use std::ops::{Deref, DerefMut};

/// One table.
#[derive(Debug, Default)]
pub struct Rows<T> {
    rows: T,
    changes: u64,
}

impl<T> Rows<T> {
    /// How often somebody could change them.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}

impl<T> Deref for Rows<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.rows
    }
}

impl<T> DerefMut for Rows<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changes += 1;
        &mut self.rows
    }
}

impl Model {
    /// Increases whenever a job changes rows. (The passwords that were verified are in the memory
    /// of a node.)
    pub fn changes(&self) -> u64 {
        let of_users = self.accounts.changes() + self.banned.changes() + self.deleted.changes() + self.tokens.changes();
        of_users + self.friends.changes() + self.pending.changes() + self.blocks.changes() + self.pushes.changes()
    }
}
