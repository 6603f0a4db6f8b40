//! The machine that the figures are of.

use crate::Result;
use crate::measure::text;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Processor, kernel, the filesystem of `dir`, and the date.
pub(crate) fn describe(dir: &Path) -> Result<Value> {
    let information = fs::read_to_string("/proc/cpuinfo")?;
    let model = information
        .lines()
        .find(|line| line.starts_with("model name"));
    let cpu = model
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or("unknown");
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory_kb: Option<u64> = memory
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    let filesystem = text(
        Command::new("findmnt")
            .args(["-n", "-o", "FSTYPE", "-T"])
            .arg(dir),
    )?;
    let date = text(Command::new("date").args(["-u", "+%F"]))?;
    Ok(json!({
        "cpu": cpu,
        "cores": cores(),
        "memory_kb": memory_kb,
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "filesystem": filesystem.trim(),
        "date": date.trim(),
    }))
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
