//! The timer wheel: six levels of 64 slots with a bitmap each, one tick a millisecond. No clock
//! inside: it is told the time.
//!
//! Inserting and cancelling cost a few instructions. A timer far away sits in a coarse slot and
//! moves to a finer one when its time comes nearer, at most five times in its life.
//! [`TimerWheel::next_wake_ms`] is never later than the next timer; it may be earlier when all that
//! is to do then is to move timers to a finer level.

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
/// Timers further away than this (about two years) fire after this time instead. It is one slot
/// less than a whole turn of the coarsest level, so that no timer lands in the current slot.
const SPAN_MS_MAX: u64 = (SLOTS as u64 - 1) << (SLOT_BITS * (LEVELS as u32 - 1));
const NONE: u32 = u32::MAX;

/// A timer that was inserted. Cancelling one that has fired does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct TimerNode<T> {
    due_ms: u64,
    value: Option<T>,
    generation: u32,
    prev: u32,
    next: u32,
    place: u16,
}

#[derive(Clone, Copy, Debug)]
struct TimerWheelSlot {
    head: u32,
    tail: u32,
}

/// A set of timers, each with a value of `T` that it hands out when it fires.
#[derive(Debug)]
pub struct TimerWheel<T> {
    elapsed_ms: u64,
    occupied: [u64; LEVELS],
    lists: Box<[TimerWheelSlot]>,
    nodes: Vec<TimerNode<T>>,
    free: u32,
    len: usize,
}

impl<T> TimerWheel<T> {
    /// An empty wheel whose time is 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            elapsed_ms: 0,
            occupied: [0; LEVELS],
            lists: vec![TimerWheelSlot { head: NONE, tail: NONE }; LEVELS * SLOTS].into_boxed_slice(),
            nodes: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// The number of timers that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Does no timer wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. One that is due already fires at the next [`pop`](Self::pop) with a later time
    /// than the last.
    pub fn insert(&mut self, due_ms: u64, value: T) -> TimerId {
        let due_ms = due_ms.clamp(self.elapsed_ms + 1, self.elapsed_ms + SPAN_MS_MAX);
        let index = self.allocate(due_ms, value);
        self.link(index);
        self.len += 1;
        TimerId { index, generation: self.nodes[index as usize].generation }
    }

    /// Cancels a timer before it fires; gives its value.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let node = self.nodes.get(id.index as usize)?;
        if node.generation != id.generation || node.value.is_none() {
            return None;
        }
        self.unlink(id.index);
        Some(self.release(id.index))
    }

    /// The next timer that is due at `now_ms`, in the order of time. Call it until it gives `None`.
    pub fn pop(&mut self, now_ms: u64) -> Option<(u64, T)> {
        loop {
            let (level, slot, start_ms) = match self.next_slot() {
                Some(found) if found.2 <= now_ms => found,
                _ => {
                    self.elapsed_ms = self.elapsed_ms.max(now_ms);
                    return None;
                }
            };
            // Timers of a slot all lie at or after its start, and it was the first occupied slot:
            // nothing is skipped.
            self.elapsed_ms = self.elapsed_ms.max(start_ms);
            let head = self.lists[level * SLOTS + slot].head;
            if level == 0 {
                let due_ms = self.nodes[head as usize].due_ms;
                self.unlink(head);
                let value = self.release(head);
                return Some((due_ms, value));
            }
            self.spread(level, slot);
        }
    }

    /// Moves all timers of a coarse slot that has begun to finer ones. All at once: the first one
    /// that is moved would hide the others, because finer levels are searched first.
    fn spread(&mut self, level: usize, slot: usize) {
        let mut next =
            std::mem::replace(&mut self.lists[level * SLOTS + slot], TimerWheelSlot { head: NONE, tail: NONE }).head;
        self.occupied[level] &= !(1 << slot);
        while next != NONE {
            let index = next;
            next = self.nodes[index as usize].next;
            self.link(index);
        }
    }

    /// When to call [`pop`](Self::pop) next, `None` if there is nothing to wait for.
    #[must_use]
    pub fn next_wake_ms(&self) -> Option<u64> {
        self.next_slot().map(|(_, _, start_ms)| start_ms)
    }

    /// The first occupied slot, with the time at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        for level in 0..LEVELS {
            let bits = self.occupied[level];
            if bits == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let here = (self.elapsed_ms >> shift) as u32 % SLOTS as u32;
            let ahead = bits.rotate_right(here).trailing_zeros();
            let slot = (here + ahead) as usize % SLOTS;
            let range_ms = 1u64 << shift;
            let level_start = self.elapsed_ms & !((range_ms << SLOT_BITS) - 1);
            let mut start_ms = level_start + slot as u64 * range_ms;
            if start_ms + range_ms <= self.elapsed_ms {
                // Only the coarsest level wraps around.
                start_ms += range_ms << SLOT_BITS;
            }
            return Some((level, slot, start_ms));
        }
        None
    }

    fn allocate(&mut self, due_ms: u64, value: T) -> u32 {
        if self.free != NONE {
            let index = self.free;
            let node = &mut self.nodes[index as usize];
            self.free = node.next;
            node.due_ms = due_ms;
            node.value = Some(value);
            return index;
        }
        self.nodes.push(TimerNode { due_ms, value: Some(value), generation: 0, prev: NONE, next: NONE, place: 0 });
        (self.nodes.len() - 1) as u32
    }

    fn release(&mut self, index: u32) -> T {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.next = self.free;
        self.free = index;
        self.len -= 1;
        let Some(value) = node.value.take() else {
            unreachable!("a linked timer has its value until it is released");
        };
        value
    }

    fn link(&mut self, index: u32) {
        let due_ms = self.nodes[index as usize].due_ms;
        let distance = (self.elapsed_ms ^ due_ms) | (SLOTS as u64 - 1);
        let level = (((63 - distance.leading_zeros()) / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = (due_ms >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let place = level * SLOTS + slot;
        let tail = self.lists[place].tail;
        let node = &mut self.nodes[index as usize];
        node.place = place as u16;
        node.prev = tail;
        node.next = NONE;
        if tail == NONE {
            self.lists[place].head = index;
        } else {
            self.nodes[tail as usize].next = index;
        }
        self.lists[place].tail = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let TimerNode { prev, next, place, .. } = self.nodes[index as usize];
        let place = usize::from(place);
        if prev == NONE {
            self.lists[place].head = next;
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next == NONE {
            self.lists[place].tail = prev;
        } else {
            self.nodes[next as usize].prev = prev;
        }
        if self.lists[place].head == NONE {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        }
    }
}

impl<T> Default for TimerWheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use std::collections::BTreeMap;

    /// The wheel against a map sorted by time, over random inserts, cancels and jumps of every
    /// size.
    #[test]
    fn the_wheel_behaves_like_a_sorted_map() {
        for seed in 1..=200u64 {
            let mut random = Rng::with_seed(seed);
            let mut wheel = TimerWheel::new();
            let mut reference: BTreeMap<(u64, u64), TimerId> = BTreeMap::new();
            let (mut now, mut serial) = (0u64, 0u64);
            for _ in 0..400 {
                match random.u64(..10) {
                    0..=4 => {
                        let scale = 1 << random.u64(..34);
                        let due = now + 1 + random.u64(..scale);
                        serial += 1;
                        reference.insert((due, serial), wheel.insert(due, serial));
                    }
                    5 => {
                        let Some((&key, &id)) = reference.iter().nth(random.usize(..=reference.len())) else {
                            continue;
                        };
                        assert_eq!(wheel.cancel(id), Some(key.1), "seed {seed}");
                        assert_eq!(wheel.cancel(id), None, "seed {seed}: cancelled twice");
                        reference.remove(&key);
                    }
                    _ => {
                        let scale = 1 << random.u64(..32);
                        now += random.u64(..scale);
                        let mut fired = Vec::new();
                        while let Some((due, value)) = wheel.pop(now) {
                            fired.push((due, value));
                        }
                        assert!(fired.windows(2).all(|pair| pair[0].0 <= pair[1].0), "seed {seed}: out of order");
                        fired.sort_unstable();
                        let rest = reference.split_off(&(now + 1, 0));
                        let expected: Vec<_> = std::mem::replace(&mut reference, rest).into_keys().collect();
                        assert_eq!(fired, expected, "seed {seed} at {now}");
                    }
                }
                assert_eq!(wheel.len(), reference.len(), "seed {seed}");
                let first = reference.keys().next().map(|key| key.0);
                let wake = wheel.next_wake_ms();
                assert_eq!(wake.is_some(), first.is_some(), "seed {seed}");
                assert!(wake <= first && wake.is_none_or(|wake| wake > now), "seed {seed}: {wake:?} {first:?} {now}");
            }
        }
    }

    #[test]
    fn a_timer_of_two_minutes_wakes_a_sleeper_a_few_times_only() {
        let mut wheel = TimerWheel::new();
        wheel.insert(120_001, ());
        let mut wakes = 0;
        loop {
            let now = wheel.next_wake_ms().expect("it has not fired");
            wakes += 1;
            if wheel.pop(now).is_some() {
                assert_eq!(now, 120_001);
                break;
            }
        }
        assert!(wakes <= 6, "{wakes}");
    }

    #[test]
    fn the_timers_of_a_coarse_slot_do_not_hide_each_other() {
        let mut wheel = TimerWheel::new();
        wheel.insert(8_000, 'b');
        wheel.insert(4_500, 'a');
        assert!(wheel.pop(4_200).is_none());
        assert!(wheel.next_wake_ms() <= Some(4_500));
        assert_eq!(wheel.pop(4_500), Some((4_500, 'a')));
        assert_eq!(wheel.pop(9_000), Some((8_000, 'b')));
    }

    #[test]
    fn a_timer_beyond_all_bounds_fires_in_about_two_years() {
        let mut wheel = TimerWheel::new();
        assert!(wheel.pop(12_345).is_none());
        wheel.insert(u64::MAX / 2, ());
        let mut now = 12_345;
        while wheel.pop(now).is_none() {
            let next = wheel.next_wake_ms().expect("it has not fired");
            assert!(next > now);
            now = next;
        }
        assert_eq!(now, 12_345 + SPAN_MS_MAX);
    }

    #[test]
    fn an_overdue_timer_fires_at_the_next_tick() {
        let mut wheel = TimerWheel::new();
        assert!(wheel.pop(1_000).is_none());
        wheel.insert(10, 'a');
        assert_eq!(wheel.next_wake_ms(), Some(1_001));
        assert_eq!(wheel.pop(1_001), Some((1_001, 'a')));
    }
}
