//! The stop: all messages that were taken are made durable, then every client is told.

use super::answer::STOPPING;
use super::contract::{ConnId, CoreAction, CoreCloseCause, JobTicket};
use super::{CoreTimer, ServerCore};

impl ServerCore {
    #[inline(never)]
    pub(super) fn shut_down(&mut self, out: &mut Vec<CoreAction>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.needs_check_after_event = true;
        for delivery in self.deliveries.refs() {
            self.save_if_unsaved(delivery, out);
        }
        self.cut_off_admin(out);
        self.wheel.insert(self.now.mono_ms + self.rules.stop_wait_ms, CoreTimer::Stop);
    }

    #[inline(never)]
    pub(super) fn stop_if_done(&mut self, out: &mut Vec<CoreAction>) {
        if !self.has_stopped && self.jobs.is_empty() {
            self.stop_now(out);
        }
    }

    /// Ends the stop: everything is durable, or its time limit is over.
    pub(super) fn stop_now(&mut self, out: &mut Vec<CoreAction>) {
        if std::mem::replace(&mut self.has_stopped, true) {
            return;
        }
        for delivery in self.deliveries.refs() {
            self.refuse_waiters(delivery, None, STOPPING, out);
        }
        self.fail_admin(out);
        self.clear_auth_queue(out);
        let requests: Vec<JobTicket> = self.requests.keys().collect();
        for request in requests {
            self.refuse_waiting(request, Some(STOPPING), out);
        }
        let conns: Vec<ConnId> = self.sessions.ids().collect();
        for conn in conns {
            self.close_with_error(conn, STOPPING, CoreCloseCause::ShuttingDown, out);
        }
        out.push(CoreAction::Stopped);
    }
}
