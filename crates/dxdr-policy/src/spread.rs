//! When the recovery points of all environments are taken.
//!
//! An instance does one export at a time, so environments that share one wait for each other when they begin together. Where a schedule follows from the objective, its
//! minute is ours to choose: as far from the others on its instances as there is room. What somebody wrote stays as it is written.
//!
//! ```text
//! staging   |    x         x    its own minute, which follows from its name
//! dev       |     o         o   its own would be close to staging's: the next one that is not
//!           |         x         x
//! ```
//!
//! Environments choose in an order that follows from their names, too, and each looks only at those that chose before it. So another environment moves nobody but those
//! that it is in the way of.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_environment::{DatabaseLocation, Environment, EnvironmentName, InstanceName};

use crate::{
    backup::{BackupPolicy, DatabaseMethod, Engine},
    schedule::{Schedule, stable},
};

/// How many minutes two environments should begin apart: an export on a machine of its own takes more than five, and somewhat more for
/// databases that are not small.
const APART: u32 = 10;

/// When the recovery points of an environment are taken, and why then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// When.
    pub schedule: Schedule,
    /// Why then.
    pub because: Because,
}

/// Why an environment has the minute that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// Its policy says so.
    Written,
    /// It follows from the objective; the minute is the environment's own.
    Objective,
    /// The same, at another minute than its own.
    Moved {
        /// The instance that it shares.
        instance: InstanceName,
        /// Who begins too close to its own minute there.
        other: EnvironmentName,
    },
}

/// Environments that begin at the same minute, and share an instance on which one waits for the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    /// The instance.
    pub instance: InstanceName,
    /// The environments, two or more.
    pub environments: Vec<EnvironmentName>,
}

/// When the recovery points of each environment are taken that is under a policy.
pub fn timings(environments: &[Environment], policies: &[BackupPolicy]) -> BTreeMap<EnvironmentName, Timing> {
    let mut timings = BTreeMap::new();
    // What is fixed first, then those that can give way.
    let mut movable = Vec::new();
    for environment in environments {
        let Some(policy) = policy_of(environment, policies) else { continue };
        match &policy.schedule {
            Some(schedule) => {
                let timing = Timing { schedule: schedule.clone(), because: Because::Written };
                timings.insert(environment.name.clone(), timing);
            }
            None => movable.push((environment, policy)),
        }
    }
    movable.sort_by_key(|(environment, _)| (stable(environment.name.as_str()), &environment.name));
    for (environment, policy) in movable {
        let timing = chosen(environment, policy, environments, policies, &timings);
        timings.insert(environment.name.clone(), timing);
    }
    timings
}

/// Who begins at the same minute on one instance, at the same minute of some day.
pub fn together(
    environments: &[Environment],
    policies: &[BackupPolicy],
    timings: &BTreeMap<EnvironmentName, Timing>,
) -> Vec<Together> {
    let mut all: Vec<Together> = Vec::new();
    let mut by_instance: BTreeMap<InstanceName, Vec<&Environment>> = BTreeMap::new();
    for environment in environments {
        for instance in exported_from(environment, policies) {
            by_instance.entry(instance).or_default().push(environment);
        }
    }
    for (instance, sharing) in by_instance {
        let mut meeting = BTreeSet::new();
        let minutes = |environment: &Environment| Some(timings.get(&environment.name)?.schedule.minutes_of_a_day());
        for (place, one) in sharing.iter().enumerate() {
            for other in &sharing[..place] {
                let (Some(left), Some(right)) = (minutes(one), minutes(other)) else { continue };
                if !left.is_disjoint(&right) {
                    meeting.extend([one.name.clone(), other.name.clone()]);
                }
            }
        }
        if !meeting.is_empty() {
            all.push(Together { instance, environments: meeting.into_iter().collect() });
        }
    }
    all
}

fn policy_of<'a>(environment: &Environment, policies: &'a [BackupPolicy]) -> Option<&'a BackupPolicy> {
    policies.iter().find(|policy| policy.environments.contains(&environment.name))
}

/// The instances that something of the environment is exported from when its schedule fires. Velero's Schedules export nothing: under `engine: velero` only who asks for a
/// point has one with exports.
pub fn exported_from(environment: &Environment, policies: &[BackupPolicy]) -> BTreeSet<InstanceName> {
    let policy = policy_of(environment, policies).filter(|policy| policy.engine == Engine::Native);
    let databases = policy.and_then(|policy| policy.databases);
    if databases.is_none_or(|databases| databases.method == DatabaseMethod::PointInTime) {
        return BTreeSet::new();
    }
    let instances = environment.databases.iter().filter_map(|database| match &database.location {
        DatabaseLocation::CloudSql { project, instance, .. } => Some(InstanceName::new(project, instance)),
        DatabaseLocation::Postgresql(_) => None,
    });
    instances.collect()
}

fn chosen(
    environment: &Environment,
    policy: &BackupPolicy,
    environments: &[Environment],
    policies: &[BackupPolicy],
    before: &BTreeMap<EnvironmentName, Timing>,
) -> Timing {
    let period = Schedule::derived_period(policy.objectives.data_loss);
    let own = stable(environment.name.as_str()) % period;
    let instances = exported_from(environment, policies);
    // Minutes of the period at which others begin, and who, and where.
    let mut taken: BTreeMap<u32, (&EnvironmentName, InstanceName)> = BTreeMap::new();
    // By their names, so that the reason does not depend on the order of the manifests.
    for (name, timing) in before {
        let Some(other) = environments.iter().find(|other| other.name == *name) else { continue };
        let Some(shared) = exported_from(other, policies).intersection(&instances).next().cloned() else { continue };
        for minute in timing.schedule.minutes_of_a_day() {
            taken.entry(minute % period).or_insert((name, shared.clone()));
        }
    }
    let nearest = |offset: u32| taken.keys().map(|minute| distance(offset, *minute, period)).min().unwrap_or(u32::MAX);
    let offset = if nearest(own) >= APART {
        own
    } else {
        // Beginning with its own: of several that are as good, the first one.
        let mut best = own;
        for offset in (own..own + period).map(|offset| offset % period) {
            if nearest(offset) > nearest(best) {
                best = offset;
            }
            if nearest(offset) >= APART {
                break;
            }
        }
        best
    };
    let in_the_way = taken.iter().min_by_key(|(minute, _)| distance(own, **minute, period));
    let because = match in_the_way {
        Some((_, (other, instance))) if offset != own => Because::Moved { instance: instance.clone(), other: (*other).clone() },
        _ => Because::Objective,
    };
    Timing { schedule: Schedule::every(period, offset), because }
}

/// Minutes between two offsets of one period, the shorter way round.
fn distance(one: u32, other: u32, period: u32) -> u32 {
    let ahead = (one + period - other) % period;
    ahead.min(period - ahead)
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{Database, NamespaceName, Tier};
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        DatabasePolicy, Objectives, ResourceFilters, Retention, SecretsPolicy, VolumeMethod, VolumePolicy,
        schedule::MINUTES_OF_A_DAY,
    };

    fn environment(name: &str, instances: &[u8]) -> Environment {
        let mut environment =
            Environment::bare(EnvironmentName::parse(name).unwrap(), NamespaceName::parse(name).unwrap(), Tier::NonProduction);
        environment.databases.extend(instances.iter().map(|instance| Database {
            name: format!("on-{instance}"),
            location: DatabaseLocation::CloudSql {
                project: "p".to_owned(),
                instance: format!("i-{instance}"),
                databases: vec![name.to_owned()],
            },
        }));
        environment
    }

    fn policy(environments: &[&str], minutes: i64, schedule: Option<&str>, method: DatabaseMethod) -> BackupPolicy {
        BackupPolicy {
            name: "policy".to_owned(),
            environments: environments.iter().map(|name| EnvironmentName::parse(name).unwrap()).collect(),
            objectives: Objectives {
                data_loss: SignedDuration::from_mins(minutes),
                recovery_time: SignedDuration::from_hours(1),
            },
            schedule: schedule.map(|schedule| Schedule::parse(schedule, None).unwrap()),
            engine: Engine::Native,
            store: "primary".to_owned(),
            volumes: VolumePolicy::by(VolumeMethod::None),
            databases: Some(DatabasePolicy::by(method)),
            secrets: SecretsPolicy::default(),
            resources: ResourceFilters::default(),
            max_skew: None,
            retention: Retention::default(),
        }
    }

    fn name(number: usize) -> String {
        format!("environment-{number}")
    }

    /// Environments with their instances, each under a policy of its own.
    fn world(of: &[(Vec<u8>, i64)]) -> (Vec<Environment>, Vec<BackupPolicy>) {
        let environments = of.iter().enumerate().map(|(number, (instances, _))| environment(&name(number), instances)).collect();
        let policies = of
            .iter()
            .enumerate()
            .map(|(number, (_, minutes))| policy(&[&name(number)], *minutes, None, DatabaseMethod::Export))
            .collect();
        (environments, policies)
    }

    #[test]
    fn whoever_shares_an_instance_begins_apart_and_is_told_why() {
        let names: Vec<String> = (0..6).map(name).collect();
        let environments: Vec<Environment> = names.iter().map(|name| environment(name, &[1])).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        // Every hour.
        let policies = [policy(&all, 120, None, DatabaseMethod::Export)];
        let timings = timings(&environments, &policies);
        let minutes: BTreeSet<u32> = timings.values().flat_map(|timing| timing.schedule.minutes_of_a_day()).collect();
        assert_eq!(minutes.len(), 6 * 24, "{timings:?}");
        assert_eq!(together(&environments, &policies, &timings), []);
        let moved = timings
            .values()
            .filter(|timing| matches!(&timing.because, Because::Moved { instance, .. } if instance.instance == "i-1"));
        assert!(moved.count() > 0, "{timings:?}");
    }

    #[test]
    fn what_is_written_stays_and_those_that_can_give_way_do() {
        let environments = [environment("staging", &[1]), environment("dev", &[1]), environment("preview", &[1])];
        let own = Schedule::derived("dev", SignedDuration::from_hours(2)).minutes_of_a_day().into_iter().next().unwrap();
        let written = format!("{own} * * * *");
        let policies = [
            policy(&["staging", "preview"], 120, Some(&written), DatabaseMethod::Export),
            policy(&["dev"], 120, None, DatabaseMethod::Both),
        ];
        let timings = timings(&environments, &policies);
        let of = |name: &str| &timings[&EnvironmentName::parse(name).unwrap()];
        assert_eq!((of("staging").schedule.expression(), &of("staging").because), (written.as_str(), &Because::Written));
        assert_eq!(of("dev").schedule.expression(), format!("{} * * * *", (own + 10) % 60));
        let told = together(&environments, &policies, &timings);
        let names: Vec<&str> = told.iter().flat_map(|told| &told.environments).map(EnvironmentName::as_str).collect();
        assert_eq!(names, ["preview", "staging"], "two that are written to begin together are named");
    }

    #[test]
    fn whoever_asks_nothing_of_an_instance_is_nobodys_neighbour() {
        let environments = [environment("staging", &[1]), environment("dev", &[1])];
        let policies = [
            policy(&["staging"], 120, Some("* * * * *"), DatabaseMethod::PointInTime),
            policy(&["dev"], 120, None, DatabaseMethod::Export),
        ];
        let timings = timings(&environments, &policies);
        let dev = &timings[&EnvironmentName::parse("dev").unwrap()];
        assert_eq!(
            (&dev.schedule, &dev.because),
            (&Schedule::derived("dev", SignedDuration::from_hours(2)), &Because::Objective)
        );
        assert_eq!(together(&environments, &policies, &timings), []);
    }

    #[test]
    fn schedules_of_veleros_are_in_nobodys_way_and_nobody_is_in_theirs() {
        let environments = [environment("staging", &[1]), environment("dev", &[1])];
        let own = |name: &str| Schedule::derived(name, SignedDuration::from_hours(2));
        let begins_as_dev = format!("{} * * * *", own("dev").minutes_of_a_day().into_iter().next().unwrap());
        let policies = |engines: [Engine; 2]| {
            let written = policy(&["staging"], 120, Some(&begins_as_dev), DatabaseMethod::Export);
            let derived = policy(&["dev"], 120, None, DatabaseMethod::Both);
            [BackupPolicy { engine: engines[0], ..written }, BackupPolicy { engine: engines[1], ..derived }]
        };
        let dev = EnvironmentName::parse("dev").unwrap();
        for engines in [[Engine::Velero, Engine::Native], [Engine::Native, Engine::Velero], [Engine::Velero; 2]] {
            let policies = policies(engines);
            let timings = timings(&environments, &policies);
            assert_eq!((&timings[&dev].schedule, &timings[&dev].because), (&own("dev"), &Because::Objective), "{engines:?}");
            assert_eq!(together(&environments, &policies, &timings), []);
        }
        let moved = &timings(&environments, &policies([Engine::Native; 2]))[&dev];
        assert!(matches!(moved.because, Because::Moved { .. }), "{moved:?}");
    }

    fn any_world() -> impl Strategy<Value = Vec<(Vec<u8>, i64)>> {
        let one = (
            proptest::collection::vec(0u8..4, 0..3),
            prop_oneof![Just(2i64), Just(20), Just(60), Just(120), Just(480), Just(2_880)],
        );
        proptest::collection::vec(one, 1..12)
    }

    proptest! {
        // Schedules are parsed again and again.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn nobody_begins_together_where_there_is_room(of in any_world()) {
            let (environments, policies) = world(&of);
            let timings = timings(&environments, &policies);
            prop_assert_eq!(timings.len(), environments.len());
            for told in together(&environments, &policies, &timings) {
                // There was none: at every minute of the period of the one that chose last, one of the others begins.
                let last = told.environments.iter().max_by_key(|name| (stable(name.as_str()), *name)).unwrap();
                let chosen = environments.iter().find(|environment| environment.name == *last).unwrap();
                let period = Schedule::derived_period(policy_of(chosen, &policies).unwrap().objectives.data_loss);
                let shared = exported_from(chosen, &policies);
                let earlier = |other: &&Environment| {
                    (stable(other.name.as_str()), &other.name) < (stable(last.as_str()), last)
                        && !exported_from(other, &policies).is_disjoint(&shared)
                };
                let minutes = environments.iter().filter(earlier).flat_map(|other| timings[&other.name].schedule.minutes_of_a_day());
                let taken: BTreeSet<u32> = minutes.map(|minute| minute % period).collect();
                prop_assert_eq!(taken.len() as u32, period, "{:?}", told);
            }
        }

        #[test]
        fn a_schedule_keeps_its_period_and_the_order_of_manifests_does_not_matter(of in any_world()) {
            let (mut environments, mut policies) = world(&of);
            let before = timings(&environments, &policies);
            for (environment, policy) in environments.iter().zip(&policies) {
                let period = Schedule::derived_period(policy.objectives.data_loss);
                let minutes = before[&environment.name].schedule.minutes_of_a_day();
                prop_assert_eq!(minutes.len() as u32, MINUTES_OF_A_DAY / period);
            }
            environments.reverse();
            policies.reverse();
            prop_assert_eq!(timings(&environments, &policies), before);
        }

        #[test]
        fn another_environment_moves_only_those_that_choose_behind_it_on_its_instances(of in any_world()) {
            let (environments, policies) = world(&of);
            let after = timings(&environments, &policies);
            let added = environments.last().unwrap();
            let before = timings(&environments[..environments.len() - 1], &policies);
            // Who may feel it: those behind it that share an instance with it, or with one who felt it.
            let mut felt = BTreeSet::from([&added.name]);
            let mut order: Vec<&Environment> = environments.iter().collect();
            order.sort_by_key(|environment| (stable(environment.name.as_str()), &environment.name));
            for environment in order.iter().skip_while(|environment| environment.name != added.name).skip(1) {
                let shares = |other: &&&Environment| {
                    felt.contains(&other.name) && !exported_from(other, &policies).is_disjoint(&exported_from(environment, &policies))
                };
                if order.iter().any(|other| shares(&other)) && before[&environment.name] != after[&environment.name] {
                    felt.insert(&environment.name);
                }
            }
            for (name, timing) in &before {
                prop_assert!(felt.contains(name) || after[name] == *timing, "{} was moved", name);
            }
        }
    }
}
