//! The results, for readers (tables, goals) and for programs (JSON).

use serde_json::{Map, Value, json};
use std::fmt;

/// One table, its first column to the left and all others to the right.
pub struct ReportTable {
    title: String,
    rows: Vec<Vec<String>>,
}

impl ReportTable {
    pub fn new(title: &str, head: &[&str]) -> Self {
        Self { title: title.into(), rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub fn row(&mut self, cells: &[&dyn fmt::Display]) {
        self.rows.push(cells.iter().map(ToString::to_string).collect());
    }
}

impl fmt::Display for ReportTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        writeln!(f, "\n{}\n", self.title)?;
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::from("|");
            for (column, width) in widths.iter().copied().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                line += &if column == 0 { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") };
            }
            writeln!(f, "{line}")?;
            if number == 0 {
                let rule = widths.iter().enumerate().map(|(column, width)| {
                    let dashes = "-".repeat(width + 1);
                    if column == 0 { format!("-{dashes}|") } else { format!("{dashes}:|") }
                });
                writeln!(f, "|{}", rule.collect::<String>())?;
            }
        }
        Ok(())
    }
}

/// A goal, and the result.
struct Goal {
    what: String,
    bound: String,
    got: String,
    met: bool,
}

/// Everything that was measured.
#[derive(Default)]
pub struct Report {
    tables: Vec<ReportTable>,
    goals: Vec<Goal>,
    notes: Vec<String>,
    values: Map<String, Value>,
}

impl Report {
    pub fn table(&mut self, table: ReportTable) {
        self.tables.push(table);
    }

    /// A sentence that must be known to read the figures.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a value to the list of this name.
    pub fn value(&mut self, list: &str, value: Value) {
        if let Value::Array(values) = self.values.entry(list).or_insert_with(|| json!([])) {
            values.push(value);
        }
    }

    pub fn at_least(&mut self, what: &str, got: f64, bound: f64, unit: &str) {
        self.goal(what, got, bound, unit, got >= bound, "at least");
    }

    pub fn at_most(&mut self, what: &str, got: f64, bound: f64, unit: &str) {
        self.goal(what, got, bound, unit, got <= bound, "at most");
    }

    fn goal(&mut self, what: &str, got: f64, bound: f64, unit: &str, met: bool, side: &str) {
        let show = |number: f64| format!("{}{unit}", significant(number));
        self.value("goals", json!({"what": what, "got": got, "bound": bound, "side": side, "unit": unit, "met": met}));
        let (what, bound, got) = (what.to_owned(), format!("{side} {}", show(bound)), show(got));
        self.goals.push(Goal { what, bound, got, met });
    }

    pub fn json(&self) -> Value {
        let mut all = self.values.clone();
        all.insert("notes".into(), json!(self.notes));
        Value::Object(all)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables.iter().try_for_each(|table| table.fmt(f))?;
        if !self.goals.is_empty() {
            let mut table = ReportTable::new("Goals", &["goal", "bound", "reached", ""]);
            for Goal { what, bound, got, met } in &self.goals {
                table.row(&[what, bound, got, &if *met { "met" } else { "MISSED" }]);
            }
            table.fmt(f)?;
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "- {note}"))
    }
}

/// A number with three significant digits.
pub fn significant(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 || size == 0.0 => thousands(number),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 0.1 => format!("{number:.2}"),
        _ => format!("{number:.4}"),
    }
}

/// A whole number with commas.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
