//! Access control of the admin interface. A socket is protected by its file mode. A port is
//! protected by a token, and against requests that web pages cause in browsers.

use super::AdminConfig;
use super::http::{AdminHttpRequest, AdminHttpResponse};
use crate::config::{AdminInterfaceAddress, StoreUrl, regular_file};
use ring::hmac;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: usize = 1_024;
/// The interval between two lines in the log about callers who were refused.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The token that callers must send. Both tokens are hashed with a secret key before they are
/// compared, so that the time of a comparison reveals nothing about the token.
struct AdminToken {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl AdminToken {
    fn new(token: &[u8]) -> Result<Self, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| format!("the system has no random numbers: {error}"))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let tag = hmac::sign(&key, token);
        Ok(Self { key, tag })
    }

    fn matches(&self, given: &[u8]) -> bool {
        hmac::verify(&self.key, given, self.tag.as_ref()).is_ok()
    }
}

/// Reads the token from a file.
///
/// # Errors
/// One sentence.
pub(super) fn read_token(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let cannot = |why: &str| format!("--admin-token-file {shown} cannot be used: {why}");
    let (bytes, _) = regular_file::read_file(path).map_err(|why| cannot(&why))?;
    let text = String::from_utf8(bytes).map_err(|_| cannot("the token has characters that are not ASCII"))?;
    let token = text.trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(cannot("the token must be one line of ASCII characters without spaces"));
    }
    if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) {
        return Err(cannot(&format!("the token must have {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} characters")));
    }
    Ok(token.to_owned())
}

/// Can users other than the owner and the group read a file?
#[cfg(unix)]
fn is_world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_world_readable(_: &Path) -> bool {
    false
}

/// The access rules of an interface.
pub(super) struct AdminAccessRules {
    is_port: bool,
    secret: Option<AdminToken>,
    /// The store of this server.
    store: StoreUrl,
    refusal_log: Mutex<AdminRefusalLogLimiter>,
    drop_log: Mutex<AdminRefusalLogLimiter>,
}

/// Callers who were refused since that was last said.
#[derive(Default)]
struct AdminRefusalLogLimiter {
    last: Option<Instant>,
    unlogged_count: u64,
}

impl fmt::Debug for AdminAccessRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminAccessRules").field("is_port", &self.is_port).finish_non_exhaustive()
    }
}

impl AdminAccessRules {
    /// # Errors
    /// One sentence.
    pub(super) fn new(config: &AdminConfig) -> Result<Self, String> {
        let secret = match (&config.endpoint, &config.token_file) {
            (AdminInterfaceAddress::Tcp(_), Some(path)) => {
                let secret = AdminToken::new(read_token(path)?.as_bytes())?;
                if is_world_readable(path) {
                    let path = path.display();
                    log::warn!("everybody on this machine may read the token in {path}: chmod o-r {path}");
                }
                Some(secret)
            }
            (AdminInterfaceAddress::Tcp(addr), None) if !addr.ip().to_canonical().is_loopback() => {
                return Err(format!("--admin {addr} is no loopback address: it needs --admin-token-file"));
            }
            _ => None,
        };
        let (is_port, store) = (matches!(config.endpoint, AdminInterfaceAddress::Tcp(_)), config.store.clone());
        Ok(Self { is_port, secret, store, refusal_log: Mutex::default(), drop_log: Mutex::default() })
    }

    /// May everybody who can reach it use it?
    pub(super) fn is_open(&self) -> bool {
        self.is_port && self.secret.is_none()
    }

    /// The refusal of a request, if it is not allowed.
    pub(super) fn refusal(&self, request: &AdminHttpRequest, who: &str) -> Option<AdminHttpResponse> {
        let (refusal, why) = self.check(request).err()?;
        if let Some(unsaid) = is_due(&self.refusal_log) {
            log::warn!("admin: a request by {who} was refused: {why}; {unsaid} more since this was last said");
        }
        Some(refusal)
    }

    /// Logs that a connection was closed before it had sent a request.
    pub(super) fn log_dropped(&self, who: &str) {
        if let Some(unsaid) = is_due(&self.drop_log) {
            let why = "a newer one took its place, and it had not shown that it may ask";
            log::info!("admin: a connection of {who} was closed: {why}; {unsaid} more since this was last said");
        }
    }

    fn check(&self, request: &AdminHttpRequest) -> Result<(), (AdminHttpResponse, &'static str)> {
        if self.is_port {
            self.check_of_port(request)?;
        }
        if request.store_id.as_ref().is_some_and(|id| !self.store.has_id(id)) {
            let message = format!(
                "The store of this server is {}, which is not the one that was meant; --admin says which server is asked.",
                self.store
            );
            return Err((
                AdminHttpResponse::error(409, "other_store", message),
                "it is for a server with another store",
            ));
        }
        Ok(())
    }

    fn check_of_port(&self, request: &AdminHttpRequest) -> Result<(), (AdminHttpResponse, &'static str)> {
        let forbidden = |message: &str| AdminHttpResponse::error(403, "forbidden", message);
        if request.has_origin {
            return Err((forbidden("Requests of web pages (with an Origin header) are refused."), "an Origin header"));
        }
        if request.is_of_page {
            return Err((forbidden("Requests of web pages (by Sec-Fetch-Site) are refused."), "a web page"));
        }
        let Some(host) = &request.host else {
            return Err((forbidden("The request needs a Host header."), "no Host header"));
        };
        if !is_plain_host(host) {
            let message = "The Host must be an IP address or localhost: a name may be one that an attacker chose.";
            return Err((forbidden(message), "a Host header with a name"));
        }
        let Some(secret) = &self.secret else { return Ok(()) };
        let given = request.authorization.as_deref().and_then(bearer);
        if given.is_some_and(|given| secret.matches(given)) {
            return Ok(());
        }
        let message = "The request needs the header Authorization: Bearer TOKEN, with the token of --admin-token-file.";
        let refusal = AdminHttpResponse::error(401, "unauthorized", message).with("WWW-Authenticate", "Bearer");
        Err((refusal, if given.is_some() { "a wrong token" } else { "no token" }))
    }
}

/// Limits the log lines about refused callers. If a line is due, gives the number of callers that
/// were not logged before it.
fn is_due(refused: &Mutex<AdminRefusalLogLimiter>) -> Option<u64> {
    // Only whole values are written, so a panic cannot leave them torn.
    let mut refused = refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if refused.last.is_some_and(|last| last.elapsed() < LOG_EVERY) {
        refused.unlogged_count += 1;
        return None;
    }
    refused.last = Some(Instant::now());
    Some(std::mem::take(&mut refused.unlogged_count))
}

/// The token after `Bearer`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

/// Is it an IP address or `localhost`, with or without a port?
fn is_plain_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<IpAddr>().is_ok()
                || host.parse::<std::net::Ipv6Addr>().is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::http::AdminHttpMethod;

    fn request(host: &str, authorization: Option<&str>, has_origin: bool) -> AdminHttpRequest {
        AdminHttpRequest {
            method: AdminHttpMethod::Get,
            target: "/health".to_owned(),
            host: Some(host.to_owned()),
            has_origin,
            is_of_page: false,
            store_id: None,
            authorization: authorization.map(|value| value.as_bytes().to_vec()),
            body: Vec::new(),
        }
    }

    fn access(endpoint: &str, token_file: Option<&Path>) -> Result<AdminAccessRules, String> {
        let crate::config::AdminPlace::At(endpoint) = crate::config::AdminPlace::parse(endpoint).unwrap() else {
            panic!()
        };
        let (token_file, timeout) = (token_file.map(Path::to_owned), Duration::from_secs(1));
        let store = StoreUrl::Mysql("mysql://u:geheim@h/prod".to_owned());
        AdminAccessRules::new(&AdminConfig {
            endpoint,
            token_file,
            store,
            connections_max: 1,
            timeout,
            notice_bytes_max: 1,
        })
    }

    #[test]
    fn names_that_somebody_could_have_chosen_are_no_hosts() {
        for host in ["localhost", "LOCALHOST:1103", "127.0.0.1", "10.0.0.1:80", "[::1]", "[2001:db8::1]:1103", "::1"] {
            assert!(is_plain_host(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "evil.example:1103", "[evil]", "1.2.3.4.nip.io", ":1"]
        {
            assert!(!is_plain_host(host), "{host}");
        }
    }

    #[test]
    fn a_port_wants_its_token_and_no_browser() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let access = access("127.0.0.1:0", Some(&file)).unwrap();
        let status = |host, authorization, has_origin| {
            access.refusal(&request(host, authorization, has_origin), "a test").map_or(200, |refusal| refusal.status)
        };
        assert_eq!(status("127.0.0.1", Some("Bearer 0123456789abcdef"), false), 200);
        assert_eq!(status("127.0.0.1", Some("bearer  0123456789abcdef"), false), 200);
        for wrong in [None, Some("Bearer 0123456789abcdeF"), Some("Bearer "), Some("Basic 0123456789abcdef"), Some("")]
        {
            assert_eq!(status("127.0.0.1", wrong, false), 401, "{wrong:?}");
        }
        assert_eq!(status("127.0.0.1", Some("Bearer 0123456789abcdef"), true), 403);
        assert_eq!(status("evil.example", Some("Bearer 0123456789abcdef"), false), 403);
    }

    #[test]
    fn pages_without_an_origin_and_requests_without_a_host_are_refused() {
        let access = access("127.0.0.1:0", None).unwrap();
        let status =
            |request: &AdminHttpRequest| access.refusal(request, "a test").map_or(200, |refusal| refusal.status);
        let plain = || request("127.0.0.1", None, false);
        assert_eq!(status(&plain()), 200);
        assert_eq!(status(&AdminHttpRequest { is_of_page: true, ..plain() }), 403);
        assert_eq!(status(&AdminHttpRequest { host: None, ..plain() }), 403);
    }

    #[test]
    fn a_request_for_another_store_is_refused_on_a_socket_as_well() {
        for place in ["unix:a", "127.0.0.1:0"] {
            let access = access(place, None).unwrap();
            let asked = |url: &str| {
                let store_id = StoreUrl::parse(url).unwrap().id();
                access.refusal(&AdminHttpRequest { store_id, ..request("127.0.0.1", None, false) }, "a test")
            };
            assert!(asked("mysql://other:words@h:3306/prod").is_none());
            let refusal = asked("mysql://u:geheim@h/test").unwrap();
            let said = String::from_utf8(refusal.body).unwrap();
            assert!(refusal.status == 409 && said.contains("mysql://u:***@h/prod"), "{said}");
        }
    }

    #[test]
    fn a_token_that_is_no_token_is_refused_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        for (text, words) in [
            ("short", "16 to 1024"),
            ("0123456789 abcdef", "without spaces"),
            ("0123456789abcdef\n0123456789abcdef", "one line"),
            ("geheimgeheimgeheimgehe\u{ef}m", "ASCII"),
        ] {
            std::fs::write(&file, text).unwrap();
            let why = access("127.0.0.1:0", Some(&file)).unwrap_err();
            assert!(why.contains(words) && !why.contains("geheim") && !why.contains('\n'), "{why}");
        }
        let why = access("10.0.0.1:0", None).unwrap_err();
        assert!(why.contains("--admin-token-file"), "{why}");
        assert!(access("10.0.0.1:0", Some(Path::new("/no/such"))).unwrap_err().contains("no such file"));
        let endless = access("10.0.0.1:0", Some(Path::new("/dev/zero"))).unwrap_err();
        assert!(endless.ends_with("it is not a regular file"), "{endless}");
        for open in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0", "unix:a"] {
            assert!(access(open, None).is_ok(), "{open}");
        }
    }
}
