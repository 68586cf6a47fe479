//! The mistakes: a piece of a source file that stands there once, and what is put in its place.

pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
}

const fn of(name: &'static str, file: &'static str, find: &'static str, replace: &'static str) -> Mutation {
    Mutation { name, file, find, replace }
}

pub(crate) const MUTATIONS: &[Mutation] = &[
    of(
        "`MS` when the message is taken",
        "src/chat/message.rs",
        "        self.deliver(item, out);",
        "        self.mark_durable(item, out);\n        self.deliver(item, out);",
    ),
    of(
        "`MS` when the save is submitted",
        "src/chat/delivery.rs",
        "        if self.submit(Job::SavePush { push }, JobPurpose::Save(item), out).is_err() {",
        "        self.mark_durable(item, out);\n        if self.submit(Job::SavePush { push }, JobPurpose::Save(item), out).is_err() {",
    ),
    of(
        "`MS` for a save that failed",
        "src/chat/delivery.rs",
        "            Outcome::Saved => {",
        "            Outcome::Saved | Outcome::Failed => {",
    ),
    of(
        "`MS` for one that is in the store and waits to be deleted",
        "src/chat/delivery.rs",
        "Outcome::Duplicate if self.undeleted.is_empty() => {",
        "Outcome::Duplicate => {",
    ),
    of(
        "a friendship that the store could not tell of is given up",
        "src/chat/friendship_ops.rs",
        "if self.undecided.len() >= self.undecided_max || bytes > UNDECIDED_BYTES_MAX {",
        "if op.failed > 2 || bytes > UNDECIDED_BYTES_MAX {",
    ),
    of("texts with escapes are written as they are", "src/protocol/push.rs", "        self.plain\n", "        true\n"),
    of("no deletion after an ack", "src/chat/ack.rs", "if stored {", "if stored && name.seq == 0 {"),
    of(
        "no deletion of one whose commit was not heard of",
        "src/chat/ack.rs",
        "!matches!(item.save, Save::None | Save::Full);",
        "item.save == Save::Done;",
    ),
    of(
        "a connection is known by its slot alone",
        "src/chat/session.rs",
        "?.as_ref().filter(|session| session.generation == conn.generation)\n",
        "?.as_ref()\n",
    ),
    of(
        "the newest is sent first",
        "src/chat/list.rs",
        "self.entries.push_back(Entry {",
        "self.entries.push_front(Entry {",
    ),
    of(
        "one overtakes another that is held back",
        "src/chat/list/sending.rs",
        "            && held.holds_of(sender())",
        "            && held.holds_of(sender() ^ 1)",
    ),
    of(
        "sent again into a blocked connection",
        "src/chat/delivery.rs",
        "        if session.blocked {",
        "        if session.blocked && self.now.mono_ms == 1 {",
    ),
    of(
        "never sent again",
        "src/chat/input.rs",
        "self.wheel.insert(since + self.rules.resend_every_ms, ",
        "self.wheel.insert(since + 1_000 * self.rules.resend_every_ms, ",
    ),
    of(
        "sent again too early",
        "src/chat/delivery.rs",
        "if at_ms + self.rules.resend_every_ms > self.now.mono_ms {",
        "if at_ms + self.rules.resend_every_ms > self.now.mono_ms + 5_000 {",
    ),
    of(
        "an ack takes off what was not sent on its connection",
        "src/chat/list.rs",
        "item.sent_ms != NEVER && sender.is_none_or",
        "sender.is_none_or",
    ),
    of(
        "more outstanding than allowed",
        "src/chat/list/sending.rs",
        "if self.sent >= count_max ||",
        "if self.sent > count_max ||",
    ),
    of(
        "the older connection stays after a new log-in",
        "src/chat/log_in.rs",
        "            self.say_and_close(older, REPLACED, CloseReason::Replaced, out);",
        "                let _ = (REPLACED, CloseReason::Replaced);",
    ),
    of("idle a look too early", "src/chat/mod.rs", "/ every + 1) * every", "/ every) * every"),
    of("idle a look too late", "src/chat/mod.rs", "/ every + 1) * every", "/ every + 2) * every"),
    of(
        "a repeated message is not known",
        "src/chat/message.rs",
        "me.dedup.as_ref().and_then(",
        "me.dedup.as_ref().filter(|_| id.as_str().is_empty()).and_then(",
    ),
    of(
        "RE_FRI_REQ before the commit",
        "src/chat/friend.rs",
        "        let submitted = self.submit_op(op, out);\n",
        "        self.answer(request, Reply::Friend { time_ms }, out);\n        let submitted = self.submit_op(op, out);\n",
    ),
    of(
        "what an online user had not acked is not saved when they go",
        "src/chat/paging.rs",
        "for item in unsaved {",
        "for item in unsaved.into_iter().skip(usize::MAX) {",
    ),
    of(
        "an accept makes friends one way",
        "src/chat/friend.rs",
        "            self.users.note_friend(other, me, friends);\n",
        "            if !friends {\n                self.users.note_friend(other, me, friends);\n            }\n",
    ),
    of(
        "a request that crossed the accepted one stays on the list",
        "src/chat/friend_rules.rs",
        "Effects { friends: Some(true), takes_off_requests: true, ..done }",
        "Effects { friends: Some(true), ..done }",
    ),
    of(
        "what is taken while a page is on its way is forgotten",
        "src/chat/paging.rs",
        "let more = page.more || !whole;",
        "let more = page.more;",
    ),
    of(
        "the next deadline is in the past",
        "src/chat/mod.rs",
        ".flatten().min()\n",
        ".flatten().min().map(|at_ms| at_ms / 2)\n",
    ),
    of(
        "a request is not answered in time",
        "src/chat/mod.rs",
        "Due::Request(request) => self.request_timed_out(request, out),",
        "Due::Request(request) => debug_assert!(self.requests.len() < usize::MAX, \"{request:?}\"),",
    ),
    of(
        "an answer to one user behind the log-in of another",
        "src/chat/log_in.rs",
        "session.unanswered > 0 && session.user",
        "session.unanswered > u32::MAX - 1 && session.user",
    ),
    of(
        "a log-in that waits for others' answers is forgotten",
        "src/chat/answer.rs",
        "            self.due_log_ins.push(conn);\n",
        "",
    ),
    of(
        "`MF` alone while nobody knows whether they are friends",
        "src/chat/friendship_ops.rs",
        "busy.in_doubt = true;",
        "busy.in_doubt = false;",
    ),
    of(
        "an accept that comes back as no such request is believed",
        "src/chat/friend_op.rs",
        "self.failed > 0 && !self.were_friends",
        "self.failed > 1_000 && !self.were_friends",
    ),
    of(
        "beyond the bound of what is in doubt nobody's friends are read anew",
        "src/chat/friend_rules.rs",
        "push: PushFate::Unknown, doubts: op.changes_friends(),",
        "push: PushFate::Unknown, doubts: false,",
    ),
    of(
        "beyond the bound of what is in doubt nobody looks for the push",
        "src/chat/friend.rs",
        "self.look_for(other, push.seq, out),",
        "_ = push,",
    ),
    of(
        "what the store refused in the end is not read back",
        "src/chat/friend_rules.rs",
        "Effects { doubts: op.failed > 0 && op.changes_friends(), ..refused",
        "Effects { doubts: false, ..refused",
    ),
    of(
        "a withdrawn request stays on the list",
        "src/chat/friend_rules.rs",
        "Effects { friends: Some(false), takes_off_requests: true, ..done }",
        "Effects { friends: Some(false), ..done }",
    ),
    of(
        "a withdrawn request stays pending",
        "src/store/memory.rs",
        "let withdrawn = tables.take_request(other, user).map(",
        "let withdrawn = tables.requests.get(&(other.clone(), user.clone())).cloned().map(",
    ),
    of(
        "an error in another write than its refusal",
        "src/net/writing.rs",
        "        if let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) {\n            let before = conn.output.len();\n            conn.framing.wrap(conn.output.tail(&mut self.buffers.spare), first);\n            conn.output.note_reply(before);\n            conn.output.count(&mut self.buffers.spare);\n            self.counters.frames += 1;\n        }\n",
        "        self.write(id, true, first);\n",
    ),
    of(
        "jobs of one user in several lanes",
        "src/store/pool.rs",
        "                    user.hash(&mut hasher);",
        "                    (user, ticket.slot).hash(&mut hasher);",
    ),
    of(
        "a guess that the cache answered is given back when it is not hashed",
        "src/chat/tries.rs",
        "(differs && settled == Settled::NotMade)",
        "(differs && settled == Settled::Wrong)",
    ),
    of(
        "what was answered stays in the queue",
        "src/chat/mod.rs",
        "due.retain(|(_, due)| self.is_open(*due));",
        "due.retain(|_| true);",
    ),
    of(
        "first tries are unsuspected however many are not settled",
        "src/chat/throttle.rs",
        "&& entry.reserved <= reserved_max)",
        "&& reserved_max > 0)",
    ),
    of(
        "an accept that began in doubt is called done by what an older one did",
        "src/chat/friend_rules.rs",
        "if op.began_in_doubt { Err(NOT_ASKED) }",
        "if op.began_in_doubt && op.failed > 1_000 { Err(NOT_ASKED) }",
    ),
];
