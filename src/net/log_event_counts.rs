//! Counts of the core's log events.

use crate::chat::contract::{ClientLimitKind, CredentialKind, LogEvent, LogEventJobKind, LoginRefusalCause};
use std::collections::BTreeMap;
use std::fmt;

/// The counts since the start. The maps have at most one entry for each cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEventCounts {
    /// Log-ins by password, and by token.
    pub log_ins: BTreeMap<CredentialKind, u64>,
    /// Refused log-ins, by cause.
    pub log_in_refusals: BTreeMap<LoginRefusalCause, u64>,
    /// Accounts that were created.
    pub sign_ups: u64,
    /// Refused sign-ups, by cause.
    pub sign_up_refusals: BTreeMap<LoginRefusalCause, u64>,
    /// Passwords that users changed.
    pub passwords_changed: u64,
    /// Accounts that users deleted.
    pub accounts_deleted: u64,
    /// Changes of a password and deletions that were refused to users, by cause.
    pub proof_refusals: BTreeMap<LoginRefusalCause, u64>,
    /// How often a user has blocked another one.
    pub blocked: u64,
    /// Connections that a newer log-in of the same user ended.
    pub replaced: u64,
    /// Limits that were reached, by limit, besides those that refused a log-in or sign-up.
    pub limits: BTreeMap<ClientLimitKind, u64>,
    /// Messages refused because sender and receiver are not friends.
    pub not_friends: u64,
    /// Pushes refused because there is no room for them in the store.
    pub mailbox_full: u64,
    /// Pages read after the first.
    pub pages: u64,
    /// Pushes on these pages.
    pub pushes_on_pages: u64,
    /// Jobs that failed, by their kind.
    pub jobs_failed: BTreeMap<LogEventJobKind, u64>,
}

impl LogEventCounts {
    /// Counts an event.
    pub fn count(&mut self, event: &LogEvent) {
        match event {
            LogEvent::LoggedIn { credential, .. } => *self.log_ins.entry(*credential).or_default() += 1,
            LogEvent::LogInRefused { cause, .. } => *self.log_in_refusals.entry(*cause).or_default() += 1,
            LogEvent::SignedUp { .. } => self.sign_ups += 1,
            LogEvent::SignUpRefused { cause, .. } => *self.sign_up_refusals.entry(*cause).or_default() += 1,
            LogEvent::PasswordChanged { .. } => self.passwords_changed += 1,
            LogEvent::AccountDeleted { .. } => self.accounts_deleted += 1,
            LogEvent::ProofRefused { cause, .. } => *self.proof_refusals.entry(*cause).or_default() += 1,
            LogEvent::Blocked { .. } => self.blocked += 1,
            // Events of the operator are not counted here.
            LogEvent::NoticeBegins { .. }
            | LogEvent::DeletionGoesOn { .. }
            | LogEvent::DeletionWentOn { .. }
            | LogEvent::ForcedLogout { .. } => {}
            LogEvent::Replaced { .. } => self.replaced += 1,
            LogEvent::LimitReached { limit, .. } => *self.limits.entry(*limit).or_default() += 1,
            LogEvent::NotFriends { .. } => self.not_friends += 1,
            LogEvent::MailboxFull { .. } => self.mailbox_full += 1,
            LogEvent::PageRead { pushes, .. } => {
                self.pages += 1;
                self.pushes_on_pages += *pushes as u64;
            }
            LogEvent::JobFailed { job, .. } => *self.jobs_failed.entry(*job).or_default() += 1,
        }
    }
}

impl fmt::Display for LogEventCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |counts: &mut dyn Iterator<Item = &u64>| counts.sum::<u64>();
        let (log_ins, refused) = (sum(&mut self.log_ins.values()), sum(&mut self.log_in_refusals.values()));
        let (sign_ups, not_made) = (self.sign_ups, sum(&mut self.sign_up_refusals.values()));
        write!(f, "{log_ins} log-ins, {refused} refused, {sign_ups} sign-ups, {not_made} refused, ")?;
        let (limits, failed) = (sum(&mut self.limits.values()), sum(&mut self.jobs_failed.values()));
        write!(f, "{} replaced, {limits} limits reached, {} not friends, ", self.replaced, self.not_friends)?;
        write!(f, "{} mailbox full, {} pages read, {failed} jobs failed", self.mailbox_full, self.pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::contract::{ConnAndAddress, ConnId, MailboxQuotaKind};
    use crate::protocol::field::UserName;

    #[test]
    fn each_log_event_is_counted_under_its_cause() {
        let user = UserName::new("ann").unwrap();
        let client = ConnAndAddress { conn: ConnId { slot: 1, generation: 2 }, address_key: None };
        let mut noted = LogEventCounts::default();
        for (event, times) in [
            (LogEvent::LoggedIn { user: user.clone(), client, credential: CredentialKind::Token }, 2),
            (LogEvent::LogInRefused { user: None, client, cause: LoginRefusalCause::WrongPassword }, 3),
            (
                LogEvent::LogInRefused {
                    user: None,
                    client,
                    cause: LoginRefusalCause::Limit(ClientLimitKind::PasswordsPerUser),
                },
                1,
            ),
            (LogEvent::SignedUp { user: user.clone(), client }, 4),
            (LogEvent::SignUpRefused { user: Some(user.clone()), client, cause: LoginRefusalCause::NameTaken }, 5),
            (LogEvent::Replaced { user: user.clone(), client, newer_conn: client.conn }, 6),
            (LogEvent::LimitReached { user: None, client, limit: ClientLimitKind::Requests }, 7),
            (LogEvent::NotFriends { user: user.clone(), client }, 8),
            (LogEvent::MailboxFull { user: user.clone(), sender: "bob".into(), quota: MailboxQuotaKind::Pair }, 9),
            (LogEvent::PageRead { user: user.clone(), pushes: 3, more: false }, 10),
            (LogEvent::JobFailed { job: LogEventJobKind::Save, for_good: false }, 11),
            (LogEvent::PasswordChanged { user: user.clone(), client: Some(client) }, 12),
            (LogEvent::AccountDeleted { user: user.clone(), client: None }, 13),
            (LogEvent::ProofRefused { user: Some(user.clone()), client, cause: LoginRefusalCause::WrongPassword }, 14),
            (LogEvent::Blocked { user: user.clone(), other: user.clone() }, 15),
        ] {
            (0..times).for_each(|_| noted.count(&event));
        }
        let expected = LogEventCounts {
            log_ins: [(CredentialKind::Token, 2)].into(),
            log_in_refusals: [
                (LoginRefusalCause::WrongPassword, 3),
                (LoginRefusalCause::Limit(ClientLimitKind::PasswordsPerUser), 1),
            ]
            .into(),
            sign_ups: 4,
            sign_up_refusals: [(LoginRefusalCause::NameTaken, 5)].into(),
            passwords_changed: 12,
            accounts_deleted: 13,
            proof_refusals: [(LoginRefusalCause::WrongPassword, 14)].into(),
            blocked: 15,
            replaced: 6,
            limits: [(ClientLimitKind::Requests, 7)].into(),
            not_friends: 8,
            mailbox_full: 9,
            pages: 10,
            pushes_on_pages: 30,
            jobs_failed: [(LogEventJobKind::Save, 11)].into(),
        };
        assert_eq!(noted, expected);
        let said = noted.to_string();
        assert!(said.starts_with("2 log-ins, 4 refused, 4 sign-ups, 5 refused, 6 replaced"), "{said}");
    }
}
