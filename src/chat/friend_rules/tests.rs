use super::super::answer::{LARGER_THAN_ROWS, REFUSED};
use super::super::contract::{JobTicket, MailboxQuotaKind, PushPage};
use super::super::ids::UserSlot;
use super::*;
use PairVerb::{Accept, Block, Delete, Reject, Request, Unblock};

const ALL: &[PairVerb] = &[Request, Accept, Reject, Delete, Block, Unblock];
/// When the operation was asked for, and when an older one was.
const NOW_MS: u64 = 70;
const EARLIER_MS: u64 = 30;

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn loaded(friends: &[&str]) -> JobOutcome {
    JobOutcome::Loaded { friends: friends.iter().map(|friend| name(friend)).collect(), page: PushPage::default() }
}

/// All states in which an operation may be when the store answers.
fn states(verb: PairVerb) -> impl Iterator<Item = RunningFriendOp> {
    let bits = |n: u32| (n & 1, n & 2 != 0, n & 4 != 0);
    (0..8).map(bits).map(move |(failed, were_friends, friends_were_unknown)| RunningFriendOp {
        request: JobTicket { slot: 0, generation: 0 },
        verb,
        me: UserSlot::of(0),
        other: UserSlot::of(1),
        time_ms: NOW_MS,
        push: None,
        were_friends,
        friends_were_unknown,
        failed,
        only_reads: false,
    })
}

/// The expected effects of an outcome, for these verbs and states.
struct FriendOutcomeTestCase {
    outcome: JobOutcome,
    verbs: &'static [PairVerb],
    when: fn(&RunningFriendOp) -> bool,
    means: FriendOpStoreOutcomeMeaning,
}

fn always(_: &RunningFriendOp) -> bool {
    true
}

fn row(
    outcome: JobOutcome,
    verbs: &'static [PairVerb],
    when: fn(&RunningFriendOp) -> bool,
    means: FriendOpStoreOutcomeMeaning,
) -> FriendOutcomeTestCase {
    FriendOutcomeTestCase { outcome, verbs, when, means }
}

fn done() -> FriendEffects {
    FriendEffects::answer(Ok(NOW_MS))
}

fn refused(fault: ErrorReply) -> FriendOpStoreOutcomeMeaning {
    FriendOpStoreOutcomeMeaning::Known(FriendEffects::answer(Err(fault)))
}

fn new_friends(answer: Result<u64, ErrorReply>) -> FriendEffects {
    FriendEffects { friends: Some(true), removes_requests_of_me: true, ..FriendEffects::answer(answer) }
}

fn table() -> Vec<FriendOutcomeTestCase> {
    use FriendOpStoreOutcomeMeaning::{Known, ReadBack, Unknown};
    use JobOutcome::{Answered as Answer, Asked as Ask, Failed, Refused, TooLarge, Unfriended};
    let kept = |effects| Known(FriendEffects { push: FriendOpPushFate::Kept, ..effects });
    let tried_before: fn(&RunningFriendOp) -> bool = |op| op.failed > 0;
    let first_try: fn(&RunningFriendOp) -> bool = |op| op.failed == 0;
    let doubted_of = |fault| FriendEffects { leaves_doubt: true, ..FriendEffects::answer(Err(fault)) };
    let account = |outcome| JobOutcome::Account(Box::new(outcome));
    let blocked =
        FriendEffects { removes_requests_of_other: true, friends: Some(false), removes_requests_of_me: true, ..done() };
    let unfriended = FriendEffects { friends: Some(false), removes_requests_of_me: true, ..done() };
    vec![
        row(Failed, ALL, always, Unknown),
        row(Ask(FriendRequestOutcome::Pending), &[Request], always, kept(done())),
        row(
            Ask(FriendRequestOutcome::AlreadyPending { time_ms: EARLIER_MS }),
            &[Request],
            always,
            Known(FriendEffects::answer(Ok(EARLIER_MS))),
        ),
        row(
            Ask(FriendRequestOutcome::AlreadyFriends),
            &[Request],
            always,
            Known(FriendEffects { friends: Some(true), ..done() }),
        ),
        row(Ask(FriendRequestOutcome::NoSuchUser), &[Request], always, refused(NOBODY)),
        row(Ask(FriendRequestOutcome::TooMany), &[Request], always, refused(TOO_MANY_REQUESTS)),
        row(Ask(FriendRequestOutcome::Full(MailboxQuotaKind::Pair)), &[Request], always, refused(FULL)),
        row(Ask(FriendRequestOutcome::Hidden), &[Request], always, Known(done())),
        row(Ask(FriendRequestOutcome::YouBlock), &[Request], always, refused(YOU_BLOCK)),
        row(
            account(OwnAccountStoreJobOutcome::Blocked { names: Vec::new(), hidden_push: None }),
            &[Block],
            always,
            Known(blocked),
        ),
        row(
            account(OwnAccountStoreJobOutcome::Blocked { names: Vec::new(), hidden_push: None }),
            &[Unblock],
            always,
            Known(done()),
        ),
        row(account(OwnAccountStoreJobOutcome::NoSuchUser), &[Block], first_try, refused(NOBODY)),
        row(account(OwnAccountStoreJobOutcome::NoSuchUser), &[Block], tried_before, Known(doubted_of(NOBODY))),
        row(account(OwnAccountStoreJobOutcome::TooMany), &[Block], always, refused(TOO_MANY_BLOCKED)),
        row(Answer(FriendAnswerOutcome::Done), &[Accept], always, kept(new_friends(Ok(NOW_MS)))),
        row(Answer(FriendAnswerOutcome::Done), &[Reject], always, kept(done())),
        row(Answer(FriendAnswerOutcome::NoSuchRequest), &[Accept], |op| op.failed > 0 && !op.were_friends, ReadBack),
        row(
            Answer(FriendAnswerOutcome::NoSuchRequest),
            &[Accept],
            |op| op.failed == 0 || op.were_friends,
            refused(NOT_ASKED),
        ),
        row(Answer(FriendAnswerOutcome::NoSuchRequest), &[Reject], always, refused(NOT_ASKED)),
        row(Answer(FriendAnswerOutcome::TooManyFriends), &[Accept], always, refused(TOO_MANY_FRIENDS)),
        row(Answer(FriendAnswerOutcome::Full(MailboxQuotaKind::Receiver)), &[Accept, Reject], always, refused(FULL)),
        row(Unfriended, &[Delete], always, Known(unfriended)),
        row(loaded(&["cid", "bob"]), &[Accept], |op| !op.friends_were_unknown, Known(new_friends(Ok(NOW_MS)))),
        row(loaded(&["cid", "bob"]), &[Accept], |op| op.friends_were_unknown, Known(new_friends(Err(NOT_ASKED)))),
        row(loaded(&["cid"]), &[Accept], always, refused(NOT_ASKED)),
        row(Refused, &[Request, Reject, Unblock], always, refused(REFUSED)),
        row(Refused, &[Accept, Delete, Block], first_try, refused(REFUSED)),
        row(Refused, &[Accept, Delete, Block], tried_before, Known(doubted_of(REFUSED))),
        row(TooLarge, &[Request, Reject, Unblock], always, refused(LARGER_THAN_ROWS)),
        row(TooLarge, &[Accept, Delete, Block], first_try, refused(LARGER_THAN_ROWS)),
        row(TooLarge, &[Accept, Delete, Block], tried_before, Known(doubted_of(LARGER_THAN_ROWS))),
    ]
}

/// The meaning of a row for this operation. If an earlier try may have been committed, the push
/// of a refused operation must be searched, unless the store has looked for it already.
fn meaning(row: &FriendOutcomeTestCase, op: &RunningFriendOp) -> FriendOpStoreOutcomeMeaning {
    match row.means {
        FriendOpStoreOutcomeMeaning::Known(effects)
            if op.failed > 0 && ![Ok(NOW_MS), Ok(EARLIER_MS), Err(NOT_ASKED)].contains(&effects.answer) =>
        {
            FriendOpStoreOutcomeMeaning::Known(FriendEffects { push: FriendOpPushFate::Unknown, ..effects })
        }
        means => means,
    }
}

#[test]
fn each_answer_of_the_store_means_one_thing_for_each_verb_in_each_state() {
    let (rows, bob) = (table(), name("bob"));
    let outcomes: std::collections::BTreeSet<String> = rows.iter().map(|row| format!("{:?}", row.outcome)).collect();
    let mut fitted = 0;
    for outcome in outcomes {
        for verb in ALL {
            let of_both =
                |row: &&FriendOutcomeTestCase| format!("{:?}", row.outcome) == outcome && row.verbs.contains(verb);
            let rows: Vec<&FriendOutcomeTestCase> = rows.iter().filter(of_both).collect();
            for op in states(*verb).filter(|_| !rows.is_empty()) {
                let rows: Vec<&&FriendOutcomeTestCase> = rows.iter().filter(|row| (row.when)(&op)).collect();
                assert_eq!(rows.len(), 1, "one row for {outcome} to {op:?}");
                let means = interpret_friend_outcome(&op, &bob, &rows[0].outcome);
                assert_eq!(means, meaning(rows[0], &op), "{outcome} to {op:?}");
                fitted += 1;
            }
        }
    }
    assert_eq!(fitted % 8, 0);
    assert!(fitted >= 8 * rows.len() / 2, "{fitted}");
}

#[test]
fn an_operation_that_is_given_up_is_refused_and_may_leave_a_doubt() {
    for (verb, doubts) in
        [(Request, false), (Accept, true), (Reject, false), (Delete, true), (Block, true), (Unblock, false)]
    {
        for op in states(verb) {
            let effects = FriendEffects {
                push: FriendOpPushFate::Unknown,
                leaves_doubt: doubts,
                ..FriendEffects::answer(Err(UNAVAILABLE))
            };
            assert_eq!(FriendEffects::of_abandoned_op(&op), effects, "{verb:?}");
        }
    }
}

#[test]
fn each_verb_is_allowed_to_its_own_side_of_a_friendship() {
    use FriendVerb::{Accept, Delete, Reject, Request};
    for (verb, sender, receiver, other) in [
        (Request, "ann", "bob", Ok("bob")),
        (Request, "bob", "ann", Err(NOT_YOU)),
        (Request, "ann", "ann", Err(YOURSELF)),
        (Request, "bob", "bob", Err(NOT_YOU)),
        (Accept, "bob", "ann", Ok("bob")),
        (Accept, "ann", "bob", Err(NOT_YOU)),
        (Reject, "bob", "ann", Ok("bob")),
        (Reject, "ann", "bob", Err(NOT_YOU)),
        (Delete, "ann", "bob", Ok("bob")),
        (Delete, "bob", "ann", Err(NOT_YOU)),
        // Harmless: they never were friends, and nothing of theirs is pending.
        (Accept, "ann", "ann", Ok("ann")),
        (Delete, "ann", "ann", Ok("ann")),
    ] {
        let (sender, receiver) = (UserNameRef::new(sender).unwrap(), UserNameRef::new(receiver).unwrap());
        let found = other_of(verb, &name("ann"), &sender, &receiver).map(UserNameRef::as_str);
        assert_eq!(found, other, "{verb:?} from {sender:?} to {receiver:?}");
    }
}

#[test]
fn all_that_is_said_and_nothing_else_is_told_to_the_other() {
    let kinds = ALL.iter().map(|verb| push_kind(*verb));
    let expected = [Some(PushKind::FriendRequest), Some(PushKind::FriendAccept), Some(PushKind::FriendReject)];
    assert!(kinds.eq(expected.into_iter().chain([None; 3])));
}

#[test]
fn all_but_oneself_and_reserved_names_may_be_blocked() {
    for (other, blocks, expected) in [
        ("bob", true, Ok(())),
        ("bob", false, Ok(())),
        ("ann", true, Err(NOT_BLOCKED_YOURSELF)),
        ("ann", false, Err(NOT_BLOCKED_YOURSELF)),
        ("system", true, Err(NOBODY)),
        // Perhaps from before that name was reserved.
        ("system", false, Ok(())),
    ] {
        assert_eq!(may_block(&name("ann"), &UserNameRef::new(other).unwrap(), blocks), expected, "{other}");
    }
}
