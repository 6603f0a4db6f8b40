//! rpm databases made by hand, as rpm's SQLite backend keeps them, of packages whose files lie in a root.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `RPMFILE_CONFIG`.
pub const CONFIG: u32 = 1;
/// `RPMFILE_GHOST`.
pub const GHOST: u32 = 1 << 6;

/// A file of a package.
#[derive(Clone, Copy, Debug)]
pub struct RpmFile<'a> {
    /// Absolute, as the package spells it.
    pub path: &'a str,
    /// `RPMFILE_…` bits (tag 1037).
    pub flags: u32,
    /// `RPMFILE_STATE_…` (tag 1029): 0 normal, 1 replaced, 2 not installed, 3 on a shared filesystem, 4 of the wrong colour.
    pub state: u8,
}

/// Files as packages usually have them.
pub fn files<'a>(paths: &[&'a str]) -> Vec<RpmFile<'a>> {
    let file = |path: &&'a str| RpmFile {
        path,
        flags: 0,
        state: 0,
    };
    paths.iter().map(file).collect()
}

/// Makes the database of a root: packages as `NAME-VERSION`, of release 1 and architecture x86_64, each with what its files
/// are in the root right now.
pub fn install(root: &Path, packages: &[(&str, Vec<RpmFile>)]) {
    let directory = root.join("usr/lib/sysimage/rpm");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("rpmdb.sqlite");
    let _ = std::fs::remove_file(&path);
    let database = rusqlite::Connection::open(path).unwrap();
    database
        .execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        .unwrap();
    for (name, files) in packages {
        let header = header(root, name, files);
        database
            .execute("INSERT INTO Packages (blob) VALUES (?)", [header])
            .unwrap();
    }
}

fn header(root: &Path, name: &str, files: &[RpmFile]) -> Vec<u8> {
    let (name, version) = name.rsplit_once('-').unwrap();
    let mut fields = Fields::default();
    fields.add(1000, 6, 1, text(name));
    fields.add(1001, 6, 1, text(version));
    fields.add(1002, 6, 1, text("1"));
    fields.add(1022, 6, 1, text("x86_64"));
    let count = files.len() as u32;
    let all: Vec<_> = files
        .iter()
        .map(|file| {
            let at = root.join(file.path.trim_start_matches('/'));
            (at.symlink_metadata().ok(), std::fs::read_link(at).ok())
        })
        .collect();
    let number = |of: fn(&std::fs::Metadata) -> u32| -> Vec<u32> {
        let values = all.iter().map(|(metadata, _)| metadata.as_ref());
        values.map(|metadata| metadata.map_or(0, of)).collect()
    };
    fields.numbers(1028, &number(|metadata| metadata.len() as u32));
    let modes = number(MetadataExt::mode);
    let modes = modes.iter().flat_map(|mode| (*mode as u16).to_be_bytes());
    fields.add(
        1029,
        1,
        count,
        files.iter().map(|file| file.state).collect(),
    );
    fields.add(1030, 3, count, modes.collect());
    fields.numbers(1034, &number(|metadata| metadata.mtime() as u32));
    let targets = all.iter().flat_map(|(_, target)| {
        let target = target.as_ref().map(|target| target.as_os_str().as_bytes());
        [target.unwrap_or_default(), b"\0"].concat()
    });
    fields.add(1036, 8, count, targets.collect());
    let flags: Vec<u32> = files.iter().map(|file| file.flags).collect();
    fields.numbers(1037, &flags);
    let places: Vec<u32> = (0..count).collect();
    fields.numbers(1116, &places);
    let split = files.iter().map(|file| file.path.rsplit_once('/').unwrap());
    let (directories, names): (Vec<&str>, Vec<&str>) = split.unzip();
    fields.add(
        1117,
        8,
        count,
        names.iter().flat_map(|name| text(name)).collect(),
    );
    let directories = directories
        .iter()
        .flat_map(|name| text(&format!("{name}/")));
    fields.add(1118, 8, count, directories.collect());
    fields.finish()
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// A header (rpm, "header format"): an index of tags, and their data.
#[derive(Default)]
struct Fields {
    index: Vec<u8>,
    data: Vec<u8>,
}

impl Fields {
    fn add(&mut self, tag: u32, kind: u32, count: u32, bytes: Vec<u8>) {
        if count == 0 {
            return;
        }
        self.data.resize(self.data.len().next_multiple_of(4), 0);
        for number in [tag, kind, self.data.len() as u32, count] {
            self.index.extend(number.to_be_bytes());
        }
        self.data.extend(bytes);
    }

    fn numbers(&mut self, tag: u32, numbers: &[u32]) {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
        self.add(tag, 4, numbers.len() as u32, bytes.collect());
    }

    fn finish(self) -> Vec<u8> {
        let lengths = [self.index.len() as u32 / 16, self.data.len() as u32];
        let lengths = lengths.iter().flat_map(|number| number.to_be_bytes());
        lengths.chain(self.index).chain(self.data).collect()
    }
}
