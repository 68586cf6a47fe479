//! The web page on the port of the clients: its headers, its cost, and that it keeps to itself. The
//! tests of the page in a browser are in `tests/page/`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::Server;
use hongyan::web_page;
use std::path::Path;

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let value = values.next();
    assert!(values.next().is_none(), "{name} stands there once");
    value
}

/// The path of a file of the folder.
fn path_of(name: &str) -> String {
    if name == "index.html" { "/".to_owned() } else { format!("/web/{name}") }
}

/// The part of a file that is served: of code, no comments and no indentation.
fn served(name: &str, content: &str) -> String {
    let is_script = name.ends_with(".js");
    if !is_script && !name.ends_with(".css") {
        return content.to_owned();
    }
    let lines = content.lines().map(str::trim_start).filter(|line| !line.is_empty());
    lines.filter(|line| !(is_script && line.starts_with("//"))).map(|line| format!("{line}\n")).collect()
}

/// The files of the folder: name and content.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn every_file_is_served_as_it_is_with_its_type_and_a_strict_policy() {
    let server = Server::start();
    for (name, content) in files() {
        let answer = server.ask_http(&format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path_of(&name)));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == served(&name, &content), "{name}: {head}");
        let kind = match name.rsplit_once('.').unwrap().1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml; charset=utf-8",
            other => panic!("which type has {other}?"),
        };
        for (header_name, value) in [
            ("Content-Type", kind),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ] {
            assert_eq!(header(&answer, header_name), Some(value), "{name}");
        }
        let policy = header(&answer, "Content-Security-Policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
    }
}

#[test]
fn a_browser_that_has_a_file_is_not_sent_it_again() {
    let server = Server::start();
    let first = server.ask_http("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let etag = header(&first, "ETag").unwrap();
    let again = server.ask_http(&format!("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: {etag}\r\n\r\n"));
    assert!(again.starts_with("HTTP/1.1 304 Not Modified\r\n") && again.ends_with("\r\n\r\n"), "{again}");
    assert_eq!((header(&again, "ETag"), header(&again, "Content-Length")), (Some(etag), None));
    let other = server.ask_http("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"other\"\r\n\r\n");
    assert_eq!(other, first);
    let head = server.ask_http("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(first.starts_with(&head) && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn without_the_page_the_server_describes_itself() {
    let server = Server::tuned(|config| config.web_page = false);
    let answer = server.ask_http("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(header(&answer, "Content-Type"), Some("text/plain; charset=utf-8"));
    assert!(server.ask_http("GET /web/main.js HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_websocket_is_opened_at_the_address_of_the_page() {
    let server = Server::start();
    let mut client = server.web_socket();
    client.send(r#"{"TYPE":"0","MID":"x"}"#);
    client.expect_error("x", "NOT_LOGGED_IN");
}

/// A policy only forbids; forbidden things should not be asked for either.
#[test]
fn the_page_needs_nothing_from_elsewhere_and_makes_no_markup_out_of_text() {
    let files = files();
    for (name, content) in &files {
        for word in [".innerHTML", ".outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!content.contains(word), "{name}: {word}");
        }
        if name.ends_with(".html") {
            for part in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
                assert!(!content.contains(part), "{name}: {part}");
            }
            for script in content.split("<script").skip(1) {
                assert!(script.split('>').next().unwrap().contains("src=\""), "{name}: a script in the page");
            }
        }
        // Addresses of files: each is one that is served.
        let quoted = content.split(['"', '\'', '`']).filter(|word| word.starts_with("./") || word.starts_with("web/"));
        for address in quoted.filter(|word| *word != "./") {
            let path = format!("/web/{}", address.trim_start_matches("./").trim_start_matches("web/"));
            assert!(web_page::find(&path).is_some(), "{name}: {address}");
        }
        for address in content.split("://").skip(1) {
            let host = address.split(['/', '"', '\'', ' ', ')', '\n', '`']).next().unwrap();
            assert!(!host.contains('.') || ["www.w3.org", "127.0.0.1:${port}"].contains(&host), "{name}: {host}");
        }
    }
}
