//! Pushes: to whom, in which order, and how often they may come.

use super::*;

impl Oracle {
    pub(super) fn pushed(&mut self, at_ms: u64, conn: ConnId, push: &Push) {
        let rules = &self.rules;
        let view = self.conns.get_mut(&conn).expect("it is open");
        assert_eq!(view.user.as_deref(), Some(push.receiver()), "a push to a connection that is not its receiver's");
        assert!(!view.blocked, "a push into a blocked connection");
        self.check_blocked(push);
        let view = self.conns.get_mut(&conn).expect("it is open");
        assert!(!self.gone.contains(&push.seq), "withdrawn and sent again: {push:?}");
        // If the store did a job and could not say so, that may be found out only after a log-in
        // has delivered the push.
        let acked = self.acked_seqs.get(&push.seq) == Some(&self.incarnation);
        assert!(!acked || self.lost.contains(&push.seq), "acked and sent again: {push:?}");
        if let Some(item) = view.outstanding.get_mut(&push.seq) {
            assert!(at_ms - item.sent_ms >= rules.resend_every_ms, "sent again too early: {push:?}");
            assert_eq!(item.push, *push, "sent again, but changed");
            item.sent_ms = at_ms;
            item.in_question = false;
            return self.count("resends");
        }
        let same = view.certain().find(|item| item.push.id() == push.id());
        assert!(same.is_none(), "two of one id outstanding: {same:?} {push:?}");
        view.outstanding.insert(push.seq, Outstanding { push: push.clone(), sent_ms: at_ms, in_question: false });
        let count = view.certain().count();
        assert!(count <= rules.outstanding_max as usize, "more outstanding than allowed");
        let bytes: usize = view.certain().map(|item| item.push.written_bytes(ContentAsStringOrObject::Text)).sum();
        let fits = bytes <= rules.outstanding_bytes_max || count == 1;
        assert!(fits, "more bytes outstanding than allowed: {bytes}");
        if !self.sent.insert(push.seq) {
            let is_moot = self.moot.contains(&push.seq);
            return self.count(if is_moot { "moot requests sent again" } else { "sent on another connection" });
        }
        self.count("pushes");
        // Of two notices that are on their way the later one may be stored first.
        if push.kind == PushKind::Message && push.sender() != RESERVED_NAME {
            self.first_sent(push);
        }
    }

    fn first_sent(&mut self, push: &Push) {
        let pair = (push.sender().to_owned(), push.receiver().to_owned());
        let last = self.last_of_pair.insert(pair, push.seq);
        assert!(last.is_none_or(|last| last < push.seq), "out of order after {last:?}: {push:?}");
        let key = key_of(push);
        if let Some((seq, time_ms)) = self.last_sent.insert(key.clone(), (push.seq, push.time_ms)) {
            self.count("second copies after MF, a crash or a long time");
            let between = |(incarnation, at_ms): &(u32, u64)| {
                *incarnation == self.incarnation && (time_ms..push.time_ms).contains(&(EPOCH_MS + at_ms))
            };
            let remembered = self.promised.get(&key).is_some_and(|promised| promised.iter().any(between))
                && push.time_ms - time_ms <= self.rules.dedup_age_ms
                && self.rules.dedup_messages_max >= 1_024;
            assert!(!remembered, "a second copy of {seq}: {push:?}");
        }
    }
}
