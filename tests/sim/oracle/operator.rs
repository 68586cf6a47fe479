//! The acts of the operator, as the store has done them and as the core was told.

use super::*;
use hongyan::chat::contract::{
    AdminStoreJob, AdminStoreJobOutcome, LogEvent, OwnAccountStoreJob, OwnAccountStoreJobOutcome,
};
use hongyan::protocol::field::UserName;

/// The knowledge about one account.
#[derive(Debug, Default)]
pub(super) struct Governed {
    /// In the store, and as the core knows it.
    is_banned: [bool; 2],
    is_deleted: [bool; 2],
    /// The passwords that were stored since the last one that the core was told of, which comes
    /// first. Of a change whose answer was lost nobody knows; the next one follows all the same.
    passwords: Vec<String>,
}

const STORED: usize = 0;
const TOLD: usize = 1;

impl Governed {
    fn note(&mut self, job: &AdminStoreJob, outcome: &AdminStoreJobOutcome, at: usize) {
        match (job, outcome) {
            (AdminStoreJob::SetBanned { is_banned }, AdminStoreJobOutcome::Done) => self.is_banned[at] = *is_banned,
            (AdminStoreJob::SetPassword { password_hash }, AdminStoreJobOutcome::Done) => {
                self.has_password(password_hash.expose(), at);
            }
            (AdminStoreJob::Delete { .. }, AdminStoreJobOutcome::Deleting { .. } | AdminStoreJobOutcome::Done) => {
                self.is_deleted[at] = true
            }
            _ => {}
        }
    }

    fn has_password(&mut self, hash: &str, at: usize) {
        let password = hash.strip_prefix("hash of ").unwrap_or(hash);
        if at == STORED {
            return self.passwords.push(password.to_owned());
        }
        let told = self.passwords.iter().position(|stored| stored == password);
        self.passwords.drain(..told.expect("it was stored before the core was told"));
    }

    /// A process that begins knows what is stored.
    fn begin(&mut self) {
        self.is_banned[TOLD] = self.is_banned[STORED];
        self.is_deleted[TOLD] = self.is_deleted[STORED];
        self.passwords.drain(..self.passwords.len().saturating_sub(1));
    }
}

impl Oracle {
    pub(super) fn governed(&mut self, job: &Job, outcome: &JobOutcome, is_told: bool) {
        if let (Job::Account { user, job }, JobOutcome::Account(outcome)) = (job, outcome)
            && let (OwnAccountStoreJob::ChangePassword { new_hash, .. }, OwnAccountStoreJobOutcome::Changed) =
                (&**job, &**outcome)
        {
            let entry = self.governed_of(user);
            entry.has_password(new_hash.expose(), if is_told { TOLD } else { STORED });
        }
        let (Job::Admin { user, job }, outcome) = (job, outcome) else {
            return;
        };
        let JobOutcome::Admin(outcome) = outcome else {
            match &**job {
                AdminStoreJob::Notice { push } => _ = self.lost.insert(push.seq),
                // From now on nobody knows, and nothing was promised: the operator asks again.
                AdminStoreJob::SetBanned { .. } if is_told => self.governed_of(user).is_banned[TOLD] = false,
                _ => {}
            }
            return;
        };
        let entry = self.governed_of(user);
        entry.note(job, outcome, if is_told { TOLD } else { STORED });
        if let (AdminStoreJob::Notice { push }, AdminStoreJobOutcome::Done) = (&**job, &**outcome) {
            if is_told {
                // From now on it is promised.
                self.noticed.insert(key_of(push));
            } else {
                self.stored.insert(push.seq);
            }
        }
    }

    fn governed_of(&mut self, user: &UserName) -> &mut Governed {
        let first = || Governed { passwords: vec![user.as_str().to_owned()], ..Governed::default() };
        self.accounts.entry(user.as_str().to_owned()).or_insert_with(first)
    }

    pub(super) fn governed_anew(&mut self) {
        self.accounts.values_mut().for_each(Governed::begin);
    }

    /// Nobody logs in who is banned or deleted, or with a password that was taken back.
    pub(super) fn check_log_in(&mut self, event: &LogEvent) {
        let LogEvent::LoggedIn { user, client, .. } = event else {
            return;
        };
        let password = self.view(client.conn).password.clone();
        let Some(governed) = self.accounts.get(user.as_str()) else {
            return;
        };
        // Between what the store did and what the core was told either may be true.
        assert!(!(governed.is_banned[TOLD] && governed.is_banned[STORED]), "{user} is banned and logs in");
        assert!(!governed.is_deleted[TOLD], "{user} is deleted and logs in");
        if let Some(password) = password {
            assert!(governed.passwords.contains(&password), "{user} logs in by {password:?}: {governed:?}");
        }
    }

    /// Does nothing have to reach this user any more?
    pub(super) fn is_deleted(&self, user: &str) -> bool {
        self.accounts.get(user).is_some_and(|governed| governed.is_deleted[STORED])
    }
}
