//! Each command of README.md and of the pages of docs/ prints what they show.

use crate::shared::pages::shows_what_happens;

#[test]
fn the_readme_shows_what_happens() {
    shows_what_happens("README.md");
}

#[test]
fn recording_shows_what_happens() {
    shows_what_happens("docs/recording.md");
}

#[test]
fn comparing_shows_what_happens() {
    shows_what_happens("docs/comparing.md");
}

#[test]
fn keeping_a_store_shows_what_happens() {
    shows_what_happens("docs/store.md");
}

#[test]
fn policy_shows_what_happens() {
    shows_what_happens("docs/policy.md");
}

#[test]
fn environment_shows_what_happens() {
    shows_what_happens("docs/environment.md");
}

#[test]
fn json_shows_what_happens() {
    shows_what_happens("docs/json.md");
}

#[test]
fn exporting_shows_what_happens() {
    shows_what_happens("docs/exporting.md");
}

#[test]
fn registries_shows_what_happens() {
    shows_what_happens("docs/registries.md");
}
