//! The numbers of the bus between nodes.

use super::metrics_text::{MetricsText, seconds};
use crate::bus::BusFigures;
use crate::bus::figures::RedisInstanceFigures;

/// A family and the number of each instance for it.
type BusMetricDefinition = (&'static str, &'static str, fn(&RedisInstanceFigures) -> u64);

const COUNTERS: [BusMetricDefinition; 5] = [
    ("bus_failures", "How often an instance of the bus stopped working.", |one| one.failures),
    ("bus_frames_sent", "Frames for other nodes that an instance of the bus took.", |one| one.frames_out),
    ("bus_sent_bytes", "The bytes of these frames.", |one| one.bytes_out),
    ("bus_frames_received", "Frames of other nodes that came over an instance of the bus.", |one| one.frames_in),
    ("bus_received_bytes", "The bytes of these frames.", |one| one.bytes_in),
];

pub(super) fn write(text: &mut MetricsText, figures: &BusFigures) {
    text.family("bus_works", "gauge", "1: the instance of the bus works.");
    for instance in &figures.instances {
        let (place, works) = (label(&instance.address), u8::from(instance.is_up));
        text.line(format_args!("hongyan_bus_works{{instance=\"{place}\"}} {works}"));
    }
    for (name, help, number) in COUNTERS {
        let values = figures.instances.iter().map(|instance| (label(&instance.address), number(instance)));
        text.counters(name, "instance", help, values);
    }
    text.family("bus_beat_seconds", "gauge", "Time that the last frame of the node to itself was on its way.");
    for instance in figures.instances.iter().filter(|instance| instance.beat_us > 0) {
        let (place, time) = (label(&instance.address), seconds(instance.beat_us));
        text.line(format_args!("hongyan_bus_beat_seconds{{instance=\"{place}\"}} {time}"));
    }
    let dropped = figures.dropped_by_cause.iter().map(|(cause, count)| ((*cause).to_owned(), *count));
    text.counters("bus_frames_dropped", "cause", "Frames that were not published, or not taken.", dropped);
}

/// A host is what an operator has written: nothing in it may end the label.
fn label(place: &str) -> String {
    place.chars().map(|char| if matches!(char, '"' | '\\') || char.is_control() { '_' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_and_each_cause_has_its_line() {
        let instance = |place: &str, is_up| RedisInstanceFigures {
            address: place.into(),
            is_up,
            frames_out: 7,
            beat_us: 250,
            ..RedisInstanceFigures::default()
        };
        let instances = vec![instance("a:6379", true), instance("b\"\n:1", false)];
        let mut text = MetricsText::default();
        write(&mut text, &BusFigures { instances, dropped_by_cause: vec![("wrong_mac", 3)] });
        for line in [
            "hongyan_bus_works{instance=\"a:6379\"} 1",
            "hongyan_bus_works{instance=\"b__:1\"} 0",
            "hongyan_bus_frames_sent_total{instance=\"a:6379\"} 7",
            "# UNIT hongyan_bus_sent_bytes bytes",
            "hongyan_bus_beat_seconds{instance=\"a:6379\"} 0.00025",
            "hongyan_bus_frames_dropped_total{cause=\"wrong_mac\"} 3",
        ] {
            assert!(text.0.lines().any(|found| found == line), "{line}\n{}", text.0);
        }
    }
}
