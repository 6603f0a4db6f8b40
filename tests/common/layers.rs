//! Images as a strict reader sees them that shares no code with the project: manifest, configuration, layers as raw
//! blocks of tar, whiteouts. What the image-spec or docs/format.md forbid is a panic.

use super::tree::{Kind, Node, Tree, name_groups};
use super::{Path, Value};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// A member of a tar file.
pub struct Member {
    /// As it stands there.
    pub name: Vec<u8>,
    /// `0` file, `1` hardlink, `2` symlink, `3` and `4` devices, `5` directory, `6` FIFO.
    pub flag: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub link: Vec<u8>,
    pub device: (u32, u32),
    pub content: Vec<u8>,
    /// Where the content begins.
    pub offset: usize,
    /// PAX records in their order.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

fn octal(field: &[u8]) -> u64 {
    let digits: Vec<u8> = field
        .iter()
        .copied()
        .take_while(|b| *b != 0 && *b != b' ')
        .collect();
    assert!(
        digits.iter().all(|b| (b'0'..=b'7').contains(b)),
        "{field:?}"
    );
    digits
        .iter()
        .fold(0, |value, digit| value * 8 + u64::from(digit - b'0'))
}

fn text(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|b| *b != 0).collect()
}

fn records_of(mut body: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let space = body.iter().position(|b| *b == b' ').unwrap();
        let length: usize = std::str::from_utf8(&body[..space])
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(body[length - 1], b'\n');
        let record = &body[space + 1..length - 1];
        let equals = record.iter().position(|b| *b == b'=').unwrap();
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        body = &body[length..];
    }
    records
}

/// Reads a tar file, all of it. Wants nothing but ustar headers and PAX records, sorted, and the end that tar wants.
pub fn members(tar: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut at = 0;
    loop {
        let header = &tar[at..at + 512];
        at += 512;
        if header.iter().all(|b| *b == 0) {
            assert!(
                tar[at..].len() == 512 && tar[at..].iter().all(|b| *b == 0),
                "two blocks of zeros end it"
            );
            assert!(records.is_empty());
            return members;
        }
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(n, b)| u64::from(if (148..156).contains(&n) { b' ' } else { *b }))
            .sum();
        assert_eq!(octal(&header[148..156]), sum, "the checksum");
        assert_eq!(&header[257..265], b"ustar\x0000");
        assert!(
            header[265..329].iter().all(|b| *b == 0),
            "no names of owners"
        );
        assert!(header[345..512].iter().all(|b| *b == 0), "no prefix");
        let flag = header[156];
        assert!(b"0123456x".contains(&flag), "type {:?}", flag as char);
        let field = |key: &[u8]| {
            records
                .iter()
                .find(|(k, _)| k == key)
                .map(|(_, value)| value.clone())
        };
        let number = |key: &[u8], plain: u64| match field(key) {
            Some(value) => String::from_utf8(value).unwrap().parse::<i64>().unwrap(),
            None => plain as i64,
        };
        let size = number(b"size", octal(&header[124..136])) as usize;
        let offset = at;
        let content = tar[at..at + size].to_vec();
        at += size.next_multiple_of(512);
        assert!(
            tar[offset + size..at].iter().all(|b| *b == 0),
            "padding is zeros"
        );
        if flag == b'x' {
            records = records_of(&content);
            assert!(
                records.is_sorted_by(|a, b| a.0 < b.0),
                "records are sorted and unique"
            );
            continue;
        }
        members.push(Member {
            name: field(b"path").unwrap_or_else(|| text(&header[..100])),
            flag,
            mode: octal(&header[100..108]) as u32,
            uid: number(b"uid", octal(&header[108..116])) as u32,
            gid: number(b"gid", octal(&header[116..124])) as u32,
            mtime: number(b"mtime", octal(&header[136..148])),
            link: field(b"linkpath").unwrap_or_else(|| text(&header[157..257])),
            device: (
                octal(&header[329..337]) as u32,
                octal(&header[337..345]) as u32,
            ),
            content,
            offset,
            records: std::mem::take(&mut records),
        });
    }
}

impl Member {
    /// Path in the form of [`Tree`]. Wants it to be relative and clean.
    fn path(&self) -> Vec<u8> {
        if self.name == b"./" {
            return Vec::new();
        }
        let name = self
            .name
            .strip_suffix(b"/")
            .filter(|_| self.flag == b'5')
            .unwrap_or(&self.name);
        path_of(name)
    }

    fn xattrs(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let all = self.records.iter();
        all.filter_map(|(key, value)| {
            Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.clone()))
        })
        .collect()
    }
}

fn path_of(name: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = name.split(|b| *b == b'/').collect();
    assert!(
        parts
            .iter()
            .all(|part| !matches!(*part, b"" | b"." | b"..")),
        "{}",
        name.escape_ascii()
    );
    parts.join(&0)
}

/// Layers laid over one another. Each name is of an inode.
#[derive(Default)]
pub struct LayerItem {
    names: BTreeMap<Vec<u8>, usize>,
    inodes: Vec<Node>,
}

impl LayerItem {
    /// Lays a layer over what is there, as the image-spec has it (layer.md). Wants what docs/format.md says of layers:
    /// every parent once and before its child, nothing twice, no whiteout for what is not there.
    pub fn apply(&mut self, tar: &[u8]) {
        let members = members(tar);
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut own: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut last: Option<Vec<u8>> = None;
        for member in &members {
            let path = member.path();
            let shown = path.escape_ascii().to_string();
            let (parent, name) = match path.iter().rposition(|b| *b == 0) {
                Some(end) => (&path[..end], &path[end + 1..]),
                None => (&[][..], &path[..]),
            };
            let in_directory = |own: &BTreeMap<Vec<u8>, usize>| {
                own.get(parent)
                    .is_some_and(|inode| self.inodes[*inode].kind == Kind::Directory)
            };
            assert!(
                path.is_empty() || in_directory(&own),
                "{shown}: its directory is no member before it"
            );
            if let Some(hidden) = name.strip_prefix(b".wh.") {
                let gone = if parent.is_empty() {
                    hidden.to_vec()
                } else {
                    [parent, b"\0", hidden].concat()
                };
                let Member {
                    flag,
                    mode,
                    uid,
                    gid,
                    mtime,
                    content,
                    records,
                    ..
                } = member;
                assert!(
                    (*flag, *mode, *uid, *gid, *mtime) == (b'0', 0o644, 0, 0, 0),
                    "{shown}"
                );
                assert!(
                    content.is_empty() && records.iter().all(|(key, _)| key == b"path"),
                    "{shown}"
                );
                assert!(
                    self.names.contains_key(&gone),
                    "{shown}: a whiteout of what is not there"
                );
                assert!(seen.insert(gone.clone()), "{shown}: twice");
                assert!(
                    last.replace(gone.clone()) < Some(gone.clone()),
                    "{shown}: out of order"
                );
                self.remove(&gone);
                continue;
            }
            assert!(seen.insert(path.clone()), "{shown}: twice");
            assert!(
                last.replace(path.clone()) < Some(path.clone()),
                "{shown}: out of order"
            );
            let inode = self.inode_of(member, &own);
            let is_directory = self.inodes[inode].kind == Kind::Directory;
            let was = self.names.get(&path).map(|was| &self.inodes[*was].kind);
            if was.is_some_and(|was| !is_directory || *was != Kind::Directory) {
                self.remove(&path);
            }
            self.names.insert(path.clone(), inode);
            own.insert(path, inode);
        }
    }

    fn inode_of(&mut self, member: &Member, own: &BTreeMap<Vec<u8>, usize>) -> usize {
        let kind = match member.flag {
            b'0' => Kind::File(member.content.clone()),
            b'2' => Kind::Symlink(member.link.clone()),
            b'3' => Kind::CharDevice(member.device.0, member.device.1),
            b'4' => Kind::BlockDevice(member.device.0, member.device.1),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => {
                let linked = path_of(&member.link);
                let inode = own
                    .get(&linked)
                    .unwrap_or_else(|| panic!("{} is not in the layer", linked.escape_ascii()));
                let node = &self.inodes[*inode];
                let Member {
                    mode,
                    uid,
                    gid,
                    mtime,
                    ..
                } = member;
                assert_eq!(
                    (*mode, *uid, *gid, *mtime),
                    (node.mode, node.uid, node.gid, node.mtime)
                );
                assert!(member.content.is_empty() && member.xattrs().is_empty());
                return *inode;
            }
        };
        assert!(member.flag == b'0' || member.content.is_empty());
        let Member {
            mode,
            uid,
            gid,
            mtime,
            ..
        } = *member;
        self.inodes.push(Node {
            kind,
            mode,
            uid,
            gid,
            mtime,
            xattrs: member.xattrs(),
            first_name: None,
        });
        self.inodes.len() - 1
    }

    fn remove(&mut self, path: &[u8]) {
        let beneath = [path, b"\0"].concat();
        self.names
            .retain(|name, _| name != path && !name.starts_with(&beneath));
    }

    pub fn into_tree(self) -> Tree {
        let mut groups: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
        for (name, inode) in &self.names {
            if self.inodes[*inode].kind != Kind::Directory {
                groups.entry(*inode).or_default().push(name.clone());
            }
        }
        let mut tree: Tree = self
            .names
            .into_iter()
            .map(|(name, inode)| (name, self.inodes[inode].clone()))
            .collect();
        name_groups(&mut tree, groups.into_values());
        tree
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Decompresses a layer by its media type.
pub fn decompressed(blob: &[u8], media_type: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.tar")
        .unwrap()
    {
        "" => bytes.extend_from_slice(blob),
        "+gzip" => drop(
            flate2::bufread::GzDecoder::new(blob)
                .read_to_end(&mut bytes)
                .unwrap(),
        ),
        "+zstd" => drop(
            zstd::Decoder::new(blob)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap(),
        ),
        other => panic!("{other}"),
    }
    bytes
}

/// Where the blobs of an image are.
pub trait Blobs {
    /// The blob with this SHA-256.
    fn blob(&self, hex: &str) -> Vec<u8>;
}

/// An image layout, such as a store.
pub struct Layout<'a>(pub &'a Path);

impl Blobs for Layout<'_> {
    fn blob(&self, hex: &str) -> Vec<u8> {
        let path = self.0.join("blobs/sha256").join(hex);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

/// The files of an archive, by name.
pub struct Archive(pub BTreeMap<String, Vec<u8>>);

impl Archive {
    pub fn read(path: &Path) -> Self {
        let tar = std::fs::read(path).unwrap();
        let mut files = BTreeMap::new();
        for member in members(&tar) {
            let name = String::from_utf8(member.name).unwrap();
            assert!(
                !name.starts_with("blobs/") || member.offset.is_multiple_of(4096),
                "{name}"
            );
            assert!(files.insert(name, member.content).is_none());
        }
        Self(files)
    }

    /// The digests of its images, by name.
    pub fn images(&self) -> BTreeMap<String, String> {
        images_of(&self.0["index.json"])
    }
}

impl Blobs for Archive {
    fn blob(&self, hex: &str) -> Vec<u8> {
        self.0[&format!("blobs/sha256/{hex}")].clone()
    }
}

/// The digests that an index has, by image name; those without a name are left out.
pub fn images_of(index: &[u8]) -> BTreeMap<String, String> {
    let index: Value = serde_json::from_slice(index).unwrap();
    let named = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|manifest| {
            let name = manifest["annotations"]["org.opencontainers.image.ref.name"].as_str()?;
            Some((
                name.to_owned(),
                manifest["digest"].as_str().unwrap().to_owned(),
            ))
        });
    named.collect()
}

fn hex(digest: &Value) -> &str {
    digest.as_str().unwrap().strip_prefix("sha256:").unwrap()
}

/// The blob that a descriptor means. Wants length and digest to be right.
pub fn described(descriptor: &Value, blobs: &dyn Blobs) -> Vec<u8> {
    let blob = blobs.blob(hex(&descriptor["digest"]));
    assert_eq!(
        blob.len() as u64,
        descriptor["size"].as_u64().unwrap(),
        "{descriptor}"
    );
    assert_eq!(sha256(&blob), hex(&descriptor["digest"]), "{descriptor}");
    blob
}

/// The uncompressed layers of an image, the lowest first. Wants all digests, diff_ids and lengths to be right.
pub fn layers_of(manifest_digest: &str, blobs: &dyn Blobs) -> Vec<Vec<u8>> {
    let bytes = blobs.blob(manifest_digest.strip_prefix("sha256:").unwrap());
    assert_eq!(format!("sha256:{}", sha256(&bytes)), manifest_digest);
    assert!(!String::from_utf8_lossy(&bytes).contains("docker"));
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let config: Value = serde_json::from_slice(&described(&manifest["config"], blobs)).unwrap();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(
        (layers.len(), layers.len()),
        (diff_ids.len(), config["history"].as_array().unwrap().len())
    );
    let layers = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
        let tar = decompressed(
            &described(layer, blobs),
            layer["mediaType"].as_str().unwrap(),
        );
        assert_eq!(sha256(&tar), hex(diff_id), "{layer}");
        tar
    });
    layers.collect()
}

/// The tree of an image: its layers, applied.
pub fn tree_of(manifest_digest: &str, blobs: &dyn Blobs) -> Tree {
    let mut laid = LayerItem::default();
    layers_of(manifest_digest, blobs)
        .iter()
        .for_each(|layer| laid.apply(layer));
    laid.into_tree()
}
