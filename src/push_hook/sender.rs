//! One request: signed, sent, and judged by the status of its answer.

use super::message::QueuedHookRequest;
use super::settings::HookSettings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::fmt::Write;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

/// The header that carries the time and the signature.
const SIGNATURE: &str = "Hongyan-Signature";
/// The largest part of an answer's body that is read, in bytes, so that its connection can be
/// reused.
const ANSWER_BYTES_MAX: u64 = 1_024;
/// The beginning of the standard library's error when the system's resolver fails.
const NOT_RESOLVED: &str = "failed to lookup address information";
const ANSWER_HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Requests and answers are small.
const BUFFER_BYTES: usize = 16 * 1_024;

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HookResult {
    Delivered,
    /// The receiver refuses it for good.
    Refused(String),
    /// A retry may succeed.
    Failed(String),
}

/// Makes requests; for all threads.
pub(super) struct HookSender {
    agent: Agent,
    target: String,
    /// The header of basic authentication.
    authorization: Option<String>,
    key: hmac::Key,
}

impl HookSender {
    pub(super) fn new(settings: HookSettings) -> Self {
        let roots = settings.roots.map_or(RootCerts::WebPki, |roots| {
            RootCerts::Specific(Arc::new(roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect()))
        });
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Do not follow redirects: the operator has given the URL.
            .max_redirects(0)
            // Do not use a proxy of the environment: it would learn who talks to whom.
            .proxy(None)
            .timeout_global(Some(settings.timeout))
            .timeout_connect(Some(settings.timeout))
            .user_agent(concat!("hongyan/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(ANSWER_HEAD_BYTES_MAX)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .new_agent();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &settings.secret);
        let user = settings.url.user_and_password();
        let authorization = user.map(|user| format!("Basic {}", STANDARD.encode(user)));
        Self { agent, target: settings.url.target(), authorization, key }
    }

    /// Sends an announcement once.
    pub(super) fn send(&self, message: &QueuedHookRequest) -> HookResult {
        // The agent is reused after a panic: at worst a connection of its pool is torn.
        let sent = catch_unwind(AssertUnwindSafe(|| self.post(message)));
        sent.unwrap_or_else(|_| HookResult::Failed("the HTTP client panicked".to_owned()))
    }

    fn post(&self, message: &QueuedHookRequest) -> HookResult {
        // With a clock before 1970 the signature is too old; nothing else is affected.
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut request = self
            .agent
            .post(&self.target)
            .header("Content-Type", "application/json")
            .header(SIGNATURE, signature(&self.key, now_s, &message.body));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let response = match request.send(&message.body[..]) {
            Ok(response) => response,
            Err(error) => return HookResult::Failed(reason(&error)),
        };
        let status = response.status().as_u16();
        // Neither the body nor a read error matters.
        response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec().unwrap_or_default();
        result_of_status(status)
    }
}

fn result_of_status(status: u16) -> HookResult {
    let why = format!("it answered with status {status}");
    match status {
        200..=299 => HookResult::Delivered,
        408 | 429 | 500..=599 => HookResult::Failed(why),
        300..=399 => HookResult::Refused(format!("{why}, and redirects are not followed")),
        _ => HookResult::Refused(why),
    }
}

/// `t=SECONDS,v1=HEX`: the HMAC-SHA-256 of the seconds, a dot and the body.
fn signature(key: &hmac::Key, now_s: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{now_s}.").as_bytes());
    context.update(body);
    let mut text = format!("t={now_s},v1=");
    for byte in context.sign().as_ref() {
        // Writing to a text cannot fail.
        write!(text, "{byte:02x}").unwrap_or(());
    }
    text
}

/// The error in words that do not contain the URL.
fn reason(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "it does not answer in time".to_owned(),
        Error::Io(error) => match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(error) => format!("TLS failed: {error}"),
            None => failed_connection(error),
        },
        Error::HostNotFound => "its host is not found".to_owned(),
        Error::Rustls(error) => format!("TLS failed: {error}"),
        Error::Tls(why) => format!("TLS failed: {why}"),
        Error::Protocol(_) | Error::LargeResponseHeader(..) => "its answer is not HTTP".to_owned(),
        _ => "the request failed".to_owned(),
    }
}

/// There is no error kind for a name that is not found, nor for most failures of the network: use
/// the system's text, which does not contain the URL either.
fn failed_connection(error: &io::Error) -> String {
    let text = error.to_string();
    if text.starts_with(NOT_RESOLVED) {
        return "its host is not found".to_owned();
    }
    let why = if error.raw_os_error().is_some() { text } else { error.kind().to_string() };
    // Without the number that Rust appends.
    format!("the connection failed: {}", why.split(" (os error").next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::ToSocketAddrs;

    #[test]
    fn a_failed_connection_says_why() {
        // By RFC 6761 there never is one of this name, and the system need not ask anybody.
        let unknown = ("no.such.invalid", 80).to_socket_addrs().unwrap_err();
        assert_eq!(reason(&Error::Io(unknown)), "its host is not found");
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(reason(&Error::Io(refused)), "the connection failed: connection refused");
        #[cfg(target_os = "linux")]
        {
            const ENOBUFS: i32 = 105;
            let of_system = reason(&Error::Io(io::Error::from_raw_os_error(ENOBUFS)));
            assert_eq!(of_system, "the connection failed: No buffer space available");
        }
        let secret = io::Error::other("http://user:secret@host/");
        assert_eq!(reason(&Error::Io(secret)), "the connection failed: other error");
    }

    #[test]
    fn the_signature_is_that_of_other_programs() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let expected = "9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";
        assert_eq!(signature(&key, 1_700_000_000, br#"{"a":1}"#), format!("t=1700000000,v1={expected}"));
    }

    #[test]
    fn only_a_status_that_may_pass_is_tried_again() {
        let failed = |status| matches!(result_of_status(status), HookResult::Failed(_));
        let refused = |status| matches!(result_of_status(status), HookResult::Refused(_));
        assert!([200, 201, 202, 204, 299].into_iter().all(|status| result_of_status(status) == HookResult::Delivered));
        assert!([408, 429, 500, 502, 503, 599].into_iter().all(failed));
        assert!([100, 301, 302, 307, 308, 400, 401, 404, 410, 422, 600].into_iter().all(refused));
    }
}
