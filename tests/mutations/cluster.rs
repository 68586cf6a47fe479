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
        "            if !cluster.taken.is_settled(user, &self.deliveries) {",
        "            if !cluster.taken.is_settled(user, &self.deliveries) && going.epoch == u64::MAX {",
    ),
    of(
        "a save that seems to have failed is told to nobody",
        "src/chat/cluster/telling.rs",
        "            let (receiver, sender) = (found.receiver, found.sender);\n            self.tell_owner(receiver, What::PUSHES, sender, out);\n",
        "            _ = (found, out);\n",
    ),
    of(
        "an owner that is younger than the view counts as dead",
        "src/chat/cluster/mod.rs",
        "            _ => Life::Unknown,",
        "            _ => Life::Dead { hlc_limit: 0 },",
    ),
    of(
        "an owner that was asked for too early is believed",
        "src/chat/cluster/telling.rs",
        "            Asking::Asked => telling.asking = Asking::AskedTooEarly,",
        "            Asking::Asked => {}",
    ),
    of(
        "that records were missed changes nothing",
        "src/chat/cluster/mod.rs",
        "            Record::Missed => self.look_at_all(out),",
        "            Record::Missed => {}",
    ),
    of(
        "a look while a page is read is forgotten",
        "src/chat/mailbox.rs",
        "            Backfill::Opening | Backfill::Backlog { asking: true, .. } => self.tail_lost = true,",
        "            Backfill::Opening | Backfill::Backlog { asking: true, .. } => {}",
    ),
    of("a message under two numbers is two", "src/chat/paging.rs", "        self.merge_twins(user, &page, out);\n", ""),
    of(
        "those for whom something may be saved are not handed over",
        "src/chat/cluster/letting_go.rs",
        "        let dirty = self.dirty_of(user, to, out);\n",
        "        let dirty = self.dirty_of(user, to, out).split_off(usize::MIN).into_iter().skip(usize::MAX).collect();\n",
    ),
    of(
        "those for whom something may be saved are not looked for",
        "src/chat/cluster/claims.rs",
        "        for receiver in dirty {",
        "        for receiver in dirty.into_iter().skip(usize::MAX) {",
    ),
    of(
        "a user is claimed before the other node has let go",
        "src/chat/cluster/claims.rs",
        "                None\n            }\n            Some((_, Life::Unknown)) => {",
        "                Some(claim.owner.floor)\n            }\n            Some((_, Life::Unknown)) => {",
    ),
    of(
        "a user is let go of before what was taken for them is saved",
        "src/chat/cluster/letting_go.rs",
        "            going.settling = Settling::Barrier;\n        }\n",
        "            (going.settling, going.barriers) = (Settling::Asked, 1);\n            return self.let_go(user, out);\n        }\n",
    ),
    of(
        "what an earlier claim was answered is believed",
        "src/chat/cluster/claims.rs",
        ".filter(|claim| claim.serial == serial && claim.owner.epoch == epoch)",
        ".filter(|claim| claim.serial != serial || claim.owner.epoch <= epoch || serial < u64::MAX)",
    ),
    of(
        "a user who was here again meanwhile is let go of as they were before",
        "src/chat/cluster/letting_go.rs",
        "            Some(going) if epoch > going.epoch => {",
        "            Some(going) if epoch > going.epoch && epoch == u64::MAX => {",
    ),
    of(
        "a barrier from before they were here again counts",
        "src/chat/cluster/letting_go.rs",
        "        if going.barriers > 0 || going.settling != Settling::Asked {",
        "        if going.barriers > 0 && going.settling != Settling::Asked {",
    ),
    of(
        "a life that was overlooked marks no list",
        "src/chat/cluster/views.rs",
        "else { state.last.epoch > epoch + 1 }",
        "else { state.last.epoch > epoch + 1 && lived }",
    ),
    of(
        "what is missed often begins again from the start",
        "src/chat/cluster/looks.rs",
        "            users.rotate_left(place);",
        "            users.rotate_left(place.min(0));",
    ),
    of(
        "a user is let go of without the messages that the window forgot",
        "src/chat/cluster/taken.rs",
        "            cluster.taken.note(&self.deliveries);",
        "            _ = (&cluster.taken, &self.deliveries);",
    ),
];
