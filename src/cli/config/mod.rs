//! `config`: the settings without options, with their origin, and the files behind them.

pub(crate) mod configuration;
mod files;
mod held;
mod series;
mod show;

pub(crate) use configuration::{Configuration, DEFAULT_OF_ROOT};
pub(crate) use show::run;
