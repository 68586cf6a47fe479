//! The part of HTTP/1.1 that operators' programs need: one request on a connection.

use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Read, Write};

/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The header with the id of the store that the caller means.
pub(super) const STORE_HEADER: &str = "Hongyan-Store";

/// The methods that are distinguished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminHttpMethod {
    Get,
    Head,
    Post,
    Other,
}

/// A complete request.
#[derive(Debug)]
pub(super) struct AdminHttpRequest {
    pub(super) method: AdminHttpMethod,
    /// The target as it was sent, percent-encoded.
    pub(super) target: String,
    pub(super) host: Option<String>,
    pub(super) has_origin: bool,
    /// The browser says that a web page makes the request, not the user directly.
    pub(super) is_of_page: bool,
    /// The id of the store that the caller means.
    pub(super) store_id: Option<String>,
    pub(super) authorization: Option<Vec<u8>>,
    pub(super) body: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub(super) struct AdminHttpResponse {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    too_late: bool,
}

impl AdminHttpResponse {
    pub(super) fn json(status: u16, value: &Value) -> Self {
        let mut body = super::escape::json(&value.to_string());
        body.push('\n');
        Self::new(status, "application/json", body)
    }

    pub(super) fn new(status: u16, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into_bytes(), too_late: false }
    }

    /// An error: a sentence for people, and a word for programs.
    pub(super) fn error(status: u16, error: &str, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self::json(status, &serde_json::json!({"error": error, "message": message}))
    }

    /// Is this the response for a request that was not answered in time?
    pub(super) fn is_too_late(&self) -> bool {
        self.too_late
    }

    pub(super) fn too_late(message: &str) -> Self {
        Self { too_late: true, ..Self::error(503, "too_late", message) }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            // Writing into a String cannot fail.
            write!(head, "{name}: {value}\r\n").unwrap_or(());
        }
        let (kind, length) = (self.content_type, self.body.len());
        let fixed = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n";
        head + &format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n{fixed}")
    }

    /// Writes the response; for a HEAD without the body.
    pub(super) fn write(&self, out: &mut impl Write, is_head: bool) -> io::Result<()> {
        let mut bytes = self.head().into_bytes();
        if !is_head {
            bytes.extend_from_slice(&self.body);
        }
        out.write_all(&bytes)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    }
}

/// Why no request was read.
#[derive(Debug)]
pub(super) enum AdminHttpReadError {
    /// The request is not valid: send this response.
    Bad(Box<AdminHttpResponse>),
    /// The connection is broken.
    Broken(io::Error),
}

impl From<AdminHttpResponse> for AdminHttpReadError {
    fn from(response: AdminHttpResponse) -> Self {
        Self::Bad(Box::new(response))
    }
}

impl From<io::Error> for AdminHttpReadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            return AdminHttpResponse::error(408, "too_slow", "The request took too long to come.").into();
        }
        Self::Broken(error)
    }
}

fn bad_request(message: &str) -> AdminHttpReadError {
    AdminHttpResponse::error(400, "bad_request", message).into()
}

/// The data in the head of a request.
struct AdminHttpRequestHead {
    request: AdminHttpRequest,
    head_bytes: usize,
    body_bytes: usize,
    expects_continue: bool,
}

/// Reads a request. If its head is not admitted, the body is not read.
pub(super) fn read<S: Read + Write>(
    stream: &mut S,
    admit: impl FnOnce(&AdminHttpRequest, &mut S) -> Result<(), AdminHttpReadError>,
) -> Result<AdminHttpRequest, AdminHttpReadError> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let AdminHttpRequestHead { mut request, head_bytes, body_bytes, expects_continue } = loop {
        if let Some(head) = read_head(&bytes)? {
            break head;
        }
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err(
                AdminHttpResponse::error(431, "head_too_large", "The head of a request may be 8 KiB long.").into()
            );
        }
        match stream.read(&mut chunk)? {
            0 => return Err(AdminHttpReadError::Broken(io::ErrorKind::UnexpectedEof.into())),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    };
    admit(&request, stream)?;
    if body_bytes > BODY_BYTES_MAX {
        return Err(AdminHttpResponse::error(413, "too_large", "The body of a request may be 64 KiB long.").into());
    }
    bytes.drain(..head_bytes);
    if expects_continue && bytes.len() < body_bytes {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    while bytes.len() < body_bytes {
        match stream.read(&mut chunk)? {
            0 => return Err(bad_request("The body of the request is shorter than its Content-Length.")),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    bytes.truncate(body_bytes);
    request.body = bytes;
    Ok(request)
}

/// Reads the head; `None`: it is incomplete.
fn read_head(bytes: &[u8]) -> Result<Option<AdminHttpRequestHead>, AdminHttpReadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let head_bytes = match parsed.parse(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(AdminHttpResponse::error(431, "head_too_large", "A request may have 64 headers.").into());
        }
        Err(_) => return Err(bad_request("This is no HTTP request.")),
    };
    let values = |name: &str| {
        let name = name.to_owned();
        parsed.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(&name)).map(|header| header.value)
    };
    if values("Transfer-Encoding").next().is_some() {
        return Err(bad_request("A body needs a Content-Length; Transfer-Encoding is not understood here."));
    }
    let mut body_bytes = 0;
    for (index, value) in values("Content-Length").enumerate() {
        let number = length_of(value.trim_ascii()).filter(|number| index == 0 || *number == body_bytes);
        body_bytes = number.ok_or_else(|| bad_request("The Content-Length of the request is not one number."))?;
    }
    let hosts: Vec<&[u8]> = values("Host").collect();
    let host = match hosts[..] {
        [] => None,
        [host] => Some(String::from_utf8_lossy(host.trim_ascii()).into_owned()),
        _ => return Err(bad_request("The request has more than one Host header.")),
    };
    let request = AdminHttpRequest {
        method: match parsed.method.unwrap_or_default() {
            "GET" => AdminHttpMethod::Get,
            "HEAD" => AdminHttpMethod::Head,
            "POST" => AdminHttpMethod::Post,
            _ => AdminHttpMethod::Other,
        },
        target: parsed.path.unwrap_or_default().to_owned(),
        host,
        has_origin: values("Origin").next().is_some(),
        is_of_page: values("Sec-Fetch-Site").any(|site| !site.trim_ascii().eq_ignore_ascii_case(b"none")),
        store_id: values(STORE_HEADER).next().map(|id| String::from_utf8_lossy(id.trim_ascii()).into_owned()),
        authorization: values("Authorization").next().map(|value| value.trim_ascii().to_vec()),
        body: Vec::new(),
    };
    let expects_continue = values("Expect").any(|value| value.trim_ascii().eq_ignore_ascii_case(b"100-continue"));
    Ok(Some(AdminHttpRequestHead { request, head_bytes, body_bytes, expects_continue }))
}

/// The value of `Content-Length`: only digits, no sign and no list. A number that overflows is too
/// large anyway.
fn length_of(value: &[u8]) -> Option<usize> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(value).ok()?.parse().ok().or(Some(usize::MAX)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input that is read in pieces of one size, and the output so far.
    struct PieceReader<'a> {
        rest: &'a [u8],
        size: usize,
        written: Vec<u8>,
    }

    impl Read for PieceReader<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.size.min(self.rest.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.rest[..count]);
            self.rest = &self.rest[count..];
            Ok(count)
        }
    }

    impl Write for PieceReader<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read_all(bytes: &[u8], size: usize) -> Result<(AdminHttpRequest, Vec<u8>), AdminHttpReadError> {
        let mut pieces = PieceReader { rest: bytes, size, written: Vec::new() };
        read(&mut pieces, |_, _| Ok(())).map(|request| (request, pieces.written))
    }

    fn status_of(bytes: &[u8]) -> u16 {
        match read_all(bytes, 1_000) {
            Err(AdminHttpReadError::Bad(response)) => response.status,
            other => panic!("{other:?}: {}", String::from_utf8_lossy(bytes)),
        }
    }

    #[test]
    fn a_request_is_read_in_pieces_of_any_size() {
        let bytes = b"POST /users/a%20b/ban?x=y HTTP/1.1\r\nhost: localhost\r\nAUTHORIZATION: Bearer t\r\n\
            Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}behind";
        for size in [1, 2, 7, 4096] {
            let (request, written) = read_all(bytes, size).unwrap();
            assert_eq!((request.method, request.target.as_str()), (AdminHttpMethod::Post, "/users/a%20b/ban?x=y"));
            assert_eq!(request.host.as_deref(), Some("localhost"));
            assert_eq!(request.authorization.as_deref(), Some(&b"Bearer t"[..]));
            assert_eq!((request.body.as_slice(), request.has_origin), (&b"{}"[..], false));
            assert!(!written.is_empty() || size > 1, "100 Continue is written if the body is not there yet");
        }
        let (request, _) = read_all(b"GET / HTTP/1.0\r\nOrigin: null\r\n\r\n", 9).unwrap();
        assert!(request.has_origin && request.host.is_none());
    }

    #[test]
    fn nothing_is_read_behind_the_head_of_a_refused_request() {
        let bytes = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nnine byte";
        let mut pieces = PieceReader { rest: bytes, size: 1, written: Vec::new() };
        let refused = read(&mut pieces, |_, _| Err(bad_request("No."))).unwrap_err();
        assert!(matches!(refused, AdminHttpReadError::Bad(_)));
        assert_eq!(pieces.rest, b"nine byte");
    }

    #[test]
    fn a_malformed_or_too_large_request_is_refused() {
        let with = |headers: &str| format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n").into_bytes();
        for (bytes, status) in [
            (b"\x16\x03\x01\x00\x05hello".to_vec(), 400),
            (b"GET / HTTP/2.0\r\n\r\n".to_vec(), 400),
            (with("Content-Length: 5"), 400),
            (with("Content-Length: -1"), 400),
            (with("Content-Length: +1"), 400),
            (with("Content-Length: 1, 1"), 400),
            (with("Content-Length: "), 400),
            (with("Content-Length: 1\r\nContent-Length: 2"), 400),
            (with("Transfer-Encoding: chunked"), 400),
            (with("Host: a\r\nHost: b"), 400),
            (with("Content-Length: 65537"), 413),
            (with("Content-Length: 99999999999999999999999999"), 413),
            (with(&format!("X: {}", "x".repeat(9_000))), 431),
            (with("X: y\r\n".repeat(65).trim_end()), 431),
            (format!("GET /{}", "x".repeat(9_000)).into_bytes(), 431),
        ] {
            assert_eq!(status_of(&bytes), status, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(90)]));
        }
        for bytes in [&b""[..], b"GET / HT"] {
            assert!(matches!(read_all(bytes, 4), Err(AdminHttpReadError::Broken(_))));
        }
    }

    #[test]
    fn a_head_gets_the_same_without_its_body() {
        let response = AdminHttpResponse::error(404, "not_found", "There is no such page.").with("Allow", "GET");
        let (mut whole, mut head) = (Vec::new(), Vec::new());
        response.write(&mut whole, false).unwrap();
        response.write(&mut head, true).unwrap();
        let whole = String::from_utf8(whole).unwrap();
        assert!(whole.starts_with("HTTP/1.1 404 Not Found\r\nAllow: GET\r\n"), "{whole}");
        let body = "{\"error\":\"not_found\",\"message\":\"There is no such page.\"}\n";
        assert_eq!(whole.strip_suffix(body).unwrap().as_bytes(), head);
        assert!(whole.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
