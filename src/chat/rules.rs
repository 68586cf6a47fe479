//! The settings of the chat core. Each is an option.

/// The users who may see the e-mail address in a profile. Users always see their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailVisibility {
    /// Every user who is logged in.
    Everyone,
    /// Their friends.
    Friends,
    /// Nobody else.
    Nobody,
}

/// The settings of the chat core; the defaults are those of the protocol. Times are in ms, sizes in
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreSettings {
    /// A connection that is idle for longer than this is closed.
    pub idle_timeout_ms: u64,
    /// The interval between two checks for idle connections.
    pub idle_check_ms: u64,
    /// A push that is not acked is sent again this long after it was last sent.
    pub resend_every_ms: u64,
    /// A push to an online user is saved when it was not acked for this long.
    pub save_after_ms: u64,
    /// Every request is answered within this time, if necessary with `UNAVAILABLE`.
    pub answer_within_ms: u64,
    /// A connection is closed after this many inputs in a row that were `BAD_JSON`.
    pub bad_inputs_max: u32,
    /// The largest number of messages in one user's dedup window.
    pub dedup_messages_max: u32,
    /// How long a message stays in the dedup window.
    pub dedup_age_ms: u64,
    /// The largest total size of the dedup windows of offline users. The window of the user who has
    /// been offline the longest is evicted first.
    pub dedup_bytes_max: usize,
    /// The largest rate of requests a second on a connection that is logged in.
    pub requests_per_second_max: u32,
    /// The number of requests beyond `requests_per_second_max` that are refused before the
    /// connection is closed. Each accepted request takes one off the count.
    pub refused_requests_max: u32,
    /// The largest burst of requests on a connection before log-in. Every input counts as a
    /// request.
    pub requests_before_login_max: u32,
    /// The rate at which that allowance refills, in requests a second.
    pub requests_before_login_per_second_max: u32,
    /// The largest burst of requests of all connections of one address that are not logged in.
    pub requests_before_login_per_address_max: u32,
    /// The rate at which that allowance refills, in requests a second; at most 1,000.
    pub requests_before_login_per_address_per_second_max: u32,
    /// The largest number of outstanding pushes to one user.
    pub outstanding_max: u32,
    /// The largest size of the outstanding pushes to one user, as written to the connection. A
    /// single push that is larger is sent nevertheless.
    pub outstanding_bytes_max: usize,
    /// The largest number of pushes on a page.
    pub page_max: u32,
    /// The largest size of the pushes on a page. The push that exceeds it is the last one.
    pub page_bytes_max: usize,
    /// The largest number of pushes on one user's list in memory, sent or not. The rest waits in
    /// the store.
    pub list_max: u32,
    /// The largest size of the pushes on one user's list in memory. A single push that is larger is
    /// taken nevertheless.
    pub list_bytes_max: usize,
    /// The largest size of what the bus carries for one other node and that node has not
    /// confirmed. Messages beyond it are saved at once.
    pub link_bytes_max: usize,
    /// The largest number of jobs in flight.
    pub jobs_max: usize,
    /// The largest total size of the pushes in these jobs. A single push that is larger is
    /// submitted nevertheless if there is no other.
    pub jobs_bytes_max: usize,
    /// The largest load of one user: jobs in flight for their requests, and their messages that may
    /// need a job. At this load their connection's requests are paused. Large pushes count more
    /// than once; when the job queue has little room left, the limit is lower.
    pub jobs_per_user_max: u32,
    /// The same limit as a number of requests that are answered with a profile or a token, if there
    /// is no other load.
    pub reads_per_user_max: u32,
    /// The largest number of log-ins and sign-ups that wait for a password to be hashed: half of
    /// them unsuspected log-ins, a quarter other log-ins, a quarter sign-ups.
    pub auth_jobs_max: usize,
    /// The largest number of these from one address; loopback may have them all.
    pub auth_jobs_per_address_max: u32,
    /// The largest number of passwords that auth workers have at a time. The others wait in the
    /// core, which chooses their order.
    pub auth_running_max: usize,
    /// The largest number of log-ins of one user whose credential is good and that wait while
    /// another log-in loads.
    pub log_ins_waiting_per_user_max: u32,
    /// The largest number of undecided friendship operations.
    pub undecided_max: usize,
    /// The largest number of wrong passwords on one connection; separately, of invalid tokens on
    /// it.
    pub wrong_passwords_per_connection_max: u32,
    /// A connection is closed after this many refused tries.
    pub refused_tries_max: u32,
    /// The budget of wrong passwords of one user from all untrusted addresses together; separately,
    /// from loopback. When it is used up, passwords are refused without a comparison.
    pub wrong_passwords_per_user_max: u32,
    /// The time after which one of these is forgotten.
    pub wrong_password_per_user_forgotten_after_ms: u64,
    /// The budget of wrong passwords of one user from one untrusted address.
    pub wrong_passwords_per_user_and_address_max: u32,
    /// The time after which one of these is forgotten.
    pub wrong_password_per_user_and_address_forgotten_after_ms: u64,
    /// The budget of wrong passwords of one user from one trusted address.
    pub wrong_passwords_per_trusted_address_max: u32,
    /// The time after which one of these is forgotten.
    pub wrong_password_per_trusted_address_forgotten_after_ms: u64,
    /// The largest number of trusted addresses, each of one user who logged in from there recently;
    /// at most eight of one user.
    pub trusted_addresses_max: usize,
    /// How long an address stays trusted.
    pub trusted_address_age_ms: u64,
    /// The budget of wrong passwords from one address.
    pub wrong_passwords_per_address_max: u32,
    /// The time after which one of these is forgotten.
    pub wrong_password_per_address_forgotten_after_ms: u64,
    /// Clients may sign up.
    pub sign_ups: bool,
    /// The budget of sign-ups from one address.
    pub sign_ups_per_address_max: u32,
    /// The time after which one of these is forgotten.
    pub sign_up_per_address_forgotten_after_ms: u64,
    /// The largest number of users and addresses whose budgets are remembered.
    pub throttled_max: usize,
    /// The largest number of friends of one user.
    pub friends_max: u32,
    /// The largest number of pending friend requests from one user, and to one user.
    pub pending_requests_max: u32,
    /// The largest number of users whom one user blocks.
    pub blocked_max: u32,
    /// The users who may see e-mail addresses.
    pub profile_email: EmailVisibility,
    /// The largest number of PRESENCE frames that are written at a time, to all connections
    /// together. The others follow a moment later.
    pub presence_at_once_max: u32,
    /// The largest number of valid resume tokens of one user. A new one replaces the oldest.
    pub tokens_max: u32,
    /// The lifetime of a resume token.
    pub token_lifetime_ms: u64,
    /// There is a push hook: users for whom pushes wait are announced
    /// ([`PushHook`](super::contract::CoreAction::PushHook)).
    pub push_hook: bool,
    /// A user is announced when a push has waited for this long.
    pub push_hook_after_ms: u64,
    /// A user is not announced again within this time, unless they log in.
    pub push_hook_pause_ms: u64,
    /// The largest number of users who are watched for the push hook, or are in the pause after an
    /// announcement.
    pub push_hook_users_max: usize,
    /// The time for which a stop waits for jobs in flight.
    pub stop_wait_ms: u64,
    /// A drain closes all connections within this time.
    pub drain_ms: u64,
}

impl Default for CoreSettings {
    fn default() -> Self {
        Self {
            idle_timeout_ms: 120_000,
            idle_check_ms: 5_000,
            resend_every_ms: 15_000,
            save_after_ms: 200,
            answer_within_ms: 10_000,
            bad_inputs_max: 10,
            dedup_messages_max: 1_024,
            dedup_age_ms: 600_000,
            dedup_bytes_max: 64 * 1024 * 1024,
            requests_per_second_max: 100_000,
            refused_requests_max: 1_000,
            requests_before_login_max: 100,
            requests_before_login_per_second_max: 20,
            requests_before_login_per_address_max: 2_000,
            requests_before_login_per_address_per_second_max: 500,
            outstanding_max: 256,
            outstanding_bytes_max: 512 * 1024,
            page_max: 64,
            page_bytes_max: 256 * 1024,
            list_max: 1_024,
            list_bytes_max: 1024 * 1024,
            link_bytes_max: 8 * 1024 * 1024,
            jobs_max: 65_536,
            jobs_bytes_max: 64 * 1024 * 1024,
            undecided_max: 10_000,
            jobs_per_user_max: 1_024,
            reads_per_user_max: 16,
            auth_jobs_max: 512,
            auth_jobs_per_address_max: 64,
            auth_running_max: 2,
            log_ins_waiting_per_user_max: 16,
            wrong_passwords_per_connection_max: 50,
            refused_tries_max: 10,
            wrong_passwords_per_user_max: 100,
            wrong_password_per_user_forgotten_after_ms: 6_000,
            wrong_passwords_per_user_and_address_max: 10,
            wrong_password_per_user_and_address_forgotten_after_ms: 60_000,
            wrong_passwords_per_trusted_address_max: 20,
            wrong_password_per_trusted_address_forgotten_after_ms: 6_000,
            trusted_addresses_max: 100_000,
            trusted_address_age_ms: 30 * 24 * 3_600_000,
            wrong_passwords_per_address_max: 1_000,
            wrong_password_per_address_forgotten_after_ms: 1_000,
            sign_ups: true,
            sign_ups_per_address_max: 50,
            sign_up_per_address_forgotten_after_ms: 60_000,
            throttled_max: 65_536,
            friends_max: 5_000,
            pending_requests_max: 500,
            blocked_max: 1_000,
            profile_email: EmailVisibility::Everyone,
            presence_at_once_max: 128,
            tokens_max: 8,
            token_lifetime_ms: 30 * 24 * 3_600_000,
            push_hook: false,
            push_hook_after_ms: 10_000,
            push_hook_pause_ms: 15 * 60_000,
            push_hook_users_max: 100_000,
            stop_wait_ms: 8_000,
            drain_ms: 30_000,
        }
    }
}
