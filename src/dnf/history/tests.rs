//! The history of dnf 4: which ways give one, and what stays.

use super::installed::Installed;
use super::*;
use crate::dnf::HISTORY;
use rusqlite::Connection;

fn package(name: &str) -> Package {
    Package {
        name: name.to_owned(),
        epoch: None,
        version: "1".to_owned(),
        release: "2".to_owned(),
        arch: "noarch".to_owned(),
        source_rpm: String::new(),
        build_time_s: 0,
    }
}

/// A history of these statements over the tables of the version.
fn history(statements: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let empty = write::database(&Installed::default(), 5).unwrap();
    std::fs::write(directory.path().join(HISTORY), empty).unwrap();
    let connection = Connection::open(directory.path().join(HISTORY)).unwrap();
    connection.execute_batch("DELETE FROM trans").unwrap();
    connection.execute_batch(statements).unwrap();
    directory
}

fn normal(directory: &Path, packages: &[Package]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let shown = Path::new("/r/history.sqlite");
    normalised(directory, packages.iter(), 7, (&mut out, shown))
        .unwrap()
        .then_some(out)
}

/// One transaction, or one for each package, the second of which comes in by an update.
const AT_ONCE: &str =
    "INSERT INTO trans VALUES (4, 100, 101, 'x', 'y', '12', 1000, 'install a b', 1, '');
    INSERT INTO repo VALUES (3, 'fedora');
    INSERT INTO item VALUES (1, 0), (2, 0);
    INSERT INTO rpm VALUES (1, 'a', 0, '1', '2', 'noarch'), (2, 'b', 0, '1', '2', 'noarch');
    INSERT INTO trans_item VALUES (1, 4, 1, 3, 1, 2, 1), (2, 4, 2, 3, 1, 1, 1);";
const IN_TURN: &str = "INSERT INTO trans VALUES (1, 1, 2, 'x', 'y', '12', 0, 'install b', 1, ''),
        (2, 3, 4, 'x', 'y', '12', 0, 'install a', 1, ''), (3, 5, 6, 'x', 'y', '12', 0, 'update', 1, ''),
        (4, 7, 8, 'x', 'y', '12', 0, 'remove a', 2, '');
    INSERT INTO repo VALUES (1, 'updates'), (2, 'fedora');
    INSERT INTO item VALUES (1, 0), (2, 0), (3, 0);
    INSERT INTO rpm VALUES (1, 'b', 0, '0', '2', 'noarch'), (2, 'a', 0, '1', '2', 'noarch'), (3, 'b', 0, '1', '2', 'noarch');
    INSERT INTO trans_item VALUES (1, 1, 1, 1, 1, 1, 1), (2, 2, 2, 2, 1, 2, 1), (3, 3, 3, 2, 6, 1, 1), (4, 3, 1, 2, 7, 1, 1),
        (5, 4, 2, 2, 8, 2, 1);
    INSERT INTO console_output VALUES (1, 1, 1, 'warning');";

#[test]
fn two_ways_to_the_same_packages_give_one_history() {
    let packages = [package("a"), package("b"), package("unknown")];
    let one = normal(history(AT_ONCE).path(), &packages).unwrap();
    let other = normal(history(IN_TURN).path(), &packages).unwrap();
    assert!(one == other);
    // What is normalised stays as it is.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(HISTORY), &one).unwrap();
    assert!(normal(directory.path(), &packages).unwrap() == one);
}

#[test]
fn reason_and_repository_are_those_that_dnf_would_find() {
    let directory = history(IN_TURN);
    let read = read::installed(directory.path(), [package("a"), package("b")].iter());
    let found = read.unwrap().unwrap().packages;
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.name.as_str(), one.reason, one.repository.as_deref()))
        .collect();
    assert_eq!(found, [("a", 2, Some("fedora")), ("b", 1, Some("fedora"))]);
}

#[test]
fn another_reason_is_another_history() {
    let packages = [package("a"), package("b")];
    let one = normal(history(AT_ONCE).path(), &packages);
    let marked = format!("{AT_ONCE} UPDATE trans_item SET reason = 2;");
    assert!(one != normal(history(&marked).path(), &packages));
}

#[test]
fn a_package_that_was_removed_and_installed_by_another_tool_has_no_reason() {
    let removed = format!(
        "{AT_ONCE} INSERT INTO trans VALUES (5, 1, 1, '', '', '12', 0, '', 1, '');
         INSERT INTO trans_item VALUES (3, 5, 1, 3, 8, 1, 1);"
    );
    let directory = history(&removed);
    let read = read::installed(directory.path(), [package("a"), package("b")].iter());
    let found = read.unwrap().unwrap().packages;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "b");
}

#[test]
fn installed_groups_stay_with_sorted_members() {
    let groups = |order: &str| {
        history(&format!(
            "INSERT INTO trans VALUES (1, 1, 1, '', '', '', 0, '', 1, ''), (2, 1, 1, '', '', '', 0, '', 1, '');
             INSERT INTO repo VALUES (1, 'r');
             INSERT INTO item VALUES (7, 1), (8, 1), (9, 2);
             INSERT INTO comps_group VALUES (7, 'core', 'Core', 'Kern', 3), (8, 'gone', 'G', 'G', 1);
             INSERT INTO comps_environment VALUES (9, 'env', 'E', 'E', 2);
             INSERT INTO comps_group_package (group_id, name, installed, pkg_type) VALUES {order};
             INSERT INTO comps_environment_group VALUES (1, 9, 'core', 1, 1);
             INSERT INTO trans_item VALUES (1, 1, 7, 1, 1, 2, 1), (2, 1, 8, 1, 1, 2, 1), (3, 1, 9, 1, 1, 2, 1),
                 (4, 2, 8, 1, 8, 2, 1);"
        ))
    };
    let directory = groups("(7, 'x', 1, 1), (7, 'a', 0, 2)");
    let read = read::installed(directory.path(), std::iter::empty())
        .unwrap()
        .unwrap();
    assert_eq!((read.groups.len(), read.environments.len()), (1, 1));
    assert_eq!(read.groups[0].members[0].name, "a");
    let other = groups("(7, 'a', 0, 2), (7, 'x', 1, 1)");
    assert!(normal(directory.path(), &[]) == normal(other.path(), &[]));
}

#[test]
fn what_is_no_history_of_the_version_is_left() {
    for statements in [
        "UPDATE config SET value = '1.1'",
        "DROP TABLE rpm; CREATE VIEW rpm AS SELECT 1 AS item_id, 'a' AS name, '' AS arch, 0 AS epoch, '' AS version, '' AS release",
        "DROP TABLE repo",
        "ALTER TABLE rpm ADD COLUMN more TEXT AS (zeroblob(60000000)) VIRTUAL",
    ] {
        assert!(
            normal(history(statements).path(), &[package("a")]).is_none(),
            "{statements}"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(HISTORY), [7; 5000]).unwrap();
    assert!(normal(directory.path(), &[]).is_none());
}

#[test]
fn no_change_of_a_byte_makes_it_panic() {
    let sound = std::fs::read(history(IN_TURN).path().join(HISTORY)).unwrap();
    let packages = [package("a"), package("b")];
    let directory = tempfile::tempdir().unwrap();
    let mut state = 1_u32;
    for _ in 0..400 {
        let mut bytes = sound.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = state as usize % bytes.len();
            bytes[at] ^= (state >> 24) as u8 | 1;
        }
        std::fs::write(directory.path().join(HISTORY), bytes).unwrap();
        let mut out = Vec::new();
        let shown = Path::new("/r/history.sqlite");
        normalised(directory.path(), packages.iter(), 7, (&mut out, shown)).unwrap();
    }
}
