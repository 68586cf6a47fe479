//! The input of a connection that was read and not used up.

/// Input that was read and not used up.
#[derive(Debug, Default)]
pub struct ConnectionInputBuffer {
    bytes: Vec<u8>,
    /// The number of bytes that are used up.
    used: usize,
}

impl ConnectionInputBuffer {
    /// The unused bytes.
    pub fn unused(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..]
    }

    /// Is nothing left?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == self.bytes.len()
    }

    /// The memory that it holds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Its bytes, used up or not.
    #[cfg(test)]
    pub fn kept_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Gives memory back if it holds much more than its bytes need.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() > self.bytes.len() * 2 + 64 {
            self.bytes.shrink_to_fit();
        }
    }

    /// Marks `count` more bytes as used up.
    pub fn consume(&mut self, count: usize) {
        self.used += count;
    }

    /// Puts `before` in front of the unused bytes, and `after` behind them.
    pub fn put(&mut self, before: &[u8], after: &[u8]) {
        if !before.is_empty() {
            self.bytes.splice(..self.used, before.iter().copied());
            self.used = 0;
        } else if !after.is_empty() {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.extend_from_slice(after);
    }
}
