//! HTTP on the port of the clients: the head of a request, and its answer.

use super::counters::CloseCause;
use super::hub::Hub;
use super::socket::Stream;
use crate::chat::contract::ConnId;
use crate::config::Origins;
use crate::protocol::http::{self, Head, Health, Refusal};
use crate::store::pool::StoreHealth;
use std::sync::Arc;

/// What requests are answered by.
#[derive(Debug, Default)]
pub(super) struct Web {
    allowed_origins: Origins,
    store: Arc<StoreHealth>,
    /// The server takes no new requests.
    is_stopping: bool,
}

impl Web {
    pub(super) fn new(allowed_origins: Origins, store: Arc<StoreHealth>) -> Self {
        Self { allowed_origins, store, is_stopping: false }
    }

    /// Pages of these may open a WebSocket from now on.
    pub(super) fn allow(&mut self, origins: Origins) {
        self.allowed_origins = origins;
    }

    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// The health, and what it is judged by.
    pub(super) fn health_of_store(&self) -> (Health, Arc<StoreHealth>) {
        (self.health(), Arc::clone(&self.store))
    }

    fn health(&self) -> Health {
        match () {
            () if self.is_stopping => Health::Stopping,
            () if !self.store.works() => Health::Store,
            () => Health::Ok,
        }
    }

    /// May this request open a WebSocket? A program that is no browser need not name an origin.
    fn allows(&self, head: &[u8]) -> bool {
        http::header_values(head, "Origin").into_iter().all(|origin| self.allowed_origins.allow(origin))
    }
}

impl<S: Stream> Hub<S> {
    /// Answers the head of a request. Returns its length if the connection is a WebSocket from
    /// there on.
    #[cold]
    pub(super) fn decode_head(&mut self, id: ConnId, bytes: &[u8]) -> Option<usize> {
        let no_body = http::wants_no_body(bytes);
        match http::read_head(bytes) {
            Head::More => return None,
            Head::Upgrade { accept, speaks_hongyan, length } => {
                let refusal = match self.settle_by_head(id, &bytes[..length]) {
                    Ok(false) => return None,
                    Ok(true) if self.web.allows(&bytes[..length]) => {
                        self.answer(id, |out| http::write_upgrade(out, &accept, speaks_hongyan));
                        return Some(length);
                    }
                    Ok(true) => Refusal::Origin,
                    Err(()) => Refusal::Forwarded,
                };
                self.refuse_request(id, refusal, no_body);
            }
            Head::Page => self.answer_request(id, |out| http::write_page(out, no_body)),
            Head::Health => {
                let health = self.web.health();
                self.answer_request(id, |out| http::write_health(out, health, no_body));
            }
            Head::Options => self.answer_request(id, http::write_options),
            Head::Bad(refusal) => self.refuse_request(id, refusal, no_body),
        }
        None
    }

    fn answer_request(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        self.answer(id, write);
        self.close(id, CloseCause::HttpDone);
    }

    fn refuse_request(&mut self, id: ConnId, refusal: Refusal, no_body: bool) {
        self.answer(id, |out| http::write_refusal(out, refusal, no_body));
        self.close(id, CloseCause::HttpBad);
    }
}
