//! Removes images and records from a repository of a registry, by rule.
//!
//! Needs no store. Of a kept image stay the manifest, the record, the records of the layers, and the newest record of a push, with
//! the time. Image and layers of a push within the grace stay, whether the image is there yet or not. Images and indexes of
//! others stay, with the manifests in the indexes. Blobs are for the registry to collect.

mod plan;
mod removal;
pub(super) mod survey;

use crate::error::{Error, Result};
use crate::model::keep;
use crate::model::registry_keep::{Image, Reason, Rules};
use crate::model::repository::Repository;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::remote::prune::plan::Plan;
use crate::ops::remote::prune::removal::Removal;
use crate::ops::remote::prune::survey::{Asked, Survey};
use crate::registry::{Access, Client, Right, Traffic};
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The repository, and the rules.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: Repository,
    /// The rules that keep images; without a rule, and without `keep_tags`, all stay.
    pub rules: keep::Rules,
    /// Globs of tags; an image with such a tag stays.
    pub keep_tags: Vec<String>,
    /// The series to remove from; images of other series stay.
    pub series: Option<String>,
    /// For how long after its beginning a push counts as under way, in seconds.
    pub grace_s: i64,
    /// Find out, and remove nothing.
    pub dry_run: bool,
    /// How registries are reached.
    pub access: Access,
    /// How many requests are made at once.
    pub jobs: NonZeroUsize,
}

/// The kept and the removed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The repository, as `HOST/NAME`.
    pub repository: String,
    /// The images that stay, those of a stage together and the newest first, with the reasons.
    pub kept: Vec<(Image, Vec<Reason>)>,
    /// The images that are gone.
    pub removed: Vec<Image>,
    /// The number of manifests of others, all kept.
    pub others: u64,
    /// The number of removed records of images, of layers and of pushes; for a dry run, the number to be removed.
    pub records: [u64; 3],
    /// The number of records that stay.
    pub kept_records: u64,
    /// The number of tags of records without a record, all kept.
    pub odd: u64,
    /// The traffic with the registry.
    pub traffic: Traffic,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Prunes a repository. Fails with [`Error::BadGlob`](crate::error::Error::BadGlob) for a glob that does not parse, with
/// [`Error::NoDeletion`](crate::error::Error::NoDeletion) if the registry deletes nothing, and if the registry does not answer. Kept
/// images are whole all the same, and the next prune goes on.
pub fn prune(request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    let rules = Rules::new(
        request.rules.clone(),
        &request.keep_tags,
        request.series.clone(),
        request.grace_s,
    )?;
    let right = if request.dry_run {
        Right::Pull
    } else {
        Right::Delete
    };
    let client = Client::open(&request.repository, &request.access, right)?;
    let asked = Asked {
        client: &client,
        jobs: request.jobs,
    };
    let phases = Phases::new(monitor);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.unwrap_or_default().as_secs().cast_signed();
    let survey = phases.run(Phase::Scan, None, || Survey::read(&asked))?;
    if survey.listed.is_empty() {
        return Err(Error::UnfitTarget {
            target: request.repository.to_string(),
            what: "the registry has no such repository, or nothing in it",
        });
    }
    let plan = phases.run(Phase::Plan, None, || {
        Plan::of(&asked, &survey, &rules, now_s)
    })?;
    let mut outcome = Outcome::of(request, &survey, &plan);
    if !request.dry_run {
        let removal = Removal::new(asked, survey, &plan, monitor);
        let (removed, needed) = phases.run(Phase::Remove, None, || removal.run(&plan))?;
        let images = &mut outcome.removed;
        let spared = images.extract_if(.., |image| needed.contains(&image.digest));
        let spared = spared.map(|image| (image, vec![Reason::Meanwhile]));
        outcome.kept.extend(spared);
        let all = outcome.kept_records + outcome.records.iter().sum::<u64>();
        outcome.records = [removed.image_records, removed.layer_records, removed.runs];
        outcome.kept_records = all.saturating_sub(outcome.records.iter().sum());
        outcome.odd += removed.odd;
    }
    outcome.traffic = client.traffic();
    outcome.seconds = phases.spent();
    Ok(outcome)
}

impl Outcome {
    /// Returns the number of tags of the images that are gone.
    pub fn removed_tags(&self) -> u64 {
        let tags = self.removed.iter().map(|image| image.tags.len());
        tags.sum::<usize>() as u64
    }

    /// Returns the outcome of a plan if nothing comes between.
    fn of(request: &Request, survey: &Survey, plan: &Plan) -> Self {
        let going = [
            plan.image_records.len(),
            plan.layer_records.len(),
            plan.runs.len(),
        ];
        let all = survey.image_records.len() + survey.layer_records.len() + survey.runs.len();
        Self {
            repository: request.repository.to_string(),
            kept: plan.kept.clone(),
            removed: plan.going.clone(),
            others: plan.others,
            records: going.map(|count| count as u64),
            kept_records: (all - going.iter().sum::<usize>()) as u64,
            odd: survey.odd,
            traffic: Traffic::default(),
            seconds: Vec::new(),
        }
    }
}
