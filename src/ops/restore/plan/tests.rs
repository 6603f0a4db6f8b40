//! What a restore leaves, makes, adjusts and removes.

use super::*;
use crate::model::testing::{directory, file, linked, path, symlink};

struct Case<'a> {
    now: &'a [Entry],
    then: &'a [Entry],
    specs: &'a [&'a str],
    extra: Extra,
    mounts: &'a [&'a str],
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            now: &[],
            then: &[],
            specs: &[],
            extra: Extra::Kept,
            mounts: &[],
        }
    }
}

fn planned(case: &Case) -> Result<Vec<String>, Obstacle> {
    let root = || vec![directory("")];
    let now = Tree::new([root(), case.now.to_vec()].concat());
    let then = Tree::new([root(), case.then.to_vec()].concat());
    let mounts: Vec<EntryPath> = case.mounts.iter().map(|at| path(at)).collect();
    let present = Present {
        tree: &now,
        masked: &mounts,
        mounts: &mounts,
        unrecordable: &[],
    };
    let links = |at: &EntryPath| {
        let group = now.position(at).and_then(|at| now.entries()[at].group);
        now.entries()
            .iter()
            .filter(|entry| group.is_some() && entry.group == group)
            .count() as u32
    };
    let plan = plan(
        &then,
        &present,
        &Pathspec::new(case.specs).unwrap(),
        case.extra,
        links,
    )?;
    let removed = plan.removed.iter().map(|path| format!("-{path}"));
    let acts = then
        .entries()
        .iter()
        .zip(&plan.acts)
        .filter_map(|(entry, act)| match act {
            Act::Leave => None,
            Act::Make => Some(format!("+{}", entry.path)),
            Act::Adjust => Some(format!("~{}", entry.path)),
            Act::Date => Some(format!("@{}", entry.path)),
        });
    Ok(removed.chain(acts).collect())
}

#[test]
fn only_what_differs_is_touched_and_its_directory_is_dated() {
    let now = [
        directory("d"),
        file("d/a", 1),
        file("d/b", 1),
        directory("e"),
        file("e/x", 1),
    ];
    let changed = Entry {
        mode: 0o600,
        ..file("d/b", 1)
    };
    let then = [
        directory("d"),
        file("d/a", 2),
        changed,
        directory("e"),
        file("e/x", 1),
    ];
    let case = Case {
        now: &now,
        then: &then,
        ..Case::default()
    };
    assert_eq!(planned(&case).unwrap(), ["@/d", "+/d/a", "~/d/b"]);
}

#[test]
fn what_the_snapshot_lacks_goes_only_where_that_was_asked_for() {
    let now = [
        directory("d"),
        file("d/a", 1),
        directory("x"),
        directory("x/y"),
        file("x/y/z", 1),
    ];
    let then = [directory("d")];
    let case = Case {
        now: &now,
        then: &then,
        ..Case::default()
    };
    assert_eq!(planned(&case).unwrap(), [""; 0]);
    let case = Case {
        extra: Extra::Removed,
        ..case
    };
    assert_eq!(planned(&case).unwrap(), ["-/d/a", "-/x", "@/", "@/d"]);
    let case = Case {
        specs: &["/d"],
        ..case
    };
    assert_eq!(planned(&case).unwrap(), ["-/d/a", "@/d"]);
    let case = Case {
        specs: &[],
        mounts: &["x/y"],
        ..case
    };
    assert_eq!(planned(&case).unwrap(), ["-/d/a", "-/x/y/z", "@/d"]);
}

#[test]
fn an_inode_with_several_names_is_made_anew_with_all_of_them() {
    let two = [linked("a", 1), linked("b", 1), file("c", 1)];
    let then = [linked("a", 1), linked("b", 1), linked("c", 1)];
    let case = Case {
        now: &two,
        then: &then,
        ..Case::default()
    };
    assert_eq!(planned(&case).unwrap(), ["@/", "+/a", "+/b", "+/c"]);
    let changed = [
        Entry {
            mode: 0o600,
            ..linked("a", 1)
        },
        Entry {
            mode: 0o600,
            ..linked("b", 1)
        },
    ];
    let case = Case {
        now: &two[..2],
        then: &changed,
        ..Case::default()
    };
    assert_eq!(planned(&case).unwrap(), ["@/", "+/a", "+/b"]);
    let alone = [file("a", 1), file("b", 1)];
    let case = Case {
        now: &alone,
        then: &changed,
        ..Case::default()
    };
    assert_eq!(planned(&case).unwrap(), ["@/", "+/a", "+/b"]);
    let apart = [
        Entry {
            mode: 0o600,
            ..file("a", 10)
        },
        file("b", 10),
    ];
    let case = Case {
        now: &[linked("a", 1), linked("b", 1)],
        then: &apart,
        ..Case::default()
    };
    assert!(planned(&case).unwrap().contains(&"+/a".to_owned()));
}

#[test]
fn a_directory_that_is_replaced_goes_as_a_whole_but_never_with_a_mount() {
    let now = [directory("d"), directory("d/e"), file("d/e/f", 1)];
    let case = Case {
        now: &now,
        then: &[symlink("d", "x")],
        ..Case::default()
    };
    assert_eq!(planned(&case).unwrap(), ["-/d", "@/", "+/d"]);
    let case = Case {
        mounts: &["d/e"],
        ..case
    };
    assert_eq!(planned(&case), Err(Obstacle::Mount(path("d/e"))));
}

#[test]
fn the_directories_above_a_chosen_path_are_made_but_none_that_is_something_else() {
    let then = [
        directory("d"),
        directory("d/e"),
        file("d/e/f", 1),
        file("d/x", 1),
    ];
    let case = Case {
        then: &then,
        specs: &["/d/e/f"],
        ..Case::default()
    };
    assert_eq!(planned(&case).unwrap(), ["@/", "+/d", "+/d/e", "+/d/e/f"]);
    let case = Case {
        now: &[symlink("d", "elsewhere")],
        ..case
    };
    assert_eq!(planned(&case), Err(Obstacle::NotADirectory(path("d"))));
    let case = Case { specs: &[], ..case };
    assert_eq!(
        planned(&case).unwrap(),
        ["@/", "+/d", "+/d/e", "+/d/e/f", "+/d/x"]
    );
}

#[test]
fn into_an_empty_directory_all_that_was_asked_for_is_made() {
    let tree = Tree::new(vec![
        directory(""),
        directory("d"),
        file("d/a", 1),
        file("x", 1),
    ]);
    let acts = |specs: &[&str]| plan_anew(&tree, &Pathspec::new(specs).unwrap()).acts;
    assert_eq!(acts(&[]), [Act::Adjust, Act::Make, Act::Make, Act::Make]);
    assert_eq!(
        acts(&["/d/a"]),
        [Act::Leave, Act::Make, Act::Make, Act::Leave]
    );
}
