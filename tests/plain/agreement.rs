//! Comparisons agree with what others say of the same trees: diff(1), rpm, GNU tar, buildah.
//!
//! The chroots are those of `fixtures/chroots/make OUT small`, in `ROOTSTRATA_CHROOTS`. Nothing here writes to them.

use rootstrata::tarball::read::{Found, FoundKind, Reader};
use std::process::Command;

/// All members of an archive with their contents.
fn read_all(bytes: &[u8]) -> Result<Vec<(Found, Vec<u8>)>, String> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(found) = reader.next_member().map_err(|e| e.to_string())? {
        let mut content = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match reader.read(&mut buffer).map_err(|e| e.to_string())? {
                0 => break,
                count => content.extend_from_slice(&buffer[..count]),
            }
        }
        all.push((found, content));
    }
    Ok(all)
}

#[test]
fn archives_of_gnu_tar_in_each_format_read_as_they_list() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
        d=$(printf 'd%.0s' $(seq 120)); mkdir -p "$d/$d"; echo one > "$d/$d/file"; ln "$d/$d/file" hard
        ln -s "$d/$d/file" soft; mkfifo pipe; touch -d @-5.5 old; echo x > plain; touch -d @1234567890.9 plain
        for format in gnu pax oldgnu; do tar --format=$format --sort=name -cf $format.tar "$d" hard soft pipe old plain; done
        tar --format=ustar --sort=name -cf ustar.tar hard pipe plain
        tar --format=v7 --sort=name -cf v7.tar hard plain; : > empty; tar -cf empty.tar -T empty"#;
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (format, members) in [
        ("gnu", 8),
        ("pax", 8),
        ("oldgnu", 8),
        ("ustar", 3),
        ("v7", 2),
        ("empty", 0),
    ] {
        let archive = directory.path().join(format!("{format}.tar"));
        let listed = Command::new("tar")
            .arg("-tf")
            .arg(&archive)
            .output()
            .unwrap();
        let found =
            read_all(&std::fs::read(&archive).unwrap()).unwrap_or_else(|e| panic!("{format}: {e}"));
        let names: Vec<&[u8]> = listed
            .stdout
            .split(|b| *b == b'\n')
            .filter(|name| !name.is_empty())
            .collect();
        assert_eq!(
            found
                .iter()
                .map(|(found, _)| &found.path[..])
                .collect::<Vec<_>>(),
            names,
            "{format}"
        );
        assert_eq!(found.len(), members, "{format}");
        let at = |name: &[u8]| found.iter().find(|(found, _)| found.path == name);
        if let Some((old, _)) = at(b"old") {
            // Of the old formats none has fractions; GNU tar rounds down as we do.
            assert_eq!(old.mtime_s, -6, "{format}");
        }
        if let Some((plain, content)) = at(b"plain") {
            assert_eq!(
                (plain.mtime_s, &content[..], &plain.kind),
                (1_234_567_890, &b"x\n"[..], &FoundKind::File(2))
            );
        }
        if let (Some((soft, _)), true) = (at(b"soft"), members == 8) {
            assert!(
                matches!(&soft.kind, FoundKind::Symlink(target) if target.len() == 246),
                "{format}"
            );
        }
    }
}
