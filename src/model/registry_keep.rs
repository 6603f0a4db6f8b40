//! The rules that keep images in a repository of a registry.
//!
//! Pure. The rules are those of a store (see [`keep`](crate::model::keep)), for each stage of each series by itself. The age of an
//! image in a stage is that of its newest push there: a claim of whoever pushed. So the image under the tag that moves is the newest
//! of its stage whatever is claimed, and a time to come makes no image newer than others: such an image stays by the grace,
//! and pushes nobody out.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::keep::{self, Dated};
use crate::model::policy::globs::Globs;
use crate::model::registry_tags::moving_tag;
use crate::model::tree::path::EntryPath;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// The images to keep; without a rule for times or tags, all.
#[derive(Debug)]
pub struct Rules {
    keep: keep::Rules,
    tags: Option<Globs>,
    series: Option<String>,
    grace_s: i64,
}

/// An image, with what is known of its pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The manifest.
    pub digest: Digest,
    /// All tags of the image, sorted.
    pub tags: Vec<String>,
    /// The newest push into each stage, at least one.
    pub pushes: Vec<Push>,
}

/// A push of an image into a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The series.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// When, in seconds since 1970, as the push claims.
    pub pushed_s: i64,
}

/// Why an image stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule that stores have as well.
    Rule(keep::Reason),
    /// A tag matches a glob.
    Tag,
    /// A push of the image is younger than the grace.
    Grace,
    /// The image is of a series that is left alone.
    Series,
    /// An image index names the image.
    Index,
    /// A push, a tag or an index has come to need the image while others were removed.
    Meanwhile,
}

impl Reason {
    /// Returns the name that text and JSON use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule(rule) => rule.name(),
            Self::Tag => "tag",
            Self::Grace => "grace",
            Self::Series => "other series",
            Self::Index => "index",
            Self::Meanwhile => "needed meanwhile",
        }
    }
}

impl Rules {
    /// Takes the rules of stores, globs of tags to keep, the only series to remove from, and the grace in seconds. Fails where a glob
    /// does not parse.
    pub fn new(
        keep: keep::Rules,
        globs: &[String],
        series: Option<String>,
        grace_s: i64,
    ) -> Result<Self> {
        let tags = match globs {
            [] => None,
            globs => Some(Globs::new(globs.iter().map(String::as_str))?),
        };
        let mut keep = keep;
        // Whoever names tags alone does not mean to lose what builders start from.
        if keep.is_empty() && tags.is_some() {
            keep.last = Some(NonZeroUsize::MIN);
        }
        Ok(Self {
            keep,
            tags,
            series,
            grace_s,
        })
    }

    /// Tells whether a push at a time counts as under way. `now_s` and `pushed_s` are in seconds since 1970.
    pub(crate) fn is_in_grace(&self, pushed_s: i64, now_s: i64) -> bool {
        pushed_s >= now_s.saturating_sub(self.grace_s)
    }

    /// Returns why each image stays, in the order of `images`; an image without a reason is to be removed. `now_s` is in seconds
    /// since 1970.
    pub fn kept(&self, images: &[Image], now_s: i64) -> Vec<Vec<Reason>> {
        let mut reasons: Vec<Vec<Reason>> = vec![Vec::new(); images.len()];
        for ((series, _), of_stage) in stages(images, now_s) {
            if self.series.as_ref().is_some_and(|only| only != series) {
                for (at, _) in &of_stage {
                    add(&mut reasons[*at], Reason::Series);
                }
                continue;
            }
            let dated: Vec<Dated> = of_stage.iter().zip(0..).map(dated).collect();
            let of_rules = keep::kept(&self.keep, &dated, now_s);
            for ((at, _), rules) in of_stage.iter().zip(of_rules) {
                for rule in rules {
                    add(&mut reasons[*at], Reason::Rule(rule));
                }
            }
        }
        for (image, reasons) in images.iter().zip(&mut reasons) {
            if image.tags.iter().any(|tag| self.names(tag)) {
                add(reasons, Reason::Tag);
            }
            let mut pushes = image.pushes.iter();
            if pushes.any(|push| self.is_in_grace(push.pushed_s, now_s)) {
                add(reasons, Reason::Grace);
            }
        }
        reasons
    }

    fn names(&self, tag: &str) -> bool {
        let path = EntryPath::from_slashed(tag.as_bytes());
        let globs = self.tags.as_ref();
        globs.is_some_and(|globs| path.is_some_and(|path| globs.matches(&path)))
    }
}

fn add(reasons: &mut Vec<Reason>, reason: Reason) {
    if !reasons.contains(&reason) {
        reasons.push(reason);
    }
}

fn dated<'a>(((_, time_s), id): (&(usize, i64), i64)) -> Dated<'a> {
    Dated {
        id,
        of: ("", ""),
        created_s: *time_s,
        labels: None,
        is_pinned: false,
    }
}

/// Series and stage, with the places of the images and their times in the stage, the oldest first.
type Stages<'i> = BTreeMap<(&'i str, &'i str), Vec<(usize, i64)>>;

fn stages(images: &[Image], now_s: i64) -> Stages<'_> {
    let mut stages = Stages::new();
    for (at, image) in images.iter().enumerate() {
        for push in &image.pushes {
            let of_stage = stages.entry((&push.series, &push.stage)).or_default();
            of_stage.push((at, push.pushed_s));
        }
    }
    for ((series, stage), of_stage) in &mut stages {
        of_stage.sort_by_key(|(at, time_s)| (*time_s <= now_s, *time_s, images[*at].digest));
        let tag = moving_tag(series, stage);
        let Some(moving) = images.iter().position(|image| image.tags.contains(&tag)) else {
            continue;
        };
        let newest_s = of_stage.last().map_or(now_s, |(_, time_s)| *time_s);
        let own = of_stage.iter().position(|(at, _)| *at == moving);
        let moved = own.map(|own| of_stage.remove(own));
        of_stage.push(moved.unwrap_or((moving, newest_s)));
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_000_000;

    fn image(number: u8, tags: &[&str], pushed_s: i64) -> Image {
        Image {
            digest: Digest([number; 32]),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            pushes: vec![Push {
                series: "s".to_owned(),
                stage: "t".to_owned(),
                pushed_s,
            }],
        }
    }

    fn rules(last: usize, globs: &[&str]) -> Rules {
        let keep = keep::Rules {
            last: NonZeroUsize::new(last),
            ..keep::Rules::default()
        };
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        Rules::new(keep, &globs, None, 3_600).unwrap()
    }

    /// The numbers of the images that stay.
    fn stay(rules: &Rules, images: &[Image]) -> Vec<u8> {
        let kept = rules.kept(images, NOW_S).into_iter().zip(images);
        let kept = kept.filter(|(reasons, _)| !reasons.is_empty());
        kept.map(|(_, image)| image.digest.0[0]).collect()
    }

    #[test]
    fn without_a_rule_all_images_stay() {
        let images = [image(1, &["a"], 1), image(2, &["b"], 2)];
        assert_eq!(stay(&rules(0, &[]), &images), [1, 2]);
    }

    #[test]
    fn the_newest_stay_and_what_a_glob_names() {
        let images = [1, 2, 3, 4].map(|n| image(n, &[&format!("v{n}.0")], i64::from(n)));
        assert_eq!(stay(&rules(2, &[]), &images), [3, 4]);
        assert_eq!(stay(&rules(1, &["v1.*", "v2*"]), &images), [1, 2, 4]);
        assert_eq!(stay(&rules(0, &["v2*"]), &images), [2, 4]);
    }

    #[test]
    fn the_image_under_the_moving_tag_is_the_newest_whatever_is_claimed() {
        let images = [image(1, &["s.t"], 1), image(2, &["b"], 2)];
        assert_eq!(stay(&rules(1, &[]), &images), [1]);
        // Also where it was pushed into another stage.
        let mut moved = images;
        moved[0].pushes[0].stage = "u".to_owned();
        assert_eq!(stay(&rules(1, &[]), &moved), [1]);
    }

    #[test]
    fn a_time_to_come_stays_and_pushes_nobody_out() {
        let images = [
            image(1, &["a"], 1),
            image(2, &["b"], i64::MAX),
            image(3, &["c"], NOW_S + 5),
            image(4, &["d"], i64::MIN),
        ];
        assert_eq!(stay(&rules(1, &[]), &images), [1, 2, 3]);
    }

    #[test]
    fn a_push_within_the_grace_keeps_its_image() {
        let images = [
            image(1, &["a"], NOW_S - 3_600),
            image(2, &["b"], NOW_S - 3_601),
            image(3, &["c"], NOW_S),
        ];
        assert_eq!(stay(&rules(1, &[]), &images), [1, 3]);
    }

    #[test]
    fn an_image_stays_while_any_stage_keeps_it_and_other_series_are_left_alone() {
        let mut images = [image(1, &["a"], 1), image(2, &["b"], 2)];
        images[0].pushes.push(Push {
            series: "other".to_owned(),
            stage: "t".to_owned(),
            pushed_s: 1,
        });
        assert_eq!(stay(&rules(1, &[]), &images), [1, 2]);
        let mut only = rules(1, &[]);
        only.series = Some("other".to_owned());
        assert_eq!(stay(&only, &images), [1, 2]);
        only.series = Some("s".to_owned());
        images[0].pushes.remove(1);
        assert_eq!(stay(&only, &images), [2]);
    }
}
