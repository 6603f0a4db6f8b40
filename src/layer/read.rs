//! Reads a layer that anybody may have written: what it holds, as entries and whiteouts, with the hashes of its files.
//!
//! One pass, in memory that grows with the number of entries alone, and that is limited. Decompression runs beside the
//! parsing. A blob is hashed as it comes, and is refused where its digest is another.

pub use super::files::{Held, read_by_hash, read_files};
pub use super::unpack::{Blob, Unpacked, check};
use super::unpack::{Pipe, Whole, with_members_of};
use crate::error::{Error, Result};
use crate::model::digest::ContentHash;
use crate::model::limits::{LARGEST_ENTRIES_BYTES, LONGEST_PATH_BYTES, NAME_BYTES};
use crate::model::policy::keeps_xattr;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::entry::{Device, Entry, Group, Kind, Xattrs};
use crate::model::tree::overlay::Laid;
use crate::model::tree::path::EntryPath;
use crate::tarball::read::{Found, FoundKind, Reader, TarError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 256 * 1024;

/// Chooses the contents that are wanted: of which file, and how long it is. What it returns is given the content.
pub type Keep<'k> = dyn FnMut(&EntryPath, u64) -> Result<Option<Box<dyn Write + 'k>>> + 'k;

/// What a layer holds.
#[derive(Debug, Default)]
pub struct LayerItems {
    /// In path order.
    pub items: Vec<Laid>,
    /// Names that are linked to a file of a layer below, with that one's name.
    pub links_below: Vec<(EntryPath, EntryPath)>,
    /// Whether the members stand in the order that ours have: in path order, each once, a link to the first name of its inode.
    pub is_in_order: bool,
}

/// Reads all of a layer. Fails where the blob is not what its digest says, or holds what no layer may.
pub fn read(blob: Blob, keep: &mut Keep) -> Result<LayerItems> {
    read_as(blob, None, keep).map(|(items, _)| items)
}

/// Reads all of a layer, and returns also how many bytes its tar has. Fails also where it does not unpack to what it must.
pub fn read_exactly(blob: Blob, expected: Unpacked, keep: &mut Keep) -> Result<(LayerItems, u64)> {
    read_as(blob, Some(expected), keep)
}

fn read_as(blob: Blob, expected: Option<Unpacked>, keep: &mut Keep) -> Result<(LayerItems, u64)> {
    let path = blob.path.to_owned();
    with_members_of(blob, expected, |reader| {
        let mut gathering = Gathering {
            most_bytes: LARGEST_ENTRIES_BYTES,
            ..Gathering::default()
        };
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Some(found) = reader.next_member().map_err(|e| unreadable(&path, e))? {
            let bad = |what: &'static str| Error::BadLayer {
                path: path.clone(),
                member: shown(&found.path),
                what: what.to_owned(),
            };
            let at =
                EntryPath::from_slashed(&found.path).ok_or_else(|| bad("leads out of the root"))?;
            let content = match found.kind {
                FoundKind::File(size) if !is_whiteout(&at) => {
                    let mut out = keep(&at, size)?;
                    Some(
                        hash_content(reader, &mut buffer, out.as_deref_mut())
                            .map_err(|e| unreadable(&path, e))?,
                    )
                }
                _ => None,
            };
            gathering.add(at, &found, content).map_err(bad)?;
        }
        gathering.finish().map_err(|(at, what)| Error::BadLayer {
            path: path.clone(),
            member: shown_path(&at),
            what: what.to_owned(),
        })
    })
}

impl Whole for LayerItems {
    fn is_whole(&self) -> bool {
        true
    }
}

pub(super) fn unreadable(path: &Path, error: TarError) -> Error {
    match error {
        TarError::Io(source) => Error::damaged(path, source.to_string()),
        TarError::Malformed { what, path: member } => Error::BadLayer {
            path: path.to_owned(),
            member: shown(&member),
            what: what.to_owned(),
        },
    }
}

fn shown(member: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(member))
}

fn hash_content(
    reader: &mut Reader<Pipe>,
    buffer: &mut [u8],
    mut out: Option<&mut (dyn Write + '_)>,
) -> std::result::Result<ContentHash, TarError> {
    let mut hasher = blake3::Hasher::new();
    loop {
        match reader.read(buffer)? {
            0 => return Ok(ContentHash(*hasher.finalize().as_bytes())),
            count => {
                hasher.update(&buffer[..count]);
                if let Some(out) = &mut out {
                    out.write_all(&buffer[..count])?;
                }
            }
        }
    }
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself.
const OF_AUFS: &[u8] = b".wh..wh.";

fn is_whiteout(path: &EntryPath) -> bool {
    path.name().starts_with(WHITEOUT)
}

/// What was read so far.
#[derive(Default)]
struct Gathering {
    entries: BTreeMap<EntryPath, Entry>,
    whiteouts: BTreeSet<EntryPath>,
    opaque: BTreeSet<EntryPath>,
    links_below: BTreeMap<EntryPath, EntryPath>,
    groups: u32,
    /// The name of each group that has the content.
    firsts: BTreeMap<Group, EntryPath>,
    /// The path that the last member is about, and whether all came in the order of ours.
    last: Option<EntryPath>,
    is_out_of_order: bool,
    memory_bytes: usize,
    /// How much it may be.
    most_bytes: usize,
}

impl Gathering {
    fn add(
        &mut self,
        path: EntryPath,
        found: &Found,
        content: Option<ContentHash>,
    ) -> std::result::Result<(), &'static str> {
        let target = match &found.kind {
            FoundKind::Link(target) | FoundKind::Symlink(target) => target.as_slice(),
            _ => b"",
        };
        // A whiteout has more than the path that it is about.
        let longest = LONGEST_PATH_BYTES
            + if is_whiteout(&path) {
                WHITEOUT.len()
            } else {
                0
            };
        if path.key().len() > longest || target.len() > LONGEST_PATH_BYTES {
            return Err("is too long");
        }
        if path.is_root() && found.kind != FoundKind::Directory {
            return Err("is the root, but no directory");
        }
        let name_bytes = NAME_BYTES + path.key().len() + target.len();
        if is_whiteout(&path) {
            self.weigh(name_bytes)?;
            return self.add_whiteout(&path);
        }
        self.follow(&path);
        let Some(entry) = self.entry(path, found, content)? else {
            return self.weigh(name_bytes);
        };
        self.weigh(entry.memory_bytes())?;
        if !entry.is_directory() {
            self.remove_beneath(&entry.path);
        }
        self.links_below.remove(&entry.path);
        self.entries.insert(entry.path.clone(), entry);
        Ok(())
    }

    fn follow(&mut self, path: &EntryPath) {
        self.is_out_of_order |= self.last.as_ref().is_some_and(|last| last >= path);
        self.last = Some(path.clone());
    }

    fn weigh(&mut self, bytes: usize) -> std::result::Result<(), &'static str> {
        self.memory_bytes += bytes;
        if self.memory_bytes > self.most_bytes {
            Err("is one more than any root has")
        } else {
            Ok(())
        }
    }

    fn add_whiteout(&mut self, path: &EntryPath) -> std::result::Result<(), &'static str> {
        let parent = path.parent().unwrap_or_default();
        match path.name() {
            OPAQUE => drop(self.opaque.insert(parent)),
            name if name.starts_with(OF_AUFS) => self.is_out_of_order = true,
            name => match &name[WHITEOUT.len()..] {
                b"" | b"." | b".." => return Err("is a whiteout of nothing"),
                name => {
                    let path = parent.join(name);
                    self.follow(&path);
                    self.whiteouts.insert(path);
                }
            },
        }
        Ok(())
    }

    /// `None` for a link to a layer below.
    fn entry(
        &mut self,
        path: EntryPath,
        found: &Found,
        content: Option<ContentHash>,
    ) -> std::result::Result<Option<Entry>, &'static str> {
        let kind = match &found.kind {
            FoundKind::File(size_bytes) => Kind::File {
                size_bytes: *size_bytes,
                content: content.ok_or("has no content")?,
            },
            FoundKind::Symlink(target) => Kind::Symlink(target.as_slice().into()),
            FoundKind::Directory => Kind::Directory,
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::CharDevice(0, 0) => {
                return Err("is the character device 0:0, a whiteout of overlayfs");
            }
            FoundKind::CharDevice(major, minor) => Kind::CharDevice(Device {
                major: *major,
                minor: *minor,
            }),
            FoundKind::BlockDevice(major, minor) => Kind::BlockDevice(Device {
                major: *major,
                minor: *minor,
            }),
            FoundKind::Link(target) => return self.link(path, target),
        };
        let xattrs = found.xattrs.iter().filter(|(name, _)| keeps_xattr(name));
        let xattrs = xattrs.map(|(name, value)| (name.as_slice().into(), value.as_slice().into()));
        Ok(Some(Entry {
            mode: if matches!(kind, Kind::Symlink(_)) {
                0o777
            } else {
                found.mode
            },
            uid: found.uid,
            gid: found.gid,
            mtime_s: found.mtime_s,
            xattrs: Xattrs::new(xattrs.collect()),
            group: None,
            kind,
            path,
        }))
    }

    /// A link is the inode of the name that came before it.
    fn link(
        &mut self,
        path: EntryPath,
        target: &[u8],
    ) -> std::result::Result<Option<Entry>, &'static str> {
        let target =
            EntryPath::from_slashed(target).ok_or("is a link that leads out of the root")?;
        if target == path {
            return Err("is a link to itself");
        }
        let Some(inode) = self.entries.get_mut(&target) else {
            self.remove_beneath(&path);
            self.entries.remove(&path);
            self.links_below.insert(path, target);
            return Ok(None);
        };
        if inode.is_directory() {
            return Err("is a link to a directory");
        }
        self.is_out_of_order |= inode
            .group
            .is_some_and(|group| self.firsts.get(&group) != Some(&target));
        let group = *inode.group.get_or_insert_with(|| {
            self.groups += 1;
            Group(self.groups - 1)
        });
        self.firsts.entry(group).or_insert(target);
        Ok(Some(Entry {
            path,
            group: Some(group),
            ..inode.clone()
        }))
    }

    fn remove_beneath(&mut self, path: &EntryPath) {
        let beneath = self
            .entries
            .range(path.clone()..)
            .skip_while(|(at, _)| *at == path);
        let beneath: Vec<EntryPath> = beneath
            .map(|(at, _)| at)
            .take_while(|at| at.is_beneath(path))
            .cloned()
            .collect();
        for at in beneath {
            self.entries.remove(&at);
        }
    }

    /// Fails with the path where something lies beneath what is no directory.
    fn finish(self) -> std::result::Result<LayerItems, (EntryPath, &'static str)> {
        let Self {
            entries,
            whiteouts,
            opaque,
            links_below,
            is_out_of_order,
            ..
        } = self;
        let mut above: Option<&Entry> = None;
        for entry in entries.values() {
            match above {
                Some(above) if entry.path.is_beneath(&above.path) => {
                    return Err((entry.path.clone(), "lies beneath what is no directory"));
                }
                _ if !entry.is_directory() => above = Some(entry),
                _ => {}
            }
        }
        let mut items: Vec<Laid> =
            Vec::with_capacity(entries.len() + whiteouts.len() + opaque.len());
        items.extend(whiteouts.into_iter().map(Laid::Whiteout));
        items.extend(opaque.into_iter().map(Laid::Opaque));
        items.extend(entries.into_values().map(Laid::Entry));
        items.sort_by(|a, b| a.path().cmp(b.path())); // stable: whiteouts come before the entry of their path
        Ok(LayerItems {
            items,
            links_below: links_below.into_iter().collect(),
            is_in_order: !is_out_of_order,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;
    use crate::tarball::{END, Member, MemberKind, padding};
    use sha2::{Digest as _, Sha256};

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
        let show = |item: &Laid| match item {
            Laid::Whiteout(path) => format!("-{path}"),
            Laid::Opaque(path) => format!("={path}"),
            Laid::Entry(entry) => {
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
            [Laid::Entry(Entry {
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
    fn links_count_with_the_attributes_that_they_share() {
        let found = |path: &str, kind| Found {
            path: path.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            xattrs: vec![(b"user.a".to_vec(), vec![0; 100_000])],
        };
        let mut gathering = Gathering {
            most_bytes: 1 << 20,
            ..Gathering::default()
        };
        let at = |path: &str| EntryPath::from_slashed(path.as_bytes()).unwrap();
        gathering
            .add(at("a"), &found("a", FoundKind::Fifo), None)
            .unwrap();
        let mut link = |place: usize| {
            let path = format!("b{place}");
            let link = Found {
                xattrs: Vec::new(),
                ..found(&path, FoundKind::Link(b"a".to_vec()))
            };
            gathering.add(at(&path), &link, None)
        };
        let taken = (0..20).take_while(|place| link(*place).is_ok()).count();
        assert_eq!(taken, 9);
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
}
