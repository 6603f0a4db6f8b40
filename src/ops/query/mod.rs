//! Questions about records, answered out of the store alone.

pub(crate) mod cat;
mod derived_rule;
pub mod explain;
pub mod filter;
pub(crate) mod find;
pub(crate) mod growth;
pub(crate) mod history;
pub mod inspect;
pub mod log;
mod novelty;
mod package_novelty;
mod package_pattern;
mod predecessor;
mod recorded_path;
mod records;
pub(crate) mod rule;
pub(crate) mod sbom;
pub(crate) mod visible;
pub(crate) mod which;
