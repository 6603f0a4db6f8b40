//! What needs root, mounts, other tools or real chroots: `scripts/test` installs these and runs this target.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

#[path = "../common/mod.rs"]
mod common;
#[path = "../shared/mod.rs"]
mod shared;

mod agreement;
mod bad_input;
mod bombs;
mod changes;
mod chroots;
mod damage;
mod detection;
mod diff;
mod engines;
mod export;
mod faults;
mod filesystems;
mod hostile;
mod html;
mod images;
mod import;
mod keep;
mod late;
mod layer_members;
mod limits;
mod mount;
mod normalized;
mod others;
mod outputs;
mod package_mounts;
mod page;
mod part;
mod power;
mod queries;
mod random;
mod readme;
mod reflink;
mod registry;
mod registry_prune;
mod restore;
mod restore_hostile;
mod rpm_databases;
mod sbom;
mod scripts;
mod sources;
mod store;
mod store_planted;
