//! The head of an HTTP/1.1 request: a WebSocket upgrade (RFC 6455 §4.2), a GET or HEAD of a file or
//! of the health, an OPTIONS, or one that is refused. The body of a request is never read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// A request head is at most this long.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// RFC 6455 §1.3.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The name of this protocol as a WebSocket subprotocol (RFC 6455 §1.9).
const SUBPROTOCOL: &str = "hongyan";

/// The result of reading the head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPortHttpHead {
    /// The head is not complete.
    More,
    /// A WebSocket.
    Upgrade {
        /// The value of `Sec-WebSocket-Accept`.
        accept: String,
        /// The client offers the subprotocol `hongyan`.
        offers_hongyan: bool,
        /// The length of the head; the first frame follows it.
        length: usize,
    },
    /// The file at this path, by GET or HEAD; `/` is the page.
    File(String),
    /// The health of the server, by GET or HEAD.
    Health(HealthPath),
    /// A request for the allowed methods.
    Options,
    /// A request that is refused.
    Bad(ClientPortHttpRefusal),
}

/// The path at which the health is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthPath {
    /// `/healthz`: a server that is being drained answers 503.
    Healthz,
    /// `/readyz`: a server that is being drained answers 404. With `http-check disable-on-404`,
    /// HAProxy sends it no new connections and leaves the open ones alone.
    Readyz,
}

/// The health of a server, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHealth {
    /// It serves.
    Ok,
    /// Its store does not work.
    Store,
    /// It is a node of a cluster and has given no sign of life for long: others may have fenced it.
    Lease,
    /// It takes no log-ins any more, and will be stopped.
    Draining,
    /// It is stopping.
    Stopping,
    /// It is a standby that waits for the end of the active server.
    Standby,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPortHttpRefusal {
    /// 400: not HTTP, or an upgrade that lacks something.
    BadRequest,
    /// 403: it must be asked over TLS.
    TlsOnly,
    /// 400: the headers of its proxies contradict each other about the client's address.
    Forwarded,
    /// 403: a page of this origin may not open a WebSocket.
    Origin,
    /// 404: there is no such page.
    NotFound,
    /// 405: neither GET nor HEAD nor OPTIONS.
    MethodNotAllowed,
    /// 426: another version of the WebSocket protocol.
    UpgradeRequired,
    /// 431: the head is too long.
    TooLong,
}

/// Reads the head at the front of `input`.
#[must_use]
pub fn read_head(input: &[u8]) -> ClientPortHttpHead {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let seen = &input[..input.len().min(HEAD_BYTES_MAX)];
    match request.parse(seen) {
        Ok(httparse::Status::Complete(length)) => read_request(&request, length),
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => ClientPortHttpHead::More,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            ClientPortHttpHead::Bad(ClientPortHttpRefusal::TooLong)
        }
        Err(_) => ClientPortHttpHead::Bad(ClientPortHttpRefusal::BadRequest),
    }
}

/// The values of all headers of this name, in their order, in the head at the front of `input`.
#[must_use]
pub fn header_values<'a>(input: &'a [u8], name: &str) -> Vec<&'a [u8]> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    // A head that was read before can be read again; an invalid one has no headers.
    if request.parse(input).is_err() {
        return Vec::new();
    }
    let values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    values.map(|header| header.value).collect()
}

fn read_request(request: &httparse::Request<'_, '_>, length: usize) -> ClientPortHttpHead {
    let has = |name: &str, fits: &dyn Fn(&str) -> bool| {
        let values = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        values
            .filter_map(|header| std::str::from_utf8(header.value).ok())
            .any(|value| value.split(',').any(|part| fits(part.trim())))
    };
    let has_token = |name: &str, token: &str| has(name, &|part| part.eq_ignore_ascii_case(token));
    let value = |name: &str| {
        request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    match request.method {
        Some("GET") if has_token("Upgrade", "websocket") => {}
        Some("GET" | "HEAD") => {
            return match path(request.path.unwrap_or_default()) {
                "/healthz" => ClientPortHttpHead::Health(HealthPath::Healthz),
                "/readyz" => ClientPortHttpHead::Health(HealthPath::Readyz),
                "" => ClientPortHttpHead::File("/".to_owned()),
                path => ClientPortHttpHead::File(path.to_owned()),
            };
        }
        Some("OPTIONS") => return ClientPortHttpHead::Options,
        _ => return ClientPortHttpHead::Bad(ClientPortHttpRefusal::MethodNotAllowed),
    }
    if request.version != Some(1) || !has_token("Connection", "upgrade") {
        return ClientPortHttpHead::Bad(ClientPortHttpRefusal::BadRequest);
    }
    if value("Sec-WebSocket-Version").is_none_or(|version| version.trim_ascii() != b"13") {
        return ClientPortHttpHead::Bad(ClientPortHttpRefusal::UpgradeRequired);
    }
    let key = value("Sec-WebSocket-Key").map(<[u8]>::trim_ascii).unwrap_or_default();
    if STANDARD.decode(key).map_or(0, |bytes| bytes.len()) != 16 {
        return ClientPortHttpHead::Bad(ClientPortHttpRefusal::BadRequest);
    }
    let accept = accept_of(key);
    // Unlike the other values, the name of a subprotocol is case-sensitive.
    let speaks_hongyan = has("Sec-WebSocket-Protocol", &|part| part == SUBPROTOCOL);
    ClientPortHttpHead::Upgrade { accept, offers_hongyan: speaks_hongyan, length }
}

/// The value of `Sec-WebSocket-Accept` for one of `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_of(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(WEBSOCKET_GUID).finalize())
}

/// The path of a target, without query and without the host that may precede it.
fn path(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => target,
    }
}

/// Must the answer to this request have no body (HEAD)?
#[must_use]
pub fn wants_no_body(input: &[u8]) -> bool {
    input.starts_with(b"HEAD ")
}

/// Appends the answer to an upgrade, with our subprotocol if the client offers it.
pub fn write_upgrade(out: &mut Vec<u8>, accept: &str, speaks_hongyan: bool) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept.as_bytes());
    if speaks_hongyan {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(SUBPROTOCOL.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

const WORDS: &str = "This is hongyan, an instant-messaging server.\n\
    Open a WebSocket here, on any path, and send one JSON envelope per text frame;\n\
    or connect with plain TCP to the same port and send JSON envelopes, one per line.\n";

const ALLOW: &str = "Allow: GET, HEAD, OPTIONS\r\n";

/// Appends a short text about the server, for use without a web page; with `no_body` only the
/// headers.
pub fn write_about_text(out: &mut Vec<u8>, no_body: bool) {
    write_text(out, "200 OK", "", WORDS, no_body);
}

/// Appends the health; with `no_body` only the headers.
pub fn write_health(out: &mut Vec<u8>, path: HealthPath, health: ServerHealth, no_body: bool) {
    const UNAVAILABLE: &str = "503 Service Unavailable";
    let (status, word) = match (health, path) {
        (ServerHealth::Ok, _) => ("200 OK", "ok\n"),
        (ServerHealth::Store, _) => (UNAVAILABLE, "store\n"),
        (ServerHealth::Lease, _) => (UNAVAILABLE, "lease\n"),
        (ServerHealth::Draining, HealthPath::Healthz) => (UNAVAILABLE, "draining\n"),
        (ServerHealth::Draining, HealthPath::Readyz) => ("404 Not Found", "draining\n"),
        (ServerHealth::Stopping, _) => (UNAVAILABLE, "stopping\n"),
        (ServerHealth::Standby, _) => (UNAVAILABLE, "standby\n"),
    };
    write_text(out, status, "", word, no_body);
}

/// Appends the allowed methods.
pub fn write_options(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 204 No Content\r\n");
    out.extend_from_slice(ALLOW.as_bytes());
    out.extend_from_slice(b"Connection: close\r\n\r\n");
}

/// Appends a refusal; with `no_body` only the headers.
pub fn write_refusal(out: &mut Vec<u8>, refusal: ClientPortHttpRefusal, no_body: bool) {
    let (status, headers, text) = match refusal {
        ClientPortHttpRefusal::BadRequest => ("400 Bad Request", "", "This server cannot answer such a request.\n"),
        ClientPortHttpRefusal::TlsOnly => {
            ("403 Forbidden", "", "This server takes TLS connections only: use https: or wss:.\n")
        }
        ClientPortHttpRefusal::Forwarded => (
            "400 Bad Request",
            "",
            "X-Forwarded-For and Forwarded name different clients or cannot be read; a proxy must remove those that come from a client.\n",
        ),
        ClientPortHttpRefusal::Origin => ("403 Forbidden", "", "Pages of this origin may not open a WebSocket here.\n"),
        ClientPortHttpRefusal::NotFound => ("404 Not Found", "", "There is no such page here; see the page at /.\n"),
        ClientPortHttpRefusal::MethodNotAllowed => (
            "405 Method Not Allowed",
            ALLOW,
            "Only GET, HEAD and OPTIONS are answered here; open a WebSocket to talk.\n",
        ),
        ClientPortHttpRefusal::UpgradeRequired => (
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            "Only version 13 of the WebSocket protocol is spoken here.\n",
        ),
        ClientPortHttpRefusal::TooLong => (
            "431 Request Header Fields Too Large",
            "",
            "The head of a request may be 8 KiB long and have 64 headers.\n",
        ),
    };
    write_text(out, status, headers, text, no_body);
}

fn write_text(out: &mut Vec<u8>, status: &str, headers: &str, text: &str, no_body: bool) {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        text.len()
    );
    out.extend_from_slice(head.as_bytes());
    if !no_body {
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    #[test]
    fn the_handshake_of_rfc_6455() {
        for cut in 0..UPGRADE.len() {
            assert_eq!(read_head(&UPGRADE.as_bytes()[..cut]), ClientPortHttpHead::More, "{cut}");
        }
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        let with_frame = format!("{UPGRADE}\u{1}");
        let upgrade = ClientPortHttpHead::Upgrade { accept, offers_hongyan: false, length: UPGRADE.len() };
        assert_eq!(read_head(with_frame.as_bytes()), upgrade);
    }

    #[test]
    fn of_the_subprotocols_that_are_offered_ours_is_chosen() {
        for (offers, expected) in [
            ("hongyan", true),
            ("chat, hongyan", true),
            ("chat\r\nSec-WebSocket-Protocol: x,hongyan", true),
            ("Hongyan", false),
            ("hongyan2, chat", false),
        ] {
            let head = UPGRADE.replace("Upgrade: W", &format!("Sec-WebSocket-Protocol: {offers}\r\nUpgrade: W"));
            let ClientPortHttpHead::Upgrade { accept, offers_hongyan, .. } = read_head(head.as_bytes()) else {
                panic!("{head}")
            };
            assert_eq!(offers_hongyan, expected, "{offers}");
            let mut out = Vec::new();
            write_upgrade(&mut out, &accept, offers_hongyan);
            assert_eq!(String::from_utf8(out).unwrap().contains("\r\nSec-WebSocket-Protocol: hongyan\r\n"), expected);
        }
    }

    #[test]
    fn the_values_of_a_header_come_in_their_order_and_of_no_other() {
        let head = b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3, 4\r\n\r\nA: body";
        assert_eq!(header_values(head, "A"), [b"1".as_slice(), b"3, 4"]);
        assert!(header_values(head, "C").is_empty());
        assert!(header_values(b"nothing", "A").is_empty());
    }

    #[test]
    fn an_incomplete_upgrade_is_refused() {
        let without = |from: &str, to: &str| read_head(UPGRADE.replace(from, to).as_bytes());
        assert_eq!(
            without("Version: 13", "Version: 8"),
            ClientPortHttpHead::Bad(ClientPortHttpRefusal::UpgradeRequired)
        );
        assert_eq!(
            without("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
            ClientPortHttpHead::Bad(ClientPortHttpRefusal::BadRequest)
        );
        assert_eq!(
            without("keep-alive, Upgrade", "keep-alive"),
            ClientPortHttpHead::Bad(ClientPortHttpRefusal::BadRequest)
        );
        assert_eq!(without("Upgrade: WebSocket\r\n", ""), ClientPortHttpHead::File("/chat".to_owned()));
        assert_eq!(without("GET", "POST"), ClientPortHttpHead::Bad(ClientPortHttpRefusal::MethodNotAllowed));
        assert_eq!(without("GET", "get"), ClientPortHttpHead::Bad(ClientPortHttpRefusal::MethodNotAllowed));
        assert_eq!(read_head(b"GET / HTTP/9\r\n\r\n"), ClientPortHttpHead::Bad(ClientPortHttpRefusal::BadRequest));
    }

    #[test]
    fn a_method_and_a_target_choose_the_answer() {
        let not_allowed = ClientPortHttpHead::Bad(ClientPortHttpRefusal::MethodNotAllowed);
        let file = |path: &str| ClientPortHttpHead::File(path.to_owned());
        for (start, expected) in [
            ("GET /", file("/")),
            ("GET /?a=b", file("/")),
            ("HEAD /", file("/")),
            ("GET http://a.example:1102/", file("/")),
            ("GET http://a.example", file("/")),
            ("GET /healthz", ClientPortHttpHead::Health(HealthPath::Healthz)),
            ("HEAD /healthz?x", ClientPortHttpHead::Health(HealthPath::Healthz)),
            ("GET http://a.example/healthz", ClientPortHttpHead::Health(HealthPath::Healthz)),
            ("GET /readyz", ClientPortHttpHead::Health(HealthPath::Readyz)),
            ("HEAD http://a.example/readyz?x", ClientPortHttpHead::Health(HealthPath::Readyz)),
            ("GET /readyz/", file("/readyz/")),
            ("GET /healthz/", file("/healthz/")),
            ("POST /healthz", not_allowed.clone()),
            ("GET /a.js?b/c", file("/a.js")),
            ("HEAD /chat", file("/chat")),
            ("GET http://a.example/x", file("/x")),
            ("GET *", file("*")),
            ("OPTIONS *", ClientPortHttpHead::Options),
            ("OPTIONS /x", ClientPortHttpHead::Options),
            ("POST /", not_allowed.clone()),
            ("POST /x", not_allowed.clone()),
            ("PUT /", not_allowed.clone()),
            ("DELETE /", not_allowed.clone()),
            ("TRACE /", not_allowed.clone()),
            ("CONNECT a.example:443", not_allowed.clone()),
            ("own-method /", not_allowed),
        ] {
            assert_eq!(read_head(format!("{start} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()), expected, "{start}");
        }
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let (words, head) = (written(&|out| write_about_text(out, false)), written(&|out| write_about_text(out, true)));
        assert!(words.ends_with(WORDS) && words.starts_with(&head) && head.ends_with("\r\n\r\n"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", WORDS.len())));
    }

    #[test]
    fn only_a_drain_is_told_differently_at_the_two_paths() {
        let answer = |path, health| {
            let mut out = Vec::new();
            write_health(&mut out, path, health, false);
            String::from_utf8(out).unwrap()
        };
        for (health, status, word) in [
            (ServerHealth::Ok, "200", "ok"),
            (ServerHealth::Store, "503", "store"),
            (ServerHealth::Lease, "503", "lease"),
            (ServerHealth::Stopping, "503", "stopping"),
            (ServerHealth::Standby, "503", "standby"),
        ] {
            let said = answer(HealthPath::Healthz, health);
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
            assert!(said.ends_with(&format!("\r\n\r\n{word}\n")), "{said}");
            assert_eq!(answer(HealthPath::Readyz, health), said);
        }
        let drained = |path| answer(path, ServerHealth::Draining);
        assert!(drained(HealthPath::Healthz).starts_with("HTTP/1.1 503 "));
        assert!(drained(HealthPath::Readyz).starts_with("HTTP/1.1 404 "));
        assert!(drained(HealthPath::Readyz).ends_with("\r\n\r\ndraining\n"));
    }

    #[test]
    fn a_head_is_bounded() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(read_head(long.as_bytes()), ClientPortHttpHead::Bad(ClientPortHttpRefusal::TooLong));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(read_head(many.as_bytes()), ClientPortHttpHead::Bad(ClientPortHttpRefusal::TooLong));
    }
}
