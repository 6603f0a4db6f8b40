//! What an ordinary user can test with nothing installed: what a plain `cargo test` runs.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

#[path = "../common/mod.rs"]
mod common;
#[path = "../house/mod.rs"]
mod house;
#[path = "../shared/mod.rs"]
mod shared;

mod agreement;
mod bad_input;
mod changes;
mod configuration;
mod default_rule;
mod detection;
mod diff;
mod export;
mod farm;
mod growth;
mod hints;
mod images;
mod joined_layers;
mod keep;
mod layer_members;
mod limits;
mod links;
mod manual;
mod mock_configs;
mod normalized;
mod outputs;
mod package_layers;
mod package_names;
mod package_output;
mod parsers;
mod queries;
mod recorded_layers;
mod restore;
mod restore_hostile;
mod rpm_databases;
mod shape;
mod sources;
mod store;
mod store_planted;
mod tidy;
