//! A standby: waits until the active server is gone, and then takes over.

use super::store_wait::{self, LOOK, on_a_thread};
use super::supervisor;
use super::{StartError, StopReasonFlags};
use crate::config::{Config, StoreUrl};
use crate::store::StoreError;
use crate::store::mysql::{ActiveServerCheckResult, ActiveServerWatch, MysqlConnector};
use crate::store::pool::{DatabaseTakeoverOptions, WakeFn, WorkerPool};
use signal_hook_mio::v1_0::Signals;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The interval between two checks of the active server.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits as long as necessary, and then opens the store. `None`: a signal came.
pub(super) fn wait_and_open(
    config: &Config,
    signals: &mut Option<Signals>,
    wake: &WakeFn,
    over: &StopReasonFlags,
) -> Result<Option<WorkerPool>, StartError> {
    let StoreUrl::Mysql(url) = &config.store else {
        return Err(StartError("a standby needs a MySQL store".to_owned()));
    };
    let cannot_use = |error: StoreError| StartError(format!("cannot use the store {}: {error}", config.store));
    let silent_max = Duration::from_millis(config.silent_server_max_ms);
    let mut watch = ActiveServerWatch::new(MysqlConnector::new(url).map_err(cannot_use)?, silent_max);
    // The last logged reason why it cannot take over, and whether it has ever seen the active
    // server.
    let (mut said, mut has_seen) = (String::new(), false);
    let mut is_waiting = false;
    loop {
        let looked = on_a_thread(signals, "watch", move || Ok((watch.check(), watch)))?;
        let Some(looked) = looked else { return Ok(None) };
        let (seen, same_watch) = looked.map_err(cannot_use)?;
        watch = same_watch;
        let is_refused = matches!(&seen, Err(error) if !may_wait_out(error));
        if !is_waiting && !is_refused {
            is_waiting = true;
            if signals.is_some() {
                supervisor::notify_standby();
            }
            log::info!("standby: waiting until the server that uses the store {} is gone", config.store);
        }
        let tried = match seen {
            Ok(ActiveServerCheckResult::Active) => {
                (said, has_seen) = (String::new(), true);
                Ok(None)
            }
            Ok(ActiveServerCheckResult::Gone { epoch }) => {
                log::info!("standby: the active server is gone: this one takes its place");
                let on_taken_over = Some(Arc::clone(&over.on_taken_over));
                let claim = DatabaseTakeoverOptions { predecessor: Some(epoch), on_taken_over, on_fenced: None };
                let Some(opened) = take_over(config, signals, wake, claim)? else { return Ok(None) };
                opened.map(Some)
            }
            Err(error) => Err(error),
        };
        match tried {
            Ok(Some(pool)) => return Ok(Some(pool)),
            Ok(None) => {}
            // A standby that has seen the active server once keeps waiting, whatever happens to the
            // database: it may be needed then.
            Err(error) if has_seen || may_wait_out(&error) => {
                let why = error.to_string();
                if said != why {
                    log::warn!("standby: cannot take over now: {why}");
                    said = why;
                }
            }
            Err(error) => return Err(cannot_use(error)),
        }
        let until = Instant::now() + LOOK_EVERY;
        while Instant::now() < until {
            if store_wait::is_signalled(signals) {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }
}

/// Opens the store in the place of the server that is gone. `None`: a signal came.
fn take_over(
    config: &Config,
    signals: &mut Option<Signals>,
    wake: &WakeFn,
    claim: DatabaseTakeoverOptions,
) -> Result<Option<Result<WorkerPool, StoreError>>, StartError> {
    let asked = Instant::now();
    let (config, wake) = (config.clone(), Arc::clone(wake));
    let opened = on_a_thread(signals, "open-store", move || WorkerPool::start_as(&config, claim, wake))?;
    if let Some(Ok(_)) = &opened {
        log::info!("standby: this server is active now, {} ms later", asked.elapsed().as_millis());
    }
    Ok(opened)
}

/// May a standby that has never seen the active server wait for the end of this error?
fn may_wait_out(error: &StoreError) -> bool {
    store_wait::may_recover(error) || matches!(error, StoreError::InUse(_))
}
