//! What can be compared beside snapshots: directories as they are, and images that anybody may have made.

use crate::common::{Bench, file_differences, package_differences, sh};
use crate::shared::sources::export;
use serde_json::{Value, json};

/// A tree of Debian's with two packages.
const DEBIAN: &str = r"mkdir -p var/lib/dpkg/info usr/bin etc; echo tool > usr/bin/tool; echo c > etc/tool.conf
    printf '/.\n/usr\n/usr/bin\n/usr/bin/tool\n/etc\n/etc/tool.conf\n' > var/lib/dpkg/info/tool.list
    printf 'Package: tool\nStatus: install ok installed\nArchitecture: all\nVersion: 1:1.0~rc1-2\nConffiles:\n /etc/tool.conf 0123456789abcdef0123456789abcdef\n\n' > var/lib/dpkg/status
    printf 'Package: lib\nStatus: install ok installed\nArchitecture: amd64\nSource: libs (2)\nVersion: 1.2+deb12u1\n' >> var/lib/dpkg/status";

#[test]
fn packages_of_dpkg_are_compared_where_there_is_no_rpm_database() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, DEBIAN);
    bench.snapshot(&root, "--stage bootstrap");
    sh(
        &root,
        "sed -i 's/1:1.0~rc1-2/1:1.0-1/; s/1.2+deb12u1/1.2/' var/lib/dpkg/status; echo newer > usr/bin/tool",
    );
    bench.snapshot(&root, "--stage bootstrap");
    let layout = format!("oci:{}", export(&bench, "layout", &["--format", "oci-dir"]));
    let directory = format!("dir:{}", root.display());
    let stranger = Bench::new();
    for (a, b, bench) in [
        ("1", "2", &bench),
        ("1", &layout, &bench),
        ("1", &directory, &bench),
    ] {
        let compared = bench.compared([a, b]);
        let packages = package_differences(&compared);
        assert_eq!(
            packages,
            [
                "upgraded tool 1.0~rc1-2 1.0-1",
                "downgraded lib 1.2+deb12u1- 1.2-"
            ],
            "{b}"
        );
        let tool = compared["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["path"] == "/usr/bin/tool")
            .unwrap();
        assert_eq!(
            (&tool["package"], &tool["accounted"]),
            (&json!("tool"), &json!(true))
        );
        assert_eq!(compared["a"]["package_manager"], "dpkg");
    }
    assert_eq!(
        package_differences(&stranger.compared([&layout, &directory])),
        [""; 0]
    );
    assert_eq!(
        package_differences(&bench.compared(["1", "2", "--packages"])).len(),
        2
    );
}

#[test]
fn packages_of_apk_are_compared_likewise() {
    let bench = Bench::new();
    let root = bench.make("root");
    let database = |version: &str| {
        format!(
            "mkdir -p lib/apk/db bin; printf 'P:musl\\nV:{version}\\nA:x86_64\\nF:bin\\nR:sh\\n\\n' > lib/apk/db/installed; echo {version} > bin/sh"
        )
    };
    sh(&root, &database("1.2.4_rc1-r0"));
    bench.snapshot(&root, "--stage bootstrap");
    sh(&root, &database("1.2.4-r1"));
    let compared = bench.compared(["1", &format!("dir:{}", root.display())]);
    assert_eq!(
        package_differences(&compared),
        ["upgraded musl 1.2.4_rc1-r0 1.2.4-r1"]
    );
    let shell = compared["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["path"] == "/bin/sh")
        .unwrap();
    assert_eq!(shell["accounted"], true);
}

#[test]
fn files_alone_are_compared_where_there_are_no_packages_and_it_is_said() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "echo one > file");
    bench.snapshot(&root, "--stage bootstrap");
    sh(&root, "echo two > file");
    let directory = format!("dir:{}", root.display());
    let compared = bench.compared(["s", &directory, "--ignore-mtime"]);
    assert_eq!(
        (file_differences(&compared), &compared["packages"]),
        (vec!["/file content".to_owned()], &Value::Null)
    );
    let note = compared["notes"][0].as_str().unwrap();
    assert!(note.contains("files alone are compared"), "{note}");
    // An rpm database that cannot be read is a warning and no error.
    sh(
        &root,
        "mkdir -p var/lib/rpm; echo nonsense > var/lib/rpm/rpmdb.sqlite",
    );
    let output = bench.command(["diff", "s", &directory]).output().unwrap();
    let stderr = crate::common::text(&output.stderr);
    assert!(
        output.status.code() == Some(1) && stderr.contains("rpmdb.sqlite cannot be read"),
        "{stderr}"
    );
}
