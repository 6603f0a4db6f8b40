//! Options of a snapshot, and the tree that each policy must give: rules of docs/policy.md, said once more.

use super::edits::{EPOCH, Recorded};
use crate::common::tree::{Kind, Node, Tree, name_groups};
use rootstrata::layer::codec::Compression;
use rootstrata::model::names::SnapshotRef;
use rootstrata::model::plan::LayerRule;
use rootstrata::model::policy::{MtimeRule, Profile};
use rootstrata::ops::record::Options;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

pub(super) fn options(recorded: &Recorded, ids: &[i64]) -> Options {
    let name = |prefix: &str, number: usize| Some(format!("{prefix}{number}"));
    let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    let plain = Options {
        series: Some("s".to_owned()),
        stage: [
            Some("bootstrap".to_owned()),
            Some("deps".to_owned()),
            Some("built".to_owned()),
        ][recorded.stage]
            .clone(),
        run: recorded.run.and_then(|run| name("r", run)),
        profile: Some(Profile::Plain),
        compression: [
            Compression::None,
            Compression::Gzip(1),
            Compression::Gzip(6),
            Compression::Zstd(1),
            Compression::Zstd(3),
        ][recorded.compression],
        threads: NonZeroUsize::new(recorded.threads).unwrap(),
        parent: recorded
            .parent_back
            .and_then(|back| ids.iter().rev().nth(back))
            .map(|id| SnapshotRef::Id(*id)),
        ..Options::default()
    };
    match recorded.policy {
        1 => Options {
            volatile: globs(&["v", "/a/b"]),
            ..plain
        },
        2 => Options {
            exclude: globs(&["x", "/b/c"]),
            volatile: globs(&["v"]),
            ..plain
        },
        3 => Options {
            mtime: Some(MtimeRule::Fixed),
            rule: Some(match recorded.packages {
                0 => LayerRule::Stages,
                most => LayerRule::Packages(most),
            }),
            ..plain
        },
        4 => Options {
            epoch_s: Some(1_000_000_004),
            ..plain
        },
        5 => Options {
            profile: Some(Profile::Mock),
            ..plain
        },
        _ => plain,
    }
}

/// What a policy is to record of a tree: rules of docs/policy.md, said once more.
pub(super) fn under_policy(tree: &Tree, policy: usize) -> Tree {
    let parts = |path: &[u8]| {
        path.split(|b| *b == 0)
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let is_at = |path: &[u8], top: &[u8]| path == top || path.starts_with(&[top, b"\0"].concat());
    let is_left_out = |path: &[u8]| match policy {
        2 => parts(path).contains(&b"x".to_vec()) || is_at(path, b"b\0c"),
        5 => path.starts_with(b"dev\0"),
        _ => false,
    };
    let is_volatile = |path: &[u8]| match policy {
        1 => parts(path).contains(&b"v".to_vec()) || is_at(path, b"a\0b"),
        2 => parts(path).contains(&b"v".to_vec()),
        _ => false,
    };
    let is_kept_empty =
        |path: &[u8], node: &Node| policy == 5 && path == b"dev" && node.kind == Kind::Directory;
    let of = |path: &[u8], node: &Node| {
        let mut node = node.clone();
        let is_module = matches!(node.kind, Kind::File(_)) && path.ends_with(b".py");
        match policy {
            3 if !is_module => node.mtime = EPOCH,
            4 => node.mtime = node.mtime.min(1_000_000_004),
            5 => {
                // No packages are known there, so that the rule is as under 3.
                if !is_module {
                    node.mtime = EPOCH;
                }
                node.xattrs
                    .retain(|name, _| !name.starts_with(b"user.Librepo."));
            }
            _ => {}
        }
        if policy == 5 && path.is_empty() || is_kept_empty(path, &node) {
            node = Node {
                mode: 0o755,
                uid: 0,
                gid: 0,
                xattrs: BTreeMap::new(),
                ..node
            };
        }
        node
    };
    // Under a kept_empty directory nothing is recorded; a file of that name is none.
    let is_kept = |path: &[u8]| {
        let is_in_hollow =
            policy == 5 && path.starts_with(b"dev\0") && tree[&b"dev"[..]].kind == Kind::Directory;
        !(is_left_out(path) && (policy != 5 || is_in_hollow))
    };
    let mut kept: Tree = tree
        .iter()
        .filter(|(path, _)| is_kept(path))
        .map(|(path, node)| (path.clone(), of(path, node)))
        .collect();
    // Links do not cross from what is volatile to what is not.
    let mut groups: BTreeMap<(Vec<u8>, bool), Vec<Vec<u8>>> = BTreeMap::new();
    for (path, node) in &mut kept {
        if let Some(first) = node.first_name.take() {
            groups
                .entry((first, is_volatile(path)))
                .or_default()
                .push(path.clone());
        }
    }
    // All names of an inode have what the first one has.
    for names in groups.values_mut() {
        names.sort();
        let first = kept[&names[0]].clone();
        names
            .iter()
            .for_each(|name| drop(kept.insert(name.clone(), first.clone())));
    }
    name_groups(&mut kept, groups.into_values());
    kept
}

/// What counts of a tree after a restore: it may have times and owners that the policy does not record, and keeps what the
/// policy does not look at, with the directories above it.
pub(super) fn left_of(found: &Tree, expected: &Tree, policy: usize) -> Tree {
    let mut left = under_policy(found, policy);
    let kept_empty = (policy == 5).then(|| b"dev".to_vec());
    let unseen = found
        .keys()
        .filter(|path| !left.contains_key(*path))
        .cloned()
        .chain(kept_empty);
    let unseen: Vec<Vec<u8>> = unseen.collect();
    let holds = |path: &[u8]| {
        unseen
            .iter()
            .any(|at| at == path || at.starts_with(&[path, b"\0"].concat()))
    };
    left.retain(|path, _| expected.contains_key(path) || !holds(path));
    left
}
