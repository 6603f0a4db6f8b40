//! What holds for all documents with commands; `tests/long/pages.rs` runs these.

use crate::shared::pages::{
    blocks, console, documents, names_of_pages, normalised, read, whole_lines,
};
use std::collections::BTreeSet;

/// The commands of all pages that are not run here. A new one must be added, and somebody must have run it.
const NOT_RUN: &[&str] = &[
    "packaging/rpm",
    "dnf install target/rpm/RPMS/*/*.rpm",
    "cargo install --path .",
    "systemctl enable --now rootstrata-prune@var-lib-rootstrata.timer rootstrata-verify@var-lib-rootstrata.timer",
    "systemctl enable --now rootstrata-verify@var-cache-mock-rootstrata.timer",
    "mock -r fedora-rawhide-x86_64 --init",
    "mock -r fedora-rawhide-x86_64 --installdeps hello-1-1.src.rpm",
    "mock -r fedora-rawhide-x86_64 --enable-plugin rootstrata --rebuild hello-1-1.src.rpm",
    "mock -r fedora-rawhide-x86_64 --disable-plugin root_cache --buildroot-image buildroot-oci.tar --rebuild hello-1-1.src.rpm",
    "podman run --rm --network=none -v ./hello-1-1.src.rpm:/hello.src.rpm:z oci-archive:/var/lib/mock/fedora-rawhide-x86_64/result/buildroot-oci.tar rpmbuild --rebuild /hello.src.rpm",
    "podman run --rm -ti -v ./hello-1-1.src.rpm:/hello.src.rpm:z oci-archive:buildroot-oci.tar rpmbuild --rebuild /hello.src.rpm",
    "rootstrata mount fedora-rawhide-x86_64@deps-installed /mnt",
    "skopeo copy oci:/var/lib/rootstrata:fedora-rawhide-x86_64:deps-installed docker://registry.example.org/buildroot:latest",
];

#[test]
fn digests_of_another_machine_are_no_difference() {
    let normalised: BTreeSet<String> = [
        "docker://localhost:5000/buildroots:rawhide.deps-installed-a33525b4d93c sha256:5a8bf7419ffc, 0123456789ab",
        "docker://localhost:5000/buildroots:rawhide.deps-installed-5a8bf7419ffc sha256:0123456789ab, fedcbaabcdef",
    ]
    .map(normalised)
    .into();
    assert_eq!(
        normalised,
        BTreeSet::from([
            "docker://localhost:0/buildroots:rawhide.deps-installed-hash sha0:hash, hash"
                .to_owned()
        ])
    );
}

#[test]
fn every_page_with_commands_is_run() {
    let mut with_commands = documents();
    with_commands.retain(|name| !console(&read(name)).is_empty());
    assert_eq!(names_of_pages(), with_commands);
    let tests = include_str!("../long/pages.rs");
    for name in with_commands {
        let call = format!("shows_what_happens(\"{name}\");");
        assert!(tests.contains(&call), "no test runs {name}");
    }
}

#[test]
fn commands_that_are_not_run_are_listed_here() {
    let blocks: Vec<_> = documents()
        .iter()
        .flat_map(|name| blocks(&read(name)))
        .collect();
    let of = |language: &str| -> BTreeSet<String> {
        blocks
            .iter()
            .filter(|(l, _)| l == language)
            .flat_map(|(_, lines)| whole_lines(lines))
            .collect()
    };
    assert_eq!(
        of("sh"),
        NOT_RUN
            .iter()
            .map(|command| (*command).to_owned())
            .collect()
    );
    let languages: BTreeSet<&str> = blocks
        .iter()
        .map(|(language, _)| language.as_str())
        .collect();
    assert!(
        languages.is_subset(&BTreeSet::from(["console", "sh", "text"])),
        "{languages:?}"
    );
}

#[test]
fn every_field_of_the_json_is_in_its_page() {
    let bench = crate::common::Bench::new();
    let root = bench.make("root");
    std::fs::write(root.join("file"), "x").unwrap();
    let out = bench.path("out.tar");
    let out = out.to_str().unwrap();
    let arguments = [
        "export",
        "--root",
        root.to_str().unwrap(),
        "--series",
        "s",
        "-o",
        out,
    ];
    let exported = bench.json(arguments);
    let page = read("docs/json.md");
    let objects = [&exported, &exported["layers"][0]];
    for key in objects
        .into_iter()
        .flat_map(|object| object.as_object().unwrap().keys())
    {
        assert!(
            page.contains(&format!("`{key}`")),
            "docs/json.md does not say what `{key}` is"
        );
    }
}
