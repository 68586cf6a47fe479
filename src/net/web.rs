//! HTTP on the port of the clients: the head of a request, and its answer.

use super::counters::CloseCause;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::wire::StaticFileOutput;
use crate::chat::contract::ConnId;
use crate::config::Origins;
use crate::protocol::http::{self, ClientPortHttpHead, ClientPortHttpRefusal, ServerHealth};
use crate::store::pool::StoreHealth;
use crate::web_page;
use std::sync::Arc;

/// The settings by which requests are answered.
#[derive(Debug, Default)]
pub(super) struct WebSettings {
    allowed_origins: Origins,
    store: Arc<StoreHealth>,
    /// The web page is served.
    has_page: bool,
}

impl WebSettings {
    pub(super) fn new(allowed_origins: Origins, store: Arc<StoreHealth>) -> Self {
        // Prepare the files now, so that the first request does not have to wait.
        web_page::files();
        Self { allowed_origins, store, has_page: false }
    }

    /// Sets the origins whose pages may open a WebSocket.
    pub(super) fn allow(&mut self, origins: Origins) {
        self.allowed_origins = origins;
    }

    /// Switches the web page on or off.
    pub(super) fn serve_page(&mut self, has_page: bool) {
        self.has_page = has_page;
    }

    /// The store's health.
    pub(super) fn store_health(&self) -> Arc<StoreHealth> {
        Arc::clone(&self.store)
    }

    /// May this request open a WebSocket? A program that is no browser need not name an origin.
    fn allows(&self, head: &[u8]) -> bool {
        http::header_values(head, "Origin").into_iter().all(|origin| self.allowed_origins.allow(origin))
    }
}

/// The result of reading the head of a request.
#[derive(Debug)]
pub(super) enum ClientPortHttpNextStep {
    /// The head is not complete, or the request is answered.
    Nothing,
    /// The connection is a WebSocket; the head has this many bytes.
    WebSocket(usize),
    /// The answer is this file.
    File(Box<StaticFileOutput>),
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// The health that the server reports to load balancers.
    pub(super) fn health(&self) -> ServerHealth {
        match self.stop.health() {
            Some(health) => health,
            None if !self.web.store.is_working() => ServerHealth::Store,
            None if self.nodes.is_lease_lost() => ServerHealth::Lease,
            None => ServerHealth::Ok,
        }
    }

    /// Answers the head of a request.
    #[cold]
    pub(super) fn decode_head(&mut self, id: ConnId, bytes: &[u8]) -> ClientPortHttpNextStep {
        let no_body = http::wants_no_body(bytes);
        match http::read_head(bytes) {
            ClientPortHttpHead::More => {}
            ClientPortHttpHead::Upgrade { accept, offers_hongyan, length } => {
                let refusal = match self.read_client_address(id, &bytes[..length]) {
                    Ok(false) => return ClientPortHttpNextStep::Nothing,
                    Ok(true) if self.web.allows(&bytes[..length]) => {
                        self.answer(id, |out| http::write_upgrade(out, &accept, offers_hongyan));
                        return ClientPortHttpNextStep::WebSocket(length);
                    }
                    Ok(true) => ClientPortHttpRefusal::Origin,
                    Err(()) => ClientPortHttpRefusal::Forwarded,
                };
                self.refuse_request(id, refusal, no_body);
            }
            ClientPortHttpHead::File(path) => return self.answer_file(id, &path, bytes, no_body),
            ClientPortHttpHead::Health(path) => {
                let health = self.health();
                self.answer_request(id, |out| http::write_health(out, path, health, no_body));
            }
            ClientPortHttpHead::Options => self.answer_request(id, http::write_options),
            ClientPortHttpHead::Bad(refusal) => self.refuse_request(id, refusal, no_body),
        }
        ClientPortHttpNextStep::Nothing
    }

    /// Answers a request for a file.
    fn answer_file(&mut self, id: ConnId, path: &str, head: &[u8], no_body: bool) -> ClientPortHttpNextStep {
        match web_page::find(path).filter(|_| self.web.has_page) {
            Some(file) if file.is_among(&http::header_values(head, "If-None-Match")) => {
                self.answer_request(id, |out| out.extend_from_slice(file.head_unchanged().as_bytes()));
            }
            Some(file) if no_body => self.answer_request(id, |out| out.extend_from_slice(file.head().as_bytes())),
            Some(file) => return ClientPortHttpNextStep::File(self.begin_file(id, file)),
            None if path == "/" => self.answer_request(id, |out| http::write_about_text(out, no_body)),
            None => self.refuse_request(id, ClientPortHttpRefusal::NotFound, no_body),
        }
        ClientPortHttpNextStep::Nothing
    }

    fn answer_request(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        self.answer(id, write);
        self.close(id, CloseCause::HttpDone);
    }

    fn refuse_request(&mut self, id: ConnId, refusal: ClientPortHttpRefusal, no_body: bool) {
        self.answer(id, |out| http::write_refusal(out, refusal, no_body));
        self.close(id, CloseCause::HttpBad);
    }
}
