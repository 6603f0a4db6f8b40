//! Syncs the filesystem of a root.

use super::root::Root;
use crate::model::tree::path::EntryPath;

/// The kernel's figures of memory (proc_meminfo(5)).
const MEMORY: &str = "/proc/meminfo";

/// With more unwritten data, on all filesystems, a sync takes long.
const MOST_DIRTY_KIB: u64 = 64 << 10;

/// Syncs the root's filesystem, unless much data is unwritten or the disk is another machine's. Tells whether all data
/// written before the call is on the disk.
pub(crate) fn sync_if_quick(root: &Root) -> bool {
    let is_quick =
        || dirty_kib(&std::fs::read_to_string(MEMORY).ok()?).map(|kib| kib <= MOST_DIRTY_KIB);
    let sync = || rustix::fs::syncfs(root.open_directory(&EntryPath::root()).ok()?).ok();
    root.is_local() && is_quick() == Some(true) && sync().is_some()
}

/// Returns the unwritten data; `None` if the kernel does not tell.
fn dirty_kib(memory: &str) -> Option<u64> {
    let of = |name| {
        let rest = memory.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    of("Dirty:")?.checked_add(of("Writeback:")?)
}

#[cfg(test)]
mod tests {
    use super::dirty_kib;

    #[test]
    fn what_waits_to_be_written_is_read_from_what_the_kernel_tells() {
        let told =
            "MemTotal:  8 kB\nDirty:     1200 kB\nWriteback:     34 kB\nWritebackTmp:   5 kB\n";
        assert_eq!(dirty_kib(told), Some(1234));
        for less in [
            "",
            "Dirty: 1 kB\n",
            "Dirty: x kB\nWriteback: 1 kB\n",
            "Dirty:\nWriteback: 1 kB\n",
        ] {
            assert_eq!(dirty_kib(less), None, "{less:?}");
        }
    }
}
