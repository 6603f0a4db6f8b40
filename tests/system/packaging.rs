//! The units of systemd.

use crate::common::{Bench, REPOSITORY, sh, succeeds, text};
use std::path::Path;
use std::process::Command;

/// Returns the words of a service's command for a store, with the options that the package sets.
fn command_of(verb: &str, store: &str) -> Vec<String> {
    let read = |name: &str| {
        let path = Path::new(REPOSITORY).join("packaging/systemd").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let service = read(&format!("rootstrata-{verb}@.service"));
    let start = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let variable = format!("{}_OPTIONS", verb.to_uppercase());
    let options = read("rootstrata.sysconfig");
    let options = options.lines().find_map(|line| {
        line.strip_prefix(&format!("{variable}=\""))?
            .strip_suffix('"')
    });
    let line = start.unwrap().replace("%f", store);
    let line = line.replace(&format!("${variable}"), options.unwrap());
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn units_are_as_systemd_wants_them() {
    let bench = Bench::new();
    let units = Path::new(REPOSITORY).join("packaging/systemd");
    let script = format!(
        "cp {}/*@.* . && for unit in *@.*; do mv $unit ${{unit/@/@srv-store}}; done
         SYSTEMD_UNIT_PATH=$PWD: systemd-analyze verify --man=no ./*.timer 2>&1",
        units.display()
    );
    // The command itself need not be installed.
    let words = succeeds(
        Command::new("bash")
            .args(["-c", &format!("({script}) || :")])
            .current_dir(bench.make("units")),
    );
    let words: Vec<&str> = words
        .lines()
        .filter(|line| line.contains("rootstrata") && !line.contains("is not executable"))
        .collect();
    assert_eq!(words, [""; 0]);
}

#[test]
fn what_a_service_may_do_is_enough_for_its_command() {
    let bench = Bench::new();
    let root = bench.make("root");
    for day in ["one", "two"] {
        std::fs::write(root.join(day), day).unwrap();
        bench.snapshot(&root, "--series s");
    }
    let store = bench.store();
    for verb in ["prune", "verify"] {
        let command = command_of(verb, store.to_str().unwrap());
        assert_eq!(command[0], "/usr/bin/rootstrata");
        // ProtectSystem=strict, ReadWritePaths=, CapabilityBoundingSet=, NoNewPrivileges=
        let script = format!(
            "mount --bind {store} {store}
             mount -t tmpfs none /var/tmp; export TMPDIR=/var/tmp
             awk '{{ print length($5), $5 }}' /proc/self/mountinfo | sort -n | while read -r _ path; do
                 case $path in /var/tmp|{store}) ;; /proc|/proc/*|/dev|/dev/*|/sys|/sys/*) ;;
                 *) mount -o remount,bind,ro \"$(printf %b \"$path\")\" 2>/dev/null || : ;; esac
             done
             ! touch {root}/new 2>/dev/null || exit 90
             exec setpriv --no-new-privs --bounding-set=-all,+chown,+dac_override,+dac_read_search,+fowner \"$@\"",
            store = store.display(),
            root = root.display(),
        );
        let output = Command::new("unshare")
            .args(["-m", "--propagation", "private", "bash", "-ec", &script])
            .arg("bash")
            .arg(env!("CARGO_BIN_EXE_rootstrata"))
            .args(&command[1..])
            .output()
            .unwrap();
        assert!(output.status.success(), "{verb}: {}", text(&output.stderr));
    }
    let damaged = store.join("blobs/sha256");
    sh(
        &damaged,
        "for blob in *; do [ $(head -c 1 $blob) = '{' ] || { printf X | dd of=$blob bs=1 seek=20 conv=notrunc status=none; break; }; done",
    );
    let command = command_of("verify", store.to_str().unwrap());
    let verify = Command::new(env!("CARGO_BIN_EXE_rootstrata"))
        .args(&command[1..])
        .output()
        .unwrap();
    assert_eq!(verify.status.code(), Some(1), "{}", text(&verify.stdout));
}
