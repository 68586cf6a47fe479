//! The options of a node of a cluster.

use super::{ConfigOption, GIB, KIB, MIB, NumberOption, OptionKind, live, opt};
use crate::config::node_name;

pub(super) const CLUSTER: &str = "Several nodes (a cluster)";

pub(super) const NAME: ConfigOption = opt(
    CLUSTER,
    "node-name",
    OptionKind::List {
        value_name: "NAME",
        allowed: "none, or 1 to 64 letters, digits, dots, hyphens and underscores",
        format_value: |config| config.node_name.as_deref().unwrap_or("none").to_owned(),
        set: |config, text| node_name::parse(text).map(|name| config.node_name = name),
    },
    "The name of this node in a cluster: several servers that use one MySQL store together.",
);

pub(super) const LINK_BYTES_MAX: ConfigOption = live(
    CLUSTER,
    "link-bytes-max",
    OptionKind::Size(number!(64 * KIB, GIB, rules.link_bytes_max: usize)),
    "Bytes that a node may send to another node over the bus before that node confirms them; further messages \
     are saved at once.",
);

pub(super) const RECORDS_MAX: ConfigOption = opt(
    CLUSTER,
    "node-records-max",
    OptionKind::Count(number!(1, 10_000_000, node_records_max: usize)),
    "Records (messages to other nodes of the cluster) that may wait to be written to the database, for all nodes \
     together. Further records are dropped, and the nodes concerned are told that they missed some.",
);

pub(super) const RECORD_BYTES_MAX: ConfigOption = opt(
    CLUSTER,
    "node-record-bytes-max",
    OptionKind::Size(number!(MIB, 64 * GIB, node_record_bytes_max: usize)),
    "Bytes of the records for other nodes that may wait to be written to the database. Further records are dropped, \
     and the nodes concerned are told that they missed some.",
);
