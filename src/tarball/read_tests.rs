//! Archives of many makers, and damaged ones.

use super::*;
use crate::tarball::{END, Member, MemberKind};
use proptest::prelude::*;

/// All members with their contents.
fn read_all(bytes: &[u8]) -> Result<Vec<(Found, Vec<u8>)>> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(found) = reader.next_member()? {
        let mut content = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                count => content.extend_from_slice(&buffer[..count]),
            }
        }
        all.push((found, content));
    }
    Ok(all)
}

/// A header with these bytes at these places and a right checksum.
fn block(fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    for (at, bytes) in fields {
        block[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padded(content: &[u8]) -> Vec<u8> {
    [content, &vec![0; padding(content.len() as u64)]].concat()
}

fn error_of(bytes: &[u8]) -> String {
    read_all(bytes).unwrap_err().to_string()
}

#[test]
fn what_the_writer_writes_reads_back() {
    let long = [b"d/".as_slice(), &[b'n'; 300], b"\n\xff"].concat();
    let target = [b't'; 200];
    let mut members = Vec::new();
    for (path, kind) in [
        (&b"./"[..], MemberKind::Directory),
        (&long, MemberKind::File(3)),
        (b"link", MemberKind::Link(&long)),
        (b"sym", MemberKind::Symlink(&target)),
        (b"fifo", MemberKind::Fifo),
        (b"tty", MemberKind::CharDevice(5, 1)),
        (b"disk", MemberKind::BlockDevice(8, 2_097_151)),
    ] {
        let records = match kind {
            MemberKind::File(_) => vec![(b"SCHILY.xattr.user.a".to_vec(), b"v\n=\0".to_vec())],
            _ => Vec::new(),
        };
        let member = Member {
            path,
            kind,
            mode: 0o4755,
            uid: u32::MAX,
            gid: 7,
            mtime_s: -1,
            records,
        };
        members.push(member);
    }
    let mut bytes = Vec::new();
    for member in &members {
        member.write_header(&mut bytes).unwrap();
        if let MemberKind::File(_) = member.kind {
            bytes.extend(padded(b"abc"));
        }
    }
    bytes.extend_from_slice(&END);
    let found = read_all(&bytes).unwrap();
    assert_eq!(found.len(), members.len());
    for ((found, content), member) in found.iter().zip(&members) {
        assert_eq!(
            (&found.path[..], found.mode, found.uid, found.gid),
            (member.path, 0o4755, u32::MAX, 7)
        );
        assert_eq!(found.mtime_s, -1);
        assert_eq!(
            content,
            if found.kind == FoundKind::File(3) {
                &b"abc"[..]
            } else {
                b""
            }
        );
    }
    assert_eq!(
        found[1].0.xattrs,
        [(b"user.a".to_vec(), b"v\n=\0".to_vec())]
    );
    assert_eq!(found[2].0.kind, FoundKind::Link(long.clone()));
    assert_eq!(found[3].0.kind, FoundKind::Symlink(target.to_vec()));
    assert_eq!(found[6].0.kind, FoundKind::BlockDevice(8, 2_097_151));
}

#[test]
fn every_time_that_an_inode_can_have_reads_back() {
    for mtime_s in [i64::MIN, i64::MIN + 1, -1, 0, 1 << 33, i64::MAX] {
        let mut bytes = Vec::new();
        Member {
            mtime_s,
            ..Member::file(b"f", 0)
        }
        .write_header(&mut bytes)
        .unwrap();
        bytes.extend_from_slice(&END);
        assert_eq!(read_all(&bytes).unwrap()[0].0.mtime_s, mtime_s);
    }
}

#[test]
fn the_largest_extended_header_that_is_written_is_read() {
    let written = |count: usize| {
        let mut bytes = Vec::new();
        let records = vec![(b"SCHILY.xattr.user.a".to_vec(), vec![b'v'; count])];
        let done = Member {
            records,
            ..Member::file(b"d/f", 0)
        }
        .write_header(&mut bytes);
        bytes.extend_from_slice(&END);
        done.map(|()| bytes).map_err(|e| e.to_string())
    };
    // "1048576 SCHILY.xattr.user.a=" and the end of the line.
    let most = LARGEST_EXTENDED_BYTES as usize - 29;
    assert_eq!(
        read_all(&written(most).unwrap()).unwrap()[0].0.xattrs[0]
            .1
            .len(),
        most
    );
    assert!(
        written(most + 1)
            .unwrap_err()
            .starts_with("/d/f cannot be put into a layer: ")
    );
}

#[test]
fn numbers_in_base_256_are_read_with_their_sign() {
    let number = |value: i64| {
        let mut field = vec![if value < 0 { 0xff } else { 0 }; 12];
        field[4..].copy_from_slice(&value.to_be_bytes());
        field[0] |= 0x80;
        field
    };
    for value in [0, 1, -1, i64::MAX, i64::MIN, 1 << 40] {
        let member = block(&[(0, b"f"), (136, &number(value)), (156, b"5")]);
        assert_eq!(read_all(&member).unwrap()[0].0.mtime_s, value);
    }
    let large = block(&[(0, b"f"), (124, &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]);
    assert!(error_of(&large).contains("too large"));
    assert!(error_of(&block(&[(0, b"f"), (124, &number(-1))])).contains("negative"));
    // A device number in base 256 is one too.
    let device = block(&[(0, b"d"), (156, b"3"), (329, &[0x80, 0, 0, 0, 1, 0, 0, 0])]);
    assert_eq!(
        read_all(&device).unwrap()[0].0.kind,
        FoundKind::CharDevice(1 << 24, 0)
    );
}

fn extended(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = format!("{:011o}\0", body.len());
    [
        block(&[(0, b"h"), (124, size.as_bytes()), (156, &[kind])]),
        padded(body),
    ]
    .concat()
}

#[test]
fn records_are_of_one_member_and_of_equal_ones_the_last_counts() {
    let plain = block(&[(0, b"plain"), (156, b"5")]);
    let archive = [
        extended(b'x', b"12 path=one\n12 path=two\n11 uid=500\n"),
        plain.clone(),
        plain.clone(),
        extended(b'x', b"8 path=\n18 mtime=10.00001\n"),
        plain,
    ]
    .concat();
    let found = read_all(&archive).unwrap();
    let shown: Vec<(&[u8], u32)> = found
        .iter()
        .map(|(found, _)| (&found.path[..], found.uid))
        .collect();
    assert_eq!(shown, [(&b"two"[..], 500), (b"plain", 0), (b"plain", 0)]);
    assert_eq!(found[2].0.mtime_s, 10);
}

#[test]
fn times_are_rounded_down() {
    for (text, value) in [
        ("1.9", Some(1)),
        ("-1", Some(-1)),
        ("-1.1", Some(-2)),
        ("-0.5", Some(-1)),
        ("7.", Some(7)),
    ]
    .into_iter()
    .chain(["", ".5", "-", "1e3", "1.x", "99999999999999999999"].map(|text| (text, None)))
    {
        assert_eq!(seconds(text.as_bytes()).ok(), value, "{text}");
    }
}

#[test]
fn what_is_malformed_is_said_in_one_line_with_the_path() {
    let of = |fields: &[(usize, &[u8])]| error_of(&block(fields));
    assert!(of(&[(0, b"a\nb"), (156, b"S")]).starts_with("a\\nb: is sparse"));
    assert!(of(&[(0, b"x"), (156, b"Z")]).contains("x: is of a type"));
    assert!(of(&[(0, b"x"), (156, b"2")]).contains("x: is a link to nothing"));
    assert!(of(&[(0, b"x"), (108, b"9"), (156, b"5")]).contains("x: has a number that is none"));
    assert!(error_of(&[7; 512]).contains("no tar archive"));
    assert!(error_of(b"short").contains("ends within a header"));
    for body in [
        &b"x"[..],
        b"99 path=a\n",
        b"5 ab\n\n",
        b"0 path=a\n",
        b"8 path=a",
        b"6 =ab\n",
        b"5 a=b\nrest",
    ] {
        let archive = [extended(b'x', body), block(&[(0, b"x"), (156, b"5")])].concat();
        assert!(
            error_of(&archive).contains("extended header") || error_of(&archive).contains("none"),
            "{body:?}"
        );
    }
    let lonely = extended(b'x', b"12 path=one\n");
    assert!(error_of(&lonely).contains("ends after an extended header"));
    assert!(error_of(&extended(b'L', b"n").repeat(20)).contains("too many"));
    let huge = block(&[(0, b"h"), (124, b"77777777777\0"), (156, b"x")]);
    assert!(error_of(&huge).contains("too large"));
    let sparse = [
        extended(b'x', b"22 GNU.sparse.major=1\n"),
        block(&[(0, b"x")]),
    ]
    .concat();
    assert!(error_of(&sparse).contains("sparse"));
}

#[test]
fn what_is_said_of_all_members_is_passed_over() {
    let archive = [
        extended(b'g', b"13 path=evil\n"),
        block(&[(0, b"x"), (156, b"5")]),
    ]
    .concat();
    let paths: Vec<_> = read_all(&archive.repeat(20))
        .unwrap()
        .into_iter()
        .map(|(found, _)| found.path)
        .collect();
    assert_eq!(paths, [b"x"; 20]);
}

#[test]
fn an_archive_that_is_cut_anywhere_within_a_member_is_an_error() {
    let mut whole = Vec::new();
    let long = [b'n'; 150];
    Member::file(&long, 600).write_header(&mut whole).unwrap();
    whole.extend(padded(&[7; 600]));
    for length in 1..whole.len() {
        assert!(read_all(&whole[..length]).is_err(), "{length}");
    }
    assert_eq!(read_all(&whole).unwrap().len(), 1);
    assert_eq!(read_all(&[]).unwrap().len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic_or_go_on_for_ever(
        seed in prop::collection::vec((0..2048usize, any::<u8>()), 0..12),
        fix_sums in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        let name = [b'n'; 120];
        let mut member = Member::file(&name, 10);
        member.records.push((b"SCHILY.xattr.user.a".to_vec(), b"v".to_vec()));
        member.write_header(&mut bytes).unwrap();
        bytes.extend(padded(&[1; 10]));
        for (at, byte) in seed {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if fix_sums {
            for header in [0, bytes.len() - 1024] {
                let fixed = block(&[(0, &bytes[header..header + BLOCK_BYTES])]);
                bytes[header..header + BLOCK_BYTES].copy_from_slice(&fixed);
            }
        }
        if let Ok(found) = read_all(&bytes) {
            prop_assert!(found.iter().all(|(_, content)| content.len() <= bytes.len()));
        }
    }
}
