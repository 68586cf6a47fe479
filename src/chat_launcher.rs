//! `hongyan chat`, `send` and `listen`: run the separate program `hongyan-chat` beside this one, so
//! that the server does not contain the screen and the cryptography of a client.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

const NAME: &str = "hongyan-chat";

/// Replaces this process by the client.
///
/// # Errors
/// One sentence: the program does not exist, or does not start.
pub fn run(args: &[OsString]) -> Result<ExitCode, String> {
    match std::env::current_exe() {
        Ok(own) => run_sibling(&own, args),
        // Without /proc, as in a bare chroot: search PATH, because both programs are installed in
        // the same folder.
        Err(_) => {
            replace_process(Command::new(NAME).args(args)).map_err(|error| format!("cannot start {NAME}: {error}"))
        }
    }
}

fn run_sibling(own: &Path, args: &[OsString]) -> Result<ExitCode, String> {
    let path = own.with_file_name(format!("{NAME}{}", std::env::consts::EXE_SUFFIX));
    // Check first: after a failed exec, signal settings of this process would be lost.
    if !path.exists() {
        return Err(format!(
            "this needs the program {NAME} beside {}; build it with: cargo build --release --features client",
            own.display()
        ));
    }
    replace_process(Command::new(&path).args(args)).map_err(|error| format!("cannot start {}: {error}", path.display()))
}

#[cfg(unix)]
fn replace_process(command: &mut Command) -> io::Result<ExitCode> {
    Err(std::os::unix::process::CommandExt::exec(command))
}

#[cfg(not(unix))]
fn replace_process(command: &mut Command) -> io::Result<ExitCode> {
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_not_there_is_named_with_the_way_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("hongyan");
        let why = run_sibling(&own, &[]).unwrap_err();
        assert!(why.contains("hongyan-chat") && why.contains("--features client") && !why.contains('\n'), "{why}");
    }
}
