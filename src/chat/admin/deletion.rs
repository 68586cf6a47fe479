//! The deletion of an account, in steps: a mailbox may be long, and each friendship concerns two
//! users. First the store removes everything of the account but its name; from then on nobody can
//! log in. Then friendships and pending requests are ended pair by pair, in the same way as when
//! users end them, so that the users who are online see the changes in the right order. Then the
//! mailbox is deleted, some rows at a time.
//!
//! The store notes the deletion in the first step. If the server stops before the last step, the
//! deletion is resumed when it is requested again; the shell does that at the next start.

use super::super::admin_op::{AdminJobPurpose, RunningAdminOp};
use super::super::answer::{BUSY, UNAVAILABLE};
use super::super::contract::{
    AdminAnswerFromCore, AdminStoreJob, AdminStoreJobOutcome, AdminTicket, CoreAction, ForcedLogoutCause, JobTicket,
    LogEvent,
};
use super::super::deliveries::DeliverySaveState;
use super::super::ids::DeliveryRef;
use super::super::{CoreTimer, ServerCore};
use crate::protocol::field::UserName;

/// The largest number of rows that one step removes, and of pairs that it ends.
const ROWS_MAX: u32 = 500;
/// How often a user's own request is retried while it is not known whether the deletion has begun.
const TRIES_MAX: u32 = 60;
/// The largest number of deletions in progress.
const DELETIONS_MAX: usize = 1_000;
/// The pause after a step that named pairs: their friendships end in this time.
const PAIRS_MS: u64 = 20;
/// The pause while it is in doubt whether somebody is a friend of the user.
const UNSURE_MS: u64 = 100;
/// The pause after a failed step.
const RETRY_MS: u64 = 1_000;

/// The deletion of one account.
#[derive(Debug, Default)]
pub(in super::super) struct AccountDeletion {
    /// The operator's requests for it.
    tickets: Vec<AdminTicket>,
    /// The user's own request, until it is answered.
    of_user: Option<JobTicket>,
    /// How many more times the first step is tried when the store cannot say whether it was done.
    /// The user cannot simply ask again: once it was done, they can no longer prove who they are.
    tries_left: u32,
    /// It was resumed at a start of the server.
    is_resumed: bool,
    /// The account is gone: the steps are repeated until nothing is left.
    is_account_gone: bool,
    /// When the next step is due; `None` while one is on its way.
    next_ms: Option<u64>,
}

impl ServerCore {
    /// Begins or joins the deletion of an account. `is_account_gone`: it was begun before the
    /// server started.
    pub(super) fn delete_account(
        &mut self,
        ticket: AdminTicket,
        user: UserName,
        is_account_gone: bool,
        out: &mut Vec<CoreAction>,
    ) {
        if let Some(deletion) = self.admin.deletions.get_mut(&user) {
            return deletion.tickets.push(ticket);
        }
        if self.admin.deletions.len() >= DELETIONS_MAX {
            return self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
        }
        if is_account_gone {
            out.push(CoreAction::Log(LogEvent::DeletionGoesOn { user: user.clone() }));
        }
        let deletion = AccountDeletion {
            tickets: vec![ticket],
            is_account_gone,
            is_resumed: is_account_gone,
            ..AccountDeletion::default()
        };
        self.admin.deletions.insert(user.clone(), deletion);
        self.deletion_step(user, out);
    }

    /// Deletes the account of a user who asked for it and has proven who they are. The answer is
    /// sent as soon as the first step is committed: the rest is done whatever happens.
    pub(in super::super) fn delete_own_account(
        &mut self,
        request: JobTicket,
        user: UserName,
        out: &mut Vec<CoreAction>,
    ) {
        if let Some(deletion) = self.admin.deletions.get_mut(&user) {
            (deletion.of_user, deletion.tries_left) = (Some(request), TRIES_MAX);
            return;
        }
        if self.admin.deletions.len() >= DELETIONS_MAX {
            return self.refuse_waiting(request, Some(BUSY), out);
        }
        let deletion = AccountDeletion { of_user: Some(request), tries_left: TRIES_MAX, ..AccountDeletion::default() };
        self.admin.deletions.insert(user.clone(), deletion);
        self.deletion_step(user, out);
    }

    fn deletion_step(&mut self, user: UserName, out: &mut Vec<CoreAction>) {
        self.submit_admin(
            RunningAdminOp { user, step: AdminJobPurpose::Delete },
            AdminStoreJob::Delete { rows_max: ROWS_MAX },
            out,
        );
    }

    pub(super) fn deletion_stepped(
        &mut self,
        user: &UserName,
        outcome: Option<AdminStoreJobOutcome>,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(deletion) = self.admin.deletions.get_mut(user) else {
            return;
        };
        let had_begun = deletion.is_account_gone;
        match outcome {
            Some(AdminStoreJobOutcome::Deleting { pairs }) => {
                deletion.is_account_gone = true;
                for ticket in deletion.tickets.clone() {
                    self.extend_admin_deadline(ticket);
                }
                if !had_begun {
                    self.account_is_gone(user, out);
                }
                for (me, other) in &pairs {
                    self.end_friendship(me, other, out);
                }
                self.step_later(user, if pairs.is_empty() { 1 } else { PAIRS_MS }, out);
            }
            Some(AdminStoreJobOutcome::Done) => {
                // No answer about the steps before this last one has arrived. So pushes that were
                // taken for the user may be saved after it.
                let left_over = if had_begun { Vec::new() } else { self.unsaved_pushes_to(user) };
                if had_begun {
                    self.account_is_gone_here(user, out);
                } else {
                    self.account_is_gone(user, out);
                }
                for seq in left_over {
                    self.submit_delete(seq, user.clone(), out);
                }
                self.deletion_ended(user, AdminAnswerFromCore::Done, out);
            }
            // The last step was done earlier, and its answer was lost.
            Some(AdminStoreJobOutcome::NoSuchUser) if had_begun => {
                self.deletion_ended(user, AdminAnswerFromCore::Done, out)
            }
            Some(AdminStoreJobOutcome::NoSuchUser) => self.deletion_ended(user, AdminAnswerFromCore::NoSuchUser, out),
            _ if had_begun => self.step_later(user, RETRY_MS, out),
            _ if deletion.tries_left > 0 => {
                deletion.tries_left -= 1;
                self.step_later(user, RETRY_MS, out);
            }
            _ => self.deletion_ended(user, AdminAnswerFromCore::Failed, out),
        }
    }

    fn unsaved_pushes_to(&self, user: &UserName) -> Vec<u64> {
        let Some(user) = self.users.find(user.as_str()) else {
            return Vec::new();
        };
        let is_left_over = |of: &DeliveryRef| {
            self.deliveries.get(*of).is_some_and(|it| it.receiver == user && it.save_state != DeliverySaveState::Done)
        };
        let mut seqs: Vec<u64> = self.deliveries.refs().into_iter().filter(is_left_over).map(|of| of.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// Nobody is logged in as this user any more, or will be, on any node.
    fn account_is_gone(&mut self, user: &UserName, out: &mut Vec<CoreAction>) {
        self.account_is_gone_here(user, out);
        self.end_sessions_on_other_nodes(user, (ForcedLogoutCause::Deleted, false), None, out);
    }

    fn account_is_gone_here(&mut self, user: &UserName, out: &mut Vec<CoreAction>) {
        let of_user = self.admin.deletions.get_mut(user).and_then(|deletion| deletion.of_user.take());
        if let Some(request) = of_user {
            self.on_own_account_deleted(request, user, out);
        }
        self.end_session_here(user, ForcedLogoutCause::Deleted, out);
    }

    fn step_later(&mut self, user: &UserName, wait_ms: u64, out: &mut Vec<CoreAction>) {
        if self.stopping {
            // The next start resumes it.
            return self.deletion_ended(user, AdminAnswerFromCore::Failed, out);
        }
        let next_ms = self.now.mono_ms + wait_ms;
        if let Some(deletion) = self.admin.deletions.get_mut(user) {
            deletion.next_ms = Some(next_ms);
            self.wheel.insert(next_ms, CoreTimer::AdminDeletions);
        }
    }

    fn deletion_ended(&mut self, user: &UserName, answer: AdminAnswerFromCore, out: &mut Vec<CoreAction>) {
        let Some(deletion) = self.admin.deletions.remove(user) else {
            return;
        };
        if deletion.is_resumed {
            let is_done = answer == AdminAnswerFromCore::Done;
            out.push(CoreAction::Log(LogEvent::DeletionWentOn { user: user.clone(), is_done }));
        }
        for ticket in deletion.tickets {
            match answer {
                AdminAnswerFromCore::Done => self.answer_when_logouts_confirmed(user, ticket, out),
                _ => self.answer_admin(ticket, answer.clone(), out),
            }
        }
        if let Some(request) = deletion.of_user {
            self.refuse_waiting(request, Some(UNAVAILABLE), out);
        }
    }

    /// The next steps of some deletions are due.
    pub(in super::super) fn deletions_timer_fired(&mut self, out: &mut Vec<CoreAction>) {
        if self.stopping {
            return;
        }
        let now_ms = self.now.mono_ms;
        let due = self.admin.deletions.iter_mut().filter(|(_, one)| one.next_ms.is_some_and(|next| next <= now_ms));
        let due: Vec<UserName> = due.map(|(user, one)| (one.next_ms = None, user.clone()).1).collect();
        for user in due {
            // A push that is taken for them now would stay in the store after the last step.
            if self.is_cached_as_friend(&user) {
                self.step_later(&user, UNSURE_MS, out);
            } else {
                self.deletion_step(user, out);
            }
        }
    }

    /// Is the account of this user gone, and is the rest of it being removed? Nothing new is begun
    /// with such a user: the deletion would have to wait for it.
    pub(in super::super) fn is_account_gone(&self, user: &UserName) -> bool {
        self.admin.deletions.get(user).is_some_and(|deletion| deletion.is_account_gone)
    }

    /// May some user who is online still have this user among their friends? The store may have
    /// ended the friendship without being able to confirm it.
    fn is_cached_as_friend(&self, user: &UserName) -> bool {
        let Some(user) = self.users.find(user.as_str()) else {
            return false;
        };
        let mut in_doubt = self.in_doubt.users();
        self.friendship_ops.has_op_of(user)
            || in_doubt.any(|other| other == user || self.users.are_friends(other, user))
    }
}
