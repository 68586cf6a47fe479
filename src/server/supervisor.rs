//! Notifications to a supervisor such as systemd (`sd_notify(3)`), if NOTIFY_SOCKET is set: that
//! the server is ready, and that a stop has begun.

#[cfg(target_os = "linux")]
use sd_notify::NotifyState;

/// The server serves.
pub(super) fn ready() {
    #[cfg(target_os = "linux")]
    notify(&[NotifyState::Ready, NotifyState::Status("active")]);
}

/// The server is a waiting standby: this counts as ready, too, because it may be weeks until it
/// serves.
pub(super) fn notify_standby() {
    #[cfg(target_os = "linux")]
    notify(&[NotifyState::Ready, NotifyState::Status("standby")]);
}

/// The server begins to stop.
pub(super) fn stopping() {
    #[cfg(target_os = "linux")]
    notify(&[NotifyState::Stopping]);
}

/// Sends states to the supervisor. A few datagrams in the life of a process fit into any socket, so
/// this does not block. It does not matter if the supervisor is gone.
#[cfg(target_os = "linux")]
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the supervisor cannot be told {states:?}: {error}");
    }
}
