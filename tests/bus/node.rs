//! A node, as far as the bus is concerned.

use crate::common::PATIENCE;
use hongyan::bus::codec::BusFrameCodec;
use hongyan::bus::{Bus, BusEvent, BusFigures, BusSettings, RedisBus};
use hongyan::chat::contract::{BusFrame, NodeId, NodeIncarnation, NodeLinkBatchNumber};
use hongyan::config::{BusUrls, Config};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const KEY: [u8; 32] = [7; 32];

pub(crate) fn life(node: u16) -> NodeIncarnation {
    NodeIncarnation { node: NodeId::new(node).unwrap(), epoch: 3 }
}

pub(crate) fn frame(number: u64) -> BusFrame {
    BusFrame {
        view: number,
        confirmed_batch: Some(NodeLinkBatchNumber { link: 1, number }),
        refused_epoch: None,
        batch: None,
    }
}

/// A node, as far as the bus is concerned.
pub(crate) struct Node {
    pub(crate) me: NodeIncarnation,
    pub(crate) bus: RedisBus,
    woken: Receiver<()>,
    pub(crate) works: bool,
    pub(crate) heard: Vec<(NodeIncarnation, u64)>,
}

impl Node {
    pub(crate) fn start(number: u16, urls: &str) -> Self {
        Self::tuned(number, urls, KEY, |_| ())
    }

    pub(crate) fn tuned(number: u16, urls: &str, key: [u8; 32], tune: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { bus: BusUrls::parse(urls).unwrap(), bus_timeout_ms: 500, ..Config::default() };
        tune(&mut config);
        let (wake, woken) = channel();
        let wake = Arc::new(move || wake.send(()).unwrap_or(()));
        let settings = BusSettings::open(&config).unwrap().unwrap();
        let me = life(number);
        let bus = RedisBus::start(settings, BusFrameCodec::new(me, &key), wake).unwrap();
        Self { me, bus, woken, works: true, heard: Vec::new() }
    }

    pub(crate) fn take(&mut self) {
        let mut news = Vec::new();
        self.bus.take(&mut news);
        for one in news {
            match one {
                BusEvent::Works(works) => self.works = works,
                BusEvent::Frame { from, frame } => self.heard.push((from, frame.view)),
            }
        }
    }

    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, is_there: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.take();
            if is_there(self) {
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: {:?} {:?}", self.heard, self.bus.figures());
            self.woken.recv_timeout(left.min(Duration::from_millis(50))).ok();
        }
    }

    #[track_caller]
    pub(crate) fn wait_until_it_works(&mut self) {
        self.wait("it works", |node| node.works);
    }

    #[track_caller]
    pub(crate) fn wait_until_up(&mut self, up: &[bool]) {
        self.wait("these are up", |node| node.ups() == up);
    }

    pub(crate) fn ups(&self) -> Vec<bool> {
        self.bus.figures().instances.iter().map(|instance| instance.is_up).collect()
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, from: &Self, number: u64) {
        let from = from.me;
        self.wait("it is heard", |node| node.heard.contains(&(from, number)));
    }

    pub(crate) fn say(&self, to: &Self, number: u64) {
        self.bus.publish(to.me, &frame(number));
    }

    /// Says it again and again until it is heard: some of it may be lost.
    #[track_caller]
    pub(crate) fn get_through(&self, to: &mut Self, number: u64) {
        let until = Instant::now() + PATIENCE;
        while !to.heard.contains(&(self.me, number)) {
            self.say(to, number);
            thread::sleep(Duration::from_millis(20));
            to.take();
            assert!(Instant::now() < until, "{:?} {:?}", self.bus.figures(), to.bus.figures());
        }
    }

    pub(crate) fn dropped(&self, word: &str) -> u64 {
        dropped(&self.bus.figures(), word)
    }
}

pub(crate) fn dropped(figures: &BusFigures, word: &str) -> u64 {
    figures.dropped_by_cause.iter().find(|(found, _)| *found == word).unwrap().1
}

pub(crate) fn pair(urls: &str) -> [Node; 2] {
    let mut pair = [1, 2].map(|number| Node::start(number, urls));
    pair.iter_mut().for_each(Node::wait_until_it_works);
    pair
}
