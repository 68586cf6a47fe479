//! Arguments → settings → log → server → exit status.

use hongyan::config::args::{self, Command};
use hongyan::copy;
use hongyan::logging;
use hongyan::server;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let config = match args::read(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
        Ok(Command::Run(config)) => *config,
        Ok(Command::Copy(order)) => return copy::run(&order).map_or_else(|why| fail(&why), |()| ExitCode::SUCCESS),
        Ok(Command::Print(text)) => {
            // Whoever closed stdout (`hongyan --help | head -1`) has seen enough.
            io::stdout().write_all(text.as_bytes()).unwrap_or(());
            return ExitCode::SUCCESS;
        }
        Err(why) => return fail(&why),
    };
    let logging = match logging::start(config.log) {
        Ok(logging) => logging,
        Err(why) => return fail(&why),
    };
    let ended = server::run(config);
    logging.finish();
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        // The loop panicked and has said so; 101 is what a panic in `main` exits with.
        Ok(false) => ExitCode::from(101),
        Err(error) => fail(&error.0),
    }
}

fn fail(why: &str) -> ExitCode {
    // With stderr gone the exit status is all that is left to say it with.
    writeln!(io::stderr(), "hongyan: {why}").unwrap_or(());
    ExitCode::from(2)
}
