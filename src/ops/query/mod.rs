//! Questions about records, answered out of the store alone.

pub(crate) mod cat;
mod derived_rule;
pub mod explain;
pub(crate) mod find;
pub mod inspect;
mod novelty;
mod package_novelty;
mod predecessor;
mod recorded_path;
mod records;
pub(crate) mod rule;
pub(crate) mod sbom;
pub(crate) mod which;
