//! The programs that are measured: the server, the bare relay, and mosquitto if it is installed.

use super::process::{Machine, Process, find_program};
use super::{Fallible, check_interrupt, secure};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden argument that makes this program the relay.
pub const RELAY_ARGUMENT: &str = "--be-the-relay";
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs and listens.
pub struct Subject {
    pub process: Process,
    pub addr: SocketAddr,
    /// From its start to its ready line.
    pub ready_after: Duration,
}

/// How to start each of them.
pub struct Starter {
    pub machine: Machine,
    /// The binary of the server.
    pub server: PathBuf,
    /// Further arguments for it.
    pub server_args: Vec<String>,
    /// A folder for temporary files.
    pub folder: PathBuf,
    mosquitto: Option<PathBuf>,
}

impl Starter {
    pub fn new(machine: Machine, server: PathBuf, server_args: Vec<String>, folder: PathBuf) -> Self {
        Self { machine, server, server_args, folder, mosquitto: find_program("mosquitto") }
    }

    pub fn has_mosquitto(&self) -> bool {
        self.mosquitto.is_some()
    }

    /// The server on this store. Only limits that the load itself would reach are raised; nothing
    /// is switched off.
    pub fn server(&self, store: &str) -> Fallible<Subject> {
        self.server_of(&self.server, store)
    }

    /// The same of another build.
    pub fn server_of(&self, binary: &Path, store: &str) -> Fallible<Subject> {
        listening(self.command(binary, store))
    }

    /// The same with larger quotas of mailboxes: one sender fills those of twenty friends within
    /// seconds.
    pub fn server_with_room(&self, binary: &Path, store: &str) -> Fallible<Subject> {
        let mut command = self.command(binary, store);
        for quota in ["RECEIVER", "PAIR"] {
            command.env(format!("HONGYAN_WAITING_PER_{quota}_MAX"), "100000000");
            command.env(format!("HONGYAN_WAITING_BYTES_PER_{quota}_MAX"), "100GiB");
        }
        listening(command)
    }

    /// The server that speaks TLS as well.
    pub fn secure_server(&self, store: &str) -> Fallible<Subject> {
        let mut command = self.command(&self.server, store);
        command.env("HONGYAN_TLS_CERT", secure::file("server.pem")).env("HONGYAN_TLS_KEY", secure::file("server.key"));
        listening(command)
    }

    /// A node of this name: the first on the core of what is measured, the others on that of the
    /// load.
    pub fn node(&self, store: &str, name: &str, bus: Option<&str>, number: usize) -> Fallible<Subject> {
        let program = self.server.as_os_str();
        let command = if number == 0 { self.machine.measured(program) } else { self.machine.load(program) };
        let mut command = self.tuned(command, store);
        command.args(["--node-name", name]);
        if let Some(bus) = bus {
            command.args(["--bus", bus]);
        }
        listening(command)
    }

    fn command(&self, binary: &Path, store: &str) -> Command {
        self.tuned(self.machine.measured(binary.as_os_str()), store)
    }

    fn tuned(&self, mut command: Command, store: &str) -> Command {
        command.args(["--listen", "127.0.0.1:0", "--store", store]).args(&self.server_args);
        // By the environment, because a flag may be given only once, and the flags of the command
        // line must win.
        command.env("HONGYAN_LOG", "warn").env("HONGYAN_REQUESTS_PER_SECOND_MAX", "10000000");
        command
    }

    /// The server with all default limits, at this address.
    pub fn server_as_shipped(&self, listen: SocketAddr, store: &str) -> Fallible<Subject> {
        let mut command = self.machine.measured(self.server.as_os_str());
        command.args(["--listen", &listen.to_string(), "--store", store, "--log", "error"]).args(&self.server_args);
        listening(command)
    }

    /// A copy of a store that no server uses at the moment; gives its URL.
    pub fn copy(&self, store: &Path) -> Fallible<String> {
        self.copy_as("copy", store)
    }

    /// The same under this name.
    pub fn copy_as(&self, name: &str, store: &Path) -> Fallible<String> {
        let copy = self.folder.join(name).with_extension("db");
        for ending in ["db", "db-wal", "db-shm"] {
            let old = copy.with_extension(ending);
            if old.exists() {
                std::fs::remove_file(old)?;
            }
        }
        std::fs::copy(store, &copy)?;
        Ok(sqlite_url(&copy))
    }

    pub fn relay(&self) -> Fallible<Subject> {
        let mut command = self.machine.measured(std::env::current_exe()?.as_os_str());
        // The relay ends when its stdin does.
        command.arg(RELAY_ARGUMENT).stdin(Stdio::piped());
        listening(command)
    }

    /// A broker that keeps everything in memory and has no limits of its own.
    pub fn mosquitto(&self) -> Fallible<Subject> {
        let program = self.mosquitto.as_deref().ok_or("no mosquitto")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = self.folder.join("mosquitto.conf");
        std::fs::write(
            &settings,
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\nuser root\n\
                 max_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\n"
            ),
        )?;
        let mut command = self.machine.measured(program.as_os_str());
        command.args([OsStr::new("-c"), settings.as_os_str()]).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let process = Process::new(command.spawn()?);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until(|| Ok(TcpStream::connect(addr).is_ok()))?;
        Ok(Subject { process, addr, ready_after: start.elapsed() })
    }
}

/// Starts a program that prints its address on stderr.
fn listening(mut command: Command) -> Fallible<Subject> {
    let start = Instant::now();
    let mut process = Process::new(command.stderr(Stdio::piped()).spawn()?);
    let stderr = process.child().stderr.take().ok_or("its stderr is not there")?;
    let (mut lines, mut said) = (BufReader::new(stderr).lines(), String::new());
    let addr = loop {
        check_interrupt()?;
        let Some(line) = lines.next() else { return Err(format!("it ended before it was ready:\n{said}").into()) };
        let line = line?;
        if let Some((_, addr)) = line.split_once("listening on ") {
            break addr.trim().parse()?;
        }
        said = said + &line + "\n";
    };
    let ready_after = start.elapsed();
    // Its output (warnings, a panic) is shown, and a full pipe must not block it.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("\n[server] {line}")));
    Ok(Subject { process, addr, ready_after })
}

/// Waits for a condition.
pub fn wait_until(mut condition: impl FnMut() -> Fallible<bool>) -> Fallible<()> {
    let start = Instant::now();
    while !condition()? {
        check_interrupt()?;
        if start.elapsed() > PATIENCE {
            return Err("timed out".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The URL of a store in a file.
pub fn sqlite_url(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}
