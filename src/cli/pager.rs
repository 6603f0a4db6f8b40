//! Where results go: to stdout, or on a terminal through a pager, as git does it.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::{Command, Stdio};

/// What is run where nothing is asked for.
const DEFAULT: &str = "less";
/// less ends by itself where all of it fits on the screen, shows colours, and leaves the screen as it is.
const LESS: (&str, &str) = ("LESS", "FRX");
/// The same for lv.
const LV: (&str, &str) = ("LV", "-c");

/// Writes `text`, through a pager where `may_page` and stdout is a terminal. Whoever stops reading has seen enough.
pub(super) fn write(text: &str, may_page: bool) -> io::Result<()> {
    let pager = if may_page && io::stdout().is_terminal() { pager() } else { None };
    let written = match pager.map(|pager| page(&pager, text)) {
        Some(Ok(())) => Ok(()),
        // No pager could be run: then without.
        Some(Err(_)) | None => io::stdout().lock().write_all(text.as_bytes()),
    };
    written.or_else(|e| if e.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(e) })
}

/// Gives stdout to `write`. Whoever stops reading has seen enough.
pub(super) fn through(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    match write(&mut io::stdout().lock()) {
        Err(Error::Output(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// `None` where none is wanted.
fn pager() -> Option<OsString> {
    let set = |name: &str| std::env::var_os(name);
    let chosen = set("ROOTSTRATA_PAGER").or_else(|| set("PAGER")).unwrap_or_else(|| DEFAULT.into());
    (!chosen.is_empty() && chosen != "cat").then_some(chosen)
}

/// Fails only where the pager does not start.
fn page(pager: &OsString, text: &str) -> io::Result<()> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    for (name, value) in [LESS, LV] {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(text.as_bytes()); // who has seen enough closes it
    }
    child.wait().map(drop)
}
