//! The identity of an image, before anything of the image is taken: series, stage, policy, and whether rootstrata made
//! the image.

use crate::error::{Error, Result, show};
use crate::layer::codec::Codec;
use crate::model::names::{BOOTSTRAP, check_name, check_series};
use crate::model::origin::{Origin, Planned};
use crate::model::plan::MOST_LAYERS;
use crate::model::policy::Policy;
use crate::oci::read::{FoundImage, ListedImage, Opened};
use crate::ops::monitor::Monitor;
use crate::printable::printable;

/// An image to take.
pub(crate) struct Found {
    pub image: FoundImage,
    pub origin: Origin,
    pub policy: Policy,
    /// Whether the layers claim to be rootstrata's.
    pub is_ours: bool,
}

impl Found {
    /// Returns the name for messages.
    pub(crate) fn shown(&self) -> String {
        format!("{}@{}", self.origin.series, self.origin.stage)
    }
}

/// Identifies the images of a source.
pub(crate) struct Finder<'a> {
    pub opened: &'a Opened,
    /// The requested series.
    pub series: Option<&'a str>,
    /// The requested stage.
    pub stage: Option<&'a str>,
    /// Whether all images are taken, and so entries without layers are passed over.
    pub takes_all: bool,
    pub monitor: &'a dyn Monitor,
}

impl Finder<'_> {
    /// Identifies an image; `None` for an entry of an index that is no image. Fails with [`Error::BadImage`] if the
    /// image cannot be read, has layers that no store takes, or is of no known series, and with [`Error::BadName`] for
    /// a bad name in the claims.
    pub(crate) fn find(&self, listed: ListedImage) -> Result<Option<Found>> {
        let image = self.opened.image_of(listed.manifest.clone())?;
        if self.takes_all && image.layers.is_empty() {
            return Ok(None);
        }
        self.check_layers(&image)?;
        let policy = self.policy(listed.origin.as_ref());
        let is_ours = image.layers.iter().any(|layer| layer.key.is_some());
        let (series, stage) = self.names(&listed)?;
        let planned = self.planned(listed.origin.as_ref(), &image, is_ours);
        let (labels, recorded) = listed
            .origin
            .map(|origin| (origin.labels, origin.recorded))
            .unwrap_or_default();
        let recorded = recorded.filter(|recorded| check_name("run", &recorded.run).is_ok());
        let origin = Origin {
            series,
            stage,
            policy: policy.canonical(),
            planned,
            labels,
            recorded,
        };
        Ok(Some(Found {
            image,
            origin,
            policy,
            is_ours,
        }))
    }

    fn check_layers(&self, image: &FoundImage) -> Result<()> {
        let count = image.layers.len();
        if count > MOST_LAYERS {
            return Err(self.bad(format!("it has {count} layers, more than {MOST_LAYERS}")));
        }
        let mut types = image.layers.iter().map(|layer| &layer.media_type);
        if let Some(other) = types.find(|one| Codec::of_media_type(one).is_none()) {
            let media_type = printable(other.as_bytes());
            return Err(self.bad(format!(
                "its layers are {media_type}, not of OCI: copy it with skopeo copy --format oci"
            )));
        }
        Ok(())
    }

    /// Returns the claimed policy, or the plain policy.
    fn policy(&self, origin: Option<&Origin>) -> Policy {
        let Some(origin) = origin else {
            return Policy::plain();
        };
        Policy::from_canonical(&origin.policy)
            .filter(|policy| policy.rules("").is_ok())
            .unwrap_or_else(|| {
                let what = "a policy that this rootstrata does not know: it is recorded as plain";
                self.note_claim(origin, what);
                Policy::plain()
            })
    }

    /// Returns the claimed planner and labels, if the image can have been listed so.
    fn planned(
        &self,
        origin: Option<&Origin>,
        image: &FoundImage,
        is_ours: bool,
    ) -> Option<Planned> {
        let origin = origin?;
        let planned = origin.planned.clone()?;
        if is_ours && planned.fits(image.layers.len()) {
            return Some(planned);
        }
        let what = "names of layers that it cannot have: it is recorded without";
        self.note_claim(origin, what);
        None
    }

    fn note_claim(&self, origin: &Origin, what: &str) {
        let image = printable(format!("{}@{}", origin.series, origin.stage).as_bytes());
        let source = show(self.opened.path());
        self.monitor
            .note(&format!("{source}: {image} claims {what}"));
    }

    /// Returns series and stage: as asked for, else as the image says.
    fn names(&self, listed: &ListedImage) -> Result<(String, String)> {
        let name = listed.name.as_deref();
        let named = name.and_then(|name| name.rsplit_once(':'));
        let origin = listed.origin.as_ref();
        let said = origin.map(|origin| (origin.series.as_str(), origin.stage.as_str()));
        // Others need not use names of our kind; an image that claims to be ours must.
        if let Some((series, stage)) = said {
            check_series(self.series.unwrap_or(series))?;
            check_name("stage", self.stage.unwrap_or(stage))?;
        }
        let said = said.or(named).filter(|(series, stage)| {
            check_series(series).is_ok() && check_name("stage", stage).is_ok()
        });
        let series = self.series.or(said.map(|(series, _)| series));
        let stage = self.stage.or(said.map(|(_, stage)| stage));
        let Some(series) = series else {
            return Err(self.bad("nothing says which series it is of: give --series and --stage"));
        };
        Ok((series.to_owned(), stage.unwrap_or(BOOTSTRAP).to_owned()))
    }

    fn bad(&self, what: impl Into<String>) -> Error {
        bad_image(self.opened, what)
    }
}

/// Says the fault of an image.
pub(crate) fn bad_image(opened: &Opened, what: impl Into<String>) -> Error {
    Error::BadImage {
        path: opened.path().to_owned(),
        what: what.into(),
    }
}
