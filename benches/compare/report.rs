//! The results: a table to read, and JSON with all samples.

use crate::cases::{Bench, Outcome};
use crate::measure::{Measured, Sample, median};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What the ratio of ours to the other is to be at most.
const GOALS: [(&str, &str, f64); 12] = [
    ("unchanged", "find", 0.7),
    ("unchanged", "restic", 0.06),
    ("unchanged", "borg", 0.06),
    ("relocated", "cat", 1.4),
    ("first", "tar | zstd", 0.85),
    ("first-gzip", "tar | pigz", 0.5),
    ("delta", "unchanged + tar | zstd", 1.15),
    ("export", "cp", 1.1),
    ("export-btrfs", "cp", 0.05),
    ("export-xfs", "cp", 0.05),
    ("restore", "zstd | tar -x", 0.8),
    ("restore-1-percent", "zstd | tar -x", 0.1),
];

/// What ours is to take at most, in seconds, where no other does the same work.
const TIME_GOALS_S: [(&str, f64); 1] = [("diff", 0.15)];

/// The most memory that the cases of a tree are to take.
const MEMORY_GOALS_MB: [(&str, f64); 2] = [("chroot", 120.0), ("1M", 700.0)];

/// The goals are for real roots and for generated ones from this size on; in smaller ones, the start of a process shows.
const GOALS_FROM_FILES: usize = 300_000;

const MEMORY_CASES: [&str; 6] = [
    "unchanged",
    "relocated",
    "first",
    "restore",
    "restore-1-percent",
    "sparse",
];

/// Ours to another, round by round.
struct Ratio {
    median: f64,
    least: f64,
    most: f64,
    goal: Option<f64>,
}

impl Ratio {
    fn new(outcome: &Outcome, ours: &Measured, other: &Measured) -> Self {
        let pairs = || {
            ours.samples
                .iter()
                .zip(&other.samples)
                .map(|(a, b)| a.seconds / b.seconds)
        };
        let has_goal = outcome.files.is_none_or(|files| files >= GOALS_FROM_FILES);
        Self {
            median: median(pairs()),
            least: pairs().fold(f64::INFINITY, f64::min),
            most: pairs().fold(0.0, f64::max),
            goal: goal_of(outcome.case, other.tool).filter(|_| has_goal),
        }
    }
}

fn goal_of(case: &str, tool: &str) -> Option<f64> {
    GOALS
        .iter()
        .find(|(name, other, _)| *name == case && *other == tool)
        .map(|(_, _, goal)| *goal)
}

fn time_goal_of(case: &str) -> Option<f64> {
    TIME_GOALS_S
        .iter()
        .find(|(name, _)| *name == case)
        .map(|(_, goal)| *goal)
}

/// Each outcome with ours and one of the others; with none where ours ran alone.
fn pairs(bench: &Bench) -> impl Iterator<Item = (&Outcome, &Measured, Option<&Measured>)> {
    bench.outcomes.iter().flat_map(|outcome| {
        let ours = &outcome.measured[0];
        let alone = (outcome.measured.len() == 1).then_some((outcome, ours, None));
        alone.into_iter().chain(
            outcome.measured[1..]
                .iter()
                .map(move |other| (outcome, ours, Some(other))),
        )
    })
}

pub(crate) fn json(bench: &Bench, machine: Value, tools: Value) -> Value {
    let trees: Vec<Value> = bench
        .facts
        .iter()
        .map(|one| json!({ "name": one.tree, "entries": one.entries, "content_bytes": one.content_bytes }))
        .collect();
    let ratios: Vec<Value> = pairs(bench)
        .filter_map(|(outcome, ours, other)| {
            let ratio = Ratio::new(outcome, ours, other?);
            Some(json!({
                "case": outcome.case,
                "tree": outcome.tree,
                "other": other?.tool,
                "ratio": round(ratio.median),
                "least": round(ratio.least),
                "most": round(ratio.most),
                "goal": ratio.goal,
                "goal_s": time_goal_of(outcome.case),
            }))
        })
        .collect();
    let runs = bench
        .outcomes
        .iter()
        .flat_map(|outcome| outcome.measured.iter().map(move |one| (outcome, one)));
    let runs: Vec<Value> = runs
        .map(|(outcome, one)| {
            let each = |take: fn(&Sample) -> f64| -> Vec<f64> {
                one.samples
                    .iter()
                    .map(|sample| round(take(sample)))
                    .collect()
            };
            json!({
                "case": outcome.case,
                "tree": outcome.tree,
                "tool": one.tool,
                "seconds": each(|sample| sample.seconds),
                "user_s": each(|sample| sample.user_s),
                "system_s": each(|sample| sample.system_s),
                "peak_kb": one.samples.iter().map(|sample| sample.peak_kb).collect::<Vec<_>>(),
                "output_bytes": one.output_bytes,
            })
        })
        .collect();
    json!({ "machine": machine, "tools": tools, "trees": trees, "ratios": ratios, "runs": runs })
}

fn round(number: f64) -> f64 {
    (number * 1e5).round() / 1e5
}

/// The tables for people: a column for each tree. What is only in the plot has its place in the last one alone.
pub(crate) fn markdown(bench: &Bench) -> String {
    let mut comparisons = Table::new(&["case", "against", "goal"]);
    let mut sizes = Table::new(&["size of the output", "against"]);
    let mut memory = Table::new(&["peak memory"]);
    for (outcome, ours, other) in pairs(bench).filter(|(outcome, ..)| !outcome.only_plotted) {
        let case = outcome.case.to_owned();
        if MEMORY_CASES.contains(&outcome.case) {
            memory.set(
                std::slice::from_ref(&case),
                &outcome.tree,
                memory_cell(outcome),
            );
        }
        let Some(other) = other else { continue };
        let (tool, ratio) = (cell(other.tool), Ratio::new(outcome, ours, other));
        let goal = goal_of(outcome.case, other.tool).map(|goal| format!("≤ {goal}"));
        let goal = goal.or_else(|| time_goal_of(outcome.case).map(|goal| format!("≤ {goal} s")));
        let goal = goal.unwrap_or_default();
        comparisons.set(
            &[case.clone(), tool.clone(), goal],
            &outcome.tree,
            ratio.cell(outcome, ours, other),
        );
        if let (true, Some(ours), Some(other)) = (
            outcome.case.starts_with("first"),
            ours.output_bytes,
            other.output_bytes,
        ) {
            let cell = format!("{} : {}", megabytes(ours), megabytes(other));
            sizes.set(&[case, tool], &outcome.tree, cell);
        }
    }
    [
        comparisons.text(),
        sizes.text(),
        memory.text(),
        per_file(bench).text(),
    ]
    .concat()
}

impl Ratio {
    fn cell(&self, outcome: &Outcome, ours: &Measured, other: &Measured) -> String {
        let is_slow = time_goal_of(outcome.case).is_some_and(|goal| ours.median_s() > goal);
        let (ours, other) = (seconds(ours.median_s()), seconds(other.median_s()));
        let is_missed = is_slow || self.goal.is_some_and(|goal| self.median > goal);
        let missed = if is_missed { ", missed" } else { "" };
        format!(
            "{:.3} ({:.3}–{:.3}){missed}; {ours} : {other}",
            self.median, self.least, self.most
        )
    }
}

fn memory_cell(outcome: &Outcome) -> String {
    let peak_mb = outcome.measured[0].peak_kb() as f64 * 1024.0 / 1e6;
    match MEMORY_GOALS_MB
        .iter()
        .find(|(tree, _)| *tree == outcome.tree)
    {
        Some((_, goal)) => {
            format!(
                "{peak_mb:.0} MB, goal ≤ {goal} MB{}",
                if peak_mb > *goal { ", missed" } else { "" }
            )
        }
        None => format!("{peak_mb:.0} MB"),
    }
}

/// How it grows with the tree.
fn per_file(bench: &Bench) -> Table {
    let mut table = Table::new(&["time per file"]);
    for outcome in bench
        .outcomes
        .iter()
        .filter(|one| ["unchanged", "first"].contains(&one.case))
    {
        if let Some(files) = outcome.files {
            let micros = outcome.measured[0].median_s() * 1e6 / files as f64;
            table.set(
                &[outcome.case.to_owned()],
                &outcome.tree,
                format!("{micros:.2} µs"),
            );
        }
    }
    table
}

/// A bar inside of a cell would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn seconds(number: f64) -> String {
    match number {
        n if n < 1.0 => format!("{n:.3} s"),
        n if n < 10.0 => format!("{n:.2} s"),
        n => format!("{n:.1} s"),
    }
}

/// A table that grows by cells: rows have keys, columns are trees, both in the order in which they come.
struct Table {
    heads: Vec<String>,
    trees: Vec<String>,
    rows: Vec<(Vec<String>, HashMap<String, String>)>,
}

impl Table {
    fn new(heads: &[&str]) -> Self {
        Self {
            heads: heads.iter().map(|head| (*head).to_owned()).collect(),
            trees: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn set(&mut self, key: &[String], tree: &str, cell: String) {
        if !self.trees.iter().any(|known| known == tree) {
            self.trees.push(tree.to_owned());
        }
        let at = self
            .rows
            .iter()
            .position(|(known, _)| known == key)
            .unwrap_or_else(|| {
                self.rows.push((key.to_owned(), HashMap::new()));
                self.rows.len() - 1
            });
        self.rows[at].1.insert(tree.to_owned(), cell);
    }

    /// Nothing where there are no rows.
    fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let heads = [self.heads.as_slice(), &self.trees].concat();
        let mut lines = vec![heads.join(" | "), vec!["---"; heads.len()].join(" | ")];
        for (key, cells) in &self.rows {
            let cells = self
                .trees
                .iter()
                .map(|tree| cells.get(tree).cloned().unwrap_or_default());
            lines.push(
                key.iter()
                    .cloned()
                    .chain(cells)
                    .collect::<Vec<_>>()
                    .join(" | "),
            );
        }
        lines
            .iter()
            .map(|line| format!("| {line} |\n"))
            .collect::<String>()
            + "\n"
    }
}
