//! The common parts of the tests of the stores: users, pushes and single transactions.

use hongyan::chat::contract::{FriendAnswerOutcome, FriendRequestOutcome, MailboxQuotaKind};
use hongyan::protocol::field::{MessageId, Profile, Secret, UserName, UserNameRef};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::token::ValidTokenExpiryRange;
use hongyan::store::{MailboxSaveResult, StoreConnection, StoreError, friendship};
use std::collections::BTreeSet;

/// Four bytes, a NUL, quotes, a combining mark, trailing space: it has to come back as it was.
pub(crate) const ODD: &str = "🪿 鸿雁\0\u{1f468}\u{200d}\u{1f469} e\u{301} '\"\\%_;-- \r\n ";

pub(crate) fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

pub(crate) fn account(name: &str) -> Profile {
    let text = |key: &str| format!("{key} of {name} {ODD}").into_boxed_str();
    Profile {
        user_name: user(name),
        email_address: text("email"),
        nick_name: text("nick"),
        profile_picture: text("picture"),
        location: text("location"),
        personal_description: text("description"),
        rsa_public_key: text("key"),
    }
}

pub(crate) fn push(seq: u64, kind: PushKind, from: &str, to: &str, id: &str, content: &str) -> Push {
    let (id, from, to) = (MessageId::new(id).unwrap(), UserNameRef::new(from).unwrap(), UserNameRef::new(to).unwrap());
    Push::new(seq, 1_652_791_027_673 + seq, kind, &id, &from, &to, content)
}

pub(crate) fn message(seq: u64, from: &str, to: &str, id: &str) -> Push {
    push(seq, PushKind::Message, from, to, id, &format!("text {seq}"))
}

pub(crate) fn request(seq: u64, from: &str, to: &str, id: &str) -> Push {
    push(seq, PushKind::FriendRequest, from, to, id, "let us be friends")
}

pub(crate) fn answer(seq: u64, kind: PushKind, asked: &str, asker: &str, id: &str) -> Push {
    push(seq, kind, asked, asker, id, "my answer")
}

/// One transaction.
pub(crate) fn with<T>(
    store: &mut dyn StoreConnection,
    work: impl FnOnce(&mut dyn StoreConnection) -> Result<T, StoreError>,
) -> T {
    store.begin().unwrap();
    let result = work(store).unwrap();
    store.commit().unwrap();
    result
}

pub(crate) fn sign_up(store: &mut dyn StoreConnection, names: &[&str]) {
    for name in names {
        assert!(with(store, |store| store.create_account(&account(name), &Secret::new(&format!("hash of {name}")))));
    }
}

pub(crate) fn save(store: &mut dyn StoreConnection, pushes: &[Push]) -> Vec<MailboxSaveResult> {
    with(store, |store| store.save_pushes(pushes))
}

pub(crate) fn waiting(store: &mut dyn StoreConnection, name: &str) -> Vec<u64> {
    store.pushes(&user(name), 0, 10_000, usize::MAX).unwrap().iter().map(|push| push.seq).collect()
}

pub(crate) fn friends(store: &mut dyn StoreConnection, name: &str) -> BTreeSet<String> {
    store.friends(&user(name)).unwrap().iter().map(ToString::to_string).collect()
}

pub(crate) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) fn ask(store: &mut dyn StoreConnection, push: &Push) -> FriendRequestOutcome {
    ask_within(store, push, u32::MAX, true)
}

pub(crate) fn reply(store: &mut dyn StoreConnection, push: &Push) -> FriendAnswerOutcome {
    reply_within(store, push, u32::MAX, true)
}

pub(crate) fn ask_within(
    store: &mut dyn StoreConnection,
    push: &Push,
    pending_max: u32,
    has_room: bool,
) -> FriendRequestOutcome {
    with(store, |store| friendship::ask(store, push, pending_max, (!has_room).then_some(MailboxQuotaKind::Receiver))).0
}

pub(crate) fn reply_within(
    store: &mut dyn StoreConnection,
    push: &Push,
    friends_max: u32,
    has_room: bool,
) -> FriendAnswerOutcome {
    with(store, |store| friendship::answer(store, push, friends_max, (!has_room).then_some(MailboxQuotaKind::Receiver)))
        .outcome
}

/// Ends a friendship; gives the number of the push of the request that was withdrawn.
pub(crate) fn end(store: &mut dyn StoreConnection, name: &str, other: &str) -> Option<u64> {
    with(store, |store| friendship::end_friendship(store, &user(name), &user(other), false))
        .map(|withdrawn| withdrawn.seq)
}

pub(crate) fn span(now_ms: u64, latest_ms: u64) -> ValidTokenExpiryRange {
    ValidTokenExpiryRange { now_ms, latest_ms }
}
