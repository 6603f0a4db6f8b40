//! Writes the man pages, the completions and `commands.md` of the site into a directory; see `scripts/manual`.

mod pages;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory] = arguments.as_slice() else {
        eprintln!("manual: give a directory\nusage: manual DIR");
        return ExitCode::from(2);
    };
    let directory = Path::new(directory);
    for (name, text) in pages::all() {
        let path = directory.join(name);
        let parent = path.parent().unwrap_or(directory);
        let written = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, text));
        if let Err(e) = written {
            eprintln!("manual: cannot write {}: {e}", path.display());
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
