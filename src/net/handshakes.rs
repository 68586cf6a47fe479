//! TLS in the hub: the begin of sessions, handshakes spread over turns, and reading records.
//!
//! A handshake is the most expensive thing that a client can cause before it has logged in. So
//! handshake steps have a queue of their own, of which each turn does a few: a storm of handshakes
//! waits there without delaying open connections.

use super::conn::ReadResult;
use super::counters::CloseCause;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::tls::{Certificates, TlsSession};
use super::turn_work::{BYTE, CLOSING, MICROSECOND};
use super::turns::QUANTUM_MAX;
use super::unused_input::ConnectionInputBuffer;
use super::wire::Framing;
use crate::chat::contract::ConnId;

use crate::protocol::error::ErrorCode;
use crate::protocol::http::{self, ClientPortHttpRefusal};
use crate::protocol::reply::{Reply, write_reply};
use crate::protocol::request::ContentAsStringOrObject;
use std::sync::Arc;

/// The cost of the first step of a handshake: key agreement and a signature. It is about right for
/// an RSA certificate of 2,048 bits; with an elliptic curve the step takes a fifth.
const FIRST_STEP: i64 = 1_000 * MICROSECOND;
/// The cost of any later step.
const LATER_STEP: i64 = 200 * MICROSECOND;
/// The handshake work of one turn.
const HANDSHAKES_TURN: i64 = 4_000 * MICROSECOND;
/// The cost of decrypting a record, however short it is.
const RECORD: i64 = MICROSECOND;

const TLS_ONLY: &str = "this server takes TLS connections only; connect again with TLS";

/// The TLS that the server offers.
#[derive(Debug, Default)]
pub(super) struct TlsOffer {
    certificates: Option<Arc<Certificates>>,
    /// It was logged that a client tried TLS while there was no certificate.
    was_missing_logged: bool,
}

impl TlsOffer {
    /// Sets the certificates for new sessions; `None`: no TLS.
    pub(super) fn set(&mut self, certificates: Option<Arc<Certificates>>) {
        self.certificates = certificates;
    }

    /// The certificates for a client that tries TLS. If there are none, that is logged once.
    fn for_client(&mut self) -> Option<&Arc<Certificates>> {
        if self.certificates.is_none() && !std::mem::replace(&mut self.was_missing_logged, true) {
            log::warn!("a client tried TLS, for which there is no certificate (said once)");
        }
        self.certificates.as_ref()
    }

    /// Are plain connections refused, except from loopback?
    fn is_required(&self) -> bool {
        self.certificates.as_ref().is_some_and(|certificates| certificates.tls_only())
    }
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Uses these certificates for new sessions from now on.
    pub fn use_certificates(&mut self, certificates: Arc<Certificates>) {
        self.tls.set(Some(certificates));
    }

    /// Begins a TLS session; `first` are the first bytes of its handshake.
    #[cold]
    pub(super) fn begin_tls(&mut self, id: ConnId, first: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.tls.is_some() {
            return self.close(id, CloseCause::TlsBroken);
        }
        let Some(certificates) = self.tls.for_client() else {
            return self.close(id, CloseCause::TlsUnsupported);
        };
        match TlsSession::new(certificates, first) {
            Ok(tls) => {
                conn.tls = Some(Box::new(tls));
                // Handle these bytes even if nothing more arrives.
                conn.read.on_edge(false);
                self.deadlines.begin_handshake(self.clock.now_ms(), id);
                self.work.end_quantum();
                self.count_changed(id);
            }
            Err(error) => {
                log::debug!("connection {}.{}: TLS: {error}", id.slot, id.generation);
                self.close(id, CloseCause::TlsBroken);
            }
        }
    }

    /// Queues a connection with input for its handshake.
    #[cold]
    pub(super) fn queue_handshake(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            self.work.queue_handshake(id, &mut conn.lists);
        }
    }

    /// Does some of the waiting handshake steps.
    pub(super) fn serve_handshakes(&mut self, shared: &mut [u8]) {
        let (mut waiting, mut spent) = (self.work.handshakes_len(), 0);
        while waiting > 0 && spent < HANDSHAKES_TURN {
            let Some(id) = self.work.next_handshake() else { return };
            waiting -= 1;
            spent += self.serve_handshake(id, shared);
        }
        if spent > 0 {
            self.check_memory();
        }
    }

    #[inline(never)]
    fn serve_handshake(&mut self, id: ConnId, shared: &mut [u8]) -> i64 {
        let Some(conn) = self.conns.get_mut(id) else { return 0 };
        conn.lists.leave(super::state::ConnectionListFlags::TO_READ);
        if !conn.is_open() {
            self.work.queue_closing(id);
            return CLOSING;
        }
        self.serve_quantum(id, shared, QUANTUM_MAX)
    }

    /// Reads the records of a connection once, and hands in their plaintext. `true`: reading again
    /// may bring more.
    #[inline(never)]
    pub(super) fn read_tls(&mut self, id: ConnId, bytes_max: usize, own: &mut ConnectionInputBuffer) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let step = match &conn.tls {
            Some(tls) if tls.is_new() => FIRST_STEP,
            Some(tls) if tls.is_handshaking() => LATER_STEP,
            _ => 0,
        };
        let mut buffers = self.buffers.lend_opened();
        let filled = conn.fill_tls(&mut buffers, bytes_max);
        self.work.spend(step + RECORD * buffers.count as i64 + BYTE * buffers.plain.len() as i64);
        if conn.has_output() {
            self.mark_dirty(id);
        }
        let goes_on = match filled {
            ReadResult::Some(0) => true,
            ReadResult::Some(_) => {
                self.hand_in_bytes(id, &mut buffers.plain, own);
                true
            }
            ReadResult::Blocked | ReadResult::Eof => false,
            ReadResult::Broken(error) => {
                log::trace!("connection {}.{}: {error}", id.slot, id.generation);
                self.close(id, CloseCause::IoError);
                false
            }
            ReadResult::BadRecords(error) => {
                log::debug!("connection {}.{}: TLS: {error}", id.slot, id.generation);
                self.close(id, CloseCause::TlsBroken);
                false
            }
        };
        self.buffers.return_opened(buffers);
        goes_on
    }

    /// Must this plain connection be refused because TLS is required?
    pub(super) fn refuses_plain(&self, id: ConnId) -> bool {
        if !self.tls.is_required() || self.addresses.proxied.is_proxied(id) {
            return false;
        }
        self.conns.get(id).is_some_and(|conn| conn.tls.is_none() && conn.address_key.is_some())
    }

    /// Sends that refusal in the client's protocol, and closes the connection.
    #[cold]
    pub(super) fn refuse_plain(&mut self, id: ConnId, framing: Framing, bytes: &[u8]) {
        if framing == Framing::Http {
            let no_body = http::wants_no_body(bytes);
            self.answer(id, |out| http::write_refusal(out, ClientPortHttpRefusal::TlsOnly, no_body));
        } else {
            let reply = Reply::Error { code: ErrorCode::Forbidden, explanation: TLS_ONLY };
            self.write(id, true, |out| write_reply(out, ContentAsStringOrObject::Text, "", &reply));
        }
        self.close(id, CloseCause::PlainRefused);
    }
}
