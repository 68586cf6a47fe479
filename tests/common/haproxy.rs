//! HAProxy with a configuration that a page of the documentation shows.

use super::PATIENCE;
use super::node::health;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Killed when this is dropped.
pub struct HaProxy {
    pub addr: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
}

impl HaProxy {
    /// The first configuration behind this heading of a page, with other addresses. `None` where
    /// HAProxy is not installed.
    pub fn start(page: &str, heading: &str, addresses: &[(&str, SocketAddr)]) -> Option<Self> {
        if Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_err() {
            eprintln!("there is no haproxy here: its configuration is not tested (apt-get install haproxy)");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap();
        let text = section.split("```haproxy\n").nth(1).unwrap();
        let text = text.split("```").next().unwrap();
        let bind = text.lines().find(|line| line.trim_start().starts_with("bind ")).unwrap();
        let mut text = text.replace(bind, &format!("    bind {addr}"));
        for (shown, real) in addresses {
            assert!(text.contains(shown), "no {shown} in {text}");
            text = text.replace(shown, &real.to_string());
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        let stats = folder.path().join("stats");
        std::fs::write(&file, format!("global\n    stats socket {}\n{text}", stats.display())).unwrap();
        let child = Command::new("haproxy").args(["-q", "-db", "-f"]).arg(&file).spawn().unwrap();
        Some(Self { addr, child, folder })
    }

    /// Waits until it takes so many servers for well, and is sure that the others are not: a
    /// connection to one that goes down meanwhile would be closed.
    pub fn wait_for_servers(&self, count: usize) {
        let until = Instant::now() + 2 * PATIENCE;
        loop {
            let states = self.states();
            let are = |state: &str| states.iter().filter(|is| *is == state).count();
            if are("UP") == count && are("UP") + are("DOWN") == states.len() {
                return;
            }
            assert!(Instant::now() < until, "HAProxy finds {states:?}, not {count} servers");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Of each server, as its statistics have it.
    fn states(&self) -> Vec<String> {
        const STATE_COLUMN: usize = 17;
        let Ok(mut stats) = UnixStream::connect(self.folder.path().join("stats")) else { return Vec::new() };
        stats.write_all(b"show stat\n").unwrap();
        let mut text = String::new();
        stats.read_to_string(&mut text).unwrap();
        let servers = text.lines().filter(|line| {
            let name = line.split(',').nth(1).unwrap_or_default();
            !line.starts_with('#') && !["", "FRONTEND", "BACKEND"].contains(&name)
        });
        servers.map(|line| line.split(',').nth(STATE_COLUMN).unwrap_or_default().to_owned()).collect()
    }

    /// Waits until it has found out which server serves.
    pub fn settles(&self) {
        let (until, mut good) = (Instant::now() + 2 * PATIENCE, 0);
        while good < 10 {
            assert!(Instant::now() < until, "HAProxy does not lead to the server that serves");
            let is_good = health(self.addr).starts_with("HTTP/1.1 200");
            good = if is_good { good + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
