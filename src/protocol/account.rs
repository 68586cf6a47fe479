//! Requests of users about their own account, and the data in the answers.

use super::escape::escaped_bytes;
use super::field::{Secret, UserName, UserNameRef};

/// A request about the user's own account.
#[derive(Debug)]
pub enum OwnAccountRequest<'a> {
    /// TYPE ROSTER: their friends, and the friend requests that are pending.
    Roster {
        /// Only friends whose names follow this one, and no requests.
        after: Option<UserNameRef<'a>>,
        /// Watch: send PRESENCE from now on.
        watch: bool,
    },
    /// TYPE PROFILE: changes their profile. Boxed: it is rare and large.
    Profile(Box<ProfileChange>),
    /// TYPE PASSWORD: changes the password.
    Password {
        /// The present password.
        old: Secret,
        /// The new password.
        new: Secret,
    },
    /// TYPE BLOCK.
    Block(BlockVerb<'a>),
    /// TYPE ACCOUNT: deletes the account.
    Delete {
        /// Their password.
        password: Secret,
    },
}

/// The operation on blocked users.
#[derive(Debug)]
pub enum BlockVerb<'a> {
    /// Blocks a user.
    Block(UserNameRef<'a>),
    /// Unblocks a user.
    Unblock(UserNameRef<'a>),
    /// Lists the blocked users.
    List,
}

/// New values of a profile; fields that are `None` are unchanged. The bounds are those of
/// [`Profile`](super::field::Profile).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// The e-mail address.
    pub email_address: Option<Box<str>>,
    /// The name that others are shown.
    pub nick_name: Option<Box<str>>,
    /// The picture, as the client wrote it.
    pub profile_picture: Option<Box<str>>,
    /// The location.
    pub location: Option<Box<str>>,
    /// The user's description of themself.
    pub personal_description: Option<Box<str>>,
    /// The key with which friends encrypt end to end.
    pub rsa_public_key: Option<Box<str>>,
}

/// Some of a user's friends, and the requests that are pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterReply {
    /// In byte order of their names.
    pub friends: Vec<RosterReplyFriend>,
    /// More friends follow.
    pub has_more: bool,
    /// The pending requests to the user in the order in which they were taken, without those of
    /// blocked users.
    pub incoming: Vec<RosterReplyFriendRequest>,
    /// The pending requests of the user in the order in which they were taken, including hidden
    /// ones.
    pub outgoing: Vec<RosterReplyFriendRequest>,
}

/// A friend, as the roster shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterReplyFriend {
    /// Their name.
    pub user_name: UserName,
    /// Their nick name.
    pub nick_name: Box<str>,
    /// Their picture.
    pub profile_picture: Box<str>,
}

/// A friend request that is pending, as the roster shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterReplyFriendRequest {
    /// The other user: the one who asked, or the one who was asked.
    pub user_name: UserName,
    /// The id that the asking user gave it.
    pub message_id: Box<str>,
    /// Its text.
    pub content: Box<str>,
    /// When it was taken, in ms since the epoch.
    pub time_ms: u64,
}

/// The limit on the written size of the requests in each direction, and of the friends, in bytes;
/// the entry that exceeds it is the last one. It keeps the frame of a roster below 1 MiB: a request
/// may be as large as an envelope and is escaped again, so it may exceed the limit by 256 KiB.
const REQUESTS_WRITTEN_BYTES: usize = 128 * 1024;
const FRIENDS_WRITTEN_BYTES: usize = 192 * 1024;
/// The largest size of an entry's keys and punctuation, in bytes.
const BETWEEN_BYTES: usize = 256;

/// The size of an entry with these texts, in the form that takes more room.
fn written_bytes(texts: [&str; 3]) -> usize {
    BETWEEN_BYTES + texts.iter().map(|text| escaped_bytes(text, 3)).sum::<usize>()
}

/// Keeps the first entries that fit; `true`: some were removed.
fn truncate_to_fit<T>(list: &mut Vec<T>, bytes_max: usize, written: impl Fn(&T) -> usize) -> bool {
    let mut bytes = 0;
    let fits = |one: &&T| {
        let begun_below = bytes < bytes_max;
        bytes += written(one);
        begun_below
    };
    let kept = list.iter().take_while(fits).count();
    let is_cut = kept < list.len();
    list.truncate(kept);
    is_cut
}

impl RosterReply {
    /// Removes entries that would make the frame too large: the last requests, and the last
    /// friends, for which `has_more` is set then.
    pub fn cut_to_frame(&mut self) {
        let of_request =
            |one: &RosterReplyFriendRequest| written_bytes([one.user_name.as_str(), &one.message_id, &one.content]);
        truncate_to_fit(&mut self.incoming, REQUESTS_WRITTEN_BYTES, of_request);
        truncate_to_fit(&mut self.outgoing, REQUESTS_WRITTEN_BYTES, of_request);
        let of_friend =
            |one: &RosterReplyFriend| written_bytes([one.user_name.as_str(), &one.nick_name, &one.profile_picture]);
        self.has_more |= truncate_to_fit(&mut self.friends, FRIENDS_WRITTEN_BYTES, of_friend);
    }
}

/// A roster for the answer.
#[derive(Clone, Debug)]
pub struct RosterReplyWithPresence {
    /// The stored part.
    pub roster: RosterReply,
    /// For each of its friends, whether they are online.
    pub online: Vec<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::reply::{Reply, write_reply};
    use crate::protocol::request::ContentAsStringOrObject;

    #[test]
    fn the_largest_roster_fits_a_frame_of_a_mebibyte_and_leaves_nobody_out_for_good() {
        for odd in ["\"", "\u{1}", "\\", "a", "雁"] {
            let text = |bytes: usize| odd.repeat(bytes / odd.len()).into_boxed_str();
            // As much as the envelope of a request could have.
            let content = match odd {
                "\u{1}" => text(64 * 1024 / 6),
                "\"" | "\\" => text(64 * 1024 / 2),
                _ => text(64 * 1024),
            };
            let user_name = UserName::new(&"\"".repeat(64)).unwrap();
            let friend =
                RosterReplyFriend { user_name: user_name.clone(), nick_name: text(255), profile_picture: text(2_048) };
            let request =
                RosterReplyFriendRequest { user_name, message_id: text(128), content, time_ms: 1_652_791_027_673 };
            let mut roster = RosterReply {
                friends: vec![friend; 100],
                has_more: false,
                incoming: vec![request.clone(); 100],
                outgoing: vec![request; 100],
            };
            roster.cut_to_frame();
            assert!(!roster.friends.is_empty() && !roster.incoming.is_empty() && !roster.outgoing.is_empty());
            assert_eq!(roster.has_more, roster.friends.len() < 100);
            let online = vec![false; roster.friends.len()];
            for form in [ContentAsStringOrObject::Text, ContentAsStringOrObject::Object] {
                let (mut out, id) = (Vec::new(), "\u{1}".repeat(128));
                let shown = RosterReplyWithPresence { roster: roster.clone(), online: online.clone() };
                write_reply(&mut out, form, &id, &Reply::Roster(Box::new(shown)));
                assert!(out.len() < 1024 * 1024, "{} bytes of {odd:?}", out.len());
            }
        }
    }

    #[test]
    fn a_roster_of_usual_size_stays_whole() {
        let user_name = UserName::new("vincent313").unwrap();
        let picture = "p".repeat(500).into_boxed_str();
        let friend =
            RosterReplyFriend { user_name: user_name.clone(), nick_name: "zhiyong".into(), profile_picture: picture };
        let content = "tianjia".into();
        let request = RosterReplyFriendRequest { user_name, message_id: "f1".into(), content, time_ms: 1 };
        let whole = RosterReply {
            friends: vec![friend; 100],
            has_more: false,
            incoming: vec![request.clone(); 100],
            outgoing: vec![request; 100],
        };
        let mut roster = whole.clone();
        roster.cut_to_frame();
        assert_eq!(roster, whole);
    }
}
