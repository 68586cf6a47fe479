//! Arguments → settings → log → server → exit status.

use hongyan::admin::client;
use hongyan::config::LogFormat;
use hongyan::config::args;
use hongyan::config::command::CliCommand;
use hongyan::config::settings::LoadedConfig;
use hongyan::logging::{self, Stderr};
use hongyan::server::reload::ReloadHooks;
use hongyan::server::{self, ServerExitCause};
use hongyan::{backup, chat_launcher, copy};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// The allocator, jemalloc: it returns unused memory to the system, which the system's allocator
/// does not. Its settings are in `.cargo/config.toml`.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before any output: stderr may be a full pipe that nobody reads.
    let stderr = match Stderr::start() {
        Ok(stderr) => stderr,
        Err(why) => {
            writeln!(io::stderr(), "hongyan: {why}").unwrap_or(());
            return ExitCode::from(2);
        }
    };
    logging::say_panics_on(stderr.clone());
    let status = run(&stderr).unwrap_or_else(|why| {
        stderr.say_error(&format!("hongyan: {why}"));
        ExitCode::from(2)
    });
    stderr.finish();
    status
}

fn run(stderr: &Stderr) -> Result<ExitCode, String> {
    match read_command()? {
        CliCommand::Run(settings) => {
            let LoadedConfig { config, warning, .. } = *settings;
            stderr.set_json(config.log_format == LogFormat::Json);
            logging::start(config.log, stderr)?;
            if let Some(warning) = warning {
                log::warn!("{warning}");
            }
            let ended =
                server::run(config, program(stderr), |line| stderr.write_line(line)).map_err(|error| error.0)?;
            Ok(match ended {
                ServerExitCause::Stopped => ExitCode::SUCCESS,
                ServerExitCause::TakenOver => ExitCode::from(3),
                // The panic was reported; 101 is the exit status of a panic in `main`.
                ServerExitCause::Panicked => ExitCode::from(101),
            })
        }
        CliCommand::Check(settings) => {
            let LoadedConfig { config, summary, warning, .. } = *settings;
            let notice = server::check(&config).map_err(|error| error.0)?;
            if let Some(warning) = warning {
                stderr.write_line(&format!("hongyan: {warning}"));
            }
            print(&format!("the configuration is good: {summary}\n"));
            match notice {
                Some(notice) if notice.is_warning => stderr.write_line(&format!("hongyan: {}", notice.text)),
                Some(notice) => print(&format!("{}\n", notice.text)),
                None => {}
            }
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Copy(order) => {
            server::signals::ignore_harmless_signals().map_err(|error| format!("cannot watch for signals: {error}"))?;
            copy::run(&order, stderr.clone(), &server::signals::stop_signals())?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Backup(order) => {
            let watched = server::signals::ignore_harmless_signals().and_then(|()| server::signals::stop_flag());
            let stop = watched.map_err(|error| format!("cannot watch for signals: {error}"))?;
            backup::run(&order, &stop)?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Admin(order) => {
            let told = client::run(&order)?;
            print(&told.stdout_text);
            if !told.err.is_empty() {
                stderr.write_line(&told.err);
            }
            Ok(ExitCode::from(u8::from(!told.is_success)))
        }
        CliCommand::Client(args) => chat_launcher::run(&args),
        CliCommand::Print(text) => {
            print(&text);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read_command() -> Result<CliCommand, String> {
    args::read(std::env::args_os().skip(1), std::env::vars_os())
}

/// How the server reloads its settings and the settings of the log.
fn program(stderr: &Stderr) -> ReloadHooks {
    let stderr = stderr.clone();
    ReloadHooks {
        read_again: Arc::new(|| match read_command()? {
            CliCommand::Run(settings) => Ok(*settings),
            // The arguments are those of the start, so they give a server again.
            _ => Err("the arguments have changed".to_owned()),
        }),
        set_log: Arc::new(move |level, format| {
            stderr.set_json(format == LogFormat::Json);
            log::set_max_level(level);
        }),
    }
}

/// It is no error if stdout was closed (`hongyan --help | head -1`).
fn print(text: &str) {
    io::stdout().write_all(text.as_bytes()).unwrap_or(());
}
