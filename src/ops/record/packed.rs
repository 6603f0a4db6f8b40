//! From a plan to an image in the store, and from there to a recorded snapshot.

use crate::error::Result;
use crate::model::packages::owners::Installed;
use crate::model::plan::{NeedsWhole, Plan};
use crate::model::policy::normalise::StableVolatile;
use crate::ops::record::content::Content;
use crate::ops::record::deferred::{Hashed, hash_pending};
use crate::ops::record::files::FilesOfRoot;
use crate::ops::record::image::Image;
use crate::ops::record::recorded::{Recorded, Recording};
use crate::ops::record::session::Session;
use crate::ops::record::totals::Totals;
use crate::ops::root_view::facts::in_root;
use crate::ops::root_view::image_settings::image_settings;
use crate::ops::root_view::observation::free_aside;
use crate::store::{PackagesOf, StampState};

/// A tree and the plan of the layers.
pub(super) struct PlannedContent {
    pub content: Content,
    pub plan: Plan,
}

/// A tree with all contents known, and an image with durable blobs.
pub(super) struct Packed {
    sides: StableVolatile,
    plan: Plan,
    image: Image,
    packages: Option<Vec<Installed>>,
    totals: Totals,
    sockets: u64,
    stamps: StampState,
    paths_planned: u64,
}

impl PlannedContent {
    /// Plans the layers of the content. Returns [`NeedsWhole`] if the subset is not enough. Fails if what mounts hide cannot be
    /// read from the store.
    pub(super) fn new(
        mut content: Content,
        session: &Session,
    ) -> Result<std::result::Result<Self, NeedsWhole>> {
        let plan = content.plan(session)?;
        Ok(plan.map(|plan| Self { content, plan }))
    }

    /// Hashes the pending files and packs the new layers. Fails if a file is not as the scan found it, cannot be read or packed, or the store cannot be written.
    pub(super) fn pack(self, session: &mut Session) -> Result<Packed> {
        let Self { content, plan } = self;
        let Content {
            observation,
            subset,
            prior: _,
            sides,
            derived,
            packages,
            user,
            stamps,
            paths_planned,
        } = content;
        let Hashed {
            sides,
            ahead,
            mut stamps,
        } = hash_pending(session, &plan, sides, (&observation, &derived), stamps)?;
        let installed = packages.as_deref().unwrap_or_default();
        let known = installed.iter().map(|one| &one.package);
        let settings = image_settings(user.as_ref(), known, &session.policy);
        let files = FilesOfRoot::of(session, &derived);
        let image = Image::of_plan(session, &files, &plan.filled(&sides), ahead, &settings)
            .map_err(|error| in_root(error, session.root.path()))?;
        let is_known_whole = observation.is_known_whole();
        stamps.dead_bytes = plan.dead_bytes().filter(|_| is_known_whole);
        let sockets = observation.sockets;
        free_aside(observation);
        let totals = match &subset {
            Some(subset) => subset.totals(&sides),
            None => Totals::of_sides(&sides, |_| true),
        };
        Ok(Packed {
            sides,
            plan,
            image,
            packages,
            totals,
            sockets,
            stamps,
            paths_planned,
        })
    }
}

impl Packed {
    /// Records the snapshot. Fails if the store cannot be written.
    pub(super) fn record(self, session: &mut Session) -> Result<Recorded> {
        let planned = self.plan.filled(&self.sides);
        let packages = self
            .packages
            .as_deref()
            .map_or(PackagesOf::Unknown, PackagesOf::These);
        let id = session.record(&Recording {
            layers: &self.image.to_record(&planned),
            image: &self.image,
            packages,
            totals: self.totals,
            sockets: self.sockets,
            stamps: self.stamps,
        })?;
        drop(planned);
        free_aside(self.sides);
        Ok(Recorded {
            id,
            paths_planned: self.paths_planned,
        })
    }
}
