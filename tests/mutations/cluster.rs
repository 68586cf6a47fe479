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
        "a save that seems to have failed is told to nobody",
        "src/chat/cluster/telling.rs",
        "        if self.cluster.is_some()\n            && let Some(found)",
        "        if self.cluster.is_none()\n            && let Some(found)",
    ),
    of(
        "an owner that is younger than the view is not told",
        "src/chat/cluster/telling.rs",
        "                return false;\n",
        "",
    ),
    of(
        "the owner that was asked for too early is told",
        "src/chat/cluster/telling.rs",
        "Asking::Asked => telling.asking = Asking::AskedTooEarly,",
        "Asking::Asked => {}",
    ),
    of(
        "a death in the view marks no list",
        "src/chat/cluster/mod.rs",
        "        if any_died {",
        "        if any_died && me.get() == 0 {",
    ),
    of(
        "records that are missing mark no list",
        "src/chat/cluster/mod.rs",
        "            Record::Missed => self.look_at_all(out),",
        "            Record::Missed => {}",
    ),
    of(
        "a page begins behind the last one",
        "src/chat/paging.rs",
        "let job = if self.cluster.is_some() {",
        "let job = if self.cluster.is_some() && after_seq == u64::MAX {",
    ),
    of(
        "a look while a page is on its way is forgotten",
        "src/chat/mailbox.rs",
        "            Backfill::Opening | Backfill::Backlog { asking: true, .. } => self.tail_lost = true,",
        "            Backfill::Opening | Backfill::Backlog { asking: true, .. } => {}",
    ),
    of(
        "one message under two numbers is sent twice",
        "src/chat/paging.rs",
        "        self.merge_twins(user, &page, out);\n",
        "",
    ),
    of(
        "a user is claimed before their node has let go",
        "src/chat/cluster/claims.rs",
        "Some(_) if claim.is_free =>",
        "Some(_) if claim.is_free || claim.serial > 0 =>",
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
        "nobody looks for what may have been saved elsewhere",
        "src/chat/cluster/letting_go.rs",
        "        let dirty = self.dirty_of(&name);\n",
        "        let dirty = self.dirty_of(&name).into_iter().take(0).collect();\n",
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
        "what was let go of before is taken for this time",
        "src/chat/cluster/claims.rs",
        "claim.serial == serial && claim.owner.epoch == epoch",
        "claim.serial == serial && claim.owner.epoch >= epoch",
    ),
    of(
        "a user is let go of before their messages are safe",
        "src/chat/cluster/letting_go.rs",
        "            if !going.open.is_empty() {",
        "            if going.open.len() > 1_000_000 {",
    ),
    of(
        "a user is let go of before what was taken for them is saved",
        "src/chat/cluster/letting_go.rs",
        "        if going.settling == Settling::Barrier {\n",
        "        if going.settling == Settling::Barrier && going.claim > 0 {\n            self.let_go(user, out);\n        } else if going.settling == Settling::Barrier {\n",
    ),
];
