//! From a request to its answer.

use super::answers;
use super::changes::{AdminUserAction, change_of};
use super::context::AdminContext;
use super::http::{AdminHttpMethod, AdminHttpRequest, AdminHttpResponse};
use super::metrics;
use super::nodes;
use super::target::{AdminHttpTarget, user_name};
use crate::chat::contract::AdminRequestToCore;
use crate::protocol::field::{ID_BYTES_MAX, UserName};
use serde_json::json;
use std::time::Duration;

/// Users in one answer.
const USERS_MAX: u32 = 100;

/// The resource of a path.
enum AdminRoute {
    Health,
    Metrics,
    Nodes,
    ForgetNode(String),
    Users,
    User(UserName),
    Messages,
    Notices,
    Drain,
    Change(UserName, AdminUserAction),
}

impl AdminRoute {
    fn for_target(target: &AdminHttpTarget) -> Result<Self, AdminHttpResponse> {
        let path: Vec<&str> = target.path.iter().map(String::as_str).collect();
        Ok(match path[..] {
            ["health"] => Self::Health,
            ["metrics"] => Self::Metrics,
            ["nodes"] => Self::Nodes,
            ["nodes", name, "forget"] => Self::ForgetNode(name.to_owned()),
            ["users"] => Self::Users,
            ["users", name] => Self::User(user_name(name)?),
            ["messages"] => Self::Messages,
            ["notices"] => Self::Notices,
            ["drain"] => Self::Drain,
            ["users", name, change] => match change_of(change) {
                Some(change) => Self::Change(user_name(name)?, change),
                None => return Err(not_found()),
            },
            _ => return Err(not_found()),
        })
    }

    /// The answer may have to wait for the store.
    fn waits_for_store(&self) -> bool {
        match self {
            Self::Health | Self::Metrics | Self::Users | Self::Drain => false,
            Self::Nodes | Self::ForgetNode(_) | Self::User(_) | Self::Messages | Self::Notices | Self::Change(..) => {
                true
            }
        }
    }

    fn is_post(&self) -> bool {
        matches!(self, Self::Notices | Self::Drain | Self::ForgetNode(_) | Self::Change(..))
    }
}

fn not_found() -> AdminHttpResponse {
    AdminHttpResponse::error(
        404,
        "not_found",
        "There is nothing at this path; docs/admin.openapi.json lists all paths.",
    )
}

impl AdminContext {
    /// Answers a request within a time.
    pub(super) fn answer(&self, request: &AdminHttpRequest, who: &str, within: Duration) -> AdminHttpResponse {
        self.try_answer(request, who, within).unwrap_or_else(|refusal| refusal)
    }

    fn try_answer(
        &self,
        request: &AdminHttpRequest,
        who: &str,
        within: Duration,
    ) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let target = AdminHttpTarget::read(&request.target)?;
        let route = AdminRoute::for_target(&target)?;
        let (fits, allow) = match route.is_post() {
            true => (request.method == AdminHttpMethod::Post, "POST"),
            false => (matches!(request.method, AdminHttpMethod::Get | AdminHttpMethod::Head), "GET, HEAD"),
        };
        if !fits {
            let message = format!("The method of this request must be one of: {allow}.");
            return Err(AdminHttpResponse::error(405, "method_not_allowed", message).with("Allow", allow));
        }
        let known = match route {
            AdminRoute::Users => &["after"][..],
            AdminRoute::Messages => &["receiver", "id"],
            _ => &[],
        };
        let query = target.query(known)?;
        let wanted = |name: &str| {
            let missing =
                || AdminHttpResponse::error(400, "bad_request", format!("The query needs the parameter {name}."));
            query.get(name).ok_or_else(missing)
        };
        let _slot = route.waits_for_store().then(|| self.wait_slot()).transpose()?;
        match route {
            AdminRoute::Health => Ok(self.health(within)),
            AdminRoute::Metrics => self.metrics(within),
            AdminRoute::Nodes => self.nodes(within),
            AdminRoute::Users => {
                // An empty name comes before all names.
                let after = query.get("after").filter(|after| !after.is_empty());
                let after = after.map(|after| user_name(after)).transpose()?;
                self.ask(AdminRequestToCore::Users { after, users_max: USERS_MAX }, within, answers::of_question)
            }
            AdminRoute::User(name) => self.ask(AdminRequestToCore::User { name }, within, answers::of_question),
            AdminRoute::Messages => {
                let (receiver, id) = (user_name(wanted("receiver")?)?, wanted("id")?.clone());
                if id.is_empty() || id.len() > ID_BYTES_MAX {
                    return Err(AdminHttpResponse::error(400, "bad_request", "An id has 1 to 128 bytes."));
                }
                self.ask(AdminRequestToCore::Pushes { receiver, id }, within, answers::of_question)
            }
            AdminRoute::ForgetNode(name) => self.forget_node(&name, &request.body, who, within),
            AdminRoute::Drain => self.drain(&request.body, who, within),
            AdminRoute::Notices => self.notice(&request.body, who, within),
            AdminRoute::Change(name, change) => self.change(name, change, &request.body, who, within),
        }
    }

    /// The database is read by this thread.
    fn nodes(&self, within: Duration) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let _slot = self.store_slot()?;
        let known = self.known_nodes(within)?;
        match known.reader.read() {
            Ok(members) => Ok(nodes::answer(&members, &known.links, known.bus.as_ref(), known.users)),
            Err(error) => Err(AdminHttpResponse::error(
                503,
                "store",
                format!("The nodes cannot be read from the database: {error}."),
            )),
        }
    }

    fn health(&self, within: Duration) -> AdminHttpResponse {
        match self.snapshot(within) {
            Ok(snapshot) => answers::health(&snapshot, &self.process),
            Err(why) => AdminHttpResponse::json(503, &json!({"ready": false, "why": why, "version": metrics::VERSION})),
        }
    }

    fn metrics(&self, within: Duration) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let snapshot = match self.snapshot(within) {
            Ok(snapshot) => Some(snapshot),
            // A server that is starting or waiting can be monitored, too.
            Err("starting" | "standby") => None,
            Err("busy") => return Err(super::too_many_response()),
            Err(_) => {
                return Err(AdminHttpResponse::error(503, "too_late", "The server did not tell its numbers in time."));
            }
        };
        let text = metrics::text(snapshot.as_deref(), &self.process);
        Ok(AdminHttpResponse::new(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text))
    }
}
