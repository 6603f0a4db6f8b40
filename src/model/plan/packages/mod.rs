//! Layers by package: `[base remainder] [updates] [packages...] [delta remainder] [updates] [packages...] [state]`. Pure.
//!
//! A package layer holds the paths that are in the tree as the package has them, and the directories above. The remainder
//! holds all else, and is planned as stages are. A package layer depends on files, directories above and policy alone, so two
//! roots that share a package share its layer, whatever else they have.

mod changed;
mod chosen;
mod directories;
mod paths;
mod planner;
mod prior;
mod remainder;
mod stack;

pub(crate) use directories::{set_apart, set_modes_apart};
pub(crate) use planner::PackagePlanner;
pub(crate) use prior::stem as label_stem;
pub use prior::{PackageEntry, PriorPackage};

#[cfg(test)]
mod tests;
