//! The commands of the program, as read from a command line.

use super::settings::LoadedConfig;
use super::{AdminInterfaceAddress, StoreUrl};
use std::ffi::OsString;
use std::path::PathBuf;

/// The command that the command line asks for.
#[derive(Debug)]
pub enum CliCommand {
    /// Run a server.
    Run(Box<LoadedConfig>),
    /// Check its settings only.
    Check(Box<LoadedConfig>),
    /// Copy a store.
    Copy(CopyArgs),
    /// Back a store up.
    Backup(BackupArgs),
    /// Ask a running server.
    Admin(AdminCliCommand),
    /// Run the client program with these arguments.
    Client(Vec<OsString>),
    /// Print this text and exit.
    Print(String),
}

/// A copy: from which store into which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyArgs {
    /// The store that is copied, and not changed.
    pub from: StoreUrl,
    /// The empty store into which it is copied.
    pub to: StoreUrl,
}

/// A backup: of which store, into which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupArgs {
    /// The store.
    pub store: StoreUrl,
    /// The new file.
    pub file: PathBuf,
}

/// An order to a running server, and where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCliCommand {
    /// Where its admin interface is.
    pub endpoint: AdminInterfaceAddress,
    /// The file with the token for it.
    pub token_file: Option<PathBuf>,
    /// The id of the store that is meant, if it is given and the place does not imply it.
    pub store_id: Option<String>,
    /// Print the answer as JSON, for a program.
    pub is_json: bool,
    /// The order itself.
    pub verb: AdminCliVerb,
}

/// The kinds of orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCliVerb {
    /// The state of the server.
    Status,
    /// The users who are online.
    Users,
    /// How the nodes of the cluster are.
    Nodes,
    /// Forget a node of this name, which will not come back.
    ForgetNode(String),
    /// A report about a user.
    User(String),
    /// The messages to a user with one id, and where they are.
    Where {
        /// The receiver.
        receiver: String,
        /// The messageId.
        id: String,
    },
    /// A system notice.
    Notice {
        /// The receiver; `None`: all users.
        to: Option<String>,
        /// Its text.
        text: String,
    },
    /// Close all connections, a slice at a time, and stop.
    Drain {
        /// The command ends when the server has stopped.
        waits: bool,
    },
    /// A change that concerns one user.
    Change {
        /// The user's name.
        name: String,
        /// The change.
        change: AdminCliAccountCommand,
    },
}

/// The changes that concern one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminCliAccountCommand {
    /// Close the connection.
    Disconnect,
    /// Refuse log-ins.
    Ban,
    /// Lift a ban.
    Unban,
    /// Give the user a new password.
    ResetPassword {
        /// Clients send the password itself, and not its hash by the recipe of the protocol.
        is_plain: bool,
    },
    /// Delete the account.
    Delete,
}
