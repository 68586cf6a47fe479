//! Another host on this machine: a network namespace with one end of a virtual cable in it.

use super::super::Fallible;
use super::super::process::find_program;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The addresses of the two ends (198.18.0.0/15 is for benchmarks, RFC 2544, so no other host has
/// them).
pub const OUR_END: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 1);
const ITS_END: &str = "198.18.77.2/30";

/// A namespace and its cable, removed when this is dropped.
pub struct Namespace {
    ip: PathBuf,
    name: String,
    cable: String,
}

impl Namespace {
    /// `None` if no namespace can be made: the program `ip` or the permission is missing.
    pub fn make() -> Option<Self> {
        let id = std::process::id();
        let this = Self { ip: find_program("ip")?, name: format!("hongyan{id}"), cable: format!("hy{id}") };
        let (name, cable, inner) = (this.name.as_str(), this.cable.as_str(), format!("{}i", this.cable));
        let ours = format!("{OUR_END}/30");
        let steps: [&[&str]; 6] = [
            &["netns", "add", name],
            &["link", "add", cable, "type", "veth", "peer", "name", &inner, "netns", name],
            &["addr", "add", &ours, "dev", cable],
            &["link", "set", cable, "up"],
            &["-n", name, "addr", "add", ITS_END, "dev", &inner],
            &["-n", name, "link", "set", &inner, "up"],
        ];
        // If a step fails, dropping `this` removes what the earlier steps made.
        steps.iter().all(|step| this.run(step).is_ok()).then_some(this)
    }

    fn run(&self, words: &[&str]) -> Fallible<()> {
        let status = Command::new(&self.ip).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("ip {} failed", words.join(" ")).into()) }
    }

    /// The words to put before a command, so that it runs in the namespace.
    pub fn prefix(&self) -> Vec<OsString> {
        vec![self.ip.clone().into(), "netns".into(), "exec".into(), self.name.clone().into()]
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // If `make` failed, one of them may not exist: that is no error.
        self.run(&["link", "del", &self.cable]).unwrap_or(());
        self.run(&["netns", "del", &self.name]).unwrap_or(());
    }
}
