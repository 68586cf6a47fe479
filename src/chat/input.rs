//! Input of connections: which input counts as activity, which is refused at once, and which file
//! handles the rest.

use super::answer::{ErrorReply, LOG_IN_FIRST, STOPPING, TOO_FAST, TOO_FAST_CLOSED, owned_id};
use super::contract::{AddressKey, ConnId, CoreAction, CoreCloseCause};
use super::ids::UserSlot;
use super::throttle::RateLimit;
use super::{CoreTimer, ServerCore};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::UserName;
use crate::protocol::request::{BadInput, ClientRequest, ContentAsStringOrObject, RequestType};

impl ServerCore {
    /// Reads the memory that input of this connection will need, so that it is in the cache. The
    /// returned sum has no meaning. Changes nothing.
    #[must_use]
    pub fn prefetch(&self, conn: ConnId) -> usize {
        let Some(user) = self.sessions.get(conn).and_then(|session| session.user) else {
            return 0;
        };
        let user = self.users.get(user);
        let list = user.list.as_ref().map_or(0, |list| list.prefetch());
        let dedup = user.dedup.as_ref().map_or(0, |dedup| dedup.prefetch());
        let (name, friends) = (user.name.as_str().as_bytes().first(), user.friends.first());
        list.wrapping_add(dedup).wrapping_add(usize::from(name.copied() == Some(0)) + usize::from(friends.is_none()))
    }

    pub(super) fn input(
        &mut self,
        conn: ConnId,
        input: Result<ClientRequest<'_>, BadInput>,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(enough) = self.take_token(conn) else {
            return self.close_rate_limited(conn, &input, out);
        };
        if !enough {
            self.note_rate_limited(conn, out);
        }
        let now_ms = self.now.mono_ms;
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        match input {
            Err(bad) => self.bad_input(conn, bad, enough, out),
            Ok(request) => {
                session.bad_inputs = 0;
                if let Some(form) = form_of(&request) {
                    session.form = form;
                }
                if counts_as_activity(request_type_of(&request), session.user.is_some()) {
                    session.last_active_ms = now_ms;
                }
                let (user, form) = (session.user, session.form);
                let before = if enough { None } else { Some(TOO_FAST) };
                match self.immediate_refusal(&request, user, before) {
                    // An ack has no answer. Its push stays on the list and is sent again, so
                    // nothing is lost.
                    Some(TOO_FAST) if matches!(request, ClientRequest::Ack { .. }) => {}
                    Some(fault) => {
                        let id = owned_id(id_of(&request));
                        let form = answer_form_of(&request).unwrap_or(form);
                        let (request_type, user) = (request_type_of(&request), stated_name_in(&request));
                        self.refuse_with_name((conn, form, id), Some(request_type), user, Some(fault), out);
                    }
                    None => self.dispatch(conn, user, request, out),
                }
            }
        }
    }

    /// Takes the token that each input costs. `Some(false)`: no token was left, so the input must
    /// be refused. `None`: that happened too often, or to a stranger. Then the connection must be
    /// closed, since refusals are work, too.
    fn take_token(&mut self, conn: ConnId) -> Option<bool> {
        let (now_ms, rules) = (self.now.mono_ms, &self.rules);
        let Some(session) = self.sessions.get_mut(conn) else {
            return Some(false);
        };
        let taken = session.take_token(now_ms, rules);
        if session.user.is_none() {
            return (taken && self.take_address_allowance(conn)).then_some(true);
        }
        if taken {
            session.excess_refusals = session.excess_refusals.saturating_sub(1);
            return Some(true);
        }
        session.excess_refusals = session.excess_refusals.saturating_add(1);
        (u32::from(session.excess_refusals) <= rules.refused_requests_max).then_some(false)
    }

    /// Takes one request from the allowance of the address of this connection, which is not logged
    /// in. Returns whether any was left.
    fn take_address_allowance(&mut self, conn: ConnId) -> bool {
        let Some(AddressKey(address_key)) = self.sessions.get(conn).and_then(|session| session.address_key) else {
            return true;
        };
        let (rules, now_ms, key) = (&self.rules, self.now.mono_ms, u64::from(address_key.get()));
        let every_ms = 1_000 / u64::from(rules.requests_before_login_per_address_per_second_max.clamp(1, 1_000));
        let pace = RateLimit { burst: rules.requests_before_login_per_address_max, every_ms };
        let open = self.stranger_rates.is_open(key, now_ms, pace);
        if open {
            self.stranger_rates.note(key, now_ms, pace, rules.throttled_max);
        }
        open
    }

    /// Gives the last answer to a client that sends too much, and closes its connection.
    #[inline(never)]
    fn close_rate_limited(
        &mut self,
        conn: ConnId,
        input: &Result<ClientRequest<'_>, BadInput>,
        out: &mut Vec<CoreAction>,
    ) {
        let form = self.sessions.get(conn).map(|session| session.form).unwrap_or_default();
        self.note_rate_limited(conn, out);
        // Requests of TYPE 1, 2 and 4 have an answer of their own, which comes before the error.
        let (request_type, id, form) = match input {
            Ok(request) => (Some(request_type_of(request)), id_of(request), answer_form_of(request).unwrap_or(form)),
            Err(bad) => (bad.request_type, Some(&*bad.id), bad.form.unwrap_or(form)),
        };
        let user = input.as_ref().ok().and_then(stated_name_in);
        self.refuse_with_name((conn, form, owned_id(id)), request_type, user, Some(TOO_FAST_CLOSED), out);
        self.close(conn, CoreCloseCause::TooFast, out);
    }

    /// The error for a request that is refused whatever its content. A request of TYPE 3 before
    /// log-in gets no answer at all: `dispatch` ignores it.
    fn immediate_refusal(
        &self,
        request: &ClientRequest<'_>,
        user: Option<UserSlot>,
        fault: Option<ErrorReply>,
    ) -> Option<ErrorReply> {
        let request_type = request_type_of(request);
        if user.is_none() {
            match request_type {
                RequestType::GetUser => return None,
                RequestType::SignUp | RequestType::Login => {}
                _ => return Some(LOG_IN_FIRST),
            }
        }
        if fault.is_some() {
            return fault;
        }
        // During a stop, acks are still needed, and heartbeats cost nothing.
        (self.stopping && !matches!(request_type, RequestType::Ack | RequestType::Heartbeat)).then_some(STOPPING)
    }

    fn dispatch(
        &mut self,
        conn: ConnId,
        user: Option<UserSlot>,
        request: ClientRequest<'_>,
        out: &mut Vec<CoreAction>,
    ) {
        match (request, user) {
            (ClientRequest::SignUp { mid, form, profile, secret }, _) => {
                let id = owned_id(mid.as_ref().map(|mid| mid.as_str()));
                self.sign_up((conn, form, id), profile, secret, out);
            }
            (ClientRequest::Login { mid, form, user, credential }, _) => {
                let id = owned_id(mid.as_ref().map(|mid| mid.as_str()));
                self.log_in((conn, form, id), user.to_owned(), credential, out);
            }
            (ClientRequest::Token { mid, form, verb }, Some(user)) => {
                let id = owned_id(mid.as_ref().map(|mid| mid.as_str()));
                self.token((conn, form, id), user, verb, out);
            }
            (ClientRequest::Account { mid, form, request }, Some(user)) => {
                let id = owned_id(mid.as_ref().map(|mid| mid.as_str()));
                self.account((conn, form, id), user, request, out);
            }
            (ClientRequest::GetUser { mid, user }, Some(_)) => {
                let id = owned_id(mid.as_ref().map(|mid| mid.as_str()));
                self.get_user(conn, id, user.to_owned(), out);
            }
            (ClientRequest::Message { form, id, sender, receiver, content, escape_free }, Some(user)) => {
                let fields = super::message::MessageFields {
                    id: &id,
                    sender: &sender,
                    receiver: &receiver,
                    content: &content,
                    escape_free,
                };
                self.message((conn, form, user), fields, out);
            }
            (ClientRequest::Ack { id, sender, .. }, Some(user)) => {
                self.ack(user, id.as_str(), sender.as_ref().map(|sender| sender.as_str()), out);
            }
            (ClientRequest::Friend { form, id, sender, receiver, verb, content }, Some(user)) => {
                let fields = super::friend::FriendRequestFields { id, sender, receiver, verb, content: &content };
                self.friend((conn, form, user), fields, out);
            }
            (ClientRequest::Heartbeat { mid }, Some(_)) => {
                self.heartbeat(conn, owned_id(mid.as_ref().map(|mid| mid.as_str())), out);
            }
            // Before log-in, TYPE 3 gets no answer at all, and everything else was refused already.
            (_, None) => {}
        }
    }

    #[inline(never)]
    fn bad_input(&mut self, conn: ConnId, bad: BadInput, enough: bool, out: &mut Vec<CoreAction>) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        let connections = bad.form.filter(|_| !bad.request_type.is_some_and(RequestType::is_word));
        if let Some(form) = connections {
            session.form = form;
        }
        session.bad_inputs = if bad.code == ErrorCode::BadJson { session.bad_inputs.saturating_add(1) } else { 0 };
        let (form, bad_inputs, logged_in) =
            (bad.form.unwrap_or(session.form), session.bad_inputs, session.user.is_some());
        let fault = match bad.request_type {
            Some(RequestType::GetUser) if !logged_in => return,
            Some(RequestType::Message | RequestType::Ack | RequestType::Friend | RequestType::Heartbeat)
                if !logged_in =>
            {
                LOG_IN_FIRST
            }
            Some(request_type) if request_type.is_word() && !logged_in => LOG_IN_FIRST,
            _ if !enough && bad.code != ErrorCode::TooLarge => TOO_FAST,
            _ => ErrorReply(bad.code, bad.explanation),
        };
        self.refuse((conn, form, owned_id(Some(&bad.id))), bad.request_type, Some(fault), out);
        if bad.code == ErrorCode::TooLarge {
            self.close(conn, CoreCloseCause::TooLarge, out);
        } else if u32::from(bad_inputs) >= self.rules.bad_inputs_max {
            self.close(conn, CoreCloseCause::Garbage, out);
        }
    }

    pub(super) fn ping(&mut self, conn: ConnId, out: &mut Vec<CoreAction>) {
        // The wire has answered with a pong, so there is nothing to refuse; but a client that sends
        // too many pings is closed.
        if self.take_token(conn).is_none() {
            self.note_rate_limited(conn, out);
            return self.close_with_error(conn, TOO_FAST_CLOSED, CoreCloseCause::TooFast, out);
        }
        if let Some(session) = self.sessions.get_mut(conn)
            && session.user.is_some()
        {
            session.last_active_ms = self.now.mono_ms;
        }
    }

    /// A client that reads waiting output is active: until it has read it all, it may have nothing
    /// to send.
    pub(super) fn on_output_drained(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(conn)
            && session.is_output_blocked
            && session.user.is_some()
        {
            session.last_active_ms = self.now.mono_ms;
        }
    }

    pub(super) fn on_output_flushed(&mut self, conn: ConnId, out: &mut Vec<CoreAction>) {
        self.on_output_drained(conn);
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.is_output_blocked = false;
        if let Some(user) = session.user {
            if session.watches {
                self.resume_unsent_presence(user);
            }
            self.pump(user, out);
            self.arm_resend(user);
        }
    }

    /// Resends pushes a moment later, after the acks that have arrived are read.
    #[cold]
    pub(super) fn resend_later(&mut self, user: UserSlot) {
        let later_ms = self.now.mono_ms + 1;
        if let Some(list) = &mut self.users.get_mut(user).list {
            list.cursor.timer = Some(self.wheel.insert(later_ms, CoreTimer::Resend(user)));
        }
    }

    /// Sets the resend timer of a user, unless it is set or there is nothing to wait for.
    pub(super) fn arm_resend(&mut self, user: UserSlot) {
        let Some(list) = &mut self.users.get_mut(user).list else {
            return;
        };
        if list.cursor.timer.is_none() {
            // The timer is set for an empty list, too: when it fires, the list is released.
            let since = list.cursor.oldest_sending_ms().unwrap_or(self.now.mono_ms);
            list.cursor.timer = Some(self.wheel.insert(since + self.rules.resend_every_ms, CoreTimer::Resend(user)));
        }
    }
}

fn request_type_of(request: &ClientRequest<'_>) -> RequestType {
    match request {
        ClientRequest::SignUp { .. } => RequestType::SignUp,
        ClientRequest::Login { .. } => RequestType::Login,
        ClientRequest::GetUser { .. } => RequestType::GetUser,
        ClientRequest::Message { .. } => RequestType::Message,
        ClientRequest::Ack { .. } => RequestType::Ack,
        ClientRequest::Friend { .. } => RequestType::Friend,
        ClientRequest::Token { .. } => RequestType::Token,
        ClientRequest::Account { request, .. } => request.request_type(),
        ClientRequest::Heartbeat { .. } => RequestType::Heartbeat,
    }
}

/// The user name that a log-in or sign-up states.
fn stated_name_in(request: &ClientRequest<'_>) -> Option<UserName> {
    match request {
        ClientRequest::SignUp { profile, .. } => Some(profile.user_name.clone()),
        ClientRequest::Login { user, .. } => Some(user.to_owned()),
        _ => None,
    }
}

/// The form of CONTENT of a request, if it sets the form of its connection.
fn form_of(request: &ClientRequest<'_>) -> Option<ContentAsStringOrObject> {
    match request {
        ClientRequest::SignUp { form, .. }
        | ClientRequest::Login { form, .. }
        | ClientRequest::Message { form, .. }
        | ClientRequest::Ack { form, .. }
        | ClientRequest::Friend { form, .. } => Some(*form),
        // TOKEN and the other TYPEs that are words are answered in their own form, and leave the
        // connection's form unchanged.
        ClientRequest::GetUser { .. }
        | ClientRequest::Heartbeat { .. }
        | ClientRequest::Token { .. }
        | ClientRequest::Account { .. } => None,
    }
}

/// The form of an error about this request; `None`: the connection's form.
fn answer_form_of(request: &ClientRequest<'_>) -> Option<ContentAsStringOrObject> {
    match request {
        ClientRequest::Token { form, .. } | ClientRequest::Account { form, .. } => Some(*form),
        other => form_of(other),
    }
}

/// The id that the answer to a request names.
fn id_of<'a>(request: &'a ClientRequest<'_>) -> Option<&'a str> {
    match request {
        ClientRequest::SignUp { mid, .. }
        | ClientRequest::Login { mid, .. }
        | ClientRequest::GetUser { mid, .. }
        | ClientRequest::Token { mid, .. }
        | ClientRequest::Account { mid, .. }
        | ClientRequest::Heartbeat { mid } => mid.as_ref().map(|mid| mid.as_str()),
        ClientRequest::Message { id, .. } | ClientRequest::Friend { id, .. } => Some(id.as_str()),
        // An ack expects no answer: an error about it must not look like the answer to a request.
        ClientRequest::Ack { .. } => None,
    }
}

/// Does a request count as activity (docs/protocol.md §6)? A well-formed request counts even if it
/// is refused.
fn counts_as_activity(request_type: RequestType, logged_in: bool) -> bool {
    match request_type {
        RequestType::Login => true,
        RequestType::SignUp => !logged_in,
        RequestType::Heartbeat | RequestType::Message | RequestType::Ack | RequestType::Friend => logged_in,
        _ => false,
    }
}
