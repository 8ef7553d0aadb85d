//! Who reads the schedules: the server, and where it says nothing, what is left to be seen of it.

use dxdr_environment::compile::environment_of;
use serde_json::Value;

use super::{
    observed::Observed,
    version::{CronParser, VeleroVersion},
};

/// In front of an expression that names its zone.
pub(super) const ZONE: &str = "CRON_TZ=";

/// How the server reads schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) parser: CronParser,
    /// Its version, where it is known or taken for known.
    pub(super) version: Option<VeleroVersion>,
    pub(super) because: Known,
}

/// How that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// The server says it.
    Said,
    /// The image of its Deployment has that version.
    Image(String),
    /// The server has refused this Schedule of ours, which names a zone.
    Refused(String),
    /// A Schedule of ours is spelled so; `fires`: and the server has accepted it.
    Spelled { schedule: String, fires: bool },
    /// It is not known.
    Hope,
}

impl Reader {
    /// Looks at what is most certain first. A spelling that works is kept: the wrong one is refused, and the Schedule never fires again.
    pub(super) fn of(observed: &Observed) -> Self {
        let version = |text: &Option<String>, because| {
            let version = text.as_deref().and_then(VeleroVersion::parse)?;
            Some(Self { parser: version.cron_parser(), version: Some(version), because })
        };
        if let Some(said) = version(&observed.server_version, Known::Said) {
            return said;
        }
        // A server that says something that is no number is of an image that says no more.
        if observed.server_version.is_none()
            && let Some(image) = observed.deployment.as_ref().and_then(image)
            && let Some(read) = version(&tag(image), Known::Image(image.to_owned()))
        {
            return read;
        }
        let with = |parser, because| Self { parser, version: None, because };
        let ours: Vec<Spelled<'_>> = observed.schedules.iter().filter_map(Spelled::of).collect();
        let name = |spelled: &Spelled<'_>| spelled.name.to_owned();
        if let Some(refused) = ours.iter().find(|spelled| spelled.zone && spelled.refused) {
            return with(CronParser::RobfigWithoutZones, Known::Refused(name(refused)));
        }
        let fires = |zone: bool| ours.iter().find(move |spelled| spelled.zone == zone && spelled.fires);
        // A server that reads zones reads expressions without one, too.
        let spelled = fires(true).or(fires(false)).or(ours.iter().find(|spelled| !spelled.refused));
        match spelled {
            Some(spelled) => {
                let parser = if spelled.zone { CronParser::GoCron } else { CronParser::RobfigWithoutZones };
                with(parser, Known::Spelled { schedule: name(spelled), fires: spelled.fires })
            }
            None => with(CronParser::GoCron, Known::Hope),
        }
    }
}

/// What the Deployment runs as the server; whatever else is in its pods has another name.
fn image(deployment: &Value) -> Option<&str> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    containers.iter().find(|container| container["name"] == "velero")?.get("image")?.as_str()
}

/// `v1.14.1` of `velero/velero:v1.14.1@sha256:…`
fn tag(image: &str) -> Option<String> {
    let (name, _) = image.split_once('@').unwrap_or((image, ""));
    let (_, last) = name.rsplit_once('/').unwrap_or(("", name));
    Some(last.split_once(':')?.1.to_owned())
}

/// A Schedule of ours, as the server has left it.
struct Spelled<'a> {
    name: &'a str,
    zone: bool,
    fires: bool,
    /// For its expression, and not for what else may be wrong with it.
    refused: bool,
}

impl<'a> Spelled<'a> {
    fn of(live: &'a Value) -> Option<Self> {
        environment_of(live)?;
        let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str);
        let phase = text("/status/phase").unwrap_or_default();
        let errors = live.pointer("/status/validationErrors").and_then(Value::as_array).into_iter().flatten();
        let of_expression = errors.filter_map(Value::as_str).any(|error| error.starts_with("invalid schedule"));
        Some(Self {
            name: text("/metadata/name")?,
            zone: text("/spec/schedule")?.starts_with(ZONE),
            fires: phase == "Enabled",
            refused: phase == "FailedValidation" && of_expression,
        })
    }
}
