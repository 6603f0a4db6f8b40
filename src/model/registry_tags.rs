//! The tags that rootstrata gives to what it keeps in a registry. Pure.
//!
//! A tag has up to 128 letters, digits, `_`, `.` and `-` (distribution-spec, "Pulling manifests"). Names of series and stages may
//! hold `+` beside them, which becomes `--`; names that are too long are cut, and end in a hash of the whole, and so do names that others
//! would share a tag with.

use crate::model::digest::{Digest, LayerKey};
use crate::model::time::rfc3339;

const LONGEST_TAG: usize = 128;
const HASH_DIGITS: usize = 12;

const LAYER: &str = "layer-";
const IMAGE: &str = "image-";
const RUN: &str = "run-";

/// Returns the tag of a layer's record; `form` is the name of the compression.
pub fn layer_tag(key: &LayerKey, form: &str) -> String {
    format!("{LAYER}{key}-{form}")
}

/// Returns the tag of an image's record.
pub fn image_tag(manifest: &Digest) -> String {
    format!("{IMAGE}{}", manifest.hex())
}

/// Returns the tag of a push's record: the time in seconds since 1970, and the image.
pub fn run_tag(pushed_s: i64, manifest: &Digest) -> String {
    let time = rfc3339(pushed_s).replace(['-', ':'], "");
    format!("{RUN}{time}-{}", &manifest.hex()[..HASH_DIGITS])
}

/// Returns the tag that moves to the newest image of a stage.
pub fn moving_tag(series: &str, stage: &str) -> String {
    name_of(series, stage, LONGEST_TAG)
}

/// Returns the tag of one image of a stage, which stays with the image.
pub fn fixed_tag(series: &str, stage: &str, manifest: &Digest) -> String {
    let hash = &manifest.hex()[..HASH_DIGITS];
    let name = name_of(series, stage, LONGEST_TAG - HASH_DIGITS - 1);
    format!("{name}-{hash}")
}

/// Tells whether a tag is of a record, and no image's.
pub fn is_record(tag: &str) -> bool {
    [LAYER, IMAGE, RUN].iter().any(|kind| tag.starts_with(kind))
}

/// Tells whether a tag is of a push's record.
pub fn is_run(tag: &str) -> bool {
    tag.starts_with(RUN)
}

/// Tells whether a tag is of a layer's record, and returns the key.
pub fn layer_of(tag: &str) -> Option<LayerKey> {
    let rest = tag.strip_prefix(LAYER)?;
    let (key, form) = rest.split_at_checked(64)?;
    form.strip_prefix('-')?;
    LayerKey::parse(key)
}

/// Tells whether a tag is of an image's record, and returns the digest of the image's manifest.
pub fn image_of(tag: &str) -> Option<Digest> {
    Digest::parse(&format!("sha256:{}", tag.strip_prefix(IMAGE)?))
}

/// Returns the name of a stage in the letters of tags, cut where it is longer. No two stages have one name.
fn name_of(series: &str, stage: &str, longest: usize) -> String {
    let name = format!("{series}.{stage}");
    let tag = name.replace('+', "--");
    let reads_back = !stage.contains('.') && !["--", "+-", "-+"].iter().any(|at| name.contains(at));
    if reads_back && tag.len() <= longest && !is_record(&tag) {
        return tag;
    }
    let hash = blake3::hash(format!("{series}@{stage}").as_bytes()).to_hex();
    let end = tag.len().min(longest - HASH_DIGITS - 1);
    // A name that looks like the tag of a record must not be one.
    let start = if is_record(&tag) { "_" } else { "" };
    let kept = &tag[..end - start.len()];
    format!("{start}{kept}-{}", &hash[..HASH_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = Digest([0xab; 32]);

    #[test]
    fn tags_are_read_back() {
        let key = LayerKey([7; 32]);
        let tag = layer_tag(&key, "zstd");
        assert_eq!(tag.len(), 6 + 64 + 5);
        assert_eq!(layer_of(&tag), Some(key));
        assert_eq!(image_of(&image_tag(&DIGEST)), Some(DIGEST));
        assert_eq!(
            run_tag(951_782_400, &DIGEST),
            "run-20000229T000000Z-abababababab"
        );
    }

    #[test]
    fn names_become_tags_of_their_own() {
        let plain = moving_tag("fedora-44-x86_64", "deps-installed");
        assert_eq!(plain, "fedora-44-x86_64.deps-installed");
        assert_eq!(moving_tag("a+b", "c"), "a--b.c");
        let long = "x".repeat(128);
        let other = format!("{}y", "x".repeat(127));
        for tag in [moving_tag(&long, "s"), fixed_tag(&long, "s", &DIGEST)] {
            assert!(tag.len() <= LONGEST_TAG, "{tag}");
        }
        assert_ne!(moving_tag(&long, "s"), moving_tag(&other, "s"));
        for [(series, stage), (other, others)] in [
            [("a.b", "c"), ("a", "b.c")],
            [("a+b", "c"), ("a--b", "c")],
            [("a-+b", "c"), ("a+-b", "c")],
        ] {
            assert_ne!(moving_tag(series, stage), moving_tag(other, others));
            let fixed = |series, stage| fixed_tag(series, stage, &DIGEST);
            assert_ne!(fixed(series, stage), fixed(other, others));
        }
        assert_eq!(moving_tag("a.b", "c"), "a.b.c");
        assert!(!is_record(&moving_tag("layer-x", "s")));
        assert!(!is_record(&fixed_tag("run-1", "s", &DIGEST)));
    }
}
