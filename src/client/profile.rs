//! Profiles and rosters, as the server sends them. Missing members count as empty.

use serde::{Deserialize, Deserializer, Serialize};

/// The profile of a user. Every user who is logged in can read every profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserProfile {
    /// The user's name, as they log in.
    pub user_name: String,
    /// The e-mail address; empty if the server does not show it.
    pub email_address: String,
    /// The name to show.
    pub nick_name: String,
    /// A link to a picture.
    pub profile_picture: String,
    /// Where the user is.
    pub location: String,
    /// The user's description of themselves.
    pub personal_description: String,
    /// Public keys, for encryption between friends (docs/e2e.md).
    pub rsa_public_key: String,
}

/// A friend in the roster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientRosterFriend {
    /// The friend's name.
    pub user_name: String,
    /// The name to show.
    pub nick_name: String,
    /// A link to a picture.
    pub profile_picture: String,
    /// Are they logged in?
    pub online: bool,
}

/// A friend request that is pending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientRosterFriendRequest {
    /// The other user: the one who asked, or the one who was asked.
    pub user_name: String,
    /// The id of the request.
    pub message_id: String,
    /// The text of the request.
    pub content: String,
    /// When the request was made, in ms since the epoch.
    #[serde(deserialize_with = "text_or_number")]
    pub time: String,
}

fn text_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Friends, in byte order of their names, and pending requests, oldest first (at most 100 in each
/// direction).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClientRoster {
    /// The friends.
    pub friends: Vec<ClientRosterFriend>,
    /// Requests of others to this user.
    pub incoming: Vec<ClientRosterFriendRequest>,
    /// This user's own requests.
    pub outgoing: Vec<ClientRosterFriendRequest>,
    pub(super) more: bool,
}

impl ClientRoster {
    /// Appends the next page.
    pub(super) fn add(&mut self, page: Self) {
        self.friends.extend(page.friends);
        self.incoming.extend(page.incoming);
        self.outgoing.extend(page.outgoing);
    }
}
