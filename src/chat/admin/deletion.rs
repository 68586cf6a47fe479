//! The deletion of an account, in steps: a mailbox may be long, and friendships are the business of
//! two users each. First the store leaves nothing of the account but its name, from then on nobody
//! can log in; then friendships and pending requests end like those that users end, pair by pair,
//! so that those online forget them in the right order; then the mailbox goes, some rows at a time.
//!
//! From the first step on the deletion is noted in the store. What is left of it, if the server
//! stops meanwhile, is done when it is asked for again: the shell asks at the start.

use super::super::admin_op::{AdminOp, AdminStep};
use super::super::answer::{BUSY, UNAVAILABLE};
use super::super::contract::{Action, AdminAnswer, AdminJob, AdminOutcome, AdminTicket, Note, RefusalCause, Ticket};
use super::super::deliveries::Save;
use super::super::ids::DeliveryRef;
use super::super::{Chat, Timer};
use super::DELETED;
use crate::protocol::field::UserName;

/// Rows that one step removes, and pairs that it ends.
const ROWS_MAX: u32 = 500;
/// How often a deletion that a user asked for is tried again that may have begun.
const TRIES_MAX: u32 = 60;
/// Deletions in progress at a time.
const DELETIONS_MAX: usize = 1_000;
/// The time between two steps if there were pairs: these end meanwhile.
const PAIRS_MS: u64 = 20;
/// While it is not known whether somebody is their friend.
const UNSURE_MS: u64 = 100;
/// After a step that failed.
const RETRY_MS: u64 = 1_000;

/// The deletion of one account.
#[derive(Debug, Default)]
pub(in super::super) struct Deletion {
    /// Those who ask for it.
    tickets: Vec<AdminTicket>,
    /// The request of the user themself, until it is answered.
    of_user: Option<Ticket>,
    /// How often it is tried again to begin it, when the store could not say whether it has begun:
    /// the user could not prove again who they are.
    tries_left: u32,
    /// It goes on after a start.
    is_resumed: bool,
    /// The account is gone: what is left is removed however long it takes.
    has_begun: bool,
    /// When the next step is due; `None` while one is on its way.
    next_ms: Option<u64>,
}

impl Chat {
    /// `has_begun`: in the store, before the server started.
    pub(super) fn delete_account(
        &mut self,
        ticket: AdminTicket,
        user: UserName,
        has_begun: bool,
        out: &mut Vec<Action>,
    ) {
        if let Some(deletion) = self.admin.deletions.get_mut(&user) {
            return deletion.tickets.push(ticket);
        }
        if self.admin.deletions.len() >= DELETIONS_MAX {
            return self.answer_admin(ticket, AdminAnswer::Failed, out);
        }
        if has_begun {
            out.push(Action::Note(Note::DeletionGoesOn { user: user.clone() }));
        }
        let deletion = Deletion { tickets: vec![ticket], has_begun, is_resumed: has_begun, ..Deletion::default() };
        self.admin.deletions.insert(user.clone(), deletion);
        self.deletion_step(user, out);
    }

    /// The same for the user themself, who has proven who they are. It is promised as soon as it
    /// has begun in the store: what is left then is removed whatever happens.
    pub(in super::super) fn delete_own_account(&mut self, request: Ticket, user: UserName, out: &mut Vec<Action>) {
        if let Some(deletion) = self.admin.deletions.get_mut(&user) {
            (deletion.of_user, deletion.tries_left) = (Some(request), TRIES_MAX);
            return;
        }
        if self.admin.deletions.len() >= DELETIONS_MAX {
            return self.refuse_waiting(request, Some(BUSY), out);
        }
        let deletion = Deletion { of_user: Some(request), tries_left: TRIES_MAX, ..Deletion::default() };
        self.admin.deletions.insert(user.clone(), deletion);
        self.deletion_step(user, out);
    }

    fn deletion_step(&mut self, user: UserName, out: &mut Vec<Action>) {
        self.submit_admin(AdminOp { user, step: AdminStep::Delete }, AdminJob::Delete { rows_max: ROWS_MAX }, out);
    }

    pub(super) fn deletion_stepped(&mut self, user: &UserName, outcome: Option<AdminOutcome>, out: &mut Vec<Action>) {
        let Some(deletion) = self.admin.deletions.get_mut(user) else {
            return;
        };
        let had_begun = deletion.has_begun;
        match outcome {
            Some(AdminOutcome::Deleting { pairs }) => {
                deletion.has_begun = true;
                for ticket in deletion.tickets.clone() {
                    self.prolong_admin(ticket);
                }
                if !had_begun {
                    self.account_is_gone(user, out);
                }
                for (me, other) in &pairs {
                    self.end_friendship(me, other, out);
                }
                self.step_later(user, if pairs.is_empty() { 1 } else { PAIRS_MS }, out);
            }
            Some(AdminOutcome::Done) => {
                // Nothing was heard of the steps before this last one, so what is taken for them is
                // saved, or being saved, behind it.
                let left_over = if had_begun { Vec::new() } else { self.unsaved_pushes_to(user) };
                self.account_is_gone(user, out);
                for seq in left_over {
                    self.submit_delete(seq, user.clone(), out);
                }
                self.deletion_ended(user, AdminAnswer::Done, out);
            }
            // The last step was done, and its answer was lost.
            Some(AdminOutcome::NoSuchUser) if had_begun => self.deletion_ended(user, AdminAnswer::Done, out),
            Some(AdminOutcome::NoSuchUser) => self.deletion_ended(user, AdminAnswer::NoSuchUser, out),
            _ if had_begun => self.step_later(user, RETRY_MS, out),
            _ if deletion.tries_left > 0 => {
                deletion.tries_left -= 1;
                self.step_later(user, RETRY_MS, out);
            }
            _ => self.deletion_ended(user, AdminAnswer::Failed, out),
        }
    }

    fn unsaved_pushes_to(&self, user: &UserName) -> Vec<u64> {
        let Some(user) = self.users.find(user.as_str()) else {
            return Vec::new();
        };
        let is_left_over =
            |of: &DeliveryRef| self.deliveries.get(*of).is_some_and(|it| it.receiver == user && it.save != Save::Done);
        let mut seqs: Vec<u64> = self.deliveries.refs().into_iter().filter(is_left_over).map(|of| of.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// Nobody is logged in as this user any more, or will be.
    fn account_is_gone(&mut self, user: &UserName, out: &mut Vec<Action>) {
        self.logins.bar(user, RefusalCause::WrongPassword);
        let of_user = self.admin.deletions.get_mut(user).and_then(|deletion| deletion.of_user.take());
        if let Some(request) = of_user {
            self.own_account_gone(request, user, out);
        }
        self.end_session(user, DELETED, out);
    }

    fn step_later(&mut self, user: &UserName, wait_ms: u64, out: &mut Vec<Action>) {
        if self.stopping {
            // The next start goes on.
            return self.deletion_ended(user, AdminAnswer::Failed, out);
        }
        let next_ms = self.now.mono_ms + wait_ms;
        if let Some(deletion) = self.admin.deletions.get_mut(user) {
            deletion.next_ms = Some(next_ms);
            self.wheel.insert(next_ms, Timer::AdminDeletions);
        }
    }

    fn deletion_ended(&mut self, user: &UserName, answer: AdminAnswer, out: &mut Vec<Action>) {
        let Some(deletion) = self.admin.deletions.remove(user) else {
            return;
        };
        if deletion.is_resumed {
            let is_done = answer == AdminAnswer::Done;
            out.push(Action::Note(Note::DeletionWentOn { user: user.clone(), is_done }));
        }
        for ticket in deletion.tickets {
            self.answer_admin(ticket, answer.clone(), out);
        }
        if let Some(request) = deletion.of_user {
            self.refuse_waiting(request, Some(UNAVAILABLE), out);
        }
    }

    /// Some next steps are due.
    pub(in super::super) fn deletions_timer_fired(&mut self, out: &mut Vec<Action>) {
        if self.stopping {
            return;
        }
        let now_ms = self.now.mono_ms;
        let due = self.admin.deletions.iter_mut().filter(|(_, one)| one.next_ms.is_some_and(|next| next <= now_ms));
        let due: Vec<UserName> = due.map(|(user, one)| (one.next_ms = None, user.clone()).1).collect();
        for user in due {
            // What is taken for them now would be left over behind the last step.
            if self.is_taken_for_friend(&user) {
                self.step_later(&user, UNSURE_MS, out);
            } else {
                self.deletion_step(user, out);
            }
        }
    }

    /// Is the account of this user gone, and what is left of it being removed? From then on nobody
    /// begins anything with them: the deletion would wait for that.
    pub(in super::super) fn is_account_gone(&self, user: &UserName) -> bool {
        self.admin.deletions.get(user).is_some_and(|deletion| deletion.has_begun)
    }

    /// Does anybody who is online perhaps take this user for a friend? The store may have ended
    /// that and could not say so.
    fn is_taken_for_friend(&self, user: &UserName) -> bool {
        let Some(user) = self.users.find(user.as_str()) else {
            return false;
        };
        let mut in_doubt = self.doubt.users();
        self.friendship_ops.is_about(user) || in_doubt.any(|other| other == user || self.users.are_friends(other, user))
    }
}
