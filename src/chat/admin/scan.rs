//! The users who are online, page by page. The table of users is not ordered by name, and an index
//! would cost every log-in. So a scan looks at all users, some in each turn, and keeps the first
//! ones in name order. It finds every user who is online during the whole scan; users who come or
//! go in the meantime may be missed.

use super::super::contract::{AdminAnswerFromCore, AdminTicket, CoreAction, OnlineUserInfo};
use super::super::users::UserRoute;
use super::super::{CoreTimer, ServerCore};
use crate::protocol::field::UserName;
use std::collections::BinaryHeap;

/// Slots of the table of users that one turn scans: this takes far less than a millisecond.
const PLACES_PER_TURN: usize = 4_096;
/// The largest number of users in one answer.
const USERS_MAX: u32 = 1_000;

/// A scan of the table of users.
#[derive(Debug)]
pub(in super::super) struct OnlineUserScan {
    pub(super) ticket: AdminTicket,
    after: Option<UserName>,
    users_max: usize,
    next_place: usize,
    /// The first users by name among those seen so far: one more than requested.
    first_users: BinaryHeap<UserName>,
}

impl OnlineUserScan {
    fn note(&mut self, name: &UserName) {
        if self.after.as_ref().is_some_and(|after| name <= after) {
            return;
        }
        if self.first_users.len() <= self.users_max {
            self.first_users.push(name.clone());
        } else if let Some(mut last) = self.first_users.peek_mut()
            && name < &*last
        {
            *last = name.clone();
        }
    }
}

impl ServerCore {
    pub(super) fn begin_scan(
        &mut self,
        ticket: AdminTicket,
        after: Option<UserName>,
        users_max: u32,
        out: &mut Vec<CoreAction>,
    ) {
        let users_max = users_max.clamp(1, USERS_MAX) as usize;
        let is_first = self.admin.scans.is_empty();
        self.admin.scans.push_back(OnlineUserScan {
            ticket,
            after,
            users_max,
            next_place: 0,
            first_users: BinaryHeap::new(),
        });
        if is_first {
            self.scan_on(out);
        }
    }

    /// Scans some more users.
    pub(in super::super) fn scan_on(&mut self, out: &mut Vec<CoreAction>) {
        let Some(mut scan) = self.admin.scans.pop_front() else {
            return;
        };
        let end = self.users.places_end();
        let until = scan.next_place.saturating_add(PLACES_PER_TURN).min(end);
        for place in scan.next_place..until {
            if let Some(user) = self.users.at(place).filter(|user| user.is_here()) {
                scan.note(&user.name);
            }
        }
        scan.next_place = until;
        if until < end {
            self.admin.scans.push_front(scan);
        } else {
            self.answer_scan(scan, out);
        }
        if !self.admin.scans.is_empty() {
            self.wheel.insert(self.now.mono_ms + 1, CoreTimer::AdminScan);
        }
    }

    fn answer_scan(&mut self, scan: OnlineUserScan, out: &mut Vec<CoreAction>) {
        let OnlineUserScan { ticket, users_max, first_users, .. } = scan;
        let mut names = first_users.into_sorted_vec();
        let more = names.len() > users_max;
        names.truncate(users_max);
        let users = names.iter().filter_map(|name| self.online_user(name)).collect();
        self.answer_admin(ticket, AdminAnswerFromCore::Users { users, has_more: more }, out);
    }

    /// A user, if they are online.
    pub(in super::super) fn online_user(&self, name: &UserName) -> Option<OnlineUserInfo> {
        let user = self.users.get(self.users.find(name.as_str())?);
        let conn = match user.route() {
            UserRoute::Here(conn) => conn,
            UserRoute::Away | UserRoute::Elsewhere => return None,
        };
        let outstanding = user.list.as_ref().map_or(0, |list| list.cursor.outstanding_len());
        Some(OnlineUserInfo {
            name: name.clone(),
            conn,
            logged_in_ms: self.sessions.logged_in_ms(conn),
            // Bounded by the window.
            outstanding: u32::try_from(outstanding).unwrap_or(u32::MAX),
        })
    }
}
