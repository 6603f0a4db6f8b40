//! What tests of one subject share that stand in both targets.
#![allow(dead_code)] // each target uses its own part

pub(crate) mod bad_input;
pub(crate) mod changes;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod images;
pub(crate) mod keep;
pub(crate) mod outputs;
pub(crate) mod pages;
pub(crate) mod queries;
pub(crate) mod restore;
pub(crate) mod restore_hostile;
pub(crate) mod sources;
pub(crate) mod store;
pub(crate) mod store_planted;
