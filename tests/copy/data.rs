//! A store full of everything, and all that the ordinary way of asking a store finds in it.

use crate::common::store::{ODD, account, answer, push, request, span, user, with};
use hongyan::chat::contract::{FriendAnswerOutcome, FriendRequestOutcome, RosterReplyFriend, RosterReplyFriendRequest};
use hongyan::protocol::field::{Profile, Secret, UserName};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::{StoreConnection, friendship, token};
use std::collections::BTreeSet;

/// More than a page of accounts, if not by their number then by their size.
const USERS: u64 = 1_500;

/// Accounts that were deleted: of the second something is left.
const DELETED: [&str; 2] = ["gone", "going"];

/// The names: one of each length and width, and some that only differ by case or by what looks
/// alike.
pub(crate) fn name(number: u64) -> String {
    match number {
        0 => "hub".to_owned(),
        1 => "ConnectionHub".to_owned(),
        2 => "hüb".to_owned(),
        3 => "hu\u{308}b".to_owned(),
        4 => "🪿".repeat(64),
        5 => "hub hub".to_owned(),
        6 => "'\"\\%_;--".to_owned(),
        number => format!("user {number} 雁"),
    }
}

fn id(number: u64) -> String {
    match number % 5 {
        0 => format!("m{number}"),
        1 => format!("🪿 {number} "),
        2 => format!(" {number}\0"),
        3 => format!("{number}{}", "x".repeat(100)),
        _ => format!("M{number}"),
    }
}

fn content(number: u64) -> String {
    match number % 1_000 {
        0 => String::new(),
        1 => " ".repeat(9),
        2 => ODD.to_owned(),
        3..10 => format!("{number} {}", "雁 🪿 ".repeat(64 * 1024 / 9)),
        _ => format!("the geese are back, {number} of them{}", " ".repeat(number as usize % 3)),
    }
}

fn profile(number: u64) -> Profile {
    let mut profile = account(&name(number));
    match number % 4 {
        0 => profile.personal_description = "🪿".repeat(2_048).into(),
        1 => profile.rsa_public_key = "k".repeat(8_192).into(),
        2 => {
            for text in [&mut profile.email_address, &mut profile.nick_name, &mut profile.personal_description] {
                *text = "".into();
            }
        }
        _ => {}
    }
    profile
}

/// Fills a store: everybody is the hub's friend or has asked the hub, and `pushes` wait, those of
/// the friendships apart.
pub(crate) fn fill(store: &mut dyn StoreConnection, pushes: u64) {
    let hub = name(0);
    let mut seq = 0;
    let mut next = || {
        seq += 3;
        seq
    };
    with(store, |store| {
        for number in 0..USERS {
            let hash = format!("$argon2id$v=19${number}{}", "h".repeat(number as usize % 400));
            assert!(store.create_account(&profile(number), &Secret::new(&hash))?);
            store.accounts().set_banned(&user(&name(number)), number % 7 == 0)?;
        }
        for gone in DELETED {
            assert!(store.create_account(&account(gone), &Secret::new("h"))?);
            store.accounts().begin_deletion(&user(gone))?;
        }
        store.accounts().end_deletion(&user(DELETED[0]))?;
        // The hub blocks some, and each of many blocks the next, who asks all the same.
        for number in (9..USERS).step_by(30) {
            store.blocks().add(&user(&hub), &user(&name(number)))?;
            store.blocks().add(&user(&name(number)), &user(&name(number - 1)))?;
            let hidden = push(next(), PushKind::FriendRequest, &name(number - 1), &name(number), &id(number), ODD);
            assert_eq!(friendship::ask(store, &hidden, u32::MAX, None)?.0, FriendRequestOutcome::Hidden);
        }
        for number in 1..USERS {
            let is_hidden = number >= 9 && (number - 9) % 30 == 0;
            let (name, id) = (name(number), id(number));
            if number % 3 == 0 {
                token::save(store, &user(&name), &(token_of(number), 2_000 + number), span(0, 1 << 40), 8)?;
            }
            let asked = friendship::ask(store, &request(next(), &name, &hub, &id), u32::MAX, None)?.0;
            assert_eq!(asked, if is_hidden { FriendRequestOutcome::Hidden } else { FriendRequestOutcome::Pending });
            if number % 3 > 0 {
                let accept = answer(next(), PushKind::FriendAccept, &hub, &name, &id);
                assert_eq!(friendship::answer(store, &accept, u32::MAX, None)?.outcome, FriendAnswerOutcome::Done);
            }
        }
        Ok(())
    });
    let mut number = 0;
    while number < pushes {
        let until = pushes.min(number + 1_000);
        let batch: Vec<_> = (number..until)
            .map(|number| {
                let (from, to) = (name(number % 97), name(number % 89 % (1 + number % 89)));
                push(next(), PushKind::Message, &from, &to, &id(number), &content(number))
            })
            .collect();
        with(store, |store| store.save_pushes(&batch));
        number = until;
    }
}

/// One user, as the store knows them.
#[derive(PartialEq)]
struct Known {
    profile: Option<Profile>,
    password_hash: Option<Secret>,
    friends: BTreeSet<String>,
    pushes: Vec<Push>,
    /// The answer to another request to the hub: already friends, or pending since when.
    asked: Option<FriendRequestOutcome>,
    /// Is their request pending under its id?
    pending: bool,
    /// The users they block.
    blocked: Vec<UserName>,
    /// Their friends and requests, as they are shown them.
    roster: (Vec<RosterReplyFriend>, Vec<RosterReplyFriendRequest>, Vec<RosterReplyFriendRequest>),
    /// Is their resume token good?
    token: bool,
    is_banned: bool,
}

fn token_of(number: u64) -> token::TokenHash {
    token::hash(&user(&name(number)), &Secret::new("token"), &Secret::new("hash"))
}

fn known(store: &mut dyn StoreConnection, number: u64) -> Known {
    let (me, hub) = (user(&name(number)), name(0));
    store.begin().unwrap();
    // Numbers that nothing in the store has.
    let again = request(u64::MAX >> 2, &name(number), &hub, "again");
    let asked = (number > 0).then(|| friendship::ask(store, &again, u32::MAX, None).unwrap().0);
    let reject = answer(u64::MAX >> 3, PushKind::FriendReject, &hub, &name(number), &id(number));
    let pending =
        friendship::answer(store, &reject, u32::MAX, None).unwrap().outcome != FriendAnswerOutcome::NoSuchRequest;
    store.rollback();
    Known {
        profile: store.profile(&me).unwrap(),
        password_hash: store.password_hash(&me).unwrap(),
        friends: store.friends(&me).unwrap().iter().map(ToString::to_string).collect(),
        pushes: store.pushes(&me, 0, u32::MAX, usize::MAX).unwrap(),
        asked,
        pending,
        token: token::is_usable(store, &me, &token_of(number), span(1_000, 1 << 40)).unwrap(),
        blocked: store.blocks().of_user(&me).unwrap(),
        roster: (
            store.rosters().friends_after(&me, None, u32::MAX).unwrap(),
            store.rosters().incoming(&me, u32::MAX).unwrap(),
            store.rosters().outgoing(&me, u32::MAX).unwrap(),
        ),
        is_banned: store.accounts().account(&me).unwrap().is_some_and(|account| account.is_banned),
    }
}

#[track_caller]
fn assert_deleted(store: &mut dyn StoreConnection) {
    assert_eq!(store.accounts().deletions(9).unwrap(), [user(DELETED[1])]);
    store.begin().unwrap();
    for gone in DELETED {
        assert!(!store.create_account(&account(gone), &Secret::new("h")).unwrap(), "the name is not free");
    }
    store.rollback();
}

/// Compares two stores, user by user.
#[track_caller]
pub(crate) fn assert_same(one: &mut dyn StoreConnection, other: &mut dyn StoreConnection) {
    assert_eq!(one.last_seq().unwrap(), other.last_seq().unwrap());
    assert_deleted(one);
    assert_deleted(other);
    let (mut friends, mut pushes, mut pending, mut banned, mut hidden) = (0, 0, 0, 0, 0);
    for number in 0..USERS {
        let (one, other) = (known(one, number), known(other, number));
        assert!(one == other, "{} is not the same", name(number));
        assert!(one.profile.is_some() && one.password_hash.is_some());
        friends += one.friends.len();
        pushes += one.pushes.len();
        pending += usize::from(one.pending);
        banned += usize::from(one.is_banned);
        hidden += usize::from(!one.pending && matches!(one.asked, Some(FriendRequestOutcome::AlreadyPending { .. })));
        assert_eq!(one.friends.len(), one.roster.0.len());
    }
    assert!(hidden >= 50, "{hidden}");
    assert!(friends > 1_000 && pushes > 2_000 && pending > 400 && banned > 200, "{friends} {pushes} {pending}");
}
