//! Odd input of clients: bad input, and requests that are not about messages.

use super::clients::Simulation;
use super::say::Say;
use hongyan::protocol::error::ErrorCode;
use hongyan::protocol::request::{RequestType, ResumeTokenVerb};

impl Simulation {
    pub(super) fn odd(&mut self) {
        let Some(conn) = self.conn() else {
            return;
        };
        let request_types = [
            None,
            Some(RequestType::Message),
            Some(RequestType::Ack),
            Some(RequestType::GetUser),
            Some(RequestType::Login),
        ];
        let request_type = request_types[self.random.below(5) as usize];
        let code = match self.random.below(40) {
            0 => ErrorCode::TooLarge,
            1..=20 => ErrorCode::BadJson,
            _ => ErrorCode::BadField,
        };
        let user = self.user().to_owned();
        let mid = self.world.fresh("g");
        match self.random.below(7) {
            0 => self.world.ping(conn),
            6 => {
                let verb = if self.random.chance(800) { ResumeTokenVerb::New } else { ResumeTokenVerb::Revoke };
                self.world.say(conn, Say::Token { mid, verb });
            }
            1 => self.world.say(conn, Say::GetUser { mid, user }),
            2 => {
                // Its id is nobody else's, so that its answer is not taken for that of a message.
                let id = format!("{}>{user}", self.world.fresh("x"));
                let sender = self.user().to_owned();
                if self.oracle.conns[&conn].user.as_ref() != Some(&sender) {
                    self.world.say(conn, Say::Message { id, sender, receiver: user, content: String::new() });
                }
            }
            3 => {
                let mid = self.world.fresh("s");
                self.world.say(conn, Say::SignUp { mid, user, password: "p".into() });
            }
            _ => self.world.say(conn, Say::Bad { code, request_type }),
        }
    }
}
