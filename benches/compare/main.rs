//! Compares rootstrata with the tools that do the same work or a part of it: on the same trees, in turn, with ratios
//! instead of times as the result. benches/README.md says what is measured.

mod cases;
mod content;
mod machine;
mod measure;
mod plot;
mod random;
mod report;
mod tools;
mod trees;

use cases::{Bench, CASES};
use clap::Parser;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use trees::Tree;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SIZES: [usize; 2] = [300_000, 1_000_000];
const PLOT_SIZES: [usize; 5] = [10_000, 30_000, 100_000, 300_000, 1_000_000];
const QUICK_SIZES: [usize; 2] = [10_000, 30_000];

/// Set where the mounts of this process are its own.
const INSIDE: &str = "ROOTSTRATA_BENCH_INSIDE";

/// Compare rootstrata with other tools, in turn on the same trees
#[derive(Parser)]
struct Args {
    /// Measure this case only; may be repeated [default: all]
    #[arg(long = "case", value_name = "NAME", value_parser = CASES.map(|case| case.name))]
    cases: Vec<String>,
    /// Rounds that count, after one that does not [default: 5; with --quick, 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    rounds: Option<u32>,
    /// Files of the generated trees [default: 300000,1000000; with --quick, 10000,30000]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    files: Vec<usize>,
    /// Sizes of trees in the plot [default: 10000,30000,100000,300000,1000000; else those of --files]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    plot: Vec<usize>,
    /// Leave out first-gzip on generated trees with more files than N
    #[arg(long, value_name = "N", default_value_t = SIZES[0])]
    gzip_up_to: usize,
    /// Leave restic and borg out on generated trees with more files than N
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    backups_up_to: usize,
    /// A real root to measure, too
    #[arg(long, value_name = "DIR", env = "ROOTSTRATA_BENCH_CHROOT")]
    chroot: Option<PathBuf>,
    /// The same root on another day, for diff
    #[arg(
        long,
        value_name = "DIR",
        env = "ROOTSTRATA_BENCH_OTHER_DAY",
        requires = "chroot"
    )]
    other_day: Option<PathBuf>,
    /// Small trees and few rounds; DIR of --chroot is left out
    #[arg(long)]
    quick: bool,
    /// Where trees, stores and archives are made
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench"))]
    dir: PathBuf,
    /// Where results.json and scale.svg go [default: benches after a full run, else DIR of --dir]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The rootstrata to measure
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_rootstrata"))]
    binary: PathBuf,
    /// What `cargo bench` says to every benchmark
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Args {
    fn sizes(&self) -> Vec<usize> {
        match (self.files.as_slice(), self.quick) {
            ([], true) => QUICK_SIZES.into(),
            ([], false) => SIZES.into(),
            (files, _) => files.into(),
        }
    }

    fn plot_sizes(&self) -> Vec<usize> {
        match (self.plot.as_slice(), self.quick || !self.files.is_empty()) {
            ([], true) => self.sizes(),
            ([], false) => PLOT_SIZES.into(),
            (plot, _) => plot.into(),
        }
    }

    /// Parts of the results would replace all of them.
    fn output(&self) -> PathBuf {
        let is_full =
            !self.quick && self.cases.is_empty() && self.files.is_empty() && self.plot.is_empty();
        match &self.output {
            Some(output) => output.clone(),
            None if is_full => Path::new(env!("CARGO_MANIFEST_DIR")).join("benches"),
            None => self.dir.clone(),
        }
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|chosen| chosen == name)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match std::env::var_os(INSIDE) {
        Some(_) => run(args),
        None => Err(with_own_mounts()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again where what it mounts goes away with it, however it ends. Returns only if that fails.
fn with_own_mounts() -> Box<dyn std::error::Error> {
    if !rustix::process::geteuid().is_root() {
        return "needs root, to mount and to read all of a root".into();
    }
    match std::env::current_exe() {
        Ok(program) => {
            let mut unshare = Command::new("unshare");
            unshare
                .arg("--mount")
                .arg(program)
                .args(std::env::args_os().skip(1))
                .env(INSIDE, "1");
            format!("unshare: {}", unshare.exec()).into()
        }
        Err(error) => error.into(),
    }
}

fn run(args: Args) -> Result<()> {
    fs::create_dir_all(&args.dir).map_err(|e| format!("{}: {e}", args.dir.display()))?;
    let dir = args.dir.canonicalize()?;
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 5 });
    let mut bench = Bench::new(&dir, &args.binary, rounds, args.backups_up_to)?;

    let (sizes, plot_sizes) = (args.sizes(), args.plot_sizes());
    let chroot = args.chroot.as_ref().filter(|_| !args.quick);
    let mut trees = Vec::new();
    if let Some(root) = chroot {
        let other_day = args.other_day.clone();
        trees.push(Tree {
            other_day,
            ..Tree::existing("chroot", root, &dir)?
        });
    }
    for files in sizes
        .iter()
        .chain(&plot_sizes)
        .copied()
        .collect::<BTreeSet<_>>()
    {
        trees.push(Tree::generated(files, &dir)?);
    }
    let output = args.output();
    fs::create_dir_all(&output)?;
    let (machine, tools) = (machine::describe(&dir)?, tools::versions(&args.binary));
    // After each case: who stops it keeps what was measured until then.
    let keep = |bench: &Bench| -> Result<()> {
        let results = report::json(bench, machine.clone(), tools.clone());
        fs::write(output.join("results.json"), format!("{results:#}\n"))?;
        if let Some(plot) = plot::draw(bench, &plot_sizes) {
            fs::write(output.join("scale.svg"), plot)?;
        }
        Ok(())
    };
    for tree in &trees {
        for case in CASES
            .iter()
            .filter(|case| case.on_each_tree && args.is_chosen(case.name))
        {
            let only_plotted = tree.files.is_some_and(|files| !sizes.contains(&files));
            let too_slow = match case.name {
                "first-gzip" => tree.files.is_some_and(|n| n > args.gzip_up_to),
                "first-buildah" => tree.files.is_some(),
                _ => false,
            };
            let lacks_other = case.name == "diff" && tree.other_day.is_none();
            if !(only_plotted && !case.plotted || too_slow || lacks_other) {
                bench.measure(case, tree, only_plotted)?;
                keep(&bench)?;
            }
        }
        bench.forget()?;
    }
    for case in CASES
        .iter()
        .filter(|case| !case.on_each_tree && args.is_chosen(case.name))
    {
        bench.measure(case, &Tree::sparse(&dir)?, false)?;
        bench.forget()?;
        keep(&bench)?;
    }
    print!("{}", report::markdown(&bench));
    eprintln!(
        "all samples are in {}",
        output.join("results.json").display()
    );
    Ok(())
}
