//! The recipes for nginx and HAProxy in docs/operations.md, run as they stand there but for ports
//! and times.

use crate::common::{CHEAP_PASSWORDS, ContentForm, PATIENCE, Program, envelope};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// The time-outs of the proxies in the test, instead of those of the recipes: 5 s, or
/// `PROXY_SECONDS`.
fn timeout() -> Duration {
    let seconds = std::env::var("PROXY_SECONDS").ok();
    Duration::from_secs(seconds.map_or(5, |seconds| seconds.parse().expect("a number of seconds")))
}

/// The client of the test, as the proxy sees it.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A proxy that is installed; `None` if it is not, and need not be.
fn installed(name: &str) -> Option<PathBuf> {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(|folder| Path::new(folder).join(name));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("HONGYAN_TEST_PROXIES").is_none(), "{name} is there: ./test installs it");
        eprintln!("{name} is not installed: its recipe is not run here, ./test does it");
    }
    found
}

/// The blocks of this language in a section of the page, from this section on.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n## {section}\n")).expect("the section is there");
    let begin = format!("```{language}\n");
    let blocks = section.split(&begin).skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

/// The first block of this language in the section about proxies.
fn recipe(language: &str) -> String {
    blocks("Behind a proxy", language).swap_remove(0)
}

/// The recipe with the ports of this test, and shorter times.
fn tuned(recipe: &str, its_port: &str, port: u16, server: SocketAddr) -> String {
    for expected in [its_port, "127.0.0.1:1102", "150s"] {
        assert!(recipe.contains(expected), "no {expected} in {recipe}");
    }
    let server = recipe.replace("127.0.0.1:1102", &server.to_string());
    server.replace(its_port, &port.to_string()).replace("150s", &format!("{}s", timeout().as_secs()))
}

/// Killed when the test is over.
struct Proxy {
    child: Child,
    addr: SocketAddr,
}

impl Proxy {
    fn start(command: &mut Command, addr: SocketAddr) -> Self {
        let proxy = Self { child: command.spawn().unwrap(), addr };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            assert!(Instant::now() < until, "the proxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    fn connect(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((CLIENT, 0)).into()).unwrap();
        socket.connect(&self.addr.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.into()
    }

    fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: chat.example\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked to stop, so that it stops its own workers as well.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        self.child.wait().ok();
    }
}

fn free_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn server() -> Program {
    let args = ["--trusted-proxies", "127.0.0.1", "--log", "debug"];
    Program::on("memory:", &[&args[..], &CHEAP_PASSWORDS].concat())
}

fn say(socket: &mut WebSocket<TcpStream>, kind: &str, id: &str, content: &serde_json::Value, answer: &str) {
    socket.send(Message::text(envelope(ContentForm::Object, kind, Some(id), content))).unwrap();
    let Message::Text(text) = socket.read().unwrap() else { panic!("no text") };
    assert!(text.contains(answer), "{text}");
}

/// A user who talks through the proxy for longer than its time-outs; the server knows where they
/// are, whatever they say about that themselves.
fn talks(server: &Program, proxy: &Proxy) {
    let mut request = "ws://chat.example/".into_client_request().unwrap();
    for (name, value) in [("X-Forwarded-For", "203.0.113.66"), ("Forwarded", "for=203.0.113.67")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (mut socket, _) = tungstenite::client(request, proxy.connect()).unwrap();
    let line = server.wait_for("through a proxy");
    assert!(line.contains(&format!("comes from {CLIENT},")), "{line}");
    say(&mut socket, "1", "s", &json!({"userName": "ann", "hashValue": "secret"}), "SS");
    say(&mut socket, "2", "l", &json!({"USER": "ann", "PASS": "secret"}), "LS");
    let until = Instant::now() + timeout() + Duration::from_secs(2);
    while Instant::now() < until {
        say(&mut socket, "0", "h", &json!({}), "RE_HEARTBEAT");
        std::thread::sleep(timeout() / 10);
    }
    let health = proxy.get("/healthz");
    assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with("\r\n\r\nok\n"), "{health}");
}

#[test]
fn nginx_runs_as_the_recipe_says() {
    let Some(nginx) = installed("nginx") else { return };
    let (server, addr) = (server(), free_addr());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("recipe"), tuned(&recipe("nginx"), "8080", addr.port(), server.addr)).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", path(kind)))
        .concat();
    let around = format!(
        "daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}include {};\n}}\n",
        path("pid"),
        path("recipe")
    );
    std::fs::write(path("conf"), around).unwrap();
    let proxy = Proxy::start(Command::new(nginx).args(["-e", "stderr", "-c", &path("conf")]), addr);
    talks(&server, &proxy);
}

#[test]
fn haproxy_runs_as_the_recipe_says() {
    let Some(haproxy) = installed("haproxy") else { return };
    let (server, addr) = (server(), free_addr());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, tuned(&recipe("haproxy"), "8081", addr.port(), server.addr)).unwrap();
    let proxy = Proxy::start(Command::new(haproxy).arg("-db").arg("-f").arg(&file), addr);
    // Its own health check, which nobody else asks for.
    server.wait_for("HTTP done");
    talks(&server, &proxy);
    // Raw TCP comes through the same port.
    let mut raw = proxy.connect();
    raw.write_all(b"{\"TYPE\":\"0\",\"MID\":\"x\"}\n").unwrap();
    let mut answer = [0; 256];
    let count = raw.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..count]).contains("NOT_LOGGED_IN"));
    assert!(server.wait_for("through a proxy").contains(&format!("comes from {CLIENT},")));
}

/// An address of this machine that is not loopback, from which `--tls-only` refuses plain
/// connections. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// The health over TLS, by way of a proxy that passes it on.
fn health_over_tls(proxy: SocketAddr) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls_file("ca.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut text = String::new();
    let Ok(mut stream) = TcpStream::connect(proxy) else { return text };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    // HAProxy without a server ends the connection.
    tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").ok();
    tls.read_to_string(&mut text).ok();
    text
}

fn tls_file(name: &str) -> String {
    format!("{}/tests/common/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn haproxy_finds_a_server_that_takes_tls_only_by_the_check_of_the_page() {
    let Some(haproxy) = installed("haproxy") else { return };
    let Some(ip) = own_address() else {
        eprintln!("this machine has no address but loopback: the check over TLS is not run here");
        return;
    };
    let listen = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
    let (cert, key) = (tls_file("server.pem"), tls_file("server.key"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    command.args(["--listen", &listen.to_string(), "--store", "memory:", "--tls-only", "--log", "debug"]);
    let server = Program::run({
        command.args(["--tls-cert", &cert, "--tls-key", &key]);
        command
    });
    let [plain, over_tls] = &blocks("Standby", "haproxy")[..2] else { panic!("two blocks") };
    let before = plain.lines().find(|line| line.contains("default-server")).unwrap();
    assert!(over_tls.trim_start().starts_with("default-server ") && over_tls.lines().count() == 1, "{over_tls}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("haproxy.cfg");
    let start = |recipe: &str| {
        let addr = free_addr();
        let recipe = recipe.replace("bind :1102", &format!("bind {addr}"));
        let recipe = recipe.replace("10.0.0.5:1102", &listen.to_string());
        // Nobody listens there: the other server is gone.
        let recipe = recipe.replace("10.0.0.6:1102", &free_addr().to_string());
        std::fs::write(&file, recipe).unwrap();
        Proxy::start(Command::new(&haproxy).arg("-db").arg("-f").arg(&file), addr)
    };
    let good = start(&plain.replace(before, over_tls.trim_end()));
    let until = Instant::now() + PATIENCE;
    while !health_over_tls(good.addr).starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < until, "HAProxy finds no server");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Some checks later it still does.
    for _ in 0..4 {
        server.wait_for("HTTP done");
    }
    assert!(health_over_tls(good.addr).starts_with("HTTP/1.1 200 "));
    drop(good);
    // The plain check is refused, and this is why it needs another one.
    let bad = start(plain);
    let until = Instant::now() + PATIENCE;
    while !health_over_tls(bad.addr).is_empty() {
        assert!(Instant::now() < until, "--tls-only does not refuse the plain check");
        std::thread::sleep(Duration::from_millis(20));
    }
}
