//! Friends, profiles and the account itself.

use super::error::{ClientEndReason, Error};
use super::frames::{ClientMachineRequestAnswer, OutgoingClientRequestFrame};
use super::machine::ProgramOrderToClientMachine;
use super::options::ClientPassword;
use super::profile::{ClientRoster, UserProfile};
use super::push::Push;
use super::{Client, new_id};
use crate::protocol::push::PushKind;

/// How many pages of a roster are read at most. That is more friends than a server allows.
const PAGES_MAX: usize = 1_000;

impl Client {
    /// Sends a friend request to a user. Returns the server's time, in ms since the epoch.
    ///
    /// # Errors
    /// [`Error::Refused`]: NO_SUCH_USER, for example.
    pub fn ask_friend(&self, name: &str, words: &str) -> Result<u64, Error> {
        self.ask(OutgoingClientRequestFrame::friend("1", &new_id()?, self.user(), name, words))?.time()
    }

    /// Accepts a friend request: a push of the kind [`PushKind::FriendRequest`].
    ///
    /// # Errors
    /// [`Error::Refused`]: NO_SUCH_REQUEST if the request was answered before (perhaps by this
    /// client, when the server's reply was lost), or was withdrawn.
    pub fn accept(&self, request: &Push, words: &str) -> Result<u64, Error> {
        self.answer("2", request, words)
    }

    /// Rejects a friend request.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub fn reject(&self, request: &Push, words: &str) -> Result<u64, Error> {
        self.answer("3", request, words)
    }

    fn answer(&self, kind: &'static str, request: &Push, words: &str) -> Result<u64, Error> {
        if request.kind != PushKind::FriendRequest {
            return Err(Error::Setting("this push is no friend request".to_owned()));
        }
        self.answer_request(kind == "2", &request.message_id, &request.sender, words)
    }

    /// Accepts or rejects a friend request by its id, as given in the roster.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub fn answer_request(&self, accept: bool, message_id: &str, from: &str, words: &str) -> Result<u64, Error> {
        let kind = if accept { "2" } else { "3" };
        self.ask(OutgoingClientRequestFrame::friend(kind, message_id, from, self.user(), words))?.time()
    }

    /// Ends a friendship, or withdraws a friend request that is pending. The server does not notify
    /// the other user.
    ///
    /// # Errors
    /// The errors of every request.
    pub fn end_friendship(&self, name: &str) -> Result<u64, Error> {
        self.ask(OutgoingClientRequestFrame::friend("4", &new_id()?, self.user(), name, ""))?.time()
    }

    /// The profile of any user; `None` if there is no such user.
    ///
    /// # Errors
    /// The errors of every request.
    pub fn profile(&self, name: &str) -> Result<Option<UserProfile>, Error> {
        match self.ask(OutgoingClientRequestFrame::get_user(&new_id()?, name))? {
            ClientMachineRequestAnswer::Profile(profile) => Ok(profile),
            other => Err(other.bad()),
        }
    }

    /// Changes the user's own profile: only the fields that are `Some`. The user name cannot be
    /// changed.
    ///
    /// # Errors
    /// [`Error::Refused`]: BAD_FIELD if a text is too long.
    pub fn change_profile(&self, change: &ProfileChange) -> Result<(), Error> {
        self.ask(OutgoingClientRequestFrame::word("PROFILE", &new_id()?, &change.json()))?.word("changed")
    }

    /// Returns the friends, and the pending requests in both directions. With `watch`,
    /// [`Client::next`] reports from now on which friends come online and go offline, also after a
    /// reconnect.
    ///
    /// # Errors
    /// The errors of every request; UNKNOWN_TYPE if the server is too old to have this request.
    pub fn roster(&self, watch: bool) -> Result<ClientRoster, Error> {
        if watch {
            self.order(ProgramOrderToClientMachine::Watch);
        }
        let mut whole = ClientRoster::default();
        for _ in 0..PAGES_MAX {
            let after = whole.friends.last().map(|friend| friend.user_name.clone());
            let page = match self.ask(OutgoingClientRequestFrame::roster(&new_id()?, after.as_deref(), watch))? {
                ClientMachineRequestAnswer::Roster(page) => page,
                other => return Err(other.bad()),
            };
            let goes_on = page.more && !page.friends.is_empty();
            whole.add(page);
            if !goes_on {
                return Ok(whole);
            }
        }
        Err(Error::BadAnswer("the list of friends has no end".to_owned()))
    }

    /// Changes the password. The server invalidates all resume tokens and closes every other
    /// connection of the user.
    ///
    /// # Errors
    /// [`Error::Refused`]: FORBIDDEN if `old` is wrong. [`Error::Unknown`]: the connection was lost
    /// before the answer; the client then logs in with the one of the two passwords that is right.
    pub fn change_password(&self, old: &str, new: &str) -> Result<(), Error> {
        let hash = |password: &str| super::hash_value(self.user(), password);
        let (old, new) = (hash(old), hash(new));
        self.order(ProgramOrderToClientMachine::Password(ClientPassword::Hash(new.clone())));
        let content = serde_json::json!({"old": old, "new": new});
        let result = self
            .ask(OutgoingClientRequestFrame::word("PASSWORD", &new_id()?, &content).not_repeatable())
            .and_then(|it| it.word("changed"));
        match &result {
            Ok(()) => self.order(ProgramOrderToClientMachine::PasswordChanged(true)),
            // The change may have been made, or may still be made: the next log-in tries both
            // passwords.
            Err(error) if error.may_have_been_executed() => {}
            Err(_) => self.order(ProgramOrderToClientMachine::PasswordChanged(false)),
        }
        result
    }

    /// Blocks a user. This ends the friendship and every pending request between the two. The
    /// blocked user cannot find out that they are blocked.
    ///
    /// # Errors
    /// [`Error::Refused`]: FULL or BAD_FIELD.
    pub fn block(&self, name: &str) -> Result<Vec<String>, Error> {
        self.blocks(&serde_json::json!({"block": name}))
    }

    /// Unblocks a user. The friendship is not restored.
    ///
    /// # Errors
    /// The errors of every request.
    pub fn unblock(&self, name: &str) -> Result<Vec<String>, Error> {
        self.blocks(&serde_json::json!({"unblock": name}))
    }

    /// The users whom this user has blocked.
    ///
    /// # Errors
    /// The errors of every request.
    pub fn blocked(&self) -> Result<Vec<String>, Error> {
        self.blocks(&serde_json::json!({}))
    }

    fn blocks(&self, content: &serde_json::Value) -> Result<Vec<String>, Error> {
        match self.ask(OutgoingClientRequestFrame::word("BLOCK", &new_id()?, content))? {
            ClientMachineRequestAnswer::Blocked(names) => Ok(names),
            other => Err(other.bad()),
        }
    }

    /// Deletes the account. Nobody can register the name again. The client has ended when this
    /// returns.
    ///
    /// # Errors
    /// [`Error::Refused`]: FORBIDDEN if the password is wrong. [`Error::Unknown`]: the connection
    /// was lost before the answer.
    pub fn delete_account(&self, password: &str) -> Result<(), Error> {
        let pass = super::hash_value(self.user(), password);
        let content = serde_json::json!({"want": "delete", "PASS": pass});
        self.ask(OutgoingClientRequestFrame::word("ACCOUNT", &new_id()?, &content).not_repeatable())?
            .word("deleted")?;
        self.order(ProgramOrderToClientMachine::End(ClientEndReason::Deleted));
        Ok(())
    }

    /// Logs out: invalidates all resume tokens of the user, removes the stored one, and closes the
    /// connection.
    ///
    /// # Errors
    /// The errors of every request; the client stays open in this case.
    pub fn log_out(self) -> Result<(), Error> {
        self.order(ProgramOrderToClientMachine::RemoveToken);
        self.ask(OutgoingClientRequestFrame::word("TOKEN", &new_id()?, &serde_json::json!({"want": "revoke"})))?
            .word("revoked")?;
        self.close();
        Ok(())
    }
}

/// Which fields of a profile change: the new text of each, and `None` for a field that stays as it
/// is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// `emailAddress`.
    pub email_address: Option<String>,
    /// `nickName`.
    pub nick_name: Option<String>,
    /// `profilePicture`.
    pub profile_picture: Option<String>,
    /// `location`.
    pub location: Option<String>,
    /// `personalDescription`.
    pub personal_description: Option<String>,
    /// `rsaPublicKey`.
    pub rsa_public_key: Option<String>,
}

impl ProfileChange {
    fn json(&self) -> serde_json::Value {
        let keys = [
            ("emailAddress", &self.email_address),
            ("nickName", &self.nick_name),
            ("profilePicture", &self.profile_picture),
            ("location", &self.location),
            ("personalDescription", &self.personal_description),
            ("rsaPublicKey", &self.rsa_public_key),
        ];
        let present = keys.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?.into())));
        serde_json::Value::Object(present.collect())
    }
}
