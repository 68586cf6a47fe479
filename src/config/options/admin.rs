//! The options of the admin interface.

use super::{ConfigOption, HOUR, NumberOption, OptionKind, opt};
use crate::config::AdminPlace;

const ADMIN: &str = "Admin interface";

pub(super) const PLACE: ConfigOption = opt(
    ADMIN,
    "admin",
    OptionKind::List {
        value_name: "unix:PATH|ADDR:PORT",
        allowed: AdminPlace::ALLOWED,
        format_value: |config| config.admin.to_string(),
        set: |config, text| AdminPlace::parse(text).map(|place| config.admin = place),
    },
    "Where the admin interface listens. auto: the socket PATH.sock beside the SQLite file PATH, or, with another \
     store, the socket hongyan.sock in the working folder.",
);

pub(super) const TOKEN_FILE: ConfigOption = opt(
    ADMIN,
    "admin-token-file",
    OptionKind::File { get: |c| &c.admin_token_file, set: |c, path| c.admin_token_file = path },
    "The file with the token that requests to an admin interface at ADDR:PORT must send.",
);

pub(super) const CONNECTIONS_MAX: ConfigOption = opt(
    ADMIN,
    "admin-connections-max",
    OptionKind::Count(NumberOption {
        min: 1,
        max: 1_000,
        get: |c| c.admin_connections_max as u64,
        // The bound fits.
        set: |c, value| c.admin_connections_max = value as usize,
    }),
    "Requests to the admin interface at once; further ones are refused. A quarter of the places is reserved for \
     requests that need no store (health, metrics, users, drain). At most a quarter may be taken by requests that \
     use the database themselves (nodes, forget-node).",
);

pub(super) const TIMEOUT: ConfigOption = opt(
    ADMIN,
    "admin-timeout",
    OptionKind::Duration(NumberOption {
        min: 100,
        max: HOUR,
        get: |c| c.admin_timeout_ms,
        set: |c, ms| c.admin_timeout_ms = ms,
    }),
    "How long a request to the admin interface may take to arrive and to be answered.",
);
