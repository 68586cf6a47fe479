//! Questions of operators about users who are not online here. They are passed on to the node to
//! which the user belongs.
//!
//! Questions and answers go through the database, where an older version skips them. If the other
//! node does not answer in time, the operator is told its name.

use super::super::ServerCore;
use super::super::contract::{
    AdminAnswerFromCore, AdminTicket, AdminUserStatusReport, CoreAction, Job, JobOutcome, RemoteUserReport,
    RemoteUserStatus,
};
use super::super::job::JobPurpose;
use super::IncarnationState;
use super::contract::{ClusterStoreJob, NodeIncarnation, NodeMessage};
use crate::protocol::field::UserName;
use std::collections::BTreeMap;

/// The time within which the other node must answer.
const ANSWER_WITHIN_MS: u64 = 3_000;
/// The maximum number of questions in progress.
const QUESTIONS_MAX: usize = 1_000;

/// A report to an operator that lacks what another node knows.
#[derive(Debug)]
pub(in super::super) struct AdminReportAwaitingNode {
    ticket: AdminTicket,
    report: Box<AdminUserStatusReport>,
}

#[derive(Debug)]
struct PendingAdminUserQueryToNode {
    question: AdminReportAwaitingNode,
    asked_node: NodeIncarnation,
    at_ms: u64,
}

/// The questions that other nodes were asked.
#[derive(Debug, Default)]
pub(super) struct PendingAdminUserQueriesToNodes {
    pending: BTreeMap<u64, PendingAdminUserQueryToNode>,
    last: u64,
}

impl PendingAdminUserQueriesToNodes {
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl ServerCore {
    /// Answers with this report, when it is known whether the user is online on another node.
    pub(in super::super) fn answer_about(
        &mut self,
        ticket: AdminTicket,
        report: Box<AdminUserStatusReport>,
        out: &mut Vec<CoreAction>,
    ) {
        if self.cluster.is_none() || report.online.is_some() {
            return self.answer_admin(ticket, AdminAnswerFromCore::User(report), out);
        }
        let job = Job::Cluster { user: report.name.clone(), job: Box::new(ClusterStoreJob::Owner) };
        let question = JobPurpose::AskedOwner(AdminReportAwaitingNode { ticket, report });
        if self.submit(job, question, out).is_err() {
            self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
        }
    }

    /// The store has said to which node the user belongs.
    pub(in super::super) fn owner_for_question(
        &mut self,
        question: AdminReportAwaitingNode,
        outcome: &JobOutcome,
        out: &mut Vec<CoreAction>,
    ) {
        let now_ms = self.now.mono_ms;
        let (Some(owner), Some(cluster)) = (Self::owner_in(outcome), &mut self.cluster) else {
            return self.answer_admin(question.ticket, AdminAnswerFromCore::Failed, out);
        };
        let Some(to) = owner.incarnation.filter(|at| at.node != cluster.me.node) else {
            // They have never logged in, or were here last.
            return self.answer_admin(question.ticket, AdminAnswerFromCore::User(question.report), out);
        };
        if cluster.life(to) == IncarnationState::Unknown {
            // It has started since the view was read: it is not known whether they are online.
            out.push(CoreAction::ReadView);
            return self.answer_question(question, to, RemoteUserStatus::Silent, out);
        }
        if !cluster.is_alive(to) {
            return self.answer_question(question, to, RemoteUserStatus::NotOnline, out);
        }
        if cluster.questions.pending.len() >= QUESTIONS_MAX {
            return self.answer_question(question, to, RemoteUserStatus::Silent, out);
        }
        cluster.questions.last += 1;
        let (serial, user) = (cluster.questions.last, question.report.name.clone());
        cluster
            .questions
            .pending
            .insert(serial, PendingAdminUserQueryToNode { question, asked_node: to, at_ms: now_ms });
        out.push(CoreAction::Send { to, record: NodeMessage::Ask { user, question: serial } });
        self.arm_cluster();
    }

    fn answer_question(
        &mut self,
        question: AdminReportAwaitingNode,
        to: NodeIncarnation,
        there: RemoteUserStatus,
        out: &mut Vec<CoreAction>,
    ) {
        let AdminReportAwaitingNode { ticket, mut report } = question;
        report.remote = Some(RemoteUserReport { node: to.node, status: there });
        self.answer_admin(ticket, AdminAnswerFromCore::User(report), out);
    }

    /// Another node asks about a user.
    pub(super) fn on_user_question(
        &mut self,
        from: NodeIncarnation,
        user: &UserName,
        question: u64,
        out: &mut Vec<CoreAction>,
    ) {
        let online = self.online_user(user).map(|user| (user.logged_in_ms, user.outstanding));
        out.push(CoreAction::Send { to: from, record: NodeMessage::Told { question, online } });
    }

    /// Another node has answered.
    pub(super) fn on_user_answer(
        &mut self,
        from: NodeIncarnation,
        question: u64,
        online: Option<(u64, u32)>,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.questions.pending.get(&question).is_none_or(|asked| asked.asked_node != from) {
            return;
        }
        if let Some(PendingAdminUserQueryToNode { question, asked_node, .. }) =
            cluster.questions.pending.remove(&question)
        {
            let there = online.map_or(RemoteUserStatus::NotOnline, |(since_ms, outstanding)| {
                RemoteUserStatus::Online { logged_in_ms: since_ms, outstanding }
            });
            self.answer_question(question, asked_node, there, out);
        }
    }

    /// Time has passed, or the nodes were read: questions to nodes that are dead, or have not
    /// answered in time, end.
    pub(super) fn end_questions(&mut self, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let mut over = Vec::new();
        for (serial, asked) in &cluster.questions.pending {
            if !cluster.is_alive(asked.asked_node) {
                over.push((*serial, RemoteUserStatus::NotOnline));
            } else if now_ms - asked.at_ms >= ANSWER_WITHIN_MS {
                over.push((*serial, RemoteUserStatus::Silent));
            }
        }
        for (serial, there) in over {
            let asked = self.cluster.as_mut().and_then(|cluster| cluster.questions.pending.remove(&serial));
            if let Some(PendingAdminUserQueryToNode { question, asked_node, .. }) = asked {
                self.answer_question(question, asked_node, there, out);
            }
        }
    }
}
