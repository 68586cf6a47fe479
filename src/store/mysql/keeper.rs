//! The signs of life of the active server: a standby that sees none takes over. They also show this
//! server that another one has taken over, even when it has nothing to write.

use super::background_close;
use super::connect::MysqlConnector;
use super::fault;
use super::lanes::{ALONE, BEAT_LANE};
use super::signs::BEAT_EVERY;
use super::values::was_demoted;
use mysql::prelude::Queryable;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a stop waits for the database to note that this server has stopped. Without that note a
/// standby takes over a little later.
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// Gives signs of life until it is dropped, and then notes in the database that this server has
/// stopped.
pub struct ActiveServerHeartbeat {
    stop: Option<Sender<()>>,
    stop_receiver: Mutex<Receiver<()>>,
}

impl ActiveServerHeartbeat {
    /// Starts its thread; `on_taken_over` is called there, once.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(server: MysqlConnector, on_taken_over: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let (stop, asked_to_stop) = channel::<()>();
        let (done, stopped) = channel::<()>();
        std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            while asked_to_stop.recv_timeout(BEAT_EVERY) == Err(RecvTimeoutError::Timeout) {
                if server.is_taken_over_at_beat() {
                    on_taken_over();
                    return;
                }
            }
            server.release();
            drop(done);
        })?;
        Ok(Self { stop: Some(stop), stop_receiver: Mutex::new(stopped) })
    }
}

impl Drop for ActiveServerHeartbeat {
    fn drop(&mut self) {
        self.stop = None;
        // The end of the sender is the signal; a time-out is no error.
        let stopped = self.stop_receiver.get_mut().unwrap_or_else(PoisonError::into_inner);
        stopped.recv_timeout(RELEASE_WAIT).unwrap_or(());
    }
}

impl MysqlConnector {
    /// Gives one sign of life, if this server is the active one, and takes the lock again if it was
    /// lost. `true`: another server has taken over.
    fn is_taken_over_at_beat(&self) -> bool {
        let sql = format!(
            "UPDATE lanes SET n = n + 1 WHERE node = {ALONE} AND lane = {BEAT_LANE} AND epoch = {}",
            self.epoch
        );
        let mut guard = self.locked_guard();
        if guard.takeover_error.is_some() {
            return true;
        }
        if !guard.was_ever_held {
            return false;
        }
        if let Some(mut conn) = guard.conn.take() {
            let stays = match conn.query_drop(sql) {
                Ok(()) => conn.affected_rows() == 1,
                // The database answers and cannot do it now. If it only reads, the name may lead to
                // another server by now.
                Err(error) => fault(&error).1 && !guard.locked_at.is_some_and(|at| was_demoted(&error, at)),
            };
            if stays {
                guard.conn = Some(conn);
                return false;
            }
            background_close::close(conn);
        }
        drop(guard);
        // The workers, which need the lock, log the reason.
        self.guard(None).is_err() && self.locked_guard().takeover_error.is_some()
    }

    /// Tells a standby that nothing more will be written.
    pub(super) fn release(&self) {
        let mut guard = self.locked_guard();
        if let Some(mut conn) = guard.conn.take() {
            let released =
                conn.query_drop(format!("UPDATE lanes SET epoch = 0 WHERE node = {ALONE} AND epoch = {}", self.epoch));
            if let Err(error) = released {
                log::warn!("a standby waits for a sign of life: it cannot be told of the stop: {error}");
            }
        }
    }
}
