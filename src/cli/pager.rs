//! Writes results to stdout, or on a terminal through a pager, as git does.

use crate::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

/// The pager unless the environment names another.
const DEFAULT: &str = "less";
/// Makes less end by itself after a text that fits on the screen, show colours, leave the screen as the text is, and end at
/// an interrupt, as rootstrata does.
const LESS: (&str, &str) = ("LESS", "FRXK");
/// Makes lv show colours.
const LV: (&str, &str) = ("LV", "-c");
/// A command for the pager with any of these bytes is for the shell.
const OF_SHELL: &[u8] = b"|&;<>()$`\\\"' \t\n*?[#~=%";

/// The exit status of a shell without such a command (POSIX.1-2017, "Exit Status for Commands").
const NOT_FOUND: i32 = 127;

/// Writes `text` to stdout, or through a pager if `may_page` and stdout is a terminal. Fails if stdout cannot be written to,
/// such as a file on a full disk; a reader that closes the pipe has seen enough, which is no failure.
pub(crate) fn write(text: &str, may_page: bool) -> io::Result<()> {
    let pager = if may_page && io::stdout().is_terminal() {
        pager()
    } else {
        None
    };
    let written = match pager.map(|pager| page(&pager, text)) {
        Some(Ok(())) => Ok(()),
        // The pager could not be run: then without a pager.
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

/// Gives stdout to `write`. Fails if `write` fails; a reader that closes the pipe has seen enough, which is no failure.
pub(crate) fn through(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    match write(&mut io::stdout().lock()) {
        Err(Error::Output(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Returns the wanted pager; `None` for no pager.
fn pager() -> Option<OsString> {
    let set = |name: &str| std::env::var_os(name);
    let chosen = set("ROOTSTRATA_PAGER")
        .or_else(|| set("PAGER"))
        .unwrap_or_else(|| DEFAULT.into());
    (!chosen.is_empty() && chosen != "cat").then_some(chosen)
}

/// Shows `text` in a pager. Fails only if the pager does not start.
fn page(pager: &OsStr, text: &str) -> io::Result<()> {
    let mut bytes = pager.as_bytes().iter();
    let is_for_shell = bytes.any(|byte| OF_SHELL.contains(byte));
    let mut command = if is_for_shell {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(pager);
        shell
    } else {
        Command::new(pager)
    };
    for (name, value) in [LESS, LV] {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(text.as_bytes()); // a user who has seen enough closes the pager
    }
    match child.wait()?.code() {
        Some(NOT_FOUND) if is_for_shell => Err(ErrorKind::NotFound.into()),
        _ => Ok(()),
    }
}
