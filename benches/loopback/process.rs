//! Programs that are started, pinned, watched and ended.

use super::Fallible;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Set in the environment once this process has the core and the file descriptors that it needs.
const PREPARED: &str = "HONGYAN_TEST_BENCH_PREPARED";

/// The cores that programs run on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The core of the measured program; `None` if nothing can be pinned.
    pub server_core: Option<usize>,
    /// The core of the load.
    pub load_core: Option<usize>,
    setpriv: Option<PathBuf>,
    taskset: Option<PathBuf>,
}

impl Machine {
    /// Inspects the machine and moves this process, by executing it again once, to the core of the
    /// load, with enough file descriptors, or as many as are allowed.
    pub fn prepare() -> Fallible<Self> {
        if let Some(cores) = std::env::var_os(PREPARED) {
            return Ok(Self::with_cores(&cores.to_string_lossy()));
        }
        let cores = allowed_cores()?;
        let mut machine = Self::with_cores("");
        if machine.taskset.is_some() && cores.len() > 1 {
            (machine.server_core, machine.load_core) = (Some(cores[0]), Some(cores[1]));
        }
        let pinned = match (machine.server_core, machine.load_core) {
            (Some(server), Some(load)) => format!("{server},{load}"),
            _ => String::new(),
        };
        let program = std::env::current_exe()?;
        let words: Vec<_> = std::env::args_os().skip(1).collect();
        let mut inner = vec![];
        if let (Some(taskset), Some(core)) = (&machine.taskset, machine.load_core) {
            inner.extend([taskset.clone().into_os_string(), "-c".into(), core.to_string().into()]);
        }
        inner.push(program.into_os_string());
        inner.extend(words);
        let mut shell = Command::new("sh");
        let script = r#"ulimit -n 65536 2>/dev/null || ulimit -S -n "$(ulimit -H -n)"; exec "$@""#;
        shell.args(["-c", script, "sh"]).args(inner).env(PREPARED, pinned);
        // Comes back only if there is no shell.
        Err(shell.exec().into())
    }

    fn with_cores(cores: &str) -> Self {
        let mut numbers = cores.split(',').map(|core| core.parse().ok());
        let (server_core, load_core) = (numbers.next().flatten(), numbers.next().flatten());
        Self { server_core, load_core, setpriv: find_program("setpriv"), taskset: find_program("taskset") }
    }

    /// The sentence in the report.
    pub fn describe(&self) -> String {
        match (self.server_core, self.load_core) {
            (Some(server), Some(load)) => format!("what is measured on core {server}, the load on core {load}"),
            _ => "NOT PINNED (no `taskset`, or only one core): the figures mean little".into(),
        }
    }

    /// A command on the core of the measured program, which dies with this process.
    pub fn measured(&self, program: &OsStr) -> Command {
        self.command(program, self.server_core.map(|core| core.to_string()))
    }

    /// A command on the core of the load, which dies with this process.
    pub fn load(&self, program: &OsStr) -> Command {
        self.command(program, self.load_core.map(|core| core.to_string()))
    }

    /// A command on any core, which dies with this process.
    pub fn unpinned(&self, program: &OsStr) -> Command {
        let both = self.server_core.zip(self.load_core).map(|(one, other)| format!("{one},{other}"));
        self.command(program, both)
    }

    fn command(&self, program: &OsStr, cores: Option<String>) -> Command {
        let mut words = vec![];
        if let Some(setpriv) = &self.setpriv {
            words.extend([setpriv.clone().into_os_string(), "--pdeathsig".into(), "KILL".into()]);
        }
        if let (Some(taskset), Some(cores)) = (&self.taskset, cores) {
            words.extend([taskset.clone().into_os_string(), "-c".into(), cores.into()]);
        }
        words.push(program.to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove(PREPARED);
        command
    }
}

/// The cores this process may use, from a list like `0-3,6`.
fn allowed_cores() -> Fallible<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0").trim();
    let mut cores = vec![];
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse::<usize>()?..=last.parse()?);
    }
    Ok(cores)
}

/// The limit of open files and sockets of this process and its children.
pub fn file_descriptors() -> Fallible<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).ok_or("no limit of open files")?;
    Ok(line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX))
}

/// Finds a program in the folders of `PATH`, and in the usual ones.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A child that is ended, whatever happens, when this is dropped.
pub struct Process(Child);

impl Process {
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// CPU time of all its threads so far, in ns.
    pub fn cpu_ns(&self) -> Fallible<u64> {
        cpu_ns(&Path::new("/proc").join(self.id().to_string()))
    }

    /// Memory of its own that is resident (no files), in bytes.
    pub fn anonymous_bytes(&self) -> Fallible<u64> {
        self.status("RssAnon:")
    }

    /// All that is resident, in bytes.
    pub fn resident_bytes(&self) -> Fallible<u64> {
        self.status("VmRSS:")
    }

    /// The peak of resident memory, in bytes.
    pub fn peak_bytes(&self) -> Fallible<u64> {
        self.status("VmHWM:")
    }

    /// CPU time in the clock ticks of the system, as `ps` and `top` reckon it.
    pub fn ticks(&self) -> Fallible<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // Behind the name, which may hold anything; user and system time are the 14th and 15th word
        // of all.
        let (_, words) = stat.rsplit_once(") ").ok_or("no such line in /proc/PID/stat")?;
        let times = words.split(' ').skip(11).take(2).map(str::parse::<u64>);
        Ok(times.sum::<Result<u64, _>>()?)
    }

    fn status(&self, key: &str) -> Fallible<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("no such line in /proc/PID/status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither fails on a child of ours that was not waited for yet.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// CPU time of this process so far, in ns.
pub fn own_cpu_ns() -> Fallible<u64> {
    cpu_ns(Path::new("/proc/self"))
}

fn cpu_ns(process: &Path) -> Fallible<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(process.join("task"))? {
        // A thread may have ended since it was listed.
        let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        sum += schedstat.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(sum)
}
