//! One envelope → one [`Request`], in both spellings, borrowed from the read buffer.

use super::request::{BadInput, Request};

/// A buffer the parser un-escapes CONTENT into, kept by the caller between envelopes so that nothing is allocated per message.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Un-escaped text of a string-spelling CONTENT.
    pub(crate) text: String,
}

/// Reads one envelope.
///
/// # Errors
/// What is wrong with it, with as much of it as could be read.
pub fn parse<'a>(envelope: &'a [u8], scratch: &'a mut Scratch) -> Result<Request<'a>, BadInput> {
    let _ = (&scratch.text, envelope);
    Err(BadInput::unreadable(super::error::ErrorCode::BadJson, "not built yet"))
}
