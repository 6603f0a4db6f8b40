//! Man pages without a word of mandoc, and completions that shells complete with.

#[path = "../../packaging/manual/pages.rs"]
mod pages;

use crate::common::{Bench, succeeds};
use std::process::Command;

/// Writes all files below a bench.
fn written() -> Bench {
    let bench = Bench::new();
    for (name, bytes) in pages::all() {
        let path = bench.path(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    bench
}

#[test]
fn man_pages_are_as_mandoc_and_man_want_them() {
    let bench = written();
    for entry in std::fs::read_dir(bench.path("man")).unwrap() {
        let page = entry.unwrap().path();
        let words = succeeds(
            Command::new("mandoc")
                .args(["-T", "lint", "-W", "warning"])
                .arg(&page),
        );
        assert_eq!(words, "");
        let text = std::fs::read_to_string(&page).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for item in lines.windows(3).filter(|item| item[0] == ".TP") {
            assert!(!item[2].starts_with('.') && !item[2].is_empty(), "{item:?}");
        }
        let shown = succeeds(Command::new("mandoc").args(["-T", "html"]).arg(&page));
        assert!(
            shown.contains("EXIT_STATUS") && !shown.contains("\\f"),
            "{shown}"
        );
    }
}

#[test]
fn bash_zsh_and_fish_complete_commands_and_options() {
    let bench = written();
    let at = |name: &str| bench.path("completions").join(name).display().to_string();
    let bash = |words: &str| {
        let script = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             _rootstrata rootstrata \"${{COMP_WORDS[COMP_CWORD]}}\" ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            at("rootstrata.bash")
        );
        succeeds(Command::new("bash").args(["--norc", "-c", &script]))
    };
    assert_eq!(bash("rootstrata pru"), "prune\n");
    assert_eq!(
        bash("rootstrata prune --keep-w"),
        "--keep-weekly\n--keep-within\n"
    );

    let fish = |line: &str| {
        let script = format!("source {}; complete -C '{line}'", at("rootstrata.fish"));
        succeeds(Command::new("fish").args(["--no-config", "-c", &script]))
    };
    assert!(
        fish("rootstrata pru").starts_with("prune\tRemove snapshots"),
        "{}",
        fish("rootstrata pru")
    );
    assert!(fish("rootstrata prune --keep-w").contains("--keep-weekly"));

    // A line editor is needed to complete: zsh's own, in a terminal of its own.
    let directory = bench.path("completions").display().to_string();
    let script = format!(
        "zmodload zsh/zpty; zpty z 'zsh -f -i'
         zpty -w z 'PS1=; fpath=({directory} $fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy'
         while zpty -r z line; do [[ $line = *ready* ]] && break; done
         zpty -w -n z $'rootstrata verify --de\\t\\t'
         repeat 200; do zpty -r -t z part && all+=$part; [[ $all = *--deep* ]] && break; sleep 0.05; done
         print -r -- $all; zpty -d z"
    );
    let all = succeeds(Command::new("zsh").args(["-f", "-c", &script]));
    assert!(all.contains("--deep"), "{all}");
}
