//! The commands on TLS in docs/operations.md, run as they stand there but for ports.

use super::super::common::Program;
use super::super::{OpenSsl, has_openssl};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The commands in the section's blocks, each on one line.
fn commands() -> Vec<Vec<String>> {
    let page = include_str!("../../docs/operations.md");
    let section = page.split("\n## ").find(|section| section.starts_with("TLS\n")).unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect()).collect()
}

/// A shell in a folder of its own, in which `hongyan` is the program of this test.
struct Shell {
    folder: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let shell = Self { folder: tempfile::tempdir().unwrap() };
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hongyan"), shell.path("hongyan")).unwrap();
        shell
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.path().to_owned()).chain(std::env::split_paths(&path));
        command.args(["-c", line]).current_dir(self.folder.path());
        command.env("PATH", std::env::join_paths(folders).unwrap()).env("HONGYAN_LISTEN", "127.0.0.1:0");
        command
    }

    #[track_caller]
    fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A server, which is this process of the shell from then on.
    fn serve(&self, line: &str) -> Program {
        assert!(line.starts_with("hongyan "), "{line}");
        Program::run(self.command(&format!("exec {line}")))
    }
}

/// The server listens on a port of its own.
#[track_caller]
fn to(program: &Program, line: &str) -> String {
    assert!(line.contains("127.0.0.1:1102"), "{line}");
    line.replace("127.0.0.1:1102", &program.addr.to_string())
}

fn put_executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_commands_work_as_the_page_describes() {
    if !has_openssl() {
        return;
    }
    let blocks = commands();
    let [[serve], [request, try_out, look], [hang_up, dates]] =
        blocks.iter().map(Vec::as_slice).collect::<Vec<_>>()[..]
    else {
        panic!("a command that no test runs: {blocks:?}");
    };
    let shell = Shell::new();
    shell.run(request);
    let program = shell.serve(try_out);
    let mut client = OpenSsl::run(shell.command(&format!("exec {}", to(&program, look))));
    client.send("{\"TYPE\":\"0\"}\n");
    client.wait_for("NOT_LOGGED_IN");
    // A renewal: the same command makes another pair.
    let shown = || shell.run(&to(&program, dates));
    let own = || shell.run("openssl x509 -in cert.pem -noout -dates -fingerprint");
    let before = own();
    assert_eq!(shown(), before);
    assert!(before.contains("notAfter=") && before.contains("Fingerprint="), "{before}");
    shell.run(request);
    assert_ne!(own(), before);
    // There is a systemd on few machines that run tests.
    let script = format!("#!/bin/sh\n[ \"$*\" = 'reload hongyan' ] && exec kill -HUP {}\n", program.id());
    put_executable(&shell.path("systemctl"), &script);
    shell.run(hang_up);
    program.wait_for("was read again");
    let line = program.wait_for("expires in ");
    // Thirty in the second in which it was made.
    assert!(line.ends_with(" 29 days") || line.ends_with(" 30 days"), "{line}");
    assert_eq!(shown(), own());
    drop(program);
    // The names that an ACME client gives them.
    fs::rename(shell.path("cert.pem"), shell.path("fullchain.pem")).unwrap();
    fs::rename(shell.path("key.pem"), shell.path("privkey.pem")).unwrap();
    assert!(serve.contains("--listen 0.0.0.0:1102"), "{serve}");
    let program = shell.serve(&serve.replace("0.0.0.0:1102", "127.0.0.1:0"));
    assert_eq!(shell.run(&to(&program, dates).replace("cert.pem", "fullchain.pem")).lines().count(), 3);
}
