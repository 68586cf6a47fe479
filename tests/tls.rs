//! TLS with clients of another make: OpenSSL, and Python's ssl module. Where they are not
//! installed, as on a bare machine, the tests that need them say so and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/tls/`.
mod tls {
    mod dates;
    mod pages;
    mod python;
}

use common::{CHEAP_PASSWORDS, ContentForm, PATIENCE, Program};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hongyan");
const SIGN_UP: &str = "{\"MID\":\"s\",\"CONTENT\":{\"userName\":\"ann\",\"hashValue\":\"x\"},\"TYPE\":\"1\"}";
const LOG_IN: &str = "{\"MID\":\"l\",\"CONTENT\":{\"PASS\":\"x\",\"USER\":\"ann\"},\"TYPE\":\"2\"}";
const BEAT: &str = "{\"MID\":\"h\",\"TYPE\":\"0\"}";
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/tls").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        println!("there is no openssl: skipped");
    }
    found
}

fn server(args: &[&str]) -> Program {
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let tls = ["--tls-cert", text(&certificate), "--tls-key", text(&key)];
    Program::on("memory:", &[&CHEAP_PASSWORDS[..], &tls, args].concat())
}

/// `openssl s_client`: it encrypts its input, and its output was encrypted.
struct OpenSsl {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    got: Vec<u8>,
}

impl OpenSsl {
    fn connect(addr: SocketAddr, args: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", &addr.to_string(), "-CAfile", text(&file("ca.pem"))]);
        command.args(args);
        Self::run(command)
    }

    /// The same, but a letter on a line is an order to the program, which says on its stderr when
    /// it does it: that comes out as well.
    fn ordered(addr: SocketAddr, version: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>&1", "sh", "openssl", "s_client", "-connect", &addr.to_string()]);
        command.args(["-CAfile", text(&file("ca.pem")), version]);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = pipes.spawn().unwrap();
        let (sender, output) = channel();
        let mut stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                sender.send(buffer[..count].to_vec()).unwrap_or(());
            }
        });
        let input = child.stdin.take();
        Self { child, input, output, got: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes.as_ref()).unwrap();
        input.flush().unwrap();
    }

    /// Waits until this has come, and forgets what came up to it.
    #[track_caller]
    fn wait_for(&mut self, what: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.got.windows(what.len()).position(|bytes| bytes == what.as_bytes()) {
                self.got.drain(..at + what.len());
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.got.extend_from_slice(&bytes),
                Err(_) => panic!("{what:?} does not come: {}", String::from_utf8_lossy(&self.got)),
            }
        }
    }

    /// Nothing more comes: the connection was ended cleanly, as OpenSSL sees it.
    fn ended_cleanly(mut self) -> bool {
        while self.output.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().unwrap().success()
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The output of `openssl s_client` about one handshake.
fn handshake(addr: SocketAddr, args: &[&str]) -> Output {
    let ca = file("ca.pem");
    Command::new("openssl")
        .args(["s_client", "-connect", &addr.to_string(), "-CAfile", text(&ca), "-verify_return_error"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn says(output: &Output, what: &str) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(what)
}

fn hang_up(program: &Program) {
    assert!(Command::new("kill").args(["-HUP", &program.id().to_string()]).status().unwrap().success());
}

fn masked(text: &str) -> Vec<u8> {
    assert!((126..65_536).contains(&text.len()) || text.len() < 126);
    let mut frame = vec![0x81];
    if text.len() < 126 {
        frame.push(0x80 | text.len() as u8);
    } else {
        frame.push(0x80 | 126);
        frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
    }
    // A mask of zeros changes nothing.
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[test]
fn raw_and_websocket_clients_talk_in_both_versions_and_plain_ones_beside_them() {
    if !has_openssl() {
        return;
    }
    let program = server(&[]);
    let mut plain = program.user("bob", ContentForm::Text);
    let mut raw = OpenSsl::connect(program.addr, &["-tls1_2", "-verify_hostname", "localhost", "-verify_return_error"]);
    raw.send(SIGN_UP);
    raw.wait_for("SS");
    for version in ["-tls1_2", "-tls1_3"] {
        let mut raw = OpenSsl::connect(program.addr, &[version]);
        raw.send(LOG_IN);
        raw.wait_for("LS");
        raw.send(BEAT);
        raw.wait_for("RE_HEARTBEAT");
        let mut socket = OpenSsl::connect(program.addr, &[version]);
        socket.send(HANDSHAKE);
        socket.wait_for("101 Switching Protocols");
        socket.send(masked(LOG_IN));
        socket.wait_for("LS");
        // The newer connection takes over, and the older one is told the end.
        raw.wait_for("REPLACED");
        assert!(raw.ended_cleanly(), "{version}");
        socket.send(masked(BEAT));
        socket.wait_for("RE_HEARTBEAT");
    }
    plain.fence();
}

#[test]
fn every_cipher_is_spoken_whether_its_keys_are_kept_compact_or_not() {
    if !has_openssl() {
        return;
    }
    let program = server(&[]);
    let names = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
    let newer = names.map(|name| ["-tls1_3", "-ciphersuites", name]);
    let names = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"];
    let older = names.map(|name| ["-tls1_2", "-cipher", name]);
    for cipher in newer.iter().chain(&older) {
        let mut client = OpenSsl::connect(program.addr, cipher);
        for _ in 0..3 {
            client.send(BEAT);
            client.wait_for("NOT_LOGGED_IN");
        }
    }
    let said = handshake(program.addr, &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"]);
    assert!(says(&said, "TLS_AES_256_GCM_SHA384"), "the server chooses: {said:?}");
}

#[test]
fn keys_may_change_and_nobody_begins_anew() {
    if !has_openssl() {
        return;
    }
    let program = server(&[]);
    let mut plain = program.user("bob", ContentForm::Text);
    let mut client = OpenSsl::ordered(program.addr, "-tls1_3");
    // Its own keys; both sides' keys.
    for order in ["k\n", "K\n", "K\n"] {
        client.send(order);
        client.wait_for("KEYUPDATE");
        client.send(format!("{BEAT}\n"));
        client.wait_for("NOT_LOGGED_IN");
    }
    let mut client = OpenSsl::ordered(program.addr, "-tls1_2");
    client.send(format!("{BEAT}\n"));
    client.wait_for("NOT_LOGGED_IN");
    client.send("R\n");
    client.wait_for("RENEGOTIATING");
    // OpenSSL takes the refusal for an error.
    assert!(!client.ended_cleanly());
    plain.fence();
}

#[test]
fn the_certificate_is_shown_and_http_1_1_is_spoken() {
    if !has_openssl() {
        return;
    }
    let program = server(&[]);
    for version in ["-tls1_2", "-tls1_3"] {
        let said = handshake(program.addr, &[version, "-alpn", "h2,http/1.1", "-verify_hostname", "localhost"]);
        assert!(said.status.success() && says(&said, "ALPN protocol: http/1.1"), "{said:?}");
        assert!(says(&said, "CN = localhost"), "{said:?}");
        assert!(says(&said, "Secure Renegotiation IS supported") || version == "-tls1_3", "{said:?}");
    }
    let said = handshake(program.addr, &["-alpn", "h2"]);
    assert!(!said.status.success(), "a client that wants only HTTP/2 gets nothing");
    let said = handshake(program.addr, &["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"]);
    assert!(!said.status.success(), "older versions are not spoken");
}

#[test]
fn a_hang_up_has_the_certificate_read_again_and_disturbs_nobody() {
    if !has_openssl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let put = |name: &str| {
        std::fs::copy(file(&format!("{name}.pem")), &certificate).unwrap();
        std::fs::copy(file(&format!("{name}.key")), &key).unwrap();
    };
    put("server");
    let tls = ["--tls-cert", text(&certificate), "--tls-key", text(&key)];
    let program = Program::on("memory:", &[&CHEAP_PASSWORDS[..], &tls].concat());
    let mut before = OpenSsl::connect(program.addr, &[]);
    before.send(SIGN_UP);
    before.wait_for("SS");
    put("other");
    hang_up(&program);
    program.wait_for("was read again");
    assert!(says(&handshake(program.addr, &[]), "CN = other"));
    before.send(LOG_IN);
    before.wait_for("LS");
    // A certificate that is of no use is said, and the one before it stays.
    for (bad_certificate, why) in [("no certificate", "there is no certificate in it"), ("", "there is no certificate")]
    {
        std::fs::write(&certificate, bad_certificate).unwrap();
        hang_up(&program);
        let line = program.wait_for("stays in use");
        assert!(line.contains(why) && line.contains("ERROR"), "{line}");
    }
    std::fs::copy(file("server.pem"), &certificate).unwrap();
    hang_up(&program);
    assert!(program.wait_for("stays in use").contains("is not the key of"));
    assert!(says(&handshake(program.addr, &[]), "CN = other"));
    before.send(BEAT);
    before.wait_for("RE_HEARTBEAT");
}

#[test]
fn bytes_that_are_no_tls_harm_nobody() {
    let program = server(&["--handshake-timeout", "300ms"]);
    let mut bob = program.user("bob", ContentForm::Text);
    // Rubbish that looks like a hello.
    let mut rubbish = TcpStream::connect(program.addr).unwrap();
    rubbish.set_read_timeout(Some(PATIENCE)).unwrap();
    rubbish.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 9]).unwrap();
    let mut answer = Vec::new();
    rubbish.read_to_end(&mut answer).unwrap();
    assert_eq!((answer[0], answer[5]), (0x15, 2), "a fatal alert: {answer:?}");
    // A hello that is cut off.
    let mut cut = TcpStream::connect(program.addr).unwrap();
    cut.set_read_timeout(Some(PATIENCE)).unwrap();
    cut.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
    answer.clear();
    cut.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty(), "{answer:?}");
    // Rubbish behind the hello.
    let hello = hello();
    let mut behind = TcpStream::connect(program.addr).unwrap();
    behind.set_read_timeout(Some(PATIENCE)).unwrap();
    behind.write_all(&[&hello[..], &[0xEE; 500]].concat()).unwrap();
    answer.clear();
    // The end may be a reset, since the bytes are not read to their end.
    behind.read_to_end(&mut answer).ok();
    assert_eq!(answer.first(), Some(&0x16), "its own hello comes first");
    bob.fence();
}

/// The first record of a client.
fn hello() -> Vec<u8> {
    use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring};
    let config = ClientConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(std::sync::Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn a_client_on_loopback_may_use_plain_tcp_where_others_must_use_tls() {
    if !has_openssl() {
        return;
    }
    let program = server(&["--tls-only"]);
    program.user("bob", ContentForm::Text).fence();
    let mut ann = OpenSsl::connect(program.addr, &[]);
    ann.send(SIGN_UP);
    ann.wait_for("SS");
}

#[test]
fn a_hang_up_without_a_certificate_does_nothing() {
    let program = Program::on("memory:", &CHEAP_PASSWORDS);
    let mut bob = program.user("bob", ContentForm::Text);
    hang_up(&program);
    program.wait_for("SIGHUP");
    bob.fence();
}

#[test]
fn files_that_are_of_no_use_are_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, torn) = (folder.path().join("empty.pem"), folder.path().join("torn.pem"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&torn, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").unwrap();
    let nowhere = folder.path().join("nowhere.pem");
    let (certificate, key, other) = (file("server.pem"), file("server.key"), file("other.key"));
    for (certificate, key, why) in [
        (&nowhere, &key, "--tls-cert"),
        (&certificate, &nowhere, "--tls-key"),
        (&empty, &key, "there is no certificate in it"),
        (&key, &certificate, "there is no certificate in it"),
        (&certificate, &empty, "there is no private key"),
        (&certificate, &certificate, "there is no private key"),
        (&torn, &key, "cannot be used"),
        (&certificate, &other, "is not the key of the first certificate"),
    ] {
        let output = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1:0", "--store", "memory:", "--tls-cert", text(certificate)])
            .args(["--tls-key", text(key)])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.lines().count() == 1 && said.contains(why), "{said}");
    }
}
