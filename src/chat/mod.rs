//! Pure state: events and a clock in, actions out. The rules of the protocol live here and nowhere
//! else.
//!
//! [`ServerCore`] does no input or output, reads no clock and draws no random number. [`contract`]
//! is its whole boundary. After every event in a debug build its invariants are checked.
#![deny(clippy::disallowed_methods)]

mod account_job;
mod account_requests;
mod ack;
mod admin;
pub mod admin_contract;
mod admin_job;
mod admin_op;
mod answer;
mod answer_deadlines;
mod auth_queue;
mod close_cause;
pub mod cluster;
mod connections;
pub mod contract;
mod cursor;
mod dedup;
mod deliveries;
mod delivery;
mod doubt;
mod failed_push_deletions;
mod friend;
mod friend_op;
mod friend_rules;
mod friendship_ops;
mod gauges;
mod id_index;
mod identifiers;
mod ids;
mod in_flight;
mod input;
#[cfg(debug_assertions)]
mod invariants;
mod job;
mod job_results;
mod job_tables;
mod jobs_in_flight;
mod log_event;
mod log_in;
mod login_stage;
mod look_count;
mod mailbox;
mod memory;
mod message;
mod outcome;
mod own_account;
mod own_op;
mod paging;
mod presence;
mod proof;
mod push_hook;
mod push_size;
mod rules;
mod save_delay;
mod saving;
mod session;
mod shared_log_events;
mod sparse_queue;
mod stop;
mod throttle;
mod tries;
mod trust;
mod unacked_push_list;
mod users;
pub mod wheel;

use answer_deadlines::{PendingReplyDeadline, PendingReplyDeadlines};
use contract::{CoreAction, CoreInput, CoreSettings, Job, JobOutcome, JobTicket, TurnTimestamp};
use deliveries::DeliveryTable;
use ids::{DeliveryRef, UserSlot};
use job_tables::JobTicketTable;
use jobs_in_flight::{JobInFlight, JobsInFlight};
use save_delay::DelayedSaveQueue;
use session::ConnectionSessions;
use std::collections::HashMap;
use users::Users;
use wheel::TimerWheel;

use crate::protocol::field::UserName;

/// A deadline that is handled this late was missed because the process was paused.
const LATE_MS: u64 = 1_000;

/// The timers on the wheel.
#[derive(Clone, Copy, Debug)]
enum CoreTimer {
    /// Check whether the connections due at this time are idle.
    Idle { look_ms: u64 },
    /// A push on this user's list may be due for a resend.
    Resend(UserSlot),
    /// Request this user's next page again.
    Page(UserSlot),
    /// Entries of this user's dedup window may have expired.
    Dedup(UserSlot),
    /// Failed deletions are to be tried again.
    Deletes,
    /// Failed saves are to be tried again.
    Saves,
    /// Friendship operations with an unknown outcome are to be tried again.
    Undecided,
    /// Check whether a push still waits for this user, or whether their pause is over.
    PushHook(UserSlot),
    /// Count mailboxes again that could not be counted.
    Counting,
    /// The time limit of the stop is over.
    Stop,
    /// The time limit of an operator's request is over.
    AdminLimit(contract::AdminTicket),
    /// Continue a scan of all users for the operator.
    AdminScan,
    /// Continue a notice to all users.
    AdminNotices,
    /// Do the next steps of account deletions.
    AdminDeletions,
    /// Close the next slice of connections, as the operator wants.
    AdminDrain,
    /// Tell other nodes who has come and gone, and go on with what they have told.
    Elsewhere,
    /// PRESENCE frames are due.
    Presence,
    /// Retry whatever waits for other nodes, or for the store to give a user's whereabouts.
    Cluster,
    /// Continue the sweep over all lists.
    Sweep,
    /// Something between this node and another is late, or is to be said.
    Bus,
}

/// The whole chat state of one server.
#[derive(Debug)]
pub struct ServerCore {
    rules: CoreSettings,
    now: TurnTimestamp,
    next_seq: u64,
    /// The step from one `seq` to the next: in a cluster the numbers of the nodes interleave.
    seq_step: u64,
    sessions: ConnectionSessions,
    users: Users,
    deliveries: DeliveryTable,
    /// Jobs in flight.
    jobs: JobsInFlight,
    /// Each user's load of jobs in flight.
    in_flight: in_flight::UserJobLoads,
    /// The dedup windows of users who are offline.
    packed: dedup::OfflineDedupWindows,
    /// The request rates of connections that are not logged in, by address.
    stranger_rates: throttle::Throttle,
    /// Log-ins and sign-ups that wait for a password to be hashed.
    auth_queue: auth_queue::AuthQueue,
    /// The budgets for tries.
    auth_attempts: tries::AuthAttemptLimiter,
    /// Requests that wait for jobs and are not answered yet.
    requests: JobTicketTable<answer::RequestAwaitingJob>,
    /// The user names that waiting log-ins and sign-ups state.
    stated_names: HashMap<JobTicket, UserName>,
    /// Log-ins in progress, each in one state.
    logins: login_stage::LoginsInProgress,
    /// The operations on friendships, one at a time for each pair.
    friendship_ops: friendship_ops::FriendshipOpQueues,
    /// Friendships and pushes in doubt.
    in_doubt: doubt::FriendshipsInDoubt,
    /// The PRESENCE frames that are to be sent.
    presence: presence::PresenceNotifier,
    /// The operator's requests.
    admin: admin::PendingAdminRequests,
    /// Pushes whose deletion failed: they are ignored on pages until they are deleted.
    failed_push_deletions: failed_push_deletions::FailedPushDeletions,
    /// Pushes to online users whose save failed and that have waiters: the save is retried.
    to_save: Vec<DeliveryRef>,
    /// The total size of all dedup windows, in bytes.
    dedup_bytes: usize,
    wheel: TimerWheel<CoreTimer>,
    /// The push hook's watches, if there is a push hook.
    push_hook: Option<Box<push_hook::UsersWatchedForPushHook>>,
    /// Pushes to online users that are saved unless they are acked in time.
    save_delay: DelayedSaveQueue,
    /// The deadlines of requests to be answered.
    answer_deadlines: PendingReplyDeadlines,
    /// After a pause of the process: input that had arrived by this time must be handed in before
    /// any deadline is applied.
    input_awaited_until_ms: u64,
    /// The totals of messages so far.
    totals: contract::MessageTotals,
    /// The number of outstanding pushes.
    outstanding: u64,
    oldest_push: gauges::OldestUnackedPushGauge,
    /// The state of a cluster node; `None`: this server is alone.
    cluster: Option<Box<cluster::ClusterState>>,
    /// A stop has begun, of which each event may have brought the end, or this is a node of a
    /// cluster.
    needs_check_after_event: bool,
    /// A stop has begun.
    stopping: bool,
    has_stopped: bool,
    #[cfg(debug_assertions)]
    checks: u64,
    /// The highest limits so far, for the invariants.
    #[cfg(debug_assertions)]
    ceilings: invariants::HighestSettingsForInvariants,
}

impl ServerCore {
    /// An empty chat. `first_seq` must be greater than the `seq` of any push in the store;
    /// `hash_key` should be random, so that clients cannot choose names that collide.
    #[must_use]
    pub fn new(rules: CoreSettings, first_seq: u64, hash_key: [u64; 2]) -> Self {
        let undecided_max = rules.undecided_max;
        #[cfg(debug_assertions)]
        let ceilings = invariants::HighestSettingsForInvariants::new(&rules);
        Self {
            push_hook: push_hook::UsersWatchedForPushHook::new(&rules),
            rules,
            now: TurnTimestamp::default(),
            next_seq: first_seq,
            seq_step: 1,
            sessions: ConnectionSessions::default(),
            users: Users::new(hash_key),
            deliveries: DeliveryTable::new(hash_key),
            jobs: JobsInFlight::default(),
            in_flight: in_flight::UserJobLoads::default(),
            packed: dedup::OfflineDedupWindows::default(),
            stranger_rates: throttle::Throttle::default(),
            auth_queue: auth_queue::AuthQueue::default(),
            auth_attempts: tries::AuthAttemptLimiter::new(hash_key),
            requests: JobTicketTable::default(),
            stated_names: HashMap::new(),
            logins: login_stage::LoginsInProgress::new(),
            friendship_ops: friendship_ops::FriendshipOpQueues::new(undecided_max),
            in_doubt: doubt::FriendshipsInDoubt::default(),
            presence: presence::PresenceNotifier::default(),
            admin: admin::PendingAdminRequests::default(),
            failed_push_deletions: failed_push_deletions::FailedPushDeletions::default(),
            to_save: Vec::new(),
            dedup_bytes: 0,
            wheel: TimerWheel::new(),
            save_delay: DelayedSaveQueue::default(),
            answer_deadlines: PendingReplyDeadlines::default(),
            input_awaited_until_ms: 0,
            totals: contract::MessageTotals::default(),
            outstanding: 0,
            oldest_push: gauges::OldestUnackedPushGauge::new(),
            cluster: None,
            needs_check_after_event: false,
            stopping: false,
            has_stopped: false,
            #[cfg(debug_assertions)]
            checks: 0,
            #[cfg(debug_assertions)]
            ceilings,
        }
    }

    /// Applies other rules from now on. Everything that exists stays, even beyond a new limit. The
    /// new save delay also applies to pushes that are not saved yet; other waits that have begun
    /// keep their deadlines.
    pub fn set_rules(&mut self, rules: CoreSettings) {
        self.save_delay.set_delay(self.now.mono_ms, self.rules.save_after_ms, rules.save_after_ms);
        self.friendship_ops.set_undecided_max(rules.undecided_max);
        #[cfg(debug_assertions)]
        self.ceilings.raise(&rules);
        self.rules = rules;
    }

    /// The present rules.
    #[must_use]
    pub fn rules(&self) -> &CoreSettings {
        &self.rules
    }

    /// Takes in one event and appends the actions that follow from it. `now` never goes back.
    pub fn handle(&mut self, now: TurnTimestamp, event: CoreInput<'_>, out: &mut Vec<CoreAction>) {
        debug_assert!(now.mono_ms >= self.now.mono_ms, "the mono clock went back");
        self.now = now;
        match event {
            CoreInput::Opened { conn, address_key } => self.on_opened(conn, address_key, out),
            CoreInput::Addressed { conn, address_key } => {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.address_key = address_key;
                }
            }
            CoreInput::Input { conn, input } => self.input(conn, input, out),
            CoreInput::Ping { conn } => self.ping(conn, out),
            CoreInput::Blocked { conn } => {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.is_output_blocked = true;
                }
            }
            CoreInput::Drained { conn } => self.on_output_drained(conn),
            CoreInput::Flushed { conn } => self.on_output_flushed(conn, out),
            CoreInput::Closed { conn } => self.on_closed(conn, out),
            CoreInput::Finished { ticket, outcome } => self.finished(ticket, outcome, out),
            CoreInput::Tick { input_read_until_ms } => self.tick(input_read_until_ms, out),
            CoreInput::ReleaseMemory { bytes, windows } => self.release_memory(bytes, windows),
            CoreInput::Admin { ticket, request } => self.admin(ticket, request, out),
            CoreInput::View(view) => self.view_read(view, out),
            CoreInput::Record { from, record } => self.on_record_from(from, record, out),
            CoreInput::Bus { from, frame } => self.bus_frame(from, *frame, out),
            CoreInput::TurnEnded => self.publish(out),
            CoreInput::BusWorks(works) => self.bus_works(works, out),
            CoreInput::ShutDown => self.shut_down(out),
        }
        if self.logins.is_any_due() {
            self.begin_due_log_ins(out);
        }
        if self.needs_check_after_event {
            self.look_after_event(out);
        }
        #[cfg(debug_assertions)]
        self.check_invariants();
    }

    #[inline(never)]
    fn look_after_event(&mut self, out: &mut Vec<CoreAction>) {
        self.note_taken();
        if self.stopping {
            self.stop_if_done(out);
        }
        self.needs_check_after_event = self.stopping || self.cluster.is_some();
    }

    /// When to hand in the next [`CoreInput::Tick`], by the mono clock; `None` if nothing waits for
    /// a time. After a tick at that time it is later, or `None`, unless the tick was very late and
    /// earlier input was not handed in yet.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let queues = [self.save_delay.first_ms(), self.answer_deadlines.first_ms()];
        queues.into_iter().chain([self.wheel.next_wake_ms()]).flatten().min()
    }

    /// May deadlines up to this time be handled? If they are late, the process was paused, and
    /// input that arrived meanwhile (acks above all) must be read first, because it may remove
    /// their reason.
    fn may_apply_deadlines(&mut self, input_read_until_ms: u64) -> bool {
        let now_ms = self.now.mono_ms;
        let is_late = |due_ms: u64| due_ms > input_read_until_ms && now_ms.saturating_sub(due_ms) >= LATE_MS;
        if self.input_awaited_until_ms <= input_read_until_ms && self.next_deadline().is_some_and(is_late) {
            self.input_awaited_until_ms = now_ms;
        }
        self.input_awaited_until_ms <= input_read_until_ms
    }

    #[inline(never)]
    fn tick(&mut self, input_read_until_ms: u64, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let is_input_read = self.may_apply_deadlines(input_read_until_ms);
        while let Some(delivery) = self.save_delay.pop_due(now_ms) {
            self.save_if_unsaved(delivery, out);
        }
        while is_input_read && let Some(due) = self.answer_deadlines.pop_due(now_ms) {
            match due {
                PendingReplyDeadline::Request(request) => self.request_timed_out(request, out),
                PendingReplyDeadline::Push(delivery) => self.push_timed_out(delivery, out),
            }
        }
        self.answer_deadlines.shrink();
        let mut idle_closes = 0;
        while let Some((_, timer)) = self.wheel.pop(now_ms) {
            match timer {
                CoreTimer::Idle { look_ms } => {
                    self.close_idle_connections(look_ms, input_read_until_ms, &mut idle_closes, out)
                }
                CoreTimer::Resend(user) if !is_input_read => self.resend_later(user),
                CoreTimer::Resend(user) => self.resend(user, out),
                CoreTimer::Page(user) => self.page_timer_fired(user, out),
                CoreTimer::Dedup(user) => self.dedup_timer_fired(user),
                CoreTimer::Deletes => self.retry_deletes(out),
                CoreTimer::Saves => self.retry_saves(out),
                CoreTimer::Undecided => self.undecided_timer_fired(out),
                CoreTimer::PushHook(user) => self.push_hook_timer_fired(user, is_input_read, out),
                CoreTimer::Counting => self.counting_rested(out),
                CoreTimer::Stop => self.stop_now(out),
                CoreTimer::AdminLimit(ticket) => self.admin_timed_out(ticket, out),
                CoreTimer::AdminScan => self.scan_on(out),
                CoreTimer::AdminNotices => self.notices_timer_fired(out),
                CoreTimer::AdminDeletions => self.deletions_timer_fired(out),
                CoreTimer::AdminDrain => self.drain_on(out),
                CoreTimer::Elsewhere => self.elsewhere_timer_fired(out),
                CoreTimer::Presence => self.presence_timer_fired(out),
                CoreTimer::Cluster => self.cluster_timer_fired(out),
                CoreTimer::Sweep => self.sweep(out),
                CoreTimer::Bus => self.bus_timer_fired(out),
            }
        }
    }

    /// Appends to the queue of pending requests, and removes answered ones.
    fn queue_answer_deadline(&mut self, due_ms: u64, due: PendingReplyDeadline) {
        let (requests, deliveries) = (&self.requests, &self.deliveries);
        self.answer_deadlines.push(due_ms, due, |due| match due {
            PendingReplyDeadline::Request(request) => requests.contains(request),
            PendingReplyDeadline::Push(delivery) => deliveries.get(delivery).is_some_and(deliveries::Delivery::waits),
        });
    }

    /// Submits a job; gives its purpose back if too many jobs are in flight.
    fn submit(&mut self, job: Job, purpose: job::JobPurpose, out: &mut Vec<CoreAction>) -> Result<(), job::JobPurpose> {
        let bytes = job.push_bytes();
        if !self.jobs.has_room(bytes, &self.rules) {
            return Err(purpose);
        }
        let payer = self.charged_load(&job, &purpose);
        let ticket = self.jobs.insert(JobInFlight { purpose, bytes, charged_load: payer });
        out.push(CoreAction::Submit { ticket, job });
        if let Some(payer) = payer {
            self.charge(payer, out);
        }
        Ok(())
    }

    #[inline(never)]
    fn finished(&mut self, ticket: JobTicket, outcome: JobOutcome, out: &mut Vec<CoreAction>) {
        let Some(JobInFlight { purpose, charged_load, .. }) = self.jobs.remove(ticket) else {
            debug_assert!(false, "a job is finished exactly once");
            return;
        };
        self.note_outcome(&purpose, &outcome, out);
        self.job_done(purpose, outcome, out);
        if let Some(payer) = charged_load {
            self.reduce_load(payer, out);
        }
    }
}
