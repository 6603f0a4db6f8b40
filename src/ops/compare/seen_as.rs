//! Sides that are no snapshots, normalised as the other side was recorded.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::packages::owners::Installed;
use crate::model::packages::version::Manager;
use crate::model::policy::normalise::StableVolatile;
use crate::model::policy::{Policy, Profile, Rules};
use crate::model::source::Source;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, FileContent};
use crate::oci::read::{FoundImage, Opened};
use crate::ops::compare::by_records::{ByRecords, WantedFiles};
use crate::ops::compare::side::{Access, RootPackages, Side, SideLayer};
use crate::ops::monitor::{Phase, Phases};
use crate::ops::root_view::attempts::until_unchanged;
use crate::ops::root_view::build_user::BuildUser;
use crate::ops::root_view::derived::{Derived, derive};
use crate::ops::root_view::facts::RootFiles;
use crate::ops::root_view::image::{LayerTotals, read_image};
use crate::ops::root_view::live_root::LiveRoot;
use crate::ops::root_view::members::Members;
use crate::ops::root_view::normalise_as::{Manner, all_read, normalise_as, united};
use crate::ops::root_view::package_files::{PackageFiles, temporary_directory};
use crate::ops::root_view::packages::read_packages;
use crate::ops::root_view::stamped_scan::{StampedScan, scan_with_stamps};
use crate::store::Snapshot;
use crate::store::StampState;
use crate::store::Stamps;
use crate::store::Store;
use std::num::NonZeroUsize;
use std::path::Path;

/// The policy that normalises a side.
pub(super) struct SeenAs {
    /// The policy of the other side, if the other side is a snapshot.
    pub recorded: Option<Policy>,
    /// The policy of the other side, or the plain policy.
    policy: Policy,
    rules: Rules,
}

impl SeenAs {
    /// Takes the policy and the stage of `counterpart`, if `counterpart` is a snapshot. Fails if a glob of the policy is
    /// malformed.
    pub(super) fn beside(counterpart: Option<&Side>) -> Result<Self> {
        let mut recorded = None;
        let mut stage = "";
        if let Some(side) = counterpart
            && let Some(snapshot) = &side.snapshot
        {
            recorded = side.policy.clone();
            stage = snapshot.stage.as_str();
        }
        let policy = recorded.clone().unwrap_or_else(Policy::plain);
        Ok(Self {
            recorded,
            rules: policy.rules(stage)?,
            policy,
        })
    }

    fn manner(&self) -> Manner<'_> {
        Manner {
            policy: &self.policy,
            rules: &self.rules,
        }
    }
}

/// A directory that was read and normalised.
pub(super) struct DirectoryView {
    sides: StableVolatile,
    packages: Option<RootPackages>,
    derived: Derived,
}

impl DirectoryView {
    /// Returns the tree, the packages, and the contents of derived files. A path on which something is mounted counts as `other` has it.
    pub(super) fn beside(mut self, other: Option<&Tree>) -> (Tree, Option<RootPackages>, Derived) {
        if let Some(other) = other {
            self.sides.keep_below_mounts(other);
        }
        (united(self.sides), self.packages, self.derived)
    }
}

/// A directory looked at.
pub(super) enum FoundDirectory {
    /// The directory has the tree of a recorded snapshot: every stamp vouches, and none is left over.
    Recorded(Box<Snapshot>),
    /// The directory has another tree.
    Viewed(DirectoryView),
}

/// The view of a directory.
pub(super) struct Viewing<'a> {
    pub root: &'a Root,
    pub seen_as: &'a SeenAs,
    /// The store with the stamps, if there is a store.
    pub store: Option<Store>,
    pub threads: NonZeroUsize,
    pub phases: &'a Phases<'a>,
}

impl Viewing<'_> {
    /// Views the directory. Asks `recorded` first for the snapshot with the number that the stamps name. Fails if a part of
    /// the directory cannot be read or normalised, or keeps changing.
    pub(super) fn find(
        mut self,
        recorded: impl Fn(i64) -> Result<Option<Snapshot>>,
    ) -> Result<FoundDirectory> {
        until_unchanged(|| {
            let scan = self.scan()?;
            if let Some((id, _)) = scan.same_as()
                && let Some(snapshot) = recorded(id)?
            {
                return Ok(FoundDirectory::Recorded(Box::new(snapshot)));
            }
            self.view(scan).map(FoundDirectory::Viewed)
        })
    }

    /// Views the directory without asking for a snapshot. Fails if a part of the directory cannot be read or normalised, or
    /// if the directory changes during each attempt.
    pub(super) fn view_all(mut self) -> Result<DirectoryView> {
        until_unchanged(|| {
            let scan = self.scan()?;
            self.view(scan)
        })
    }

    fn scan(&mut self) -> Result<StampedScan> {
        let (root, rules) = (self.root, &self.seen_as.rules);
        let store = &mut self.store;
        let load = || {
            let stamps = match store {
                Some(store) => store.stamps(root.path())?,
                None => (Stamps::default(), StampState::default()),
            };
            Ok((stamps, ()))
        };
        let (scan, ()) = scan_with_stamps(root, rules, self.threads, self.phases, load)?;
        Ok(scan)
    }

    fn view(&self, scan: StampedScan) -> Result<DirectoryView> {
        let Self {
            root,
            seen_as,
            threads,
            phases,
            ..
        } = self;
        let observed = scan.read(root, None, &[], *threads, phases)?;
        observed.check(root, *threads)?;
        let live = LiveRoot {
            root,
            observed: &observed,
        };
        let scratch = temporary_directory()?;
        let packages = phases.run(Phase::Packages, None, || {
            read_packages(&live, scratch.path(), phases.monitor)
        })?;
        let user = BuildUser::find(&live, seen_as.policy.profile)?;
        let home = user.as_ref().and_then(|user| user.home.as_ref());
        let installed = installed(packages.as_ref());
        let manner = seen_as.manner();
        let sides = normalise_as(manner, &live, installed, home)?;
        let (sides, derived) = seen_as.derive(
            sides,
            &live,
            (packages.as_ref(), user.as_ref()),
            scratch.path(),
            phases,
        )?;
        Ok(DirectoryView {
            sides: all_read(sides, &live)?,
            packages,
            derived,
        })
    }
}

/// The view of an image.
pub(super) struct ImageViewing<'a> {
    pub source: &'a Source,
    pub seen_as: SeenAs,
    /// The store with layers that need not be read, if there is a store.
    pub store: Option<&'a Store>,
    pub phases: &'a Phases<'a>,
}

impl ImageViewing<'_> {
    /// Views an image, by its records if they are known. Fails if a blob cannot be read or is not what its digest says, and if a
    /// layer has an entry that no layer may have.
    pub(super) fn view(
        self,
        opened: Opened,
        image: FoundImage,
        records: Option<ByRecords>,
    ) -> Result<Side> {
        let kept = PackageFiles::create()?;
        let ImageContent {
            entries,
            totals,
            packages,
        } = self.read(&opened, &image, records, &kept)?;
        let (tree, derived) = if self.seen_as.recorded.is_some() {
            self.seen_as.tree(
                entries,
                packages.as_ref(),
                &kept,
                (opened.path(), self.phases),
            )?
        } else {
            (Tree::new(entries), Derived::default())
        };
        let layers = image.layers.iter().zip(&totals);
        let layers = layers.map(|(layer, totals)| SideLayer::of_image(layer, totals));
        Ok(Side {
            source: self.source.clone(),
            snapshot: None,
            layers: layers.collect(),
            tree,
            packages,
            policy: self.seen_as.recorded,
            access: Access::Image(Box::new(opened), Box::new(image)),
            derived,
            told: None,
        })
    }

    /// Reads an image by its records, or else by its layers.
    fn read(
        &self,
        opened: &Opened,
        image: &FoundImage,
        records: Option<ByRecords>,
        kept: &PackageFiles,
    ) -> Result<ImageContent> {
        let phases = self.phases;
        let mut recorded = None;
        let (entries, totals) = match records {
            Some(mut records) => {
                let wanted = self.seen_as.wanted_files();
                let read = phases.run(Phase::Compare, None, || {
                    records.read(opened, image, wanted, kept)
                })?;
                recorded = records.packages;
                read
            }
            None => {
                let advance = |bytes| phases.monitor.advance(bytes);
                phases.run(Phase::Read, Some(image.blobs_bytes()), || {
                    read_image(opened, image, self.store, kept, &advance)
                })?
            }
        };
        let packages = match recorded {
            Some(all) => Some(RootPackages {
                manager: Manager::Rpm,
                all,
            }),
            None => phases.run(Phase::Packages, None, || {
                let files = kept.of_tree(&entries, opened.path());
                read_packages(&files, kept.directory(), phases.monitor)
            })?,
        };
        Ok(ImageContent {
            entries,
            totals,
            packages,
        })
    }
}

/// What an image has.
struct ImageContent {
    entries: Vec<Entry>,
    totals: Vec<LayerTotals>,
    packages: Option<RootPackages>,
}

/// Returns the packages known to a snapshot: those of rpm.
fn installed(packages: Option<&RootPackages>) -> &[Installed] {
    let known = packages.filter(|packages| packages.manager == Manager::Rpm);
    known.map_or(&[], |packages| packages.all.as_slice())
}

impl SeenAs {
    /// Returns the files wanted of an image whose entries and packages are known.
    fn wanted_files(&self) -> WantedFiles {
        WantedFiles {
            users: self.recorded.is_some() && self.policy.profile == Profile::Mock,
            state: self.rules.derivations().is_some(),
            packages: false,
        }
    }

    /// Returns the tree of an image with these entries and packages, normalised, and the contents of derived files. `shown` names the
    /// image in errors.
    fn tree(
        &self,
        entries: Vec<Entry>,
        packages: Option<&RootPackages>,
        kept: &PackageFiles,
        (shown, phases): (&Path, &Phases),
    ) -> Result<(Tree, Derived)> {
        let files = kept.of_tree(&entries, shown);
        let files = files.as_scanned(&self.rules);
        let user = BuildUser::find(&files, self.policy.profile)?;
        let home = user.as_ref().and_then(|user| user.home.as_ref());
        let members = Members::new(entries.clone(), &self.rules, shown);
        let sides = normalise_as(self.manner(), &members, installed(packages), home)?;
        let (sides, derived) = self.derive(
            sides,
            &files,
            (packages, user.as_ref()),
            kept.directory(),
            phases,
        )?;
        Ok((united(all_read(sides, &members)?), derived))
    }

    /// Normalises the state, as far as the policy wants that and the packages of rpm are known. A database that cannot be
    /// normalised counts as found, with a note.
    fn derive(
        &self,
        sides: StableVolatile<FileContent>,
        files: &impl RootFiles,
        (packages, user): (Option<&RootPackages>, Option<&BuildUser>),
        scratch: &Path,
        phases: &Phases,
    ) -> Result<(StableVolatile<FileContent>, Derived)> {
        let known = packages.filter(|packages| packages.manager == Manager::Rpm);
        let (Some(known), Some(derivations)) = (known, self.rules.derivations()) else {
            return Ok((sides, Derived::default()));
        };
        let rules = (derivations, self.policy.epoch_s());
        match derive(&sides, rules, files, (&known.all, user), scratch) {
            Ok((volatile, derived)) => Ok((StableVolatile { volatile, ..sides }, derived)),
            Err(error @ (Error::NotNormalizable { .. } | Error::RpmDatabase { .. })) => {
                phases
                    .monitor
                    .note(&format!("{error}; its state is compared as found"));
                Ok((sides, Derived::default()))
            }
            Err(error) => Err(error),
        }
    }
}
