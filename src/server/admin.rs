//! The admin interface of a server: when it is opened, and what happens if its place cannot be
//! used.

use super::StartError;
use crate::admin::{AdminConfig, AdminServer, ProcessStageCell};
use crate::config::{AdminPlace, Config, StoreUrl};
use crate::net::admin::{AdminLoopCallReceiver, AdminLoopCaller, channel};
use crate::store::pool::WakeFn;
use std::sync::Arc;
use std::time::Duration;

/// The largest text of a system notice, and the part of an envelope that is not text, in bytes.
const NOTICE_BYTES_MAX: usize = 16 * 1024;
const ENVELOPE_BYTES: usize = 1024;

/// The admin interface and its channel to the loop, until both run.
pub(super) struct AdminServerStartup {
    config: Option<AdminConfig>,
    /// Its place is the default one.
    is_default: bool,
    caller: AdminLoopCaller,
    calls: AdminLoopCallReceiver,
    stage: ProcessStageCell,
    server: Option<AdminServer>,
}

impl AdminServerStartup {
    /// Opens it, unless it is the default socket: that one is opened when this server has its
    /// store, since another server with the same store would have the same socket; a standby may
    /// wait for weeks. A server inside another process has an admin interface only if its
    /// configuration gives a place.
    pub(super) fn open(config: &Config, wake: &WakeFn, is_process: bool) -> Result<Self, StartError> {
        let is_default = config.admin == AdminPlace::Auto;
        let place = config.admin.endpoint_for(&config.store).filter(|_| is_process || !is_default);
        let admin_config = place.map(|endpoint| AdminConfig {
            endpoint,
            token_file: config.admin_token_file.clone(),
            store: config.store.clone(),
            connections_max: config.admin_connections_max,
            timeout: Duration::from_millis(config.admin_timeout_ms),
            // It must fit an envelope, like messages of users.
            notice_bytes_max: config.frame_bytes_max.saturating_sub(ENVELOPE_BYTES).clamp(1, NOTICE_BYTES_MAX),
        });
        let (caller, calls) = channel(config.admin_connections_max, Arc::clone(wake));
        let (stage, server) = (ProcessStageCell::default(), None);
        if config.is_standby {
            stage.stand_by();
        }
        let mut admin = Self { config: admin_config, is_default, caller, calls, stage, server };
        let is_file = matches!(config.store, StoreUrl::Sqlite(_));
        if !is_default || config.is_standby && !is_file {
            admin.start()?;
        }
        Ok(admin)
    }

    fn start(&mut self) -> Result<(), StartError> {
        let Some(config) = &self.config else { return Ok(()) };
        match AdminServer::start(config, self.caller.clone(), self.stage.clone()) {
            Ok(server) => {
                let place = server
                    .addr()
                    .map_or_else(|| config.endpoint.with_absolute_path().to_string(), |addr| addr.to_string());
                log::info!("the admin interface is at {place}");
                self.server = Some(server);
            }
            Err(why) if self.is_default => {
                log::warn!("{why}; the server runs without it (--admin says where it is, or off)");
                self.config = None;
            }
            Err(why) => return Err(StartError(why)),
        }
        Ok(())
    }

    /// The server has its store: starts the admin interface if it is not open yet.
    pub(super) fn serve(mut self) -> Result<(Option<AdminServer>, AdminLoopCallReceiver), StartError> {
        if self.server.is_none() {
            self.start()?;
        }
        self.stage.serve();
        Ok((self.server, self.calls))
    }
}
