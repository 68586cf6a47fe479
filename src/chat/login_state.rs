//! A log-in in progress: its states, and what leads from one to the next.
//!
//! Nothing is done here. [`Login::on`] takes a state and what happened to it, and says how its try
//! is settled and what is next; `log_in.rs` does that. A log-in that goes on is in one of these
//! states and in one place:
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
//! | `Claiming` | with the claims (`cluster/claims.rs`); the user is loading | `LetGo`, `Dropped` |
//! | `Taking` | job `Claim`; the user is loading | `Loaded`, failure |
//!
//! In a cluster, `Elsewhere` leads from each job that reads to `Claiming`.
//!
//! Failure is `NotSubmitted` or `Failed`.

use super::answer::{BANNED, BUSY, CROWDED, DAMAGED, Fault, NO_HASHING, UNAVAILABLE};
use super::contract::{ClusterJob, ConnId, Job, Now, Owner, RefusalCause, Rules, TOKEN_SLACK_MS, Ticket};
use super::ids::LoginId;
use super::own_op::Aim;
use super::table::Table;
use super::tries::{Settled, Try};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Secret, UserName};
use crate::protocol::request::Credential;
use std::collections::HashMap;

#[cfg(test)]
mod tests;

const TOO_MANY_AT_ONCE: Fault =
    Fault(ErrorCode::Unavailable, "too many log-ins of this user wait for each other, try again in a moment");
/// Whatever the client does, it stays so: nothing that says *try again*.
const UNREADABLE: Fault = Fault(
    ErrorCode::Forbidden,
    "what is stored of this account's password cannot be read, trying again does not help: the operator must reset it",
);

/// The state of a log-in, with its data. As long as it has a try, that is still to be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Its try was admitted. It begins when all is answered that another user asked on its
    /// connection.
    Admitted { credential: Credential, attempt: Try },
    /// The store checks the credential and, if it is good, reads friends and the first page. The
    /// user is loading, and referred to.
    ProvingAndLoading { credential: Credential, attempt: Try },
    /// The store checks the credential, and no more.
    Proving { credential: Credential, attempt: Try },
    /// The password is to be hashed. There is no hash to compare it with if there is no such user:
    /// it is hashed all the same, so that nobody learns that from the time it takes.
    Queued { secret: Secret, password_hash: Option<Secret>, attempt: Try },
    /// The password is being hashed.
    Verifying { secret: Secret, password_hash: Option<Secret>, attempt: Try },
    /// The credential is good. Another log-in of the user loads.
    WaitingToLoad,
    /// The credential is good. The store reads friends and the first page. The user is loading, and
    /// referred to.
    Loading,
    /// The credential is good. The user belongs to another node, which is to let go of them. They
    /// are loading, and referred to.
    Claiming { owner: Owner },
    /// It has let go. The store notes that the user belongs to this node, then reads friends and
    /// the first page. The user is loading, and referred to.
    Taking { epoch: u64, floor: u64 },
}

/// What happens to a log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginEvent {
    /// Nothing keeps it waiting.
    Begins,
    /// Nobody is there any more to be answered.
    Dropped,
    /// The credential is good.
    Proven,
    /// The credential is good, and the user is banned.
    Banned,
    /// There is no such token, or no such user, or the password was not verified before.
    Unproven { password_hash: Option<Secret>, differs: bool },
    /// A worker is free to hash its password.
    HashingTurn,
    /// The password was hashed, and fits or does not.
    Verified(bool),
    /// The log-in before it is done.
    LoadingTurn,
    /// Friends and the first page are here.
    Loaded,
    /// The user belongs to another node.
    Elsewhere(Owner),
    /// That one has let go of the user.
    LetGo { epoch: u64, floor: u64 },
    /// There was no place for it where it was to wait.
    NoPlace,
    /// Its job could not be submitted: too many are in flight.
    NotSubmitted,
    /// Its job failed. `refused` says that it always will.
    Failed { refused: bool },
}

/// Where the user of a log-in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// Online: all that a log-in reads is in memory.
    Here,
    /// Away, and being read for another log-in.
    Loading,
    Away,
}

/// What the next state depends on besides what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The client is there, and was not told yet that it took too long.
    pub(super) is_awaited: bool,
    pub(super) whereabouts: Whereabouts,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on in this state.
    Enter(Login),
    /// `LS`.
    Complete,
    /// `LF`.
    Refuse(RefusalCause),
    /// Nobody waits for an answer.
    Drop,
}

/// A step of a log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// How its try is settled, if that is known now.
    pub(super) settled: Option<(Try, Settled)>,
    pub(super) next: Next,
}

impl Step {
    /// The same for a log-in that must not succeed any more, whatever its credential is.
    pub(super) fn unless(self, barred: Option<RefusalCause>) -> Self {
        match (barred, self.next) {
            (
                Some(cause),
                Next::Complete
                | Next::Enter(Login::WaitingToLoad | Login::Loading | Login::Claiming { .. } | Login::Taking { .. }),
            ) => Self { next: Next::Refuse(cause), ..self },
            (_, next) => Self { next, ..self },
        }
    }
}

/// The error behind the `LF` for this cause. A credential that is not good has none.
pub(super) fn fault_of(cause: RefusalCause) -> Option<Fault> {
    match cause {
        RefusalCause::WrongPassword | RefusalCause::BadToken => None,
        RefusalCause::Banned => Some(BANNED),
        RefusalCause::QueueFull => Some(CROWDED),
        RefusalCause::TooManyAtOnce => Some(TOO_MANY_AT_ONCE),
        RefusalCause::Busy => Some(BUSY),
        RefusalCause::NoHashing => Some(NO_HASHING),
        RefusalCause::Unreadable => Some(UNREADABLE),
        RefusalCause::Damaged => Some(DAMAGED),
        // The others come from elsewhere.
        _ => Some(UNAVAILABLE),
    }
}

fn step(settled: Option<(Try, Settled)>, next: Next) -> Step {
    Step { settled, next }
}

fn settle(attempt: Try, settled: Settled, next: Next) -> Step {
    step(Some((attempt, settled)), next)
}

impl Login {
    /// What follows when this happens.
    pub(super) fn on(self, event: LoginEvent, facts: Facts) -> Step {
        use LoginEvent::{
            Banned, Begins, Dropped, Elsewhere, HashingTurn, LetGo, Loaded, LoadingTurn, NoPlace, Proven, Unproven,
            Verified,
        };
        match (self, event) {
            (Self::Admitted { credential, attempt }, Begins) if facts.is_awaited => {
                step(None, Next::Enter(Self::begin(credential, attempt, facts.whereabouts)))
            }
            (Self::Admitted { attempt, .. }, Begins | Dropped) => settle(attempt, Settled::NotMade, Next::Drop),

            (Self::ProvingAndLoading { attempt, .. }, Loaded) => settle(attempt, Settled::Right, Next::Complete),
            // That the account is banned is told to those alone who know the credential.
            (Self::ProvingAndLoading { attempt, .. } | Self::Proving { attempt, .. }, Banned) => {
                settle(attempt, Settled::Right, Next::Refuse(RefusalCause::Banned))
            }
            (Self::Proving { attempt, .. }, Proven) => settle(attempt, Settled::Right, Self::proven(facts)),
            (
                Self::ProvingAndLoading { credential, attempt } | Self::Proving { credential, attempt },
                Unproven { password_hash, differs },
            ) => Self::unproven(credential, password_hash, Try { differs, ..attempt }),

            (Self::Queued { secret, password_hash, attempt }, HashingTurn) if facts.is_awaited => {
                step(None, Next::Enter(Self::Verifying { secret, password_hash, attempt }))
            }
            (Self::Queued { attempt, .. }, HashingTurn | NoPlace) => {
                settle(attempt, Settled::NotMade, Next::Refuse(RefusalCause::QueueFull))
            }
            (Self::Queued { attempt, .. }, Dropped) => settle(attempt, Settled::NotMade, Next::Drop),
            (Self::Verifying { attempt, .. }, Verified(true)) => settle(attempt, Settled::Right, Self::proven(facts)),
            (Self::Verifying { attempt, .. }, Verified(false)) => {
                settle(attempt, Settled::Wrong, Next::Refuse(RefusalCause::WrongPassword))
            }

            (Self::WaitingToLoad, NoPlace) => step(None, Next::Refuse(RefusalCause::TooManyAtOnce)),
            (Self::WaitingToLoad, LoadingTurn) => step(None, Self::may_load(facts)),
            (Self::ProvingAndLoading { attempt, .. }, Elsewhere(owner)) => {
                settle(attempt, Settled::Right, Next::Enter(Self::Claiming { owner }))
            }
            (Self::Loading | Self::Taking { .. }, Elsewhere(owner)) => {
                step(None, Next::Enter(Self::Claiming { owner }))
            }
            (Self::Claiming { .. }, LetGo { epoch, floor }) => step(None, Next::Enter(Self::Taking { epoch, floor })),
            (Self::Claiming { .. }, Dropped) => step(None, Next::Drop),
            (Self::Loading | Self::Taking { .. }, Loaded) => step(None, Next::Complete),
            (Self::Loading | Self::Taking { .. }, Banned) => step(None, Next::Refuse(RefusalCause::Banned)),
            // The account was deleted meanwhile, and the core could not be told.
            (Self::Loading | Self::Taking { .. }, Unproven { .. }) => {
                step(None, Next::Refuse(RefusalCause::WrongPassword))
            }

            (state, event) => state.failed(&event),
        }
    }

    /// A log-in reads no page of its own if the user is online, or if another log-in of theirs
    /// reads it. A page is large, and a client that knows one password could ask for a thousand.
    fn begin(credential: Credential, attempt: Try, whereabouts: Whereabouts) -> Self {
        match whereabouts {
            Whereabouts::Here | Whereabouts::Loading => Self::Proving { credential, attempt },
            Whereabouts::Away => Self::ProvingAndLoading { credential, attempt },
        }
    }

    fn unproven(credential: Credential, password_hash: Option<Secret>, attempt: Try) -> Step {
        match credential {
            Credential::Password(secret) => step(None, Next::Enter(Self::Queued { secret, password_hash, attempt })),
            // Nobody guesses a token: it has expired or was revoked, and that locks nobody out.
            Credential::Token(_) => settle(attempt, Settled::Wrong, Next::Refuse(RefusalCause::BadToken)),
        }
    }

    fn proven(facts: Facts) -> Next {
        match facts.whereabouts {
            Whereabouts::Loading if facts.is_awaited => Next::Enter(Self::WaitingToLoad),
            _ => Self::may_load(facts),
        }
    }

    fn may_load(facts: Facts) -> Next {
        match facts.whereabouts {
            _ if !facts.is_awaited => Next::Drop,
            Whereabouts::Here => Next::Complete,
            // Nobody else reads for this user: it is this one's turn.
            Whereabouts::Loading | Whereabouts::Away => Next::Enter(Self::Loading),
        }
    }

    /// Its job was not done.
    fn failed(self, event: &LoginEvent) -> Step {
        let (refused, not_submitted) = match event {
            LoginEvent::NotSubmitted => (false, true),
            LoginEvent::Failed { refused } => (*refused, false),
            event => {
                debug_assert!(false, "{event:?} while {self:?}");
                (false, true)
            }
        };
        // A row that cannot be read was asked for all the same: it counts, or a client could go on
        // for ever.
        let tried = if refused { Settled::Wrong } else { Settled::NotMade };
        let refusal = match &self {
            _ if not_submitted => RefusalCause::Busy,
            Self::Verifying { .. } if !refused => RefusalCause::NoHashing,
            Self::Loading | Self::Taking { .. } if refused => RefusalCause::Damaged,
            _ if refused => RefusalCause::Unreadable,
            _ => RefusalCause::Unavailable,
        };
        step(self.attempt().map(|attempt| (attempt, tried)), Next::Refuse(refusal))
    }

    /// Its try, if that is not settled.
    pub(super) fn attempt(&self) -> Option<Try> {
        match self {
            Self::Admitted { attempt, .. }
            | Self::ProvingAndLoading { attempt, .. }
            | Self::Proving { attempt, .. }
            | Self::Queued { attempt, .. }
            | Self::Verifying { attempt, .. } => Some(*attempt),
            Self::WaitingToLoad | Self::Loading | Self::Claiming { .. } | Self::Taking { .. } => None,
        }
    }

    /// Is the user loading because of it?
    pub(super) fn loads(&self) -> bool {
        matches!(self, Self::ProvingAndLoading { .. } | Self::Loading | Self::Claiming { .. } | Self::Taking { .. })
    }

    /// Does it change the whereabouts of its user?
    pub(super) fn takes(&self) -> bool {
        matches!(self, Self::Taking { .. })
    }

    /// Is a worker hashing for it?
    pub(super) fn hashes(&self) -> bool {
        matches!(self, Self::Verifying { .. })
    }

    /// What a worker compares its password with.
    pub(super) fn compared_with(&self) -> Option<&Secret> {
        match self {
            Self::Verifying { password_hash, .. } => password_hash.as_ref(),
            _ => None,
        }
    }

    /// The job that it waits for, in the states that have one.
    pub(super) fn job(&self, user: &UserName, now: Now, rules: &Rules) -> Option<Job> {
        let (user, now_ms) = (user.clone(), now.wall_ms);
        let latest_ms = now_ms.saturating_add(rules.token_lifetime_ms).saturating_add(TOKEN_SLACK_MS);
        let (pushes_max, bytes_max) = (rules.page_max, rules.page_bytes_max);
        match self {
            Self::ProvingAndLoading { credential, .. } => {
                let credential = credential.clone();
                Some(Job::LogIn { user, credential, now_ms, latest_ms, pushes_max, bytes_max })
            }
            Self::Proving { credential, .. } => {
                Some(Job::Prove { user, credential: credential.clone(), now_ms, latest_ms })
            }
            Self::Verifying { secret, password_hash, .. } => {
                Some(Job::Verify { user, secret: secret.clone(), password_hash: password_hash.clone() })
            }
            Self::Loading => Some(Job::Load { user, pushes_max, bytes_max }),
            Self::Taking { epoch, floor } => {
                let claim = ClusterJob::Claim { epoch: *epoch, floor: *floor, pushes_max, bytes_max };
                Some(Job::Cluster { user, job: Box::new(claim) })
            }
            Self::Admitted { .. } | Self::Queued { .. } | Self::WaitingToLoad | Self::Claiming { .. } => None,
        }
    }
}

/// A log-in in progress.
#[derive(Debug)]
pub(super) struct InProgress {
    /// The request that it answers.
    pub(super) request: Ticket,
    pub(super) user: UserName,
    /// What it is for.
    pub(super) aim: Aim,
    pub(super) login: Login,
    /// It is refused for this cause, should its credential be good: it was compared with what was
    /// stored before that was changed.
    pub(super) barred: Option<RefusalCause>,
}

/// All log-ins in progress.
#[derive(Debug)]
pub(super) struct Logins {
    all: Table<InProgress>,
    /// Those that wait until another user of their connection has had all answers. Never walked
    /// through.
    deferred: HashMap<ConnId, LoginId>,
    /// Connections whose log-in waits no longer.
    due: Vec<ConnId>,
}

impl Logins {
    pub(super) fn new() -> Self {
        Self { all: Table::default(), deferred: HashMap::new(), due: Vec::new() }
    }

    pub(super) fn insert(&mut self, one: InProgress) -> LoginId {
        LoginId(self.all.insert(one))
    }

    pub(super) fn remove(&mut self, id: LoginId) -> Option<InProgress> {
        self.all.remove(id.0)
    }

    pub(super) fn get(&self, id: LoginId) -> Option<&InProgress> {
        self.all.get(id.0)
    }

    /// Those of this user that are in progress are refused, should their credentials be good.
    pub(super) fn bar(&mut self, user: &UserName, cause: RefusalCause) {
        for one in self.all.values_mut().filter(|one| one.user == *user) {
            one.barred = Some(cause);
        }
    }

    /// It begins when all is answered that another user asked on its connection.
    pub(super) fn defer(&mut self, conn: ConnId, id: LoginId) {
        self.deferred.insert(conn, id);
    }

    pub(super) fn is_any_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// All is answered on this connection.
    pub(super) fn all_answered(&mut self, conn: ConnId) {
        if self.deferred.contains_key(&conn) {
            self.due.push(conn);
        }
    }

    pub(super) fn is_any_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Those that wait no longer.
    pub(super) fn take_due(&mut self) -> Vec<LoginId> {
        let due = std::mem::take(&mut self.due);
        due.into_iter().filter_map(|conn| self.deferred.remove(&conn)).collect()
    }

    /// Takes the one that waits on this connection, which is gone.
    pub(super) fn take_deferred(&mut self, conn: ConnId) -> Option<LoginId> {
        self.deferred.remove(&conn)
    }
}

#[cfg(debug_assertions)]
impl Logins {
    pub(super) fn values(&self) -> impl Iterator<Item = &InProgress> {
        self.all.values()
    }

    /// Each is somewhere: so many are with workers or wait elsewhere, the others are deferred.
    pub(super) fn check(&self, elsewhere: usize, sessions: usize) {
        assert_eq!(self.all.len(), elsewhere + self.deferred.len(), "a log-in that nothing leads to");
        assert!(self.due.is_empty() && self.deferred.len() <= sessions);
    }
}
