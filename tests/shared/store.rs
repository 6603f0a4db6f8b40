//! Shared by both targets. The store over several runs and processes: runs and stages, reuse, compressions, killed runs, defaults.

use crate::common::{Bench, sh};
use std::path::PathBuf;

pub(crate) fn bench() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir d; for i in $(seq 20); do echo $i > d/$i; done; touch -d @5 d .",
    );
    (bench, root)
}
