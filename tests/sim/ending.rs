//! How a simulation ends: nothing fails any more, and all that was begun comes to its end.

use super::clients::{Simulation, USERS};
use super::say::Say;

impl Simulation {
    /// The faults are over: everything must come to its end.
    pub(super) fn recover(&mut self) {
        {
            let mut faults = self.faults.borrow_mut();
            (faults.fail, faults.lose, faults.takes_ms_max, faults.answer_after_ms_max) = (0, 0, 1, 0);
            faults.loses_friends = false;
        }
        self.world.store.unhang(self.world.now_ms);
        for conn in self.oracle.conns.keys().copied().collect::<Vec<_>>() {
            self.world.flush(conn);
        }
        self.pass(11_000);
        self.operator_ends();
        self.owners_end();
        self.owners_watch();
        for user in USERS.into_iter().filter(|user| self.world.store.model.has_account(user)).collect::<Vec<_>>() {
            // With few jobs allowed at a time a log-in may be refused: the user then tries again.
            for _ in 0..100 {
                let online = self.users_online().into_iter().find(|(_, who)| who == user);
                if let Some((conn, _)) = online {
                    // Else the user may be closed as idle while the others log in, and nobody would
                    // log them in again.
                    let mid = self.world.fresh("h");
                    self.world.say(conn, Say::Heartbeat { mid });
                    break;
                }
                let conn = self.world.open();
                let mid = self.world.fresh("l");
                let password = self.password_of(user);
                self.world.say(conn, Say::Login { mid, user: user.into(), password });
                self.pass(100);
            }
        }
        let mut quiet = 0;
        let mut rounds = 0;
        // With few jobs allowed at a time deletions take a while.
        while quiet < 30 || (rounds < 4_000 && self.is_something_left()) {
            rounds += 1;
            assert!(rounds < 5_000, "it does not come to an end");
            quiet += 1;
            for (conn, user) in self.users_online() {
                let came: Vec<String> =
                    self.oracle.conns[&conn].outstanding.values().map(|item| item.push.id().to_owned()).collect();
                for id in came {
                    quiet = 0;
                    self.world.say(conn, Say::Ack { id, sender: None });
                }
                if rounds % 100 == 0 {
                    let mid = self.world.fresh("h");
                    self.world.say(conn, Say::Heartbeat { mid });
                }
                let _ = user;
            }
            self.pass(100);
        }
        self.oracle.check_crash(&self.world.store.model);
        self.oracle.check_end(&self.world.store.model);
        assert_eq!(self.world.store.in_flight(), 0, "jobs in flight");
    }
    /// In the store, or with a client that got it a moment ago.
    fn is_something_left(&self) -> bool {
        self.world.store.model.pushes().next().is_some() || self.oracle.has_outstanding()
    }
}
