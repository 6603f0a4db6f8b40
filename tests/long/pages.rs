//! Documents whose commands need engines or a registry.

use crate::shared::pages::shows_what_happens;

#[test]
fn exporting_shows_what_happens() {
    shows_what_happens("docs/exporting.md");
}

#[test]
fn registries_shows_what_happens() {
    shows_what_happens("docs/registries.md");
}
