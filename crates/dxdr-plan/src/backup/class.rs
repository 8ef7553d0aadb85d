//! Which class of snapshots is taken for a driver: as Velero chooses, then the driver's own default, then its only one.

use serde_json::Value;

use super::volume::{annotation, text};

/// How one kind of class is chosen.
pub(super) struct Choice {
    /// `VolumeSnapshotClass`
    pub(super) kind: &'static str,
    /// On objects: the name of their class.
    pub(super) annotation: &'static str,
    /// On a class: Velero takes this one of the driver's.
    pub(super) label: &'static str,
    /// Annotation of a class: the driver's default.
    pub(super) default: &'static str,
}

impl Choice {
    /// The class for `driver`, and why that one. `named` may name it, the first that does so counts.
    pub(super) fn of(
        &self,
        driver: &str,
        named: &[(&str, Option<&Value>)],
        classes: &[Value],
    ) -> Result<(String, String), String> {
        let mut of_driver: Vec<(&str, &Value)> = classes
            .iter()
            .filter(|class| text(class, "/driver") == Some(driver))
            .filter_map(|class| Some((text(class, "/metadata/name")?, class)))
            .collect();
        of_driver.sort_unstable_by_key(|(name, _)| *name);
        for (what, object) in named {
            let Some(name) = object.and_then(|object| annotation(object, self.annotation)) else { continue };
            // One that is not there, or another driver's, is passed over, as Velero does: a snapshot by another class is better than none.
            if of_driver.iter().any(|(known, _)| *known == name) {
                return Ok((name.to_owned(), format!("{what} is annotated with it")));
            }
        }
        let labelled = |class: &Value| class.pointer("/metadata/labels").is_some_and(|labels| labels.get(self.label).is_some());
        if let Some((name, _)) = of_driver.iter().find(|(_, class)| labelled(class)) {
            return Ok(((*name).to_owned(), format!("labelled {}", self.label)));
        }
        if let Some((name, _)) = of_driver.iter().find(|(_, class)| annotation(class, self.default) == Some("true")) {
            return Ok(((*name).to_owned(), "the driver's default".to_owned()));
        }
        match of_driver.as_slice() {
            [] => Err(format!("no {} is of driver {driver}", self.kind)),
            [(only, _)] => Ok(((*only).to_owned(), "the driver's only one".to_owned())),
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                Err(format!(
                    "which {} of driver {driver} is meant is not known: label one of {} with {}=true",
                    self.kind,
                    names.join(", "),
                    self.label
                ))
            }
        }
    }
}
