//! The log events and counts of the core match the frames to clients.

use super::*;
use crate::sim::say::word_of;
use hongyan::chat::contract::{LogEvent, MessageTotals, PushHookNotice};

impl Oracle {
    /// Each answer to a log-in or sign-up comes directly behind its log event, and each such event
    /// is followed by its answer.
    pub(super) fn check_noted(&mut self, seen: &Seen) {
        let noted = self.noted.take();
        let answered = match seen {
            Seen::Heard(conn, Frame::Reply { reply: reply @ (Reply::Login { .. } | Reply::SignUp { .. }), .. }) => {
                Some((*conn, word_of(reply)))
            }
            _ => None,
        };
        assert_eq!(noted, answered, "noted, and answered");
        let Seen::Logged(event) = seen else {
            return;
        };
        self.check_log_in(event);
        let (client, word, user) = match event {
            LogEvent::LoggedIn { client, user, .. } => (client, "LS", Some(user)),
            LogEvent::LogInRefused { client, user, .. } => (client, "LF", user.as_ref()),
            LogEvent::SignedUp { client, .. } => (client, "SS", None),
            LogEvent::SignUpRefused { client, .. } => (client, "SF", None),
            _ => return,
        };
        self.noted = Some((client.conn, word));
        if let Some(user) = user {
            let attempt = self.view(client.conn).attempt.clone();
            assert_eq!(attempt.as_deref(), Some(user.as_str()), "{event:?} of somebody else");
        }
    }

    /// Nobody is announced twice without a log-in or a pause between, nor for nothing.
    pub(super) fn check_announced(&mut self, at_ms: u64, seen: &Seen) {
        match seen {
            Seen::Logged(LogEvent::LoggedIn { user, .. }) => _ = self.announced.remove(user.as_str()),
            Seen::Crashed => self.announced.clear(),
            Seen::Announced(PushHookNotice { push, waiting_pushes, .. }) => {
                self.count("announced");
                assert!(*waiting_pushes > 0, "announced for nothing");
                let before = self.announced.insert(push.receiver().to_owned(), at_ms);
                let pause_ms = self.rules.push_hook_pause_ms;
                assert!(
                    before.is_none_or(|before| at_ms >= before + pause_ms),
                    "{} was announced twice",
                    push.receiver()
                );
            }
            _ => {}
        }
    }

    fn counted(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// The counts of the core, over all crashes.
    pub fn check_totals(&self, totals: &MessageTotals) {
        let sent = self.counted("pushes") + self.counted("sent on another connection");
        // Whether such a request is outstanding on its connection is not known here.
        let moot = self.counted("moot requests sent again");
        assert_eq!(totals.sent + totals.resent, sent + self.counted("resends") + moot, "sent or resent");
        assert!((sent..=sent + moot).contains(&totals.sent), "sent: {} of {sent} and {moot}", totals.sent);
        // Those who are gone hear no `MS`.
        assert!(totals.promised >= self.counted("MS"), "{totals:?}, promised {}", self.counted("MS"));
        assert!(totals.taken >= self.promised.len() as u64, "{totals:?}, taken {}", self.promised.len());
        assert!(totals.promised <= totals.taken + totals.duplicates, "{totals:?}: promised and not taken");
        // An ack may be of a push that the core has dropped as a duplicate, or of a request that
        // is not known here to be outstanding.
        let acks = self.counted("acks") + self.counted("acks of nothing that is known to wait");
        assert!(totals.acked <= acks, "{totals:?}, acked {acks}");
    }
}
