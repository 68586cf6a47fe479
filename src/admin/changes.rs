//! Changes by operators: system notices, and changes of users. Each is logged by two lines: one
//! before anything is done, which remains even if the process is killed, and one with the result.

use super::answers;
use super::context::AdminContext;
use super::http::AdminHttpResponse;
use super::secret;
use super::target::user_name;
use crate::chat::contract::{AdminAnswerFromCore, AdminRequestToCore};
use crate::net::admin::ForgetNodeResult;
use crate::protocol::field::{Secret, UserName};
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// The largest part of a notice's text in the log, in characters.
const LOGGED_CHARS_MAX: usize = 200;

/// The changes of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminUserAction {
    Disconnect,
    Ban,
    Unban,
    Password,
    Delete,
}

impl AdminUserAction {
    fn name(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::Password => "password",
            Self::Delete => "delete",
        }
    }
}

/// The change that the last segment of a path names.
pub(super) fn change_of(segment: &str) -> Option<AdminUserAction> {
    use AdminUserAction::{Ban, Delete, Disconnect, Password, Unban};
    [Disconnect, Ban, Unban, Password, Delete].into_iter().find(|change| change.name() == segment)
}

/// The body of a notice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminNoticeRequestBody {
    to: Option<String>,
    text: String,
}

/// The body of a password reset.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminPasswordResetRequestBody {
    #[serde(default)]
    plain: bool,
}

/// The body of a change that needs none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyAdminRequestBody {}

/// Parses a body; an empty one gives the defaults.
fn read<'a, T: Deserialize<'a> + Default>(body: &'a [u8]) -> Result<T, AdminHttpResponse> {
    if body.trim_ascii().is_empty() { Ok(T::default()) } else { parse(body) }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, AdminHttpResponse> {
    // serde also accepts an array for a struct, which the interface does not allow.
    let is_object = body.trim_ascii().first() == Some(&b'{');
    let parsed = serde_json::from_slice(body).ok().filter(|_| is_object);
    parsed.ok_or_else(|| {
        AdminHttpResponse::error(
            400,
            "bad_request",
            "The body is not the JSON object that docs/admin.openapi.json describes.",
        )
    })
}

/// The word for the result in the line before a change.
const BEGINS: &str = "begins";

/// Writes the audit line about a change by an operator.
fn audit(what: &str, who: &str, user: Option<&UserName>, result: &str) {
    match user {
        // The field is the same as in lines about clients, so that one search finds everything
        // about a user.
        Some(user) => log::info!(user = user.as_str(); "admin: {what} by {who}: {result}"),
        None => log::info!("admin: {what} by {who}: {result}"),
    }
}

/// The result of a change in one word.
fn result_of(response: &AdminHttpResponse) -> String {
    match response.status {
        200 => "done".to_owned(),
        // It says which, but the log of each node says when it has.
        202 => match serde_json::from_slice::<serde_json::Value>(&response.body) {
            Ok(body) if body["unconfirmed_nodes"].is_array() => "done, and not confirmed by every node".to_owned(),
            _ => "it has begun".to_owned(),
        },
        status => serde_json::from_slice(&response.body)
            .ok()
            .and_then(|body: serde_json::Value| body["error"].as_str().map(str::to_owned))
            .unwrap_or_else(|| status.to_string()),
    }
}

/// The user of a change, if it concerns one user.
fn user_of(request: &AdminRequestToCore) -> Option<&UserName> {
    match request {
        AdminRequestToCore::Notice { to, .. } => to.as_ref(),
        AdminRequestToCore::Disconnect { name }
        | AdminRequestToCore::Ban { name }
        | AdminRequestToCore::Unban { name }
        | AdminRequestToCore::SetPassword { name, .. }
        | AdminRequestToCore::Delete { name } => Some(name),
        _ => None,
    }
}

/// Text of an operator, escaped for the log.
fn escaped(text: &str) -> String {
    let short: String = text.chars().take(LOGGED_CHARS_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

impl AdminContext {
    pub(super) fn notice(
        &self,
        body: &[u8],
        who: &str,
        within: Duration,
    ) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let AdminNoticeRequestBody { to, text } = parse(body)?;
        let to = to.as_deref().map(user_name).transpose()?;
        if text.is_empty() {
            return Err(AdminHttpResponse::error(400, "bad_request", "The text of a notice must not be empty."));
        }
        if text.len() > self.notice_bytes_max {
            let message = format!("The text of a notice may have {} bytes.", self.notice_bytes_max);
            return Err(AdminHttpResponse::error(413, "too_large", message));
        }
        let is_to_all = to.is_none();
        let receivers = to.as_ref().map_or_else(|| "all users".to_owned(), |name| format!("{:?}", name.as_str()));
        let what = format!("notice {} to {receivers}", escaped(&text));
        let sent =
            self.execute_change(
                &what,
                who,
                AdminRequestToCore::Notice { to, text },
                within,
                |answer, from| match answer {
                    AdminAnswerFromCore::Noticed { users } => AdminHttpResponse::json(200, &json!({"users": users})),
                    other => answers::of_change(&other, from),
                },
            );
        match sent {
            // A notice to very many users takes minutes.
            Err(late) if is_to_all && late.is_too_late() => Ok(AdminHttpResponse::json(202, &json!({"users": null}))),
            sent => sent,
        }
    }

    pub(super) fn change(
        &self,
        name: UserName,
        change: AdminUserAction,
        body: &[u8],
        who: &str,
        within: Duration,
    ) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let what = format!("{} of user {:?}", change.name(), name.as_str());
        let request = match change {
            AdminUserAction::Password => {
                let AdminPasswordResetRequestBody { plain } = read(body)?;
                return self.reset(&what, who, name, plain, within);
            }
            AdminUserAction::Disconnect => AdminRequestToCore::Disconnect { name },
            AdminUserAction::Ban => AdminRequestToCore::Ban { name },
            AdminUserAction::Unban => AdminRequestToCore::Unban { name },
            AdminUserAction::Delete => AdminRequestToCore::Delete { name },
        };
        let EmptyAdminRequestBody {} = read(body)?;
        self.execute_change(&what, who, request, within, |answer, from| answers::of_change(&answer, from))
    }

    pub(super) fn drain(
        &self,
        body: &[u8],
        who: &str,
        within: Duration,
    ) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let EmptyAdminRequestBody {} = read(body)?;
        self.execute_change("drain", who, AdminRequestToCore::Drain, within, |answer, from| {
            answers::of_change(&answer, from)
        })
    }

    /// The database is changed by this thread.
    pub(super) fn forget_node(
        &self,
        name: &str,
        body: &[u8],
        who: &str,
        within: Duration,
    ) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let until = Instant::now() + within;
        let EmptyAdminRequestBody {} = read(body)?;
        let _slot = self.store_slot()?;
        let members = self.members(within)?;
        let what = format!("forget the node {}", escaped(name));
        audit(&what, who, None, BEGINS);
        let response = match members.forget(name, until) {
            Ok(ForgetNodeResult::Done { users }) => {
                AdminHttpResponse::json(200, &json!({"done": true, "users": users}))
            }
            Ok(ForgetNodeResult::Unknown) => {
                AdminHttpResponse::error(404, "no_such_node", "There is no node of this name.")
            }
            Ok(ForgetNodeResult::Lives) => {
                let message = "The node has not stopped, and was not fenced; only one that is gone can be forgotten.";
                AdminHttpResponse::error(409, "lives", message)
            }
            Ok(ForgetNodeResult::Unfinished) => {
                AdminHttpResponse::too_late("It is not finished in time (--admin-timeout): ask again, and it goes on.")
            }
            Err(error) => AdminHttpResponse::error(503, "store", format!("It could not be done: {error}; ask again.")),
        };
        audit(&what, who, None, &result_of(&response));
        Ok(response)
    }

    fn reset(
        &self,
        what: &str,
        who: &str,
        name: UserName,
        plain: bool,
        within: Duration,
    ) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let password = secret::one_time_password().map_err(|error| {
            AdminHttpResponse::error(503, "no_randomness", format!("The system has no random numbers: {error}."))
        })?;
        let sent = if plain { password.clone() } else { secret::hash_value(name.as_str(), &password) };
        let request = AdminRequestToCore::SetPassword { name, secret: Secret::new(&sent) };
        self.execute_change(what, who, request, within, |answer, from| match answer {
            AdminAnswerFromCore::Done => AdminHttpResponse::json(200, &json!({"password": password})),
            AdminAnswerFromCore::Unconfirmed { nodes } => {
                let nodes = answers::nodes(&nodes, &from.names);
                AdminHttpResponse::json(202, &json!({"password": password, "unconfirmed_nodes": nodes}))
            }
            other => answers::of_change(&other, from),
        })
    }

    fn execute_change(
        &self,
        what: &str,
        who: &str,
        request: AdminRequestToCore,
        within: Duration,
        answer: impl FnOnce(AdminAnswerFromCore, &answers::AdminAnswerContext) -> AdminHttpResponse,
    ) -> Result<AdminHttpResponse, AdminHttpResponse> {
        let user = user_of(&request).cloned();
        audit(what, who, user.as_ref(), BEGINS);
        // Every change is in the log before it is done, unless the log is blocked.
        log::logger().flush();
        let response = self.ask(request, within, answer);
        audit(what, who, user.as_ref(), &result_of(response.as_ref().unwrap_or_else(|refusal| refusal)));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_object_that_is_described() {
        assert!(read::<EmptyAdminRequestBody>(b"").is_ok() && read::<EmptyAdminRequestBody>(b" {} \n").is_ok());
        assert!(read::<AdminPasswordResetRequestBody>(b"{\"plain\":true}").is_ok_and(|reset| reset.plain));
        assert!(read::<AdminPasswordResetRequestBody>(b"").is_ok_and(|reset| !reset.plain));
        for bad in [&b"[]"[..], b"{", b"null", b"1", b"{\"x\":1}", b"{}{}", b"\xff"] {
            assert!(read::<EmptyAdminRequestBody>(bad).is_err_and(|response| response.status == 400));
        }
        for bad in [&b""[..], b"{\"to\":\"ann\"}", b"[null,\"x\"]", b"{\"text\":1}", b"{\"text\":\"a\",\"text\":\"b\"}"]
        {
            assert!(parse::<AdminNoticeRequestBody>(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(
            parse::<AdminNoticeRequestBody>(b"{\"to\":null,\"text\":\"x\"}").is_ok_and(|notice| notice.to.is_none())
        );
    }

    #[test]
    fn text_in_the_log_is_escaped_and_short() {
        assert_eq!(escaped("a\n\u{1b}[31m\u{202e}b"), "\"a\\n\\u{1b}[31m\\u{202e}b\"");
        let long = escaped(&"x".repeat(1_000));
        assert!(long.len() < 220 && long.ends_with("\"…"), "{long}");
    }

    #[test]
    fn changes_have_the_names_of_their_paths() {
        for name in ["disconnect", "ban", "unban", "password", "delete"] {
            assert_eq!(change_of(name).map(AdminUserAction::name), Some(name));
        }
        assert_eq!(change_of("Ban").or(change_of("")), None);
    }
}
