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
        "src/chat/friend.rs",
        "if self.undecided.len() >= self.rules.undecided_max || bytes > UNDECIDED_BYTES_MAX {",
        "if friendship.failed > 2 || bytes > UNDECIDED_BYTES_MAX {",
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
        "        let job = self.friendship_job(&friendship);\n        if let",
        "        self.answer(request, Reply::Friend { time_ms }, out);\n        let job = self.friendship_job(&friendship);\n        if let",
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
        "            self.users.note_friend(me, other, true);\n            self.users.note_friend(other, me, true);\n        }\n        if matches!(outcome, Outcome::Unfriended)",
        "            self.users.note_friend(me, other, true);\n        }\n        if matches!(outcome, Outcome::Unfriended)",
    ),
    of(
        "a request that crossed the accepted one stays on the list",
        "src/chat/friend.rs",
        "        if accepted {\n            self.take_off_requests(other, me, out);\n",
        "        if accepted {\n",
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
        "src/chat/friend.rs",
        "pair.in_doubt = true;",
        "pair.in_doubt = false;",
    ),
    of(
        "an accept that comes back as no such request is believed",
        "src/chat/friend.rs",
        "let may_be_done = friendship.failed > 0 &&",
        "let may_be_done = friendship.failed > 1_000 &&",
    ),
    of(
        "beyond the bound of what is in doubt nobody's friends are read anew",
        "src/chat/friend.rs",
        "            self.doubt_both(&friendship);\n            if let",
        "            if let",
    ),
    of(
        "beyond the bound of what is in doubt nobody looks for the push",
        "src/chat/friend.rs",
        "self.look_for(friendship.other, push.seq, out);",
        "let _ = push;",
    ),
    of(
        "what the store refused in the end is not read back",
        "src/chat/friend.rs",
        "            self.doubt_both(&friendship);\n        }\n",
        "        }\n",
    ),
    of(
        "a withdrawn request stays on the list",
        "src/chat/friend.rs",
        "perhaps by a try that failed afterwards.\n            self.take_off_requests(other, me, out);\n",
        "perhaps by a try that failed afterwards.\n",
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
        "src/chat/friend.rs",
        "if read_back && !began_in_doubt => done",
        "if read_back => { _ = began_in_doubt; done }",
    ),
];
