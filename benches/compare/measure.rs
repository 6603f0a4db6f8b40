//! Runs commands in turn, and takes the time and the memory that each needs.

use crate::Result;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one run of a command took.
pub(crate) struct Sample {
    /// From its start to its end, by the clock.
    pub(crate) seconds: f64,
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    /// The most memory that one process of it had resident.
    pub(crate) peak_kb: u64,
}

/// What `time` is to say: user and system seconds, and the peak in KiB.
const FORMAT: &str = "%U %S %M";

/// One of those that are compared.
pub(crate) struct Contender<'a> {
    pub(crate) tool: &'static str,
    words: Vec<OsString>,
    command: Command,
    before: Vec<Box<dyn FnMut(u32) -> Result<()> + 'a>>,
    output: Option<PathBuf>,
    exit_code: i32,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(
        tool: &'static str,
        words: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let words = words
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        let command = Command::new("/usr/bin/time");
        Self {
            tool,
            words,
            command,
            before: Vec::new(),
            output: None,
            exit_code: 0,
        }
    }

    /// A pipeline, which fails if any part of it does; `words` are its `$1`, `$2` and so on.
    pub(crate) fn shell(
        tool: &'static str,
        script: &str,
        words: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let mut contender = Self::new(tool, ["bash", "-o", "pipefail", "-c", script, "bash"]);
        contender.words.extend(Self::new(tool, words).words);
        contender
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What is done before each run, outside of its time; it is given the number of the round.
    pub(crate) fn before(mut self, act: impl FnMut(u32) -> Result<()> + 'a) -> Self {
        self.before.push(Box::new(act));
        self
    }

    /// Removes a file or a directory before each run.
    pub(crate) fn without(self, path: PathBuf) -> Self {
        self.before(move |_| remove(&path))
    }

    /// The file that each run writes anew, whose size is of interest.
    pub(crate) fn writes(mut self, path: PathBuf) -> Self {
        self.output = Some(path.clone());
        self.without(path)
    }

    /// How it ends when all is well, if not with 0.
    pub(crate) fn exits_with(mut self, code: i32) -> Self {
        self.exit_code = code;
        self
    }

    /// Runs it outside of any comparison.
    pub(crate) fn once(mut self, scratch: &Path) -> Result<()> {
        self.run(0, scratch).map(drop)
    }

    fn run(&mut self, round: u32, scratch: &Path) -> Result<Sample> {
        for act in &mut self.before {
            act(round)?;
        }
        // Not one file for all runs: ext4 writes to the disk at once what replaces a file's content.
        let (usage, stderr) = (scratch.join("usage"), scratch.join("stderr"));
        remove(&usage)?;
        remove(&stderr)?;
        if self.command.get_args().len() == 0 {
            self.command
                .args(["-q", "-f", FORMAT, "-o"])
                .arg(&usage)
                .arg("--")
                .args(&self.words);
        }
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&stderr)?);
        // What was written before is not to be waited for by who comes next.
        rustix::fs::sync();
        let start = Instant::now();
        let status = self
            .command
            .status()
            .map_err(|e| format!("/usr/bin/time: {e}"))?;
        let seconds = start.elapsed().as_secs_f64();
        if status.code() != Some(self.exit_code) {
            return Err(failure(&self.words.join(OsStr::new(" ")), &fs::read(&stderr)?).into());
        }
        let usage = fs::read_to_string(&usage)?;
        let [user, system, peak] = usage.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("/usr/bin/time says {usage:?}").into());
        };
        Ok(Sample {
            seconds,
            user_s: user.parse()?,
            system_s: system.parse()?,
            peak_kb: peak.parse()?,
        })
    }
}

/// The samples of one contender.
pub(crate) struct Measured {
    pub(crate) tool: &'static str,
    pub(crate) samples: Vec<Sample>,
    pub(crate) output_bytes: Option<u64>,
}

impl Measured {
    pub(crate) fn median_s(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.seconds))
    }

    pub(crate) fn peak_kb(&self) -> u64 {
        self.samples
            .iter()
            .map(|sample| sample.peak_kb)
            .max()
            .unwrap_or_default()
    }
}

/// Runs all in turn, A B A B and so on, so that what else the machine does meets all alike. The first round counts for
/// none: it fills the caches.
pub(crate) fn in_turn(
    mut all: Vec<Contender>,
    rounds: u32,
    scratch: &Path,
) -> Result<Vec<Measured>> {
    let mut measured: Vec<Measured> = all
        .iter()
        .map(|one| Measured {
            tool: one.tool,
            samples: Vec::new(),
            output_bytes: None,
        })
        .collect();
    for round in 0..=rounds {
        let mut line = if round == 0 {
            "  warm-up".to_owned()
        } else {
            format!("  round {round}")
        };
        for (contender, measured) in all.iter_mut().zip(&mut measured) {
            let sample = contender.run(round, scratch)?;
            line += &format!("  {} {:.3} s", contender.tool, sample.seconds);
            if round > 0 {
                measured.samples.push(sample);
            }
            if let Some(output) = &contender.output {
                measured.output_bytes = Some(fs::metadata(output)?.len());
            }
        }
        eprintln!("{line}");
    }
    Ok(measured)
}

/// Runs what is not timed, and returns its stdout.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    let line = words.join(OsStr::new(" "));
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{}: {e}", line.display()))?;
    if !output.status.success() {
        return Err(failure(&line, &output.stderr).into());
    }
    Ok(output.stdout)
}

/// The same, of what says text.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).into_owned())
}

fn failure(command: &OsStr, stderr: &[u8]) -> String {
    format!(
        "this command failed:\n{}\n{}",
        command.display(),
        String::from_utf8_lossy(stderr).trim_end()
    )
}

/// Removes a file or a directory; there may be none.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(|e| format!("{}: {e}", path.display()).into())
}

/// The middle of the numbers, or of the two in the middle; 0 of none.
pub(crate) fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => 0.0,
        n => (numbers[(n - 1) / 2] + numbers[n / 2]) / 2.0,
    }
}
