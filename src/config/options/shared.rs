//! The second half of the table: the limits of addresses, accounts and the whole server, and
//! passwords.

use super::{ConfigOption, DAY, GIB, KIB, MIB, NumberOption, OptionKind, live, opt};
use super::{bus, node, push_hook};
use crate::chat::contract::EmailVisibility;
use crate::config::{ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, Config};

const ACCOUNT: &str = "Limits of one account";
const ADDRESS: &str = "Limits of one address (loopback has none)";
pub(super) const WHOLE: &str = "Limits of the whole server";
const LOGIN: &str = "Passwords";

pub(super) const SHARED: &[ConfigOption] = &[
    live(
        ADDRESS,
        "connections-per-address-max",
        OptionKind::Count(number!(1, 10_000_000, connections_per_address_max: usize)),
        "Open connections from one address; further ones are closed at once.",
    ),
    live(
        ADDRESS,
        "requests-before-login-per-address-max",
        OptionKind::Count(number!(1, 1_000_000, rules.requests_before_login_per_address_max: u32)),
        "The allowance that all clients of one address share before log-in: how many requests they may send at once. \
         The connection that exceeds it is closed.",
    ),
    live(
        ADDRESS,
        "requests-before-login-per-address-per-second-max",
        OptionKind::Count(number!(1, 1_000, rules.requests_before_login_per_address_per_second_max: u32)),
        "How fast the allowance that all clients of one address share before log-in refills, in requests a second.",
    ),
    live(
        ADDRESS,
        "wrong-passwords-per-address-max",
        OptionKind::Count(number!(1, 1_000_000, rules.wrong_passwords_per_address_max: u32)),
        "Wrong passwords from one address before further log-ins with a password are refused.",
    ),
    live(
        ADDRESS,
        "wrong-password-per-address-forgotten-after",
        OptionKind::Duration(number!(1, DAY, rules.wrong_password_per_address_forgotten_after_ms: u64)),
        "Each time this has passed, one wrong password from an address is forgotten.",
    ),
    live(
        ADDRESS,
        "auth-jobs-per-address-max",
        OptionKind::Count(number!(1, 1_000_000, rules.auth_jobs_per_address_max: u32)),
        "Log-ins and sign-ups from one address that may wait for a password to be hashed; further ones are refused.",
    ),
    live(
        ADDRESS,
        "sign-ups-per-address-max",
        OptionKind::Count(number!(1, 1_000_000, rules.sign_ups_per_address_max: u32)),
        "Sign-ups from one address before further ones are refused.",
    ),
    live(
        ADDRESS,
        "sign-up-per-address-forgotten-after",
        OptionKind::Duration(number!(1, DAY, rules.sign_up_per_address_forgotten_after_ms: u64)),
        "Each time this has passed, one sign-up from an address is forgotten.",
    ),
    live(
        ACCOUNT,
        "jobs-per-user-max",
        OptionKind::Count(number!(1, 1_000_000, rules.jobs_per_user_max: u32)),
        "How much work for the store the requests of one user may cause at a time, in jobs (a push is one for each 4 KiB). \
         Further requests wait; acks and heartbeats do not.",
    ),
    live(
        ACCOUNT,
        "reads-per-user-max",
        OptionKind::Count(number!(1, 1_000_000, rules.reads_per_user_max: u32)),
        "Requests for profiles, tokens and the user's own account that one user may have in flight. A ROSTER request \
         counts as four.",
    ),
    live(
        ACCOUNT,
        "friends-max",
        OptionKind::Count(number!(1, 1_000_000, rules.friends_max: u32)),
        "Friends that one user may have.",
    ),
    live(
        ACCOUNT,
        "pending-requests-max",
        OptionKind::Count(number!(1, 1_000_000, rules.pending_requests_max: u32)),
        "Friend requests that may be pending from one user; as many may be pending to one user.",
    ),
    live(
        ACCOUNT,
        "blocked-max",
        OptionKind::Count(number!(1, 2_000, rules.blocked_max: u32)),
        "Users whom one user may block.",
    ),
    live(
        ACCOUNT,
        "profile-email",
        OptionKind::Choice {
            value_name: "WHO",
            words: &["everyone", "friends", "nobody"],
            get: |c| match c.rules.profile_email {
                EmailVisibility::Everyone => "everyone",
                EmailVisibility::Friends => "friends",
                EmailVisibility::Nobody => "nobody",
            },
            set: |c, word| {
                c.rules.profile_email = match word {
                    "everyone" => EmailVisibility::Everyone,
                    "friends" => EmailVisibility::Friends,
                    _ => EmailVisibility::Nobody,
                }
            },
        },
        "The users who may see the e-mail address in a profile; users always see their own.",
    ),
    live(
        ACCOUNT,
        "tokens-max",
        OptionKind::Count(number!(1, 1_000, rules.tokens_max: u32)),
        "Valid resume tokens of one user; a new one replaces the oldest.",
    ),
    live(
        ACCOUNT,
        "token-lifetime",
        OptionKind::Duration(number!(1, 3_650 * DAY, rules.token_lifetime_ms: u64)),
        "How long a resume token is valid.",
    ),
    live(
        ACCOUNT,
        "log-ins-waiting-per-user-max",
        OptionKind::Count(number!(1, 100_000, rules.log_ins_waiting_per_user_max: u32)),
        "Log-ins of one user that may wait while another log-in of that user loads messages; further ones are refused.",
    ),
    live(
        ACCOUNT,
        "wrong-passwords-per-user-max",
        OptionKind::Count(number!(1, 1_000_000, rules.wrong_passwords_per_user_max: u32)),
        "Wrong passwords for one user, from all addresses that are not trusted (--trusted-address-age) together; \
         then every password for that user from such an address is refused. Loopback has a separate budget of the \
         same size.",
    ),
    live(
        ACCOUNT,
        "wrong-password-per-user-forgotten-after",
        OptionKind::Duration(number!(1, DAY, rules.wrong_password_per_user_forgotten_after_ms: u64)),
        "Each time this has passed, one wrong password for a user is forgotten.",
    ),
    live(
        ACCOUNT,
        "wrong-passwords-per-user-and-address-max",
        OptionKind::Count(number!(1, 1_000_000, rules.wrong_passwords_per_user_and_address_max: u32)),
        "Wrong passwords for one user from one untrusted address before further ones from there are refused.",
    ),
    live(
        ACCOUNT,
        "wrong-password-per-user-and-address-forgotten-after",
        OptionKind::Duration(number!(1, DAY, rules.wrong_password_per_user_and_address_forgotten_after_ms: u64)),
        "Each time this has passed, one wrong password for a user from an untrusted address is forgotten.",
    ),
    live(
        ACCOUNT,
        "wrong-passwords-per-trusted-address-max",
        OptionKind::Count(number!(1, 1_000_000, rules.wrong_passwords_per_trusted_address_max: u32)),
        "Wrong passwords for one user from one trusted address before further ones from there are refused. Trusted: \
         the user logged in there by password recently.",
    ),
    live(
        ACCOUNT,
        "wrong-password-per-trusted-address-forgotten-after",
        OptionKind::Duration(number!(1, DAY, rules.wrong_password_per_trusted_address_forgotten_after_ms: u64)),
        "Each time this has passed, one wrong password for a user from a trusted address is forgotten.",
    ),
    live(
        ACCOUNT,
        "trusted-address-age",
        OptionKind::Duration(number!(0, 3_650 * DAY, rules.trusted_address_age_ms: u64)),
        "How long an address stays trusted for a user after their last log-in from it, and at most until a restart.",
    ),
    live(
        ACCOUNT,
        "waiting-per-receiver-max",
        OptionKind::Count(number!(1, 1_000_000_000, waiting_per_receiver_max: u64)),
        "Messages and friend requests that wait in the store for one user; further ones are refused with FULL.",
    ),
    live(
        ACCOUNT,
        "waiting-bytes-per-receiver-max",
        OptionKind::Size(number!(KIB, 1024 * GIB, waiting_bytes_per_receiver_max: u64)),
        "Bytes of the messages and friend requests that wait in the store for one user; further ones are refused \
         with FULL.",
    ),
    live(
        ACCOUNT,
        "waiting-per-pair-max",
        OptionKind::Count(number!(1, 1_000_000_000, waiting_per_pair_max: u64)),
        "Messages and friend requests from one sender to one user that wait in the store; further ones are refused \
         with FULL.",
    ),
    live(
        ACCOUNT,
        "waiting-bytes-per-pair-max",
        OptionKind::Size(number!(KIB, 1024 * GIB, waiting_bytes_per_pair_max: u64)),
        "Bytes of the messages and friend requests from one sender to one user that wait in the store; further ones \
         are refused with FULL.",
    ),
    live(
        WHOLE,
        "memory-max",
        OptionKind::Size(number!(MIB, 1024 * GIB, memory_bytes_max: usize)),
        "Memory that the server may hold for clients; when it is reached, the connections that hold the most are closed.",
    ),
    live(
        WHOLE,
        "connections-max",
        OptionKind::Count(number!(1, 10_000_000, connections_max: usize)),
        "The most connections that may be open. A further one takes the place of one that is being closed, or of the oldest that is not logged in; if there is none, it is closed at once.",
    ),
    opt(
        WHOLE,
        "backlog-connections-max",
        OptionKind::Count(number!(1, 65_535, backlog_connections_max: u16)),
        "Connections that wait to be accepted; the system may allow fewer.",
    ),
    live(
        WHOLE,
        "jobs-max",
        OptionKind::Count(number!(1, 10_000_000, rules.jobs_max: usize)),
        "Jobs that may wait for the store; when there are more, requests are refused.",
    ),
    live(
        WHOLE,
        "jobs-bytes-max",
        OptionKind::Size(number!(64 * KIB, 64 * GIB, rules.jobs_bytes_max: usize)),
        "Bytes of the messages and friend requests that may wait to be stored; further ones are refused.",
    ),
    live(
        WHOLE,
        "undecided-max",
        OptionKind::Count(number!(1, 1_000_000, rules.undecided_max: usize)),
        "Friend requests and answers that may be undecided: their outcome is unknown, and they are tried again until \
         the store gives it. Beyond that, an operation is not tried again.",
    ),
    live(
        WHOLE,
        "presence-at-once-max",
        OptionKind::Count(number!(1, 65_536, rules.presence_at_once_max: u32)),
        "PRESENCE frames (they say which friends are online) that are sent in one burst, with at most one burst a \
         millisecond; the others follow.",
    ),
    live(
        WHOLE,
        "auth-jobs-max",
        OptionKind::Count(number!(1, 1_000_000, rules.auth_jobs_max: usize)),
        "Log-ins and sign-ups that may wait for a password to be hashed. Half of the places are for log-ins without \
         a recent wrong password, a quarter for other log-ins, a quarter for sign-ups.",
    ),
    live(
        WHOLE,
        "trusted-addresses-max",
        OptionKind::Count(number!(0, 100_000_000, rules.trusted_addresses_max: usize)),
        "Trusted addresses that are remembered until a restart; each is trusted for one user, who logged in from it. \
         0: none.",
    ),
    live(
        WHOLE,
        "dedup-bytes-max",
        OptionKind::Size(number!(64 * KIB, 64 * GIB, rules.dedup_bytes_max: usize)),
        "Memory for the dedup windows of senders who are offline; the window of the sender who has been offline the \
         longest is evicted first.",
    ),
    live(
        WHOLE,
        "throttled-max",
        OptionKind::Count(number!(1, 10_000_000, rules.throttled_max: usize)),
        "Users and addresses whose wrong passwords and sign-ups are remembered. Beyond that, the one that was seen \
         longest ago is evicted.",
    ),
    node::NAME,
    bus::URLS,
    node::LINK_BYTES_MAX,
    node::RECORDS_MAX,
    node::RECORD_BYTES_MAX,
    bus::TIMEOUT,
    bus::FRAMES_MAX,
    bus::BYTES_MAX,
    push_hook::URL,
    push_hook::SECRET_FILE,
    push_hook::CA_FILE,
    push_hook::CONTENT,
    push_hook::AFTER,
    push_hook::PAUSE,
    push_hook::USERS_MAX,
    push_hook::QUEUE_MAX,
    push_hook::TIMEOUT,
    push_hook::RETRY_AFTER,
    opt(
        LOGIN,
        "auth-threads",
        OptionKind::Count(NumberOption { min: 1, max: 64, get: |c| c.auth_threads as u64, set: set_auth_threads }),
        "Threads that hash passwords; each needs the memory of --argon2-memory while it works.",
    ),
    opt(
        LOGIN,
        "argon2-memory",
        OptionKind::Size(NumberOption {
            min: 8 * KIB,
            max: ARGON2_MEMORY_KIB_MAX as u64 * KIB,
            get: |c| u64::from(c.argon2_memory_kib) * KIB,
            set: |c, v| c.argon2_memory_kib = (v / KIB) as u32,
        }),
        "Memory of one Argon2id run.",
    ),
    opt(
        LOGIN,
        "argon2-passes",
        OptionKind::Count(number!(1, ARGON2_PASSES_MAX as u64, argon2_passes: u32)),
        "Passes of one Argon2id run.",
    ),
    live(
        LOGIN,
        "verified-logins-max",
        OptionKind::Count(number!(0, 10_000_000, verified_logins_max: usize)),
        "Users whose verified password is remembered (in memory, as a keyed MAC), so that their next log-in is quick.",
    ),
];

/// Sets the number of threads. The core gives them twice as many runs, so that each finds the next
/// one waiting.
fn set_auth_threads(config: &mut Config, threads: u64) {
    // The bound was checked.
    config.auth_threads = threads as usize;
    config.rules.auth_running_max = 2 * config.auth_threads;
}
