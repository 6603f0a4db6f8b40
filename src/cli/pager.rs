//! Where results go: to stdout, or on a terminal through a pager, as git does it.

use crate::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

/// What is run where nothing is asked for.
const DEFAULT: &str = "less";
/// less ends by itself where all of it fits on the screen, shows colours, and leaves the screen as it is; it also ends at
/// an interrupt, as we do.
const LESS: (&str, &str) = ("LESS", "FRXK");
/// The same for lv.
const LV: (&str, &str) = ("LV", "-c");
/// A pager with one of these is for the shell.
const OF_SHELL: &[u8] = b"|&;<>()$`\\\"' \t\n*?[#~=%";

/// How the shell ends where there is no such command (POSIX.1-2017, "Exit Status for Commands").
const NOT_FOUND: i32 = 127;

/// Writes `text`, through a pager where `may_page` and stdout is a terminal. Whoever stops reading has seen enough.
pub(crate) fn write(text: &str, may_page: bool) -> io::Result<()> {
    let pager = if may_page && io::stdout().is_terminal() {
        pager()
    } else {
        None
    };
    let written = match pager.map(|pager| page(&pager, text)) {
        Some(Ok(())) => Ok(()),
        // No pager could be run: then without.
        Some(Err(_)) | None => io::stdout().lock().write_all(text.as_bytes()),
    };
    written.or_else(|e| {
        if e.kind() == ErrorKind::BrokenPipe {
            Ok(())
        } else {
            Err(e)
        }
    })
}

/// Gives stdout to `write`. Whoever stops reading has seen enough.
pub(crate) fn through(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    match write(&mut io::stdout().lock()) {
        Err(Error::Output(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// `None` where none is wanted.
fn pager() -> Option<OsString> {
    let set = |name: &str| std::env::var_os(name);
    let chosen = set("ROOTSTRATA_PAGER")
        .or_else(|| set("PAGER"))
        .unwrap_or_else(|| DEFAULT.into());
    (!chosen.is_empty() && chosen != "cat").then_some(chosen)
}

/// Fails only where the pager does not start.
fn page(pager: &OsStr, text: &str) -> io::Result<()> {
    let is_for_shell = pager.as_bytes().iter().any(|byte| OF_SHELL.contains(byte));
    let mut command = Command::new(if is_for_shell {
        OsStr::new("sh")
    } else {
        pager
    });
    if is_for_shell {
        command.arg("-c").arg(pager);
    }
    for (name, value) in [LESS, LV] {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(text.as_bytes()); // who has seen enough closes it
    }
    match child.wait()?.code() {
        Some(NOT_FOUND) if is_for_shell => Err(ErrorKind::NotFound.into()),
        _ => Ok(()),
    }
}
