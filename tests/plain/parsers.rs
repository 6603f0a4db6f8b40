//! A short run of the fuzz targets: their corpora and changes of them, the same in each run. `scripts/fuzz` makes the long one.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use targets::{ALL, Target};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus");

/// Changed inputs of a target that works on bytes, and of one that works on files.
const FAST_RUNS: usize = 5_000;
const SLOW_RUNS: usize = 100;

/// Numbers that look random (Steele and others, "Fast Splittable Pseudorandom Number Generators").
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let directory = std::fs::read_dir(Path::new(CORPUS).join(target.name))
        .unwrap_or_else(|e| panic!("{} has no corpus: {e}", target.name));
    let mut paths: Vec<_> = directory.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has an empty corpus", target.name);
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// A few changes: bits, bytes that parsers stumble over, parts that are cut, doubled or of another input.
fn change(input: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + numbers.below(4) {
        let at = numbers.below(bytes.len());
        let until = at + numbers.below(bytes.len() - at).min(64);
        match numbers.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            1 if !bytes.is_empty() => {
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'/', b'\n', b'.'][numbers.below(8)]
            }
            2 => drop(bytes.drain(at..until)),
            3 => bytes.extend_from_within(at..until),
            4 => bytes.truncate(at),
            _ => {
                let start = numbers.below(other.len());
                let end = start + numbers.below(other.len() - start).min(64);
                bytes.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    bytes
}

fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        eprintln!(
            "{} fails on {:?}",
            target.name,
            input.escape_ascii().to_string()
        );
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn every_parser_takes_its_corpus_and_changes_of_it() {
    for target in ALL {
        let corpus = inputs(target);
        corpus.iter().for_each(|input| run(target, input));
        let mut numbers = Numbers(1);
        for _ in 0..if target.is_slow { SLOW_RUNS } else { FAST_RUNS } {
            let [one, other] = [0; 2].map(|_| &corpus[numbers.below(corpus.len())]);
            run(target, &change(one, other, &mut numbers));
        }
    }
}

#[test]
fn the_corpora_are_those_of_the_targets_and_scripts_fuzz_finds_all() {
    let names: BTreeSet<String> = ALL.iter().map(|target| target.name.to_owned()).collect();
    let corpora = std::fs::read_dir(CORPUS)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(corpora.collect::<BTreeSet<_>>(), names);
    let listed = std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/fuzz"))
        .arg("--list")
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(
        listed.lines().map(str::to_owned).collect::<BTreeSet<_>>(),
        names
    );
}
