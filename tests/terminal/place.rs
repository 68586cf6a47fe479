//! A folder with a server's store and users' files, and the programs that use them.

use crate::common::{CHEAP_PASSWORDS, Program};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One place for all that a test makes.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server on a free port.
    pub fn serve(&self) -> Program {
        self.serve_at(([127, 0, 0, 1], 0).into())
    }

    /// A server on this port: the one before is gone.
    pub fn serve_at(&self, addr: SocketAddr) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
        let store = format!("sqlite:{}", self.path("hongyan.db").display());
        command.args(["--listen", &addr.to_string(), "--store", &store, "--admin", "off"]).args(CHEAP_PASSWORDS);
        Program::run(command)
    }

    /// The file with the password of a user.
    pub fn password_file(&self, user: &str) -> PathBuf {
        let path = self.path(&format!("{user}.password"));
        std::fs::write(&path, format!("password of {user}\n")).unwrap();
        path
    }

    /// The first options of every command of a user; each user has a data folder of their own.
    pub fn options(&self, server: &Program, user: &str) -> Vec<String> {
        self.options_at(server.addr, user)
    }

    pub fn options_at(&self, addr: SocketAddr, user: &str) -> Vec<String> {
        let (data, password) = (self.path(&format!("data of {user}")), self.password_file(user));
        [
            ("--server", format!("tcp://{addr}")),
            ("--user", user.to_owned()),
            ("--password-file", password.display().to_string()),
            ("--data", data.display().to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    /// Runs `hongyan VERB …` to its end.
    pub fn run(&self, server: &Program, user: &str, verb: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
        command.arg(verb).args(self.options(server, user)).args(args);
        command.output().unwrap()
    }

    /// The folder in which a user's files are.
    pub fn files_of(&self, user: &str) -> PathBuf {
        let mut folder = self.path(&format!("data of {user}"));
        while folder.file_name().is_none_or(|name| name != user) {
            folder = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        }
        folder
    }
}

/// Does any of these files hold these bytes?
pub fn is_in_files(folder: &Path, what: &str) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let has = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(what.len()).any(|window| window == what.as_bytes())
    };
    files.into_iter().any(has)
}
