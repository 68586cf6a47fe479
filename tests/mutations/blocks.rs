//! Mistakes about blocked users and their requests.

use super::table::{Mutation, of};

pub(crate) const MUTATIONS: &[Mutation] = &[
    of(
        "a request of a blocked user is shown",
        "src/store/friendship.rs",
        "    if tie.is_blocked {\n        return Ok((FriendRequestOutcome::Hidden, false));\n    }\n",
        "",
    ),
    of(
        "a request that is hidden can be accepted",
        "src/store/friendship.rs",
        "request.is_hidden || *request.id != *push.id()",
        "*request.id != *push.id()",
    ),
    of(
        "a user asks whom they block",
        "src/store/friendship.rs",
        "    if tie.blocks {\n        return Ok((FriendRequestOutcome::YouBlock, false));\n    }\n",
        "",
    ),
    of(
        "a block leaves what the blocked user asked",
        "src/store/account_job.rs",
        "        store.friendships().hide_request(user, other)?;\n",
        "",
    ),
    of(
        "a block leaves the friendship, and what the user asked",
        "src/store/account_job.rs",
        "    push_jobs::unfriend(store, mailbox_counts, user, other)?;\n",
        "    _ = (push_jobs::unfriend, mailbox_counts);\n",
    ),
    of(
        "the end of a block brings back what was asked",
        "src/store/friendship.rs",
        "Some(request) if request.is_hidden => remove_with_push",
        "Some(request) if request.is_hidden && request.seq == 0 => remove_with_push",
    ),
    of(
        "the end of a block leaves the push of the request in the store",
        "src/store/friendship.rs",
        "is_hidden => remove_with_push(store, receiver, sender, request.seq,",
        "is_hidden => remove_with_push(store, receiver, sender, request.seq + 1,",
    ),
    of(
        "the end of a block leaves the request on the list",
        "src/chat/friend.rs",
        "verb == PairVerb::Unblock && hidden_push.is_some()",
        "verb == PairVerb::Unblock && hidden_push.is_some_and(|seq| seq == 0)",
    ),
    of(
        "the end of a block takes a request off the list that is not hidden",
        "src/chat/friend.rs",
        "verb == PairVerb::Unblock && hidden_push.is_some()",
        "verb == PairVerb::Unblock",
    ),
    of(
        "a request that was read before its asker was blocked comes all the same",
        "src/chat/paging.rs",
        "            if is_unwanted {",
        "            if is_unwanted && after_seq == 1 {",
    ),
    of(
        "an answered request of a blocked user stays in the store",
        "src/chat/paging.rs",
        "                self.delete(push.seq, user, out);\n                continue;",
        "                continue;",
    ),
    of(
        "the request of a blocked user stays on the list",
        "src/chat/friend.rs",
        "let taken_off = self.remove_friend_requests(me, other, out);",
        "let taken_off: Vec<u64> = Vec::new();",
    ),
    of(
        "the push of a hidden request stays in the store",
        "src/chat/friend.rs",
        "hidden_push.filter(|seq| !taken_off.contains(seq))",
        "hidden_push.filter(|seq| *seq == 0 && !taken_off.contains(seq))",
    ),
];
