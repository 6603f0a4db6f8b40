//! Shared by both targets. Images of others: hardlinks in any order, stores that have held such layers for long, and what else stands beside an image.

use crate::common::{Bench, sh};
use std::path::Path;

/// A store that holds such layers since before anything could read them.
pub(crate) fn old_store() -> Bench {
    let bench = Bench::new();
    let fixture = Path::new(crate::common::REPOSITORY).join("fixtures/stores/of-others.tar.gz");
    sh(&bench.path(""), &format!("tar -xzf {}", fixture.display()));
    bench
}
