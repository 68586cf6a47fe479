//! Notices of the operator: pushes of TYPE 4 from a sender that no user can be. A notice is stored
//! before it is sent, and is on its receiver's ACK list like every push.
//!
//! A notice to all users is sent in small parts, since there may be a million users: names are read
//! page by page, and the number of notices on their way to the store is bounded. All of them are
//! deliveries of one body.

use super::super::admin_op::{AdminJobPurpose, RunningAdminOp};
use super::super::contract::{
    AdminAnswerFromCore, AdminStoreJob, AdminStoreJobOutcome, AdminTicket, CoreAction, LogEvent,
};
use super::super::{CoreTimer, ServerCore};
use super::answer_of;
use crate::protocol::field::{MessageId, RESERVED_NAME, UserName, UserNameRef};
use crate::protocol::push::{Push, PushBody, PushKind};
use std::collections::VecDeque;

/// Names that one job reads.
const NAMES_MAX: u32 = 500;
/// Notices to all that are on their way to the store at a time.
const IN_FLIGHT_MAX: usize = 128;
/// The pause before a failed notice is tried again.
const RETRY_MS: u64 = 1_000;
/// After this many failures in a row the notice as a whole has failed.
const FAILURES_MAX: u32 = 3 * IN_FLIGHT_MAX as u32;

/// A notice to all users that is on its way.
#[derive(Debug)]
pub(super) struct NoticeToAllUsers {
    pub(super) ticket: AdminTicket,
    /// The sender `system`, in whose lane names are read.
    system: UserName,
    body: PushBody,
    /// The last name that was read.
    last_name_read: Option<UserName>,
    /// More names may follow.
    has_more_names: bool,
    /// Names are being read.
    reading: bool,
    names: VecDeque<UserName>,
    /// The notices that failed.
    failed_pushes: Vec<Push>,
    in_flight: usize,
    /// Nothing is submitted until the timer fires.
    pauses: bool,
    failures: u32,
    /// The number of notices in the store.
    users: u64,
}

/// The next thing to do for a notice to all users.
enum NoticeToAllUsersStep {
    /// Read more names.
    Read,
    /// Send the notice to this user.
    To(UserName),
    /// Try this notice again.
    Again(Push),
    /// Wait for a job in flight.
    Wait,
    End,
}

impl NoticeToAllUsers {
    fn next_step(&mut self) -> NoticeToAllUsersStep {
        if self.in_flight >= IN_FLIGHT_MAX {
            return NoticeToAllUsersStep::Wait;
        }
        let next = self
            .failed_pushes
            .pop()
            .map(NoticeToAllUsersStep::Again)
            .or_else(|| self.names.pop_front().map(NoticeToAllUsersStep::To));
        if let Some(next) = next {
            self.in_flight += 1;
            return next;
        }
        match (self.reading, self.has_more_names, self.in_flight) {
            (false, true, _) => NoticeToAllUsersStep::Read,
            (false, false, 0) => NoticeToAllUsersStep::End,
            _ => NoticeToAllUsersStep::Wait,
        }
    }
}

impl ServerCore {
    fn notice_body(&mut self, text: &str) -> Option<PushBody> {
        // The wall clock may go back, and after a restart a `seq` may be used again if its push is
        // gone. Both together do not repeat.
        let (time_ms, number) = (self.now.wall_ms, self.take_seq());
        let id = format!("notice-{time_ms}-{number}");
        let (id, sender) = (MessageId::new(id), UserNameRef::new(RESERVED_NAME));
        let (Ok(id), Ok(sender)) = (id, sender) else {
            debug_assert!(false, "both are within their bounds");
            return None;
        };
        Some(PushBody::new(time_ms, PushKind::Message, &id, &sender, text))
    }

    pub(super) fn notice_one(&mut self, ticket: AdminTicket, user: UserName, text: &str, out: &mut Vec<CoreAction>) {
        let Some(body) = self.notice_body(text) else {
            return self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
        };
        let push = Push { seq: self.take_seq(), receiver: user, body };
        self.keep_notice(Some(ticket), push, out);
    }

    fn keep_notice(&mut self, ticket: Option<AdminTicket>, push: Push, out: &mut Vec<CoreAction>) {
        let (user, step) = (push.receiver.clone(), AdminJobPurpose::Notice { ticket, push: push.clone() });
        self.submit_admin(RunningAdminOp { user, step }, AdminStoreJob::Notice { push }, out);
    }

    /// The store has answered, or (`None`) failed.
    pub(super) fn notice_kept(
        &mut self,
        ticket: Option<AdminTicket>,
        user: UserName,
        push: Push,
        outcome: Option<AdminStoreJobOutcome>,
        out: &mut Vec<CoreAction>,
    ) {
        let receiver = self.users.retain_by_name(&user);
        match &outcome {
            Some(AdminStoreJobOutcome::Done) => self.deliver_committed(push.clone(), receiver, out),
            Some(AdminStoreJobOutcome::Full(quota)) => self.note_mailbox_full(user, *quota, out),
            // It may be in the store nevertheless. One of a notice to all is tried again.
            None if ticket.is_some() || self.notice_to_all(push.id()).is_none() => {
                self.look_for(receiver, push.seq, out);
            }
            _ => {}
        }
        self.users.release(receiver);
        match ticket {
            Some(ticket) => {
                let answer = match outcome {
                    Some(AdminStoreJobOutcome::Done) => AdminAnswerFromCore::Noticed { users: 1 },
                    outcome => answer_of(outcome),
                };
                self.answer_admin(ticket, answer, out);
            }
            None => self.on_notice_saved(push, outcome, out),
        }
    }

    pub(super) fn notice_all(&mut self, ticket: AdminTicket, text: &str, out: &mut Vec<CoreAction>) {
        if self.admin.notice_to_all.is_some() {
            return self.answer_admin(ticket, AdminAnswerFromCore::InProgress, out);
        }
        let (Some(body), Ok(system)) = (self.notice_body(text), UserName::new(RESERVED_NAME)) else {
            return self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
        };
        out.push(CoreAction::Log(LogEvent::NoticeBegins { id: body.id().into() }));
        self.admin.notice_to_all = Some(Box::new(NoticeToAllUsers {
            ticket,
            system,
            body,
            last_name_read: None,
            has_more_names: true,
            reading: false,
            names: VecDeque::new(),
            failed_pushes: Vec::new(),
            in_flight: 0,
            pauses: false,
            failures: 0,
            users: 0,
        }));
        self.notice_on(out);
    }

    /// Continues the notice to all users.
    fn notice_on(&mut self, out: &mut Vec<CoreAction>) {
        while let Some(to_all) = &mut self.admin.notice_to_all
            && !to_all.pauses
            && !self.stopping
        {
            match to_all.next_step() {
                NoticeToAllUsersStep::Wait => return,
                NoticeToAllUsersStep::Read => {
                    to_all.reading = true;
                    let (after, user) = (to_all.last_name_read.clone(), to_all.system.clone());
                    let job = AdminStoreJob::Accounts { after, rows_max: NAMES_MAX };
                    let step = AdminJobPurpose::Names { notice: to_all.body.id().into() };
                    self.submit_admin(RunningAdminOp { user, step }, job, out);
                }
                NoticeToAllUsersStep::Again(push) => self.keep_notice(None, push, out),
                NoticeToAllUsersStep::To(receiver) => {
                    let body = to_all.body.clone();
                    let push = Push { seq: self.take_seq(), receiver, body };
                    self.keep_notice(None, push, out);
                }
                NoticeToAllUsersStep::End => {
                    let (ticket, users) = (to_all.ticket, to_all.users);
                    self.admin.notice_to_all = None;
                    return self.answer_admin(ticket, AdminAnswerFromCore::Noticed { users }, out);
                }
            }
        }
    }

    /// The notice to all that has this id. An earlier one, which was given up, may still have jobs
    /// whose answers come.
    fn notice_to_all(&mut self, id: &str) -> Option<&mut NoticeToAllUsers> {
        self.admin.notice_to_all.as_deref_mut().filter(|to_all| to_all.body.id() == id)
    }

    pub(super) fn names_read(
        &mut self,
        notice: &str,
        outcome: Option<AdminStoreJobOutcome>,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(to_all) = self.notice_to_all(notice) else {
            return;
        };
        to_all.reading = false;
        match outcome {
            Some(AdminStoreJobOutcome::Accounts { names, has_more }) => {
                to_all.last_name_read = names.last().cloned().or(to_all.last_name_read.take());
                (to_all.has_more_names, to_all.failures) = (has_more, 0);
                to_all.names.extend(names);
                self.notice_on(out);
            }
            _ => self.on_notice_failed(out),
        }
    }

    fn on_notice_saved(&mut self, push: Push, outcome: Option<AdminStoreJobOutcome>, out: &mut Vec<CoreAction>) {
        let Some(to_all) = self.notice_to_all(push.id()) else {
            return;
        };
        to_all.in_flight -= 1;
        match outcome {
            Some(outcome) => {
                to_all.users += u64::from(outcome == AdminStoreJobOutcome::Done);
                to_all.failures = 0;
                self.notice_on(out);
            }
            None => {
                to_all.failed_pushes.push(push);
                self.on_notice_failed(out);
            }
        }
    }

    /// The store failed to keep one notice: all of them pause. If failures continue, the notice as
    /// a whole has failed.
    fn on_notice_failed(&mut self, out: &mut Vec<CoreAction>) {
        let Some(to_all) = &mut self.admin.notice_to_all else {
            return;
        };
        to_all.failures += 1;
        if to_all.failures > FAILURES_MAX {
            let (ticket, users) = (to_all.ticket, to_all.users);
            let failed_pushes = std::mem::take(&mut to_all.failed_pushes);
            self.admin.notice_to_all = None;
            // Some may be in the store nevertheless, and their receivers online.
            for push in failed_pushes {
                let receiver = self.users.retain_by_name(&push.receiver);
                self.look_for(receiver, push.seq, out);
                self.users.release(receiver);
            }
            self.answer_admin(ticket, AdminAnswerFromCore::NoticeCut { users }, out);
        } else if !std::mem::replace(&mut to_all.pauses, true) {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, CoreTimer::AdminNotices);
        }
    }

    /// The pause is over.
    pub(in super::super) fn notices_timer_fired(&mut self, out: &mut Vec<CoreAction>) {
        if let Some(to_all) = &mut self.admin.notice_to_all {
            to_all.pauses = false;
            self.notice_on(out);
        }
    }
}
