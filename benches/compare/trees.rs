//! The trees that are measured. A generated one is like /usr in its directories, sizes and kinds of files, and always
//! the same for the same number of files.

use crate::Result;
use crate::content::{Kind, fill};
use crate::machine::cores;
use crate::measure::remove;
use crate::random::Random;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// A root to measure, complete.
pub(crate) struct Tree {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    /// How many a generated one has, links included.
    pub(crate) files: Option<usize>,
    /// Where a copy of it is to be.
    pub(crate) copy: PathBuf,
    /// What a real one was on another day.
    pub(crate) other_day: Option<PathBuf>,
}

impl Tree {
    pub(crate) fn existing(name: &str, root: &Path, dir: &Path) -> Result<Self> {
        let root = root
            .canonicalize()
            .map_err(|e| format!("{}: {e}", root.display()))?;
        let copy = dir.join("trees").join(format!("{name}.copy"));
        Ok(Self {
            name: name.to_owned(),
            root,
            files: None,
            copy,
            other_day: None,
        })
    }

    /// The tree with this many files, made where it is not there yet.
    pub(crate) fn generated(files: usize, dir: &Path) -> Result<Self> {
        let name = short(files);
        let root = dir.join("trees").join(&name);
        complete(&root, |part| {
            eprintln!("== making a tree of {files} files");
            generate(part, files)
        })?;
        Ok(Self {
            files: Some(files),
            ..Self::existing(&name, &root, dir)?
        })
    }

    /// One file of 4 GiB that takes no room on the disk.
    pub(crate) fn sparse(dir: &Path) -> Result<Self> {
        let root = dir.join("trees/sparse");
        complete(&root, |part| {
            fs::create_dir_all(part)?;
            File::create(part.join("4GiB"))?.set_len(4 << 30)
        })?;
        Self::existing("sparse", &root, dir)
    }
}

/// Makes a directory beside its place, so that what has its name is complete and is used again.
pub(crate) fn complete(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let part = path.with_extension("part");
    remove(&part)?;
    make(&part)
        .and_then(|()| fs::rename(&part, path))
        .map_err(|e| format!("{}: {e}", part.display()).into())
}

/// 300k for 300000, 1M for 1000000.
pub(crate) fn short(number: usize) -> String {
    match number {
        n if n > 0 && n.is_multiple_of(1_000_000) => format!("{}M", n / 1_000_000),
        n if n > 0 && n.is_multiple_of(1_000) => format!("{}k", n / 1_000),
        n => n.to_string(),
    }
}

/// Where packages have directories of their own, with weights.
const HOMES: [(&str, u64); 7] = [
    ("usr/share", 34),
    ("usr/lib", 22),
    ("usr/include", 14),
    ("usr/lib/python3/dist-packages", 12),
    ("usr/share/doc", 10),
    ("usr/lib/x86_64-linux-gnu", 6),
    ("etc", 2),
];

/// Directories that packages share.
const SHARED: [&str; 6] = [
    "usr/bin",
    "usr/lib64",
    "usr/share/man/man1",
    "usr/share/man/man3",
    "usr/share/icons/hicolor/48x48/apps",
    "var/lib/info",
];

/// 2026-01-01, the time of the first package's files.
const FIRST_TIME: Duration = Duration::from_secs(1_767_225_600);

fn generate(root: &Path, files: usize) -> io::Result<()> {
    for shared in SHARED {
        fs::create_dir_all(root.join(shared))?;
    }
    // Each package depends on its number alone, so it does not matter who makes it.
    let mut random = Random::new(files as u64);
    let mut packages = Vec::new();
    let mut left = files;
    while left > 0 {
        let count = (random.lognormal(40.0, 1.3) as usize)
            .clamp(1, 5_000)
            .min(left);
        packages.push(count);
        left -= count;
    }
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(&count) = packages.get(number) else {
                return Ok(());
            };
            make_package(root, number, count, &mut buffer)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread died")))
        })
    })
}

fn make_package(root: &Path, number: usize, count: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut random = Random::new(number as u64);
    let time = SystemTime::UNIX_EPOCH + FIRST_TIME + Duration::from_secs(number as u64 * 977);
    let home = HOMES[random.weighted(HOMES.map(|(_, weight)| weight))].0;
    let directories = make_directories(
        &root.join(home).join(random.name(number)),
        count,
        &mut random,
    )?;
    let mut earlier: Option<PathBuf> = None;
    for at in 0..count {
        let in_shared = random.below(100) < 8;
        let directory = if in_shared {
            root.join(SHARED[random.below(SHARED.len() as u64) as usize])
        } else {
            // Some directories have most of the files.
            directories[(random.unit().powi(2) * directories.len() as f64) as usize].clone()
        };
        let kind = Kind::draw(&mut random);
        let path = directory.join(random.name(number) + &format!("-{at}.{}", kind.extension()));
        let chance = random.below(1000);
        match &earlier {
            Some(earlier) if chance < 50 => {
                // Beside what it leads to, as most are.
                let target = earlier.file_name().unwrap_or_default();
                symlink(
                    target,
                    earlier.with_file_name(path.file_name().unwrap_or_default()),
                )?;
            }
            Some(earlier) if chance < 53 => fs::hard_link(earlier, &path)?,
            _ => {
                let size = if chance > 990 {
                    0
                } else {
                    random.lognormal(1_500.0, 1.55) as usize
                };
                fill(buffer, size, kind, &mut random);
                let mut file = File::create(&path)?;
                file.write_all(buffer)?;
                if kind == Kind::Binary && chance < 500 {
                    file.set_permissions(fs::Permissions::from_mode(0o755))?;
                }
                file.set_modified(time)?;
                earlier = Some(path);
            }
        }
    }
    Ok(())
}

/// One for about ten files, each below one of those before it.
fn make_directories(home: &Path, count: usize, random: &mut Random) -> io::Result<Vec<PathBuf>> {
    let mut directories = vec![home.to_owned()];
    for number in 0..count / 10 {
        let parent = directories[random.below(directories.len() as u64) as usize].clone();
        directories.push(parent.join(random.name(number)));
    }
    directories.iter().try_for_each(fs::create_dir_all)?;
    Ok(directories)
}
