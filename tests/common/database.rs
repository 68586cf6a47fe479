//! A database of a test's own on the server that HONGYAN_TEST_MYSQL names (`./test` starts one),
//! dropped at the end.

use mysql::prelude::Queryable;
use mysql::{Conn, Opts};

/// One database and a connection to it.
pub struct Database {
    pub conn: Conn,
    name: String,
    server: String,
}

impl Database {
    /// `None` when there is no server: the test says so and tests nothing.
    pub fn create(what: &str) -> Option<Self> {
        let Ok(server) = std::env::var("HONGYAN_TEST_MYSQL") else {
            eprintln!("HONGYAN_TEST_MYSQL is not set: not tested on MySQL here, ./test does it");
            return None;
        };
        let mut conn = Conn::new(Opts::from_url(&server).unwrap()).unwrap();
        let name = format!("hongyan_{what}_{}", std::process::id());
        for sql in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}"), format!("USE {name}")]
        {
            conn.query_drop(sql).unwrap();
        }
        Some(Self { conn, name, server })
    }

    /// The value for `--store`.
    pub fn url(&self) -> String {
        format!("{}/{}", self.server.trim_end_matches('/'), self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Should it fail: the server of `./test` is thrown away whole.
        self.conn.query_drop(format!("DROP DATABASE {}", self.name)).ok();
    }
}
