//! From the options to a client: the user, the files, and the secrets.

use crate::args::ChatLoginArgs;
use crate::files::{self, ChatUserDataDir};
use crate::secret::Secret;
use crate::{prompt, text};
use hongyan::client::{Client, ClientOptions, Error, ResumeTokenFile, UserProfile, hash_value, sign_up};
use std::path::PathBuf;
use std::time::Duration;

/// How long requests wait for their answers.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Everything that a client of this user needs.
#[derive(Clone, Debug)]
pub(crate) struct ChatClientSetup {
    pub(crate) server: String,
    pub(crate) user: String,
    pub(crate) folder: ChatUserDataDir,
    pub(crate) keys: Option<PathBuf>,
    token_file: PathBuf,
    ca_file: Option<PathBuf>,
    /// The hash of the password, if it is known.
    pub(crate) hash: Option<Secret>,
}

impl ChatClientSetup {
    /// Reads the files that the options name, and asks for the user's name if they do not give it.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn new(who: &ChatLoginArgs) -> Result<Self, String> {
        let user = who.user.clone().map_or_else(|| prompt::line("User name: "), Ok)?;
        let base = who.data.clone().map_or_else(|| files::default_base(|name| std::env::var_os(name)), Ok)?;
        let folder = ChatUserDataDir::open(&base, &who.server, &user)?;
        let token_file = who.token_file.clone().unwrap_or_else(|| folder.file("token"));
        let password = who.password_file.as_deref().map(files::read_secret).transpose()?;
        let hash = password.map(|password| hash_value(&user, &password).into());
        let (server, keys, ca_file) = (who.server.clone(), who.keys.clone(), who.ca_file.clone());
        Ok(Self { server, user, folder, keys, token_file, ca_file, hash })
    }

    /// Asks for the password, if neither it nor a token is available.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn need_secret(&mut self) -> Result<(), String> {
        if self.hash.is_some() || self.token_file.exists() { Ok(()) } else { self.ask_password() }
    }

    /// Asks for the password.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn ask_password(&mut self) -> Result<(), String> {
        let password = prompt::secret(&format!("Password of {}: ", text::line(&self.user)))?;
        self.hash = Some(hash_value(&self.user, &password).into());
        Ok(())
    }

    /// The options for the library.
    pub(crate) fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::new(&self.server, &self.user).tokens(ResumeTokenFile::new(&self.token_file));
        options.request_limit = REQUEST_LIMIT;
        if let Some(hash) = &self.hash {
            options = options.password_hash(hash);
        }
        if let Some(file) = &self.ca_file {
            options = options.ca_file(file);
        }
        options
    }

    /// Asks for the password of a new account, if it is not known.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn need_new_secret(&mut self) -> Result<(), String> {
        if self.hash.is_none() {
            let password = prompt::new_secret(&format!("A new password for {}: ", text::line(&self.user)))?;
            self.hash = Some(hash_value(&self.user, &password).into());
        }
        Ok(())
    }

    /// Creates an account with these keys in its profile.
    ///
    /// # Errors
    /// As the library.
    pub(crate) fn sign_up(&self, rsa_public_key: String) -> Result<(), Error> {
        let profile = UserProfile { rsa_public_key, ..UserProfile::default() };
        sign_up(&self.options(), &profile)
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// As the library.
    pub(crate) fn start(&self) -> Result<Client, Error> {
        Client::start(self.options())
    }
}
