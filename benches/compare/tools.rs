//! The tools that are compared: how each is called for what it does, and which version it is.

use crate::Result;
use crate::measure::{Contender, output, text};
use serde_json::{Map, Value};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const OURS: &str = "rootstrata";

/// Series and stage of the snapshots that are compared.
pub(crate) const RECORD: [&str; 6] = [
    "--series",
    "s",
    "--stage",
    "bootstrap",
    "--profile",
    "plain",
];

/// Words of a command line, from text and paths.
macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(std::ffi::OsString::from($word)),*] };
}
pub(crate) use words;

pub(crate) fn export_root(root: &Path, archive: &Path) -> Vec<OsString> {
    let mut words = words!["export", "--root", root, "-o", archive];
    words.extend(RECORD.map(OsString::from));
    words
}

pub(crate) fn snapshot(root: &Path) -> Vec<OsString> {
    let mut words = words!["snapshot", root];
    words.extend(RECORD.map(OsString::from));
    words
}

/// The snapshot of the tree itself, whatever else was recorded since.
pub(crate) fn restore(directory: &Path) -> Vec<OsString> {
    words!["restore", "1", directory]
}

/// Looks at every path, as any tool that asks for changes must.
pub(crate) fn find<'a>(root: &Path) -> Contender<'a> {
    Contender::new(
        "find",
        words!["find", root, "-xdev", "-printf", r"%i %s %T@ %C@ %p\n"],
    )
}

/// Reads every file of a list, in as many processes as there are processors.
pub(crate) fn cat<'a>(list: &Path, cores: usize) -> Contender<'a> {
    let cores = cores.to_string();
    Contender::new(
        "cat",
        words!["xargs", "-0", "-n", "256", "-P", cores, "-a", list, "cat"],
    )
}

pub(crate) fn tar_zstd<'a>(root: &Path, cores: usize, file: &Path) -> Contender<'a> {
    let script = r#"tar -C "$1" --one-file-system -cf - . | zstd -q -3 "-T$2" -f -o "$3""#;
    Contender::shell("tar | zstd", script, words![root, cores.to_string(), file])
        .writes(file.into())
}

/// With owners, modes and times, as is tar's default for root, and without extended attributes, as is its default, too.
pub(crate) fn untar_zstd<'a>(file: &Path, directory: &Path) -> Contender<'a> {
    let script = r#"mkdir "$2" && zstd -q -d -c "$1" | tar -C "$2" -xf -"#;
    Contender::shell("zstd | tar -x", script, words![file, directory]).without(directory.into())
}

pub(crate) fn tar_pigz<'a>(root: &Path, file: &Path) -> Contender<'a> {
    let script = r#"tar -C "$1" --one-file-system -cf - . | pigz -6 > "$2""#;
    Contender::shell("tar | pigz", script, words![root, file]).writes(file.into())
}

pub(crate) fn cp<'a>(reflink: &str, from: &Path, to: &Path) -> Contender<'a> {
    Contender::new("cp", words!["cp", format!("--reflink={reflink}"), from, to]).writes(to.into())
}

/// Compares two roots by reading both.
pub(crate) fn diff<'a>(from: &Path, to: &Path) -> Contender<'a> {
    Contender::new(
        "diff -r",
        words!["diff", "-rq", "--no-dereference", from, to],
    )
    .exits_with(1)
}

/// A backup program with a repository and caches of its own.
pub(crate) struct Backup {
    tool: &'static str,
    env: Vec<(&'static str, PathBuf)>,
    init: Vec<OsString>,
    backup: Vec<OsString>,
}

impl Backup {
    pub(crate) fn restic(root: &Path, scratch: &Path) -> Self {
        let repository = scratch.join("restic");
        Self {
            tool: "restic",
            env: vec![
                ("RESTIC_PASSWORD", "x".into()),
                ("RESTIC_CACHE_DIR", scratch.join("restic-cache")),
            ],
            init: words!["restic", "-q", "-r", &repository, "init"],
            backup: words![
                "restic",
                "-q",
                "-r",
                &repository,
                "backup",
                "--one-file-system",
                root
            ],
        }
    }

    pub(crate) fn borg(root: &Path, scratch: &Path) -> Self {
        let repository = scratch.join("borg");
        let mut archive = OsString::from(&repository);
        archive.push("::{utcnow:%Y%m%d%H%M%S%f}"); // a new name each time
        let cache = "--files-cache=ctime,size,inode";
        Self {
            tool: "borg",
            env: vec![
                ("BORG_BASE_DIR", scratch.join("borg-base")),
                ("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes".into()),
            ],
            init: words!["borg", "init", "-e", "none", &repository],
            backup: words!["borg", "create", cache, "--one-file-system", archive, root],
        }
    }

    /// Makes the repository and backs up for the first time.
    pub(crate) fn begin(&self) -> Result<()> {
        for words in [&self.init, &self.backup] {
            output(
                Command::new(&words[0])
                    .args(&words[1..])
                    .envs(self.env.iter().map(|(k, v)| (k, v))),
            )?;
        }
        Ok(())
    }

    /// Backs up again.
    pub(crate) fn again<'a>(&self) -> Contender<'a> {
        let contender = Contender::new(self.tool, &self.backup);
        self.env.iter().fold(contender, |contender, (name, value)| {
            contender.env(name, value)
        })
    }
}

/// What Mock's own plugin does: buildah adds all of the root to an empty container and commits that, uncompressed.
pub(crate) fn buildah<'a>(root: &Path, scratch: &Path, out: &Path) -> Contender<'a> {
    let script = r#"
        buildah() { command buildah --root "$1/storage" --runroot "$1/run" --storage-driver overlay "${@:2}"; }
        container=$(buildah "$1" from scratch) && buildah "$1" add -q "$container" "$2" / &&
            buildah "$1" commit -q --format oci "$container" "oci-archive:$3" && buildah "$1" rm "$container""#;
    Contender::shell("buildah", script, words![scratch, root, out]).writes(out.to_owned())
}

/// The first line of what each tool says about its version; null where it is not there.
pub(crate) fn versions(ours: &Path) -> Value {
    let commands: [(&OsStr, &str); 12] = [
        (ours.as_os_str(), "--version"),
        ("find".as_ref(), "--version"),
        ("restic".as_ref(), "version"),
        ("borg".as_ref(), "--version"),
        ("tar".as_ref(), "--version"),
        ("zstd".as_ref(), "--version"),
        ("pigz".as_ref(), "--version"),
        ("buildah".as_ref(), "--version"),
        ("cp".as_ref(), "--version"),
        ("diff".as_ref(), "--version"),
        ("mkfs.btrfs".as_ref(), "--version"),
        ("mkfs.xfs".as_ref(), "-V"),
    ];
    let mut versions = Map::new();
    for (tool, option) in commands {
        let text = text(Command::new(tool).arg(option)).ok();
        let name = Path::new(tool)
            .file_name()
            .unwrap_or(tool)
            .to_string_lossy()
            .into_owned();
        versions.insert(
            name,
            text.and_then(|text| text.lines().next().map(str::to_owned))
                .into(),
        );
    }
    versions.into()
}
