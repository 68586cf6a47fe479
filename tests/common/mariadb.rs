//! A MariaDB of a test's own, to be killed, frozen and restarted without harm to any other test.
//! Like every test on MySQL, those that use it are skipped unless HONGYAN_TEST_MYSQL is set
//! (`./test` sets it); then the programs have to be there.

use super::{Client, PATIENCE};
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use std::fs::File;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The user of the server under test, with no right to write into a database that is read-only.
const USER: &str = "geese";
const DATABASE: &str = "geese";
/// A start after a kill repairs what was not finished.
const START_WAIT: Duration = Duration::from_secs(60);

/// The smallest there are: these databases do little.
const SMALL: [&str; 2] = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M"];

pub fn current_user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(super) fn mariadbd() -> PathBuf {
    let elsewhere = PathBuf::from("/usr/sbin/mariadbd");
    if elsewhere.exists() { elsewhere } else { "mariadbd".into() }
}

/// Nobody else gets it in the meantime, as good as always: the system hands ports out in turn.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The clients that may connect, and the address for them.
#[derive(Clone, Copy)]
enum Reach {
    Loopback,
    /// From every network: in one of the test's own.
    Everywhere,
}

impl Reach {
    fn listen(self) -> &'static str {
        match self {
            Self::Loopback => "127.0.0.1",
            Self::Everywhere => "0.0.0.0",
        }
    }

    /// The host of the accounts.
    fn host(self) -> &'static str {
        match self {
            Self::Loopback => "127.0.0.1",
            Self::Everywhere => "%",
        }
    }
}

/// All that a start needs.
struct Settings {
    folder: TempDir,
    port: u16,
    reach: Reach,
    /// It runs as this user of the system.
    user: String,
    more: Vec<String>,
}

impl Settings {
    fn new(reach: Reach) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, port: free_port(), reach, user: current_user(), more: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_data(&self) {
        let output = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(SMALL)
            .arg(format!("--datadir={}", self.path("data").display()))
            .arg(format!("--user={}", self.user))
            // A MariaDB that starts removes the temporary tables it finds, those of others too: to
            // each its own folder.
            .env("TMPDIR", self.folder.path())
            .output()
            .expect("mariadb-install-db is there: ./test installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn command(&self) -> Command {
        let path = |name: &str| self.path(name).display().to_string();
        let mut command = Command::new(mariadbd());
        command
            .args(["--no-defaults", "--skip-name-resolve"])
            .args(SMALL)
            .arg(format!("--bind-address={}", self.reach.listen()))
            .arg(format!("--user={}", self.user))
            .arg(format!("--datadir={}", path("data")))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--pid-file={}", path("pid")))
            .arg(format!("--port={}", self.port))
            .args(&self.more)
            .env("TMPDIR", self.folder.path());
        command
    }

    /// `more`: options of this start alone.
    fn spawn(&self, more: &[String]) -> Child {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command();
        let command = command.args(more).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("mariadbd is there: ./test installs it")
    }
}

/// A running MariaDB.
pub struct MariaDb {
    settings: Settings,
    child: Child,
}

impl MariaDb {
    /// `None` when tests on MySQL are not asked for: the test says so and tests nothing.
    pub fn start() -> Option<Self> {
        Self::start_for(Reach::Loopback)
    }

    /// The same for nodes in network namespaces of their own.
    pub fn start_for_all_networks() -> Option<Self> {
        Self::start_for(Reach::Everywhere)
    }

    /// Are tests on MySQL asked for?
    pub fn is_tested() -> bool {
        let is_tested = std::env::var_os("HONGYAN_TEST_MYSQL").is_some();
        if !is_tested {
            eprintln!("HONGYAN_TEST_MYSQL is not set: not tested on MySQL here, ./test does it");
        }
        is_tested
    }

    fn start_for(reach: Reach) -> Option<Self> {
        if !Self::is_tested() {
            return None;
        }
        let settings = Settings::new(reach);
        settings.make_data();
        let child = settings.spawn(&[]);
        let mut database = Self { settings, child };
        database.wait_until_it_answers();
        database.make_account();
        Some(database)
    }

    /// A member of a database cluster, which may still be starting. It runs as this user of the
    /// system, with these options at each start, and with `first` at this one.
    pub fn begin_member(user: &str, more: Vec<String>, first: &[String]) -> Self {
        let settings = Settings { user: user.to_owned(), more, ..Settings::new(Reach::Everywhere) };
        let folder = settings.folder.path();
        assert!(Command::new("chown").arg(user).arg(folder).status().unwrap().success());
        settings.make_data();
        let child = settings.spawn(first);
        Self { settings, child }
    }

    /// The database of the server under test, and its user.
    pub(super) fn make_account(&self) {
        let (mut root, host) = (self.try_root().unwrap(), self.settings.reach.host());
        for sql in [
            format!("CREATE DATABASE {DATABASE}"),
            format!("CREATE USER {USER}@'{host}' IDENTIFIED BY 'secret'"),
            format!("GRANT ALL ON {DATABASE}.* TO {USER}@'{host}'"),
        ] {
            root.query_drop(sql).unwrap();
        }
    }

    /// A second server with the data that this one has now, like the other one of a pair that
    /// replicates.
    pub fn replica(&mut self) -> Self {
        self.stop();
        let settings = Settings::new(self.settings.reach);
        let copied = Command::new("cp").arg("-a").arg(self.settings.path("data")).arg(settings.folder.path()).status();
        assert!(copied.unwrap().success());
        self.start_again();
        let child = settings.spawn(&[]);
        let mut replica = Self { settings, child };
        replica.wait_until_it_answers();
        replica
    }

    pub fn wait_until_it_answers(&mut self) -> Conn {
        let until = Instant::now() + START_WAIT;
        loop {
            if let Ok(conn) = self.try_root() {
                return conn;
            }
            let has_ended = self.has_ended();
            assert!(!has_ended && Instant::now() < until, "MariaDB does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The log of all its starts.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.settings.path("log")).unwrap_or_default()
    }

    /// A connection of the administrator, to no database.
    pub(super) fn try_root(&self) -> mysql::Result<Conn> {
        let socket = self.socket().display().to_string();
        Conn::new(OptsBuilder::new().user(Some("root")).socket(Some(socket)))
    }

    /// A connection of the administrator to the database, for looking and for doing harm.
    pub fn root(&self) -> Conn {
        let mut root = self.try_root().unwrap();
        root.query_drop(format!("USE {DATABASE}")).unwrap();
        root
    }

    /// Takes all rights from the server under test but these.
    pub fn leave_rights(&self, rights: &str) {
        let mut root = self.root();
        for sql in [
            format!("REVOKE ALL PRIVILEGES ON {DATABASE}.* FROM {USER}@'127.0.0.1'"),
            format!("GRANT {rights} ON {DATABASE}.* TO {USER}@'127.0.0.1'"),
        ] {
            root.query_drop(sql).unwrap();
        }
    }

    /// The value for `--store`.
    pub fn url(&self) -> String {
        self.url_by_way_of(self.settings.port)
    }

    /// The same at another address of its host.
    pub fn url_at(&self, address: IpAddr) -> String {
        Self::url_of(address, self.settings.port)
    }

    /// The value for `--store` at this address and port.
    pub fn url_of(address: IpAddr, port: u16) -> String {
        format!("mysql://{USER}:secret@{address}:{port}/{DATABASE}")
    }

    /// The same through a proxy on this port.
    pub fn url_by_way_of(&self, port: u16) -> String {
        format!("mysql://{USER}:secret@127.0.0.1:{port}/{DATABASE}")
    }

    /// The socket on which the administrator's programs reach it.
    pub fn socket(&self) -> PathBuf {
        self.settings.path("socket")
    }

    pub fn port(&self) -> u16 {
        self.settings.port
    }

    /// Rows of the table of pushes.
    pub fn pushes(&self) -> u64 {
        self.root().query_first("SELECT count(*) FROM pushes").unwrap().unwrap()
    }

    /// Waits until there are so many: an acked push is deleted in a moment.
    pub fn wait_for_pushes(&self, count: u64) {
        self.wait_for_pushes_awake(count, []);
    }

    /// The same while these clients speak, so that they are not idle.
    pub fn wait_for_pushes_awake<const N: usize>(&self, count: u64, mut clients: [&mut Client; N]) {
        let until = Instant::now() + PATIENCE;
        while self.pushes() != count {
            assert!(Instant::now() < until, "{} pushes, {count} expected", self.pushes());
            clients.iter_mut().for_each(|client| client.fence());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Power off.
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It hangs: connections stay, nothing is answered.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Starts it after a kill.
    pub fn start_again(&mut self) {
        self.begin_again(&[]);
        self.wait_until_it_answers();
    }

    /// The same, without waiting for it; `more` are options of this start alone.
    pub fn begin_again(&mut self, more: &[String]) {
        self.child = self.settings.spawn(more);
    }

    /// What it prints when it is run with one more option by which it does not serve, but ends.
    pub(super) fn run_with(&self, option: &str) -> String {
        let output = self.settings.command().arg(option).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Stops it in order; `start_again` brings it back.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        self.child.wait().unwrap();
    }

    pub fn set_read_only(&self, on: bool) {
        self.root().query_drop(format!("SET GLOBAL read_only = {}", u8::from(on))).unwrap();
    }

    /// For connections that are made from now on.
    pub fn set_max_allowed_packet(&self, bytes: usize) {
        self.root().query_drop(format!("SET GLOBAL max_allowed_packet = {bytes}")).unwrap();
    }

    /// Ends every connection of the server under test; tells how many there were.
    pub fn kill_connections(&self) -> usize {
        let mut root = self.root();
        let ids: Vec<u64> =
            root.query(format!("SELECT id FROM information_schema.processlist WHERE user = '{USER}'")).unwrap();
        for id in &ids {
            // It may have ended by itself.
            root.query_drop(format!("KILL {id}")).ok();
        }
        ids.len()
    }

    /// Ends the connection that holds the server's lock.
    pub fn kill_lock(&self) {
        let mut root = self.root();
        let sql = format!("SELECT IS_USED_LOCK(CONCAT('hongyan:', LEFT(SHA2('{DATABASE}', 256), 40)))");
        let holder: Option<u64> = root.query_first::<Option<u64>, _>(sql).unwrap().flatten();
        root.query_drop(format!("KILL {}", holder.expect("the lock is held"))).unwrap();
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // Works on a frozen one, too. Neither fails on a child of ours.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
