//! The options of the bus between nodes.

use super::node::CLUSTER;
use super::{ConfigOption, GIB, MIB, NumberOption, OptionKind, opt};

pub(super) const URLS: ConfigOption = opt(
    CLUSTER,
    "bus",
    OptionKind::Bus,
    "The Redis or Valkey servers over which nodes talk faster than through the database: \
     redis://USER:PASSWORD@HOST:PORT, or rediss:// for TLS.",
);

pub(super) const TIMEOUT: ConfigOption = opt(
    CLUSTER,
    "bus-timeout",
    OptionKind::Duration(number!(100, 60_000, bus_timeout_ms: u64)),
    "How long an instance of --bus may take to connect, to answer, or to return the beat that a node sends to \
     itself. While it takes longer, it is not used.",
);

pub(super) const FRAMES_MAX: ConfigOption = opt(
    CLUSTER,
    "bus-frames-max",
    OptionKind::Count(number!(1, 1_000_000, bus_frames_max: usize)),
    "Frames that may wait to be sent to an instance of --bus; as many that have arrived may wait to be read. \
     Further frames are dropped, and their content goes through the database.",
);

pub(super) const BYTES_MAX: ConfigOption = opt(
    CLUSTER,
    "bus-bytes-max",
    OptionKind::Size(number!(2 * MIB, GIB, bus_bytes_max: usize)),
    "Bytes of the frames that may wait for an instance of --bus, and as many bytes that may wait for the loop. \
     Further frames are dropped, and their content goes through the database.",
);
