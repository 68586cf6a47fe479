//! The options of the bus between nodes.

use super::{ConfigOption, GIB, MIB, NumberOption, OptionKind, SERVER, opt};

pub(super) const URLS: ConfigOption = opt(
    SERVER,
    "bus",
    OptionKind::Bus,
    "Redis or Valkey servers over which nodes talk faster than through the database: redis://USER:PASSWORD@HOST:PORT, rediss:// for TLS.",
);

const BUS: &str = "Bus between nodes";

pub(super) const TIMEOUT: ConfigOption = opt(
    BUS,
    "bus-timeout",
    OptionKind::Duration(number!(100, 60_000, bus_timeout_ms: u64)),
    "An instance of --bus is not used while it takes longer than this to connect, to answer, or to give a node its own frame back.",
);

pub(super) const FRAMES_MAX: ConfigOption = opt(
    BUS,
    "bus-frames-max",
    OptionKind::Count(number!(1, 1_000_000, bus_frames_max: usize)),
    "Frames that wait for an instance of --bus, or for the loop; beyond it they are dropped, and go through the database.",
);

pub(super) const BYTES_MAX: ConfigOption = opt(
    BUS,
    "bus-bytes-max",
    OptionKind::Size(number!(2 * MIB, GIB, bus_bytes_max: usize)),
    "The size of the frames that wait for an instance of --bus, or for the loop; beyond it they are dropped, and go through the database.",
);
