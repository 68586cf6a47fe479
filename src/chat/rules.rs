//! The numbers in the rules of the protocol: each is an option.

/// Who is shown the e-mail address in somebody's profile; they themselves always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailTo {
    /// Every user who is logged in.
    Everyone,
    /// Their friends.
    Friends,
    /// Nobody else.
    Nobody,
}

/// The numbers in the rules; the defaults are the protocol's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A connection silent for longer than this is closed.
    pub idle_timeout_ms: u64,
    /// The interval between two checks of it.
    pub idle_check_ms: u64,
    /// A push that is not acked is sent again this long after it was last sent.
    pub resend_every_ms: u64,
    /// A push to an online user is saved when it was not acked for this long.
    pub save_after_ms: u64,
    /// Every request is answered within this time, if necessary with `UNAVAILABLE`.
    pub answer_within_ms: u64,
    /// A connection whose last inputs, so many, were all `BAD_JSON` is closed.
    pub bad_inputs_max: u32,
    /// Sent messages of one user that are remembered so that a repeated one is not delivered twice.
    pub dedup_messages_max: u32,
    /// And for how long.
    pub dedup_age_ms: u64,
    /// And the size of the windows of all offline users, in bytes; the user who has been offline
    /// the longest is forgotten first.
    pub dedup_bytes_max: usize,
    /// Requests a second on one connection that is logged in.
    pub requests_per_second_max: u32,
    /// Requests beyond that rate that are refused before the connection is closed; one within it
    /// makes up for one of them.
    pub refused_requests_max: u32,
    /// Requests at once on a connection before log-in: anything that a client sends is one.
    pub requests_before_login_max: u32,
    /// And requests a second more.
    pub requests_before_login_per_second_max: u32,
    /// The same of one address, all its connections that are not logged in together.
    pub requests_before_login_per_address_max: u32,
    /// And so many a second more, up to 1,000.
    pub requests_before_login_per_address_per_second_max: u32,
    /// Pushes sent to one user and not acked.
    pub outstanding_max: u32,
    /// And their size in bytes, as written to that connection (one push larger than that is sent
    /// all the same).
    pub outstanding_bytes_max: usize,
    /// Pushes read from the store at a time.
    pub page_max: u32,
    /// And their size in bytes; the one that goes beyond is the last.
    pub page_bytes_max: usize,
    /// Pushes on one user's list in memory, sent or not; the rest waits in the store.
    pub list_max: u32,
    /// And their size in bytes (one push larger than that is taken all the same).
    pub list_bytes_max: usize,
    /// Jobs submitted and not finished.
    pub jobs_max: usize,
    /// And the pushes in them, in bytes (one that is larger is submitted all the same when there is
    /// no other).
    pub jobs_bytes_max: usize,
    /// Jobs in flight because of one user's requests, and messages of theirs that may need one,
    /// before their connection's requests are held. Large pushes count more than once; when the
    /// store has little room left, the bound is lower.
    pub jobs_per_connection_max: u32,
    /// The same for requests that are answered with a profile or a token, if there is nothing else.
    pub reads_per_connection_max: u32,
    /// Log-ins and sign-ups that wait for a password to be hashed: half of them
    /// unsuspected log-ins, a quarter other log-ins, a quarter sign-ups.
    pub auth_jobs_max: usize,
    /// Of these, from one address; loopback may have them all.
    pub auth_jobs_per_address_max: u32,
    /// The number that is submitted at a time; the others wait in the core, where their order can
    /// still be chosen.
    pub auth_running_max: usize,
    /// Log-ins of one user whose credential was checked, and that wait until another one has read
    /// the user's page.
    pub log_ins_waiting_per_user_max: u32,
    /// Friendship operations with an unknown outcome, which are tried again until it is known.
    pub undecided_max: usize,
    /// Wrong passwords on one connection; and tokens on it that are not valid.
    pub wrong_passwords_per_connection_max: u32,
    /// A connection on which so many tries were refused is closed.
    pub refused_tries_max: u32,
    /// Wrong passwords of one user, from all untrusted addresses together, before more are refused
    /// without a comparison; and, counted separately, from loopback.
    pub wrong_passwords_per_user_max: u32,
    /// After this one of them is forgotten.
    pub wrong_password_per_user_forgotten_after_ms: u64,
    /// Wrong passwords of one user from one untrusted address.
    pub wrong_passwords_per_user_and_address_max: u32,
    /// After this one of them is forgotten.
    pub wrong_password_per_user_and_address_forgotten_after_ms: u64,
    /// Wrong passwords of one user from one trusted address.
    pub wrong_passwords_per_trusted_address_max: u32,
    /// After this one of them is forgotten.
    pub wrong_password_per_trusted_address_forgotten_after_ms: u64,
    /// Addresses that are remembered as trusted, each for one user who logged in from there
    /// recently; at most eight of one user.
    pub trusted_addresses_max: usize,
    /// And for how long.
    pub trusted_address_age_ms: u64,
    /// Wrong passwords from one address.
    pub wrong_passwords_per_address_max: u32,
    /// After this one of them is forgotten.
    pub wrong_password_per_address_forgotten_after_ms: u64,
    /// Clients may make accounts.
    pub sign_ups: bool,
    /// Sign-ups from one address.
    pub sign_ups_per_address_max: u32,
    /// After this one of them is forgotten.
    pub sign_up_per_address_forgotten_after_ms: u64,
    /// Users and addresses whose counts are remembered.
    pub throttled_max: usize,
    /// Friends of one user.
    pub friends_max: u32,
    /// Friend requests of one user, and to one user, that are pending.
    pub pending_requests_max: u32,
    /// Users whom one user blocks.
    pub blocked_max: u32,
    /// Who is shown e-mail addresses.
    pub profile_email: EmailTo,
    /// Frames about who is online that are written at a time, to all connections together; the
    /// others follow a moment later.
    pub presence_at_once_max: u32,
    /// Resume tokens of one user that may be used; a new one takes the place of the oldest.
    pub tokens_max: u32,
    /// The lifetime of a resume token.
    pub token_lifetime_ms: u64,
    /// Users for whom pushes wait are announced ([`PushHook`](super::contract::Action::PushHook)).
    pub push_hook: bool,
    /// When a push has waited for so long.
    pub push_hook_after_ms: u64,
    /// And not again within this time, unless they log in.
    pub push_hook_pause_ms: u64,
    /// Users who are watched for that, or were announced and are in their pause.
    pub push_hook_users_max: usize,
    /// The time for which a stop waits for jobs in flight.
    pub stop_wait_ms: u64,
}

impl Default for Rules {
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
            jobs_max: 65_536,
            jobs_bytes_max: 64 * 1024 * 1024,
            undecided_max: 10_000,
            jobs_per_connection_max: 1_024,
            reads_per_connection_max: 16,
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
            profile_email: EmailTo::Everyone,
            presence_at_once_max: 128,
            tokens_max: 8,
            token_lifetime_ms: 30 * 24 * 3_600_000,
            push_hook: false,
            push_hook_after_ms: 10_000,
            push_hook_pause_ms: 15 * 60_000,
            push_hook_users_max: 100_000,
            stop_wait_ms: 8_000,
        }
    }
}
