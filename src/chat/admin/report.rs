//! Reports about one user, and about the pushes with one id.

use super::super::ServerCore;
use super::super::admin_op::{AdminJobPurpose, RunningAdminOp};
use super::super::contract::{
    AdminAnswerFromCore, AdminPushStatusReport, AdminReportPushState, AdminStoreJob, AdminStoreJobOutcome, AdminTicket,
    AdminUserStatusReport, CoreAction, StoredPushWithoutText,
};
use super::super::dedup::DedupKey;
use super::super::deliveries::DeliverySaveState;
use super::super::ids::UserSlot;
use crate::protocol::field::UserName;
use crate::protocol::push::PushKind;

/// The largest number of pushes that are counted in the store.
const COUNTED_MAX: u32 = 10_000;
/// The largest number of stored pushes that one job examines.
const LOOKED_AT_MAX: u32 = 2_000;

impl ServerCore {
    pub(super) fn look_at_user(&mut self, ticket: AdminTicket, user: UserName, out: &mut Vec<CoreAction>) {
        // A push that is being saved is in the store before this job runs, or never: jobs about one
        // user are done in order.
        let unsaved = |delivery| {
            let found = self.deliveries.get(delivery)?;
            matches!(found.save_state, DeliverySaveState::None | DeliverySaveState::Failed | DeliverySaveState::Full)
                .then_some(found.seq)
        };
        let list = self.users.find(user.as_str()).and_then(|user| self.users.get(user).list.as_ref());
        let unsaved = list.map_or_else(Vec::new, |list| list.mailbox.all().filter_map(unsaved).collect());
        let op = RunningAdminOp { user, step: AdminJobPurpose::Look { ticket, unsaved_seqs: unsaved } };
        self.submit_admin(op, AdminStoreJob::Look { rows_max: COUNTED_MAX }, out);
    }

    pub(super) fn on_user_read(
        &mut self,
        ticket: AdminTicket,
        name: UserName,
        unsaved: &[u64],
        outcome: Option<AdminStoreJobOutcome>,
        out: &mut Vec<CoreAction>,
    ) {
        let answer = match outcome {
            Some(AdminStoreJobOutcome::Account { is_banned, seqs, has_more }) => {
                // A save that failed may have been done nevertheless, and so may a deletion that is
                // being retried.
                let only_here = unsaved.iter().filter(|seq| seqs.binary_search(seq).is_err()).count();
                let stored = seqs.iter().filter(|seq| !self.failed_push_deletions.contains(seq)).count();
                let report = Box::new(AdminUserStatusReport {
                    online: self.online_user(&name),
                    name,
                    waiting_pushes: (stored + only_here) as u64,
                    has_more_waiting: has_more,
                    is_banned,
                    remote: None,
                });
                return self.answer_about(ticket, report, out);
            }
            Some(AdminStoreJobOutcome::NoSuchUser) => AdminAnswerFromCore::NoSuchUser,
            _ => AdminAnswerFromCore::Failed,
        };
        self.answer_admin(ticket, answer, out);
    }

    pub(super) fn find_pushes(
        &mut self,
        ticket: AdminTicket,
        receiver: UserName,
        id: Box<str>,
        out: &mut Vec<CoreAction>,
    ) {
        self.find_pushes_behind(ticket, receiver, (id, Vec::new()), 0, out);
    }

    fn find_pushes_behind(
        &mut self,
        ticket: AdminTicket,
        user: UserName,
        (id, found): (Box<str>, Vec<StoredPushWithoutText>),
        after_seq: u64,
        out: &mut Vec<CoreAction>,
    ) {
        let job = AdminStoreJob::FindPushes { id: id.clone(), after_seq, rows_max: LOOKED_AT_MAX };
        self.submit_admin(RunningAdminOp { user, step: AdminJobPurpose::Find { ticket, id, found } }, job, out);
    }

    pub(super) fn found_pushes(
        &mut self,
        ticket: AdminTicket,
        receiver: UserName,
        (id, mut found): (Box<str>, Vec<StoredPushWithoutText>),
        outcome: Option<AdminStoreJobOutcome>,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(AdminStoreJobOutcome::Found { pushes, next }) = outcome else {
            return self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
        };
        found.extend(pushes);
        if let Some(after_seq) = next
            && !self.stopping
        {
            self.extend_admin_deadline(ticket);
            return self.find_pushes_behind(ticket, receiver, (id, found), after_seq, out);
        }
        let user = self.users.find(receiver.as_str());
        let mut known: Vec<(u64, AdminPushStatusReport)> =
            user.map_or_else(Vec::new, |user| self.pushes_in_memory(user, &id));
        for StoredPushWithoutText { seq, sender, kind, time_ms } in found {
            if let Some((_, report)) = known.iter_mut().find(|(known, _)| *known == seq) {
                report.is_stored = true;
            } else if !self.failed_push_deletions.contains(&seq) {
                let (kind, state) = (kind.word(), AdminReportPushState::Waiting);
                known.push((
                    seq,
                    AdminPushStatusReport { sender, kind, time_ms, state, times_sent: 0, is_stored: true },
                ));
            }
        }
        known.sort_by_key(|(seq, report)| (report.state == AdminReportPushState::Outstanding, *seq));
        let mut reports: Vec<AdminPushStatusReport> = known.into_iter().map(|(_, report)| report).collect();
        let acked = user.map_or_else(Vec::new, |user| self.acked_pushes(user, &id, &reports));
        reports.extend(acked);
        self.answer_admin(ticket, AdminAnswerFromCore::Pushes(reports), out);
    }

    fn pushes_in_memory(&self, receiver: UserSlot, id: &str) -> Vec<(u64, AdminPushStatusReport)> {
        let Some(list) = &self.users.get(receiver).list else {
            return Vec::new();
        };
        let report = |delivery| {
            let found = self.deliveries.get(delivery).filter(|found| found.body.id() == id)?;
            let times_sent = list.cursor.times_sent(delivery, &self.deliveries);
            let report = AdminPushStatusReport {
                sender: UserName::new(found.body.sender()).ok()?,
                kind: found.body.kind.word(),
                time_ms: found.body.time_ms,
                state: if times_sent.is_some() {
                    AdminReportPushState::Outstanding
                } else {
                    AdminReportPushState::Waiting
                },
                times_sent: times_sent.unwrap_or(0),
                is_stored: found.save_state == DeliverySaveState::Done,
            };
            Some((found.seq, report))
        };
        list.mailbox.all().filter_map(report).collect()
    }

    /// The acked messages with this id that friends of the receiver sent. The friends of a receiver
    /// who is away are not in memory, so for such a receiver there are none.
    fn acked_pushes(
        &self,
        receiver: UserSlot,
        id: &str,
        waiting: &[AdminPushStatusReport],
    ) -> Vec<AdminPushStatusReport> {
        let receiver = self.users.get(receiver);
        let key = DedupKey::of(self.users.hash(receiver.name.as_str()), id);
        let oldest_ms = self.now.mono_ms.saturating_sub(self.rules.dedup_age_ms);
        let acked = receiver.friends.iter().filter_map(|&friend| {
            let friend = self.users.get(friend);
            let at_ms = friend.dedup.as_ref()?.sent_ms(key, oldest_ms)?;
            let is_acked = !waiting.iter().any(|push| push.kind == "message" && push.sender == friend.name);
            is_acked.then(|| AdminPushStatusReport {
                sender: friend.name.clone(),
                kind: PushKind::Message.word(),
                time_ms: self.now.wall_ms.saturating_sub(self.now.mono_ms - at_ms),
                state: AdminReportPushState::Acked,
                times_sent: 0,
                is_stored: false,
            })
        });
        let mut acked: Vec<AdminPushStatusReport> = acked.collect();
        acked.sort_by(|one, other| one.sender.cmp(&other.sender));
        acked
    }
}
