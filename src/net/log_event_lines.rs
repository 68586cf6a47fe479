//! The log lines about clients: the core's log events, and the connections that the hub itself
//! refuses and closes. At the level `info` each kind has a rate limit (see [`LogRateLimits`]); at
//! `debug` all of them are written, and each refused request as well.
//!
//! The address comes first and the user last, so that a program which reads the lines finds the
//! address before any text of a client.
//!
//! [`LogRateLimits`]: super::line_rates::LogRateLimits

use super::counters::CloseCause;
use super::hub::ConnectionHub;
use super::line_rates::LogRateLimitKind;
use super::socket::NonblockingStream;
use crate::chat::contract::{
    ClientLimitKind, ConnId, CredentialKind, LogEvent, LogEventJobKind, LoginRefusalCause, MailboxQuotaKind,
};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::UserName;
use log::kv::Value;
use log::{Level, Record, log_enabled};
use std::fmt::{self, Display};
use std::net::IpAddr;

/// A field of a line and its value.
type LogLineField<'a> = (&'static str, Value<'a>);

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Logs an event of the core.
    #[inline(never)]
    pub(super) fn log_event(&mut self, event: &LogEvent) {
        use LogRateLimitKind as Kind;
        match event {
            LogEvent::LoggedIn { user, client, credential } => {
                self.log(
                    Kind::LoggedIn,
                    Some(client.conn),
                    Some(("by", credential_name(*credential).into())),
                    Some(user),
                );
            }
            LogEvent::LogInRefused { user, client, cause } => {
                let is_wrong = *cause == LoginRefusalCause::WrongPassword;
                let kind = if is_wrong { Kind::WrongPassword } else { Kind::LogInRefused };
                self.log(kind, Some(client.conn), Some(("cause", refusal_name(*cause).into())), user.as_ref());
            }
            LogEvent::SignedUp { user, client } => self.log(Kind::SignedUp, Some(client.conn), None, Some(user)),
            LogEvent::SignUpRefused { user, client, cause } => {
                let cause = refusal_name(*cause).into();
                self.log(Kind::SignUpRefused, Some(client.conn), Some(("cause", cause)), user.as_ref());
            }
            LogEvent::PasswordChanged { user, client } => {
                self.log(Kind::PasswordChanged, client.map(|client| client.conn), None, Some(user));
            }
            LogEvent::AccountDeleted { user, client } => {
                self.log(Kind::AccountDeleted, client.map(|client| client.conn), None, Some(user));
            }
            LogEvent::ForcedLogout { user, client } => {
                self.log(
                    Kind::ConnectionClosed,
                    Some(client.conn),
                    Some(("cause", "forced_logout".into())),
                    Some(user),
                );
            }
            LogEvent::ProofRefused { user, client, cause } => {
                let is_wrong = *cause == LoginRefusalCause::WrongPassword;
                let kind = if is_wrong { Kind::WrongPassword } else { Kind::ProofRefused };
                self.log(kind, Some(client.conn), Some(("cause", refusal_name(*cause).into())), user.as_ref());
            }
            LogEvent::Blocked { .. }
            | LogEvent::NotFriends { .. }
            | LogEvent::PageRead { .. }
            | LogEvent::JobFailed { .. } => self.log_event_at_debug(event),
            LogEvent::DeletionGoesOn { .. } | LogEvent::DeletionWentOn { .. } | LogEvent::NoticeBegins { .. } => {
                log_admin_event(event);
            }
            LogEvent::Replaced { user, client, newer_conn } => {
                self.log(
                    Kind::Replaced,
                    Some(client.conn),
                    Some(("by", Value::from_display(&LoggedConnection(*newer_conn)))),
                    Some(user),
                );
            }
            LogEvent::LimitReached { user, client, limit } => {
                let cause = limit_name(*limit).into();
                self.log(Kind::LimitReached, Some(client.conn), Some(("cause", cause)), user.as_ref());
            }
            LogEvent::MailboxFull { user, sender, quota } => self.log_mailbox_full(user, sender, *quota),
        }
    }

    fn log_mailbox_full(&mut self, user: &UserName, sender: &str, quota: MailboxQuotaKind) {
        if self.admits_line(Level::Info, LogRateLimitKind::MailboxFull) {
            let fields: [LogLineField<'_>; 3] = [
                ("cause", quota_name(quota).into()),
                ("sender", Value::from_display(&sender)),
                ("user", user.as_str().into()),
            ];
            self.write_line(Level::Info, LogRateLimitKind::MailboxFull.as_str(), None, &fields);
        }
    }

    fn log_event_at_debug(&self, event: &LogEvent) {
        match event {
            LogEvent::Blocked { user, other } => {
                let fields = [("other", other.as_str().into()), ("user", user.as_str().into())];
                self.log_at_debug("user blocked", None, &fields);
            }
            LogEvent::NotFriends { user, client } => {
                let fields = [("cause", "not_friends".into()), ("user", user.as_str().into())];
                self.log_at_debug("message refused", Some(client.conn), &fields);
            }
            LogEvent::PageRead { user, pushes, more } => {
                let fields = [("pushes", (*pushes).into()), ("more", (*more).into()), ("user", user.as_str().into())];
                self.log_at_debug("page read", None, &fields);
            }
            LogEvent::JobFailed { job, for_good } => {
                self.log_at_debug(
                    "job failed",
                    None,
                    &[("job", job_name(*job).into()), ("for_good", (*for_good).into())],
                );
            }
            // The others are not of this level.
            _ => {}
        }
    }

    /// Logs that a request gets this error.
    #[cold]
    pub(super) fn log_refused_request(&self, conn: ConnId, code: ErrorCode, why: &str) {
        self.log_at_debug("request refused", Some(conn), &[("code", code.as_str().into()), ("why", why.into())]);
    }

    /// Logs the close of a connection.
    pub(super) fn log_closed(&mut self, conn: ConnId, cause: CloseCause) {
        match cause {
            // These limits are not known to the core.
            CloseCause::SlowReader | CloseCause::OutputTimeout | CloseCause::Memory => {
                self.log(LogRateLimitKind::ConnectionClosed, Some(conn), Some(("cause", cause.as_str().into())), None);
            }
            _ => log::debug!("connection {} closed: {}", LoggedConnection(conn), cause.as_str()),
        }
    }

    /// Logs that a connection is refused because its address has reached the limit.
    #[cold]
    pub(super) fn log_address_full(&mut self, address: IpAddr) {
        if self.admits_line(Level::Info, LogRateLimitKind::ConnectionRefused) {
            let address = address.to_canonical();
            let fields = [("address", Value::from_display(&address)), ("cause", "connections_per_address".into())];
            self.write_line(Level::Info, LogRateLimitKind::ConnectionRefused.as_str(), None, &fields);
        }
    }

    /// Logs that the limit on connections is reached: the one from this address is refused, or
    /// (`has_room`) another one was closed for it.
    #[cold]
    pub(super) fn log_conn_limit(&mut self, conns_max: usize, address: IpAddr, has_room: bool) {
        use LogRateLimitKind::{ConnectionClosed, ConnectionRefused};
        let (kind, cause) = if has_room {
            (ConnectionClosed, CloseCause::Evicted.as_str())
        } else {
            (ConnectionRefused, "connections")
        };
        if self.admits_line(Level::Warn, kind) {
            let address = address.to_canonical();
            let shown = Value::from_display(&address);
            let whose = if has_room { "new_address" } else { "address" };
            let fields = [(whose, shown), ("cause", cause.into()), ("connections_max", conns_max.into())];
            self.write_line(Level::Warn, kind.as_str(), None, &fields);
        }
    }

    /// Logs the counts of omitted lines.
    #[cold]
    pub(super) fn log_omitted_lines(&mut self) {
        for (kind, count) in self.line_rates.take_omitted() {
            if count > 0 {
                let fields = [("kind", kind.as_str().into()), ("lines", count.into())];
                self.write_line(Level::Info, "lines left out", None, &fields);
            }
        }
    }

    fn log(
        &mut self,
        kind: LogRateLimitKind,
        conn: Option<ConnId>,
        field: Option<LogLineField<'_>>,
        user: Option<&UserName>,
    ) {
        if self.admits_line(Level::Info, kind) {
            let user = user.map(|user| ("user", user.as_str().into()));
            let fields: Vec<LogLineField<'_>> = field.into_iter().chain(user).collect();
            self.write_line(Level::Info, kind.as_str(), conn, &fields);
        }
    }

    fn log_at_debug(&self, message: &str, conn: Option<ConnId>, fields: &[LogLineField<'_>]) {
        if log_enabled!(Level::Debug) {
            self.write_line(Level::Debug, message, conn, fields);
        }
    }

    /// May one more line of this kind be written?
    fn admits_line(&mut self, level: Level, kind: LogRateLimitKind) -> bool {
        log_enabled!(Level::Debug) || (log_enabled!(level) && self.line_rates.admit(kind, self.clock.now_ms()))
    }

    /// Writes a line, through a bounded queue (`src/logging.rs`): this does not wait.
    fn write_line(&self, level: Level, message: &str, conn: Option<ConnId>, fields: &[LogLineField<'_>]) {
        let address = conn.and_then(|conn| self.address_of(conn));
        let shown = conn.map(LoggedConnection);
        let address = address.as_ref().map(|address| ("address", Value::from_display(address)));
        let conn = shown.as_ref().map(|conn| ("conn", Value::from_display(conn)));
        let fields: Vec<LogLineField<'_>> = address.into_iter().chain(conn).chain(fields.iter().cloned()).collect();
        let args = format_args!("{message}");
        log::logger().log(&Record::builder().level(level).target(TARGET).args(args).key_values(&fields).build());
    }

    /// The address of a client, which counts for its limits: behind a trusted proxy the client's,
    /// as far as it is known, and not the proxy's.
    pub(super) fn address_of(&self, conn: ConnId) -> Option<IpAddr> {
        let told = self.addresses.proxied.address_of(conn);
        told.or_else(|| self.conns.get(conn)?.peer()).map(|address| address.to_canonical())
    }
}

const TARGET: &str = "hongyan::clients";

/// A connection, as log lines show it.
struct LoggedConnection(ConnId);

impl Display for LoggedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.slot, self.0.generation)
    }
}

/// Logs an event about the work of an operator, which no rate limits.
fn log_admin_event(event: &LogEvent) {
    match event {
        LogEvent::DeletionGoesOn { user } => {
            log::info!(user = user.as_str(); "admin: a deletion that was cut short goes on");
        }
        LogEvent::DeletionWentOn { user, is_done } => {
            let result = if *is_done { "done" } else { "the next start goes on" };
            log::info!(user = user.as_str(); "admin: the deletion that went on has ended: {result}");
        }
        LogEvent::NoticeBegins { id } => log::info!(id = &**id; "admin: a notice to all users goes out"),
        // The others are not about operators.
        _ => {}
    }
}

fn credential_name(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Password => "password",
        CredentialKind::Token => "token",
    }
}

fn refusal_name(cause: LoginRefusalCause) -> &'static str {
    match cause {
        LoginRefusalCause::WrongPassword => "wrong_password",
        LoginRefusalCause::BadToken => "bad_token",
        LoginRefusalCause::NameTaken => "name_taken",
        LoginRefusalCause::SignUpsClosed => "sign_ups_closed",
        LoginRefusalCause::Banned => "banned",
        LoginRefusalCause::Limit(limit) => limit_name(limit),
        LoginRefusalCause::QueueFull => "queue_full",
        LoginRefusalCause::TooManyAtOnce => "too_many_at_once",
        LoginRefusalCause::Busy => "busy",
        LoginRefusalCause::Unavailable => "unavailable",
        LoginRefusalCause::NoHashing => "no_hashing",
        LoginRefusalCause::Unreadable => "unreadable",
        LoginRefusalCause::Damaged => "damaged",
        LoginRefusalCause::Refused => "refused",
        LoginRefusalCause::TimedOut => "timed_out",
        LoginRefusalCause::Stopping => "stopping",
        LoginRefusalCause::BadRequest => "bad_request",
    }
}

fn quota_name(quota: MailboxQuotaKind) -> &'static str {
    match quota {
        MailboxQuotaKind::Receiver => "receiver",
        MailboxQuotaKind::Pair => "pair",
    }
}

fn limit_name(limit: ClientLimitKind) -> &'static str {
    match limit {
        ClientLimitKind::PasswordsPerConnection => "passwords_per_connection",
        ClientLimitKind::PasswordsPerAddress => "passwords_per_address",
        ClientLimitKind::PasswordsPerUser => "passwords_per_user",
        ClientLimitKind::PasswordsPerUserAndAddress => "passwords_per_user_and_address",
        ClientLimitKind::PasswordsPerTrustedAddress => "passwords_per_trusted_address",
        ClientLimitKind::TokensPerConnection => "tokens_per_connection",
        ClientLimitKind::SignUpsPerAddress => "sign_ups_per_address",
        ClientLimitKind::Requests => "requests",
        ClientLimitKind::RequestsBeforeLogin => "requests_before_login",
        ClientLimitKind::RepeatedMessages => "repeated_messages",
    }
}

fn job_name(job: LogEventJobKind) -> &'static str {
    match job {
        LogEventJobKind::SignUp => "sign_up",
        LogEventJobKind::LogIn => "log_in",
        LogEventJobKind::Token => "token",
        LogEventJobKind::Profile => "profile",
        LogEventJobKind::Page => "page",
        LogEventJobKind::Save => "save",
        LogEventJobKind::Delete => "delete",
        LogEventJobKind::Friendship => "friendship",
        LogEventJobKind::Friends => "friends",
        LogEventJobKind::Account => "account",
        LogEventJobKind::Admin => "admin",
    }
}
