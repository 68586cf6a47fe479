//! The versions of what the nodes of a cluster share: the tables of their database, and what they
//! say to each other.
//!
//! With `cfg(next_build)` both are one higher (`build.rs`), for the tests of a rolling upgrade.

/// The version of the tables in MySQL (`schema.sql`) that this build makes.
pub const SCHEMA: usize = if cfg!(next_build) { 12 } else { 11 };
/// The least version that a build must know to use these tables.
pub const COMPATIBLE: usize = 10;
/// The oldest version of frames and node records that this build reads.
pub const FRAME_MIN: u16 = 1;
/// The newest version of frames and node records that this build reads and writes.
pub const FRAME_MAX: u16 = if cfg!(next_build) { 2 } else { 1 };

/// The bytes that a frame of this version has after its header, and that a node record in the
/// database has after its sender. Only version 2 has any; no build for users speaks it.
#[must_use]
pub fn behind_header(version: u16) -> &'static [u8] {
    if version < 2 { &[] } else { b"next" }
}
