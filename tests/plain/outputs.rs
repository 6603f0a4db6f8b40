//! What an output may be: a file, a link, a stream, a layout that others write too; and what is left when an export is cut off.

use crate::common::layers::{Layout, images_of, layers_of};
use crate::common::{Bench, sh};
use crate::shared::outputs::{recorded, runs, unfinished};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

// ---- Streams

#[test]
fn an_archive_is_streamed_to_whatever_stdout_is() {
    let bench = recorded();
    runs(
        &bench,
        "ln -s /proc/self/fd fd; ln -s fd/1 link; ln -s link chain
         for to in - fd/1 /proc/self/fd/1 link chain; do
             rs -q export s -o $to > file; same file
             rs -q export s -o $to | cat > piped; same piped
             echo before > appended; rs -q export s -o $to >> appended; tail -c +8 appended > rest; same rest
             { echo before; rs -q export s -o $to; echo after; } > between
             head -n 1 between | grep -qx before; tail -n 1 between | grep -qx after
             tail -c +8 between | head -c -6 > middle; same middle
         done
         rs -q export s -o fd/7 7> seventh; same seventh
         { echo before >&7; rs -q export s -o fd/7; echo after >&7; } 7> seventh
         tail -c +8 seventh | head -c -6 > middle; same middle
         [ -L link ]; [ -L chain ]; [ ! -e ./- ]",
    );
    assert_eq!(unfinished(&bench.path("")), Vec::<PathBuf>::new());
}

#[test]
fn a_file_that_is_stdout_is_written_to_and_not_replaced() {
    let bench = recorded();
    runs(
        &bench,
        "exec 5> out.tar; inode=$(stat -c %i out.tar)
         ln -s /proc/self/fd/1 link; rs -q export s -o link >&5; [ $(stat -c %i out.tar) = $inode ]; same out.tar
         rs -q export s -o named.tar > named.tar; same named.tar
         echo '<!DOCTYPE html>' > first
         exec 6> page.html; inode=$(stat -c %i page.html)
         code=0; rs -q diff s dir:root --html link >&6 || code=$?
         [ $code -le 1 ]; [ $(stat -c %i page.html) = $inode ]; head -n 1 page.html | cmp - first",
    );
}

// ---- Links

#[test]
fn an_output_that_is_a_link_is_followed() {
    let bench = recorded();
    runs(
        &bench,
        "mkdir -p disk/deep links; echo old > disk/there.tar
         ln -s ../disk/there.tar links/there; ln -s there links/chain; ln -s \"$PWD/disk/deep/new.tar\" links/new
         for link in there chain new; do rs -q export s -o links/$link; [ -L links/$link ]; same links/$link; done
         [ -f disk/there.tar ] && [ ! -L disk/there.tar ]; same disk/there.tar; same disk/deep/new.tar
         rs export s -o links/chain | grep -q 'nothing written'
         ln -s ../disk/page.html links/page
         rs -q diff s s --html links/page; [ -L links/page ]; grep -q '</html>' disk/page.html
         ln -s ../disk/layout links/layout
         for time in 1 2; do
             rs -q export s --format oci-dir -o links/layout; [ -L links/layout ]; [ -s disk/layout/index.json ]
         done
         ln -s loop links/loop; fails rs -q export s -o links/loop 2> said; grep -q 'links/loop: Too many' said
         ln -s missing/x links/lost; fails rs -q export s -o links/lost 2> said; grep -q 'No such file' said
         ln -s ../disk links/directory; fails rs -q export s -o links/directory 2> said; grep -q 'is a directory' said",
    );
    assert_eq!(unfinished(&bench.path("")), Vec::<PathBuf>::new());
}

#[test]
fn a_file_that_is_replaced_is_no_more_open_than_it_was() {
    let bench = recorded();
    runs(
        &bench,
        "umask 022
         for mode in 600 640 644 666 400; do
             echo old > out.tar; chmod $mode out.tar; echo old > page; chmod $mode page
             rs -q export s -o out.tar; rs -q diff s s --html page
             stat -c %a out.tar page >> modes
         done
         printf '%s\\n' 600 600 640 640 644 644 644 644 400 400 | cmp - modes",
    );
}

#[test]
fn an_unfinished_file_is_removed_only_when_its_writer_has_ended() {
    let bench = recorded();
    let out = bench.make("out");
    std::fs::write(out.join(".rootstrata-a.tar"), "of one who writes").unwrap();
    std::fs::write(out.join(".rootstrata-a.tar.2"), "of one who has ended").unwrap();
    let writer = std::fs::File::open(out.join(".rootstrata-a.tar")).unwrap();
    writer.lock().unwrap();
    let left = "[ \"$(ls -A out)\" = \"$(printf '.rootstrata-a.tar\\na.tar')\" ]";
    for old in ["", "echo old > out/a.tar; "] {
        runs(
            &bench,
            &format!("{old}rs -q export s -o out/a.tar; same out/a.tar; {left}"),
        );
    }
    drop(writer);
    runs(
        &bench,
        "rs -q export s -o out/a.tar; [ \"$(ls -A out)\" = a.tar ]",
    );
    // What is no file of ours stays.
    runs(
        &bench,
        "ln -s ../whole.tar out/.rootstrata-a.tar; mkdir out/.rootstrata-a.tar.2; echo old > out/a.tar
         rs -q export s -o out/a.tar; same out/a.tar; same whole.tar; [ -L out/.rootstrata-a.tar ]; [ -d out/.rootstrata-a.tar.2 ]",
    );
}

// ---- Layouts

/// The names of the images of a layout, each of which has all of its blobs.
fn images(layout: &Path) -> BTreeMap<String, String> {
    let images = images_of(&std::fs::read(layout.join("index.json")).unwrap());
    images
        .values()
        .for_each(|digest| drop(layers_of(digest, &Layout(layout))));
    images.into_iter().collect()
}

#[test]
fn many_exports_into_one_layout_lose_nothing_and_none_fails() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "head -c 2000000 /dev/urandom > shared");
    for series in 0..8 {
        std::fs::write(root.join("own"), format!("{series}")).unwrap();
        bench.snapshot(&root, &format!("--profile plain --series s{series}"));
    }
    for (round, beforehand) in [
        "rm -rf l",
        "rm -rf l; mkdir l",
        "rm -rf l; rs -q export s0 --format oci-dir -o l",
    ]
    .iter()
    .cycle()
    .take(12)
    .enumerate()
    {
        let lines = format!(
            "{beforehand}; for n in 0 1 2 3 4 5 6 7; do rs -q export s$n --format oci-dir -o l & pids[n]=$!; done
             for n in 0 1 2 3 4 5 6 7; do wait ${{pids[n]}}; done"
        );
        assert_eq!(runs(&bench, &lines), "");
        assert_eq!(
            images(&bench.path("l")).len(),
            8,
            "round {round}: {beforehand}"
        );
        assert_eq!(unfinished(&bench.path("")), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_index_of_a_layout_changes_under_the_lock_of_its_directory() {
    let bench = recorded();
    let layout = bench.path("l");
    bench.json([
        "export",
        "s",
        "--format",
        "oci-dir",
        "-o",
        layout.to_str().unwrap(),
    ]);
    let index = std::fs::read(layout.join("index.json")).unwrap();
    sh(&bench.path("root"), "echo 2 > g");
    bench.snapshot(&bench.path("root"), "--profile plain --series t");
    let lock = std::fs::File::open(&layout).unwrap();
    lock.lock().unwrap();
    let mut child = bench
        .command(["-q", "export", "t", "--format", "oci-dir", "-o"])
        .arg(&layout)
        .spawn()
        .unwrap();
    // It has all but the index when it waits: /proc/locks has a line for who does.
    let waits = |id: u32| {
        std::fs::read_to_string("/proc/locks")
            .unwrap()
            .lines()
            .any(|line| line.contains("-> FLOCK") && line.contains(&format!(" {id} ")))
    };
    while !waits(child.id()) {
        assert!(child.try_wait().unwrap().is_none(), "it does not wait");
    }
    assert_eq!(std::fs::read(layout.join("index.json")).unwrap(), index);
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(images(&layout).len(), 2);
}

#[test]
fn what_a_power_cut_took_of_a_layout_is_put_back_by_the_next_export() {
    let bench = recorded();
    let damages = [
        ": > l/index.json",
        "truncate -s 40 l/index.json",
        "size=$(stat -c %s l/index.json); : > l/index.json; truncate -s $size l/index.json",
        ": > l/oci-layout",
        "truncate -s 0 l/oci-layout; truncate -s 30 l/oci-layout",
        "rm l/index.json",
        "rm l/oci-layout l/index.json",
        "for blob in l/blobs/sha256/*; do : > $blob; done",
        "for blob in l/blobs/sha256/*; do truncate -s -1 $blob; done",
        "for blob in l/blobs/sha256/*; do size=$(stat -c %s $blob); : > $blob; truncate -s $size $blob; done",
        ": > l/index.json; for blob in l/blobs/sha256/*; do printf X | dd of=$blob conv=notrunc status=none; done",
        ": > l/index.json; : > l/oci-layout; for blob in l/blobs/sha256/*; do : > $blob; done",
    ];
    for damage in damages {
        let said = runs(
            &bench,
            &format!(
                "rm -rf l good; rs -q export s --format oci-dir -o l; cp -r l good; {damage}; rs -q export s --format oci-dir -o l; diff -r l good"
            ),
        );
        let is_told = said.contains("was cut short and is made anew");
        assert_eq!(
            is_told,
            damage.contains("index.json") && !damage.starts_with("rm"),
            "{damage}: {said}"
        );
    }
    // An index that is another thing is not thrown away.
    runs(
        &bench,
        "echo '{]' > l/index.json; fails rs -q export s --format oci-dir -o l 2> said; grep -q 'l/index.json is damaged' said",
    );
}

#[test]
fn an_archive_whose_content_never_came_to_the_disk_is_written_anew() {
    let bench = recorded();
    runs(
        &bench,
        // All headers are there; the middle of the largest blob is not.
        "cp whole.tar a.tar; rs export s -o a.tar | grep -q 'nothing written'
         fallocate -p -o 1000000 -l 1000000 a.tar; [ $(stat -c %s a.tar) = $(stat -c %s whole.tar) ]
         rs -q export s -o a.tar; same a.tar
         : > a.tar; rs -q export s -o a.tar; same a.tar",
    );
}
