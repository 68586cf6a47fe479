//! The options of the bench.

use super::Fallible;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The rows, each with its description.
pub const ROWS: &[(&str, &str)] = &[
    ("messages", "message → push → ack → MS in five shapes, raw and WebSocket, beside a relay and mosquitto"),
    ("latency", "the same at half of the rate that was just reached"),
    ("absent", "messages to users who are away, durable before MS, beside the store alone"),
    ("log-in", "log-in and first page of users with 20 waiting messages, beside the store alone"),
    ("storm", "all users come back at once, by password and by token, while others talk and some guess"),
    ("tls", "messages, idle connections and a storm of handshakes with TLS; may be narrowed, as in tls:idle"),
    (
        "cluster",
        "several nodes over one MariaDB: messages across nodes, and log-ins; may be narrowed: cluster:messages, cluster:log-in",
    ),
    ("start", "time to the ready line, and memory then"),
    ("idle", "memory and CPU of connections that are logged in and silent"),
    ("growth", "CPU of a message and a log-in against connections and accounts"),
    ("rosters", "a user with 5,000 friends: the roster, and what others notice while they come and go and all watch"),
    ("hostile", "what honest users meet beside attackers: latency, refusals, log-ins; may be narrowed to an attack"),
];

const HELP: &str = "\
Options, after `cargo bench --bench loopback --`:
  --rows NAMES      only these, with commas between; messages may be narrowed to a shape, as in messages:50x16x100
  --quick           a fraction of everything, to see that it runs
  --seconds S       how long each figure is measured [2]
  --runs N          how often; the median counts [3]
  --full            the largest sizes, too (1,000,000 accounts)
  --server PATH     the binary of the server [the one that cargo built]
  --against PATH    another build of the server, to compare in the rows of messages, latency, absent and log-in
  --server-arg ARG  one more argument for it; may be repeated
  --honest-every MS the interval of an honest user's messages in the rows hostile [20]
  --bus URL         also with this bus between the nodes of a cluster
  --json FILE       also write everything that was measured to this file
  --svg FOLDER      also draw the plots into this folder
Rows:";

/// The chosen options.
pub struct Settings {
    /// Empty: all.
    pub rows: Vec<String>,
    pub quick: bool,
    pub full: bool,
    pub time: Duration,
    pub runs: usize,
    pub server: PathBuf,
    pub against: Option<PathBuf>,
    pub server_args: Vec<String>,
    pub honest_every: Duration,
    pub bus: Option<String>,
    pub json: Option<PathBuf>,
    pub svg: Option<PathBuf>,
}

impl Settings {
    /// `None` when only the help was asked for.
    pub fn read(args: impl Iterator<Item = OsString>) -> Fallible<Option<Self>> {
        let mut settings = Self {
            rows: vec![],
            quick: false,
            full: false,
            time: Duration::from_secs(2),
            runs: 3,
            server: env!("CARGO_BIN_EXE_hongyan").into(),
            against: None,
            server_args: vec![],
            honest_every: Duration::from_millis(20),
            bus: None,
            json: None,
            svg: None,
        };
        let (mut seconds, mut runs) = (None, None);
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                lexopt::Arg::Long("rows") => {
                    settings.rows.extend(parser.value()?.to_string_lossy().split(',').map(str::to_owned));
                }
                lexopt::Arg::Long("quick") => settings.quick = true,
                lexopt::Arg::Long("full") => settings.full = true,
                lexopt::Arg::Long("seconds") => seconds = Some(parser.value()?.to_string_lossy().parse()?),
                lexopt::Arg::Long("runs") => runs = Some(parser.value()?.to_string_lossy().parse()?),
                lexopt::Arg::Long("server") => settings.server = PathBuf::from(parser.value()?).canonicalize()?,
                lexopt::Arg::Long("against") => settings.against = Some(PathBuf::from(parser.value()?).canonicalize()?),
                lexopt::Arg::Long("server-arg") => {
                    settings.server_args.push(parser.value()?.to_string_lossy().into_owned());
                }
                lexopt::Arg::Long("honest-every") => {
                    settings.honest_every = Duration::from_millis(parser.value()?.to_string_lossy().parse()?);
                }
                lexopt::Arg::Long("bus") => settings.bus = Some(parser.value()?.to_string_lossy().into_owned()),
                lexopt::Arg::Long("json") => settings.json = Some(parser.value()?.into()),
                lexopt::Arg::Long("svg") => settings.svg = Some(parser.value()?.into()),
                // Cargo passes this to every bench.
                lexopt::Arg::Long("bench") => {}
                lexopt::Arg::Long("help") => {
                    println!("{HELP}");
                    ROWS.iter().for_each(|(name, what)| println!("  {name:<17} {what}"));
                    return Ok(None);
                }
                other => return Err(format!("{}; --help lists the options", other.unexpected()).into()),
            }
        }
        if settings.quick {
            (settings.time, settings.runs) = (Duration::from_millis(400), 1);
        }
        settings.time = seconds.map_or(Ok(settings.time), Duration::try_from_secs_f64)?;
        settings.runs = runs.unwrap_or(settings.runs).max(1);
        for row in &settings.rows {
            let name = row.split(':').next().unwrap_or_default();
            if !ROWS.iter().any(|(known, _)| *known == name) {
                return Err(format!("there is no row {row:?}; --help lists them").into());
            }
        }
        Ok(Some(settings))
    }

    /// Is this row wanted?
    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted.split(':').next() == Some(row))
    }

    /// Is this part of the row wanted? Yes if no part was chosen.
    pub fn wants_part(&self, row: &str, part: &str) -> bool {
        let mut narrowed = self.rows.iter().filter_map(|wanted| wanted.strip_prefix(row)?.strip_prefix(':')).peekable();
        self.wants(row) && (narrowed.peek().is_none() || narrowed.any(|wanted| wanted == part))
    }

    pub fn warm_up(&self) -> Duration {
        self.time.mul_f64(0.25).max(Duration::from_millis(200))
    }

    /// Shows the present step, on a line that the next one overwrites.
    pub fn say(&self, what: &str) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            // It is only for somebody who watches.
            write!(stderr, "\r\x1b[2K{what}").and_then(|()| stderr.flush()).unwrap_or(());
        }
    }
}
