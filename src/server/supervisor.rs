//! What a supervisor such as systemd is told (`sd_notify(3)`), if it asks to be by NOTIFY_SOCKET: a
//! start is over when the server serves, and a stop has begun.

#[cfg(target_os = "linux")]
use sd_notify::NotifyState;

/// The server serves.
pub(super) fn ready() {
    #[cfg(target_os = "linux")]
    tell(&[NotifyState::Ready, NotifyState::Status("active")]);
}

/// The server waits for the end of the one that is active: a start is over then, too, because it
/// may be weeks until it serves.
pub(super) fn standing_by() {
    #[cfg(target_os = "linux")]
    tell(&[NotifyState::Ready, NotifyState::Status("standby")]);
}

/// The server begins to stop.
pub(super) fn stopping() {
    #[cfg(target_os = "linux")]
    tell(&[NotifyState::Stopping]);
}

/// A few datagrams in the life of a process fit into any socket, so this does not wait. A
/// supervisor that is not there any more changes nothing.
#[cfg(target_os = "linux")]
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the supervisor cannot be told {states:?}: {error}");
    }
}
