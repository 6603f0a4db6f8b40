//! The common ground of all states of a recording: store, root, policy, and the place of the new snapshot among the others.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::packages::owners::Installed;
use crate::model::plan::Limits;
use crate::model::plan::layer::Role;
use crate::model::plan::{
    Given, LayerRule, NeedsWhole, PackagePlanner, Plan, Planner, SMALLEST_PACKAGE_BYTES,
    StagePlanner,
};
use crate::model::policy::state::StateRule;
use crate::model::policy::{MtimeRule, Policy, Profile, Rules};
use crate::model::tree::entry::Content;
use crate::ops::monitor::{Monitor, Phases};
use crate::ops::packing::Packer;
use crate::ops::record::first::{FirstOf, PackagesBefore, refuse_mock_directory};
use crate::ops::record::lineage::{Lineage, Manner};
use crate::ops::record::options::Options;
use crate::ops::record::rule::ChosenRule;
use crate::ops::record::slot::{StageSlot, check_names, series_of};
use crate::ops::remote::known_layers::KnownLayers;
use crate::ops::root_view::packages::has_rpm_database;
use crate::ops::store_inside::{entry_path, refuse_store_inside};
use crate::store::{LayerUse, Snapshot, Store};
use std::num::NonZeroUsize;
use std::path::Path;

/// More threads only wait for each other.
const MOST_THREADS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// A recording of a root, over all attempts.
pub(super) struct Session<'m> {
    pub store: Store,
    pub root: Root,
    pub options: Options,
    pub policy: Policy,
    pub phases: Phases<'m>,
    /// The stage of the new snapshot.
    pub slot: StageSlot,
    /// Set for the first snapshot of a store, a series or a stage.
    pub first_of: Option<FirstOf>,
    /// The packages of the last time.
    pub packages_before: Option<PackagesBefore>,
    /// How the snapshot is to be cut into layers, before packages are known.
    chosen: ChosenRule,
    /// The globs of the policy at the stage.
    pub rules: Rules,
    /// What layers must share to be continued.
    pub manner: Manner,
    /// The snapshots and layers below.
    pub lineage: Lineage,
    /// The registry that may have layers.
    pub registry: Option<KnownLayers>,
    /// Whether files may be hashed when their layers are packed. A deferred file must be packed as found; in a root that does
    /// not hold still, less time may pass.
    pub may_defer: bool,
    /// Whether the changed paths alone may be planned.
    pub may_plan_subset: bool,
}

impl<'m> Session<'m> {
    /// Opens root and store, and finds the stage. Fails if a name in `options` is malformed, the root cannot be opened or
    /// holds the store, or the store cannot be opened or made.
    pub(super) fn open(
        store_path: &Path,
        root: &Path,
        options: &Options,
        monitor: &'m dyn Monitor,
    ) -> Result<Self> {
        check_names(options)?;
        let root = Root::open(root)?;
        let series = series_of(&root, options)?;
        refuse_mock_directory(&root, options.profile)?;
        let policy = policy_of(&root, options);
        if policy.profile == Profile::Plain && policy.state == StateRule::Normalized {
            return Err(Error::NotNormalizable {
                path: root.path().to_owned(),
                reason: "the profile plain has none (--profile mock, with an rpm database, has)",
            });
        }
        refuse_store_inside(store_path, &root, &policy)?;
        let store = Store::open_or_create(store_path)?;
        for finding in store.findings() {
            monitor.note(&format!("{finding}; it is made anew"));
        }
        let from = options.from.as_ref();
        let registry = from
            .map(|from| KnownLayers::open(from, monitor))
            .transpose()?;
        let registry = registry.flatten();
        let slot = StageSlot::find(&store, &series, options)?;
        let chosen = ChosenRule::choose(&store, &slot, options, &policy)?;
        let manner = Manner {
            policies: policy.keys_alike(),
            rule: chosen.rule,
        };
        Ok(Self {
            rules: policy.rules(&slot.stage)?,
            lineage: Lineage::find(&store, &slot, options, &manner)?,
            first_of: FirstOf::find(&store, &slot.series, &slot.stage)?,
            // Without the last snapshot there is no warning; whoever builds upon it says what is damaged.
            packages_before: PackagesBefore::find(&store, &slot.series, &slot.stage)
                .unwrap_or(None),
            manner,
            chosen,
            slot,
            options: Options {
                threads: options.threads.min(MOST_THREADS),
                ..options.clone()
            },
            policy,
            store,
            root,
            phases: Phases::new(monitor),
            // The key of a layer is known before it is packed.
            may_defer: registry.is_none(),
            registry,
            may_plan_subset: true,
        })
    }

    /// Prepares another attempt after the root has changed at `path`: the stamp of the path may have vouched wrongly, and
    /// would again. Fails if the stamp cannot be removed from the database, and as [`Self::attempt_whole`] does.
    pub(super) fn attempt_again(&mut self, path: &Path) -> Result<()> {
        let inside = path.strip_prefix(self.root.path());
        if let Some(inside) = inside.ok().and_then(entry_path) {
            self.store.forget_stamp(self.root.path(), inside.key())?;
        }
        self.may_defer = false;
        self.find_slot()
    }

    /// Prepares another attempt to plan all paths. Fails if the run has got all usual stages meanwhile, or the parent asked for
    /// is gone.
    pub(super) fn attempt_whole(&mut self) -> Result<()> {
        self.may_plan_subset = false;
        self.find_slot()
    }

    /// Another run may have recorded a snapshot since.
    fn find_slot(&mut self) -> Result<()> {
        let Self {
            store,
            options,
            manner,
            policy,
            ..
        } = self;
        self.slot = StageSlot::find(store, &self.slot.series, options)?;
        self.rules = policy.rules(&self.slot.stage)?;
        self.chosen = ChosenRule::choose(store, &self.slot, options, policy)?;
        manner.rule = self.chosen.rule;
        self.lineage = Lineage::find(store, &self.slot, options, manner)?;
        Ok(())
    }

    /// Returns the last snapshot of the stage, if recorded under a policy that gives the same layers but the state. Fails if the row of the stage's newest snapshot
    /// is damaged.
    pub(super) fn last_of_stage(&self) -> Result<Option<Snapshot>> {
        let StageSlot { series, stage, .. } = &self.slot;
        let last = self.store.latest_of_stage(series, stage)?;
        Ok(last.filter(|last| self.manner.policies.contains(&last.policy_key)))
    }

    /// Returns the snapshot with number `id`, if recorded for the stage under the same policy and cut into layers by the same
    /// rule. Fails if the snapshot's row is damaged.
    pub(super) fn of_stage(&self, id: i64) -> Result<Option<Snapshot>> {
        let snapshot = self.store.snapshot(id)?;
        let Some(snapshot) = snapshot else {
            return Ok(None);
        };
        if !self.slot.holds(&snapshot, &self.policy.key()) || !self.manner.cuts_as(&snapshot) {
            return Ok(None);
        }
        // Package layers imported may be anything and lie anywhere, and may be of an image without a rule, which counts
        // as cut by stages.
        let layers = self.store.layers(snapshot.id)?;
        let is_claimed = |layer: &LayerUse| layer.role == Role::Package && layer.reason.is_none();
        let is_ours = !layers.iter().any(is_claimed);
        Ok(is_ours.then_some(snapshot))
    }

    /// Settles the rule by the packages of the root. Where that makes another of it, the series has no snapshot to build upon,
    /// and the layers below are none by either rule.
    pub(super) fn settle_rule(&mut self, packages: Option<&[Installed]>) {
        self.manner.rule = self.chosen.over(packages);
    }

    /// Tells whether packages decide about entries or layers.
    pub(super) fn asks_packages(&self) -> bool {
        self.policy.mtime == MtimeRule::Package
            || self.policy.state == StateRule::Normalized
            || self.cuts_by_packages()
    }

    /// Returns when a base or a delta is made anew.
    pub(super) fn limits(&self) -> Limits {
        let usual = self.manner.rule.usual_limits();
        self.options.limits.or(usual)
    }

    /// Tells whether packages have layers of their own.
    pub(super) fn cuts_by_packages(&self) -> bool {
        self.manner.rule.is_by_packages()
    }

    /// Lists the layers of a tree by the rule asked for. Fails with [`NeedsWhole`] as a planner does.
    pub(super) fn plan<C: Content>(
        &self,
        given: &Given<C>,
    ) -> std::result::Result<Plan, NeedsWhole> {
        let remainder = StagePlanner {
            stage: &self.slot.stage,
        };
        match self.manner.rule {
            LayerRule::Stages => remainder.plan(given),
            LayerRule::Packages(most) => PackagePlanner {
                remainder,
                most,
                smallest_bytes: SMALLEST_PACKAGE_BYTES,
            }
            .plan(given),
        }
    }

    /// Returns the packer of new layers.
    pub(super) fn packer(&self) -> Packer<'_> {
        Packer {
            store: &self.store,
            compression: self.options.compression,
            threads: self.options.threads,
        }
    }
}

fn policy_of(root: &Root, options: &Options) -> Policy {
    let profile = options.profile.unwrap_or_else(|| {
        if has_rpm_database(root) {
            Profile::Mock
        } else {
            Profile::Plain
        }
    });
    let defaults = match profile {
        Profile::Mock => Policy::mock(),
        Profile::Plain => Policy::plain(),
    };
    Policy {
        exclude: options.exclude.clone(),
        volatile: options.volatile.clone(),
        mtime: options.mtime.unwrap_or(defaults.mtime),
        epoch_s: options.epoch_s,
        state: options.state,
        ..defaults
    }
}
