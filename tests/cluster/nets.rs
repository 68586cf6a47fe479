//! A network of the test's own, in which each node has three cables: to its clients, to the
//! database and to the bus. A cable can be pulled: then packets are lost without any notice. The
//! network disappears at the end of the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the environment of the process that has the network.
const INSIDE: &str = "HONGYAN_TEST_OWN_NETWORK";

/// Returns `true` in a process with a network of its own. Otherwise it runs this test again in such
/// a process, and the caller has nothing more to do.
pub(crate) fn is_own(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return true;
    }
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let has_ip = Command::new("ip").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !is_root || !has_ip {
        eprintln!("not tested here: networks are made by root, with `ip` (apt-get install iproute2)");
        return false;
    }
    // The network ends with this process, and all processes in it end, too.
    let inner = Command::new("unshare")
        .args(["--net", "--pid", "--mount-proc", "--fork", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(inner.success(), "{test} failed in its network");
    false
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The networks of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    Clients,
    Database,
    Bus,
}

pub(crate) const CABLES: [Cable; 3] = [Cable::Clients, Cable::Database, Cable::Bus];

impl Cable {
    /// The name of its end at a host.
    fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Database => "database",
            Self::Bus => "bus",
        }
    }

    fn net(self) -> u8 {
        77 + self as u8
    }
}

/// A machine for one node: a network namespace, which lives as long as a process in it.
pub(crate) struct Host {
    number: u8,
    holder: Child,
}

impl Host {
    pub(crate) fn make(number: u8) -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let host = Self { number, holder };
        let net = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/net")).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while net(&host.id()) == net("self") {
            assert!(Instant::now() < until, "no network for a host");
            std::thread::sleep(Duration::from_millis(5));
        }
        host.inside(&["ip", "link", "set", "lo", "up"]);
        for cable in CABLES {
            let (here, there) = (host.here(cable), cable.name());
            run("ip", &["link", "add", &here, "type", "veth", "peer", "name", there, "netns", &host.id()]);
            run("ip", &["addr", "add", &format!("{}/30", host.address(cable, 1)), "dev", &here]);
            run("ip", &["link", "set", &here, "up"]);
            host.inside(&["ip", "addr", "add", &format!("{}/30", host.address(cable, 2)), "dev", there]);
            host.inside(&["ip", "link", "set", there, "up"]);
        }
        host
    }

    fn id(&self) -> String {
        self.holder.id().to_string()
    }

    /// The name of the end of a cable that is not at the host.
    fn here(&self, cable: Cable) -> String {
        format!("{}{}", cable.name(), self.number)
    }

    fn address(&self, cable: Cable, end: u8) -> IpAddr {
        Ipv4Addr::new(10, cable.net(), self.number, end).into()
    }

    fn inside(&self, words: &[&str]) {
        run("nsenter", &[&[&*format!("--net=/proc/{}/ns/net", self.id())], words].concat());
    }

    /// The words before a command that is to run in it.
    pub(crate) fn enter(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.id())]
    }

    /// The address on which a node in it listens.
    pub(crate) fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.address(Cable::Clients, 2), 1102)
    }

    /// The address of the other end of this cable, as seen from the host.
    pub(crate) fn other_end(&self, cable: Cable) -> IpAddr {
        self.address(cable, 1)
    }

    pub(crate) fn pull(&self, cable: Cable) {
        run("ip", &["link", "set", &self.here(cable), "down"]);
    }

    pub(crate) fn plug(&self, cable: Cable) {
        run("ip", &["link", "set", &self.here(cable), "up"]);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
