//! From a request to its answer.

use super::answers;
use super::changes::{Change, change_of};
use super::http::{Method, Request, Response};
use super::metrics;
use super::process::Process;
use super::target::{Target, user_name};
use super::{Now, Stage};
use crate::chat::contract::{AdminAnswer, AdminRequest};
use crate::net::admin::{Asker, Question, Snapshot, Told, Unanswered};
use crate::protocol::field::{ID_BYTES_MAX, UserName};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

/// Users in one answer.
const USERS_MAX: u32 = 100;

/// The resource of a path.
enum Route {
    Health,
    Metrics,
    Nodes,
    Users,
    User(UserName),
    Messages,
    Notices,
    Drain,
    Change(UserName, Change),
}

impl Route {
    fn of(target: &Target) -> Result<Self, Response> {
        let path: Vec<&str> = target.path.iter().map(String::as_str).collect();
        Ok(match path[..] {
            ["health"] => Self::Health,
            ["metrics"] => Self::Metrics,
            ["nodes"] => Self::Nodes,
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

    fn is_post(&self) -> bool {
        matches!(self, Self::Notices | Self::Drain | Self::Change(..))
    }
}

fn not_found() -> Response {
    Response::error(404, "not_found", "There is nothing at this path; docs/admin.openapi.json lists all paths.")
}

/// The parts from which answers are made.
#[derive(Debug)]
pub(super) struct Context {
    asker: Asker,
    stage: Stage,
    pub(super) process: Process,
    /// The largest text of a notice.
    pub(super) notice_bytes_max: usize,
}

impl Context {
    pub(super) fn new(asker: Asker, stage: Stage, notice_bytes_max: usize) -> Self {
        Self { asker, stage, process: Process::new(), notice_bytes_max }
    }

    /// Answers a request within a time.
    pub(super) fn answer(&self, request: &Request, who: &str, within: Duration) -> Response {
        self.try_answer(request, who, within).unwrap_or_else(|refusal| refusal)
    }

    fn try_answer(&self, request: &Request, who: &str, within: Duration) -> Result<Response, Response> {
        let target = Target::read(&request.target)?;
        let route = Route::of(&target)?;
        let (fits, allow) = match route.is_post() {
            true => (request.method == Method::Post, "POST"),
            false => (matches!(request.method, Method::Get | Method::Head), "GET, HEAD"),
        };
        if !fits {
            let message = format!("The method of this request must be one of: {allow}.");
            return Err(Response::error(405, "method_not_allowed", message).with("Allow", allow));
        }
        let known = match route {
            Route::Users => &["after"][..],
            Route::Messages => &["receiver", "id"],
            _ => &[],
        };
        let query = target.query(known)?;
        let wanted = |name: &str| {
            let missing = || Response::error(400, "bad_request", format!("The query needs the parameter {name}."));
            query.get(name).ok_or_else(missing)
        };
        match route {
            Route::Health => Ok(self.health(within)),
            Route::Metrics => self.metrics(within),
            Route::Nodes => self.nodes(within),
            Route::Users => {
                // An empty name comes before all names.
                let after = query.get("after").filter(|after| !after.is_empty());
                let after = after.map(|after| user_name(after)).transpose()?;
                self.ask(AdminRequest::Users { after, users_max: USERS_MAX }, within, answers::of_question)
            }
            Route::User(name) => self.ask(AdminRequest::User { name }, within, answers::of_question),
            Route::Messages => {
                let (receiver, id) = (user_name(wanted("receiver")?)?, wanted("id")?.clone());
                if id.is_empty() || id.len() > ID_BYTES_MAX {
                    return Err(Response::error(400, "bad_request", "An id has 1 to 128 bytes."));
                }
                self.ask(AdminRequest::Pushes { receiver, id }, within, answers::of_question)
            }
            Route::Drain => self.drain(&request.body, who, within),
            Route::Notices => self.notice(&request.body, who, within),
            Route::Change(name, change) => self.change(name, change, &request.body, who, within),
        }
    }

    fn is_serving(&self) -> bool {
        self.stage.now() == Now::Serving
    }

    /// Hands a request to the core; `answer` makes the response.
    pub(super) fn ask(
        &self,
        request: AdminRequest,
        within: Duration,
        answer: impl FnOnce(AdminAnswer, &[Option<IpAddr>]) -> Response,
    ) -> Result<Response, Response> {
        if !self.is_serving() {
            return Err(Response::error(503, "not_serving", "The server does not serve yet; /health says why."));
        }
        match self.asker.ask(Question::Core(request), within) {
            Ok(Told::Core { answer: given, addresses }) => Ok(answer(given, &addresses)),
            Ok(Told::Snapshot(_) | Told::Nodes(_) | Told::Busy) | Err(Unanswered::Busy) => {
                Err(Response::error(429, "busy", "Too many requests are in progress; ask again.")
                    .with("Retry-After", "1"))
            }
            Err(Unanswered::Late) => {
                let message = "There was no answer in time (--admin-timeout); whether it was done is not known.";
                Err(Response::too_late(message))
            }
            Err(Unanswered::Gone) => Err(Response::error(503, "stopping", "The server has stopped.")),
        }
    }

    fn snapshot(&self, within: Duration) -> Result<Box<Snapshot>, &'static str> {
        match self.stage.now() {
            Now::Starting => return Err("starting"),
            Now::Standby => return Err("standby"),
            Now::Serving => {}
        }
        match self.asker.ask(Question::Snapshot, within) {
            Ok(Told::Snapshot(snapshot)) => Ok(snapshot),
            Err(Unanswered::Gone) => Err("stopping"),
            Ok(_) | Err(Unanswered::Busy) => Err("busy"),
            Err(Unanswered::Late) => Err("loop"),
        }
    }

    /// The database is read by this thread.
    fn nodes(&self, within: Duration) -> Result<Response, Response> {
        if !self.is_serving() {
            return Err(Response::error(503, "not_serving", "The server does not serve yet; /health says why."));
        }
        let reader = match self.asker.ask(Question::Nodes, within) {
            Ok(Told::Nodes(Some(reader))) => reader,
            Ok(Told::Nodes(None)) => {
                let message = "This server is no node of a cluster (--node-name).";
                return Err(Response::error(404, "no_cluster", message));
            }
            Ok(_) | Err(Unanswered::Busy) => return Err(super::too_many()),
            Err(_) => return Err(Response::error(503, "too_late", "The server did not answer in time.")),
        };
        match reader.read() {
            Ok(members) => Ok(answers::nodes(&members)),
            Err(error) => {
                Err(Response::error(503, "store", format!("The nodes cannot be read from the database: {error}.")))
            }
        }
    }

    fn health(&self, within: Duration) -> Response {
        match self.snapshot(within) {
            Ok(snapshot) => answers::health(&snapshot, &self.process),
            Err(why) => Response::json(503, &json!({"ready": false, "why": why, "version": metrics::VERSION})),
        }
    }

    fn metrics(&self, within: Duration) -> Result<Response, Response> {
        let snapshot = match self.snapshot(within) {
            Ok(snapshot) => Some(snapshot),
            // A server that is starting or waiting can be monitored, too.
            Err("starting" | "standby") => None,
            Err("busy") => return Err(super::too_many()),
            Err(_) => return Err(Response::error(503, "too_late", "The server did not tell its numbers in time.")),
        };
        let text = metrics::text(snapshot.as_deref(), &self.process);
        Ok(Response::of(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text))
    }
}
