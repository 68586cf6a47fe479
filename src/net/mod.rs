//! Sockets: a hand-written loop over mio. No chat rule is here. It is the only module that reads
//! the clock, once a turn.
//!
//! [`Loop`] is the poll, the listener, the store's answers and the stop. [`hub`] is everything
//! else, and does not use mio, so that it can be tested over sockets that cut, block and fail
//! anywhere.

mod accept;
mod address_keys;
pub mod admin;
mod buffers;
pub mod census;
mod client_addresses;
mod closing;
mod cluster;
mod compact_tls_keys;
pub mod conn;
pub mod conns;
pub mod counters;
mod deadlines;
mod eviction;
mod forwarded;
mod handshakes;
pub mod hub;
mod input;
mod input_time_watermark;
mod line_rates;
pub mod live_settings;
pub mod log_event_counts;
mod log_event_lines;
mod memory;
pub mod output;
mod page_writer;
mod proxied;
pub mod proxy_header;
pub mod socket;
pub mod standby_port;
pub mod state;
mod stop_progress;
pub mod tls;
mod turn_clock;
mod turn_work;
mod turns;
pub mod unused_input;
mod wake_timer;
mod web;
pub mod wire;
mod writing;

#[cfg(test)]
mod tests;

use crate::bus::Bus;
use crate::chat::ServerCore;
use crate::chat::contract::{JobOutcome, JobTicket, TurnTimestamp};
use crate::histogram::Histogram;
use crate::push_hook::PushHook;
use crate::store::cluster::ClusterHandle;
use crate::store::pool::WorkerPool;
use accept::LoopAcceptor;
use admin::{AdminLoopCallReceiver, LoopFigures};
use cluster::InterNodeChannels;
use conns::{ALARM, LISTENER, SIGNALS, WAKER, conn_of};
use hub::ConnectionHub;
use live_settings::{LoopSettings, ReloadedSettings};
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll};
use signal_hook::consts::SIGHUP;
use signal_hook_mio::v1_0::Signals;
use socket::PlainTcpSocket;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wake_timer::WakeupTimer;

/// The wall clock is read at most once in this time.
const WALL_CLOCK_EVERY_MS: u64 = 10;

/// Events taken from the system in one turn.
const EVENTS_PER_TURN: usize = 1_024;
/// Answers of the store that are taken in one turn.
const FINISHED_PER_TURN: usize = 1_024;

/// The parts of a loop.
pub struct LoopParts {
    /// The poll, with the waker registered under [`WAKER`].
    pub poll: Poll,
    /// The listener, bound and not registered yet.
    pub listener: TcpListener,
    /// The signals that stop the server, and SIGHUP, if it is the whole process.
    pub signals: Option<Signals>,
    /// Called at SIGHUP; must not wait.
    pub on_hang_up: Box<dyn FnMut() + Send>,
    /// The settings that can change while it runs.
    pub live: LoopSettings,
    /// Changed settings; the sender wakes the loop for each.
    pub reloads: Receiver<ReloadedSettings>,
    /// Set (and the waker woken) to stop the server.
    pub stop: Arc<AtomicBool>,
    /// The core.
    pub chat: ServerCore,
    /// The store.
    pub pool: WorkerPool,
    /// The push hook, if there is one.
    pub push_hook: Option<PushHook>,
    /// A secret key for hash tables.
    pub hash_key: [u64; 2],
    /// Called when the stop begins; must not wait.
    pub on_stop: Box<dyn Fn() + Send>,
    /// Set when a drain begins.
    pub drain_began: Arc<AtomicBool>,
    /// The other nodes, if this is one of a cluster.
    pub cluster: Option<ClusterHandle>,
    /// The bus that carries frames between them, if there is one.
    pub bus: Option<Box<dyn Bus>>,
    /// The calls of operators; the sender wakes the loop.
    pub calls: Option<AdminLoopCallReceiver>,
}

/// The stages of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopStage {
    /// Not asked for.
    No,
    /// The core makes taken messages durable; given up at this time.
    Saving { until_ms: u64 },
    /// Clients read their output; given up at this time.
    Closing { until_ms: u64 },
    /// Nothing is waited for any more.
    Now,
}

/// The loop.
pub struct Loop {
    poll: Poll,
    alarm: WakeupTimer,
    acceptor: Option<LoopAcceptor>,
    signals: Option<Signals>,
    on_hang_up: Box<dyn FnMut() + Send>,
    reloads: Receiver<ReloadedSettings>,
    stop_asked: Arc<AtomicBool>,
    stop: StopStage,
    stop_wait_ms: u64,
    on_stop: Box<dyn Fn() + Send>,
    drain_began: Arc<AtomicBool>,
    hub: ConnectionHub<PlainTcpSocket>,
    pool: WorkerPool,
    finished: Vec<(JobTicket, JobOutcome)>,
    /// Outcomes that wait for their turn.
    outcomes: VecDeque<(JobTicket, JobOutcome)>,
    /// The number of jobs in flight.
    jobs_in_flight: usize,
    /// The calls of operators, and whether some may be waiting.
    calls: Option<AdminLoopCallReceiver>,
    calls_wait: bool,
    conns_max: usize,
    /// The durations of turns.
    turns: Histogram,
    started: Instant,
    /// When this turn began.
    now: TurnTimestamp,
    /// When the wall clock was last read, and its time then.
    wall: TurnTimestamp,
}

impl Loop {
    /// Puts a loop together.
    ///
    /// # Errors
    /// The system refuses to register the listener or the signals, or has no timer.
    pub fn new(parts: LoopParts) -> io::Result<Self> {
        let LoopParts {
            poll,
            listener,
            mut signals,
            on_hang_up,
            live,
            reloads,
            stop,
            chat,
            pool,
            hash_key,
            on_stop,
            drain_began,
            push_hook,
            cluster,
            bus,
            calls,
        } = parts;
        let mut hub = ConnectionHub::new(chat, live.bounds, hash_key);
        hub.answer_http_by(live.allowed_origins.clone(), pool.health());
        let acceptor = LoopAcceptor::new(listener, live.conns_max, poll.registry())?;
        let (stop_wait_ms, conns_max) = (live.stop_wait_ms, live.conns_max);
        hub.apply_settings(live);
        hub.push_hook = push_hook;
        hub.nodes = InterNodeChannels::new(cluster, bus);
        if let Some(signals) = &mut signals {
            poll.registry().register(signals, SIGNALS, Interest::READABLE)?;
        }
        let alarm = WakeupTimer::new(poll.registry(), ALARM)?;
        Ok(Self {
            poll,
            alarm,
            acceptor: Some(acceptor),
            signals,
            on_hang_up,
            reloads,
            stop_asked: stop,
            stop: StopStage::No,
            stop_wait_ms,
            on_stop,
            drain_began,
            hub,
            pool,
            finished: Vec::new(),
            outcomes: VecDeque::new(),
            jobs_in_flight: 0,
            calls,
            calls_wait: false,
            conns_max,
            turns: Histogram::default(),
            started: Instant::now(),
            now: TurnTimestamp::default(),
            wall: TurnTimestamp::default(),
        })
    }

    /// Runs until it is stopped.
    ///
    /// # Errors
    /// The poll fails, so the loop cannot go on.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.hub.finish_deletions(self.pool.unfinished_deletions());
        self.submit_jobs();
        while !self.is_over() {
            let timeout = self.timeout();
            let polled = match self.poll.poll(&mut events, timeout) {
                Ok(()) => true,
                // A signal interrupted the poll; then `events` is empty, even if there are events.
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    events.clear();
                    false
                }
                Err(error) => return Err(error),
            };
            self.turn(&events, polled);
        }
        self.hub.log_omitted_lines();
        let push_hook = self.stop_push_hook();
        let hub = &self.hub;
        let (counters, totals) = (hub.counters(), hub.chat.totals());
        log::info!("stopped: {counters}; {}; {totals}{push_hook}", counters.log_events);
        if self.jobs_in_flight == 0 {
            self.pool.stop();
        } else {
            // The wait for these jobs is over, and they may hang as long as the store does. Nothing
            // of them was promised.
            log::warn!("{} jobs of the store are not waited for", self.jobs_in_flight);
        }
        self.hub.nodes.end_incarnation();
        Ok(())
    }

    /// Stops the push hook; gives its part of the last log line.
    fn stop_push_hook(&mut self) -> String {
        let Some(hook) = self.hub.push_hook.take() else { return String::new() };
        let (counts, missed) = (hook.stop(), self.hub.chat.push_hook_missed());
        let missed = if missed > 0 { format!(", {missed} pushes not told of") } else { String::new() };
        format!("; push hook: {counts}{missed}")
    }

    fn turn(&mut self, events: &Events, polled: bool) {
        let began = self.started.elapsed();
        let now = self.look_at_clocks(began);
        self.hub.begin_turn(now);
        let mut count = 0;
        for event in events {
            count += 1;
            match event.token() {
                LISTENER => {
                    if let Some(acceptor) = &mut self.acceptor {
                        acceptor.on_readable();
                    }
                }
                WAKER => self.on_woken(),
                SIGNALS => self.on_signal(),
                ALARM => self.alarm.on_fired(),
                token => Self::on_event(&mut self.hub, conn_of(token), event),
            }
        }
        if !polled || count >= EVENTS_PER_TURN {
            self.hub.expect_more_events();
        }
        if self.hub.is_late() {
            // Take the store's answers even if the waker's event is not among this turn's events.
            self.pool.take(&mut self.finished);
        }
        self.hand_in_outcomes();
        if self.calls_wait {
            self.answer_calls();
        }
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.accept(&mut self.hub, self.poll.registry(), now.mono_ms);
        }
        self.hub.turn();
        self.hub.note_next_seq();
        self.submit_jobs();
        if self.hub.is_draining() {
            self.drain_began.store(true, Ordering::Release);
        }
        if self.hub.is_drained() && self.stop == StopStage::No {
            log::info!("drained: all connections are closed");
            self.begin_stop();
        }
        if self.stop != StopStage::No {
            self.advance_stop(now.mono_ms);
        }
        // A turn reads the clock twice; this is the second time.
        self.turns.note(self.started.elapsed().saturating_sub(began));
    }

    fn submit_jobs(&mut self) {
        if self.hub.has_jobs() {
            let jobs = self.hub.take_jobs();
            self.jobs_in_flight += jobs.len();
            self.pool.submit(jobs);
        }
    }

    /// Handles some calls of operators; the rest in the next turn.
    #[cold]
    fn answer_calls(&mut self) {
        let Some(calls) = &self.calls else { return self.calls_wait = false };
        let of_loop =
            LoopFigures { conns_max: self.conns_max, jobs_in_flight: self.jobs_in_flight, turns: &self.turns };
        self.calls_wait = self.hub.take_calls(calls, &of_loop);
    }

    fn on_event(hub: &mut ConnectionHub<PlainTcpSocket>, id: crate::chat::contract::ConnId, event: &Event) {
        let closed = event.is_read_closed() || event.is_error();
        if event.is_readable() || closed {
            hub.on_readable(id, closed);
        }
        if event.is_writable() {
            hub.on_writable(id);
        }
        if event.is_write_closed() || event.is_error() {
            hub.on_broken(id);
        }
    }

    /// The waker has fired: for answers of the store, a stop, or something else.
    #[inline(never)]
    fn on_woken(&mut self) {
        self.calls_wait = self.calls.is_some();
        self.pool.take(&mut self.finished);
        self.hub.hand_in_cluster_events();
        if self.stop_asked.load(Ordering::Acquire) && self.stop == StopStage::No {
            self.begin_stop();
        }
        while let Ok(reloaded) = self.reloads.try_recv() {
            self.reload(reloaded);
        }
    }

    /// Applies other settings.
    #[cold]
    pub(crate) fn reload(&mut self, ReloadedSettings { settings, on_applied }: ReloadedSettings) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.set_conns_max(settings.conns_max);
        }
        (self.stop_wait_ms, self.conns_max) = (settings.stop_wait_ms, settings.conns_max);
        self.hub.apply_settings(settings);
        on_applied();
    }

    /// Hands in the store's answers in order, a bounded number a turn: when the store fails, all
    /// jobs fail at once.
    fn hand_in_outcomes(&mut self) {
        self.outcomes.extend(self.finished.drain(..));
        for _ in 0..FINISHED_PER_TURN {
            let Some((ticket, outcome)) = self.outcomes.pop_front() else { return };
            self.jobs_in_flight = self.jobs_in_flight.saturating_sub(1);
            self.hub.on_finished(ticket, outcome);
        }
    }

    #[cold]
    fn on_signal(&mut self) {
        let Some(signals) = &mut self.signals else { return };
        // One signal requests a clean stop, a second one ends the wait.
        for signal in signals.pending() {
            if signal == SIGHUP {
                (self.on_hang_up)();
            } else if self.stop == StopStage::No {
                log::info!("a signal asks for the stop");
                self.begin_stop();
            } else {
                log::warn!("a second signal: the server does not wait any longer");
                self.stop = StopStage::Now;
            }
        }
    }

    #[cold]
    fn begin_stop(&mut self) {
        (self.on_stop)();
        self.acceptor = None;
        self.stop = StopStage::Saving { until_ms: self.mono_ms() + self.stop_wait_ms };
        self.hub.shut_down();
    }

    #[cold]
    fn advance_stop(&mut self, now_ms: u64) {
        if let StopStage::Saving { until_ms } = self.stop
            && (self.hub.is_stopped() || now_ms >= until_ms)
        {
            if !self.hub.is_stopped() {
                log::error!("the store did not finish within the time a stop may take");
            }
            self.hub.close_all();
            self.stop = StopStage::Closing { until_ms };
        }
    }

    fn is_over(&self) -> bool {
        match self.stop {
            StopStage::No | StopStage::Saving { .. } => false,
            StopStage::Closing { until_ms } => self.hub.conns_len() == 0 || self.mono_ms() >= until_ms,
            StopStage::Now => true,
        }
    }

    /// How long the loop may sleep; `None`: until an event.
    fn timeout(&mut self) -> Option<Duration> {
        if self.hub.is_busy() || !self.outcomes.is_empty() || self.calls_wait {
            return Some(Duration::ZERO);
        }
        let stop = match self.stop {
            StopStage::No => None,
            StopStage::Saving { until_ms } | StopStage::Closing { until_ms } => Some(until_ms),
            StopStage::Now => Some(0),
        };
        let accept = self.acceptor.as_ref().and_then(LoopAcceptor::next_deadline);
        let deadline_ms = [self.hub.next_deadline(), accept, stop].into_iter().flatten().min()?;
        // Computed from the beginning of this turn: the clock is not read again, and it does not
        // matter if a deadline is late by one turn.
        self.alarm.set(self.now.mono_ms, deadline_ms)
    }

    fn mono_ms(&self) -> u64 {
        // Half a billion years of milliseconds fit.
        self.started.elapsed().as_millis() as u64
    }

    /// Reads the clocks. The wall clock is read only if some ms have passed since it was last read,
    /// and extrapolated in between.
    fn look_at_clocks(&mut self, since_start: Duration) -> TurnTimestamp {
        // Half a billion years of milliseconds fit.
        let mono_ms = since_start.as_millis() as u64;
        if mono_ms.saturating_sub(self.wall.mono_ms) >= WALL_CLOCK_EVERY_MS || self.wall.wall_ms == 0 {
            // With a clock before 1970 users see the time 0; nothing else is affected.
            let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
            self.wall = TurnTimestamp { mono_ms, wall_ms };
        }
        self.now = TurnTimestamp { mono_ms, wall_ms: self.wall.wall_ms + (mono_ms - self.wall.mono_ms) };
        self.now
    }
}
