//! Two MariaDB servers that replicate synchronously by Galera, both to be written to. Each can be
//! killed, frozen and started again. It needs mariadb-server, galera-4 and rsync (Debian's
//! packages).

use super::mariadb::{current_user, free_port, mariadbd};
use super::{MariaDb, wait_until_within};
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";
/// A server that was killed repairs what was not finished, waits until the other one has noticed
/// that it was gone, and copies what it has missed. If it comes back before that is noticed, both
/// need several attempts to form a group, and half a minute.
const WHOLE_WAIT: Duration = Duration::from_secs(120);
/// A server that answers nothing for so long is asked again.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(50);

/// The pair. Servers are named by their places: 0 and 1.
pub struct GaleraPair {
    servers: [MariaDb; 2],
    is_up: [bool; 2],
}

/// The options that make a server a member of the pair.
fn options(at: usize, groups: [u16; 2]) -> Vec<String> {
    let group = groups[at];
    let (of_copies, of_rows) = (free_port(), free_port());
    vec![
        "--binlog-format=ROW".into(),
        "--innodb-autoinc-lock-mode=2".into(),
        "--innodb-flush-log-at-trx-commit=1".into(),
        "--wsrep-on=ON".into(),
        format!("--wsrep-provider={PROVIDER}"),
        "--wsrep-cluster-name=hongyan".into(),
        format!("--wsrep-cluster-address=gcomm://127.0.0.1:{},127.0.0.1:{}", groups[0], groups[1]),
        format!("--wsrep-node-address=127.0.0.1:{group}"),
        format!("--wsrep-node-name=server{at}"),
        "--wsrep-slave-threads=2".into(),
        "--wsrep-sst-method=rsync".into(),
        format!("--wsrep-sst-receive-address=127.0.0.1:{of_copies}"),
        format!(
            "--wsrep-provider-options=base_port={group};gmcast.listen_addr=tcp://127.0.0.1:{group};\
             ist.recv_addr=127.0.0.1:{of_rows};gcache.size=32M"
        ),
    ]
}

/// What is missing here.
fn missing() -> Option<&'static str> {
    let runs = |program: &Path| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !runs(&mariadbd()) {
        return Some("mariadb-server");
    }
    if !Path::new(PROVIDER).exists() {
        return Some("galera-4");
    }
    (!runs(Path::new("rsync"))).then_some("rsync")
}

impl GaleraPair {
    /// For nodes in network namespaces of their own. `None` where a program is missing.
    pub fn start_for_all_networks() -> Option<Self> {
        if let Some(package) = missing() {
            eprintln!("not tested on Galera here: {package} is missing (apt-get install {package})");
            return None;
        }
        // The copy of the data to a server that joins does not work as root.
        let user = if current_user() == "root" { "mysql".to_owned() } else { current_user() };
        let groups = [free_port(), free_port()];
        let mut first = MariaDb::begin_member(&user, options(0, groups), &["--wsrep-new-cluster".to_owned()]);
        wait_until_within(WHOLE_WAIT, "the first server is a cluster", || {
            assert!(!first.has_ended(), "it has ended: {}", first.log());
            status(&first).is_some_and(|status| is_synced(&status))
        });
        first.make_account();
        let second = MariaDb::begin_member(&user, options(1, groups), &[]);
        let mut pair = Self { servers: [first, second], is_up: [true; 2] };
        pair.wait_until_whole();
        Some(pair)
    }

    pub fn server(&self, at: usize) -> &MariaDb {
        &self.servers[at]
    }

    /// One that neither was killed nor is frozen.
    pub fn one_that_is_up(&self) -> &MariaDb {
        let at = self.is_up.iter().position(|is_up| *is_up).expect("a server is up");
        &self.servers[at]
    }

    /// From now on the other server goes on alone if this one fails, because its vote counts twice:
    /// so a third member (an arbitrator) is not needed. With `pc.ignore_sb` instead, each of the
    /// two would go on alone: a frozen server that runs again could take commits that the other one
    /// never gets.
    pub fn prepare_failure_of(&self, at: usize) {
        let other = 1 - at;
        for (weights, sum) in [([1, 1], "2"), ([1, 2], "3")] {
            for (at, weight) in [at, other].into_iter().zip(weights) {
                let sql = format!("SET GLOBAL wsrep_provider_options = 'pc.weight={weight}'");
                self.servers[at].try_root().unwrap().query_drop(sql).unwrap();
            }
            wait_until_within(WHOLE_WAIT, "both servers know the weights", || {
                self.servers.iter().all(|server| {
                    status(server).is_some_and(|status| status.get("wsrep_cluster_weight").is_some_and(|is| is == sum))
                })
            });
        }
    }

    /// Power off, for each of these.
    pub fn kill9(&mut self, servers: &[usize]) {
        for at in servers {
            self.servers[*at].kill9();
            self.is_up[*at] = false;
        }
    }

    pub fn freeze(&mut self, servers: &[usize]) {
        for at in servers {
            self.servers[*at].freeze();
            self.is_up[*at] = false;
        }
    }

    /// `wait_until_whole` waits until they take part again.
    pub fn thaw(&self, servers: &[usize]) {
        servers.iter().for_each(|at| self.servers[*at].thaw());
    }

    /// Starts them after a kill; `wait_until_whole` waits until they take part again.
    pub fn begin_again(&mut self, servers: &[usize]) {
        servers.iter().for_each(|at| begin_again(&mut self.servers[*at]));
    }

    /// Waits until both are members of one cluster, and have everything. A server that ends by
    /// itself is started again, as a supervisor does.
    pub fn wait_until_whole(&mut self) {
        let since = Instant::now();
        loop {
            let all: Vec<_> = self.servers.iter().filter_map(status).collect();
            // A server that was frozen does not know yet that the other one went on alone: that one
            // has another configuration.
            let is_whole = |status: &BTreeMap<String, String>| {
                is_synced(status)
                    && status.get("wsrep_cluster_size").is_some_and(|size| size == "2")
                    && status.get("wsrep_cluster_conf_id") == all[0].get("wsrep_cluster_conf_id")
            };
            if all.len() == 2 && all.iter().all(is_whole) {
                break;
            }
            for (at, server) in self.servers.iter_mut().enumerate() {
                if server.has_ended() {
                    println!("    the server {at} has ended by itself after {:?}", since.elapsed());
                    begin_again(server);
                }
            }
            if since.elapsed() > WHOLE_WAIT {
                let logs = self.servers.each_ref().map(MariaDb::log);
                panic!("the pair is not whole: {all:#?}\n{}\n{}", logs[0], logs[1]);
            }
            thread::sleep(TICK);
        }
        self.is_up = [true; 2];
    }
}

/// Starts a server with its last position, so that it gets only the rows that it has missed, and
/// not a copy of everything. Debian's service does the same.
fn begin_again(server: &mut MariaDb) {
    let said = server.run_with("--wsrep-recover");
    let position = said.split("Recovered position:").nth(1).and_then(|rest| rest.split_whitespace().next());
    let position = position.unwrap_or_else(|| panic!("no position: {said}"));
    server.begin_again(&[format!("--wsrep-start-position={position}")]);
}

/// The server's view of the pair. `None`: it does not answer.
fn status(server: &MariaDb) -> Option<BTreeMap<String, String>> {
    let socket = server.socket().display().to_string();
    let wait = Some(ANSWER_WAIT);
    let opts = OptsBuilder::new().user(Some("root")).socket(Some(socket)).read_timeout(wait).write_timeout(wait);
    let rows: Vec<(String, String)> = Conn::new(opts).ok()?.query("SHOW STATUS LIKE 'wsrep_%'").ok()?;
    Some(rows.into_iter().collect())
}

fn is_synced(status: &BTreeMap<String, String>) -> bool {
    status.get("wsrep_local_state_comment").is_some_and(|state| state == "Synced")
        && status.get("wsrep_cluster_status").is_some_and(|state| state == "Primary")
}
