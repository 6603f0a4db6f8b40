//! One binary for all targets: `ROOTSTRATA_FUZZ` names the one that runs.
#![no_main]

mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<targets::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("ROOTSTRATA_FUZZ").expect("ROOTSTRATA_FUZZ is not set");
        let found = targets::ALL.iter().find(|target| target.name == name);
        *found.unwrap_or_else(|| panic!("no target {name}"))
    });
    (target.run)(data);
});
