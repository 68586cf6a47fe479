//! TYPE ROSTER, PROFILE and BLOCK: requests of users about their own account. Those that need a
//! password are in [`proof`](super::proof); the turns of a pair of users are in
//! [`friend`](super::friend).

use super::ServerCore;
use super::answer::{DAMAGED, ErrorReply, ReplyTo, UNAVAILABLE, fault_of};
use super::contract::{
    CoreAction, Job, JobOutcome, JobTicket, OwnAccountStoreJob, OwnAccountStoreJobOutcome, RosterReply,
};
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::own_op::{CredentialCheckPurpose, OwnAccountRequestAwaitingJob};
use crate::protocol::account::{BlockVerb, OwnAccountRequest, RosterReplyWithPresence};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::UserName;
use crate::protocol::reply::Reply;
use crate::protocol::request::RequestType;

/// The largest number of friends in one answer, and of requests in each direction.
const ROSTER_ROWS_MAX: u32 = 100;
/// The largest size of the requests' texts in each direction that is read, in bytes. If they need
/// much escaping, the frame has fewer.
const ROSTER_BYTES_MAX: usize = 128 * 1024;

const GONE: ErrorReply = ErrorReply(ErrorCode::NoSuchUser, "there is no such account any more");

impl ServerCore {
    #[inline(never)]
    pub(super) fn account(
        &mut self,
        to: ReplyTo,
        user: UserSlot,
        request: OwnAccountRequest<'_>,
        out: &mut Vec<CoreAction>,
    ) {
        let request_type = request.request_type();
        match request {
            OwnAccountRequest::Roster { after, watch } => {
                self.want_presence(out);
                if watch {
                    self.watch_friends(to.0);
                }
                let after = after.map(|after| after.to_owned());
                let (rows_max, bytes_max) = (ROSTER_ROWS_MAX, ROSTER_BYTES_MAX);
                self.ask_store(to, user, request_type, OwnAccountStoreJob::Roster { after, rows_max, bytes_max }, out);
            }
            OwnAccountRequest::Profile(change) => {
                self.ask_store(to, user, request_type, OwnAccountStoreJob::ChangeProfile(*change), out);
            }
            OwnAccountRequest::Block(BlockVerb::List) => {
                self.ask_store(to, user, request_type, OwnAccountStoreJob::Blocked, out)
            }
            OwnAccountRequest::Block(BlockVerb::Block(other)) => self.change_blocked(to, user, (&other, true), out),
            OwnAccountRequest::Block(BlockVerb::Unblock(other)) => self.change_blocked(to, user, (&other, false), out),
            OwnAccountRequest::Password { old, new } => {
                self.prove(to, user, request_type, (old, CredentialCheckPurpose::ChangePassword(new)), out)
            }
            OwnAccountRequest::Delete { password } => {
                self.prove(to, user, request_type, (password, CredentialCheckPurpose::DeleteAccount), out)
            }
        }
    }

    fn ask_store(
        &mut self,
        to: ReplyTo,
        user: UserSlot,
        request_type: RequestType,
        job: OwnAccountStoreJob,
        out: &mut Vec<CoreAction>,
    ) {
        let request = self.ask(to, request_type, out);
        let user = self.users.get(user).name.clone();
        self.submit_own(OwnAccountRequestAwaitingJob { request, user, request_type }, job, out);
    }

    /// Submits a job, or refuses the request.
    pub(super) fn submit_own(
        &mut self,
        own: OwnAccountRequestAwaitingJob,
        job: OwnAccountStoreJob,
        out: &mut Vec<CoreAction>,
    ) {
        let (request, job) = (own.request, Job::Account { user: own.user.clone(), job: Box::new(job) });
        self.submit_for(request, job, JobPurpose::Account(own), out);
    }

    /// The job has ended.
    pub(super) fn own_job_done(
        &mut self,
        own: OwnAccountRequestAwaitingJob,
        outcome: JobOutcome,
        out: &mut Vec<CoreAction>,
    ) {
        let OwnAccountRequestAwaitingJob { request, user, request_type } = own;
        let outcome = match outcome {
            JobOutcome::Account(outcome) => *outcome,
            outcome => {
                let is_read = matches!(request_type, RequestType::Roster | RequestType::Block);
                let is_for_good = !matches!(outcome, JobOutcome::Failed);
                if request_type == RequestType::Password && !is_for_good {
                    self.password_in_doubt(&user);
                }
                let fault = if is_read && is_for_good { DAMAGED } else { fault_of(&outcome) };
                return self.refuse_waiting(request, Some(fault), out);
            }
        };
        match (request_type, outcome) {
            (_, OwnAccountStoreJobOutcome::Roster(roster)) => self.answer_roster(request, &user, roster, out),
            (_, OwnAccountStoreJobOutcome::Blocked { names, .. }) => self.answer(request, Reply::Blocked(names), out),
            (RequestType::Password, OwnAccountStoreJobOutcome::Changed) => self.password_changed(request, user, out),
            (_, OwnAccountStoreJobOutcome::Changed) => self.answer(request, Reply::ProfileChanged, out),
            (_, OwnAccountStoreJobOutcome::Stale) => self.refuse_stale(request, out),
            (_, OwnAccountStoreJobOutcome::NoSuchUser) => self.refuse_waiting(request, Some(GONE), out),
            (verb, outcome @ OwnAccountStoreJobOutcome::TooMany) => {
                debug_assert!(false, "{verb:?} came back as {outcome:?}");
                self.refuse_waiting(request, Some(UNAVAILABLE), out);
            }
        }
    }

    /// Answers a roster. Which friends are online is looked up in memory.
    fn answer_roster(
        &mut self,
        request: JobTicket,
        user: &UserName,
        mut roster: RosterReply,
        out: &mut Vec<CoreAction>,
    ) {
        roster.cut_to_frame();
        let user = self.users.find(user.as_str());
        let is_online = |friend: &UserName| {
            let friend = self.users.find(friend.as_str());
            // The friendship may have ended since the roster was read.
            user.zip(friend).is_some_and(|(user, friend)| self.is_shown_online(user, friend))
        };
        let online = roster.friends.iter().map(|friend| is_online(&friend.user_name)).collect();
        for friend in &roster.friends {
            if let Some(friend) = self.users.find(friend.user_name.as_str()) {
                self.presence_shown(friend);
            }
        }
        self.answer(request, Reply::Roster(Box::new(RosterReplyWithPresence { roster, online })), out);
    }
}
