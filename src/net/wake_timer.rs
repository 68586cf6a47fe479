//! The timer that wakes the loop at its next deadline. With a timeout of the poll, the system would
//! set and cancel a timer each time the loop waits. This timer is set only when a deadline is
//! nearer than the one to which it is set, which is rare.

use mio::{Registry, Token};
use std::io;
use std::time::Duration;

/// A timer among the events of the loop.
#[derive(Debug)]
pub(super) struct WakeupTimer {
    timer: timer::TimerFd,
    /// When it fires, at the earliest, in ms of the loop's clock.
    fires_at_ms: Option<u64>,
}

impl WakeupTimer {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// The system has no timer to give.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self { timer: timer::TimerFd::new(registry, token)?, fires_at_ms: None })
    }

    /// It has fired, and must be set again.
    pub(super) fn on_fired(&mut self) {
        self.fires_at_ms = None;
    }

    /// Makes sure that the loop is woken at `deadline_ms`; it may also wake earlier once, for a
    /// deadline that does not exist any more. Gives the timeout that the poll needs in addition.
    pub(super) fn set(&mut self, now_ms: u64, deadline_ms: u64) -> Option<Duration> {
        let wait = Duration::from_millis(deadline_ms.saturating_sub(now_ms));
        if wait.is_zero() {
            return Some(wait);
        }
        if self.fires_at_ms.is_none_or(|rings_ms| rings_ms > deadline_ms) {
            // If the timer fails, use the poll's timeout.
            if self.timer.set(wait).is_err() {
                return Some(wait);
            }
            self.fires_at_ms = Some(deadline_ms);
        }
        None
    }
}

#[cfg(target_os = "linux")]
mod timer {
    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    #[derive(Debug)]
    pub(super) struct TimerFd(OwnedFd);

    impl TimerFd {
        pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
            registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(fd))
        }

        /// Sets the next edge to come after `wait`. The timer need not be read: setting it again
        /// gives a new edge.
        pub(super) fn set(&self, wait: Duration) -> io::Result<()> {
            let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
            let once = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: once, it_value: wait })?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    use mio::{Registry, Token};
    use std::io;
    use std::time::Duration;

    /// On other systems there is no such timer.
    #[derive(Debug)]
    pub(super) struct TimerFd;

    impl TimerFd {
        pub(super) fn new(_: &Registry, _: Token) -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) fn set(&self, _: Duration) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    const ALARM: Token = Token(7);

    #[test]
    fn it_rings_at_the_nearest_deadline_every_time_it_is_set() {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        let mut alarm = WakeupTimer::new(poll.registry(), ALARM).unwrap();
        let mut rings = |alarm: &mut WakeupTimer| {
            poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
            assert!(events.iter().map(mio::event::Event::token).eq([ALARM]));
            alarm.on_fired();
        };
        assert_eq!(alarm.set(0, 100_000), None);
        assert_eq!(alarm.set(0, 2), None);
        rings(&mut alarm);
        // It fires again although the first time was not read; and for the near deadline, although
        // a later one was requested after it.
        assert_eq!(alarm.set(2, 4), None);
        assert_eq!(alarm.set(3, 100_000), None);
        rings(&mut alarm);
        assert_eq!(alarm.set(5, 5), Some(Duration::ZERO));
        assert_eq!(alarm.set(5, 4), Some(Duration::ZERO));
        assert!(alarm.fires_at_ms.is_none(), "a deadline that is due needs no timer");
    }
}
