//! Everything that is parsed, as functions of bytes: they must neither panic nor take more than their bounds, and what they
//! take must read back as it was. `scripts/fuzz` runs them under libFuzzer, `tests/plain/parsers.rs` over their corpora.
//!
//! A parser that is added to the project is added to `ALL`, with a corpus in `corpus/NAME`.

use rootstrata::layer::codec::{Codec, Compression};
use rootstrata::layer::pack::{RepackInput, repack};
use rootstrata::layer::read::{Blob, read};
use rootstrata::layer::side_blob::{LARGEST_BLOB_BYTES, decompress};
use rootstrata::layer::whole::uncompressed;
use rootstrata::model::digest::{DiffId, Digest, LayerKey};
use rootstrata::model::frame_table::FrameTable;
use rootstrata::model::names::{SnapshotRef, check_name, check_series, image_name, series_from};
use rootstrata::model::origin::Origin;
use rootstrata::model::packages::file_list::FileList;
use rootstrata::model::packages::installed_form::{read_installed, write_installed};
use rootstrata::model::packages::owners::Installed;
use rootstrata::model::packages::version;
use rootstrata::model::plan::items_form::{key_of_bytes, read_items, write_items};
use rootstrata::model::policy::Policy;
use rootstrata::model::policy::package_mtimes::{Gathering, Links};
use rootstrata::model::registry_tags as registry;
use rootstrata::model::repository::{ImageName, Reference};
use rootstrata::model::source::{ImageRef, Source as Side};
use rootstrata::model::text::{ContentDifference, Sign, compare_contents};
use rootstrata::model::tree::entry::Xattrs;
use rootstrata::model::tree::overlay::{LayerItem, Overlay};
use rootstrata::model::tree::path::EntryPath;
use rootstrata::oci::index::{Image, merge};
use rootstrata::oci::read::Opened;
use rootstrata::oci::record::{ImageRecord, LayerRecord, PushRecord};
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::query::filter::Filter;
use rootstrata::ops::query::{inspect, log};
use rootstrata::ops::record::{Options, snapshot};
use rootstrata::ops::transfer::export::{Format, Request, export};
use rootstrata::printable::printable;
use rootstrata::rpm::{self, Backend, Header};
use rootstrata::tarball::read::Reader;
use rootstrata::{apk, dpkg};
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A parser under test.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Also of its corpus.
    pub(crate) name: &'static str,
    /// Panics where something is wrong.
    pub(crate) run: fn(&[u8]),
    /// Whether it works on files, so that far fewer runs fit into a second.
    #[allow(dead_code)] // the fuzzer does not ask
    pub(crate) is_slow: bool,
}

/// All of them.
pub(crate) const ALL: &[Target] = &[
    fast("rpm_header", rpm_header),
    slow("rpm_database", rpm_database),
    slow("rpm_normal", rpm_normal),
    slow("rpm_ndb", rpm_ndb),
    slow("rpm_berkeley_db", rpm_berkeley_db),
    fast("rpm_macros", rpm_macros),
    fast("rpm_paths", rpm_paths),
    fast("file_list", file_list),
    fast("reference", reference),
    fast("names", names),
    fast("globs", globs),
    fast("path", path),
    fast("xattrs", xattrs),
    fast("digests", digests),
    fast("printed", printed),
    fast("index", index),
    fast("origin", origin),
    slow("store_index", store_index),
    slow("store_database", store_database),
    fast("gzip", gzip),
    fast("zstd", zstd),
    fast("tar", tar),
    fast("layer", layer),
    slow("image", image),
    slow("docker_archive", docker_archive),
    slow("compressed", compressed),
    fast("dpkg_status", dpkg_status),
    fast("apk_installed", apk_installed),
    fast("versions", versions),
    fast("source", source),
    fast("text", text),
    fast("records", records),
    fast("items", items),
    fast("installed", installed),
    fast("frames", frames),
    fast("image_name", image_name_of_registry),
    fast("tags", tags),
];

const fn fast(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        is_slow: false,
    }
}

const fn slow(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        is_slow: true,
    }
}

/// A blob of rpm's `Packages` table.
fn rpm_header(data: &[u8]) {
    let Some(header) = Header::parse(data) else {
        return;
    };
    // Nothing in it can be longer than what it was read from, so neither is the list: names, digests and targets.
    assert!(header.files.bytes().len() <= 40 * data.len() + 64);
    let list = FileList::from_bytes(header.files.bytes().to_vec())
        .expect("a list that was made reads back");
    assert_eq!(list, header.files);
    let directories = list.directories().count();
    assert!(list.files().all(|file| file.directory < directories));
}

fn file_list(data: &[u8]) {
    if let Some(list) = FileList::from_bytes(data.to_vec()) {
        assert_eq!(list.bytes(), data);
        assert_eq!(list.files().count(), list.len());
        list.directories().for_each(drop);
    }
}

thread_local! {
    static SCRATCH: tempfile::TempDir = {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        made.expect("a directory for files")
    };
}

/// A database of two packages as rpm makes it, with an index.
fn sound_database() -> Vec<u8> {
    SCRATCH.with(|scratch| {
        let path = scratch.path().join("sound.sqlite");
        let database = rusqlite::Connection::open(&path).expect("a database");
        let tables = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL);
            CREATE TABLE 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));
            CREATE INDEX 'Name_key_idx' ON 'Name'(key ASC);";
        database.execute_batch(tables).expect("SQL");
        for name in ["two", "one"] {
            // Tag, type, offset and count of name, version, release and time of installation; then what is at the offset.
            let field = |tag: u32, kind: u32, at: u32| {
                let numbers = [tag, kind, at, 1];
                numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>()
            };
            let text = [name.as_bytes(), b"\0"].concat();
            let data = [[1, 2, 3, 4].as_slice(), &text].concat();
            let head = [4, data.len() as u32].iter().flat_map(|n| n.to_be_bytes()).collect();
            let fields = [field(1000, 6, 4), field(1001, 6, 4), field(1002, 6, 4), field(1008, 4, 0)].concat();
            let header: Vec<u8> = [head, fields, data].concat();
            database.execute("INSERT INTO Packages (blob) VALUES (?)", [header]).expect("SQL");
            let number = database.last_insert_rowid();
            database.execute("INSERT INTO Name VALUES (?, ?, 0)", (name, number)).expect("SQL");
        }
        drop(database);
        std::fs::read(path).expect("a file")
    })
}

/// Writes the file of rpm's SQLite backend to the scratch directory: `data` as it is, or as changes of a sound one.
fn write_database(scratch: &Path, data: &[u8]) {
    thread_local! {
        static SOUND: Vec<u8> = sound_database();
    }
    remove_beside(scratch);
    let bytes = match data.split_first() {
        Some((0, changes)) => SOUND.with(|sound| changed(sound, changes)),
        _ => data.to_vec(),
    };
    std::fs::write(scratch.join(rpm::SQLITE), bytes).expect("room for a file");
}

/// Removes what SQLite leaves beside a database.
fn remove_beside(scratch: &Path) {
    for name in [
        "rpmdb.sqlite-wal",
        "rpmdb.sqlite-shm",
        "rpmdb.sqlite-journal",
    ] {
        let _ = std::fs::remove_file(scratch.join(name));
    }
}

/// The packages of the database in the scratch directory; `None` for a database that is refused.
fn packages_of(scratch: &Path) -> Option<Vec<String>> {
    let mut packages = Vec::new();
    let read = rpm::read(
        Backend::Sqlite,
        scratch,
        Path::new("/rpmdb.sqlite"),
        |header| {
            packages.push(header.package.to_string());
        },
    );
    assert!(packages.len() <= 1 << 16);
    packages.sort_unstable();
    match read {
        Ok(()) => Some(packages),
        Err(error) => {
            assert!(error.to_string().contains("/rpmdb.sqlite"));
            None
        }
    }
}

/// The file of rpm's SQLite backend.
fn rpm_database(data: &[u8]) {
    SCRATCH.with(|scratch| {
        write_database(scratch.path(), data);
        packages_of(scratch.path());
    });
}

/// The same, made anew: it has the same packages, or is refused, and made anew once more it stays as it is.
fn rpm_normal(data: &[u8]) {
    let normalised = |scratch: &Path| {
        let mut out = Vec::new();
        let made = rpm::normalised(scratch, Path::new("/rpmdb.sqlite"), 9, &mut out);
        made.map(|()| out)
    };
    SCRATCH.with(|scratch| {
        let scratch = scratch.path();
        write_database(scratch, data);
        match normalised(scratch) {
            Ok(bytes) => {
                let before = packages_of(scratch);
                remove_beside(scratch);
                std::fs::write(scratch.join(rpm::SQLITE), &bytes).expect("room for a file");
                assert_eq!(packages_of(scratch), before);
                assert!(normalised(scratch).expect("a sound database") == bytes);
            }
            Err(error) => assert!(error.to_string().contains("/rpmdb.sqlite")),
        }
    });
}

/// The file of rpm's ndb backend. The sums of its packages are set right, or few changes would reach a header.
fn rpm_ndb(data: &[u8]) {
    let mut bytes = data.to_vec();
    set_sums(&mut bytes);
    rpm_file(Backend::Ndb, &bytes);
}

/// The file of rpm's Berkeley DB backend.
fn rpm_berkeley_db(data: &[u8]) {
    rpm_file(Backend::BerkeleyDb, data);
}

/// Puts the sum of each package of ndb behind the package, where the slot leads to a place in the file.
fn set_sums(bytes: &mut [u8]) {
    let number = |bytes: &[u8], at: usize| {
        let four = bytes[at..].first_chunk().copied();
        u32::from_le_bytes(four.unwrap_or_default()) as usize
    };
    for slot in (32..bytes.len().saturating_sub(16).min(4096)).step_by(16) {
        let (at, length) = (number(bytes, slot + 8) * 16, number(bytes, slot + 12) * 16);
        let Some(body_bytes) = length.checked_sub(12) else {
            continue;
        };
        let Some(body) = bytes
            .get(at..)
            .and_then(|bytes| bytes.get(..body_bytes + 4))
        else {
            continue;
        };
        let (mut low, mut high) = (1_u32, 0_u32);
        for byte in &body[..body_bytes] {
            low = (low + u32::from(*byte)) % 65_521;
            high = (high + low) % 65_521;
        }
        let sum = high << 16 | low;
        bytes[at + body_bytes..at + body_bytes + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

fn rpm_file(backend: Backend, bytes: &[u8]) {
    SCRATCH.with(|scratch| {
        let scratch = scratch.path();
        std::fs::write(scratch.join(backend.file_name()), bytes).expect("room for a file");
        let (mut packages, mut lists_bytes) = (0, 0);
        let read = rpm::read(backend, scratch, Path::new("/Packages"), |header| {
            packages += 1;
            lists_bytes += header.files.bytes().len();
        });
        // Nothing is read twice, so no packages are larger than their file.
        assert!(packages * 8 <= bytes.len() && lists_bytes <= 40 * bytes.len() + 64 * packages);
        if let Err(error) = read {
            assert!(error.to_string().contains("/Packages"));
        }
    });
}

fn rpm_macros(data: &[u8]) {
    let configured = rpm::configured([data]);
    if let Some(directory) = configured.directory {
        assert!(directory.starts_with('/') && directory.len() <= 4096);
    }
}

/// Bytes with changes: each is a place in 3 bytes and what is combined with the byte there.
fn changed(bytes: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let length = bytes.len();
    for change in changes.chunks_exact(4) {
        let at = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize;
        bytes[at % length] ^= change[3];
    }
    bytes
}

/// Lines `LINK TARGET` are the symlinks of a root, others directories of a package.
fn rpm_paths(data: &[u8]) {
    let mut links = Links::new();
    let mut directories = Vec::new();
    for line in data.split(|b| *b == b'\n').take(64) {
        match line.iter().position(|b| *b == b' ') {
            Some(space) => {
                if let Some(at) = EntryPath::from_slashed(&line[..space]) {
                    links.insert(at, line[space + 1..].into());
                }
            }
            None => directories.push(line),
        }
    }
    let mut gathering = Gathering::new(&links);
    let files = (0..directories.len() + 1).map(|at| (at, &b"name"[..], 5));
    gathering.add(&directories, files, |path, _| {
        assert!(EntryPath::from_key(path.key()).is_some());
        true
    });
    gathering.finish();
}

fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(reference) = SnapshotRef::parse(text) {
        assert_eq!(
            SnapshotRef::parse(&reference.to_string()).expect("what is shown is read"),
            reference
        );
    }
}

fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(series) = series_from(text) {
        check_series(&series).expect("a name that was made is one");
    }
    if check_series(text).is_ok() && check_name("stage", text).is_ok() {
        let name = image_name(text, text);
        assert!(!name.contains(['+', '/', '@', ' ']) && name.matches(':').count() == 1);
    }
}

/// The first line is a path, the others are globs.
fn globs(data: &[u8]) {
    let mut lines = data.split(|b| *b == b'\n');
    let path = lines
        .next()
        .and_then(EntryPath::from_slashed)
        .unwrap_or_default();
    let globs: Vec<String> = lines
        .take(8)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let policy = Policy {
        exclude: globs.clone(),
        volatile: globs,
        ..Policy::mock()
    };
    if let Ok(rules) = policy.rules("bootstrap") {
        // The root itself is never left out.
        assert!(!rules.excludes(&EntryPath::root()));
        rules.excludes(&path);
        rules.keeps_empty(&path);
        rules.volatility().holds(&path);
    }
    assert_eq!(policy.key(), policy.clone().key());
}

fn path(data: &[u8]) {
    for path in [EntryPath::from_key(data), EntryPath::from_slashed(data)]
        .into_iter()
        .flatten()
    {
        assert_eq!(EntryPath::from_key(path.key()).as_ref(), Some(&path));
        assert_eq!(
            EntryPath::from_slashed(&path.slashed()).as_ref(),
            Some(&path)
        );
        if let Some(parent) = path.parent() {
            assert!(path.is_beneath(&parent) && parent < path && parent.join(path.name()) == path);
        }
        assert!(!path.to_string().contains(char::is_control));
    }
}

fn xattrs(data: &[u8]) {
    if let Some(xattrs) = Xattrs::from_bytes(data) {
        assert_eq!(Xattrs::from_bytes(&xattrs.to_bytes()), Some(xattrs));
    }
}

fn digests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    assert!(Digest::parse(text).is_none_or(|digest| digest.to_string() == text));
    assert!(LayerKey::parse(text).is_none_or(|key| key.to_string() == text));
}

fn printed(data: &[u8]) {
    let text = printable(data);
    assert!(!text.contains(char::is_control) && text.len() <= 12 * data.len());
}

fn index(data: &[u8]) {
    let blob = rootstrata::oci::Blob {
        digest: Digest([7; 32]),
        size_bytes: 9,
    };
    let images = [Image {
        manifest: blob,
        name: Some("s:built".to_owned()),
        origin: None,
    }];
    if let Ok(merged) = merge(data, &images, Path::new("index.json")) {
        let again =
            merge(&merged, &images, Path::new("index.json")).expect("what was merged is an index");
        assert_eq!(again, merged);
        assert!(
            String::from_utf8(merged)
                .expect("JSON is text")
                .contains("s:built")
        );
    }
}

/// A planner, and after a newline labels, as an index claims them.
fn origin(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (planner, labels) = text.split_once('\n').unwrap_or((&text, ""));
    let claims = [
        ("series", "s"),
        ("stage", "built"),
        ("policy", "{}"),
        ("planner", planner),
        ("layer.labels", labels),
    ];
    let claims = claims.map(|(name, value)| (format!("org.rootstrata.{name}"), value.to_owned()));
    let origin = Origin::of(&HashMap::from(claims)).expect("series, stage and policy are there");
    let told = origin.annotations().into_iter();
    let told = told.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(Origin::of(&told.collect()), Some(origin));
}

/// A store with two snapshots, and what it gives.
struct Kept {
    directory: std::path::PathBuf,
    files: Vec<(&'static str, Vec<u8>)>,
    log: String,
    ls: String,
    archive: Vec<u8>,
}

thread_local! {
    static KEPT: Kept = SCRATCH.with(|scratch| Kept::new(scratch.path()));
}

impl Kept {
    fn new(scratch: &Path) -> Self {
        let (directory, root) = (scratch.join("store"), scratch.join("root"));
        std::fs::create_dir_all(root.join("d")).expect("a directory");
        for stage in ["one", "two"] {
            std::fs::write(root.join("d").join(stage), stage).expect("a file");
            let options = Options {
                series: Some("s".to_owned()),
                stage: Some(stage.to_owned()),
                ..Options::default()
            };
            snapshot(&directory, &root, &options, &Silent).expect("a snapshot");
        }
        let names = ["rootstrata.sqlite", "index.json"];
        let files = names
            .map(|name| (name, std::fs::read(directory.join(name)).expect("a file")))
            .into();
        let mut kept = Self {
            directory,
            files,
            log: String::new(),
            ls: String::new(),
            archive: Vec::new(),
        };
        (kept.log, kept.ls, kept.archive) = kept.given().expect("a sound store");
        kept
    }

    /// What the store gives now.
    fn given(&self) -> rootstrata::error::Result<(String, String, Vec<u8>)> {
        let (newest, path) = (SnapshotRef::Id(2), self.directory.with_file_name("out.tar"));
        // The number of a parent goes when the parent goes, so nothing vouches for it.
        let mut log = log::log(&self.directory, &Filter::default(), true)?;
        log.iter_mut().for_each(|one| {
            one.snapshot.parent_id = None;
            one.age_s = 0; // time goes on
        });
        let log = format!("{log:?}");
        let ls = format!(
            "{:?}",
            inspect::ls(&self.directory, &newest, &EntryPath::root())?
        );
        let request = Request {
            snapshot: newest,
            path: path.clone(),
            stream: None,
            format: Format::OciArchive,
            all_stages: true,
            since: None,
            most_layers: None,
            threads: std::num::NonZeroUsize::MIN,
        };
        let _ = std::fs::remove_file(&path);
        export(&self.directory, &request, &Silent)?;
        Ok((log, ls, std::fs::read(path).expect("what was exported")))
    }

    /// Wants a store with this file to give what it gave, or to name what is wrong.
    fn with(&self, name: &str, bytes: &[u8]) {
        for side in [
            "rootstrata.sqlite-wal",
            "rootstrata.sqlite-shm",
            "rootstrata.sqlite-journal",
        ] {
            let _ = std::fs::remove_file(self.directory.join(side));
        }
        for (name, sound) in &self.files {
            std::fs::write(self.directory.join(name), sound).expect("room for a file");
        }
        std::fs::write(self.directory.join(name), bytes).expect("room for a file");
        match self.given() {
            Ok((log, ls, archive)) => {
                assert_eq!(log, self.log);
                assert_eq!(ls, self.ls);
                assert!(archive == self.archive, "another archive");
            }
            Err(error) => {
                assert!(
                    error
                        .to_string()
                        .contains(&self.directory.display().to_string()),
                    "{error}"
                )
            }
        }
    }
}

fn store_index(data: &[u8]) {
    KEPT.with(|kept| kept.with("index.json", data));
}

/// Changes of a sound database.
fn store_database(data: &[u8]) {
    KEPT.with(|kept| kept.with("rootstrata.sqlite", &changed(&kept.files[0].1, data)));
}

/// Far more than a layer of this length may hold; a bomb is stopped at what was recorded.
const MOST_BYTES: u64 = 1 << 16;

fn decoded(codec: Codec, data: &[u8]) {
    let path = Path::new("blob");
    let mut bytes = Vec::new();
    if let Ok(input) = codec.decoder(data, path) {
        let _ = input.take(MOST_BYTES).read_to_end(&mut bytes);
    }
    let source = RepackInput {
        input: Box::new(data),
        path,
        codec,
        diff_id: DiffId([0; 32]),
        tar_bytes: MOST_BYTES,
    };
    let mut out = Vec::new();
    let packed = repack(
        source,
        Compression::None,
        NonZeroUsize::MIN,
        &mut out,
        Path::new("out"),
    );
    assert!(packed.is_err(), "nothing hashes to zeros");
    assert!(out.len() as u64 <= MOST_BYTES + (1 << 20));
}

fn gzip(data: &[u8]) {
    decoded(Codec::Gzip, data);
}

fn zstd(data: &[u8]) {
    decoded(Codec::Zstd, data);
}

fn tar(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut buffer = [0; 512];
    let mut content_bytes = 0;
    while let Ok(Some(found)) = reader.next_member() {
        assert!(!found.path.is_empty() && found.mode <= 0o7777);
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            content_bytes += count;
        }
    }
    assert!(content_bytes <= data.len());
}

/// A layer of anybody's, not compressed.
fn layer(data: &[u8]) {
    let digest = Digest(Sha256::digest(data).into());
    let blob = Blob {
        input: Box::new(data),
        path: Path::new("blob"),
        digest,
    };
    match read(blob, &mut |_, _| Ok(None)) {
        Err(error) => assert!(error.to_string().contains("blob"), "{error}"),
        Ok(found) => {
            assert!(found.items.is_sorted_by(|a, b| a.path() <= b.path()));
            let mut overlay = Overlay::new();
            overlay.apply(found.items.into_iter());
            let tree = overlay.into_tree();
            for pair in tree.entries().windows(2) {
                assert!(pair[0].path < pair[1].path);
                assert!(pair[0].is_directory() || !pair[1].path.is_beneath(&pair[0].path));
            }
        }
    }
}

/// Lines `NAME CONTENT` are the files of a layout.
fn image(data: &[u8]) {
    SCRATCH.with(|scratch| {
        let layout = scratch.path().join("layout");
        let blobs = layout.join("blobs/sha256");
        let _ = std::fs::remove_dir_all(&layout);
        std::fs::create_dir_all(&blobs).expect("a directory");
        for line in data.split(|b| *b == b'\n').take(16) {
            match line.split_first_chunk::<6>() {
                Some((b"index ", json)) => std::fs::write(layout.join("index.json"), json),
                Some((_, json)) => {
                    std::fs::write(blobs.join(Digest(Sha256::digest(json).into()).hex()), json)
                }
                None => Ok(()),
            }
            .expect("room for a file");
        }
        let found = Opened::layout(&layout).and_then(|opened| opened.image(&ImageRef::Only));
        assert!(found.is_ok() || found.is_err_and(|error| error.to_string().contains("layout")));
    });
}

/// An archive as `docker save` writes it.
fn docker_archive(data: &[u8]) {
    let found = Opened::docker_archive(holding(data), Path::new("layout"))
        .and_then(|opened| opened.images(&ImageRef::Only).map(|_| ()));
    assert!(found.is_ok() || found.is_err_and(|error| error.to_string().contains("layout")));
}

/// An archive that is compressed as a whole.
fn compressed(data: &[u8]) {
    match uncompressed(holding(data), Path::new("layout")) {
        Ok(file) => assert!(file.metadata().is_ok_and(|there| there.len() <= 4 << 30)),
        Err(error) => assert!(error.to_string().contains("layout"), "{error}"),
    }
}

fn holding(data: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(data)
        .and_then(|()| file.rewind())
        .expect("room for a file");
    file
}

/// What was read of packages has lists that are sound.
fn check_packages(packages: &[Installed], bytes: usize) {
    assert!(packages.is_sorted_by(|a, b| a.package <= b.package));
    for files in packages.iter().filter_map(|one| one.files.as_ref()) {
        assert_eq!(
            FileList::from_bytes(files.bytes().to_vec()).as_ref(),
            Some(&**files)
        );
        assert!(files.bytes().len() <= 64 * bytes + 64);
    }
}

/// Parts with a NUL between them: the status, then name and content of the other files.
fn dpkg_status(data: &[u8]) {
    let parts: Vec<&[u8]> = data.split(|b| *b == 0).collect();
    let files: HashMap<Vec<u8>, Vec<u8>> = parts[1..]
        .chunks_exact(2)
        .map(|file| (file[0].to_vec(), file[1].to_vec()))
        .collect();
    check_packages(&dpkg::read(parts[0], &files), data.len());
}

fn apk_installed(data: &[u8]) {
    check_packages(&apk::read(data), data.len());
}

/// Three lines are three versions: their order is one.
fn versions(data: &[u8]) {
    let mut lines = data.split(|b| *b == b'\n');
    let [a, b, c] = [(); 3].map(|()| lines.next().unwrap_or_default());
    type Order = fn(&[u8], &[u8]) -> Ordering;
    for compare in [version::rpm as Order, version::dpkg, version::apk] {
        assert!(compare(a, a).is_eq());
        assert_eq!(compare(a, b), compare(b, a).reverse());
        if compare(a, b).is_lt() && compare(b, c).is_lt() {
            assert!(compare(a, c).is_lt(), "{a:?} {b:?} {c:?}");
        }
    }
}

fn source(data: &[u8]) {
    if let Ok(source) = Side::parse(OsStr::from_bytes(data)) {
        let shown = source.to_string();
        assert!(!shown.contains(char::is_control));
        if shown.as_bytes() == data {
            assert_eq!(
                Side::parse(OsStr::new(&shown)).expect("what is shown is read"),
                source
            );
        }
    }
}

/// Two texts with a 0xff between them: what differs, put into the one, gives the other.
fn text(data: &[u8]) {
    let at = data.iter().position(|b| *b == 0xff).unwrap_or(data.len());
    let (old, new) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let ContentDifference::Text(hunks) = compare_contents(old, new) else {
        return;
    };
    assert_eq!(hunks.is_empty(), old == new);
    let mut left = old.split_inclusive(|b| *b == b'\n');
    let (mut patched, mut done) = (Vec::new(), 0);
    for hunk in hunks {
        let before = hunk.old.0 - usize::from(hunk.old.1 > 0);
        left.by_ref()
            .take(before - done)
            .for_each(|line| patched.extend_from_slice(line));
        done = before + hunk.old.1;
        for line in hunk.lines {
            let whole = [&line.bytes[..], if line.is_unended { b"" } else { b"\n" }].concat();
            match line.sign {
                Sign::Added => patched.extend(whole),
                Sign::Removed => assert_eq!(left.next(), Some(&whole[..])),
                Sign::Kept => patched.extend_from_slice(left.next().expect("a line that was kept")),
            }
        }
    }
    left.for_each(|line| patched.extend_from_slice(line));
    assert!(patched == new);
}

/// A record of a registry: what is read of it is written, and read again, and the kinds are not mistaken for each other.
fn records(data: &[u8]) {
    let layer = LayerRecord::of_bytes(data);
    let image = ImageRecord::of_bytes(data);
    let push = PushRecord::of_bytes(data);
    let kinds = [layer.is_some(), image.is_some(), push.is_some()];
    assert!(kinds.iter().filter(|is| **is).count() <= 1);
    if let Some(layer) = layer {
        let bytes = layer.to_bytes().expect("what was read can be written");
        assert_eq!(LayerRecord::of_bytes(&bytes), Some(layer));
    }
    if let Some(image) = image {
        let bytes = image.to_bytes().expect("what was read can be written");
        assert_eq!(ImageRecord::of_bytes(&bytes), Some(image));
    }
    if let Some(push) = push {
        let bytes = push.to_bytes().expect("what was read can be written");
        assert_eq!(PushRecord::of_bytes(&bytes), Some(push));
    }
}

/// The items of a layer, as a registry keeps them: those that are read have the bytes that were read, and so their key.
fn items(data: &[u8]) {
    let Some(items) = read_items(data) else {
        return;
    };
    assert!(items.is_sorted_by(|a, b| a.path() < b.path()));
    let mut written = Vec::new();
    write_items(items.iter().filter_map(LayerItem::as_item), |bytes| {
        written.extend_from_slice(bytes);
    });
    assert!(written == data, "other bytes");
    let policy = Policy::plain().key();
    assert_eq!(key_of_bytes(&policy, &written), key_of_bytes(&policy, data));
}

/// The packages of an image, as a registry keeps them.
fn installed(data: &[u8]) {
    if let Some(installed) = read_installed(data) {
        check_packages(&installed, data.len());
        let written = write_installed(&installed);
        let again = read_installed(&written).expect("what was written is read");
        assert_eq!(write_installed(&again), written);
    }
    // Compressed, they are a blob of anybody's, of which no more is read than this.
    assert!(data.len() as u64 <= LARGEST_BLOB_BYTES);
    if let Ok(bytes) = decompress(data) {
        read_installed(&bytes);
    }
}

/// A length of a blob in eight bytes, and the printed form of its frames.
fn frames(data: &[u8]) {
    let Some((length, text)) = data.split_first_chunk() else {
        return;
    };
    let length = u64::from_le_bytes(*length);
    let text = String::from_utf8_lossy(text);
    if let Some(table) = FrameTable::parse(&text, length) {
        let again = FrameTable::parse(&table.to_string(), length);
        assert_eq!(again, Some(table));
    }
}

/// The name of an image of a registry.
fn image_name_of_registry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match ImageName::parse(&text) {
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
        Ok(name) => {
            let shown = name.to_string();
            assert!(!shown.contains(|c: char| c.is_control() || c == ' '));
            assert_eq!(
                ImageName::parse(&shown).expect("a shown name is read"),
                name
            );
            assert!(!name.repository.name().contains("..") && !name.repository.host().is_empty());
        }
    }
}

/// A tag that a registry lists; after a newline each, a series and a stage.
fn tags(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let [tag, series, stage] = [(); 3].map(|()| lines.next().unwrap_or_default());
    if let Some(key) = registry::layer_of(tag) {
        assert!(registry::is_record(tag) && tag.starts_with(&registry::layer_tag(&key, "")));
    }
    if let Some(image) = registry::image_of(tag) {
        assert_eq!(registry::image_tag(&image), tag);
    }
    let run = registry::run_tag(data.len() as i64, &Digest([3; 32]));
    assert!(registry::is_run(&run) && registry::is_record(&run));
    assert!(!registry::is_run(tag) || registry::is_record(tag));
    if check_series(series).is_ok() && check_name("stage", stage).is_ok() {
        let digest = Digest(Sha256::digest(tag).into());
        let made = [
            registry::moving_tag(series, stage),
            registry::fixed_tag(series, stage, &digest),
        ];
        for tag in made {
            Reference::tag(&tag).expect("a tag that was made is one");
            assert!(!registry::is_record(&tag), "{tag}");
        }
    }
}
