//! The processes with a store or a layout open, by file descriptors (proc_pid_fd(5)). Only root sees processes of other
//! users, and nobody sees other hosts.

use crate::store::files::{DATABASE, LOCK, TMP_LOCK};
use std::fs;
use std::path::{Path, PathBuf};

/// A process with a store open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The process.
    pub pid: u32,
    /// The command line, words parted by spaces.
    pub command: Vec<u8>,
    /// How long the process has run, in seconds.
    pub seconds: u64,
}

/// Returns the other processes with a file of a store open, by number. Of a file of another process, only the kernel's name is read: a
/// filesystem of others may not answer.
pub(crate) fn holders(store: &Path) -> Vec<Holder> {
    let store = fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
    let names = [TMP_LOCK, LOCK, DATABASE].map(|name| store.join(name));
    let mut paths: Vec<PathBuf> = names.into_iter().filter(|path| path.exists()).collect();
    if paths.is_empty() {
        // A layout, which is locked by its directory.
        paths.push(store);
    }
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let own = rustix::process::getpid().as_raw_nonzero().get() as u32;
    let mut pids: Vec<u32> = pids.filter(|pid| *pid != own).collect();
    pids.sort_unstable();
    let holding = pids.into_iter().filter(|pid| has_open(*pid, &paths));
    holding.map(holder).collect()
}

fn has_open(pid: u32, paths: &[PathBuf]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut names = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    names.any(|name| paths.contains(&name))
}

fn holder(pid: u32) -> Holder {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = words.trim_ascii_end().strip_suffix(&[0]).unwrap_or(&words);
    let command = command.iter().map(|byte| match byte {
        0 => b' ',
        byte => *byte,
    });
    Holder {
        pid,
        command: command.collect(),
        seconds: seconds(pid).unwrap_or(0),
    }
}

/// Returns how long a process has run: field 22 of proc_pid_stat(5), in ticks since the boot, against proc_uptime(5).
fn seconds(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the command, field 2, may hold anything, up to the last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let (uptime_s, _) = uptime.split_once('.')?;
    let start_s = ticks / rustix::param::clock_ticks_per_second();
    Some(uptime_s.parse::<u64>().ok()?.saturating_sub(start_s))
}
