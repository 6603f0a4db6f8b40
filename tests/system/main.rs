//! What needs root, mounts, other tools or real chroots: `scripts/test` installs these and runs this target.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

#[path = "../common/mod.rs"]
mod common;
#[path = "../shared/mod.rs"]
mod shared;

mod bad_input;
mod book;
mod changes;
mod chroots;
mod detection;
mod diff;
mod export;
mod html;
mod images;
mod import;
mod keep;
mod late;
mod layer_members;
mod limits;
mod manual;
mod mount;
mod others;
mod outputs;
mod package_lists;
mod package_mounts;
mod packaging;
mod page;
mod part;
mod queries;
mod readme;
mod reflink;
mod restore;
mod restore_hostile;
mod rpm_databases;
mod sbom;
mod scripts;
mod sources;
mod store;
mod store_planted;
