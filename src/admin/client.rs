//! `hongyan admin`: the client of the admin interface, for a shell.

use super::access::read_token;
use super::escape;
use super::http::STORE_HEADER;
use super::stream::{AdminStream, AdminStreamWithDeadline};
use super::target::encode;
use super::text_output;
use crate::config::AdminInterfaceAddress;
use crate::config::command::{AdminCliAccountCommand, AdminCliCommand, AdminCliVerb};
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

/// The time limit of a whole request: longer than the server's default (`--admin-timeout`).
const WITHIN: Duration = Duration::from_secs(60);
/// How often a server that drains is asked whether it has stopped, and how long it may take after
/// the last connection is closed.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(250);
const DRAIN_SPARE: Duration = Duration::from_secs(30);
/// The largest size of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const HEADERS_MAX: usize = 64;

/// The result of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCliResult {
    /// It is done, or could be answered.
    pub is_success: bool,
    /// The text for stdout, with its line ends.
    pub stdout_text: String,
    /// The text for stderr: one sentence, or nothing.
    pub err: String,
}

/// Asks a running server as the whole process does.
///
/// # Errors
/// One sentence: the server cannot be reached.
pub fn run(order: &AdminCliCommand) -> Result<AdminCliResult, String> {
    let caller = AdminClient::new(order)?;
    let (mut status, mut value) = match &order.verb {
        AdminCliVerb::Users => caller.all_users()?,
        verb => caller.ask(&request_of(verb))?,
    };
    // After the drain it stops, and says so to others who order it.
    let is_accepted = status == 202 || value["error"] == "stopping";
    if order.verb == (AdminCliVerb::Drain { waits: true }) && is_accepted {
        caller.wait_until_stopped(Duration::from_millis(value["left_ms"].as_u64().unwrap_or(0)))?;
        (status, value) = (202, value.take());
        if let Some(value) = value.as_object_mut() {
            value.remove("error");
        }
    }
    if order.is_json {
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        return Ok(AdminCliResult {
            is_success: is_success(status, &order.verb, &value),
            stdout_text: escape::json(&text) + "\n",
            err: String::new(),
        });
    }
    if let (Some(_), Some(message)) = (value["error"].as_str(), value["message"].as_str()) {
        return Ok(AdminCliResult {
            is_success: false,
            stdout_text: String::new(),
            err: format!("hongyan: {}", escape::printable(message)),
        });
    }
    // The receiver's node may know more.
    if let AdminCliVerb::Where { receiver, .. } = &order.verb
        && value["node"].is_u64()
    {
        // Even if this fails, the answer so far is shown.
        value["receiver"] =
            caller.ask(&request_of(&AdminCliVerb::User(receiver.clone()))).map_or(Value::Null, |(_, user)| user);
    }
    let stdout_text = text_output::show(&order.verb, &value);
    Ok(AdminCliResult { is_success: is_success(status, &order.verb, &value), stdout_text, err: String::new() })
}

fn is_success(status: u16, verb: &AdminCliVerb, value: &Value) -> bool {
    let is_unknown =
        matches!(verb, AdminCliVerb::Where { .. }) && value["messages"].as_array().is_some_and(Vec::is_empty);
    matches!(status, 200 | 202) && !is_unknown && value["unconfirmed_nodes"].is_null()
}

/// A request to the admin interface.
#[derive(Debug, PartialEq, Eq)]
struct OutgoingAdminRequest {
    method: &'static str,
    target: String,
    body: String,
}

fn request_of(verb: &AdminCliVerb) -> OutgoingAdminRequest {
    let get = |target: String| OutgoingAdminRequest { method: "GET", target, body: String::new() };
    let post = |target: String, body: &Value| OutgoingAdminRequest { method: "POST", target, body: body.to_string() };
    match verb {
        AdminCliVerb::Status => get("/health".to_owned()),
        AdminCliVerb::Nodes => get("/nodes".to_owned()),
        AdminCliVerb::ForgetNode(name) => post(format!("/nodes/{}/forget", encode(name)), &json!({})),
        AdminCliVerb::Users => get("/users".to_owned()),
        AdminCliVerb::Drain { .. } => post("/drain".to_owned(), &json!({})),
        AdminCliVerb::User(name) => get(format!("/users/{}", encode(name))),
        AdminCliVerb::Where { receiver, id } => {
            get(format!("/messages?receiver={}&id={}", encode(receiver), encode(id)))
        }
        AdminCliVerb::Notice { to: Some(to), text } => post("/notices".to_owned(), &json!({"to": to, "text": text})),
        AdminCliVerb::Notice { to: None, text } => post("/notices".to_owned(), &json!({"text": text})),
        AdminCliVerb::Change { name, change } => {
            let (word, body) = match change {
                AdminCliAccountCommand::Disconnect => ("disconnect", json!({})),
                AdminCliAccountCommand::Ban => ("ban", json!({})),
                AdminCliAccountCommand::Unban => ("unban", json!({})),
                AdminCliAccountCommand::ResetPassword { is_plain } => ("password", json!({"plain": is_plain})),
                AdminCliAccountCommand::Delete => ("delete", json!({})),
            };
            post(format!("/users/{}/{word}", encode(name)), &body)
        }
    }
}

struct AdminClient {
    endpoint: AdminInterfaceAddress,
    token: Option<String>,
    store_id: Option<String>,
}

impl AdminClient {
    fn new(order: &AdminCliCommand) -> Result<Self, String> {
        let token = match (&order.endpoint, &order.token_file) {
            (AdminInterfaceAddress::Tcp(_), Some(path)) => Some(read_token(path)?),
            _ => None,
        };
        Ok(Self { endpoint: order.endpoint.clone(), token, store_id: order.store_id.clone() })
    }

    /// Reads the users on all pages.
    fn all_users(&self) -> Result<(u16, Value), String> {
        let (mut users, mut target) = (Vec::new(), "/users".to_owned());
        loop {
            let (status, mut page) = self.ask(&OutgoingAdminRequest { method: "GET", target, body: String::new() })?;
            let Some(found) = page["users"].as_array_mut().filter(|_| status == 200) else { return Ok((status, page)) };
            users.append(found);
            match page["next"].as_str() {
                Some(next) => target = format!("/users?after={}", encode(next)),
                None => {
                    let (node, name) = (&page["node"], &page["node_name"]);
                    return Ok((status, json!({"users": users, "node": node, "node_name": name})));
                }
            }
        }
    }

    /// Waits until a server that drains has stopped. A supervisor may have started another one in
    /// its place meanwhile.
    fn wait_until_stopped(&self, left: Duration) -> Result<(), String> {
        let (began, within) = (Instant::now(), left + DRAIN_SPARE);
        while let Some(rest) = within.checked_sub(began.elapsed()) {
            thread::sleep(DRAIN_LOOK_EVERY);
            match self.ask_within(&request_of(&AdminCliVerb::Status), rest) {
                Ok((_, health)) => match health_after_drain(&health, began.elapsed()) {
                    AdminCliDrainResult::Stops => {}
                    AdminCliDrainResult::OtherProcess => return Ok(()),
                    AdminCliDrainResult::ServesAgain => {
                        return Err("the server does not drain any more: it serves, and has not stopped".to_owned());
                    }
                },
                Err(_) => match self.connect().map_err(|error| error.kind()) {
                    Err(ErrorKind::NotFound) => return Ok(()),
                    // A server that stops by itself takes its socket away.
                    Err(ErrorKind::ConnectionRefused) => {
                        return match self.endpoint {
                            AdminInterfaceAddress::Tcp(_) => Ok(()),
                            AdminInterfaceAddress::Unix(_) => {
                                Err("the server was killed before it had stopped".to_owned())
                            }
                        };
                    }
                    _ => {}
                },
            }
        }
        Err(format!("the server has not stopped within {} s", within.as_secs()))
    }

    fn ask(&self, request: &OutgoingAdminRequest) -> Result<(u16, Value), String> {
        self.ask_within(request, WITHIN)
    }

    fn ask_within(&self, request: &OutgoingAdminRequest, within: Duration) -> Result<(u16, Value), String> {
        let place = self.endpoint.with_absolute_path();
        let cannot = |error: io::Error| format!("cannot ask the server at {place}: {}", failure_reason(&error));
        let mut stream = AdminStreamWithDeadline::new(self.connect().map_err(cannot)?, within);
        let host = match &place {
            AdminInterfaceAddress::Tcp(addr) => addr.to_string(),
            AdminInterfaceAddress::Unix(_) => "localhost".to_owned(),
        };
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let store = self.store_id.as_ref().map(|id| format!("{STORE_HEADER}: {id}\r\n")).unwrap_or_default();
        let OutgoingAdminRequest { method, target, body } = request;
        let (kind, length) = ("Content-Type: application/json", body.len());
        let text = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{token}{store}{kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let written = stream.write_all(text.as_bytes());
        let mut bytes = Vec::new();
        let read = (&mut stream).take(ANSWER_BYTES_MAX as u64).read_to_end(&mut bytes);
        // After an early refusal there is an answer, although the rest of the request could not be
        // written.
        if bytes.is_empty() {
            written.map_err(cannot)?;
            read.map_err(cannot)?;
        }
        if bytes.is_empty() {
            return Err(format!("the server at {place} stopped before it answered: it may have done this, ask again"));
        }
        parse_answer(&bytes).ok_or_else(|| format!("the server at {place} is no admin interface of hongyan"))
    }

    fn connect(&self) -> io::Result<AdminStream> {
        match &self.endpoint {
            AdminInterfaceAddress::Tcp(addr) => AdminStream::connect_tcp(&reachable(*addr), WITHIN),
            #[cfg(unix)]
            AdminInterfaceAddress::Unix(path) => {
                Ok(AdminStream::Unix(std::sync::Arc::new(std::os::unix::net::UnixStream::connect(path)?)))
            }
            #[cfg(not(unix))]
            AdminInterfaceAddress::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }
}

/// The conclusion from the health of a server that was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AdminCliDrainResult {
    /// It stops.
    Stops,
    /// It is that of another process, in its place.
    OtherProcess,
    /// It is the same process, and does not drain.
    ServesAgain,
}

/// `elapsed`: the time since the drain was ordered.
fn health_after_drain(health: &Value, elapsed: Duration) -> AdminCliDrainResult {
    let is_ordinary = matches!(health["why"].as_str(), Some("ok" | "store" | "lease" | "starting" | "standby"));
    match health["uptime_seconds"].as_u64() {
        _ if !is_ordinary => AdminCliDrainResult::Stops,
        Some(uptime) if uptime > elapsed.as_secs() => AdminCliDrainResult::ServesAgain,
        // A server that is starting does not say since when.
        _ => AdminCliDrainResult::OtherProcess,
    }
}

/// If a server listens on all addresses, use loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

fn failure_reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            "there is no such socket: the server does not run, or its admin interface is elsewhere; its log says where, and \
             --admin names it (on MySQL it is hongyan.sock in the server's working folder: \
             --admin unix:/var/lib/hongyan/hongyan.sock)"
                .to_owned()
        }
        ErrorKind::ConnectionRefused => "no server listens there".to_owned(),
        ErrorKind::PermissionDenied => "only the server's user and root may ask it".to_owned(),
        ErrorKind::TimedOut => "it did not answer in time, and may still do this when it goes on".to_owned(),
        _ => super::listener::refusal_text(error),
    }
}

/// The status and JSON value of a complete answer.
fn parse_answer(bytes: &[u8]) -> Option<(u16, Value)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else { return None };
    let status = response.code?;
    let value: Value = serde_json::from_slice(&bytes[head..]).ok()?;
    value.is_object().then_some((status, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_arrive_as_they_are() {
        let request = request_of(&AdminCliVerb::Where { receiver: "a/b?".into(), id: "m 1&x=".into() });
        assert_eq!(request.target, "/messages?receiver=a%2Fb%3F&id=m%201%26x%3D");
        let change = AdminCliAccountCommand::ResetPassword { is_plain: true };
        let request = request_of(&AdminCliVerb::Change { name: "..".into(), change });
        assert_eq!((request.method, request.target.as_str()), ("POST", "/users/%2E%2E/password"));
        assert_eq!(request.body, "{\"plain\":true}");
    }

    #[test]
    fn a_server_that_serves_after_a_drain_is_another_one_or_has_not_stopped() {
        let after = |health: Value| health_after_drain(&health, Duration::from_millis(7_900));
        for why in ["draining", "stopping", "busy"] {
            assert_eq!(after(json!({"why": why, "uptime_seconds": 90})), AdminCliDrainResult::Stops, "{why}");
        }
        assert_eq!(after(json!({"error": "busy"})), AdminCliDrainResult::Stops);
        for (health, expected) in [
            (json!({"why": "ok", "uptime_seconds": 3}), AdminCliDrainResult::OtherProcess),
            (json!({"why": "starting"}), AdminCliDrainResult::OtherProcess),
            (json!({"why": "lease", "uptime_seconds": 90}), AdminCliDrainResult::ServesAgain),
            (json!({"why": "ok", "uptime_seconds": 90}), AdminCliDrainResult::ServesAgain),
        ] {
            assert_eq!(after(health.clone()), expected, "{health}");
        }
    }

    #[test]
    fn only_an_answer_of_ours_is_one() {
        assert_eq!(parse_answer(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n{}\n"), Some((404, json!({}))));
        for other in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
            b"220 ready\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n[]",
        ] {
            assert_eq!(parse_answer(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn all_addresses_are_asked_on_loopback() {
        for (addr, asked) in [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7"), ("10.0.0.1:7", "10.0.0.1:7")] {
            assert_eq!(reachable(addr.parse().unwrap()).to_string(), asked);
        }
    }
}
