//! Mistakes of several nodes together.

use super::table::{Mutation, of};

pub(crate) const MUTATIONS: &[Mutation] = &[
    of(
        "the owner is not told that something was saved",
        "src/chat/cluster/telling.rs",
        "out.push(Action::Send { to: at, record: Record::Look { user: name.clone() } });",
        "_ = name;",
    ),
    of(
        "a death in the view marks no list",
        "src/chat/cluster/mod.rs",
        "        if any_died {",
        "        if any_died && me.get() == 0 {",
    ),
    of(
        "a page begins behind the last one",
        "src/chat/paging.rs",
        "let job = if self.cluster.is_some() {",
        "let job = if self.cluster.is_some() && after_seq == u64::MAX {",
    ),
    of(
        "the clock of the node that has let go is not merged",
        "src/chat/cluster/claims.rs",
        "        claim.owner.floor = claim.owner.floor.max(clock);\n",
        "        _ = clock;\n",
    ),
    of(
        "the floor in the store does not count",
        "src/chat/cluster/claims.rs",
        "        self.merge_clock(floor);\n",
        "        self.merge_clock(floor.max(1) - claim.owner.floor.min(floor.max(1)));\n",
    ),
    of(
        "the limit of a dead node's clock does not count",
        "src/chat/cluster/claims.rs",
        "Some(claim.owner.floor.max(hlc_limit))",
        "Some(claim.owner.floor.max(hlc_limit.min(1)))",
    ),
    of(
        "what was saved for somebody who comes is sent from memory",
        "src/chat/cluster/claims.rs",
        "        self.forget_saved(user);\n",
        "",
    ),
    of(
        "the dedup window stays behind",
        "src/chat/cluster/claims.rs",
        "        self.take_over_window(user, &window);\n",
        "        self.take_over_window(user, &window[window.len()..]);\n",
    ),
    of(
        "somebody who may be claimed elsewhere goes on here",
        "src/chat/cluster/letting_go.rs",
        "        is_marked || (self.some_lost && !is_claimed)",
        "        (is_marked && epoch == u64::MAX) || (self.some_lost && !is_claimed)",
    ),
    of(
        "a user is let go of before their messages are safe",
        "src/chat/cluster/letting_go.rs",
        "            if !going.open.is_empty() {",
        "            if going.open.len() > 1_000_000 {",
    ),
];
