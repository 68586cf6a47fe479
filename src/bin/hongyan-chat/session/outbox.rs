//! Messages that the server has not promised to deliver yet, in their order. A message whose result
//! is unknown is sent again under the same id.

use super::ChatSessionWorker;
use super::shared::{ChatSessionShared, ChatSessionThreadTask};
use crate::message::{ChatHistoryMessage, ChatHistoryMessageState, KeyTrust, MessageEncryptionStatus};
use crate::session_messages::ChatSessionEvent;
use hongyan::client::{Error, PendingSend, new_id};
use std::collections::BTreeSet;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// In ms. The server recognises a repeated message for 10 minutes, unless its operator has changed
/// that.
const TRY_FOR: u64 = 8 * 60 * 1_000;
/// The delay before keys that could not be fetched are fetched again.
const PAUSE: Duration = Duration::from_secs(1);
const MAY_BE_DELIVERED: &str = "no answer came: it may have been delivered, and would arrive twice";
/// How many messages may be in flight at once; the library has a limit, too.
const IN_FLIGHT_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct ChatOutbox {
    entries: Vec<ChatOutboxEntry>,
    /// No message is begun before this time.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct ChatOutboxEntry {
    with: String,
    id: String,
    sending: Option<PendingSend>,
}

impl ChatOutbox {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, with: &str, id: &str) {
        let is_here = self.entries.iter().any(|entry| entry.with == with && entry.id == id);
        if !is_here {
            self.entries.push(ChatOutboxEntry { with: with.to_owned(), id: id.to_owned(), sending: None });
        }
    }
}

/// The next step for an entry.
#[derive(Debug, PartialEq, Eq)]
enum ChatOutboxEntryDecision {
    Keep,
    Done(ChatHistoryMessageState),
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Stores a message and gives it to the worker for sending. The screen's thread does this itself,
/// because the worker may be waiting for the server. Returns news for the screen.
pub(super) fn store_and_queue(
    desk: &ChatSessionShared,
    tasks: &SyncSender<ChatSessionThreadTask>,
    to: String,
    text: String,
) -> Vec<ChatSessionEvent> {
    let id = match new_id() {
        Ok(id) => id,
        Err(error) => return vec![ChatSessionEvent::NotKept { with: to, text, reason: format!("not sent: {error}") }],
    };
    // A guess, which is corrected when the message is sent. The keyring may be locked for a while,
    // when keys are being generated.
    let is_pinned = desk.keyring.try_lock().is_ok_and(|keyring| keyring.has_pinned(&to));
    let seal = if is_pinned { MessageEncryptionStatus::Sealed } else { MessageEncryptionStatus::Plain };
    let mut message = ChatHistoryMessage {
        with: to.clone(),
        id: id.clone(),
        time: now(),
        text,
        way: ChatHistoryMessageState::Sent,
        seal,
    };
    let (kept, mut news) = desk.change(|history| history.add(&message));
    if let Err(error) = kept {
        let reason = format!("the message cannot be kept, and was not sent: {error}");
        news.push(ChatSessionEvent::NotKept { with: to, text: message.text, reason });
        return news;
    }
    if tasks.try_send(ChatSessionThreadTask::Send { to: to.clone(), id: id.clone() }).is_err() {
        message.way = ChatHistoryMessageState::Failed("not delivered: too much waits already".to_owned());
        let (kept, more) = desk.change(|history| history.store_state(&to, &id, &message.way));
        news.extend(more);
        news.extend(kept.err().map(|error| ChatSessionEvent::Warned(format!("cannot write the messages: {error}"))));
    }
    news.push(ChatSessionEvent::Message(message));
    news
}

impl ChatSessionWorker {
    pub(super) fn retry(&mut self, with: &str, id: &str) {
        self.set_state(with, id, ChatHistoryMessageState::Sent);
        self.outbox.push(with, id);
    }

    fn set_state(&self, with: &str, id: &str, way: ChatHistoryMessageState) {
        let kept = self.shared.update_history(|history| history.store_state(with, id, &way));
        if let Err(error) = kept {
            self.shared.warn(format!("cannot write the messages: {error}"));
        }
        self.shared.emit(ChatSessionEvent::Became { with: with.to_owned(), id: id.to_owned(), way });
    }

    /// Takes the next step for all messages that are not finished.
    pub(super) fn work_outbox(&mut self) {
        let entries = std::mem::take(&mut self.outbox.entries);
        self.outbox.entries = one_by_one(entries, |entry, has_room| {
            let is_paused = self.outbox.paused_until.is_some_and(|until| Instant::now() < until);
            let step = match entry.sending {
                Some(_) => look_at(entry),
                None if has_room && !is_paused => self.begin_sending(entry),
                None => ChatOutboxEntryDecision::Keep,
            };
            if let ChatOutboxEntryDecision::Done(way) = step {
                self.set_state(&entry.with, &entry.id, way);
                return false;
            }
            true
        });
    }

    fn begin_sending(&mut self, entry: &mut ChatOutboxEntry) -> ChatOutboxEntryDecision {
        let Some(client) = self.client.clone().filter(|client| self.is_online && client.is_online()) else {
            return ChatOutboxEntryDecision::Keep;
        };
        if !self.knows_own_keys {
            self.check_own_keys();
        }
        let trust = if self.is_fresh(&entry.with) { None } else { Some(self.trust(&entry.with)) };
        match trust {
            // The keys could not be fetched; it will be tried again.
            Some(None) => {
                self.outbox.paused_until = Some(Instant::now() + PAUSE);
                return ChatOutboxEntryDecision::Keep;
            }
            Some(Some(KeyTrust::Changed { .. } | KeyTrust::Gone | KeyTrust::CannotSeal)) => {
                return not_delivered("the keys stop it, as is said below");
            }
            _ => {}
        }
        let (found, tried) = {
            let history = self.shared.history();
            (history.find(&entry.with, &entry.id).cloned(), history.first_try(&entry.with, &entry.id))
        };
        let Some(message) = found else { return not_delivered("it is not kept any more") };
        if tried.is_some_and(|tried| is_too_late(tried, now())) {
            return ChatOutboxEntryDecision::Done(ChatHistoryMessageState::Failed(MAY_BE_DELIVERED.to_owned()));
        }
        let sealed = self.shared.keyring().seal(&entry.with, &entry.id, &message.text);
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(why) => return not_delivered(&why),
        };
        if sealed.seal != message.seal {
            let changed = ChatHistoryMessage { seal: sealed.seal, ..message };
            let kept = self.shared.update_history(|history| history.clear(&changed));
            if let Err(error) = kept {
                self.shared.warn(format!("cannot write the messages: {error}"));
            }
            self.shared.emit(ChatSessionEvent::Cleared(changed));
        }
        if tried.is_none()
            && let Err(error) =
                self.shared.update_history(|history| history.store_first_try(&entry.with, &entry.id, now()))
        {
            return not_delivered(&format!("it cannot be kept that it is sent: {error}"));
        }
        match client.begin_send_with_id(&entry.id, &entry.with, &sealed.content) {
            Ok(sending) => {
                entry.sending = Some(sending);
                ChatOutboxEntryDecision::Keep
            }
            Err(Error::Busy | Error::Ended(_)) => ChatOutboxEntryDecision::Keep,
            Err(error) => not_delivered(&error.to_string()),
        }
    }
}

fn not_delivered(why: &str) -> ChatOutboxEntryDecision {
    ChatOutboxEntryDecision::Done(ChatHistoryMessageState::Failed(format!("not delivered: {why}")))
}

/// Might the server no longer recognise a message that was first sent at `tried`, and treat it as a
/// new one? The clock may have been set back meanwhile.
fn is_too_late(tried: u64, now: u64) -> bool {
    now.abs_diff(tried) > TRY_FOR
}

/// Calls `work` for the first message to each friend, and for the next one when that one is
/// finished. Returns the messages that are left. If several messages to one friend were in flight,
/// one that has to be sent again would be overtaken by the others. `work` gets whether there is
/// room for one more message in flight, and returns whether the message stays.
fn one_by_one(
    mut entries: Vec<ChatOutboxEntry>,
    mut work: impl FnMut(&mut ChatOutboxEntry, bool) -> bool,
) -> Vec<ChatOutboxEntry> {
    let mut busy = BTreeSet::new();
    let mut in_flight = entries.iter().filter(|entry| entry.sending.is_some()).count();
    entries.retain_mut(|entry| {
        if busy.contains(&entry.with) {
            return true;
        }
        let was_in_flight = entry.sending.is_some();
        let stays = work(entry, in_flight < IN_FLIGHT_MAX);
        in_flight += usize::from(stays && entry.sending.is_some());
        in_flight -= usize::from(was_in_flight);
        if stays {
            busy.insert(entry.with.clone());
        }
        stays
    });
    entries
}

fn look_at(entry: &mut ChatOutboxEntry) -> ChatOutboxEntryDecision {
    let Some(result) = entry.sending.as_ref().and_then(PendingSend::result) else {
        return ChatOutboxEntryDecision::Keep;
    };
    entry.sending = None;
    outcome_of(result)
}

/// The step that follows an answer.
fn outcome_of(result: Result<(), Error>) -> ChatOutboxEntryDecision {
    match result {
        Ok(()) => ChatOutboxEntryDecision::Done(ChatHistoryMessageState::Safe),
        // The message is sent again for as long as the server recognises it.
        Err(error) if error.may_have_been_executed() || error == Error::Busy => ChatOutboxEntryDecision::Keep,
        Err(error) => not_delivered(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hongyan::client::{ErrorCode, ServerRefusal};

    #[test]
    fn a_message_that_may_be_delivered_is_sent_again_for_as_long_as_the_server_recognises_it() {
        let refused = |code| Err(Error::Refused(ServerRefusal { code: Some(code), text: "said".into() }));
        for result in [Err(Error::TimedOut), refused(ErrorCode::Unavailable), refused(ErrorCode::ShuttingDown)] {
            assert_eq!(outcome_of(result), ChatOutboxEntryDecision::Keep);
        }
        for result in [Err(Error::NotFriends), refused(ErrorCode::Full), refused(ErrorCode::BadField)] {
            assert!(matches!(outcome_of(result), ChatOutboxEntryDecision::Done(ChatHistoryMessageState::Failed(_))));
        }
        assert_eq!(outcome_of(Ok(())), ChatOutboxEntryDecision::Done(ChatHistoryMessageState::Safe));
        let minute = 60_000;
        for (tried, now, too_late) in
            [(50, 50, false), (50, 57, false), (50, 59, true), (50, 49, false), (50, 20, true)]
        {
            assert_eq!(is_too_late(tried * minute, now * minute), too_late, "{tried} {now}");
        }
    }

    #[test]
    fn a_message_waits_until_the_one_before_it_to_the_same_friend_is_done() {
        let mut outbox = ChatOutbox::default();
        for (with, id) in [("bob", "1"), ("bob", "2"), ("zoe", "3"), ("bob", "1")] {
            outbox.push(with, id);
        }
        let worked = |entries: Vec<ChatOutboxEntry>, done: &[&str]| {
            let mut seen = Vec::new();
            let left = one_by_one(entries, |entry, may_begin| {
                assert!(may_begin);
                seen.push(entry.id.clone());
                !done.contains(&entry.id.as_str())
            });
            (left, seen)
        };
        // The first message has to be sent several times.
        let (left, seen) = worked(outbox.entries, &[]);
        assert_eq!(seen, ["1", "3"]);
        let (left, seen) = worked(left, &["3"]);
        assert_eq!(seen, ["1", "3"]);
        let (left, seen) = worked(left, &["1"]);
        assert_eq!((seen, left.len()), (vec!["1".into(), "2".into()], 1));
    }
}
