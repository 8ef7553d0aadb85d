//! Versions of the Velero server, and what differs between them.

use std::fmt;

/// The oldest version whose schedules and backups are driven: with it, CSI snapshots became part of Velero itself.
const OLDEST: (u32, u32) = (1, 14);
/// The newest version that this was tried with.
const NEWEST: (u32, u32) = (1, 18);
/// From this one on, a schedule may name its time zone.
const ZONES: (u32, u32, u32) = (1, 15, 0);
/// From this one on, nothing in the cluster stands for a backup's snapshots, and they are deleted with it all the same.
const DELETION_BY_HANDLE: (u32, u32, u32) = (1, 16, 0);
/// From this one on, volumes that belong together are taken together.
const GROUPS: (u32, u32, u32) = (1, 17, 0);
/// From this one on, backups that wait are `Queued` and have a position.
const QUEUE: (u32, u32, u32) = (1, 18, 0);
/// From this one on, a snapshot of a group is restored where its driver says that it is of one.
const MEMBERS: (u32, u32, u32) = (1, 18, 1);
/// From this one on, schedules are read by another parser, and no backup is run because its metadata lies in the store.
const GO_CRON: (u32, u32, u32) = (1, 18, 3);

/// `v1.18.3`, as a server says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VeleroVersion {
    /// 1
    pub major: u32,
    /// 18
    pub minor: u32,
    /// 3
    pub patch: u32,
}

/// Which library reads the schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CronParser {
    /// `robfig/cron` 1: knows the server's zone only, and refuses an expression that names one.
    RobfigWithoutZones,
    /// `robfig/cron` 3: a firing in a spring gap does not happen.
    Robfig,
    /// `netresearch/go-cron`: it happens when the gap ends.
    GoCron,
}

impl VeleroVersion {
    /// Reads `v1.18.3`, with or without the `v` and with anything behind a hyphen; `None` for a build that has no number (`main`).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().strip_prefix('v').unwrap_or(text.trim());
        let number = text.split(['-', '+']).next()?;
        let mut parts = number.split('.').map(str::parse);
        let (Some(Ok(major)), Some(Ok(minor)), patch, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        Some(Self { major, minor, patch: patch.transpose().ok()?.unwrap_or(0) })
    }

    /// Whether it is too old to be driven.
    pub fn too_old(self) -> bool {
        (self.major, self.minor) < OLDEST
    }

    /// Whether it is newer than what this was tried with.
    pub fn untried(self) -> bool {
        (self.major, self.minor) > NEWEST
    }

    /// Which library reads its schedules.
    pub fn cron_parser(self) -> CronParser {
        if self.is_since(GO_CRON) {
            CronParser::GoCron
        } else if self.is_since(ZONES) {
            CronParser::Robfig
        } else {
            CronParser::RobfigWithoutZones
        }
    }

    /// What it does otherwise than the newest version does, where that can be seen.
    pub fn differences(self) -> Vec<&'static str> {
        [
            (ZONES, "a schedule can be in the server's own time zone only"),
            (
                DELETION_BY_HANDLE,
                "snapshots keep a VolumeSnapshotContent in the cluster, without which they are not deleted with their backup",
            ),
            (GROUPS, "its own backups take the volumes of a group one after the other"),
            (QUEUE, "a backup that waits for another one stays `New`"),
            (MEMBERS, "its own restores wait in vain for a snapshot whose driver says that it is of a group"),
            (GO_CRON, "a schedule does not fire in the hour that spring takes away"),
        ]
        .into_iter()
        .filter(|(since, _)| !self.is_since(*since))
        .map(|(_, difference)| difference)
        .collect()
    }

    fn is_since(self, version: (u32, u32, u32)) -> bool {
        (self.major, self.minor, self.patch) >= version
    }
}

impl fmt::Display for VeleroVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_say_them() {
        let version = |major, minor, patch| Some(VeleroVersion { major, minor, patch });
        assert_eq!(VeleroVersion::parse("v1.18.3"), version(1, 18, 3));
        assert_eq!(VeleroVersion::parse("1.14"), version(1, 14, 0));
        assert_eq!(VeleroVersion::parse("v1.19.0-rc.1"), version(1, 19, 0));
        for none in ["main", "", "v1", "v1.x.2", "v1.2.3.4", "v1.18.rc"] {
            assert_eq!(VeleroVersion::parse(none), None, "{none}");
        }
    }

    #[test]
    fn the_parser_changed_twice_once_within_a_minor_version() {
        let parser = |text| VeleroVersion::parse(text).unwrap().cron_parser();
        assert_eq!(parser("v1.14.1"), CronParser::RobfigWithoutZones);
        assert_eq!(parser("v1.15.0"), CronParser::Robfig);
        assert_eq!(parser("v1.18.2"), CronParser::Robfig);
        assert_eq!(parser("v1.18.3"), CronParser::GoCron);
        assert_eq!(parser("v1.19.0"), CronParser::GoCron);
    }

    #[test]
    fn older_versions_differ_in_more() {
        let count = |text| VeleroVersion::parse(text).unwrap().differences().len();
        let versions = ["v1.14.1", "v1.15.2", "v1.16.2", "v1.17.2", "v1.18.0", "v1.18.1", "v1.18.3", "v1.19.0"];
        assert_eq!(versions.map(count), [6, 5, 4, 3, 2, 1, 0, 0]);
    }

    #[test]
    fn what_is_too_old_or_untried_is_known() {
        let version = |text| VeleroVersion::parse(text).unwrap();
        assert!(version("v1.13.9").too_old() && !version("v1.14.0").too_old());
        assert!(version("v1.19.0").untried() && !version("v1.18.9").untried());
    }
}
