//! The text of metrics in OpenMetrics 1.0.

use crate::histogram::Histogram;
use std::fmt::{Display, Write};

/// The text under construction.
#[derive(Default)]
pub(super) struct MetricsText(pub(super) String);

impl MetricsText {
    pub(super) fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        self.0.write_fmt(line).unwrap_or(());
        self.0.push('\n');
    }

    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# TYPE hongyan_{name} {kind}"));
        for unit in ["seconds", "bytes"] {
            if name.ends_with(unit) {
                self.line(format_args!("# UNIT hongyan_{name} {unit}"));
            }
        }
        self.line(format_args!("# HELP hongyan_{name} {help}"));
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.line(format_args!("hongyan_{name} {value}"));
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.line(format_args!("hongyan_{name}_total {value}"));
    }

    /// A counter of time, given in ms.
    pub(super) fn counter_of_seconds(&mut self, name: &str, help: &str, ms: u64) {
        self.family(name, "counter", help);
        self.line(format_args!("hongyan_{name}_total {}", seconds(ms.saturating_mul(1_000))));
    }

    /// Writes a counter with a label, in whose values nothing needs escaping.
    pub(super) fn counters(
        &mut self,
        name: &str,
        label: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, u64)>,
    ) {
        self.family(name, "counter", help);
        for (value, count) in values {
            self.line(format_args!("hongyan_{name}_total{{{label}=\"{value}\"}} {count}"));
        }
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        for (bound, count) in histogram.cumulative() {
            match bound {
                Some(us) => self.line(format_args!("hongyan_{name}_bucket{{le=\"{}\"}} {count}", seconds(us))),
                None => self.line(format_args!("hongyan_{name}_bucket{{le=\"+Inf\"}} {count}")),
            }
        }
        self.line(format_args!("hongyan_{name}_sum {}", histogram.sum().as_secs_f64()));
        self.line(format_args!("hongyan_{name}_count {}", histogram.count()));
    }
}

/// Microseconds in seconds, in decimal digits; a whole number has a point, too.
pub(super) fn seconds(us: u64) -> String {
    format!("{:?}", us as f64 / 1e6)
}
