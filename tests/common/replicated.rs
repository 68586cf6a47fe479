//! A MariaDB primary with one semi-synchronous replica, and one address that leads to the primary:
//! a HAProxy in TCP mode, which is pointed at the other server when the primary changes.

use super::mariadb::{current_user, free_port, mariadbd};
use super::{MariaDb, wait_until_within};
use mysql::prelude::Queryable;
use mysql::{Conn, Row};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that was killed repairs what was not finished, and gets what it has missed.
const WHOLE_WAIT: Duration = Duration::from_secs(60);
/// The user by which the replica reads.
const READER: &str = "copier";

/// The options of each server. The primary waits for the replica as long as it takes, before anyone
/// sees a commit.
fn options(at: usize) -> Vec<String> {
    vec![
        format!("--server-id={}", at + 1),
        "--log-bin=binlog".into(),
        "--log-slave-updates".into(),
        "--binlog-format=ROW".into(),
        "--sync-binlog=1".into(),
        "--innodb-flush-log-at-trx-commit=1".into(),
        "--gtid-strict-mode=ON".into(),
        "--relay-log=relay".into(),
        // One thread alone commits slower than the primary, and a promotion waits until all is
        // applied.
        "--slave-parallel-threads=4".into(),
        "--skip-slave-start".into(),
        "--rpl-semi-sync-slave-enabled=ON".into(),
        // Otherwise the end of the replication waits for a frozen primary for 5 s.
        "--rpl-semi-sync-slave-kill-conn-timeout=1".into(),
        "--rpl-semi-sync-master-wait-point=AFTER_SYNC".into(),
        "--rpl-semi-sync-master-timeout=1000000000".into(),
    ]
}

/// Servers are named by their places: 0 and 1.
pub struct ReplicatedPair {
    servers: [MariaDb; 2],
    primary: usize,
    address: Address,
}

impl ReplicatedPair {
    /// For nodes in network namespaces of their own. `None` where a program is missing.
    pub fn start_for_all_networks() -> Option<Self> {
        for (program, option) in [(mariadbd().as_path(), "--version"), ("haproxy".as_ref(), "-v")] {
            if Command::new(program).arg(option).stdout(Stdio::null()).status().is_err() {
                eprintln!("not tested on a primary with a replica here: there is no {}", program.display());
                return None;
            }
        }
        let servers = [0, 1].map(|at| {
            let mut server = MariaDb::begin_member(&current_user(), options(at), &[]);
            server.wait_until_it_answers();
            server
        });
        servers[0].make_account();
        let mut primary = servers[0].try_root().unwrap();
        primary.query_drop(format!("CREATE USER {READER}@'127.0.0.1' IDENTIFIED BY 'secret'")).unwrap();
        primary.query_drop(format!("GRANT REPLICATION SLAVE ON *.* TO {READER}@'127.0.0.1'")).unwrap();
        let address = Address::start(servers[0].port());
        let pair = Self { servers, primary: 0, address };
        pair.follow("");
        Some(pair)
    }

    /// The port of the address that leads to the primary.
    pub fn port(&self) -> u16 {
        self.address.port
    }

    pub fn primary(&self) -> &MariaDb {
        &self.servers[self.primary]
    }

    fn other(&self) -> &MariaDb {
        &self.servers[1 - self.primary]
    }

    /// Power off.
    pub fn kill_primary(&mut self) {
        self.servers[self.primary].kill9();
    }

    pub fn freeze_primary(&self) {
        self.primary().freeze();
    }

    /// The primary takes no more writes, and the replica has got all of them.
    pub fn close_primary(&self) {
        let mut primary = self.primary().try_root().unwrap();
        let since = Instant::now();
        primary.query_drop("SET GLOBAL read_only = 1").unwrap();
        println!("    the primary is read-only after {:.1?}", since.elapsed());
        let position: String = primary.query_first("SELECT @@gtid_binlog_pos").unwrap().unwrap();
        wait_for_position(self.other(), &position);
    }

    /// The replica becomes the primary, once it has applied everything that it has received. It
    /// works alone: nothing waits for the other one until `follow_again`.
    pub fn promote(&mut self) {
        let mut replica = self.other().try_root().unwrap();
        replica.query_drop("STOP SLAVE IO_THREAD").unwrap();
        let received = replication(&mut replica)["Gtid_IO_Pos"].clone();
        if !received.is_empty() {
            wait_for_position(self.other(), &received);
        }
        for sql in ["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0"] {
            replica.query_drop(sql).unwrap();
        }
        self.primary = 1 - self.primary;
    }

    /// From now on new connections go to the primary.
    pub fn move_address(&self) {
        self.address.lead_to(self.primary().port());
    }

    /// Ends all connections that go by way of the address.
    pub fn cut_connections(&self) {
        self.address.cut();
    }

    /// The former primary, which was closed, becomes a replica.
    pub fn demote(&self) {
        self.other().try_root().unwrap().query_drop("SET GLOBAL rpl_semi_sync_master_enabled = OFF").unwrap();
        self.follow(", MASTER_DEMOTE_TO_SLAVE = 1");
    }

    /// The former primary runs again, although another one has taken its place. It handles the
    /// statements that came before it was frozen, and tells nobody of a commit: there is no replica
    /// that could confirm one.
    pub fn thaw_former_primary(&self) {
        let former = self.other();
        former.thaw();
        let mut root = former.try_root().unwrap();
        // One in which a statement runs waits for the replica, or for another one that does.
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'geese' AND command = 'Sleep'";
        wait_until_within(WHOLE_WAIT, "the former primary notices that its users are gone", || {
            root.query_first::<u64, _>(sql).unwrap() == Some(0)
        });
        assert_eq!(status(&mut root, "Rpl_semi_sync_master_status"), "ON", "it waits for the replica no more");
        assert_eq!(status(&mut root, "Rpl_semi_sync_master_no_tx"), "0", "commits that the replica did not get");
    }

    /// Starts the former primary, after a kill, as a replica. It forgets transactions of its binary
    /// log that it has not committed: nobody was told of them, and the new primary may not have
    /// them.
    pub fn follow_after_kill(&mut self) {
        let former = 1 - self.primary;
        let more = ["--init-rpl-role=SLAVE", "--read-only"].map(str::to_owned);
        self.servers[former].begin_again(&more);
        self.servers[former].wait_until_it_answers();
        self.follow(", MASTER_DEMOTE_TO_SLAVE = 1");
    }

    /// Power off, for the former primary.
    pub fn kill_former_primary(&mut self) {
        self.servers[1 - self.primary].kill9();
    }

    /// The other server becomes the replica of the primary, which waits for it from then on.
    fn follow(&self, more: &str) {
        let (mut replica, mut primary) = (self.other().try_root().unwrap(), self.primary().try_root().unwrap());
        let port = self.primary().port();
        for sql in [
            "SET GLOBAL read_only = 1".to_owned(),
            format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = '{READER}', \
                 MASTER_PASSWORD = 'secret', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1{more}"
            ),
            "START SLAVE".to_owned(),
        ] {
            replica.query_drop(sql).unwrap();
        }
        let position: String = primary.query_first("SELECT @@gtid_binlog_pos").unwrap().unwrap();
        wait_for_position(self.other(), &position);
        primary.query_drop("SET GLOBAL rpl_semi_sync_master_enabled = ON").unwrap();
        wait_until_within(WHOLE_WAIT, "the primary waits for the replica", || {
            status(&mut primary, "Rpl_semi_sync_master_clients") == "1"
                && status(&mut primary, "Rpl_semi_sync_master_status") == "ON"
        });
    }

    /// Checks that the replica has what the primary has. Nobody may write meanwhile.
    pub fn check_copy(&self) {
        let mut primary = self.primary().root();
        let position: String = primary.query_first("SELECT @@gtid_binlog_pos").unwrap().unwrap();
        wait_for_position(self.other(), &position);
        let tables: Vec<String> = primary.query("SHOW TABLES").unwrap();
        let sql = format!("CHECKSUM TABLE {} EXTENDED", tables.join(", "));
        let sums = |conn: &mut Conn| -> Vec<(String, Option<u64>)> { conn.query(&sql).unwrap() };
        assert_eq!(sums(&mut primary), sums(&mut self.other().root()), "the replica differs");
    }
}

/// Waits until this replica has applied everything up to this position.
fn wait_for_position(replica: &MariaDb, position: &str) {
    let mut root = replica.try_root().unwrap();
    wait_until_within(WHOLE_WAIT, &format!("the replica is at {position}"), || {
        let now = replication(&mut root);
        let error = &now["Last_SQL_Error"];
        assert!(error.is_empty(), "the replica fails: {error}");
        let sql = format!("SELECT MASTER_GTID_WAIT('{position}', 0.5)");
        root.query_first::<i64, _>(sql).unwrap() == Some(0)
    });
}

/// How the replication stands, as the replica sees it.
fn replication(replica: &mut Conn) -> BTreeMap<String, String> {
    let row: Row = replica.query_first("SHOW SLAVE STATUS").unwrap().expect("it is a replica");
    let columns = row.columns();
    let value = |at: usize| row.get_opt::<String, _>(at).and_then(Result::ok).unwrap_or_default();
    columns.iter().enumerate().map(|(at, column)| (column.name_str().into_owned(), value(at))).collect()
}

fn status(server: &mut Conn, name: &str) -> String {
    let found: Option<(String, String)> = server.query_first(format!("SHOW STATUS LIKE '{name}'")).unwrap();
    found.unwrap_or_default().1
}

/// One address, which leads to one of several servers. Killed when this is dropped.
struct Address {
    port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

impl Address {
    fn start(target: u16) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let (file, socket) = (folder.path().join("haproxy.cfg"), folder.path().join("control"));
        let text = format!(
            "global\n    stats socket {} level admin\n\
             defaults\n    mode tcp\n    retries 0\n    timeout connect 2s\n    timeout client 1h\n    timeout server 1h\n\
             listen address\n    bind 0.0.0.0:{port}\n    server primary 127.0.0.1:{target}\n",
            socket.display()
        );
        std::fs::write(&file, text).unwrap();
        let child = Command::new("haproxy").args(["-q", "-db", "-f"]).arg(&file).spawn().unwrap();
        wait_until_within(WHOLE_WAIT, "HAProxy listens", || {
            TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
        });
        Self { port, child, folder }
    }

    fn order(&self, words: &str) {
        let mut control = UnixStream::connect(self.folder.path().join("control")).unwrap();
        control.write_all(format!("{words}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        control.read_to_string(&mut answer).unwrap();
        let is_done = answer.trim().is_empty() || answer.contains("changed from") || answer.contains("no need");
        assert!(is_done, "{words}: {answer}");
    }

    fn lead_to(&self, target: u16) {
        self.order(&format!("set server address/primary addr 127.0.0.1 port {target}"));
    }

    fn cut(&self) {
        self.order("shutdown sessions server address/primary");
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
