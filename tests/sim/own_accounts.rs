//! The model store: the jobs of users about their own accounts.

use super::store::Model;
use hongyan::chat::contract::{
    OwnAccountStoreJob, OwnAccountStoreJobOutcome, ProfileChange, RosterReply, RosterReplyFriend,
    RosterReplyFriendRequest,
};
use hongyan::protocol::field::{Profile, Secret, UserName};

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn change(profile: &mut Profile, change: &ProfileChange) {
    let fields = [
        (&mut profile.email_address, &change.email_address),
        (&mut profile.nick_name, &change.nick_name),
        (&mut profile.profile_picture, &change.profile_picture),
        (&mut profile.location, &change.location),
        (&mut profile.personal_description, &change.personal_description),
        (&mut profile.rsa_public_key, &change.rsa_public_key),
    ];
    for (field, new) in fields {
        if let Some(new) = new {
            field.clone_from(new);
        }
    }
}

impl Model {
    pub(super) fn account(&mut self, user: &UserName, job: &OwnAccountStoreJob) -> OwnAccountStoreJobOutcome {
        let me = user.as_str();
        if !self.has_account(me) {
            return OwnAccountStoreJobOutcome::NoSuchUser;
        }
        match job {
            OwnAccountStoreJob::Roster { after, rows_max, bytes_max } => {
                OwnAccountStoreJobOutcome::Roster(self.roster(me, after.as_ref(), *rows_max as usize, *bytes_max))
            }
            OwnAccountStoreJob::ChangeProfile(new) => {
                if let Some((_, profile)) = self.accounts.get_mut(me) {
                    change(profile, new);
                }
                OwnAccountStoreJobOutcome::Changed
            }
            OwnAccountStoreJob::ChangePassword { old_hash, new_hash } => {
                self.change_password(me, old_hash.as_ref(), new_hash)
            }
            OwnAccountStoreJob::Block { other, blocked_max } => self.block(me, other.as_str(), *blocked_max as usize),
            OwnAccountStoreJob::Unblock { other } => {
                self.blocks.remove(&(me.to_owned(), other.as_str().to_owned()));
                let theirs = (other.as_str().to_owned(), me.to_owned());
                let is_hidden = self.pending.get(&theirs).is_some_and(|asking| asking.hidden);
                let hidden = if is_hidden { self.pending.remove(&theirs) } else { None };
                if let Some(asking) = &hidden {
                    self.pushes.remove(&(me.to_owned(), asking.seq));
                }
                self.blocked(me, hidden.map(|asking| asking.seq))
            }
            OwnAccountStoreJob::Blocked => self.blocked(me, None),
        }
    }

    fn roster(&self, me: &str, after: Option<&UserName>, rows_max: usize, bytes_max: usize) -> RosterReply {
        let behind = |friend: &UserName| after.is_none_or(|after| friend > after);
        let mut names: Vec<UserName> = self.friends_of(me).into_iter().filter(behind).collect();
        names.sort();
        let more = names.len() > rows_max;
        names.truncate(rows_max);
        let friends = names.into_iter().map(|user_name| {
            let profile = self.accounts.get(user_name.as_str()).map(|(_, profile)| profile);
            let nick_name = profile.map(|profile| profile.nick_name.clone()).unwrap_or_default();
            let profile_picture = profile.map(|profile| profile.profile_picture.clone()).unwrap_or_default();
            RosterReplyFriend { user_name, nick_name, profile_picture }
        });
        let friends = friends.collect();
        if after.is_some() {
            return RosterReply { friends, has_more: more, ..RosterReply::default() };
        }
        let requests = |is_mine: bool| {
            let mine = self.pending.iter().filter(
                |((asker, asked), asking)| {
                    if is_mine { asker == me } else { asked == me && !asking.hidden }
                },
            );
            let mut mine: Vec<_> = mine.collect();
            mine.sort_by_key(|(_, asking)| asking.seq);
            let mut bytes = 0;
            let entries = mine.into_iter().take(rows_max).take_while(|(_, asking)| {
                let begun_below = bytes < bytes_max;
                bytes += asking.content.len();
                begun_below
            });
            let entry = |((asker, asked), asking): (&(String, String), &super::store::PendingFriendRequest)| {
                RosterReplyFriendRequest {
                    user_name: name(if is_mine { asked } else { asker }),
                    message_id: asking.id.as_str().into(),
                    content: asking.content.as_str().into(),
                    time_ms: asking.time_ms,
                }
            };
            entries.map(entry).collect()
        };
        RosterReply { friends, has_more: more, incoming: requests(false), outgoing: requests(true) }
    }

    fn change_password(&mut self, me: &str, old_hash: Option<&Secret>, new_hash: &Secret) -> OwnAccountStoreJobOutcome {
        let Some((stored, _)) = self.accounts.get_mut(me) else {
            return OwnAccountStoreJobOutcome::NoSuchUser;
        };
        // If the new hash is stored already, the job is only tried again.
        if stored != new_hash && old_hash.is_some_and(|old_hash| old_hash != stored) {
            return OwnAccountStoreJobOutcome::Stale;
        }
        *stored = new_hash.clone();
        self.verified.remove(me);
        self.tokens.remove(me);
        OwnAccountStoreJobOutcome::Changed
    }

    fn block(&mut self, me: &str, other: &str, blocked_max: usize) -> OwnAccountStoreJobOutcome {
        let pair = (me.to_owned(), other.to_owned());
        if !self.has_account(other) {
            return OwnAccountStoreJobOutcome::NoSuchUser;
        }
        let is_new = !self.blocks.contains(&pair);
        if is_new && self.blocks.iter().filter(|(blocks, _)| blocks == me).count() >= blocked_max {
            return OwnAccountStoreJobOutcome::TooMany;
        }
        self.blocks.insert(pair.clone());
        let crossed = (pair.1.clone(), pair.0.clone());
        self.friends.remove(&pair);
        self.friends.remove(&crossed);
        if let Some(asking) = self.pending.remove(&pair) {
            self.pushes.remove(&(other.to_owned(), asking.seq));
        }
        let hidden_push = self.pending.get_mut(&crossed).map(|asking| {
            asking.hidden = true;
            asking.seq
        });
        self.blocked(me, hidden_push)
    }

    fn blocked(&self, me: &str, hidden_push: Option<u64>) -> OwnAccountStoreJobOutcome {
        let names = self.blocks.iter().filter(|(blocks, _)| blocks == me).map(|(_, blocked)| name(blocked));
        OwnAccountStoreJobOutcome::Blocked { names: names.collect(), hidden_push }
    }

    pub fn blocks(&self, user: &str, other: &str) -> bool {
        self.blocks.contains(&(user.to_owned(), other.to_owned()))
    }

    /// A server starts, and deletes the pushes of hidden requests.
    pub(super) fn restart(&mut self) {
        for ((_, asked), asking) in self.pending.iter().filter(|(_, asking)| asking.hidden) {
            self.pushes.remove(&(asked.clone(), asking.seq));
        }
    }
}
