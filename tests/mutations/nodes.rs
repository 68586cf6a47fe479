//! Mistakes of several nodes about the database that they share, and about what they hand over.

use super::table::{Mutation, of};

pub(crate) const MUTATIONS: &[Mutation] = &[
    of(
        "a node writes although it was fenced",
        "src/store/mysql/lanes.rs",
        "UPDATE lanes SET n = n + 1 WHERE node = {} AND lane = {} AND epoch = {}\"",
        "UPDATE lanes SET n = n + 1 WHERE node = {} AND lane = {} AND epoch >= {}\"",
    ),
    of(
        "a fenced node writes into the store of the simulation (nofence)",
        "tests/sim/cluster/store.rs",
        "        if !is_read && !self.is_current(me) {",
        "        if !is_read && !self.is_current(me) && me.epoch == 0 {",
    ),
    of(
        "a silent node is never fenced",
        "src/store/mysql/lease.rs",
        "now) >= self.silence_max && beats > 0 {",
        "now) >= self.silence_max && beats == 0 {",
    ),
    of(
        "the owner is read before the commit",
        "src/store/mysql/whereabouts.rs",
        "\"COMMIT; SELECT user_name, node, node_epoch, epoch, floor FROM whereabouts \\\n             WHERE device = '' AND user_name IN ({names})\"",
        "\"SELECT user_name, node, node_epoch, epoch, floor FROM whereabouts \\\n             WHERE device = '' AND user_name IN ({names}); COMMIT\"",
    ),
    of(
        "a user is claimed although another node was faster",
        "src/store/mysql/whereabouts.rs",
        "WHERE user_name = ? AND device = '' AND epoch = ?\";\n        let values",
        "WHERE user_name = ? AND device = '' AND epoch >= ?\";\n        let values",
    ),
    of(
        "another message under a stored id is taken for the stored one",
        "src/store/mysql/whereabouts.rs",
        "Ok(is_other.then_some(number(&row, 0)?))",
        "Ok((is_other && push.seq == 0).then_some(number(&row, 0)?))",
    ),
    of(
        "the same text is another message after a while",
        "src/protocol/push.rs",
        "self.content() == content || self.time_ms",
        "self.time_ms == time_ms || self.time_ms",
    ),
    of(
        "the id stays that of the older message",
        "src/store/push_jobs.rs",
        "    nodes.free_message_id(older)?;\n",
        "    _ = older;\n",
    ),
    of(
        "a message that is saved beside another one is not counted",
        "src/store/push_jobs.rs",
        "    mailbox_counts.note_saved(push);\n    Ok(JobOutcome::Saved)",
        "    Ok(JobOutcome::Saved)",
    ),
    of(
        "another message on a page is taken for the one on the list",
        "src/chat/mailbox.rs",
        "push.is_repetition_of(body.time_ms, body.content())",
        "push.is_repetition_of(body.time_ms, push.content())",
    ),
    of(
        "a repetition on a page that is encrypted anew is delivered twice",
        "src/protocol/push.rs",
        "self.time_ms.abs_diff(time_ms) <= REPEATED_WITHIN_MS",
        "self.time_ms == u64::MAX",
    ),
    of(
        "the pushes of a page overtake earlier ones that are handed over",
        "src/chat/paging.rs",
        "tail.next_if(|delivery| delivery.seq < push.seq)",
        "tail.next_if(|delivery| delivery.seq < push.seq && delivery.seq == 0)",
    ),
    of(
        "a push of a phase that has ended is taken",
        "src/chat/cluster/foreign.rs",
        "foreign.phase(*user, from) == Some(phase))",
        "foreign.phase(*user, from).is_some_and(|at| at >= phase))",
    ),
    of(
        "the row of a push that was acked before it was read stays",
        "src/chat/cluster/foreign.rs",
        "            self.delete(seq, user, out);\n        }\n        is_acked",
        "            _ = (user, out);\n        }\n        is_acked",
    ),
    of(
        "a frame that names a newer view is taken at once",
        "src/chat/cluster/bus.rs",
        "IncarnationState::Lives if frame.view <= view => self.take_frame(from, frame, out),",
        "IncarnationState::Lives if frame.view <= view.max(frame.view) => self.take_frame(from, frame, out),",
    ),
    of(
        "that some dirty receivers are not listed is told to the next node only",
        "src/chat/cluster/inherited.rs",
        "        let loss = has_unlisted.then_some(loss);\n",
        "        let loss = has_unlisted.then_some(loss).filter(|_| sender == 0);\n",
    ),
    of(
        "that pairs were lost is told to the next node only",
        "src/chat/cluster/dirty.rs",
        "let has_unlisted = has_lost_pairs || inherited.has_unlisted;",
        "let has_unlisted = inherited.has_unlisted;",
    ),
    of(
        "a user who moves all the time is never settled",
        "src/chat/cluster/inherited.rs",
        "let age_ms = now_ms - inherited.since_ms;",
        "let age_ms = now_ms.min(inherited.since_ms) - inherited.since_ms;",
    ),
    of(
        "the owners of all dirty receivers are read at each log-in",
        "src/chat/cluster/claims.rs",
        "        self.look_at_lists(&known, out);\n        let (now_ms",
        "        self.look_at_lists(&known, out);\n        for name in dirty.listed.clone() {\n            let receiver = self.users.retain_by_name(&name);\n            self.notify_owner(receiver, super::OwnerNodeRereadParts::PUSHES, Some(sender), out);\n            self.users.release(receiver);\n        }\n        let (now_ms",
    ),
    of(
        "the lists of all dirty receivers are read at once",
        "src/chat/cluster/looks.rs",
        "users.split_at(users.len().min(SWEEP_AT_ONCE_MIN));",
        "users.split_at(users.len().min(SWEEP_AT_ONCE_MIN.max(users.len())));",
    ),
    of(
        "a node that drains does not say so",
        "src/store/mysql/lease.rs",
        "is_draining: state.is_draining }",
        "is_draining: state.is_draining && clock == 0 }",
    ),
    of(
        "a fenced node is shown as one that has stopped",
        "src/store/mysql/epochs.rs",
        "NodeRowStatusMark::Fenced.assignments(new)",
        "NodeRowStatusMark::Stopped.assignments(new)",
    ),
    of(
        "a node on a Galera server reads before that has applied what others committed",
        "src/store/mysql/signs.rs",
        "\"SET SESSION wsrep_sync_wait = 1\"",
        "\"SET SESSION wsrep_sync_wait = 0\"",
    ),
    of(
        "a node reads on a server that has become read-only",
        "src/store/mysql/values.rs",
        "Ok(matches!(read_only.flatten().as_deref(), Some(\"0\" | \"OFF\")))",
        "Ok(read_only.is_some())",
    ),
    of(
        "the signs of life of a node stay on a server that has become read-only",
        "src/store/mysql/lease.rs",
        "let is_demoted = was_demoted(&error, self.connected_at);",
        "let is_demoted = was_demoted(&error, self.connected_at) && self.silences.len() > 9;",
    ),
    of(
        "a node takes a database server with older data for a fence",
        "src/store/mysql/node_identity.rs",
        "if found.is_some_and(|epoch| epoch > self.incarnation.epoch) {",
        "if found.is_none_or(|epoch| epoch != self.incarnation.epoch) {",
    ),
    of(
        "the lease follows a view of the past",
        "src/store/mysql/lease.rs",
        "if view.number < self.last_view {",
        "if view.number < self.last_view && beats.is_empty() {",
    ),
    of(
        "a server that uses the database alone reads on the old primary",
        "src/store/mysql/lanes.rs",
        "self.count.load(Ordering::SeqCst) != self.seen",
        "self.count.load(Ordering::SeqCst) < self.seen",
    ),
];
