//! Images on their way out of a store and into one.

pub mod export;
mod foreign;
pub mod import;
pub(crate) mod opened;
