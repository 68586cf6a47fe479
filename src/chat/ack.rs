//! TYPE 5 and 0: "I have it" and "I am here".

use super::Chat;
use super::contract::{Action, ConnId};
use super::ids::UserId;
use super::item::Save;
use crate::protocol::reply::{Reply, ReplyId};

impl Chat {
    /// Takes a push off the list for good. One that is not on it is ignored: acks of re-sent pushes
    /// do that every day.
    pub(super) fn ack(&mut self, user: UserId, id: &str, sender: Option<&str>, out: &mut Vec<Action>) {
        let Some(list) = &self.users.get(user).list else {
            return;
        };
        let Some(name) = list.find_sent(id, sender, &self.items) else {
            return;
        };
        self.totals.acked += 1;
        self.unlist(name);
        self.discharge_item(name, out);
        if let Some(mut item) = self.items.remove(name) {
            self.answer_waiters(&mut item, out);
            // One whose saving failed may be in the store all the same: a commit whose answer was
            // lost.
            let stored = !matches!(item.save, Save::None | Save::Full);
            self.forget(name, item);
            if stored {
                self.delete(name.seq, user, out);
            }
        }
        self.on_space(user, out);
    }

    pub(super) fn heartbeat(&mut self, conn: ConnId, id: ReplyId, out: &mut Vec<Action>) {
        let form = self.sessions.get(conn).map(|session| session.form).unwrap_or_default();
        self.reply(conn, form, id, Reply::Heartbeat { time_ms: self.now.wall_ms }, out);
    }
}
