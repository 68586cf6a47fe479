//! Plots, written by hand: lines over logarithmic axes.

use super::Fallible;
use super::report::thousands;
use std::fmt::Write;
use std::path::Path;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
const COLOURS: [&str; 6] = ["#0b6e99", "#d9730d", "#6b6b6b", "#0f7b6c", "#ad1a72", "#dfab01"];

/// One line of a plot.
pub struct Line {
    pub name: String,
    /// x and y, ascending in x; no x is 0 or less.
    pub points: Vec<(f64, f64)>,
}

/// A plot over a logarithmic x.
pub struct Plot {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    /// Is y logarithmic, too? Otherwise it begins at 0.
    pub log_y: bool,
    /// Marks on the points: for a few measured values, not for a curve.
    pub dots: bool,
    pub lines: Vec<Line>,
}

/// A range of values and whether it is logarithmic.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    /// The range around the values: whole decades, or steps of 1, 2 and 5; a linear axis begins at
    /// 0.
    fn new(values: impl Iterator<Item = f64> + Clone, log: bool, decades: bool, from: f64, to: f64) -> Self {
        let high = values.clone().fold(f64::MIN, f64::max);
        let least = values.filter(|value| *value > 0.0).fold(f64::MAX, f64::min);
        let (low, high) = if log && decades {
            (10_f64.powf(least.log10().floor()), 10_f64.powf(high.log10().ceil()))
        } else if log {
            (step_below(least), step_above(high))
        } else {
            (0.0, high * 1.08)
        };
        Self { low, high: if high > low { high } else { low + 1.0 }, log, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + (self.to - self.from) * share
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.log {
            let rough = (self.high - self.low) / 5.0;
            let step = step_below(rough * 1.5);
            return (0..=8).map(|count| f64::from(count) * step).filter(|tick| *tick <= self.high).collect();
        }
        let few = (self.high / self.low).log10() <= 3.0;
        let mut ticks = vec![];
        let mut decade = 10_f64.powf(self.low.log10().floor());
        while decade <= self.high {
            let steps: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
            ticks.extend(steps.iter().map(|step| step * decade));
            decade *= 10.0;
        }
        ticks.retain(|tick| (self.low * 0.999..=self.high * 1.001).contains(tick));
        ticks
    }
}

fn step_below(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    decade * [5.0, 2.0, 1.0].into_iter().find(|step| step * decade <= value * 1.000_1).unwrap_or(1.0)
}

fn step_above(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    decade * [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * decade >= value * 0.999_9).unwrap_or(10.0)
}

impl Plot {
    fn draw(&self) -> Result<String, std::fmt::Error> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let x = Axis::new(points().map(|point| point.0), true, false, LEFT, WIDTH - RIGHT);
        let y = Axis::new(points().map(|point| point.1), self.log_y, true, HEIGHT - BOTTOM, TOP);
        let mut out = String::new();
        writeln!(
            out,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#333">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{LEFT}" y="24" font-size="15" font-weight="600">{}</text>"##,
            self.title
        )?;
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in x.ticks() {
            let at = x.place(tick);
            writeln!(out, r##"<line x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{bottom}" stroke="#eee"/>"##)?;
            writeln!(
                out,
                r#"<text x="{at:.1}" y="{}" text-anchor="middle">{}</text>"#,
                bottom + 18.0,
                tick_label(tick)
            )?;
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            writeln!(out, r##"<line x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}" stroke="#eee"/>"##)?;
            writeln!(
                out,
                r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                at + 4.0,
                tick_label(tick)
            )?;
        }
        writeln!(out, r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#999"/>"##)?;
        self.draw_lines(&mut out, &x, &y)?;
        let middle = f64::midpoint(LEFT, right);
        writeln!(out, r#"<text x="{middle}" y="{}" text-anchor="middle">{}</text>"#, HEIGHT - 14.0, self.x_label)?;
        let middle = f64::midpoint(TOP, bottom);
        writeln!(
            out,
            r#"<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{}</text>"#,
            self.y_label
        )?;
        out.push_str("</svg>\n");
        Ok(out)
    }

    fn draw_lines(&self, out: &mut String, x: &Axis, y: &Axis) -> std::fmt::Result {
        let left = WIDTH - RIGHT - 170.0;
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let places: Vec<_> = line.points.iter().map(|(a, b)| (x.place(*a), y.place(*b))).collect();
            let path: Vec<_> = places.iter().map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
            writeln!(
                out,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>"#,
                path.join(" ")
            )?;
            for (a, b) in places.iter().filter(|_| self.dots) {
                writeln!(out, r#"<circle cx="{a:.1}" cy="{b:.1}" r="3.5" fill="{colour}"/>"#)?;
            }
        }
        let height = 18.0 * self.lines.len() as f64 + 8.0;
        let (x, y) = (left - 8.0, TOP + 2.0);
        writeln!(out, r##"<rect x="{x}" y="{y}" width="176" height="{height}" fill="#fff" fill-opacity="0.85"/>"##)?;
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let at = TOP + 18.0 + 18.0 * number as f64;
            writeln!(
                out,
                r##"<rect x="{left}" y="{}" width="14" height="3" fill="{colour}"/><text x="{}" y="{at}">{}</text>"##,
                at - 5.0,
                left + 20.0,
                line.name
            )?;
        }
        Ok(())
    }

    /// Writes it into a file, if there is anything to see.
    pub fn write(&self, file: &Path) -> Fallible<()> {
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return Ok(());
        }
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(file, self.draw()?)?)
    }
}

fn tick_label(tick: f64) -> String {
    if tick >= 1.0 || tick == 0.0 {
        return thousands(tick);
    }
    // Steps of 1, 2 and 5 have one digit behind their zeros; the others are rounding.
    let digits = (-tick.log10().floor()) as usize;
    format!("{tick:.digits$}")
}

/// The shape of a distribution: the share of all in each twentieth of a decade.
pub fn distribution(buckets: impl Iterator<Item = (f64, f64, u64)>) -> Vec<(f64, f64)> {
    const BINS_PER_DECADE: f64 = 20.0;
    let (mut bins, mut total) = (std::collections::BTreeMap::<i64, u64>::new(), 0);
    for (low, high, count) in buckets {
        let middle = f64::midpoint(low, high).max(0.001);
        *bins.entry((middle.log10() * BINS_PER_DECADE).floor() as i64).or_default() += count;
        total += count;
    }
    let (Some((&first, _)), Some((&last, _))) = (bins.first_key_value(), bins.last_key_value()) else { return vec![] };
    // An empty bin at each end, so that the line comes down to the axis.
    let share = |bin: i64| bins.get(&bin).copied().unwrap_or(0) as f64 / total as f64 * 100.0;
    (first - 1..=last + 1).map(|bin| (10_f64.powf((bin as f64 + 0.5) / BINS_PER_DECADE), share(bin))).collect()
}
