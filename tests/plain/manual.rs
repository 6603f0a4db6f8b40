//! Man pages, completions and the site's page of commands are made of one definition, and are as good as what shells and readers take.

#[path = "../../packaging/manual/pages.rs"]
mod pages;

use crate::common::REPOSITORY;
use std::collections::BTreeMap;
use std::path::Path;

fn files() -> BTreeMap<String, String> {
    let files = pages::all().into_iter();
    files
        .map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap()))
        .collect()
}

#[test]
fn the_page_of_commands_is_the_one_that_the_definition_gives() {
    let found = std::fs::read_to_string(Path::new(REPOSITORY).join("docs/commands.md")).unwrap();
    assert!(
        found == files()["commands.md"],
        "docs/commands.md is old: run scripts/manual"
    );
}

#[test]
fn each_command_has_a_man_page_with_all_sections() {
    let files = files();
    let pages: Vec<_> = files
        .iter()
        .filter(|(name, _)| name.starts_with("man/"))
        .collect();
    assert!(pages.len() > 20);
    for (name, page) in pages {
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXAMPLES",
            "EXIT STATUS",
            "SEE ALSO",
        ] {
            let heading = [
                format!("\n.SH {section}\n"),
                format!("\n.SH \"{section}\"\n"),
            ];
            assert!(
                heading.iter().any(|heading| page.contains(heading)),
                "{name}: {section}"
            );
        }
        // Options that are told once, in the page of rootstrata(1).
        assert_eq!(
            page.contains("authfile"),
            name == "man/rootstrata.1",
            "{name}"
        );
    }
    let main = &files["man/rootstrata.1"];
    for section in ["COMMANDS", "FILES", "ENVIRONMENT"] {
        assert!(main.contains(section), "{section}");
    }
    assert!(files["man/rootstrata-prune.1"].contains("rootstrata prune [OPTIONS]"));
}
