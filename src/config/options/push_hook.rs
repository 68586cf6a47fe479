//! The options of the push hook.

use super::{ConfigOption, DAY, HOUR, NumberOption, OptionKind, opt};
use crate::config::HookUrl;

const HOOK: &str = "Push hook";

pub(super) const URL: ConfigOption = opt(
    HOOK,
    "push-hook",
    OptionKind::List {
        value_name: "URL",
        allowed: "none, or an http or https URL",
        format_value: |config| config.push_hook.as_ref().map_or("none".to_owned(), ToString::to_string),
        set: |config, text| {
            config.push_hook = if text == "none" { None } else { Some(HookUrl::parse(text)?) };
            config.rules.push_hook = config.push_hook.is_some();
            Ok(())
        },
    },
    "The URL that gets a POST request when pushes wait for a user, so that their phone can be woken.",
);

pub(super) const SECRET_FILE: ConfigOption = opt(
    HOOK,
    "push-hook-secret-file",
    OptionKind::File { get: |c| &c.push_hook_secret_file, set: |c, path| c.push_hook_secret_file = path },
    "The file with the secret that signs the requests of --push-hook (HMAC-SHA-256); at least 16 bytes.",
);

pub(super) const CA_FILE: ConfigOption = opt(
    HOOK,
    "push-hook-ca-file",
    OptionKind::File { get: |c| &c.push_hook_ca_file, set: |c, path| c.push_hook_ca_file = path },
    "The PEM file with the root certificates for an https URL of --push-hook; none: those that browsers trust.",
);

pub(super) const CONTENT: ConfigOption = opt(
    HOOK,
    "push-hook-content",
    OptionKind::Switch { get: |c| c.push_hook_content, set: |c, on| c.push_hook_content = on },
    "Put the text of the push into the requests of --push-hook, up to 1,024 bytes.",
);

pub(super) const AFTER: ConfigOption = opt(
    HOOK,
    "push-hook-after",
    OptionKind::Duration(number!(1, DAY, rules.push_hook_after_ms: u64)),
    "How long a push must wait, because its receiver is away or does not ack, before a request of --push-hook is made.",
);

pub(super) const PAUSE: ConfigOption = opt(
    HOOK,
    "push-hook-pause",
    OptionKind::Duration(number!(1, 30 * DAY, rules.push_hook_pause_ms: u64)),
    "How long there is no further request of --push-hook about a user after the last one, unless the user logs in.",
);

pub(super) const USERS_MAX: ConfigOption = opt(
    HOOK,
    "push-hook-users-max",
    OptionKind::Count(number!(1, 100_000_000, rules.push_hook_users_max: usize)),
    "Users who may be watched for --push-hook or be in the pause after a request; pushes to further users cause no \
     request.",
);

pub(super) const QUEUE_MAX: ConfigOption = opt(
    HOOK,
    "push-hook-queue-max",
    OptionKind::Count(number!(1, 1_000_000, push_hook_queue_max: usize)),
    "Requests of --push-hook that may wait for their first or next try; further ones are dropped.",
);

pub(super) const TIMEOUT: ConfigOption = opt(
    HOOK,
    "push-hook-timeout",
    OptionKind::Duration(number!(10, HOUR, push_hook_timeout_ms: u64)),
    "How long one request of --push-hook may take, from the look-up of the host to the answer.",
);

pub(super) const RETRY_AFTER: ConfigOption = opt(
    HOOK,
    "push-hook-retry-after",
    OptionKind::Duration(number!(1, HOUR, push_hook_retry_after_ms: u64)),
    "The pause after the first failed try of a request of --push-hook. Each further pause is four times as long, and \
     the fifth try is the last.",
);
