//! A filesystem in a file that loses its power, and a machine that is booted again.

use super::{Path, PathBuf, Value, rootstrata, succeeds, text};
use std::ffi::OsStr;
use std::process::Command;

/// How much of what the filesystem has in memory comes to the disk when it loses its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    All,
    /// Its journal, and so inodes with the sizes and times that they had; contents are lost.
    Contents,
}

/// Runs a test, by its name, in a mount namespace of its own. Its mounts go with it, and no other process has them: a filesystem
/// that was shut down would live on in there, and be what is mounted next.
pub fn alone(test: &str, run: impl FnOnce()) {
    const INSIDE: &str = "ROOTSTRATA_TEST_IS_ALONE";
    if std::env::var_os(INSIDE).is_some() {
        return run();
    }
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap());
    let said = succeeds(
        command
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "1"),
    );
    assert!(said.contains("1 passed"), "{test} did not run: {said}");
    print!("{said}");
}

/// A mounted filesystem, in the namespace of [`alone`].
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
    /// What stands in the place of the kernel's boot_id.
    boot: PathBuf,
    boots: u32,
    /// What stands in the place of /proc/meminfo, if it is there.
    memory: PathBuf,
}

impl Disk {
    /// Makes one of this type in `directory`, and mounts it there.
    pub fn new(directory: &Path, kind: &str) -> Self {
        let image = directory.join(format!("{kind}.image"));
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(320 << 20).unwrap(); // the least that mkfs.xfs makes is 300 MiB
        drop(file);
        succeeds(
            Command::new(format!("mkfs.{kind}"))
                .arg("-q")
                .arg(&image)
                .env("PATH", tools()),
        );
        Self::with_image(directory, kind, image)
    }

    /// Mounts what a file or a device has; what has the same name has the same mount point.
    pub fn with_image(directory: &Path, name: &str, image: PathBuf) -> Self {
        let at = directory.join(format!("mounted-{name}"));
        std::fs::create_dir_all(&at).unwrap();
        let [boot, memory] =
            ["boot", "memory"].map(|what| directory.join(format!("{what}-{name}")));
        let mut disk = Self {
            image,
            at,
            boot,
            boots: 0,
            memory,
        };
        disk.start();
        disk
    }

    fn start(&mut self) {
        self.mount();
        self.boots += 1;
        let id = format!(
            "{:08x}-0000-4000-8000-{:012x}\n",
            self.boots,
            std::process::id()
        );
        std::fs::write(&self.boot, id).unwrap();
    }

    fn mount(&self) {
        let mut mount = Command::new("mount");
        if self.image.is_file() {
            mount.args(["-o", "loop"]);
        }
        succeeds(mount.arg(&self.image).arg(&self.at));
    }

    /// Unmounts it.
    pub fn unmount(&self) {
        succeeds(Command::new("umount").arg(&self.at));
    }

    /// Returns a path on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// From now on nothing comes to the disk. Only this may be called while others use it.
    pub fn lose_power(at: &Path, cut: Cut) {
        let how = if cut == Cut::All {
            "shutdown"
        } else {
            "shutdown -f"
        };
        succeeds(
            Command::new("xfs_io")
                .args(["-x", "-c", how])
                .arg(at)
                .env("PATH", tools()),
        );
    }

    /// Mounts it again, on a machine that was booted since.
    pub fn boot(&mut self) {
        self.unmount();
        self.start();
    }

    /// Does something to the image; the machine runs on.
    pub fn while_unmounted(&self, work: impl FnOnce()) {
        self.unmount();
        work();
        self.mount();
    }

    /// What the kernel is to tell of its memory from now on.
    pub fn memory(&self, told: &str) {
        std::fs::write(&self.memory, told).unwrap();
    }

    /// Loses the power, and boots.
    pub fn cut(&mut self, cut: Cut) {
        Self::lose_power(&self.at, cut);
        self.boot();
    }

    /// Returns the mount point.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Returns the command on this machine since it was booted last.
    pub fn command(
        &self,
        store: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let script = r#"mount --bind "$0" /proc/sys/kernel/random/boot_id
            [ ! -e "$1" ] || mount --bind "$1" /proc/meminfo; shift; exec "$@""#;
        let mut command = Command::new("unshare");
        command
            .args(["-m", "--propagation", "private", "sh", "-ec", script])
            .arg(&self.boot)
            .arg(&self.memory);
        command
            .arg(rootstrata().get_program())
            .arg("--store")
            .arg(store)
            .arg("-q")
            .args(arguments);
        command
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("ROOTSTRATA_STORE");
        command
    }

    /// Runs it; it must succeed.
    pub fn run(
        &self,
        store: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> String {
        succeeds(&mut self.command(store, arguments))
    }

    /// Runs it and returns its JSON; `None` where it fails.
    pub fn json(&self, store: &Path, arguments: &[&str]) -> Option<Value> {
        let output = self
            .command(store, arguments)
            .arg("--json")
            .output()
            .unwrap();
        if !output.status.success() {
            println!("{arguments:?}: {}", text(&output.stderr));
            return None;
        }
        Some(serde_json::from_slice(&output.stdout).unwrap())
    }
}

/// Where mkfs is, also for those whose PATH is an ordinary user's.
fn tools() -> String {
    format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}
