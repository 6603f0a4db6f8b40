//! A store that is used every day and pruned every day: it stays small, and no day is slower than the first ones.
//!
//! `ROOTSTRATA_DAYS=365` measures a year; docs/design.md has the figures.

use crate::common::{Bench, store};
use serde_json::Value;
use std::path::Path;

/// Snapshots of each stage that are kept.
const KEPT_DAYS: usize = 14;
/// Files of the first stage; the second adds half as many.
const FILES: u64 = 1500;
/// One of so many files of each stage changes each day.
const CHANGED: u64 = 50;

/// Numbers that are the same each time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// Writes a file of 1 to 32 kB that does not compress.
    fn write(&mut self, directory: &Path, number: u64) {
        let words = 128 + self.below(4096 - 128);
        let bytes: Vec<u8> = (0..words).flat_map(|_| self.next().to_le_bytes()).collect();
        let at = directory.join((number % 40).to_string());
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join(number.to_string()), bytes).unwrap();
    }
}

fn seconds(snapshot: &Value) -> f64 {
    snapshot["seconds"]
        .as_object()
        .unwrap()
        .values()
        .map(|time| time.as_f64().unwrap())
        .sum()
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn bytes_below(path: &Path) -> u64 {
    let all = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    all.map(|entry| {
        if entry.path().is_dir() {
            bytes_below(&entry.path())
        } else {
            entry.metadata().unwrap().len()
        }
    })
    .sum()
}

fn layer_bytes(snapshot: &Value) -> u64 {
    snapshot["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["size_bytes"].as_u64().unwrap())
        .sum()
}

#[test]
fn a_store_that_is_pruned_daily_stays_small_and_fast() {
    let days: usize = std::env::var("ROOTSTRATA_DAYS").map_or(40, |days| days.parse().unwrap());
    let bench = Bench::new();
    let root = bench.make("root");
    let beside = bench.make("deps");
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    (0..FILES).for_each(|number| numbers.write(&root.join("usr"), number));
    (0..FILES / 2).for_each(|number| numbers.write(&beside, number));
    let (mut times, mut largest) = (Vec::new(), 0.0_f64);
    for day in 1..=days {
        for _ in 0..FILES / CHANGED {
            let number = numbers.below(FILES);
            numbers.write(&root.join("usr"), number);
        }
        for _ in 0..FILES / 2 / CHANGED {
            let number = numbers.below(FILES / 2);
            numbers.write(&beside, number);
        }
        let run = format!("--profile plain --mtime fixed --run day{day}");
        let first = bench.snapshot(&root, &format!("{run} --stage bootstrap"));
        std::fs::rename(&beside, root.join("deps")).unwrap();
        let second = bench.snapshot(&root, &format!("{run} --stage deps-installed"));
        std::fs::rename(root.join("deps"), &beside).unwrap();
        times.push(seconds(&first) + seconds(&second));
        bench.json(["prune", "--keep-last", &KEPT_DAYS.to_string()]);
        let share = bytes_below(&bench.store()) as f64 / layer_bytes(&second) as f64;
        if day > 2 * KEPT_DAYS {
            largest = largest.max(share);
        }
    }
    let fresh = Bench::new();
    std::fs::rename(&beside, root.join("deps")).unwrap();
    let full =
        layer_bytes(&fresh.snapshot(&root, "--profile plain --mtime fixed --stage bootstrap"));
    let size = bytes_below(&bench.store());
    let count = 10.min(days / 4);
    let (early, late) = (median(&times[1..=count]), median(&times[days - count..]));
    println!(
        "{days} days: store {:.2} MB, {:.2} x one full image, at most {largest:.2} x of that day's; \
         a day took {early:.3} s at first, {late:.3} s at last, ratio {:.2}",
        size as f64 / 1e6,
        size as f64 / full as f64,
        late / early
    );
    assert_eq!(bench.ids().len(), 2 * KEPT_DAYS);
    store::check(&bench.store());
    assert!(
        size <= 3 * full,
        "{size} bytes, and a full image has {full}"
    );
    // Also right after base and delta are made anew, when the old ones with all of their updates are still kept.
    assert!(largest <= 3.0, "{largest}");
    // Times vary while other tests run; a year is measured by itself.
    let most = if days >= 365 { 1.2 } else { 3.0 };
    assert!(late <= early * most, "{early} s at first, {late} s at last");
}
