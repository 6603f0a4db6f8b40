//! What differs between two trees, wherever each of them is.

mod content;
mod contents;
pub mod diff;
pub mod findings;
mod foreign_packages;
mod open;
mod seen_as;
pub mod side;
