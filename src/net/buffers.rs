//! The memory that all connections share for reading and writing, lent to the one that is being
//! served, so that an idle connection owns none.

use super::output::SpareBuffers;
use super::tls::SharedTlsReadBuffers;
use super::unused_input::ConnectionInputBuffer;
use crate::protocol::envelope::UnescapedContentBuffer;

/// The size of the buffer into which all connections are read.
const READ_BYTES: usize = 64 * 1024;

/// The memory that connections share.
#[derive(Debug)]
pub(super) struct SharedBuffers {
    /// The read buffer; empty only while it is lent.
    read_buffer: Vec<u8>,
    scratch: UnescapedContentBuffer,
    /// An envelope of the connection being served that may not be handed in yet.
    paused_envelope: Vec<u8>,
    /// The buffers into which TLS records are read.
    tls_buffers: SharedTlsReadBuffers,
    /// The buffer in which output is encrypted.
    pub(super) sealed: Vec<u8>,
    /// Spare output buffers.
    pub(super) spare: SpareBuffers,
}

impl Default for SharedBuffers {
    fn default() -> Self {
        Self {
            read_buffer: vec![0; READ_BYTES],
            scratch: UnescapedContentBuffer::default(),
            paused_envelope: Vec::new(),
            tls_buffers: SharedTlsReadBuffers::default(),
            sealed: Vec::new(),
            spare: SpareBuffers::default(),
        }
    }
}

impl SharedBuffers {
    /// Lends the read buffer.
    #[must_use]
    pub(super) fn lend_shared(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read_buffer)
    }

    /// Takes the read buffer back.
    pub(super) fn return_shared(&mut self, shared: Vec<u8>) {
        debug_assert_eq!(shared.len(), READ_BYTES, "it is lent to one at a time");
        self.read_buffer = shared;
    }

    /// Lends the buffers for TLS records.
    #[must_use]
    pub(super) fn lend_opened(&mut self) -> SharedTlsReadBuffers {
        std::mem::take(&mut self.tls_buffers)
    }

    /// Takes the buffers for TLS records back.
    pub(super) fn return_opened(&mut self, opened: SharedTlsReadBuffers) {
        self.tls_buffers = opened;
    }

    /// Lends the parser's scratch memory.
    #[must_use]
    pub(super) fn lend_scratch(&mut self) -> UnescapedContentBuffer {
        std::mem::take(&mut self.scratch)
    }

    /// Takes the scratch memory back.
    pub(super) fn return_scratch(&mut self, scratch: UnescapedContentBuffer) {
        self.scratch = scratch;
    }

    /// Keeps an envelope that may not be handed in yet: `write` appends it as it arrived.
    pub(super) fn keep_envelope(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.paused_envelope);
    }

    /// Gives a connection its unused input back, after the envelope that was kept.
    pub(super) fn put_back(&mut self, own: &mut ConnectionInputBuffer, rest: &[u8]) {
        own.put(&self.paused_envelope, rest);
        if !self.paused_envelope.is_empty() {
            self.paused_envelope = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_envelope_comes_before_the_rest_and_once() {
        let mut buffers = SharedBuffers::default();
        let mut own = ConnectionInputBuffer::default();
        buffers.put_back(&mut own, b"abcdef");
        own.consume(3);
        buffers.keep_envelope(|out| out.extend_from_slice(b"bc"));
        buffers.put_back(&mut own, &[]);
        assert_eq!(own.unused(), b"bcdef");
        buffers.put_back(&mut own, b"g");
        assert_eq!(own.unused(), b"bcdefg");
        assert_eq!(buffers.paused_envelope.capacity(), 0, "nothing is kept of it");
    }

    #[test]
    fn a_lent_buffer_comes_back_whole() {
        let mut buffers = SharedBuffers::default();
        let shared = buffers.lend_shared();
        assert_eq!(shared.len(), READ_BYTES);
        assert!(buffers.read_buffer.is_empty(), "nobody else reads into it meanwhile");
        buffers.return_shared(shared);
        assert_eq!(buffers.lend_shared().len(), READ_BYTES);
    }
}
