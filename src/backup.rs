//! `hongyan backup`: writes the content of a store into one file, while a server may run.

use crate::config::StoreUrl;
use crate::config::command::BackupArgs;
use crate::store::sqlite::{self, BackupContents};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes a backup as the whole process: the result goes to stdout. Setting `stop` ends it early.
///
/// # Errors
/// One sentence.
pub fn run(order: &BackupArgs, stop: &AtomicBool) -> Result<(), String> {
    if let StoreUrl::Sqlite(path) = &order.store {
        sqlite::check_source(path)?;
    }
    let BackupContents { bytes, accounts, pushes } = backup(&order.store, &order.file, stop)?;
    // The work is done: from here on the first signal ends the process.
    stop.store(true, Ordering::Release);
    let (store, file) = (&order.store, order.file.display());
    let said = format!("backed up {store} into {file}: {bytes} bytes, {accounts} accounts, {pushes} waiting pushes\n");
    // If stdout is closed, the exit status tells the result.
    io::stdout().write_all(said.as_bytes()).unwrap_or(());
    Ok(())
}

/// Writes a verified backup of a store into a new file. A server may use the store meanwhile, in
/// this process or another. It may take minutes.
///
/// # Errors
/// One sentence. Then the file does not exist, or is unchanged.
pub fn backup(store: &StoreUrl, file: &Path, stop: &AtomicBool) -> Result<BackupContents, String> {
    match store {
        StoreUrl::Sqlite(path) => sqlite::backup(path, file, stop),
        StoreUrl::Mysql(_) => Err(format!(
            "cannot back up {store}: mariadb-dump or mysqldump does it, docs/operations.md has the command"
        )),
        StoreUrl::Memory => Err("cannot back up memory: it is there only inside its own server".to_owned()),
    }
}
