//! A MariaDB to measure on: the one that `HONGYAN_TEST_MYSQL` names, or a private one in the
//! bench's own folder.

use super::Fallible;
use super::process::{Process, find_program};
use super::subjects::{Starter, wait_until};
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// A database server. A private one ends when this is dropped.
pub struct MariaDb {
    /// `mysql://user:password@host:port`
    base: String,
    _process: Option<Process>,
}

/// One database on it, removed when this is dropped.
pub struct Database {
    base: String,
    name: String,
}

impl MariaDb {
    /// `None`: there is no MariaDB on this machine.
    pub fn find(starter: &Starter) -> Fallible<Option<Self>> {
        if let Ok(base) = std::env::var("HONGYAN_TEST_MYSQL") {
            return Ok(Some(Self { base: base.trim_end_matches('/').to_owned(), _process: None }));
        }
        let (Some(install), Some(server)) = (find_program("mariadb-install-db"), find_program("mariadbd")) else {
            return Ok(None);
        };
        let user = String::from_utf8(Command::new("id").arg("-un").output()?.stdout)?;
        let user = format!("--user={}", user.trim());
        let folder = starter.folder.join("mariadb");
        let data = format!("--datadir={}", folder.join("data").display());
        std::fs::create_dir_all(&folder)?;
        let installed = Command::new(install)
            .args(["--no-defaults", &user, &data, "--auth-root-authentication-method=normal", "--skip-test-db"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !installed.success() {
            return Err("mariadb-install-db failed".into());
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // The path of a socket must be short (107 bytes), and that of the build folder may be long:
        // so `--socket` is relative to the data folder.
        let process = starter
            .machine
            .unpinned(server.as_os_str())
            .args([
                "--no-defaults",
                &user,
                &data,
                "--socket=socket",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve=0",
            ])
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let this = Self { base: format!("mysql://root:@127.0.0.1:{port}"), _process: Some(Process::new(process)) };
        wait_until(|| Ok(connect(&this.base).is_ok()))?;
        connect(&this.base)?.query_drop("CREATE USER hongyan@'127.0.0.1' IDENTIFIED BY 'x'")?;
        connect(&this.base)?.query_drop("GRANT ALL ON *.* TO hongyan@'127.0.0.1'")?;
        Ok(Some(Self { base: format!("mysql://hongyan:x@127.0.0.1:{port}"), ..this }))
    }

    /// The version that it reports.
    pub fn version(&self) -> Fallible<String> {
        Ok(connect(&self.base)?.query_first("SELECT VERSION()")?.unwrap_or_default())
    }

    /// A new database.
    pub fn database(&self, what: &str) -> Fallible<Database> {
        let name = format!("hongyan_bench_{what}_{}", std::process::id());
        let mut conn = connect(&self.base)?;
        conn.query_drop(format!("DROP DATABASE IF EXISTS {name}"))?;
        conn.query_drop(format!("CREATE DATABASE {name}"))?;
        Ok(Database { base: self.base.clone(), name })
    }
}

fn connect(base: &str) -> Result<Conn, mysql::Error> {
    Conn::new(OptsBuilder::from_opts(mysql::Opts::from_url(base)?).prefer_socket(false))
}

impl Database {
    /// The value for `--store`.
    pub fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    /// Runs one statement in this database.
    pub fn run(&self, sql: &str) -> Fallible<()> {
        let mut conn = connect(&self.base)?;
        conn.query_drop(format!("USE {}", self.name))?;
        Ok(conn.query_drop(sql)?)
    }

    /// Rows that the whole server inserted or deleted so far, and its commits.
    pub fn written(&self) -> Fallible<(f64, f64)> {
        let sql = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Handler_write', 'Handler_delete', 'Com_commit')";
        let found: Vec<(String, u64)> = connect(&self.base)?.query(sql)?;
        fn commits(name: &str) -> bool {
            name.eq_ignore_ascii_case("com_commit")
        }
        let sum = |wanted: bool| {
            found.iter().filter(move |(name, _)| commits(name) == wanted).map(|(_, count)| *count as f64)
        };
        Ok((sum(false).sum(), sum(true).sum()))
    }

    /// Removes the waiting pushes of all users.
    pub fn empty_lists(&self) -> Fallible<()> {
        Ok(connect(&self.base)?.query_drop(format!("TRUNCATE TABLE {}.pushes", self.name))?)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // If this fails, a private server is deleted anyway, but a database hongyan_bench_… stays
        // on the user's own server.
        connect(&self.base).and_then(|mut conn| conn.query_drop(format!("DROP DATABASE {}", self.name))).unwrap_or(());
    }
}
