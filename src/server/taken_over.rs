//! Ends a server when another one has taken over the database, or, in a cluster, when another node
//! has fenced this one. Then its memory does not match the store any more, and it could not keep
//! new promises.

use crate::store::cluster::{Cause, OnFenced};
use crate::store::pool::{DatabaseTakeoverOptions, WakeFn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl std::fmt::Debug for StopReasonFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopReasonFlags").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// The reason for a stop, and the way to stop the loop.
#[derive(Clone)]
pub(super) struct StopReasonFlags {
    stop: Arc<AtomicBool>,
    /// Another server has taken over.
    is_taken_over: Arc<AtomicBool>,
    /// This node was fenced; it may join again.
    is_fenced: Arc<AtomicBool>,
    /// An operator drains this server: it is to stop, whatever happens meanwhile.
    is_draining: Arc<AtomicBool>,
    pub(super) on_taken_over: WakeFn,
    on_fenced: OnFenced,
}

impl StopReasonFlags {
    /// When it happens, sets `stop` and wakes the loop.
    pub(super) fn new(stop: &Arc<AtomicBool>, wake: &WakeFn) -> Self {
        let (is_taken_over, is_fenced) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let end = {
            let (stop, wake) = (Arc::clone(stop), Arc::clone(wake));
            move |flag: &AtomicBool| {
                flag.store(true, Ordering::Release);
                stop.store(true, Ordering::Release);
                wake();
            }
        };
        let (taken_over, fenced, end_too) = (Arc::clone(&is_taken_over), Arc::clone(&is_fenced), end.clone());
        let taken_over_too = Arc::clone(&is_taken_over);
        Self {
            stop: Arc::clone(stop),
            is_taken_over,
            is_fenced,
            is_draining: Arc::default(),
            on_taken_over: Arc::new(move || {
                log::error!("another server has taken this one's place in the database: this one stops");
                end(&taken_over);
            }),
            on_fenced: Arc::new(move |cause| match cause {
                Cause::Fenced => {
                    log::error!("another node has fenced this one: it closes its connections and joins again");
                    end_too(&fenced);
                }
                Cause::NameTaken => {
                    log::error!("another process has joined under the name of this node: this one stops");
                    end_too(&taken_over_too);
                }
            }),
        }
    }

    /// The claim of a server that does not take over from another one.
    pub(super) fn claim(&self) -> DatabaseTakeoverOptions {
        DatabaseTakeoverOptions {
            predecessor: None,
            on_taken_over: Some(Arc::clone(&self.on_taken_over)),
            on_fenced: Some(Arc::clone(&self.on_fenced)),
        }
    }

    pub(super) fn is_taken_over(&self) -> bool {
        self.is_taken_over.load(Ordering::Acquire)
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::Acquire)
    }

    /// Set by the loop when a drain begins.
    pub(super) fn drain_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_draining)
    }

    /// This node was fenced, and is to join again.
    pub(super) fn joins_again(&self) -> bool {
        self.is_fenced() && !self.is_draining.load(Ordering::Acquire)
    }

    /// Requests the stop.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}
