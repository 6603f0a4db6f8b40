//! What is measured: each case readies its stores and copies, and says who runs in turn. What must be so for the figures to
//! mean anything, such as that nothing is read of an unchanged root, is checked before.

use crate::Result;
use crate::machine::cores;
use crate::measure::{Contender, Measured, in_turn, output, remove};
use crate::tools::{self, Backup, OURS, RECORD, words};
use crate::trees::{Tree, complete};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One comparison.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Or once, on a tree of its own.
    pub(crate) on_each_tree: bool,
    /// Also measured on trees that are only in the plot.
    pub(crate) plotted: bool,
    run: fn(&mut Bench, &Tree) -> Result<Vec<Measured>>,
}

impl Case {
    const fn new(name: &'static str, run: fn(&mut Bench, &Tree) -> Result<Vec<Measured>>) -> Self {
        Self {
            name,
            on_each_tree: true,
            plotted: false,
            run,
        }
    }
}

pub(crate) const CASES: [Case; 13] = [
    Case {
        plotted: true,
        ..Case::new("unchanged", unchanged)
    },
    Case::new("relocated", relocated),
    Case {
        plotted: true,
        ..Case::new("first", first)
    },
    Case::new("first-gzip", first_gzip),
    Case::new("first-buildah", first_buildah),
    Case::new("delta", delta),
    Case::new("export", export),
    Case::new("export-btrfs", |bench, tree| {
        export_on(bench, tree, "btrfs")
    }),
    Case::new("export-xfs", |bench, tree| export_on(bench, tree, "xfs")),
    Case::new("diff", diff),
    Case::new("restore", restore),
    Case::new("restore-1-percent", restore_a_hundredth),
    Case {
        on_each_tree: false,
        ..Case::new("sparse", sparse)
    },
];

/// What a case has measured on a tree; ours comes first.
pub(crate) struct Outcome {
    pub(crate) case: &'static str,
    pub(crate) tree: String,
    pub(crate) files: Option<usize>,
    /// For the plot, not for the tables.
    pub(crate) only_plotted: bool,
    pub(crate) measured: Vec<Measured>,
}

/// What a tree has, as recorded.
pub(crate) struct Facts {
    pub(crate) tree: String,
    pub(crate) entries: u64,
    pub(crate) content_bytes: u64,
}

/// Where the work is done, and what came of it.
pub(crate) struct Bench {
    binary: PathBuf,
    scratch: PathBuf,
    rounds: u32,
    backups_up_to: usize,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) facts: Vec<Facts>,
}

impl Bench {
    /// restic and borg have no part on generated trees with more than `backups_up_to` files.
    pub(crate) fn new(
        dir: &Path,
        binary: &Path,
        rounds: u32,
        backups_up_to: usize,
    ) -> Result<Self> {
        let binary = binary
            .canonicalize()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let (outcomes, facts) = (Vec::new(), Vec::new());
        let bench = Self {
            binary,
            scratch: dir.join("scratch"),
            rounds,
            backups_up_to,
            outcomes,
            facts,
        };
        bench.forget()?;
        Ok(bench)
    }

    pub(crate) fn measure(&mut self, case: &Case, tree: &Tree, only_plotted: bool) -> Result<()> {
        eprintln!("== {} on {}", case.name, tree.name);
        fs::create_dir_all(self.place())?;
        let measured = (case.run)(self, tree)?;
        remove(&self.place())?;
        let (case, tree, files) = (case.name, tree.name.clone(), tree.files);
        self.outcomes.push(Outcome {
            case,
            tree,
            files,
            only_plotted,
            measured,
        });
        Ok(())
    }

    /// Removes what was made for the last tree.
    pub(crate) fn forget(&self) -> Result<()> {
        remove(&self.scratch)
    }

    /// What is here is gone when the case is over.
    fn place(&self) -> PathBuf {
        self.scratch.join("case")
    }

    /// The store that has recorded the tree, for all cases of this tree.
    fn store(&self) -> PathBuf {
        self.scratch.join("store")
    }

    /// The image of the tree that the store gave.
    fn archive(&self) -> PathBuf {
        self.scratch.join("archive.tar")
    }

    /// The store's database when it had recorded this tree and nothing else.
    fn database(&self) -> PathBuf {
        self.scratch.join(RECORDS[0])
    }

    fn command(&self, store: &Path, words: Vec<OsString>) -> Vec<OsString> {
        let mut all = words![&self.binary, "-q", "--store", store];
        all.extend(words);
        all
    }

    fn ours<'a>(&self, store: &Path, words: Vec<OsString>) -> Contender<'a> {
        Contender::new(OURS, self.command(store, words))
    }

    /// Runs ours outside of any measurement.
    fn json(&self, words: Vec<OsString>) -> Result<Value> {
        let mut words = self.command(&self.store(), words);
        words.push("--json".into());
        Ok(serde_json::from_slice(&output(
            Command::new(&words[0]).args(&words[1..]),
        )?)?)
    }

    fn in_turn(&self, all: Vec<Contender>) -> Result<Vec<Measured>> {
        in_turn(all, self.rounds, &self.scratch)
    }

    /// Brings the store to where it has recorded the tree and seen no other root, and makes the archive.
    fn record(&mut self, tree: &Tree) -> Result<()> {
        if self.database().exists() {
            return put_back(&self.scratch, &self.store());
        }
        let words = tools::export_root(&tree.root, &self.archive());
        let first = self.json(words.clone())?;
        let again = self.json(words)?;
        if again["files_read"] != 0 || again["bytes_written"] != 0 {
            return Err(format!(
                "{} does not count as unchanged: {again}",
                tree.root.display()
            )
            .into());
        }
        for name in RECORDS {
            fs::copy(self.store().join(name), self.scratch.join(name))?;
        }
        self.facts.push(Facts {
            tree: tree.name.clone(),
            entries: first["entries"].as_u64().unwrap_or_default(),
            content_bytes: first["content_bytes"].as_u64().unwrap_or_default(),
        });
        Ok(())
    }
}

/// What the store has recorded, and what lists it.
const RECORDS: [&str; 2] = ["rootstrata.sqlite", "index.json"];

/// Puts the store back to where it had seen no other root.
fn put_back(records: &Path, store: &Path) -> Result<()> {
    for name in ["rootstrata.sqlite-wal", "rootstrata.sqlite-shm"] {
        remove(&store.join(name))?;
    }
    for name in RECORDS {
        fs::copy(records.join(name), store.join(name))
            .map_err(|e| format!("{}: {e}", store.display()))?;
    }
    Ok(())
}

/// The layers of a snapshot that were not there before.
fn new_layers(snapshot: &Value) -> usize {
    let layers = snapshot["layers"].as_array().into_iter().flatten();
    layers.filter(|layer| layer["reused"] == false).count()
}

/// Makes the copy of the tree, with inodes and times of its own.
fn copy(tree: &Tree) -> Result<()> {
    complete(&tree.copy, |part| {
        eprintln!("  copying {}", tree.name);
        let copied = output(Command::new("cp").arg("-a").arg(&tree.root).arg(part));
        copied
            .map(drop)
            .map_err(|e| io::Error::other(e.to_string()))
    })
}

fn unchanged(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    bench.record(tree)?;
    let ours = bench.ours(
        &bench.store(),
        tools::export_root(&tree.root, &bench.archive()),
    );
    let mut all = vec![ours, tools::find(&tree.root)];
    if tree.files.is_none_or(|files| files <= bench.backups_up_to) {
        for backup in [
            Backup::restic(&tree.root, &bench.place()),
            Backup::borg(&tree.root, &bench.place()),
        ] {
            backup.begin()?;
            all.push(backup.again());
        }
    }
    bench.in_turn(all)
}

fn relocated(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    bench.record(tree)?;
    copy(tree)?;
    let list = bench.place().join("list");
    let found = output(
        Command::new("find")
            .arg(&tree.copy)
            .args(["-xdev", "-type", "f", "-print0"]),
    )?;
    fs::write(&list, found)?;
    let (store, records) = (bench.store(), bench.scratch.clone());
    if new_layers(&bench.json(tools::snapshot(&tree.copy))?) > 0 {
        let (root, copy) = (tree.root.display(), tree.copy.display());
        return Err(format!("{root} is not what it was when it was copied: remove {copy}").into());
    }
    bench.in_turn(vec![
        bench
            .ours(&store, tools::snapshot(&tree.copy))
            .before(|_| put_back(&records, &store)),
        tools::cat(&list, cores()),
    ])
}

fn first(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    let rival = tools::tar_zstd(&tree.root, cores(), &bench.place().join("tar"));
    first_with(bench, tree, "zstd:3", rival)
}

fn first_gzip(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    let rival = tools::tar_pigz(&tree.root, &bench.place().join("tar"));
    first_with(bench, tree, "gzip:6", rival)
}

fn first_buildah(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    let rival = tools::buildah(
        &tree.root,
        &bench.place().join("buildah"),
        &bench.place().join("buildah.tar"),
    );
    first_with(bench, tree, "zstd:3", rival)
}

fn first_with(
    bench: &Bench,
    tree: &Tree,
    compression: &str,
    rival: Contender,
) -> Result<Vec<Measured>> {
    let (store, archive) = (
        bench.place().join("store"),
        bench.place().join("archive.tar"),
    );
    let mut words = tools::export_root(&tree.root, &archive);
    words.extend(words!["--compression", compression]);
    bench.in_turn(vec![
        bench.ours(&store, words).without(store).writes(archive),
        rival,
    ])
}

fn delta(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    bench.record(tree)?;
    copy(tree)?;
    // While it is not a copy it does not have a copy's name, should this not come to its end.
    let changed = tree.copy.with_extension("changed");
    remove(&changed)?;
    fs::rename(&tree.copy, &changed)?;
    bench.json(tools::snapshot(&changed))?;

    let paths = every_nth_file(&changed, 20)?;
    let list = bench.place().join("list");
    let names: Vec<&[u8]> = paths
        .iter()
        .map(|path| path.as_os_str().as_bytes())
        .collect();
    fs::write(&list, names.join(&0))?;
    let rewrite = |round: u32| rewrite(&paths, &tree.root, &changed, round);
    rewrite(bench.rounds + 1)?;
    let seen = bench.json(tools::snapshot(&changed))?;
    if new_layers(&seen) != 1 {
        return Err(
            format!("a rewrite of 5 % of the files does not give one layer: {seen}").into(),
        );
    }

    let script = format!(
        r#""$1" -q --store "$2" snapshot "$3" {} &&
           tar -C "$4" --null -T "$5" -cf - | zstd -q -3 "-T$6" -f -o "$7""#,
        RECORD.join(" ")
    );
    let out = bench.place().join("tar");
    let store = bench.store();
    let words = words![
        &bench.binary,
        &store,
        &tree.root,
        &changed,
        &list,
        cores().to_string(),
        &out
    ];
    let measured = bench.in_turn(vec![
        bench
            .ours(&store, tools::snapshot(&changed))
            .before(rewrite),
        Contender::shell("unchanged + tar | zstd", &script, words).writes(out),
    ])?;

    // As it was, attributes and times too.
    let mut cp = Command::new("xargs");
    cp.args(["-0", "-a"])
        .arg(&list)
        .args(["cp", "-a", "--parents", "-t"])
        .arg(&changed);
    output(cp.current_dir(&tree.root))?;
    fs::rename(&changed, &tree.copy)?;
    Ok(measured)
}

/// One file in `n`, spread over the root; none that is empty or has other names.
fn every_nth_file(root: &Path, n: usize) -> Result<Vec<PathBuf>> {
    let mut find = Command::new("find");
    find.arg(root).args([
        "-xdev", "-type", "f", "-links", "1", "-size", "+0c", "-printf", r"%P\0",
    ]);
    let found = output(&mut find)?;
    let mut all: Vec<&[u8]> = found
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .collect();
    all.sort_unstable();
    Ok(all
        .into_iter()
        .step_by(n)
        .map(|path| OsStr::from_bytes(path).into())
        .collect())
}

/// Writes files again, with content that they never had in another round.
fn rewrite(paths: &[PathBuf], from: &Path, to: &Path, round: u32) -> Result<()> {
    for path in paths {
        let mut content = fs::read(from.join(path))?;
        content[0] ^= round as u8 + 1;
        fs::write(to.join(path), content)?;
    }
    Ok(())
}

fn export(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    bench.record(tree)?;
    export_beside(
        bench,
        &bench.store(),
        &bench.archive(),
        "auto",
        &bench.place(),
    )
}

fn export_beside(
    bench: &Bench,
    store: &Path,
    archive: &Path,
    reflink: &str,
    place: &Path,
) -> Result<Vec<Measured>> {
    let (ours, theirs) = (place.join("ours.tar"), place.join("theirs.tar"));
    bench.in_turn(vec![
        bench
            .ours(store, words!["export", "s", "-o", &ours])
            .writes(ours),
        tools::cp(reflink, archive, &theirs),
    ])
}

/// On a filesystem of another kind, in a file.
fn export_on(bench: &mut Bench, tree: &Tree, kind: &str) -> Result<Vec<Measured>> {
    bench.record(tree)?;
    let (image, mount) = (bench.place().join("image"), bench.place().join("mount"));
    // The blobs, the archive, both outputs; and the database.
    let room = 4 * fs::metadata(bench.archive())?.len()
        + fs::metadata(bench.database())?.len()
        + (2 << 30);
    File::create(&image)?.set_len(room)?;
    output(
        Command::new(format!("mkfs.{kind}"))
            .args(["-q", "-f"])
            .arg(&image),
    )?;
    fs::create_dir(&mount)?;
    output(
        Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &mount]),
    )?;
    let mounted = Mounted(mount);
    let (store, archive) = (mounted.0.join("store"), mounted.0.join("archive.tar"));
    output(Command::new("cp").arg("-a").args([&bench.store(), &store]))?;
    output(Command::new("cp").args([&bench.archive(), &archive]))?;
    export_beside(bench, &store, &archive, "never", &mounted.0)
}

/// Unmounted when the case is over, before its files are removed.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = output(Command::new("umount").arg(&self.0)) {
            eprintln!("{error}");
        }
    }
}

fn diff(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    let other_day = tree
        .other_day
        .as_deref()
        .ok_or("there is no other day to compare with")?;
    bench.record(tree)?;
    let id = |root| {
        bench
            .json(tools::snapshot(root))
            .map(|seen| seen["id"].to_string())
    };
    let (from, to) = (id(&tree.root)?, id(other_day)?);
    bench.in_turn(vec![
        bench
            .ours(&bench.store(), words!["diff", from, to])
            .exits_with(1),
        tools::diff(&tree.root, other_day),
    ])
}

fn restore(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    bench.record(tree)?;
    let memory = memory(bench)?;
    let (ours, theirs) = (memory.0.join("ours"), memory.0.join("theirs"));
    let seen = bench.json(tools::restore(&ours))?;
    let (store, records) = (bench.store(), bench.scratch.clone());
    put_back(&records, &store)?; // which has never seen the directory, and reads all of it
    let read = bench.json(tools::snapshot(&ours))?;
    if seen["complete"] != true || read["files_read"] == 0 || new_layers(&read) > 0 {
        return Err(format!("what was restored is not what was recorded: {seen} {read}").into());
    }
    let unpack = untar(bench, tree, &theirs)?;
    let ours = bench.ours(&store, tools::restore(&ours)).without(ours);
    bench.in_turn(vec![ours.before(|_| put_back(&records, &store)), unpack])
}

fn restore_a_hundredth(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    bench.record(tree)?;
    let memory = memory(bench)?;
    let (ours, theirs) = (memory.0.join("ours"), memory.0.join("theirs"));
    bench.json(tools::restore(&ours))?;
    let paths = every_nth_file(&ours, 100)?;
    let rewrite = |round: u32| rewrite(&paths, &tree.root, &ours, round);
    rewrite(bench.rounds + 1)?;
    let counts = ["files_written", "made", "adjusted", "removed", "extra"];
    for expected in [paths.len(), 0] {
        let seen = bench.json(tools::restore(&ours))?;
        if counts.map(|count| seen[count].as_u64())
            != [expected, expected, 0, 0, 0].map(|n| Some(n as u64))
        {
            return Err(
                format!("{expected} files were to be put back and nothing else: {seen}").into(),
            );
        }
    }
    let unpack = untar(bench, tree, &theirs)?;
    bench.in_turn(vec![
        bench
            .ours(&bench.store(), tools::restore(&ours))
            .before(rewrite),
        unpack,
    ])
}

/// A place in memory: neither side syncs what it unpacks, and a disk that falls behind would be all that is measured.
fn memory(bench: &Bench) -> Result<Mounted> {
    let mount = bench.place().join("memory");
    fs::create_dir(&mount)?;
    output(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=90%,nr_inodes=0", "tmpfs"])
            .arg(&mount),
    )?;
    Ok(Mounted(mount))
}

/// Packs the tree, and returns who unpacks it into `directory`, which has as many names then.
fn untar<'a>(bench: &Bench, tree: &Tree, directory: &Path) -> Result<Contender<'a>> {
    let file = bench.place().join("tar");
    tools::tar_zstd(&tree.root, cores(), &file).once(&bench.scratch)?;
    tools::untar_zstd(&file, directory).once(&bench.scratch)?;
    let names = |root: &Path| -> Result<usize> {
        let found = output(
            Command::new("find")
                .arg(root)
                .args(["-xdev", "-printf", r"\0"]),
        )?;
        Ok(found.len())
    };
    let (packed, unpacked) = (names(&tree.root)?, names(directory)?);
    if packed != unpacked {
        return Err(format!("tar made {unpacked} of {packed} names").into());
    }
    Ok(tools::untar_zstd(&file, directory))
}

/// Only the memory is of interest.
fn sparse(bench: &mut Bench, tree: &Tree) -> Result<Vec<Measured>> {
    let store = bench.place().join("store");
    let ours = bench
        .ours(&store, tools::snapshot(&tree.root))
        .without(store);
    in_turn(vec![ours], 1, &bench.scratch)
}
