//! TYPE 5 and 0: acks and heartbeats.

use super::ServerCore;
use super::contract::{ConnId, CoreAction};
use super::deliveries::DeliverySaveState;
use super::ids::UserSlot;
use crate::protocol::reply::{Reply, ReplyId};

impl ServerCore {
    /// Removes an acked push from the list. An ack for a push that is not on the list is ignored:
    /// this is normal after a resend.
    pub(super) fn ack(&mut self, user: UserSlot, id: &str, sender: Option<&str>, out: &mut Vec<CoreAction>) {
        let Some(list) = &self.users.get(user).list else {
            return;
        };
        let Some(name) = list.cursor.find_sent(id, sender, &self.deliveries) else {
            return;
        };
        self.totals.acked += 1;
        self.remove_from_list(name);
        self.uncount_delivery_load(name, out);
        if let Some(delivery) = self.deliveries.remove(name) {
            // A push whose save failed may be in the store nevertheless, if only the answer to the
            // commit was lost.
            let stored = !matches!(delivery.save_state, DeliverySaveState::None | DeliverySaveState::Full);
            if stored && delivery.save_state == DeliverySaveState::Foreign {
                self.on_foreign_ack(user, &delivery, out);
                self.settle_acked_delivery(delivery, out);
            } else {
                if stored && self.cluster.is_some() {
                    self.on_row_ack(user, &delivery);
                }
                self.settle_acked_delivery(delivery, out);
                if stored {
                    self.delete(name.seq, user, out);
                }
            }
        }
        self.on_space(user, out);
    }

    pub(super) fn heartbeat(&mut self, conn: ConnId, id: ReplyId, out: &mut Vec<CoreAction>) {
        let form = self.sessions.get(conn).map(|session| session.form).unwrap_or_default();
        self.reply(conn, form, id, Reply::Heartbeat { time_ms: self.now.wall_ms }, out);
    }
}
