//! Compares two trees: of snapshots, directories or images.

mod by_records;
mod content;
mod contents;
pub mod diff;
pub mod findings;
mod foreign_packages;
mod listed;
mod open;
mod search;
mod seen_as;
pub mod side;
mod wanted;
