//! Telling other nodes who is online here, and who comes and goes.

use super::super::super::ServerCore;
use super::super::super::contract::CoreAction;
use super::super::super::ids::UserSlot;
use super::super::contract::{NodeIncarnation, NodeMessage, NodePresenceUpdate};
use super::PendingUserPresenceReportToNodes;
use crate::protocol::field::UserName;
use std::collections::BTreeMap;

/// A user who goes offline is reported this much later.
const GONE_AFTER_MS: u64 = 1_000;
/// If more users come and go between two reports, the node reports all its users instead.
const MOVES_MAX: usize = 10_000;
/// The number of users in one [`NodeMessage::Present`].
const PRESENT_MAX: usize = 4_096;
/// The bytes of names in one [`NodeMessage::Moved`], without its last user.
const MOVED_BYTES_MAX: usize = 32 * 1024;
/// All users are told over the bus if that is at most this part of what a link may hold, and
/// through the database otherwise.
const PRESENT_OF_LINK: usize = 4;
/// After this time, a record that was sent through the database has been read. Until then, later
/// records go the same way, so that they do not overtake it.
const INBOX_READ_WITHIN_MS: u64 = 5_000;

/// A reason to report a user to the other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super::super) enum UserPresenceReportToNodesReason {
    /// The user was not here before.
    Comes,
    /// The user is here and has new friends, whose nodes must know that they are.
    HasNewFriends,
    /// The user is about to go offline.
    Goes,
}

impl ServerCore {
    /// Another node asks which users are here, and wants to be told of changes from now on.
    pub(in super::super) fn on_presence_query(&mut self, from: NodeIncarnation, out: &mut Vec<CoreAction>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.presence.listeners.entry(from).or_default();
            self.send_presence_lists(&[from], out);
        }
    }

    fn send_presence_lists(&mut self, listeners: &[NodeIncarnation], out: &mut Vec<CoreAction>) {
        let here = self.users.iter().filter(|(_, user, _)| user.is_here());
        let here: Vec<u64> = here.map(|(_, user, _)| self.users.hash(user.name.as_str())).collect();
        if let Some(cluster) = &mut self.cluster {
            // Users whose arrival is not reported yet are in this answer.
            for (name, one) in &mut cluster.presence.pending_reports {
                let user = self.users.find(name.as_str());
                one.was_reported_online |= user.is_some_and(|user| self.users.is_here(user));
            }
        }
        let parts: Vec<&[u64]> = if here.is_empty() { vec![&[]] } else { here.chunks(PRESENT_MAX).collect() };
        let is_too_much = size_of_val(&*here) > self.rules.link_bytes_max / PRESENT_OF_LINK;
        for &to in listeners {
            if is_too_much {
                self.send_presence_through_database(to);
            }
            for (place, part) in parts.iter().enumerate() {
                let (is_first, is_last) = (place == 0, place + 1 == parts.len());
                let users = part.to_vec();
                self.tell_presence(to, |number| NodeMessage::Present { number, is_first, is_last, users }, out);
            }
        }
    }

    fn send_presence_through_database(&mut self, to: NodeIncarnation) {
        let until_ms = self.now.mono_ms + INBOX_READ_WITHIN_MS;
        if let Some(listener) = self.cluster.as_mut().and_then(|cluster| cluster.presence.listeners.get_mut(&to)) {
            listener.database_only_until_ms = until_ms;
        }
    }

    /// Gives a record to a listener its number, and sends it.
    fn tell_presence(
        &mut self,
        to: NodeIncarnation,
        record: impl FnOnce(u64) -> NodeMessage,
        out: &mut Vec<CoreAction>,
    ) {
        let now_ms = self.now.mono_ms;
        let listener = self.cluster.as_mut().and_then(|cluster| cluster.presence.listeners.get_mut(&to));
        let Some(listener) = listener else {
            debug_assert!(false, "only nodes that have asked are told");
            return;
        };
        listener.last += 1;
        let (record, through_database) = (record(listener.last), now_ms < listener.database_only_until_ms);
        if through_database {
            out.push(CoreAction::Send { to, record });
        } else {
            self.send_record(to, record, out);
        }
    }

    /// Schedules a report about a user to the nodes that have asked for such reports.
    pub(in super::super::super) fn schedule_presence_report(
        &mut self,
        user: UserSlot,
        reason: UserPresenceReportToNodesReason,
    ) {
        let Some(cluster) = self.cluster.as_ref() else { return };
        if cluster.presence.listeners.is_empty() && cluster.presence.remote_users.is_empty() {
            return;
        }
        let entry = self.users.get(user);
        let (name, hash) = (entry.name.clone(), self.users.hash(entry.name.as_str()));
        let goes = reason == UserPresenceReportToNodesReason::Goes;
        let friends = if goes { self.names_of_friends(user) } else { Vec::new() };
        let due_ms = self.now.mono_ms + if goes { GONE_AFTER_MS } else { 0 };
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        if !goes {
            presence.set_here(hash);
        }
        if presence.listeners.is_empty() || presence.reports_all_users {
            return;
        }
        let one = presence.pending_reports.entry(name).or_insert(PendingUserPresenceReportToNodes {
            due_ms,
            // If nothing is pending, the arrival of a user who was here before was reported.
            was_reported_online: reason != UserPresenceReportToNodesReason::Comes,
            friends: Vec::new(),
        });
        (one.due_ms, one.friends) = (due_ms, friends);
        if presence.pending_reports.len() > MOVES_MAX {
            presence.pending_reports.clear();
            presence.reports_all_users = true;
        }
        self.arm_remote_presence_timer();
    }

    /// The friends of a user, including those who are here: they may move to the other node before
    /// it gets the report.
    fn names_of_friends(&self, user: UserSlot) -> Vec<UserName> {
        self.users.get(user).friends.iter().map(|friend| self.users.get(*friend).name.clone()).collect()
    }

    /// Reports to the other nodes which users have come and gone.
    pub(super) fn report_presence_changes(&mut self, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        let listeners: Vec<NodeIncarnation> = presence.listeners.keys().copied().collect();
        if std::mem::take(&mut presence.reports_all_users) {
            return self.send_presence_lists(&listeners, out);
        }
        let (due, later) =
            std::mem::take(&mut presence.pending_reports).into_iter().partition(|(_, one)| one.due_ms <= now_ms);
        presence.pending_reports = later;
        let due: BTreeMap<UserName, PendingUserPresenceReportToNodes> = due;
        let (mut moved, mut bytes) = (Vec::new(), 0);
        for (name, PendingUserPresenceReportToNodes { was_reported_online, friends, .. }) in due {
            let user = self.users.find(name.as_str()).filter(|user| self.users.is_here(*user));
            if user.is_none() && !was_reported_online {
                // No node knew of the user. A user who has come back may have been on another node
                // meanwhile.
                continue;
            }
            let friends = user.map_or(friends, |user| self.names_of_friends(user));
            bytes += name.as_str().len() + friends.iter().map(|friend| 2 + friend.as_str().len()).sum::<usize>();
            moved.push(NodePresenceUpdate { user: name, is_online: user.is_some(), friends });
            if bytes >= MOVED_BYTES_MAX {
                self.send_presence_changes(&listeners, std::mem::take(&mut moved), out);
                bytes = 0;
            }
        }
        self.send_presence_changes(&listeners, moved, out);
    }

    fn send_presence_changes(
        &mut self,
        listeners: &[NodeIncarnation],
        moved: Vec<NodePresenceUpdate>,
        out: &mut Vec<CoreAction>,
    ) {
        if moved.is_empty() {
            return;
        }
        for &to in listeners {
            let users = moved.clone();
            self.tell_presence(to, |number| NodeMessage::Moved { number, users }, out);
        }
    }
}
