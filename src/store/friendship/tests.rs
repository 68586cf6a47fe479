//! Each rule as a row of a table, on the store in memory.

use super::*;
use crate::chat::contract::MailboxQuotaKind;
use crate::protocol::field::{MessageId, Profile, Secret, UserNameRef};
use crate::store::memory::MemoryStore;

const PEOPLE: [&str; 4] = ["ann", "bob", "cy", "dan"];
/// The limit on pending requests from one user, and to one user.
const PENDING_MAX: u32 = 2;
const FRIENDS_MAX: u32 = 2;

/// One operation. A push is named by its number, sender and receiver; every request has the id
/// "r", which the answers name.
#[derive(Clone, Copy, Debug)]
enum FriendshipTestStep {
    Ask(u64, &'static str, &'static str),
    Accept(u64, &'static str, &'static str),
    Reject(u64, &'static str, &'static str),
    /// The answer names another request.
    RejectOther(u64, &'static str, &'static str),
    End(&'static str, &'static str),
    /// The first blocks the second from now on.
    Block(&'static str, &'static str),
    /// The receiver acks a push.
    Ack(&'static str, u64),
}
use FriendshipTestStep::*;

/// The name of a row, the steps before, whether there is room, the operation, its result, and the
/// state of the store afterwards.
type FriendshipTestCase =
    (&'static str, &'static [FriendshipTestStep], bool, FriendshipTestStep, &'static str, &'static str);

const ROWS: &[FriendshipTestCase] = &[
    // Requests.
    ("nobody of that name", &[], true, Ask(1, "bob", "eve"), "NoSuchUser", ""),
    ("the first", &[], true, Ask(1, "bob", "ann"), "Pending, new", "bob>ann ann:1"),
    ("the very same", &[Ask(1, "bob", "ann")], true, Ask(1, "bob", "ann"), "Pending", "bob>ann ann:1"),
    ("the very same without room", &[Ask(1, "bob", "ann")], false, Ask(1, "bob", "ann"), "Pending", "bob>ann ann:1"),
    ("another", &[Ask(1, "bob", "ann")], true, Ask(2, "bob", "ann"), "AlreadyPending { time_ms: 1 }", "bob>ann ann:1"),
    (
        "the very same, whose push was acked",
        &[Ask(1, "bob", "ann"), Ack("ann", 1)],
        true,
        Ask(1, "bob", "ann"),
        "AlreadyPending { time_ms: 1 }",
        "bob>ann",
    ),
    (
        "one that crosses another",
        &[Ask(1, "bob", "ann")],
        true,
        Ask(2, "ann", "bob"),
        "Pending, new",
        "ann>bob bob>ann ann:1 bob:2",
    ),
    (
        "between friends",
        &[Ask(1, "bob", "ann"), Accept(2, "ann", "bob")],
        true,
        Ask(3, "ann", "bob"),
        "AlreadyFriends",
        "ann-bob ann:1 bob:2",
    ),
    (
        "a third of one user",
        &[Ask(1, "bob", "ann"), Ask(2, "bob", "cy")],
        true,
        Ask(3, "bob", "dan"),
        "TooMany",
        "bob>ann bob>cy ann:1 cy:2",
    ),
    (
        "a third to one user",
        &[Ask(1, "ann", "dan"), Ask(2, "bob", "dan")],
        true,
        Ask(3, "cy", "dan"),
        "TooMany",
        "ann>dan bob>dan dan:1,2",
    ),
    (
        "too many is said before full",
        &[Ask(1, "bob", "ann"), Ask(2, "bob", "cy")],
        false,
        Ask(3, "bob", "dan"),
        "TooMany",
        "bob>ann bob>cy ann:1 cy:2",
    ),
    ("without room", &[], false, Ask(1, "bob", "ann"), "Full(Receiver)", ""),
    (
        "after a rejection",
        &[Ask(1, "bob", "ann"), Reject(2, "ann", "bob")],
        true,
        Ask(3, "bob", "ann"),
        "Pending, new",
        "bob>ann ann:1,3 bob:2",
    ),
    // Requests to a user who blocks the asker, which are written `~`.
    ("by a user who is blocked", &[Block("ann", "bob")], true, Ask(1, "bob", "ann"), "Hidden", "bob~ann"),
    (
        "the very same by a user who is blocked",
        &[Block("ann", "bob"), Ask(1, "bob", "ann")],
        false,
        Ask(1, "bob", "ann"),
        "Hidden",
        "bob~ann",
    ),
    (
        "another by a user who is blocked",
        &[Block("ann", "bob"), Ask(1, "bob", "ann")],
        true,
        Ask(2, "bob", "ann"),
        "AlreadyPending { time_ms: 1 }",
        "bob~ann",
    ),
    (
        "without room for a push that there will not be",
        &[Block("ann", "bob")],
        false,
        Ask(1, "bob", "ann"),
        "Full(Receiver)",
        "",
    ),
    (
        "one that is hidden counts for who asked",
        &[Block("ann", "bob"), Ask(1, "bob", "ann"), Ask(2, "bob", "cy")],
        true,
        Ask(3, "bob", "dan"),
        "TooMany",
        "bob~ann bob>cy cy:2",
    ),
    (
        "those that are hidden do not count for who is asked",
        &[Block("dan", "ann"), Block("dan", "bob"), Ask(1, "ann", "dan"), Ask(2, "bob", "dan")],
        true,
        Ask(3, "cy", "dan"),
        "Pending, new",
        "ann~dan bob~dan cy>dan dan:3",
    ),
    (
        "a third to one user, by a user who is blocked",
        &[Block("dan", "cy"), Ask(1, "ann", "dan"), Ask(2, "bob", "dan")],
        true,
        Ask(3, "cy", "dan"),
        "TooMany",
        "ann>dan bob>dan dan:1,2",
    ),
    ("to a user whom the asker blocks", &[Block("bob", "ann")], true, Ask(1, "bob", "ann"), "YouBlock", ""),
    // Answers.
    ("of a request that is not there", &[], true, Accept(1, "ann", "bob"), "NoSuchRequest", ""),
    (
        "of another request",
        &[Ask(1, "bob", "ann")],
        true,
        RejectOther(2, "ann", "bob"),
        "NoSuchRequest",
        "bob>ann ann:1",
    ),
    ("by the user who asked", &[Ask(1, "bob", "ann")], true, Accept(2, "bob", "ann"), "NoSuchRequest", "bob>ann ann:1"),
    ("accepted", &[Ask(1, "bob", "ann")], true, Accept(2, "ann", "bob"), "Done, new", "ann-bob ann:1 bob:2"),
    ("rejected", &[Ask(1, "bob", "ann")], true, Reject(2, "ann", "bob"), "Done, new", "ann:1 bob:2"),
    (
        "the very same answer without room",
        &[Ask(1, "bob", "ann"), Accept(2, "ann", "bob")],
        false,
        Accept(2, "ann", "bob"),
        "Done",
        "ann-bob ann:1 bob:2",
    ),
    (
        "the very same answer, whose push was acked",
        &[Ask(1, "bob", "ann"), Accept(2, "ann", "bob"), Ack("bob", 2)],
        true,
        Accept(2, "ann", "bob"),
        "NoSuchRequest",
        "ann-bob ann:1",
    ),
    (
        "an accept takes the request that crosses it along",
        &[Ask(1, "bob", "ann"), Ask(2, "ann", "bob")],
        true,
        Accept(3, "ann", "bob"),
        "Done, new, crossed 2 of ann",
        "ann-bob ann:1 bob:3",
    ),
    (
        "the same, and its push was acked",
        &[Ask(1, "bob", "ann"), Ask(2, "ann", "bob"), Ack("bob", 2)],
        true,
        Accept(3, "ann", "bob"),
        "Done, new, crossed 2",
        "ann-bob ann:1 bob:3",
    ),
    (
        "a rejection leaves it",
        &[Ask(1, "bob", "ann"), Ask(2, "ann", "bob")],
        true,
        Reject(3, "ann", "bob"),
        "Done, new",
        "ann>bob ann:1 bob:2,3",
    ),
    (
        "an answer without room",
        &[Ask(1, "bob", "ann")],
        false,
        Reject(2, "ann", "bob"),
        "Full(Receiver)",
        "bob>ann ann:1",
    ),
    (
        "the user who accepts has too many friends",
        &[
            Ask(1, "bob", "ann"),
            Accept(2, "ann", "bob"),
            Ask(3, "cy", "ann"),
            Accept(4, "ann", "cy"),
            Ask(5, "dan", "ann"),
        ],
        false,
        Accept(6, "ann", "dan"),
        "TooManyFriends",
        "ann-bob ann-cy dan>ann ann:1,3,5 bob:2 cy:4",
    ),
    (
        "the user who asked has too many friends",
        &[
            Ask(1, "bob", "ann"),
            Accept(2, "ann", "bob"),
            Ask(3, "cy", "ann"),
            Accept(4, "ann", "cy"),
            Ask(5, "ann", "dan"),
        ],
        true,
        Accept(6, "dan", "ann"),
        "TooManyFriends",
        "ann-bob ann-cy ann>dan ann:1,3 bob:2 cy:4 dan:5",
    ),
    (
        "a user with too many friends may reject",
        &[
            Ask(1, "bob", "ann"),
            Accept(2, "ann", "bob"),
            Ask(3, "cy", "ann"),
            Accept(4, "ann", "cy"),
            Ask(5, "dan", "ann"),
        ],
        true,
        Reject(6, "ann", "dan"),
        "Done, new",
        "ann-bob ann-cy ann:1,3,5 bob:2 cy:4 dan:6",
    ),
    (
        "an accept of a request that is hidden",
        &[Block("ann", "bob"), Ask(1, "bob", "ann")],
        true,
        Accept(2, "ann", "bob"),
        "NoSuchRequest",
        "bob~ann",
    ),
    (
        "a rejection of a request that is hidden",
        &[Block("ann", "bob"), Ask(1, "bob", "ann")],
        true,
        Reject(2, "ann", "bob"),
        "NoSuchRequest",
        "bob~ann",
    ),
    // Ends.
    (
        "of one's own request that is hidden",
        &[Block("ann", "bob"), Ask(1, "bob", "ann")],
        true,
        End("bob", "ann"),
        "withdrew 1",
        "",
    ),
    (
        "but not of the other's request that is hidden",
        &[Block("ann", "bob"), Ask(1, "bob", "ann")],
        true,
        End("ann", "bob"),
        "none withdrawn",
        "bob~ann",
    ),
    ("of nothing", &[], true, End("ann", "bob"), "none withdrawn", ""),
    (
        "of a friendship",
        &[Ask(1, "bob", "ann"), Accept(2, "ann", "bob")],
        true,
        End("ann", "bob"),
        "none withdrawn",
        "ann:1 bob:2",
    ),
    ("of one's own request", &[Ask(1, "bob", "ann")], true, End("bob", "ann"), "withdrew 1 of bob", ""),
    (
        "of one's own request, whose push was acked",
        &[Ask(1, "bob", "ann"), Ack("ann", 1)],
        true,
        End("bob", "ann"),
        "withdrew 1",
        "",
    ),
    (
        "but not of the other's request",
        &[Ask(1, "bob", "ann")],
        true,
        End("ann", "bob"),
        "none withdrawn",
        "bob>ann ann:1",
    ),
    (
        "of one of two that cross",
        &[Ask(1, "bob", "ann"), Ask(2, "ann", "bob")],
        true,
        End("bob", "ann"),
        "withdrew 1 of bob",
        "ann>bob bob:2",
    ),
];

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn push(seq: u64, kind: PushKind, from: &str, to: &str, id: &str) -> Push {
    let (id, from, to) = (MessageId::new(id).unwrap(), UserNameRef::new(from).unwrap(), UserNameRef::new(to).unwrap());
    Push::new(seq, seq, kind, &id, &from, &to, "")
}

fn people() -> MemoryStore {
    let mut store = MemoryStore::default();
    for name in PEOPLE {
        let empty = || Box::<str>::from("");
        let profile = Profile {
            user_name: user(name),
            email_address: empty(),
            nick_name: empty(),
            profile_picture: empty(),
            location: empty(),
            personal_description: empty(),
            rsa_public_key: empty(),
        };
        assert!(store.create_account(&profile, &Secret::new("h")).unwrap());
    }
    store.commit().unwrap();
    store
}

/// All friendships and pending requests, and the numbers of the pushes that wait for each user.
fn seen(store: &mut MemoryStore) -> String {
    let mut words = Vec::new();
    for name in PEOPLE {
        for friend in store.friends(&user(name)).unwrap() {
            assert!(store.relation(&friend, &user(name)).unwrap().are_friends, "both ways");
            words.extend((name < friend.as_str()).then(|| format!("{name}-{friend}")));
        }
    }
    for (sender, receiver) in PEOPLE.iter().flat_map(|sender| PEOPLE.map(|receiver| (*sender, receiver))) {
        let request = store.request(&user(receiver), &user(sender)).unwrap();
        words.extend(request.map(|found| format!("{sender}{}{receiver}", if found.is_hidden { '~' } else { '>' })));
    }
    for name in PEOPLE {
        let waiting = store.pushes(&user(name), 0, 100, usize::MAX).unwrap();
        let numbers: Vec<String> = waiting.iter().map(|push| push.seq.to_string()).collect();
        words.extend((!numbers.is_empty()).then(|| format!("{name}:{}", numbers.join(","))));
    }
    words.join(" ")
}

/// Does the step in the current transaction, and gives its result as text.
fn step(store: &mut MemoryStore, step: FriendshipTestStep, has_room: bool) -> String {
    let exceeded = (!has_room).then_some(MailboxQuotaKind::Receiver);
    let mut answers = |seq, kind, asked, asker, id| {
        let push = push(seq, kind, asked, asker, id);
        let reply = answer(store, &push, FRIENDS_MAX, exceeded).unwrap();
        let crossed = reply.crossed_request.map_or(String::new(), |crossed| format!(", crossed {}", shown(crossed)));
        format!("{:?}{}{crossed}", reply.outcome, if reply.is_new { ", new" } else { "" })
    };
    match step {
        Ask(seq, from, to) => {
            let push = push(seq, PushKind::FriendRequest, from, to, "r");
            let (asked, is_new) = ask(store, &push, PENDING_MAX, exceeded).unwrap();
            format!("{asked:?}{}", if is_new { ", new" } else { "" })
        }
        Accept(seq, asked, asker) => answers(seq, PushKind::FriendAccept, asked, asker, "r"),
        Reject(seq, asked, asker) => answers(seq, PushKind::FriendReject, asked, asker, "r"),
        RejectOther(seq, asked, asker) => answers(seq, PushKind::FriendReject, asked, asker, "s"),
        End(one, other) => match end_friendship(store, &user(one), &user(other), true).unwrap() {
            Some(withdrawn) => format!("withdrew {}", shown(withdrawn)),
            None => "none withdrawn".to_owned(),
        },
        Block(one, other) => {
            store.blocks().add(&user(one), &user(other)).unwrap();
            String::new()
        }
        Ack(receiver, seq) => {
            store.delete_pushes(&[(user(receiver), seq)]).unwrap();
            String::new()
        }
    }
}

fn shown(withdrawn: RemovedFriendRequest) -> String {
    let Some((sender, bytes)) = withdrawn.push else {
        return withdrawn.seq.to_string();
    };
    assert_eq!(bytes, (withdrawn.receiver.as_str().len() + sender.len() + 1) as u64, "the texts, and the id");
    format!("{} of {sender}", withdrawn.seq)
}

#[test]
fn each_operation_has_the_answer_and_effect_of_its_rule() {
    for (what, before, has_room, operation, said, afterwards) in ROWS {
        let mut store = people();
        for earlier in *before {
            store.begin().unwrap();
            step(&mut store, *earlier, true);
            store.commit().unwrap();
        }
        let at_first = seen(&mut store);
        store.begin().unwrap();
        assert_eq!(step(&mut store, *operation, *has_room), *said, "{what}");
        assert_eq!(seen(&mut store), *afterwards, "{what}");
        store.rollback();
        assert_eq!(seen(&mut store), at_first, "{what}, rolled back");
        // Done twice, as after a lost answer: the second time changes nothing more.
        for _ in 0..2 {
            store.begin().unwrap();
            step(&mut store, *operation, *has_room);
            store.commit().unwrap();
            assert_eq!(seen(&mut store), *afterwards, "{what}, repeated");
        }
    }
}

#[test]
fn the_size_of_a_withdrawn_request_is_read_only_on_demand() {
    let mut store = people();
    step(&mut store, Ask(1, "bob", "ann"), true);
    let withdrawn = end_friendship(&mut store, &user("bob"), &user("ann"), false).unwrap();
    assert_eq!(withdrawn, Some(RemovedFriendRequest { receiver: user("ann"), seq: 1, push: None }));
    assert_eq!(seen(&mut store), "");
}
