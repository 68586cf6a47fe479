//! Clients that watch which friends are online, on whichever nodes these are.

use super::super::say::Say;
use super::Cluster;
use super::nodes::Peer;
use hongyan::protocol::account::RosterReplyWithPresence;
use hongyan::protocol::field::UserName;

impl Cluster {
    /// Asks for the roster after a log-in, and watches it.
    pub(super) fn watch(&mut self, client: usize) {
        let entry = &mut self.clients[client];
        (entry.watches, entry.shown) = (false, Default::default());
        if self.random.chance(self.watchers) {
            self.client_says(client, Say::Roster { mid: "r".into(), after: None, watch: true });
        }
    }

    pub(super) fn is_shown_roster(
        &mut self,
        peer: Peer,
        RosterReplyWithPresence { roster, online }: &RosterReplyWithPresence,
    ) {
        self.clients[peer.client].watches = true;
        for (friend, online) in roster.friends.iter().zip(online) {
            self.is_shown(peer, &friend.user_name, *online);
        }
    }

    pub(super) fn is_shown(&mut self, peer: Peer, user: &UserName, online: bool) {
        self.oracle.count("shown online or not");
        self.say(|| format!("{} is shown {user} {online}", self.clients[peer.client].user));
        self.clients[peer.client].shown.insert(user.as_str().into(), online);
    }

    /// Some users leave and stay away: after a while all watchers know that, and that the others
    /// are online.
    pub(super) fn check_presence(&mut self) {
        self.check_shown();
        let away: Vec<usize> = (0..self.clients.len()).filter(|_| self.random.chance(400)).collect();
        for &client in &away {
            self.clients[client].stays_away = true;
            self.leave(client);
        }
        self.pass(60_000);
        self.check_shown();
        for &client in &away {
            self.clients[client].stays_away = false;
            self.connect(client);
        }
        self.pass_until_quiet();
        self.pass(10_000);
        self.check_shown();
    }

    fn check_shown(&self) {
        for watcher in self.clients.iter().filter(|client| client.on && client.watches) {
            let friends = self.clients.iter().filter(|other| self.store.model.are_friends(watcher.user, other.user));
            for friend in friends {
                let shown = watcher.shown.get(friend.user);
                assert_eq!(shown, Some(&friend.on), "{} is shown {}", watcher.user, friend.user);
            }
        }
    }
}
