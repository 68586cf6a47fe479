//! Measures how long users wait when a part of a cluster fails, and for what.

use super::load::{Known, Pair};
use std::collections::BTreeSet;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(5);

/// A user who waits until they can talk again, to any user but these.
pub(crate) struct Waiting {
    pub(crate) user: &'static str,
    pub(crate) but_to: Vec<&'static str>,
}

impl Known {
    /// Waits until each of these users has sent a message after this moment that was promised, and
    /// whose receiver is not among their exceptions. Gives how long each waited, at most so long.
    pub(crate) fn wait_until_they_talk(&self, users: &[Waiting], since: Instant, max: Duration) -> Vec<Duration> {
        users.iter().map(|waiting| self.wait_until_talks(waiting, since, max)).collect()
    }

    fn wait_until_talks(&self, waiting: &Waiting, since: Instant, max: Duration) -> Duration {
        let Waiting { user, but_to } = waiting;
        loop {
            let answers = self.answers.lock().unwrap();
            let later = answers.get(user).and_then(|answers| {
                let later = &answers[answers.partition_point(|answer| answer.sent <= since)..];
                later.iter().find(|answer| !but_to.contains(&answer.to)).map(|answer| answer.came)
            });
            drop(answers);
            let waited = later.map_or_else(|| since.elapsed(), |at| at.saturating_duration_since(since));
            assert!(waited <= max, "{user} does not talk again within {max:?}");
            if later.is_some() {
                return waited;
            }
            thread::sleep(TICK);
        }
    }

    /// The longest time that each of these users has waited for a promise since then: of a fault in
    /// which they can talk at first, and not later.
    pub(crate) fn longest_silences(&self, users: &[Waiting], since: Instant) -> Vec<Duration> {
        let (answers, now) = (self.answers.lock().unwrap(), Instant::now());
        let longest = |waiting: &Waiting| {
            let came = answers.get(waiting.user).into_iter().flatten().map(|answer| answer.came);
            let moments: Vec<Instant> = came.filter(|came| *came > since && *came < now).chain([now]).collect();
            let before = [since].into_iter().chain(moments.iter().copied());
            before.zip(&moments).map(|(before, next)| *next - before).max().unwrap_or_default()
        };
        users.iter().map(longest).collect()
    }

    /// Waits, at most so long, until all messages that are promised by now have arrived in order.
    /// If that takes long, it prints an explanation.
    pub(crate) fn wait_until_delivered(&self, max: Duration, explain: impl Fn() -> String) {
        let promised: BTreeSet<(Pair, u64)> = {
            let promised = self.promised.lock().unwrap();
            promised.iter().flat_map(|(pair, numbers)| numbers.iter().map(|number| (*pair, *number))).collect()
        };
        let since = Instant::now();
        let mut was_said = false;
        loop {
            let seen: BTreeSet<(Pair, u64)> = {
                let seen = self.seen.lock().unwrap();
                seen.iter().flat_map(|(pair, numbers)| numbers.iter().map(|number| (*pair, *number))).collect()
            };
            let missing: Vec<&(Pair, u64)> = promised.difference(&seen).collect();
            if missing.is_empty() {
                break;
            }
            assert!(since.elapsed() < max, "promised and not delivered within {max:?}: {missing:?}");
            if since.elapsed() > Duration::from_secs(5) && !std::mem::replace(&mut was_said, true) {
                println!("    promised and not delivered for long: {missing:?}; {}", explain());
            }
            thread::sleep(TICK);
        }
        self.check_order();
    }
}

/// The measurements of one fault.
#[derive(Default)]
pub(crate) struct Measured {
    rounds: usize,
    talks: Vec<Duration>,
    delivered: Vec<Duration>,
}

impl Measured {
    /// How long each user waited, and how long it took until all messages were delivered, if this
    /// was measured.
    pub(crate) fn note(&mut self, talks: Vec<Duration>, delivered: Option<Duration>) {
        self.rounds += 1;
        self.talks.extend(talks);
        self.delivered.extend(delivered);
    }
}

/// A row of a table: rounds; users; their p50, p99 and maximum; p50 and maximum of the time until
/// all messages are delivered.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |times: &[Duration], share: f64| {
            let mut times = times.to_vec();
            times.sort();
            let place = (times.len() as f64 * share).ceil() as usize;
            let time = times.get(place.saturating_sub(1));
            time.map_or_else(|| "–".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
        };
        let (talks, delivered) = (&self.talks[..], &self.delivered[..]);
        write!(f, "| {} | {} | ", self.rounds, talks.len())?;
        write!(f, "{} | {} | {} | ", of(talks, 0.5), of(talks, 0.99), of(talks, 1.0))?;
        write!(f, "{} | {} |", of(delivered, 0.5), of(delivered, 1.0))
    }
}
