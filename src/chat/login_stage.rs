//! A log-in in progress: its states and transitions.
//!
//! This module decides and has no effects. [`LoginStage::on`] takes a state and an event, and gives
//! how the try is settled and what comes next; `log_in.rs` carries it out. A log-in in progress is
//! in one of these states, and in one place:
//!
//! | state | where it is | what ends it |
//! |---|---|---|
//! | `Admitted` | with its connection, until others' answers are out | `Begins`, `Dropped` |
//! | `ProvingAndLoading` | job `LogIn`; the user is loading | `Loaded`, `Unproven`, failure |
//! | `Proving` | job `Prove`: the user is here or loading | `Proven`, `Unproven`, failure |
//! | `Queued` | in the auth queue | `HashingTurn`, `NoPlace`, `Dropped` |
//! | `Verifying` | job `Verify` | `Verified`, failure |
//! | `WaitingToLoad` | behind another log-in of the user that loads | `LoadingTurn`, `NoPlace` |
//! | `Loading` | job `Load`; the user is loading | `Loaded`, failure |
//! | `Claiming` | with `cluster/claims.rs`; the user is loading | `Released`, `Dropped` |
//! | `Taking` | job `Claim`; the user is loading | `Loaded`, failure |
//!
//! In a cluster, `Elsewhere` leads from each job that reads to `Claiming`.
//!
//! Failure is `NotSubmitted` or `Failed`.

use super::answer::{BANNED, BUSY, CROWDED, DAMAGED, ErrorReply, NO_HASHING, UNAVAILABLE};
use super::contract::{
    ClusterStoreJob, ConnId, CoreSettings, Job, JobTicket, LoginRefusalCause, TOKEN_SLACK_MS, TurnTimestamp, UserOwner,
};
use super::ids::LoginStageTicket;
use super::job_tables::JobTicketTable;
use super::own_op::CredentialCheckPurpose;
use super::tries::{AdmittedTry, CredentialTryOutcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Secret, UserName};
use crate::protocol::request::Credential;
use std::collections::HashMap;

#[cfg(test)]
mod tests;

const TOO_MANY_AT_ONCE: ErrorReply =
    ErrorReply(ErrorCode::Unavailable, "too many log-ins of this user wait for each other, try again in a moment");
/// A retry cannot help, so the sentence does not say *try again*.
const UNREADABLE: ErrorReply = ErrorReply(
    ErrorCode::Forbidden,
    "the stored password of this account cannot be read, trying again does not help: the operator must reset it",
);

/// The state of a log-in, with its data. A try in it is not settled yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginStage {
    /// Its try was admitted. It begins when all requests of another user on its connection are
    /// answered.
    Admitted { credential: Credential, attempt: AdmittedTry },
    /// The store checks the credential and, if it is good, reads friends and the first page. The
    /// user is loading and is referred to.
    ProvingAndLoading { credential: Credential, attempt: AdmittedTry },
    /// The store checks the credential, and no more.
    Proving { credential: Credential, attempt: AdmittedTry },
    /// The password waits to be hashed. Without a stored hash (there is no such user) it is hashed
    /// all the same, so that the time does not show whether the user exists.
    Queued { secret: Secret, password_hash: Option<Secret>, attempt: AdmittedTry },
    /// The password is being hashed.
    Verifying { secret: Secret, password_hash: Option<Secret>, attempt: AdmittedTry },
    /// The credential is good. Another log-in of the user is loading.
    WaitingToLoad,
    /// The credential is good. The store reads friends and the first page. The user is loading, and
    /// referred to.
    Loading,
    /// The credential is good. The user belongs to another node, which must release them. The
    /// user is loading and is referred to.
    Claiming { owner: UserOwner },
    /// The other node has released the user. The store notes that the user belongs to this node,
    /// then reads friends and the first page. The user is loading and is referred to.
    Taking { epoch: u64, floor: u64 },
}

/// An event of a log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginStageEvent {
    /// It need not wait any longer.
    Begins,
    /// No client waits for the answer any more.
    Dropped,
    /// The credential is good.
    Proven,
    /// The credential is good, and the user is banned.
    Banned,
    /// The token is not valid, or there is no such user, or the password must be verified by
    /// hashing.
    Unproven { password_hash: Option<Secret>, differs_from_verified: bool },
    /// A worker is free to hash its password.
    HashingTurn,
    /// The password was hashed, and matches or not.
    Verified(bool),
    /// It is its turn to load.
    LoadingTurn,
    /// Friends and the first page are here.
    Loaded,
    /// The user belongs to another node.
    Elsewhere(UserOwner),
    /// The other node has released the user.
    Released { epoch: u64, floor: u64 },
    /// The queue in which it was to wait is full.
    NoPlace,
    /// Its job could not be submitted: too many are in flight.
    NotSubmitted,
    /// Its job failed. `refused`: a retry would fail, too.
    Failed { refused: bool },
}

/// The place of a log-in's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserLoadState {
    /// Online: everything that a log-in reads is in memory.
    Here,
    /// Away, and being loaded for another log-in.
    Loading,
    Away,
}

/// The facts on which the next state depends, besides the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoginStageContext {
    /// The client still waits: it is connected, and its deadline is not over.
    pub(super) is_awaited: bool,
    pub(super) whereabouts: UserLoadState,
}

/// The next step of a log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextLoginStep {
    /// It goes on in this state.
    Enter(LoginStage),
    /// `LS`.
    Complete,
    /// `LF`.
    Refuse(LoginRefusalCause),
    /// Nobody waits for an answer.
    Drop,
}

/// A step of a log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoginStageTransition {
    /// The try with its outcome, if that is known now.
    pub(super) settled: Option<(AdmittedTry, CredentialTryOutcome)>,
    pub(super) next: NextLoginStep,
}

impl LoginStageTransition {
    /// Turns a success into a refusal, if the log-in is barred.
    pub(super) fn unless(self, barred: Option<LoginRefusalCause>) -> Self {
        match (barred, self.next) {
            (
                Some(cause),
                NextLoginStep::Complete
                | NextLoginStep::Enter(
                    LoginStage::WaitingToLoad
                    | LoginStage::Loading
                    | LoginStage::Claiming { .. }
                    | LoginStage::Taking { .. },
                ),
            ) => Self { next: NextLoginStep::Refuse(cause), ..self },
            (_, next) => Self { next, ..self },
        }
    }
}

/// The error after the `LF` for this cause. For a wrong credential there is none.
pub(super) fn fault_of(cause: LoginRefusalCause) -> Option<ErrorReply> {
    match cause {
        LoginRefusalCause::WrongPassword | LoginRefusalCause::BadToken => None,
        LoginRefusalCause::Banned => Some(BANNED),
        LoginRefusalCause::QueueFull => Some(CROWDED),
        LoginRefusalCause::TooManyAtOnce => Some(TOO_MANY_AT_ONCE),
        LoginRefusalCause::Busy => Some(BUSY),
        LoginRefusalCause::NoHashing => Some(NO_HASHING),
        LoginRefusalCause::Unreadable => Some(UNREADABLE),
        LoginRefusalCause::Damaged => Some(DAMAGED),
        // The other causes do not occur here.
        _ => Some(UNAVAILABLE),
    }
}

fn step(settled: Option<(AdmittedTry, CredentialTryOutcome)>, next: NextLoginStep) -> LoginStageTransition {
    LoginStageTransition { settled, next }
}

fn settle(attempt: AdmittedTry, settled: CredentialTryOutcome, next: NextLoginStep) -> LoginStageTransition {
    step(Some((attempt, settled)), next)
}

impl LoginStage {
    /// The step that follows this event.
    pub(super) fn on(self, event: LoginStageEvent, facts: LoginStageContext) -> LoginStageTransition {
        use LoginStageEvent::{
            Banned, Begins, Dropped, Elsewhere, HashingTurn, Loaded, LoadingTurn, NoPlace, Proven, Released, Unproven,
            Verified,
        };
        match (self, event) {
            (Self::Admitted { credential, attempt }, Begins) if facts.is_awaited => {
                step(None, NextLoginStep::Enter(Self::begin(credential, attempt, facts.whereabouts)))
            }
            (Self::Admitted { attempt, .. }, Begins | Dropped) => {
                settle(attempt, CredentialTryOutcome::NotMade, NextLoginStep::Drop)
            }

            (Self::ProvingAndLoading { attempt, .. }, Loaded) => {
                settle(attempt, CredentialTryOutcome::Right, NextLoginStep::Complete)
            }
            // Only clients with a good credential learn that the account is banned.
            (Self::ProvingAndLoading { attempt, .. } | Self::Proving { attempt, .. }, Banned) => {
                settle(attempt, CredentialTryOutcome::Right, NextLoginStep::Refuse(LoginRefusalCause::Banned))
            }
            (Self::Proving { attempt, .. }, Proven) => {
                settle(attempt, CredentialTryOutcome::Right, Self::proven(facts))
            }
            (
                Self::ProvingAndLoading { credential, attempt } | Self::Proving { credential, attempt },
                Unproven { password_hash, differs_from_verified },
            ) => Self::unproven(credential, password_hash, differs_from_verified, attempt),

            (Self::Queued { secret, password_hash, attempt }, HashingTurn) if facts.is_awaited => {
                step(None, NextLoginStep::Enter(Self::Verifying { secret, password_hash, attempt }))
            }
            (Self::Queued { attempt, .. }, HashingTurn | NoPlace) => {
                settle(attempt, CredentialTryOutcome::NotMade, NextLoginStep::Refuse(LoginRefusalCause::QueueFull))
            }
            (Self::Queued { attempt, .. }, Dropped) => {
                settle(attempt, CredentialTryOutcome::NotMade, NextLoginStep::Drop)
            }
            (Self::Verifying { attempt, .. }, Verified(true)) => {
                settle(attempt, CredentialTryOutcome::Right, Self::proven(facts))
            }
            (Self::Verifying { attempt, .. }, Verified(false)) => {
                settle(attempt, CredentialTryOutcome::Wrong, NextLoginStep::Refuse(LoginRefusalCause::WrongPassword))
            }

            (Self::WaitingToLoad, NoPlace) => step(None, NextLoginStep::Refuse(LoginRefusalCause::TooManyAtOnce)),
            (Self::WaitingToLoad, LoadingTurn) => step(None, Self::may_load(facts)),
            (Self::ProvingAndLoading { attempt, .. }, Elsewhere(owner)) => {
                settle(attempt, CredentialTryOutcome::Right, NextLoginStep::Enter(Self::Claiming { owner }))
            }
            (Self::Loading | Self::Taking { .. }, Elsewhere(owner)) => {
                step(None, NextLoginStep::Enter(Self::Claiming { owner }))
            }
            (Self::Claiming { .. }, Released { epoch, floor }) => {
                step(None, NextLoginStep::Enter(Self::Taking { epoch, floor }))
            }
            (Self::Claiming { .. }, Dropped) => step(None, NextLoginStep::Drop),
            (Self::Loading | Self::Taking { .. }, Loaded) => step(None, NextLoginStep::Complete),
            (Self::Loading | Self::Taking { .. }, Banned) => {
                step(None, NextLoginStep::Refuse(LoginRefusalCause::Banned))
            }
            // The account was deleted meanwhile, and the answer that would tell the core was lost.
            (Self::Loading | Self::Taking { .. }, Unproven { .. }) => {
                step(None, NextLoginStep::Refuse(LoginRefusalCause::WrongPassword))
            }

            (state, event) => state.failed(&event),
        }
    }

    /// The first state after admission. A log-in reads no page of its own if the user is online, or
    /// if another log-in of the user reads it: a page is large, and a client that knows one
    /// password could ask for a thousand pages.
    fn begin(credential: Credential, attempt: AdmittedTry, whereabouts: UserLoadState) -> Self {
        match whereabouts {
            UserLoadState::Here | UserLoadState::Loading => Self::Proving { credential, attempt },
            UserLoadState::Away => Self::ProvingAndLoading { credential, attempt },
        }
    }

    fn unproven(
        credential: Credential,
        password_hash: Option<Secret>,
        differs_from_verified: bool,
        attempt: AdmittedTry,
    ) -> LoginStageTransition {
        match credential {
            Credential::Password(secret) => {
                let attempt = AdmittedTry { must_be_hashed: true, differs_from_verified, ..attempt };
                step(None, NextLoginStep::Enter(Self::Queued { secret, password_hash, attempt }))
            }
            // Nobody can guess a token: this one has expired or was revoked, and it locks nobody
            // out.
            Credential::Token(_) => {
                settle(attempt, CredentialTryOutcome::Wrong, NextLoginStep::Refuse(LoginRefusalCause::BadToken))
            }
        }
    }

    fn proven(facts: LoginStageContext) -> NextLoginStep {
        match facts.whereabouts {
            UserLoadState::Loading if facts.is_awaited => NextLoginStep::Enter(Self::WaitingToLoad),
            _ => Self::may_load(facts),
        }
    }

    fn may_load(facts: LoginStageContext) -> NextLoginStep {
        match facts.whereabouts {
            _ if !facts.is_awaited => NextLoginStep::Drop,
            UserLoadState::Here => NextLoginStep::Complete,
            // No other log-in of this user loads: it is this one's turn.
            UserLoadState::Loading | UserLoadState::Away => NextLoginStep::Enter(Self::Loading),
        }
    }

    /// The step after a job that was not done.
    fn failed(self, event: &LoginStageEvent) -> LoginStageTransition {
        let (refused, not_submitted) = match event {
            LoginStageEvent::NotSubmitted => (false, true),
            LoginStageEvent::Failed { refused } => (*refused, false),
            event => {
                debug_assert!(false, "{event:?} while {self:?}");
                (false, true)
            }
        };
        // A try that met an unreadable row counts: otherwise a client could go on for ever.
        let tried = if refused { CredentialTryOutcome::Wrong } else { CredentialTryOutcome::NotMade };
        let refusal = match &self {
            _ if not_submitted => LoginRefusalCause::Busy,
            Self::Verifying { .. } if !refused => LoginRefusalCause::NoHashing,
            Self::Loading | Self::Taking { .. } if refused => LoginRefusalCause::Damaged,
            _ if refused => LoginRefusalCause::Unreadable,
            _ => LoginRefusalCause::Unavailable,
        };
        step(self.attempt().map(|attempt| (attempt, tried)), NextLoginStep::Refuse(refusal))
    }

    /// Its try, if it is not settled.
    pub(super) fn attempt(&self) -> Option<AdmittedTry> {
        match self {
            Self::Admitted { attempt, .. }
            | Self::ProvingAndLoading { attempt, .. }
            | Self::Proving { attempt, .. }
            | Self::Queued { attempt, .. }
            | Self::Verifying { attempt, .. } => Some(*attempt),
            Self::WaitingToLoad | Self::Loading | Self::Claiming { .. } | Self::Taking { .. } => None,
        }
    }

    /// Is the user loading because of this log-in?
    pub(super) fn loads(&self) -> bool {
        matches!(self, Self::ProvingAndLoading { .. } | Self::Loading | Self::Claiming { .. } | Self::Taking { .. })
    }

    /// Does it write the whereabouts of its user?
    pub(super) fn takes(&self) -> bool {
        matches!(self, Self::Taking { .. })
    }

    /// Is an auth worker hashing its password?
    pub(super) fn hashes(&self) -> bool {
        matches!(self, Self::Verifying { .. })
    }

    /// The stored hash with which a worker compares its password.
    pub(super) fn compared_with(&self) -> Option<&Secret> {
        match self {
            Self::Verifying { password_hash, .. } => password_hash.as_ref(),
            _ => None,
        }
    }

    /// The job of its state, if the state has one.
    pub(super) fn job(&self, user: &UserName, now: TurnTimestamp, rules: &CoreSettings) -> Option<Job> {
        let (user, now_ms) = (user.clone(), now.wall_ms);
        let latest_ms = now_ms.saturating_add(rules.token_lifetime_ms).saturating_add(TOKEN_SLACK_MS);
        let (pushes_max, bytes_max) = (rules.page_max, rules.page_bytes_max);
        match self {
            Self::ProvingAndLoading { credential, attempt } => {
                let (credential, uses_cache) = (credential.clone(), attempt.uses_cache);
                Some(Job::LogIn { user, credential, uses_cache, now_ms, latest_ms, pushes_max, bytes_max })
            }
            Self::Proving { credential, attempt } => {
                let (credential, uses_cache) = (credential.clone(), attempt.uses_cache);
                Some(Job::Prove { user, credential, uses_cache, now_ms, latest_ms })
            }
            Self::Verifying { secret, password_hash, .. } => {
                Some(Job::Verify { user, secret: secret.clone(), password_hash: password_hash.clone() })
            }
            Self::Loading => Some(Job::Load { user, pushes_max, bytes_max }),
            Self::Taking { epoch, floor } => {
                let claim = ClusterStoreJob::Claim { epoch: *epoch, floor: *floor, pushes_max, bytes_max };
                Some(Job::Cluster { user, job: Box::new(claim) })
            }
            Self::Admitted { .. } | Self::Queued { .. } | Self::WaitingToLoad | Self::Claiming { .. } => None,
        }
    }
}

/// A log-in in progress.
#[derive(Debug)]
pub(super) struct LoginInProgress {
    /// The request that it answers.
    pub(super) request: JobTicket,
    pub(super) user: UserName,
    /// The purpose of the log-in.
    pub(super) aim: CredentialCheckPurpose,
    pub(super) login: LoginStage,
    /// It is refused for this cause even if its credential is good: the stored password or the
    /// account was changed after the comparison began.
    pub(super) barred: Option<LoginRefusalCause>,
}

/// All log-ins in progress.
#[derive(Debug)]
pub(super) struct LoginsInProgress {
    all: JobTicketTable<LoginInProgress>,
    /// Log-ins that wait until another user on their connection has all answers. Never iterated.
    deferred: HashMap<ConnId, LoginStageTicket>,
    /// Connections whose deferred log-in can begin.
    due: Vec<ConnId>,
}

impl LoginsInProgress {
    pub(super) fn new() -> Self {
        Self { all: JobTicketTable::default(), deferred: HashMap::new(), due: Vec::new() }
    }

    pub(super) fn insert(&mut self, one: LoginInProgress) -> LoginStageTicket {
        LoginStageTicket(self.all.insert(one))
    }

    pub(super) fn remove(&mut self, id: LoginStageTicket) -> Option<LoginInProgress> {
        self.all.remove(id.0)
    }

    pub(super) fn get(&self, id: LoginStageTicket) -> Option<&LoginInProgress> {
        self.all.get(id.0)
    }

    /// Bars the log-ins of this user that are in progress: they are refused even if their
    /// credentials are good.
    pub(super) fn bar(&mut self, user: &UserName, cause: LoginRefusalCause) {
        for one in self.all.values_mut().filter(|one| one.user == *user) {
            one.barred = Some(cause);
        }
    }

    /// Defers a log-in until all requests of another user on its connection are answered.
    pub(super) fn defer(&mut self, conn: ConnId, id: LoginStageTicket) {
        self.deferred.insert(conn, id);
    }

    pub(super) fn is_any_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// All requests on this connection are answered.
    pub(super) fn all_answered(&mut self, conn: ConnId) {
        if self.deferred.contains_key(&conn) {
            self.due.push(conn);
        }
    }

    pub(super) fn is_any_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes the deferred log-ins that can begin.
    pub(super) fn take_due(&mut self) -> Vec<LoginStageTicket> {
        let due = std::mem::take(&mut self.due);
        due.into_iter().filter_map(|conn| self.deferred.remove(&conn)).collect()
    }

    /// Takes the deferred log-in of a connection that is gone.
    pub(super) fn take_deferred(&mut self, conn: ConnId) -> Option<LoginStageTicket> {
        self.deferred.remove(&conn)
    }
}

#[cfg(debug_assertions)]
impl LoginsInProgress {
    pub(super) fn values(&self) -> impl Iterator<Item = &LoginInProgress> {
        self.all.values()
    }

    /// Checks that each log-in is somewhere: `elsewhere` of them are with workers or in other
    /// queues, the rest is deferred.
    pub(super) fn check(&self, elsewhere: usize, sessions: usize) {
        assert_eq!(self.all.len(), elsewhere + self.deferred.len(), "a log-in that nothing leads to");
        assert!(self.due.is_empty() && self.deferred.len() <= sessions);
    }
}
