//! What must hold after every event, whatever happened. Debug builds only.

use super::Chat;
use super::contract::ConnId;
use super::ids::{LoginId, UserId};
use super::in_flight::units;
use super::item::Save;
use super::job::JobPurpose;
use super::login_state::Login;
use super::users::Route;
use crate::protocol::request::Verb;
use std::collections::{HashMap, HashSet};

/// Above this many users and sessions only every so many-th event is checked, or tests with many
/// would never end.
const SMALL: usize = 64;
const EVERY: u64 = 257;

impl Chat {
    pub(super) fn check_invariants(&mut self) {
        self.checks = self.checks.wrapping_add(1);
        let size = self.users.len() + self.sessions.len() + self.items.len();
        if size > SMALL && !self.checks.is_multiple_of(EVERY) {
            return;
        }
        self.check_bounds();
        self.check_online();
        self.check_references();
    }

    fn check_bounds(&self) {
        assert!(self.jobs.len() <= self.rules.jobs_max);
        assert_eq!(self.jobs_bytes, self.jobs.values().map(|job| job.bytes).sum::<usize>());
        self.check_in_flight();
        self.check_packed();
        self.check_logins();
        self.check_claims();
        self.check_queued();
        self.check_owed();
        assert!(self.save_delay.iter().is_sorted_by_key(|entry| entry.0));
        assert!(self.due.iter().is_sorted_by_key(|entry| entry.0));
        let friends: usize = self.users.iter().map(|(_, user, _)| user.friends.len()).sum();
        assert_eq!(self.users.friends_len(), friends);
        let dedup = self.users.iter().filter_map(|(_, user, _)| user.dedup.as_ref().map(|dedup| dedup.held_bytes()));
        assert_eq!(self.dedup_bytes, dedup.sum::<usize>());
        let weights: usize = self.items.iter().map(super::item::Item::weight_bytes).sum();
        assert_eq!(self.items.held_bytes(), weights + self.items.len() * super::item::ITEM_BYTES);
        for (_, user, _) in self.users.iter() {
            if let Some(dedup) = &user.dedup {
                assert!(dedup.len() <= self.rules.dedup_messages_max as usize);
            }
            if let Some(list) = &user.list {
                list.check(&self.items);
                let (count, _) = list.outstanding();
                assert!(count <= self.rules.outstanding_max as usize);
                // A page is asked for when half of the list is free, and what was taken meanwhile
                // comes behind it. Pushes of friend requests whose commit took its time come in
                // late: one at a time about each pair of people.
                let (list_max, page_max) = (self.rules.list_max as usize, self.rules.page_max as usize);
                let late_max = 2 * self.users.len();
                assert!(list.tail_len() <= list_max);
                assert!(list.len() <= list_max + list_max / 2 + page_max + late_max, "{} on a list", list.len());
            }
        }
    }

    /// Each log-in is in one place, and that is where its state belongs.
    fn check_logins(&self) {
        self.auth_queue.check(&self.rules);
        let mut elsewhere = 0;
        let mut all_are = |ids: &mut dyn Iterator<Item = LoginId>, belongs: fn(&Login) -> bool| {
            for id in ids {
                let login = self.logins.get(id).map(|one| &one.login);
                assert!(login.is_some_and(belongs), "{login:?} in the wrong place");
                elsewhere += 1;
            }
        };
        let working = self.jobs.values().filter_map(|job| match job.purpose {
            JobPurpose::Login(id) => Some(id),
            _ => None,
        });
        all_are(&mut { working }, |login| {
            !matches!(login, Login::Admitted { .. } | Login::Queued { .. } | Login::WaitingToLoad)
        });
        all_are(&mut self.auth_queue.log_ins(), |login| matches!(login, Login::Queued { .. }));
        let loading = self.users.iter().filter_map(|(_, user, _)| user.loading.as_ref());
        all_are(&mut loading.flat_map(|loading| loading.waiting()), |login| matches!(login, Login::WaitingToLoad));
        self.logins.check(elsewhere, self.sessions.len());
        let tried = self.logins.values().filter(|one| one.login.attempt().is_some());
        assert_eq!(tried.count(), self.tries.open(), "each try is settled once");
        let sign_ups = self.jobs.values().filter(|job| matches!(job.purpose, JobPurpose::Hash { .. }));
        let log_ins = self.logins.values().filter(|one| one.login.hashes());
        assert_eq!(sign_ups.count() + log_ins.count(), self.auth_queue.running());
    }

    /// Each log-in and sign-up that waits for its answer says who it is, and nobody else does.
    fn check_claims(&self) {
        let claims = self.requests.values().filter(|pending| matches!(pending.verb, Verb::SignUp | Verb::Login));
        assert_eq!(claims.count(), self.claims.len());
        assert!(self.claims.keys().all(|request| self.requests.contains(*request)));
    }

    /// Each connection is owed what is counted, and only its own user waits on it: nothing that
    /// somebody else asked is answered behind a log-in.
    fn check_owed(&self) {
        let mut unanswered: HashMap<ConnId, u32> = HashMap::new();
        for pending in self.requests.values().filter(|pending| !matches!(pending.verb, Verb::SignUp | Verb::Login)) {
            *unanswered.entry(pending.conn).or_default() += 1;
        }
        for item in self.items.iter() {
            for conn in item.who_waits() {
                *unanswered.entry(conn).or_default() += 1;
                let user = self.sessions.get(conn).map(|session| session.user);
                assert!(user.is_none_or(|user| user == item.sender), "somebody else waits for {:?}", item.push);
            }
        }
        for conn in self.sessions.ids() {
            let session = self.sessions.get(conn).map(|session| session.unanswered);
            assert_eq!(session, Some(unanswered.get(&conn).copied().unwrap_or(0)), "owed to {conn:?}");
        }
    }

    /// What each user has in flight is what was counted.
    fn check_in_flight(&self) {
        let mut counted: HashMap<UserId, u32> = HashMap::new();
        for (user, units) in self.jobs.values().filter_map(|job| job.payer) {
            *counted.entry(user).or_default() += units;
        }
        for item in self.items.iter().filter(|item| item.charged) {
            assert!(!item.durable && item.waits() && item.save != Save::InFlight, "nothing is to come of it: {item:?}");
            assert!(item.sender.is_some(), "only messages count");
            if let Some(sender) = item.sender {
                *counted.entry(sender).or_default() += units(item.push.weight_bytes());
            }
        }
        assert_eq!(self.in_flight.all().collect::<HashMap<_, _>>(), counted);
    }

    /// One live connection per user, and each knows the other.
    fn check_online(&self) {
        self.sessions.check_looks();
        let mut online: HashMap<UserId, ConnId> = HashMap::new();
        for conn in self.sessions.ids() {
            let Some(user) = self.sessions.get(conn).and_then(|session| session.user) else {
                continue;
            };
            assert_eq!(online.insert(user, conn), None, "two live connections of one user");
            assert_eq!(self.users.route(user), Route::Here(conn));
        }
        for (id, user, _) in self.users.iter() {
            assert_eq!(user.route().here(), online.get(&id).copied(), "{:?} is online where they are not", user.name);
            assert!(user.is_here() || user.friends.is_empty());
            assert!(user.friends.is_sorted());
            assert!(user.is_here() || user.loading.is_some() || user.list.is_none(), "a list for nobody");
        }
    }

    /// Every name in the table is referred to as often as it is counted.
    fn check_references(&self) {
        let mut counted: HashMap<UserId, u32> = HashMap::new();
        let mut count = |user: UserId| *counted.entry(user).or_default() += 1;
        for (_, user, _) in self.users.iter() {
            user.friends.iter().copied().for_each(&mut count);
            if let Some(loading) = &user.loading {
                assert_eq!(loading.count, 1, "of each user one log-in reads");
                assert!(loading.waiting().count() <= self.rules.log_ins_waiting_per_user_max as usize);
                loading.changes.iter().for_each(|&(other, _)| count(other));
                let others: HashSet<UserId> = loading.changes.iter().map(|&(other, _)| other).collect();
                assert_eq!(others.len(), loading.changes.len(), "of each friend one");
            }
        }
        for item in self.items.iter() {
            count(item.receiver);
            item.sender.into_iter().for_each(&mut count);
        }
        self.in_flight.all().for_each(|(user, _)| count(user));
        for job in self.jobs.values() {
            match &job.purpose {
                JobPurpose::Page(user) | JobPurpose::Friends(user) | JobPurpose::Lost { receiver: user, .. } => {
                    count(*user)
                }
                JobPurpose::Friendship(friendship) => friendship.refs().into_iter().for_each(&mut count),
                _ => {}
            }
        }
        self.queued_refs().for_each(&mut count);
        let loading = self.logins.values().filter(|one| one.login.loads());
        loading.filter_map(|one| self.users.find(one.user.as_str())).for_each(&mut count);
        for (id, user, refs) in self.users.iter() {
            assert_eq!(refs, counted.get(&id).copied().unwrap_or(0), "references to {:?}", user.name);
        }
    }
}
