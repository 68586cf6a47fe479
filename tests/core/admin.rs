//! Requests of an operator, on a virtual clock.

use crate::sim::world::World;
use hongyan::chat::contract::{
    AdminAnswerFromCore, AdminPushStatusReport, AdminRequestToCore, AdminUserStatusReport, OnlineUserInfo,
};
use hongyan::protocol::field::{Secret, UserName};

mod accounts;
mod deletion;
mod drain;
mod notices;
mod reports;

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// Sends a request, lets some time pass, and returns the only answer.
fn ask(world: &mut World, request: AdminRequestToCore) -> AdminAnswerFromCore {
    let ticket = world.admin(request);
    world.run_for(100);
    answer(world, ticket).expect("the request is answered")
}

/// The answer with this ticket, if it has arrived; there may be only one.
fn answer(world: &mut World, ticket: hongyan::chat::contract::AdminTicket) -> Option<AdminAnswerFromCore> {
    let mut found = world.answers.extract_if(.., |(of, _)| *of == ticket).map(|(_, answer)| answer);
    let first = found.next();
    assert!(found.next().is_none(), "answered twice");
    first
}

fn users(world: &mut World, after: Option<&str>, users_max: u32) -> (Vec<OnlineUserInfo>, bool) {
    match ask(world, AdminRequestToCore::Users { after: after.map(user), users_max }) {
        AdminAnswerFromCore::Users { users, has_more } => (users, has_more),
        other => panic!("{other:?}"),
    }
}

fn report(world: &mut World, name: &str) -> AdminUserStatusReport {
    match ask(world, AdminRequestToCore::User { name: user(name) }) {
        AdminAnswerFromCore::User(report) => *report,
        other => panic!("{other:?}"),
    }
}

fn pushes(world: &mut World, receiver: &str, id: &str) -> Vec<AdminPushStatusReport> {
    match ask(world, AdminRequestToCore::Pushes { receiver: user(receiver), id: id.into() }) {
        AdminAnswerFromCore::Pushes(pushes) => pushes,
        other => panic!("{other:?}"),
    }
}

fn ban(name: &str) -> AdminRequestToCore {
    AdminRequestToCore::Ban { name: user(name) }
}

fn unban(name: &str) -> AdminRequestToCore {
    AdminRequestToCore::Unban { name: user(name) }
}

fn set_password(name: &str, password: &str) -> AdminRequestToCore {
    AdminRequestToCore::SetPassword { name: user(name), secret: Secret::new(password) }
}

pub(super) fn delete(name: &str) -> AdminRequestToCore {
    AdminRequestToCore::Delete { name: user(name) }
}

fn notice(to: Option<&str>, text: &str) -> AdminRequestToCore {
    AdminRequestToCore::Notice { to: to.map(user), text: text.into() }
}

fn disconnect(name: &str) -> AdminRequestToCore {
    AdminRequestToCore::Disconnect { name: user(name) }
}
