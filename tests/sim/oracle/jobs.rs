//! The oracle learns from the jobs that the store has done.

use super::*;

impl Oracle {
    pub(super) fn done(&mut self, job: &Job, outcome: &JobOutcome) {
        self.unsettled.extend(pair_in(job));
        self.note_stored(job, outcome);
        match (job, outcome) {
            (Job::SavePush { push }, JobOutcome::Saved | JobOutcome::Duplicate) => {
                self.committed.insert(key_of(push));
            }
            (Job::DeletePush { receiver, seq }, _) => {
                // Also a request of an account that is deleted, which was found by a search.
                let is_withdrawn =
                    self.requests.iter().any(|((asker, _), seqs)| self.is_deleted(asker) && seqs.contains(seq));
                let is_due = self.acked_seqs.contains_key(seq)
                    || self.moot.contains(seq)
                    || self.is_deleted(receiver.as_str())
                    || is_withdrawn;
                assert!(is_due, "deleted and not acked: {seq}");
            }
            (Job::LogIn { pushes_max, .. } | Job::Load { pushes_max, .. } | Job::LoadPage { pushes_max, .. }, _) => {
                assert!(*pushes_max <= self.rules.page_max, "a page larger than allowed");
            }
            (Job::AskFriend { push, .. }, JobOutcome::Failed) => self.note_request(push),
            (Job::AskFriend { push, .. }, JobOutcome::Asked(asked))
                if !matches!(
                    asked,
                    FriendRequestOutcome::NoSuchUser | FriendRequestOutcome::Full(_) | FriendRequestOutcome::YouBlock
                ) =>
            {
                self.note_request(push);
                self.befriended.insert(push.id().to_owned());
                if *asked == FriendRequestOutcome::Pending {
                    self.pending.insert((push.sender().to_owned(), push.receiver().to_owned()), push.seq);
                }
            }
            (Job::Unfriend { user, other }, JobOutcome::Unfriended) => {
                self.friends.remove(&pair_of(user.as_str(), other.as_str()));
                let pending = self.pending.remove(&(user.as_str().to_owned(), other.as_str().to_owned()));
                if pending.is_some() {
                    self.count("withdrawn requests");
                }
                self.withdrawn.extend(pending);
            }
            (Job::AnswerFriend { push, .. }, JobOutcome::Answered(FriendAnswerOutcome::Done)) => {
                let (asked, asker) = (push.sender().to_owned(), push.receiver().to_owned());
                if push.kind == PushKind::FriendAccept {
                    self.friends.insert(pair_of(&asked, &asker));
                    self.pending.remove(&(asked.clone(), asker.clone()));
                }
                let answered = self.pending.remove(&(asker, asked));
                self.owned.answered.extend(answered);
                self.befriended.insert(push.id().to_owned());
            }
            _ => {}
        }
        match (job, outcome) {
            (_, JobOutcome::Failed) => self.count("failed jobs"),
            (_, JobOutcome::Duplicate) => self.count("duplicates in the store"),
            (Job::LoadPage { .. }, _) => self.count("pages"),
            _ => {}
        }
    }

    pub(super) fn told(&mut self, job: &Job, outcome: &JobOutcome) {
        if let Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } = job {
            match outcome {
                JobOutcome::Full(_)
                | JobOutcome::Asked(FriendRequestOutcome::Full(_))
                | JobOutcome::Answered(FriendAnswerOutcome::Full(_)) => self.full.insert(push.id().to_owned()),
                _ => self.full.remove(push.id()),
            };
        }
        // Of one that failed the core knows that it knows nothing, and says so until it does.
        if let Some(pair) = pair_in(job) {
            self.unsettled.remove(&pair);
            if matches!(outcome, JobOutcome::Failed) {
                self.doubted.insert(pair);
            }
        }
        let gone = match (job, outcome) {
            (Job::SavePush { push }, JobOutcome::Duplicate) if self.undeleted.is_empty() => {
                let is_due = |seq: &u64| self.acked_seqs.get(seq) == Some(&self.incarnation) || self.moot.contains(seq);
                if !self.untold_deletions.is_empty() || self.stored.iter().any(is_due) {
                    return self.question(push.seq, true);
                }
                push.seq
            }
            (Job::SavePush { push }, JobOutcome::Saved) => return self.question(push.seq, false),
            (Job::DeletePush { seq, .. }, JobOutcome::Deleted) => {
                self.undeleted.remove(seq);
                self.untold_deletions.remove(seq);
                return;
            }
            (Job::DeletePush { seq, .. }, _) => {
                self.undeleted.insert(*seq);
                self.untold_deletions.remove(seq);
                return;
            }
            (Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. }, JobOutcome::Failed) => {
                self.lost.insert(push.seq);
                return;
            }
            (Job::AnswerFriend { push, .. }, JobOutcome::Answered(FriendAnswerOutcome::Done))
                if push.kind == PushKind::FriendAccept =>
            {
                return self.made_friends(push.sender(), push.receiver());
            }
            (Job::Unfriend { user, other }, JobOutcome::Unfriended) => {
                return self.withdrew(user.as_str(), other.as_str());
            }
            // Read to learn what became of an accept.
            (Job::Load { user, pushes_max: 0, .. }, JobOutcome::Loaded { friends, .. }) => {
                friends.iter().for_each(|friend| self.made_friends(user.as_str(), friend.as_str()));
                return;
            }
            _ => return,
        };
        for view in self.conns.values_mut() {
            view.outstanding.remove(&gone);
        }
    }

    /// Notes which pushes the store has.
    fn note_stored(&mut self, job: &Job, outcome: &JobOutcome) {
        match (job, outcome) {
            (Job::SavePush { push }, JobOutcome::Saved)
            | (Job::AskFriend { push, .. }, JobOutcome::Asked(FriendRequestOutcome::Pending))
            | (Job::AnswerFriend { push, .. }, JobOutcome::Answered(FriendAnswerOutcome::Done)) => {
                _ = self.stored.insert(push.seq)
            }
            (Job::DeletePush { seq, .. }, JobOutcome::Deleted) => {
                self.stored.remove(seq);
                self.untold_deletions.insert(*seq);
            }
            _ => {}
        }
    }

    fn question(&mut self, seq: u64, in_question: bool) {
        for item in self.conns.values_mut().filter_map(|view| view.outstanding.get_mut(&seq)) {
            item.in_question = in_question;
        }
    }

    pub(super) fn note_request(&mut self, push: &Push) {
        let asked = self.requests.entry((push.sender().to_owned(), push.receiver().to_owned()));
        asked.or_default().push(push.seq);
    }

    /// A withdrawn request is not sent any more.
    pub(super) fn withdrew(&mut self, user: &str, other: &str) {
        let asked = self.requests.get(&(user.to_owned(), other.to_owned())).into_iter().flatten();
        self.gone.extend(asked.filter(|seq| self.withdrawn.contains(seq)));
        self.made_friends(user, other);
    }

    /// Of two friends no request waits for an ack.
    pub(super) fn made_friends(&mut self, accepts: &str, asked: &str) {
        self.moot.extend(self.requests.remove(&(accepts.to_owned(), asked.to_owned())).unwrap_or_default());
        let is_moot = |push: &Push| push.kind == PushKind::FriendRequest && push.sender() == accepts;
        for view in self.conns.values_mut().filter(|view| view.user.as_deref() == Some(asked)) {
            view.outstanding.retain(|_, item| !is_moot(&item.push));
        }
    }
}
