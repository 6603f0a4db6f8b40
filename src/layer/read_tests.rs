//! Layers of many makers, damaged blobs and refused members.

use super::*;
use crate::model::digest::Digest;
use crate::model::limits::LONGEST_PATH_BYTES;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::tarball::{END, Member, MemberKind, padding};
use sha2::{Digest as _, Sha256};
use std::path::Path;

fn archive(members: &[(&str, MemberKind)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, kind) in members {
        let member = Member {
            kind: *kind,
            ..Member::file(path.as_bytes(), 0)
        };
        member.write_header(&mut bytes).unwrap();
        if let MemberKind::File(size) = kind {
            bytes.extend(vec![b'x'; *size as usize]);
            bytes.extend(vec![0; padding(*size)]);
        }
    }
    bytes.extend_from_slice(&END);
    bytes
}

fn items_of(bytes: &[u8]) -> Result<LayerItems> {
    let digest = Digest(Sha256::digest(bytes).into());
    let blob = Blob {
        input: Box::new(bytes),
        path: Path::new("blob"),
        digest,
    };
    read(blob, &mut |_, _| Ok(None))
}

fn shown_items(members: &[(&str, MemberKind)]) -> Vec<String> {
    let show = |item: &LayerItem| match item {
        LayerItem::Whiteout(path) => format!("-{path}"),
        LayerItem::Opaque(path) => format!("={path}"),
        LayerItem::Entry(entry) => {
            format!(
                "{}{}",
                entry.path,
                entry.group.map_or(String::new(), |g| format!(" #{}", g.0))
            )
        }
    };
    items_of(&archive(members))
        .unwrap()
        .items
        .iter()
        .map(show)
        .collect()
}

fn error_of(members: &[(&str, MemberKind)]) -> String {
    items_of(&archive(members)).unwrap_err().to_string()
}

use MemberKind::{Directory, File, Link, Symlink};

#[test]
fn entries_and_whiteouts_come_in_path_order_whatever_the_order_of_the_archive() {
    let members = [
        ("z", File(1)),
        ("./d/", Directory),
        ("d/.wh..wh..opq", File(0)),
        ("/d/.wh.x", File(0)),
        ("d/x", File(2)),
        ("d/.wh..wh.plnk", File(0)),
        ("", Directory),
    ];
    let members: Vec<_> = members
        .into_iter()
        .filter(|(path, _)| !path.is_empty())
        .collect();
    assert_eq!(shown_items(&members), ["=/d", "/d", "-/d/x", "/d/x", "/z"]);
}

#[test]
fn links_are_one_inode_and_a_link_to_nothing_here_is_to_a_layer_below() {
    let members = [
        ("a", File(1)),
        ("b", Link(b"./a")),
        ("c", Link(b"b")),
        ("d", Link(b"/below/x")),
    ];
    assert_eq!(shown_items(&members), ["/a #0", "/b #0", "/c #0"]);
    let items = items_of(&archive(&members)).unwrap();
    let links: Vec<_> = items
        .links_below
        .iter()
        .map(|(at, to)| format!("{at} {to}"))
        .collect();
    assert_eq!(links, ["/d /below/x"]);
}

#[test]
fn of_two_members_with_one_path_the_later_counts() {
    assert_eq!(
        shown_items(&[("a/", Directory), ("a/x", File(1)), ("a", File(1))]),
        ["/a"]
    );
    let items = items_of(&archive(&[("a", File(1)), ("a", Symlink(b"t"))]))
        .unwrap()
        .items;
    assert!(matches!(
        &items[..],
        [LayerItem::Entry(Entry {
            kind: Kind::Symlink(_),
            ..
        })]
    ));
}

#[test]
fn what_no_layer_may_hold_is_refused_with_its_path() {
    for (members, text) in [
        (
            vec![("a/../../x", File(0))],
            "a/../../x: leads out of the root",
        ),
        (vec![("a", Link(b"../x"))], "a: is a link that leads out"),
        (vec![("a", Link(b"a"))], "a: is a link to itself"),
        (
            vec![("d/", Directory), ("a", Link(b"d"))],
            "a: is a link to a directory",
        ),
        (
            vec![("a", File(0)), ("a/b", File(0))],
            "/a/b: lies beneath what is no directory",
        ),
        (
            vec![("d/.wh.", File(0))],
            "d/.wh.: is a whiteout of nothing",
        ),
        (
            vec![("n", MemberKind::CharDevice(0, 0))],
            "n: is the character device 0:0",
        ),
    ] {
        let error = error_of(&members);
        assert!(error.contains(text) && error.contains("blob"), "{error}");
    }
    let long = "n/".repeat(LONGEST_PATH_BYTES / 2 + 1);
    assert!(error_of(&[(&long, Directory)]).contains("too long"));
}

#[test]
fn a_blob_with_another_digest_is_refused_also_in_what_follows_the_archive() {
    let bytes = [archive(&[("a", File(1))]), b"rest".to_vec()].concat();
    assert_eq!(items_of(&bytes).unwrap().items.len(), 1);
    let blob = |digest| Blob {
        input: Box::new(&bytes[..]),
        path: Path::new("blob"),
        digest,
    };
    assert!(
        read(blob(Digest([0; 32])), &mut |_, _| Ok(None))
            .unwrap_err()
            .to_string()
            .contains("digest")
    );
    assert!(check(blob(Digest([0; 32]))).is_err());
    assert!(check(blob(Digest(Sha256::digest(&bytes).into()))).is_ok());
}

#[test]
fn every_compression_reads_alike_and_a_cut_blob_is_an_error() {
    let plain = archive(&[("a", File(900)), ("b", File(70_000))]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(&plain[..700]).unwrap();
    let mut gzip = gzip.finish().unwrap();
    let mut second = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    second.write_all(&plain[700..]).unwrap();
    gzip.extend(second.finish().unwrap()); // two members
    let zstd = [&plain[..99], &plain[99..]]
        .map(|part| zstd::encode_all(part, 3).unwrap())
        .concat(); // two frames
    for bytes in [&plain, &gzip, &zstd] {
        assert_eq!(items_of(bytes).unwrap().items.len(), 2);
        let cut = &bytes[..bytes.len() / 2];
        assert!(items_of(cut).is_err());
    }
}

#[test]
fn chosen_contents_are_given_and_reading_ends_when_that_is_enough() {
    let bytes = archive(&[("a", File(3)), ("b", File(4)), ("c", File(5))]);
    let digest = Digest(Sha256::digest(&bytes).into());
    let mut seen = Vec::new();
    let blob = Blob {
        input: Box::new(&bytes[..]),
        path: Path::new("blob"),
        digest,
    };
    read_files(
        blob,
        |path, _| path.name() != b"a",
        |path, _, content| {
            let mut all = String::new();
            content.read_to_string(&mut all).unwrap();
            seen.push(format!("{path} {all}"));
            Ok(false)
        },
    )
    .unwrap();
    assert_eq!(seen, ["/b xxxx"]);
}
