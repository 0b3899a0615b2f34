//! What is printed: a table for each scenario, and what machine it was.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::Result;

/// The figures of one scenario.
pub struct Report {
    scenario: &'static str,
    rows: Vec<Row>,
}

struct Row {
    figure: String,
    measured: String,
    target: String,
    met: bool,
}

/// Numbers that were measured one by one.
#[derive(Default)]
pub struct Sample(Vec<f64>);

impl Report {
    /// An empty table.
    pub fn new(scenario: &'static str) -> Self {
        Self { scenario, rows: Vec::new() }
    }

    /// A number that must not be larger than `target`.
    pub fn at_most(&mut self, figure: impl Into<String>, measured: f64, target: f64, unit: &str) {
        let (figure, met) = (figure.into(), measured <= target);
        self.rows.push(Row { figure, measured: number(measured, unit), target: format!("<= {target} {unit}"), met });
    }

    /// A number that helps to understand the others.
    pub fn note(&mut self, figure: impl Into<String>, measured: f64, unit: &str) {
        self.rows.push(Row {
            figure: figure.into(),
            measured: number(measured, unit),
            target: String::new(),
            met: true,
        });
    }

    /// Every number with a target is within it.
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met)
    }

    /// Prints the table.
    pub fn show(&self) {
        let mut text = format!("\n{:<58} {:>14}   {:<12}\n", self.scenario, "measured", "target");
        for Row { figure, measured, target, met } in &self.rows {
            let verdict = match (target.is_empty(), met) {
                (true, _) => "",
                (false, true) => "ok",
                (false, false) => "MISSED",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {figure:<56} {measured:>14}   {target:<12} {verdict}");
        }
        print(&text);
    }
}

impl Sample {
    /// Adds a number.
    pub fn add(&mut self, number: f64) {
        self.0.push(number);
    }

    /// Adds the numbers of another.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The number below which this share of all lies; not a number when there are none.
    pub fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_by(f64::total_cmp);
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// Prints which machine this is and who uses it besides.
pub fn show_machine() -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("", |name| name.trim_start_matches(['\t', ':', ' ']));
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let busy = load.split(' ').next().unwrap_or_default();
    print(&format!("machine: {cores} cores ({model}), Linux {}, load before the run {busy}\n", kernel.trim()));
    Ok(())
}

fn number(number: f64, unit: &str) -> String {
    match number {
        whole if whole.fract() == 0.0 => format!("{whole} {unit}"),
        large if large >= 1000.0 => format!("{large:.0} {unit}"),
        small => format!("{small:.2} {unit}"),
    }
}

fn print(text: &str) {
    // Whoever reads it has gone: there is nobody left to tell.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
