//! The push hook: decides when the operator's service is told that pushes wait for a user, so that
//! it can wake their phone.
//!
//! A user is *watched* from the first push to them on. When the watch ends and that push still
//! waits, the user is *announced* ([`CoreAction::PushHook`]), and not again until they log in or a
//! pause ends. There is one watch and one timer for each user, not for each push: a push to a user
//! who is watched costs one comparison. Only at that moment the store is asked how many pushes wait
//! for a user who is away.

use super::contract::{CoreAction, CoreSettings, Job, JobOutcome, PushHookNotice, PushPage};
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::mailbox::MailboxBackfillState;
use super::users::UserRoute;
use super::wheel::TimerId;
use super::{CoreTimer, ServerCore};
use slab::Slab;
use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// The largest number of mailboxes that are counted at a time: thousands of users may become due
/// together, and the store has other work to do.
const COUNTING_MAX: usize = 16;
/// The pause of counting after the store has failed.
const REST_MS: u64 = 1_000;

/// The entry in `by_slot` of a user who is not watched.
const UNWATCHED: u32 = 0;
/// This bit says that the watch is to be told of the next push.
const LISTENS: u32 = 1 << 31;

/// The stage of the watch over a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PushHookUserWatchStage {
    /// Its push waits until the timer fires.
    Waiting(TimerId),
    /// The push has waited long enough, and the mailbox must be counted. The number distinguishes
    /// this entry of `due` from older ones.
    Due(u64),
    /// The mailbox is being counted.
    Counting,
    /// The user was announced, and is not announced again before the timer fires.
    Announced(TimerId),
}

/// The watch over one user. The user counts as a reference.
#[derive(Clone, Copy, Debug)]
struct UserWatchedForPushHook {
    user: UserSlot,
    /// The `seq` of the push whose ack is awaited.
    seq: u64,
    stage: PushHookUserWatchStage,
    /// The `seq` of the first push since the mailbox was last counted, and when it was taken.
    news: Option<(u64, u64)>,
}

/// All watches.
#[derive(Debug)]
pub(super) struct UsersWatchedForPushHook {
    watches: Slab<UserWatchedForPushHook>,
    users_max: usize,
    /// For each slot of the table of users the slot of their watch, counted from 1, with
    /// [`LISTENS`]; or [`UNWATCHED`].
    by_slot: Vec<u32>,
    /// The users whose mailboxes must be counted, in order. An entry is void if its number is not
    /// that of the user's stage.
    due: VecDeque<(UserSlot, u64)>,
    serial: u64,
    /// The number of mailboxes that are being counted.
    counting: usize,
    /// The store has failed: counting continues when a timer fires.
    rests: bool,
    /// The number of pushes to users who could not be watched, because too many others were.
    missed: u64,
}

impl UsersWatchedForPushHook {
    /// `None` if there is no hook.
    pub(super) fn new(rules: &CoreSettings) -> Option<Box<Self>> {
        rules.push_hook.then(|| {
            Box::new(Self {
                watches: Slab::new(),
                users_max: rules.push_hook_users_max,
                by_slot: Vec::new(),
                due: VecDeque::new(),
                serial: 0,
                counting: 0,
                rests: false,
                missed: 0,
            })
        })
    }

    /// Does the watch need not be told of one more push to this user? That is the usual case.
    fn knows(&self, user: UserSlot) -> bool {
        self.by_slot.get(user.slot()).is_some_and(|&entry| (UNWATCHED + 1..LISTENS).contains(&entry))
    }

    fn place(&self, user: UserSlot) -> Option<usize> {
        let entry = self.by_slot.get(user.slot()).map_or(UNWATCHED, |entry| entry & !LISTENS);
        (entry != UNWATCHED).then(|| entry as usize - 1)
    }

    fn get(&self, user: UserSlot) -> Option<&UserWatchedForPushHook> {
        self.watches.get(self.place(user)?)
    }

    fn get_mut(&mut self, user: UserSlot) -> Option<&mut UserWatchedForPushHook> {
        let place = self.place(user)?;
        self.watches.get_mut(place)
    }

    fn is_full(&self) -> bool {
        self.watches.len() >= self.users_max
    }

    fn insert(&mut self, watch: UserWatchedForPushHook) {
        let slot = watch.user.slot();
        debug_assert!(self.place(watch.user).is_none(), "a user is watched once");
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, UNWATCHED);
        }
        // Fewer than 2^31 users are watched: the option has that bound.
        self.by_slot[slot] = self.watches.insert(watch) as u32 + 1;
    }

    fn remove(&mut self, user: UserSlot) -> Option<UserWatchedForPushHook> {
        let place = self.place(user)?;
        self.by_slot[user.slot()] = UNWATCHED;
        self.watches.try_remove(place)
    }

    /// Moves a watch to another stage. While the push that it knows of waits, it need not be told
    /// of further ones.
    fn enter(&mut self, user: UserSlot, stage: PushHookUserWatchStage) {
        let Some(watch) = self.get_mut(user) else {
            debug_assert!(false, "only a watched user has a stage");
            return;
        };
        watch.stage = stage;
        let listens = match stage {
            PushHookUserWatchStage::Waiting(_) | PushHookUserWatchStage::Due(_) => {
                watch.news = None;
                false
            }
            PushHookUserWatchStage::Counting | PushHookUserWatchStage::Announced(_) => watch.news.is_none(),
        };
        if let Some(entry) = self.by_slot.get_mut(user.slot()) {
            *entry = *entry & !LISTENS | if listens { LISTENS } else { 0 };
        }
    }

    /// Queues a user's mailbox to be counted.
    fn is_due(&mut self, user: UserSlot) {
        self.serial += 1;
        self.enter(user, PushHookUserWatchStage::Due(self.serial));
        if self.due.len() >= 2 * self.watches.len() + COUNTING_MAX {
            let due = std::mem::take(&mut self.due);
            self.due = due.into_iter().filter(|&entry| self.is_valid(entry)).collect();
        }
        self.due.push_back((user, self.serial));
    }

    fn is_valid(&self, (user, serial): (UserSlot, u64)) -> bool {
        self.get(user).is_some_and(|watch| watch.stage == PushHookUserWatchStage::Due(serial))
    }

    /// The next user whose mailbox is to be counted, with the `seq` of the push that waits.
    fn next_to_count(&mut self) -> Option<(UserSlot, u64)> {
        while !self.rests && self.counting < COUNTING_MAX {
            let next = self.due.pop_front()?;
            if self.is_valid(next) {
                return self.get(next.0).map(|watch| (watch.user, watch.seq));
            }
        }
        None
    }

    /// The memory that it uses in bytes, without the users.
    pub(super) fn memory_bytes(&self) -> usize {
        const TIMER_BYTES: usize = 48;
        self.watches.capacity() * (size_of::<UserWatchedForPushHook>() + TIMER_BYTES)
            + self.by_slot.capacity() * size_of::<u32>()
            + self.due.capacity() * size_of::<(UserSlot, u64)>()
    }

    /// The references to users that it has.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> impl Iterator<Item = UserSlot> + '_ {
        self.watches.iter().map(|(_, watch)| watch.user)
    }

    /// Checks the invariants; `counting` is the number of jobs that count.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, counting: usize) {
        assert_eq!(self.counting, counting);
        assert!(counting <= COUNTING_MAX && self.watches.len() <= self.users_max);
        assert_eq!(self.by_slot.iter().filter(|entry| **entry != UNWATCHED).count(), self.watches.len());
        for (place, watch) in &self.watches {
            assert_eq!(self.place(watch.user), Some(place));
            let listens = !self.knows(watch.user);
            match watch.stage {
                PushHookUserWatchStage::Waiting(_) => assert!(!listens && watch.news.is_none()),
                PushHookUserWatchStage::Due(serial) => {
                    assert!(!listens && watch.news.is_none() && self.due.contains(&(watch.user, serial)));
                }
                PushHookUserWatchStage::Counting | PushHookUserWatchStage::Announced(_) => {
                    assert_eq!(listens, watch.news.is_none())
                }
            }
        }
        let idle = self.rests || self.counting == COUNTING_MAX || !self.due.iter().any(|&entry| self.is_valid(entry));
        assert!(idle, "the mailbox of a due user is counted as soon as possible");
    }
}

impl ServerCore {
    /// The number of pushes to users who could not be watched, because `push_hook_users_max` others
    /// were.
    #[must_use]
    pub fn push_hook_missed(&self) -> u64 {
        self.push_hook.as_ref().map_or(0, |hook| hook.missed)
    }

    /// A push was taken for this user.
    #[inline]
    pub(super) fn watch_for(&mut self, user: UserSlot, seq: u64) {
        if let Some(hook) = &self.push_hook
            && !hook.knows(user)
        {
            self.watch_for_new(user, seq);
        }
    }

    #[cold]
    #[inline(never)]
    fn watch_for_new(&mut self, user: UserSlot, seq: u64) {
        let now_ms = self.now.mono_ms;
        let Some(hook) = &mut self.push_hook else { return };
        if let Some(watch) = hook.get_mut(user) {
            watch.news = Some((seq, now_ms));
            let stage = watch.stage;
            hook.enter(user, stage);
        } else {
            self.watch(user, seq);
        }
    }

    /// Watches a user who is not watched yet.
    fn watch(&mut self, user: UserSlot, seq: u64) {
        let due_ms = self.now.mono_ms + self.rules.push_hook_after_ms;
        let Some(hook) = &mut self.push_hook else { return };
        if hook.is_full() {
            hook.missed += 1;
            return;
        }
        let stage = PushHookUserWatchStage::Waiting(self.wheel.insert(due_ms, CoreTimer::PushHook(user)));
        hook.insert(UserWatchedForPushHook { user, seq, stage, news: None });
        self.users.retain(user);
    }

    fn unwatch(&mut self, user: UserSlot) {
        let Some(watch) = self.push_hook.as_mut().and_then(|hook| hook.remove(user)) else { return };
        match watch.stage {
            PushHookUserWatchStage::Waiting(timer) | PushHookUserWatchStage::Announced(timer) => {
                _ = self.wheel.cancel(timer)
            }
            PushHookUserWatchStage::Due(_) | PushHookUserWatchStage::Counting => {}
        }
        self.users.release(user);
    }

    /// The watch continues for another push, until `due_ms`.
    fn watch_on(&mut self, user: UserSlot, seq: u64, due_ms: u64) {
        let Some(hook) = &mut self.push_hook else { return };
        if let Some(watch) = hook.get_mut(user) {
            watch.seq = seq;
            hook.enter(user, PushHookUserWatchStage::Waiting(self.wheel.insert(due_ms, CoreTimer::PushHook(user))));
        }
    }

    /// Ends the watch, or continues it if a push has come meanwhile.
    fn watch_on_if_news(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let news = self.push_hook.as_ref().and_then(|hook| hook.get(user)?.news);
        let Some((seq, came_ms)) = news else { return self.unwatch(user) };
        let due_ms = came_ms + self.rules.push_hook_after_ms;
        if due_ms > self.now.mono_ms {
            self.watch_on(user, seq, due_ms);
        } else if let Some(watch) = self.push_hook.as_mut().and_then(|hook| hook.get_mut(user)) {
            (watch.seq, watch.news) = (seq, None);
            self.look_whether_it_waits(user, out);
        }
    }

    /// The user has logged in: a new watch begins for what waits now.
    pub(super) fn watch_anew(&mut self, user: UserSlot) {
        if self.push_hook.is_none() {
            return;
        }
        self.unwatch(user);
        if let Some((seq, _)) = self.oldest_to(user) {
            self.watch(user, seq);
        }
    }

    /// The user's connection is gone. If they have acked everything, a new watch begins with the
    /// next push.
    pub(super) fn watch_who_leaves(&mut self, user: UserSlot) {
        let Some(hook) = &self.push_hook else { return };
        let waits = hook.get(user).is_some_and(|watch| matches!(watch.stage, PushHookUserWatchStage::Waiting(_)));
        if waits && self.oldest_to(user).is_none() {
            self.unwatch(user);
        }
    }

    /// The push to a user who is online that waits for an ack, and when it was last sent: the one
    /// that was last sent the longest ago, or else the first that was not sent.
    fn oldest_to(&self, user: UserSlot) -> Option<(u64, Option<u64>)> {
        let list = self.users.get(user).list.as_ref().filter(|list| !list.mailbox.is_done())?;
        let sent = list.cursor.oldest_sending(&self.deliveries);
        // 0 if nothing is in memory: no push has that number.
        let first = || list.mailbox.all().next().map_or(0, |delivery| delivery.seq);
        Some(sent.map_or_else(|| (first(), None), |(delivery, sent_ms)| (delivery.seq, Some(sent_ms))))
    }

    pub(super) fn push_hook_timer_fired(&mut self, user: UserSlot, is_input_read: bool, out: &mut Vec<CoreAction>) {
        let later_ms = self.now.mono_ms + 1;
        let Some(watch) = self.push_hook.as_ref().and_then(|hook| hook.get(user)).copied() else {
            debug_assert!(false, "the timer is cancelled with the watch");
            return;
        };
        match watch.stage {
            _ if self.stopping => self.unwatch(user),
            // The ack may be among the input that is still to be read.
            PushHookUserWatchStage::Waiting(_) if !is_input_read => self.watch_on(user, watch.seq, later_ms),
            PushHookUserWatchStage::Announced(_) if !is_input_read => self.pause_until(user, later_ms),
            PushHookUserWatchStage::Waiting(_) => self.look_whether_it_waits(user, out),
            PushHookUserWatchStage::Announced(_) => self.watch_on_if_news(user, out),
            PushHookUserWatchStage::Due(_) | PushHookUserWatchStage::Counting => {
                debug_assert!(false, "it has no timer")
            }
        }
    }

    /// The time of a watch is over: does its push still wait?
    fn look_whether_it_waits(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        match self.users.route(user) {
            UserRoute::Here(_) => self.look_at_list_of(user, out),
            UserRoute::Away | UserRoute::Elsewhere => {
                if let Some(hook) = &mut self.push_hook {
                    hook.is_due(user);
                }
                self.count_mailboxes(out);
            }
        }
    }

    fn look_at_list_of(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let Some(seq) = self.push_hook.as_ref().and_then(|hook| hook.get(user)).map(|watch| watch.seq) else { return };
        let Some((oldest_seq, sent_ms)) = self.oldest_to(user) else { return self.unwatch(user) };
        if let Some(notice) = self.notice_of(user, seq) {
            return self.announce(user, notice, out);
        }
        // It was acked, and others wait: watch the oldest of them, from its last sending on.
        let (now_ms, after_ms) = (self.now.mono_ms, self.rules.push_hook_after_ms);
        let due_ms = sent_ms.map_or(now_ms, |sent_ms| sent_ms.min(now_ms)) + after_ms;
        self.watch_on(user, oldest_seq, due_ms.max(now_ms + 1));
    }

    /// The announcement for this push, if it is on the list of a user who is online.
    fn notice_of(&self, user: UserSlot, seq: u64) -> Option<PushHookNotice> {
        let entry = self.users.get(user);
        let mailbox = &entry.list.as_ref()?.mailbox;
        let delivery = mailbox.all().find(|delivery| delivery.seq == seq)?;
        let push = self.deliveries.get(delivery)?.push_to(&entry.name);
        Some(PushHookNotice {
            push,
            waiting_pushes: mailbox.all().count(),
            has_more: mailbox.backfill != MailboxBackfillState::Live,
        })
    }

    fn announce(&mut self, user: UserSlot, notice: PushHookNotice, out: &mut Vec<CoreAction>) {
        out.push(CoreAction::PushHook(Box::new(notice)));
        self.pause_until(user, self.now.mono_ms + self.rules.push_hook_pause_ms);
    }

    fn pause_until(&mut self, user: UserSlot, until_ms: u64) {
        if let Some(hook) = &mut self.push_hook {
            hook.enter(user, PushHookUserWatchStage::Announced(self.wheel.insert(until_ms, CoreTimer::PushHook(user))));
        }
    }

    /// Submits the jobs that count the mailboxes that are due.
    pub(super) fn count_mailboxes(&mut self, out: &mut Vec<CoreAction>) {
        if let Some(hook) = &mut self.push_hook
            && self.stopping
        {
            // During a stop nobody is announced, and the stop would wait for every job.
            hook.rests = true;
        }
        while let Some((user, seq)) = self.push_hook.as_mut().and_then(|hook| hook.next_to_count()) {
            if let Some(hook) = &mut self.push_hook {
                hook.counting += 1;
                hook.enter(user, PushHookUserWatchStage::Counting);
            }
            self.users.retain(user);
            let job = Job::LoadPage {
                user: self.users.get(user).name.clone(),
                after_seq: 0,
                pushes_max: self.rules.page_max,
                bytes_max: self.rules.page_bytes_max,
            };
            if self.submit(job, JobPurpose::Count { user, seq }, out).is_err() {
                self.not_counted((user, seq), &JobOutcome::Failed, out);
            }
        }
    }

    /// The timer of a rest has fired.
    pub(super) fn counting_rested(&mut self, out: &mut Vec<CoreAction>) {
        if let Some(hook) = &mut self.push_hook {
            hook.rests = false;
        }
        self.count_mailboxes(out);
    }

    /// A job that counts a mailbox has ended. `true` if the watch still waits for it.
    fn counting_ended(&mut self, user: UserSlot, seq: u64) -> bool {
        let Some(hook) = &mut self.push_hook else { return false };
        debug_assert!(hook.counting > 0, "each is counted once");
        hook.counting = hook.counting.saturating_sub(1);
        hook.get(user).is_some_and(|watch| watch.stage == PushHookUserWatchStage::Counting && watch.seq == seq)
    }

    /// The first page of waiting pushes was read for a user who was away at that time.
    pub(super) fn counted(&mut self, (user, seq): (UserSlot, u64), page: PushPage, out: &mut Vec<CoreAction>) {
        if self.counting_ended(user, seq) {
            self.look_at_page_of(user, seq, page, out);
        }
        self.users.release(user);
        self.count_mailboxes(out);
    }

    fn look_at_page_of(&mut self, user: UserSlot, seq: u64, page: PushPage, out: &mut Vec<CoreAction>) {
        let PushPage { mut pushes, has_more } = page;
        pushes.retain(|push| !self.failed_push_deletions.contains(&push.seq));
        let waiting = pushes.len();
        match pushes.iter().position(|push| push.seq >= seq) {
            Some(at) if pushes[at].seq == seq => {
                self.announce(
                    user,
                    PushHookNotice { push: pushes.swap_remove(at), waiting_pushes: waiting, has_more },
                    out,
                );
            }
            // It was acked before the user went offline, or withdrawn. A later push waits; its age
            // is computed from the wall clock.
            Some(at) => {
                let (seq, after_ms) = (pushes[at].seq, self.rules.push_hook_after_ms);
                let age_ms = self.now.wall_ms.saturating_sub(pushes[at].time_ms).min(after_ms);
                self.watch_on(user, seq, self.now.mono_ms + (after_ms - age_ms).max(1));
            }
            // It comes after the first page: the oldest push is announced instead.
            None if has_more && waiting > 0 => {
                self.announce(
                    user,
                    PushHookNotice { push: pushes.swap_remove(0), waiting_pushes: waiting, has_more },
                    out,
                );
            }
            None => self.watch_on_if_news(user, out),
        }
    }

    /// A mailbox could not be counted: it is tried again after a pause, unless a retry would not
    /// help.
    pub(super) fn not_counted(
        &mut self,
        (user, seq): (UserSlot, u64),
        outcome: &JobOutcome,
        out: &mut Vec<CoreAction>,
    ) {
        let is_awaited = self.counting_ended(user, seq);
        match outcome {
            JobOutcome::Refused | JobOutcome::TooLarge if is_awaited => self.unwatch(user),
            JobOutcome::Refused | JobOutcome::TooLarge => {}
            _ => {
                if let Some(hook) = &mut self.push_hook {
                    if is_awaited {
                        hook.is_due(user);
                    }
                    if !std::mem::replace(&mut hook.rests, true) {
                        self.wheel.insert(self.now.mono_ms + REST_MS, CoreTimer::Counting);
                    }
                }
            }
        }
        self.users.release(user);
        self.count_mailboxes(out);
    }
}
