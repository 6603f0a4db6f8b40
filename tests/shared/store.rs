//! The store over several runs and processes: runs and stages, reuse, compressions, killed runs, defaults. What the tests of both targets share.

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
