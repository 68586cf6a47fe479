//! The watches without a chat: which pushes they know, and which mailbox is counted next.

use super::*;
use crate::chat::wheel::TimerWheel;

fn hook(users_max: usize) -> Box<UsersWatchedForPushHook> {
    let rules = CoreSettings { push_hook: true, push_hook_users_max: users_max, ..CoreSettings::default() };
    UsersWatchedForPushHook::new(&rules).unwrap()
}

fn watch(user: UserSlot) -> UserWatchedForPushHook {
    let timer = TimerWheel::new().insert(1, ());
    UserWatchedForPushHook { user, seq: 1, stage: PushHookUserWatchStage::Waiting(timer), news: None }
}

#[test]
fn without_a_hook_nothing_is_kept() {
    assert!(UsersWatchedForPushHook::new(&CoreSettings::default()).is_none());
}

#[test]
fn a_watched_user_is_known_until_the_watch_listens() {
    let mut hook = hook(2);
    let [ann, bob] = [0, 9].map(UserSlot::of);
    assert!(!hook.knows(ann) && hook.get(ann).is_none());
    hook.insert(watch(bob));
    assert!(hook.knows(bob) && !hook.knows(ann) && !hook.is_full());
    hook.insert(watch(ann));
    assert!(hook.is_full());
    hook.enter(bob, PushHookUserWatchStage::Counting);
    assert!(!hook.knows(bob) && hook.get(bob).is_some(), "the next push is news");
    hook.get_mut(bob).unwrap().news = Some((7, 7));
    hook.enter(bob, PushHookUserWatchStage::Counting);
    assert!(hook.knows(bob), "and the one after it is not");
    assert_eq!(hook.remove(bob).map(|watch| watch.user), Some(bob));
    assert!(!hook.knows(bob) && hook.remove(bob).is_none() && hook.knows(ann));
}

#[test]
fn so_many_are_counted_at_a_time_each_once_and_in_their_order() {
    let mut hook = hook(100);
    let users: Vec<UserSlot> = (0..40).map(UserSlot::of).collect();
    for &user in &users {
        hook.insert(watch(user));
        hook.is_due(user);
    }
    // A user who became due twice has the later place; a user who is not watched any more has none.
    hook.is_due(users[0]);
    hook.remove(users[1]);
    let mut counted = Vec::new();
    while let Some((user, _)) = hook.next_to_count() {
        hook.counting += 1;
        hook.enter(user, PushHookUserWatchStage::Counting);
        counted.push(user);
    }
    assert_eq!(counted, users[2..2 + COUNTING_MAX]);
    hook.counting = 0;
    hook.rests = true;
    assert_eq!(hook.next_to_count(), None, "it rests");
}

#[test]
fn users_that_are_due_again_and_again_take_no_more_room() {
    let mut hook = hook(100);
    hook.insert(watch(UserSlot::of(3)));
    for _ in 0..10_000 {
        hook.is_due(UserSlot::of(3));
    }
    assert!(hook.due.len() <= 2 + COUNTING_MAX, "{}", hook.due.len());
    assert_eq!(hook.next_to_count(), Some((UserSlot::of(3), 1)));
    assert_eq!(hook.next_to_count(), None);
}
