//! The acts of users on their own accounts, and the news about who is online.

use super::*;
use hongyan::chat::contract::{OwnAccountStoreJob, OwnAccountStoreJobOutcome};
use hongyan::protocol::account::RosterReplyWithPresence;

/// The knowledge about users' own accounts.
#[derive(Debug, Default)]
pub(super) struct Owned {
    /// The requests by their ids.
    asked: BTreeMap<String, Say>,
    /// Passwords and nick names that were stored at some time.
    stored: BTreeSet<(String, String)>,
    /// The pairs of which one blocks the other, in the store, and as the core was told.
    blocks: BTreeSet<(String, String)>,
    told_blocks: BTreeSet<(String, String)>,
    /// Pushes of requests that were answered. They stay on their lists until they are acked,
    /// whatever becomes of the two.
    pub(super) answered: BTreeSet<u64>,
    /// The user whose change of the password the core was told last.
    pub(super) changed: Option<String>,
}

impl Owned {
    /// It was refused.
    pub(super) fn remove(&mut self, id: &str) {
        self.asked.remove(id);
    }
}

impl Oracle {
    pub(super) fn asked(&mut self, say: &Say) {
        match say {
            Say::Roster { mid, .. }
            | Say::Profile { mid, .. }
            | Say::Password { mid, .. }
            | Say::Block { mid, .. }
            | Say::DeleteAccount { mid, .. } => _ = self.owned.asked.insert(mid.clone(), say.clone()),
            _ => {}
        }
    }

    /// The store has done it.
    pub(super) fn owned_done(&mut self, job: &Job, outcome: &JobOutcome) {
        let (Job::Account { user, job }, JobOutcome::Account(outcome)) = (job, outcome) else {
            return;
        };
        let me = user.as_str().to_owned();
        match (&**job, &**outcome) {
            (OwnAccountStoreJob::ChangePassword { new_hash, .. }, OwnAccountStoreJobOutcome::Changed) => {
                let password = new_hash.expose().trim_start_matches("hash of ").to_owned();
                self.owned.stored.insert((me, password));
            }
            (OwnAccountStoreJob::ChangeProfile(change), OwnAccountStoreJobOutcome::Changed) => {
                let nick_name = change.nick_name.as_deref().unwrap_or_default().to_owned();
                self.owned.stored.insert((me, nick_name));
            }
            (OwnAccountStoreJob::Block { other, .. }, OwnAccountStoreJobOutcome::Blocked { .. }) => {
                let pair = (me, other.as_str().to_owned());
                self.friends.remove(&pair_of(&pair.0, &pair.1));
                let crossed = (pair.1.clone(), pair.0.clone());
                for pair in [&pair, &crossed] {
                    self.withdrawn.extend(self.pending.remove(pair));
                }
                self.owned.blocks.insert(pair);
                self.count("blocks");
            }
            (OwnAccountStoreJob::Unblock { other }, OwnAccountStoreJobOutcome::Blocked { .. }) => {
                let pair = (me, other.as_str().to_owned());
                self.owned.blocks.remove(&pair);
                self.owned.told_blocks.remove(&pair);
            }
            _ => {}
        }
    }

    /// The core was told.
    pub(super) fn owned_told(&mut self, job: &Job, outcome: &JobOutcome) {
        let (Job::Account { user, job }, JobOutcome::Account(outcome)) = (job, outcome) else {
            return;
        };
        match (&**job, &**outcome) {
            (OwnAccountStoreJob::ChangePassword { .. }, OwnAccountStoreJobOutcome::Changed) => {
                self.owned.changed = Some(user.as_str().to_owned());
            }
            (OwnAccountStoreJob::Block { other, .. }, OwnAccountStoreJobOutcome::Blocked { .. }) => {
                let pair = (user.as_str().to_owned(), other.as_str().to_owned());
                self.withdrew(&pair.0, &pair.1);
                self.withdrew(&pair.1, &pair.0);
                if self.owned.blocks.contains(&pair) {
                    self.owned.told_blocks.insert(pair);
                }
            }
            // Nobody had learnt of the block, so the request may have been sent.
            (
                OwnAccountStoreJob::Unblock { other },
                OwnAccountStoreJobOutcome::Blocked { hidden_push: Some(_), .. },
            ) => {
                self.withdrew(other.as_str(), user.as_str());
            }
            _ => {}
        }
    }

    pub(super) fn owned_anew(&mut self) {
        self.owned.told_blocks = self.owned.blocks.clone();
    }

    /// Requests of a blocked user never arrive.
    pub(super) fn check_blocked(&self, push: &Push) {
        let pair = (push.receiver().to_owned(), push.sender().to_owned());
        let is_blocked = push.kind == PushKind::FriendRequest
            && self.owned.told_blocks.contains(&pair)
            && !self.owned.answered.contains(&push.seq);
        assert!(!is_blocked, "asked by a blocked user: {push:?}");
    }

    fn is_online(&self, user: &str) -> bool {
        self.conns.values().any(|view| view.user.as_deref() == Some(user))
    }

    /// Nobody knows whether they are friends, but the store.
    fn may_be_friends(&self, one: &str, other: &str) -> bool {
        let pair = pair_of(one, other);
        self.friends.contains(&pair) || self.unsettled.contains(&pair)
    }

    pub(super) fn owner_answered(&mut self, conn: ConnId, id: &str, reply: &Reply) {
        let Some(say) = self.owned.asked.remove(id) else {
            return;
        };
        let me = self.view(conn).user.clone().unwrap_or_default();
        match (reply, say) {
            (Reply::Roster(shown), Say::Roster { watch, .. }) => self.shown(conn, &me, shown, watch),
            (Reply::ProfileChanged, Say::Profile { change, .. }) => {
                let nick_name = change.nick_name.unwrap_or_default().into_string();
                assert!(self.owned.stored.contains(&(me, nick_name)), "changed before the commit");
                self.count("profiles changed");
            }
            (Reply::PasswordChanged, Say::Password { new, .. }) => {
                assert!(self.owned.stored.contains(&(me, new)), "changed before the commit");
                self.count("passwords changed");
            }
            (Reply::Blocked(names), Say::Block { other, .. }) => {
                let has = |other: &str| names.iter().any(|name| name.as_str() == other);
                assert!(other.is_none_or(|(other, blocks)| has(&other) == blocks), "blocked: {names:?}");
            }
            (Reply::AccountDeleted, Say::DeleteAccount { .. }) => {
                assert!(self.is_deleted(&me), "deleted before the commit");
                self.count("accounts deleted by their users");
            }
            (reply, say) => panic!("{reply:?} answers {say:?}"),
        }
    }

    /// A PRESENCE frame is true when it is sent, and friends are shown as friends.
    fn shown(&mut self, conn: ConnId, me: &str, shown: &RosterReplyWithPresence, watch: bool) {
        self.count("rosters");
        for (friend, online) in shown.roster.friends.iter().zip(&shown.online) {
            let friend = friend.user_name.as_str();
            assert!(!online || self.is_online(friend), "{friend} is shown as online");
            let is_friend = self.friends.contains(&pair_of(me, friend));
            assert!(
                *online || !is_friend || !self.is_online(friend) || self.in_doubt(me, friend),
                "{friend} is online"
            );
            self.view(conn).known.insert(friend.to_owned(), *online);
        }
        if watch {
            self.view(conn).has_roster = true;
        }
    }

    /// The core may not know yet that they are friends.
    fn in_doubt(&self, one: &str, other: &str) -> bool {
        self.unsettled.contains(&pair_of(one, other)) || self.doubted.contains(&pair_of(one, other))
    }

    /// PRESENCE reaches only friends who watch and can be written to, and is true.
    pub(super) fn told_presence(&mut self, conn: ConnId, user: &str, online: bool) {
        self.count("presence");
        let view = self.view(conn);
        let me = view.user.clone().expect("somebody is logged in");
        assert!(view.watches && !view.blocked, "told without being asked, or into waiting output: {view:?}");
        view.known.insert(user.to_owned(), online);
        assert!(self.may_be_friends(&me, user), "{me} is told of {user}, who is no friend");
        assert_eq!(online, self.is_online(user), "{me} is told of {user}");
    }

    /// In the end everybody who watches knows the true state of each friend, and nothing is left of
    /// those who deleted their accounts.
    pub(super) fn check_owned(&self, model: &Model) {
        for view in self.conns.values().filter(|view| view.watches && view.has_roster) {
            let me = view.user.as_deref().expect("a watching client is logged in");
            let friends = self.friends.iter().filter_map(|(one, other)| match me {
                me if me == one => Some(other),
                me if me == other => Some(one),
                _ => None,
            });
            for friend in friends {
                let known = view.known.get(friend).copied();
                assert_eq!(known, Some(self.is_online(friend)), "{me} knows the state of {friend}: {view:?}");
            }
        }
        for user in self.accounts.keys().filter(|user| self.is_deleted(user)) {
            assert!(!model.is_anything_left(user), "something is left of {user}");
        }
    }
}
