//! A Redis or Valkey server of a test's own, to be killed and frozen without harm to any other
//! test. Tests that use one are skipped where neither is installed, unless `HONGYAN_TEST_REDIS` is
//! set (`./test` sets it, and installs one). `HONGYAN_TEST_REDIS_PROGRAM` names the one to use.

use super::PATIENCE;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// A running server.
pub struct Redis {
    folder: TempDir,
    pub port: u16,
    words: Vec<String>,
    child: Child,
}

fn program() -> Option<String> {
    let has = |program: &str| {
        let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    // A developer who names a program wants this one, and no skipped test.
    if let Ok(program) = std::env::var("HONGYAN_TEST_REDIS_PROGRAM") {
        assert!(has(&program), "{program} does not run");
        return Some(program);
    }
    PROGRAMS.into_iter().find(|program| has(program)).map(str::to_owned)
}

impl Redis {
    /// `None` where there is none: the test says so and tests nothing.
    pub fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// With more words on its command line; `PORT` and `FOLDER` in them are replaced.
    pub fn with(words: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        Self::of(folder, words)
    }

    /// With its files in this folder.
    pub fn of(folder: TempDir, words: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            assert!(std::env::var_os("HONGYAN_TEST_REDIS").is_none(), "./test installs redis-server");
            eprintln!("there is no redis-server: not tested here, ./test does it");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let own = "--bind 127.0.0.1 --save  --appendonly no --daemonize no --loglevel warning --dir FOLDER";
        let own =
            own.split(' ').chain(if words.contains(&"--tls-port") { ["--port", "0"] } else { ["--port", "PORT"] });
        let all = [program.as_str()].into_iter().chain(own).chain(words.iter().copied());
        let replaced = |word: &str| word.replace("PORT", &port.to_string()).replace("FOLDER", &shown(folder.path()));
        let words: Vec<String> = all.map(replaced).collect();
        let child = spawn(&words);
        let mut redis = Self { folder, port, words, child };
        redis.wait_until_it_listens();
        Some(redis)
    }

    fn wait_until_it_listens(&mut self) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(self.addr()).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "{:?} has ended", self.words);
            assert!(Instant::now() < until, "{:?} does not listen", self.words);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// It answers nobody, and its connections stay.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(&self.words);
        self.wait_until_it_listens();
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn spawn(words: &[String]) -> Child {
    Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Neither fails on a child of ours that is not waited for yet.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
