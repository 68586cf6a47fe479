//! The model store: the effects and outcomes of jobs, as their contract says, in plain maps.

use super::rows::Rows;
use hongyan::chat::contract::{
    AdminStoreJob, AdminStoreJobOutcome, FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome, MailboxQuotaKind,
    StoredPushWithoutText,
};
use hongyan::protocol::field::{Profile, Secret, UserName};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::protocol::request::Credential;
use hongyan::store::quota::{MailboxQuotas, PushCountAndBytes};
use std::collections::{BTreeMap, BTreeSet};

/// (sender, receiver, id): two messages with one key are the same.
pub type MessageKey = (String, String, String);

pub fn key_of(push: &Push) -> MessageKey {
    (push.sender().into(), push.receiver().into(), push.id().into())
}

#[derive(Clone, Debug)]
pub(super) struct PendingFriendRequest {
    pub(super) id: String,
    pub(super) time_ms: u64,
    pub(super) seq: u64,
    pub(super) content: String,
    /// The asked user blocks the asker.
    pub(super) hidden: bool,
}

/// No quota is ever exceeded.
const NO_QUOTA: PushCountAndBytes = PushCountAndBytes { rows: u64::MAX, bytes: u64::MAX };
const NO_QUOTAS: MailboxQuotas = MailboxQuotas { receiver: NO_QUOTA, pair: NO_QUOTA };

/// Everything that survives a crash.
#[derive(Debug)]
pub struct Model {
    /// The quotas of mailboxes.
    pub quotas: MailboxQuotas,
    pub(super) accounts: Rows<BTreeMap<String, (Secret, Profile)>>,
    pub(super) friends: Rows<BTreeSet<(String, String)>>,
    /// Pending friend requests, by (asking user, asked user).
    pub(super) pending: Rows<BTreeMap<(String, String), PendingFriendRequest>>,
    /// By (blocking user, blocked user).
    pub(super) blocks: Rows<BTreeSet<(String, String)>>,
    pub(super) pushes: Rows<BTreeMap<(String, u64), Push>>,
    /// Passwords that were verified: the next log-in with one needs no hashing.
    pub(super) verified: BTreeMap<String, Secret>,
    /// By user: resume tokens, each with the time when it expires.
    pub(super) tokens: Rows<BTreeMap<String, Vec<(Secret, u64)>>>,
    tokens_made: u64,
    pub(super) banned: Rows<BTreeSet<String>>,
    /// Names of deleted accounts, and whether data of the account is left.
    pub(super) deleted: Rows<BTreeMap<String, bool>>,
    pub cache_passwords: bool,
    pub last_seq: u64,
}

pub fn profile(user: &str) -> Profile {
    Profile {
        user_name: UserName::new(user).unwrap(),
        email_address: "".into(),
        nick_name: "".into(),
        profile_picture: "".into(),
        location: "".into(),
        personal_description: "".into(),
        rsa_public_key: "".into(),
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            quotas: NO_QUOTAS,
            accounts: Rows::default(),
            friends: Rows::default(),
            pending: Rows::default(),
            blocks: Rows::default(),
            pushes: Rows::default(),
            verified: BTreeMap::new(),
            tokens: Rows::default(),
            tokens_made: 0,
            banned: Rows::default(),
            deleted: Rows::default(),
            cache_passwords: false,
            last_seq: 0,
        }
    }
}
/// A stored password that is not a hash.
const UNREADABLE: &str = "no hash";

fn hashed(secret: &Secret) -> Secret {
    Secret::new(&format!("hash of {}", secret.expose()))
}

impl Model {
    pub fn add_account(&mut self, user: &str, password: &str) {
        self.accounts.insert(user.into(), (hashed(&Secret::new(password)), profile(user)));
    }

    /// Replaces the stored hash of this user's password by a text that is no hash.
    pub fn spoil_password(&mut self, user: &str) {
        if let Some((hash, _)) = self.accounts.get_mut(user) {
            *hash = Secret::new(UNREADABLE);
        }
    }

    /// The next log-in with the right password (the name) needs no hashing.
    pub fn note_verified(&mut self, user: &str) {
        self.verified.insert(user.into(), Secret::new(user));
    }

    pub fn newest_token(&self, user: &str) -> Option<String> {
        self.tokens.get(user)?.last().map(|(token, _)| token.expose().to_owned())
    }

    pub fn befriend(&mut self, one: &str, other: &str) {
        self.friends.insert((one.into(), other.into()));
        self.friends.insert((other.into(), one.into()));
    }

    pub fn are_friends(&self, one: &str, other: &str) -> bool {
        self.friends.contains(&(one.into(), other.into()))
    }

    pub fn is_pending(&self, asker: &str, asked: &str) -> bool {
        self.pending.contains_key(&(asker.into(), asked.into()))
    }

    /// The id of a pending request.
    pub fn pending_id(&self, asker: &str, asked: &str) -> Option<String> {
        self.pending.get(&(asker.into(), asked.into())).map(|asking| asking.id.clone())
    }

    pub fn add_push(&mut self, push: Push) {
        self.last_seq = self.last_seq.max(push.seq);
        self.pushes.insert((push.receiver().into(), push.seq), push);
    }

    pub fn pushes(&self) -> impl Iterator<Item = &Push> {
        self.pushes.values()
    }

    pub fn waiting_for(&self, user: &str) -> Vec<&Push> {
        self.pushes.values().filter(|push| push.receiver() == user).collect()
    }

    pub fn has_message(&self, key: &MessageKey) -> bool {
        self.pushes.values().any(|push| push.kind == PushKind::Message && key_of(push) == *key)
    }

    /// Would this push exceed no quota? All rows are counted each time.
    pub fn has_room(&self, push: &Push) -> bool {
        self.exceeded(push).is_none()
    }

    fn exceeded(&self, push: &Push) -> Option<MailboxQuotaKind> {
        let fits = |max: PushCountAndBytes, counts: &dyn Fn(&Push) -> bool| {
            let all = self.pushes.values().filter(|other| counts(other)).chain([push]);
            let bytes_of = |one: &Push| PushCountAndBytes::of_one_push(one.text_bytes() as u64).bytes;
            let bytes = all.clone().map(bytes_of).sum::<u64>();
            all.count() as u64 <= max.rows && bytes <= max.bytes
        };
        if !fits(self.quotas.receiver, &|other| other.receiver() == push.receiver()) {
            return Some(MailboxQuotaKind::Receiver);
        }
        let is_of_pair = |other: &Push| (other.receiver(), other.sender()) == (push.receiver(), push.sender());
        (!fits(self.quotas.pair, &is_of_pair)).then_some(MailboxQuotaKind::Pair)
    }

    fn keep(&mut self, push: &Push) {
        self.last_seq = self.last_seq.max(push.seq);
        self.pushes.insert((push.receiver().into(), push.seq), push.clone());
    }

    /// Does a job and returns its outcome.
    pub fn execute(&mut self, job: &Job) -> JobOutcome {
        match job {
            Job::Hash { secret } => JobOutcome::Hashed(hashed(secret)),
            Job::CreateAccount { profile, password_hash } => {
                let name = profile.user_name.as_str();
                if self.accounts.contains_key(name) || self.deleted.contains_key(name) {
                    return JobOutcome::NameTaken;
                }
                self.accounts.insert(name.into(), (password_hash.clone(), (**profile).clone()));
                JobOutcome::Created
            }
            Job::LogIn { user, credential, uses_cache, now_ms, latest_ms, pushes_max, bytes_max } => {
                match self.prove(user, credential, *uses_cache, (*now_ms, *latest_ms)) {
                    JobOutcome::Proven => self.load(user, *pushes_max, *bytes_max),
                    outcome => outcome,
                }
            }
            Job::Prove { user, credential, uses_cache, now_ms, latest_ms } => {
                self.prove(user, credential, *uses_cache, (*now_ms, *latest_ms))
            }
            Job::Verify { password_hash: Some(unreadable), .. } if unreadable.expose() == UNREADABLE => {
                JobOutcome::Refused
            }
            Job::Verify { user, secret, password_hash } => {
                let fits = password_hash.as_ref() == Some(&hashed(secret));
                // The cache is bound to the compared hash: of no use once another one is stored.
                let is_stored =
                    self.accounts.get(user.as_str()).is_some_and(|(hash, _)| Some(hash) == password_hash.as_ref());
                if fits && is_stored && self.cache_passwords {
                    self.verified.insert(user.as_str().into(), secret.clone());
                }
                JobOutcome::Verified(fits)
            }
            Job::Load { user, pushes_max: 1.., .. } if !self.accounts.contains_key(user.as_str()) => {
                JobOutcome::Unproven { password_hash: None, differs_from_verified: false }
            }
            Job::Load { user, pushes_max: 1.., .. } if self.banned.contains(user.as_str()) => JobOutcome::Banned,
            Job::Load { user, pushes_max, bytes_max } => self.load(user, *pushes_max, *bytes_max),
            Job::LoadPage { user, after_seq, pushes_max, bytes_max } => {
                JobOutcome::Page(self.page(user, *after_seq, *pushes_max, *bytes_max))
            }
            Job::Cluster { .. } => panic!("this is the store of a single server"),
            // A session may outlive its account, while the core does not know of the deletion yet.
            Job::MakeToken { user, .. } if !self.accounts.contains_key(user.as_str()) => JobOutcome::Refused,
            Job::MakeToken { user, now_ms, expires_ms, latest_ms, tokens_max } => {
                self.make_token(user.as_str(), (*now_ms, *latest_ms), *expires_ms, *tokens_max as usize)
            }
            Job::RevokeTokens { user } => {
                self.tokens.remove(user.as_str());
                JobOutcome::TokensRevoked
            }
            Job::GetProfile { user, .. } => {
                JobOutcome::Profile(self.accounts.get(user.as_str()).map(|(_, profile)| Box::new(profile.clone())))
            }
            Job::SavePush { push } => self.save(push),
            Job::DeletePush { receiver, seq } => {
                self.pushes.remove(&(receiver.as_str().to_owned(), *seq));
                JobOutcome::Deleted
            }
            Job::AskFriend { push, pending_max } => JobOutcome::Asked(self.ask(push, *pending_max as usize)),
            Job::AnswerFriend { push, friends_max } => JobOutcome::Answered(self.answer(push, *friends_max as usize)),
            Job::Unfriend { user, other } => {
                self.unfriend(user.as_str(), other.as_str());
                JobOutcome::Unfriended
            }
            Job::Account { user, job } => JobOutcome::Account(Box::new(self.account(user, job))),
            Job::Admin { user, job } => JobOutcome::Admin(Box::new(self.admin(user, job))),
        }
    }

    fn unfriend(&mut self, user: &str, other: &str) {
        self.friends.remove(&(user.to_owned(), other.to_owned()));
        self.friends.remove(&(other.to_owned(), user.to_owned()));
        if let Some(asking) = self.pending.remove(&(user.to_owned(), other.to_owned())) {
            self.pushes.remove(&(other.to_owned(), asking.seq));
        }
    }

    fn make_token(
        &mut self,
        user: &str,
        (now_ms, latest_ms): (u64, u64),
        expires_ms: u64,
        tokens_max: usize,
    ) -> JobOutcome {
        self.tokens_made += 1;
        let token = Secret::new(&format!("token {}", self.tokens_made));
        let tokens = self.tokens.entry(user.into()).or_default();
        let is_valid = |until_ms: u64| until_ms > now_ms && until_ms <= latest_ms;
        // Keep those that expire last. Of invalid ones, expired ones before those too far ahead.
        tokens.sort_by_key(|&(_, until_ms)| (until_ms > latest_ms, std::cmp::Reverse(until_ms)));
        let (mut valid, mut others) = (tokens_max - 1, 2 * tokens_max);
        tokens.retain(|&(_, until_ms)| {
            let room = if is_valid(until_ms) { &mut valid } else { &mut others };
            *room = room.checked_sub(1).unwrap_or(usize::MAX);
            *room != usize::MAX
        });
        tokens.push((token.clone(), expires_ms));
        JobOutcome::Token(token)
    }

    /// The password that fits, if there is such an account.
    pub fn password_of(&self, user: &str) -> Option<String> {
        let (hash, _) = self.accounts.get(user)?;
        Some(hash.expose().strip_prefix("hash of ")?.to_owned())
    }

    pub fn is_banned(&self, user: &str) -> bool {
        self.banned.contains(user)
    }

    pub fn has_account(&self, user: &str) -> bool {
        self.accounts.contains_key(user)
    }

    /// Is any data of the user left that a deletion removes?
    pub fn is_anything_left(&self, user: &str) -> bool {
        let of_user = |pair: &(String, String)| pair.0 == user || pair.1 == user;
        self.accounts.contains_key(user)
            || self.tokens.contains_key(user)
            || self.friends.iter().any(of_user)
            || self.pending.keys().any(of_user)
            || self.blocks.iter().any(of_user)
            || self.pushes.values().any(|push| push.receiver() == user)
    }

    /// Was the account deleted, and is data of it left?
    pub fn is_deleting(&self, user: &str) -> bool {
        self.deleted.get(user) == Some(&true)
    }

    fn admin(&mut self, user: &UserName, job: &AdminStoreJob) -> AdminStoreJobOutcome {
        let name = user.as_str();
        match job {
            AdminStoreJob::Accounts { after, rows_max } => {
                let after = after.as_ref().map_or("", UserName::as_str);
                let mut names: Vec<UserName> = self
                    .accounts
                    .keys()
                    .filter(|name| name.as_str() > after)
                    .map(|n| UserName::new(n).unwrap())
                    .collect();
                let more = names.len() > *rows_max as usize;
                names.truncate(*rows_max as usize);
                return AdminStoreJobOutcome::Accounts { names, has_more: more };
            }
            AdminStoreJob::FindPushes { id, after_seq, rows_max } => {
                return self.find_pushes(name, id, *after_seq, *rows_max);
            }
            AdminStoreJob::Delete { rows_max } => return self.delete(name, *rows_max as usize),
            _ if !self.accounts.contains_key(name) => return AdminStoreJobOutcome::NoSuchUser,
            AdminStoreJob::Look { rows_max } => {
                let mut seqs: Vec<u64> = self.waiting_for(name).iter().map(|push| push.seq).collect();
                let more = seqs.len() > *rows_max as usize;
                seqs.truncate(*rows_max as usize);
                return AdminStoreJobOutcome::Account { is_banned: self.banned.contains(name), seqs, has_more: more };
            }
            AdminStoreJob::Notice { push } => {
                return match self.save(push) {
                    JobOutcome::Full(quota) => AdminStoreJobOutcome::Full(quota),
                    _ => AdminStoreJobOutcome::Done,
                };
            }
            AdminStoreJob::SetBanned { is_banned: true } => _ = self.banned.insert(name.into()),
            AdminStoreJob::SetBanned { is_banned: false } => _ = self.banned.remove(name),
            AdminStoreJob::SetPassword { password_hash } => {
                self.verified.remove(name);
                self.accounts.get_mut(name).unwrap().0 = password_hash.clone();
            }
        }
        self.tokens.remove(name);
        AdminStoreJobOutcome::Done
    }

    fn find_pushes(&self, name: &str, id: &str, after_seq: u64, rows_max: u32) -> AdminStoreJobOutcome {
        let rows: Vec<&Push> = self.waiting_for(name).into_iter().filter(|push| push.seq > after_seq).collect();
        let rows = &rows[..rows.len().min(rows_max as usize)];
        let next = rows.last().filter(|_| rows.len() == rows_max as usize).map(|push| push.seq);
        let found = rows.iter().filter(|push| push.id() == id).map(|push| StoredPushWithoutText {
            seq: push.seq,
            sender: UserName::new(push.sender()).unwrap(),
            kind: push.kind,
            time_ms: push.time_ms,
        });
        AdminStoreJobOutcome::Found { pushes: found.collect(), next }
    }

    fn delete(&mut self, name: &str, rows_max: usize) -> AdminStoreJobOutcome {
        let of_user = |pair: &&(String, String)| pair.0 == name || pair.1 == name;
        let names = |(one, other): &(String, String)| (UserName::new(one).unwrap(), UserName::new(other).unwrap());
        let pairs = self.pending.keys().filter(of_user).chain(self.friends.iter().filter(|pair| pair.0 == name));
        let pairs: Vec<_> = pairs.take(rows_max).map(names).collect();
        if self.accounts.remove(name).is_some() {
            self.deleted.insert(name.into(), true);
            self.blocks.retain(|(blocks, blocked)| blocks != name && blocked != name);
            self.tokens.remove(name);
            self.banned.remove(name);
            self.verified.remove(name);
            return AdminStoreJobOutcome::Deleting { pairs };
        }
        if !self.is_deleting(name) {
            return AdminStoreJobOutcome::NoSuchUser;
        }
        let rows: Vec<u64> = self.waiting_for(name).iter().map(|push| push.seq).take(rows_max).collect();
        if !pairs.is_empty() {
            return AdminStoreJobOutcome::Deleting { pairs };
        }
        if rows.is_empty() {
            self.deleted.insert(name.into(), false);
            return AdminStoreJobOutcome::Done;
        }
        for seq in rows {
            self.pushes.remove(&(name.to_owned(), seq));
        }
        AdminStoreJobOutcome::Deleting { pairs }
    }

    fn load(&self, user: &UserName, pushes_max: u32, bytes_max: usize) -> JobOutcome {
        let page = self.page(user, 0, pushes_max, bytes_max);
        JobOutcome::Loaded { friends: self.friends_of(user.as_str()), page }
    }

    fn prove(&self, user: &UserName, credential: &Credential, uses_cache: bool, span_ms: (u64, u64)) -> JobOutcome {
        let unproven =
            |password_hash, differs_from_verified| JobOutcome::Unproven { password_hash, differs_from_verified };
        let Some((hash, _)) = self.accounts.get(user.as_str()) else { return unproven(None, false) };
        match credential {
            Credential::Password(_) if !uses_cache => unproven(Some(hash.clone()), false),
            Credential::Password(secret) if self.verified.get(user.as_str()) != Some(secret) => {
                unproven(Some(hash.clone()), self.verified.contains_key(user.as_str()))
            }
            Credential::Token(token) if !self.has_token(user, token, span_ms) => unproven(None, false),
            _ if self.banned.contains(user.as_str()) => JobOutcome::Banned,
            _ => JobOutcome::Proven,
        }
    }

    fn has_token(&self, user: &UserName, token: &Secret, (now_ms, latest_ms): (u64, u64)) -> bool {
        let is_valid = |until_ms: u64| until_ms > now_ms && until_ms <= latest_ms;
        let fits = |(other, until_ms): &(Secret, u64)| other == token && is_valid(*until_ms);
        self.tokens.get(user.as_str()).is_some_and(|tokens| tokens.iter().any(fits))
    }

    pub(super) fn friends_of(&self, user: &str) -> Vec<UserName> {
        let mine = self.friends.iter().filter(|(one, _)| one == user);
        mine.map(|(_, other)| UserName::new(other).unwrap()).collect()
    }

    fn save(&mut self, push: &Push) -> JobOutcome {
        let same =
            |other: &Push| other.kind == PushKind::Message && other.seq != push.seq && key_of(other) == key_of(push);
        if push.kind == PushKind::Message && self.pushes.values().any(same) {
            return JobOutcome::Duplicate;
        }
        if !self.pushes.contains_key(&(push.receiver().to_owned(), push.seq))
            && let Some(quota) = self.exceeded(push)
        {
            return JobOutcome::Full(quota);
        }
        self.keep(push);
        JobOutcome::Saved
    }

    /// Saves a message of a cluster beside one with the same id and another text.
    pub fn save_beside(&mut self, push: &Push) -> JobOutcome {
        let mut others = self.pushes.values().filter(|other| key_of(other) == key_of(push));
        if others.any(|other| push.is_repetition_of(other.time_ms, other.content())) {
            return JobOutcome::Duplicate;
        }
        if let Some(quota) = self.exceeded(push) {
            return JobOutcome::Full(quota);
        }
        self.keep(push);
        JobOutcome::Saved
    }

    fn ask(&mut self, push: &Push, pending_max: usize) -> FriendRequestOutcome {
        let (asker, asked) = (push.sender().to_owned(), push.receiver().to_owned());
        if ![&asker, &asked].into_iter().all(|user| self.accounts.contains_key(user)) {
            return FriendRequestOutcome::NoSuchUser;
        }
        let pair = (asker, asked);
        if self.blocks.contains(&pair) {
            return FriendRequestOutcome::YouBlock;
        }
        let hidden = self.blocks.contains(&(pair.1.clone(), pair.0.clone()));
        match self.pending.get(&pair) {
            Some(asking) if asking.seq == push.seq && asking.hidden => return FriendRequestOutcome::Hidden,
            Some(asking) if asking.seq == push.seq && self.pushes.contains_key(&(pair.1.clone(), push.seq)) => {
                return FriendRequestOutcome::Pending;
            }
            Some(asking) => return FriendRequestOutcome::AlreadyPending { time_ms: asking.time_ms },
            None => {}
        }
        if self.friends.contains(&pair) {
            return FriendRequestOutcome::AlreadyFriends;
        }
        let of_asker = self.pending.keys().filter(|(asker, _)| *asker == pair.0).count();
        let to_asked = self.pending.iter().filter(|((_, asked), asking)| *asked == pair.1 && !asking.hidden).count();
        if of_asker.max(to_asked) >= pending_max {
            return FriendRequestOutcome::TooMany;
        }
        if let Some(quota) = self.exceeded(push) {
            return FriendRequestOutcome::Full(quota);
        }
        let (id, content) = (push.id().into(), push.content().to_owned());
        self.last_seq = self.last_seq.max(push.seq);
        self.pending.insert(pair, PendingFriendRequest { id, time_ms: push.time_ms, seq: push.seq, content, hidden });
        if hidden {
            return FriendRequestOutcome::Hidden;
        }
        self.keep(push);
        FriendRequestOutcome::Pending
    }

    fn answer(&mut self, push: &Push, friends_max: usize) -> FriendAnswerOutcome {
        let (asked, asker) = (push.sender().to_owned(), push.receiver().to_owned());
        let pair = (asker.clone(), asked.clone());
        if self.pushes.contains_key(&(asker.clone(), push.seq)) {
            return FriendAnswerOutcome::Done;
        }
        if self.pending.get(&pair).is_none_or(|asking| asking.hidden || asking.id != push.id()) {
            return FriendAnswerOutcome::NoSuchRequest;
        }
        let full = |user: &str| self.friends_of(user).len() >= friends_max;
        if push.kind == PushKind::FriendAccept && (full(&asked) || full(&asker)) {
            return FriendAnswerOutcome::TooManyFriends;
        }
        if let Some(quota) = self.exceeded(push) {
            return FriendAnswerOutcome::Full(quota);
        }
        self.pending.remove(&pair);
        if push.kind == PushKind::FriendAccept {
            self.befriend(&asker, &asked);
            if let Some(crossed) = self.pending.remove(&(asked, asker.clone())) {
                self.pushes.remove(&(asker, crossed.seq));
            }
        }
        self.keep(push);
        FriendAnswerOutcome::Done
    }
}
