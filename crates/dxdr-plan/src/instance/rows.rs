//! Whether an instance is as backups and restores need it: rows of `dxdr check --cloud` and of `dxdr databases check`.

use std::collections::BTreeSet;

use dxdr_environment::{Environment, EnvironmentName};
use dxdr_policy::{BackupPolicy, BackupStore, Because, DatabaseMethod, StoreLocation, Timing, exported_from, timings, together};

use super::{DatabaseSeen, InstanceExamined, InstanceSeen, InstanceUse, OperationStatus, Part, Work};
use crate::readiness::{Answer, Outcome, Row};

/// What backups and restores ask of the service, and what each is needed for.
pub const PERMISSIONS: [(&str, &str); 17] = [
    ("cloudsql.instances.get", "look"),
    ("cloudsql.databases.list", "look"),
    ("cloudsql.users.list", "look"),
    ("cloudsql.backupRuns.list", "look"),
    ("cloudsql.instances.export", "back up"),
    ("cloudsql.backupRuns.create", "back up"),
    ("cloudsql.backupRuns.delete", "back up"),
    ("cloudsql.instances.import", "restore"),
    ("cloudsql.instances.clone", "restore"),
    ("cloudsql.instances.restoreBackup", "restore"),
    ("cloudsql.instances.create", "restore"),
    ("cloudsql.instances.update", "restore"),
    ("cloudsql.instances.delete", "restore"),
    ("cloudsql.databases.create", "restore"),
    ("cloudsql.databases.delete", "restore"),
    ("cloudsql.instances.executeSql", "restore"),
    ("cloudsql.instances.login", "restore"),
];

/// Roles with which an account writes and reads objects.
const USES: [&str; 3] = ["roles/storage.objectUser", "roles/storage.objectAdmin", "roles/storage.admin"];
/// Roles with which it only writes them.
const WRITES: [&str; 2] = ["roles/storage.objectCreator", "roles/storage.legacyBucketWriter"];

/// What policies want of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Whether any instant of it is promised.
    pub window: bool,
    /// The buckets that its databases are exported to.
    pub buckets: BTreeSet<String>,
    /// Whose points have an export from it, and when those are taken.
    pub exports: Vec<(EnvironmentName, Timing)>,
    /// Those of them that begin at the same minute.
    pub together: Vec<EnvironmentName>,
}

impl Needs {
    /// Of everybody who uses it.
    pub fn of(used: &InstanceUse, environments: &[Environment], policies: &[BackupPolicy], stores: &[BackupStore]) -> Self {
        let timings = timings(environments, policies);
        let exporting = environments.iter().filter(|environment| exported_from(environment, policies).contains(&used.instance));
        let exports = exporting.filter_map(|environment| timings.get_key_value(&environment.name));
        let exports = exports.map(|(name, timing)| (name.clone(), timing.clone())).collect();
        let together = together(environments, policies, &timings).into_iter().find(|told| told.instance == used.instance);
        let together = together.map(|told| told.environments).unwrap_or_default();
        let mut needs = Self { exports, together, ..Self::default() };
        for environment in used.environments() {
            let Some(policy) = policies.iter().find(|policy| policy.environments.contains(environment)) else { continue };
            let Some(databases) = policy.databases else { continue };
            needs.window |= matches!(databases.method, DatabaseMethod::PointInTime | DatabaseMethod::Both);
            let store = stores.iter().find(|store| store.name == policy.store);
            if let (DatabaseMethod::Export | DatabaseMethod::Both, Some(StoreLocation::Gcs(location))) =
                (databases.method, store.map(|store| &store.location))
            {
                needs.buckets.insert(location.bucket.clone());
            }
        }
        needs
    }
}

/// What was found out about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRows {
    /// Of the instance: what concerns everybody there.
    pub instance: Vec<Row>,
    /// Of databases that the model names, each by its name.
    pub databases: Vec<(String, Row)>,
}

/// Judges what was seen of an instance that the model uses.
pub fn cloud_rows(used: &InstanceUse, examined: &Answer<InstanceExamined>, needs: &Needs) -> InstanceRows {
    let about = About { used };
    let examined = match examined {
        Ok(examined) => examined,
        Err(trouble) => {
            return InstanceRows { instance: vec![Row::trouble(about.what("instance"), trouble)], databases: Vec::new() };
        }
    };
    let seen = &examined.seen;
    let mut rows = vec![about.state(seen)];
    if seen.stopped {
        rows.extend(about.sharing());
        return InstanceRows { instance: rows, databases: Vec::new() };
    }
    rows.extend(about.permissions(&examined.granted));
    rows.push(about.statements(examined));
    rows.push(about.users(&examined.users));
    rows.extend(needs.buckets.iter().map(|bucket| about.bucket(examined, bucket)));
    rows.push(about.window(seen, needs.window));
    rows.extend(about.schedules(needs));
    rows.push(about.automatic_backups(seen));
    rows.push(about.deletion_protection(seen));
    rows.extend(about.sharing());
    let named: BTreeSet<&String> = used.parts.iter().flat_map(|part| &part.databases).collect();
    let databases = named.into_iter().map(|name| (name.clone(), about.database(examined, name))).collect();
    InstanceRows { instance: rows, databases }
}

/// An instance that rows are about.
struct About<'a> {
    used: &'a InstanceUse,
}

impl About<'_> {
    fn what(&self, what: &str) -> String {
        format!("{}: {what}", self.used.instance)
    }

    fn patch(&self, flag: &str) -> String {
        format!("`gcloud sql instances patch {} --project {} {flag}`", self.used.instance.instance, self.used.instance.project)
    }

    fn state(&self, seen: &InstanceSeen) -> Row {
        let (what, project) = (&self.used.instance.instance, &self.used.instance.project);
        if !seen.stopped && seen.state == "RUNNABLE" {
            return Row::good(self.what("instance"), format!("{}, {}, {}", seen.version, seen.state, seen.region));
        }
        let detail = format!("{}, {}{}", seen.version, seen.state, if seen.stopped { ", stopped" } else { "" });
        let remedy = match seen.state.as_str() {
            // Suspended, it counts as stopped, and no command of ours starts it.
            "SUSPENDED" => {
                format!("`gcloud sql instances describe {what} --project {project}` says why: mostly the bill, or a quota")
            }
            _ if seen.stopped => self.patch("--activation-policy ALWAYS"),
            "MAINTENANCE" | "ONLINE_MAINTENANCE" | "PENDING_CREATE" => {
                format!("wait: it comes back by itself; `dxdr databases operations` says what is done on `{what}`")
            }
            _ => format!(
                "`gcloud sql operations list --instance {what} --project {project}` says what failed; Google's support brings it back"
            ),
        };
        Row::failed(self.what("instance"), detail).remedy(remedy)
    }

    /// A role may be given for this instance alone, which the question does not see: what is missing may be there.
    fn permissions(&self, granted: &Answer<Vec<String>>) -> Vec<Row> {
        let project = &self.used.instance.project;
        let what = self.what("permissions");
        let granted = match granted {
            Ok(granted) => granted,
            Err(trouble) => {
                let row = Row::new(what, Outcome::Unknown, &trouble.message);
                return vec![Row { remedies: trouble.hints.clone(), ..row }];
            }
        };
        let missing = |purpose: &str| {
            let missing = PERMISSIONS
                .iter()
                .filter(|(permission, wanted)| *wanted == purpose && !granted.iter().any(|granted| granted == permission));
            missing.map(|(permission, _)| format!("`{permission}`")).collect::<Vec<_>>()
        };
        let lacking: Vec<String> = ["look", "back up", "restore"]
            .into_iter()
            .map(|purpose| (purpose, missing(purpose)))
            .filter(|(_, missing)| !missing.is_empty())
            .map(|(purpose, missing)| format!("to {purpose}: {}", missing.join(", ")))
            .collect();
        if lacking.is_empty() {
            return vec![Row::good(what, format!("all {} that backups and restores need", PERMISSIONS.len()))];
        }
        let detail = format!("not given for the whole project, {}", lacking.join("; "));
        vec![
            Row::warning(what, detail)
                .remedy(format!(
                    "`gcloud projects add-iam-policy-binding {project} --member MEMBER --role roles/cloudsql.admin` gives all of them"
                ))
                .remedy("where a role is given with a condition for this instance, that is enough"),
        ]
    }

    /// Restores see, mark and rename databases by statements.
    fn statements(&self, examined: &InstanceExamined) -> Row {
        let what = self.what("statements");
        let instance = &self.used.instance.instance;
        let seen = &examined.seen;
        if !seen.is_postgresql() {
            return Row::warning(what, format!("databases of {} come back as clones of the instance only", seen.version))
                .remedy("what was exported is imported by hand, into an empty database");
        }
        if !seen.statements_allowed {
            return Row::failed(what, "they are not allowed: no restore can put a database in place")
                .remedy(self.patch("--data-api-access=ALLOW_DATA_API"));
        }
        if !seen.account_login {
            return Row::failed(what, "accounts may not log in: no restore can put a database in place")
                .remedy(self.patch("--database-flags cloudsql.iam_authentication=on"))
                .remedy("that command replaces all flags: name those that are set, too");
        }
        match &examined.administration {
            None => Row::new(what, Outcome::Unknown, "nobody could ask"),
            Some(Err(trouble)) => Row::trouble(what, trouble).remedy(format!(
                "`gcloud sql users create ACCOUNT --instance {instance} --project {} --type CLOUD_IAM_SERVICE_ACCOUNT` makes a user of an \
                 account, without `.gserviceaccount.com`",
                self.used.instance.project
            )),
            Some(Ok(seen)) if !seen.administrator => {
                Row::failed(what, format!("as `{}`, who may not see and rename databases", seen.account))
                    .remedy(format!("`GRANT cloudsqlsuperuser TO \"{}\"`, executed as `postgres`", seen.account))
            }
            Some(Ok(seen)) => Row::good(what, format!("as `{}`, on PostgreSQL {}", seen.account, seen.version)),
        }
    }

    /// Whom databases may belong to. A role that somebody made by SQL need not be among them.
    fn users(&self, users: &Answer<Vec<String>>) -> Row {
        let what = self.what("users");
        match users {
            Ok(users) => Row::good(what, users.join(", ")),
            Err(trouble) => {
                let row = Row::new(what, Outcome::Unknown, &trouble.message);
                Row { remedies: trouble.hints.clone(), ..row }
            }
        }
    }

    /// An export proves whether the instance's account may write there. Before the first one, the bucket's policy says so, unless the account has its role by another way.
    fn bucket(&self, examined: &InstanceExamined, bucket: &str) -> Row {
        let seen = &examined.seen;
        let what = self.what(&format!("bucket {bucket}"));
        let account = &seen.service_account;
        let place = format!("gs://{bucket}/");
        let grant = format!(
            "`gcloud storage buckets add-iam-policy-binding gs://{bucket} --member serviceAccount:{account} --role roles/storage.objectAdmin` \
             lets it"
        );
        // The newest first.
        let told = seen.operations.iter().find_map(|operation| match (&operation.work, &operation.status) {
            (Work::Export { uri, .. }, OperationStatus::Succeeded) if uri.starts_with(&place) => Some((operation, None)),
            (Work::Export { uri, .. }, OperationStatus::Failed(fault)) if uri.starts_with(&place) && fault.refused_by_bucket => {
                Some((operation, Some(fault)))
            }
            _ => None,
        });
        match told {
            Some((operation, fault)) => {
                let at = operation.ended.map(|ended| format!(" at {ended:.0}")).unwrap_or_default();
                match fault {
                    None => Row::good(what, format!("`{account}` wrote an export there{at}")),
                    Some(fault) => Row::failed(what, format!("`{account}` was refused{at}: {}", fault.message)).remedy(grant),
                }
            }
            None => match examined.buckets.get(bucket) {
                Some(Ok(roles)) if roles.iter().any(|(role, conditional)| USES.contains(&role.as_str()) && !conditional) => {
                    Row::good(what, format!("its policy lets `{account}` write and read; no export has proved it yet"))
                }
                Some(Ok(roles)) if roles.iter().any(|(role, conditional)| WRITES.contains(&role.as_str()) && !conditional) => {
                    let detail = format!("its policy lets `{account}` write, and not read: what is exported cannot be imported");
                    Row::warning(what, detail).remedy(grant)
                }
                asked => {
                    let why = match asked {
                        Some(Ok(roles)) if roles.is_empty() => ": its own policy does not name it".to_owned(),
                        Some(Ok(_)) => ": what its policy gives it has a condition, or is none of the usual roles".to_owned(),
                        Some(Err(trouble)) => format!(": its policy cannot be read ({})", trouble.message),
                        None => String::new(),
                    };
                    let detail = format!(
                        "whether `{account}`, the instance's account, may write there shows the first export: there was none yet{why}"
                    );
                    Row::new(what, Outcome::Unknown, detail).remedy(grant).remedy("`dxdr backup now` makes one")
                }
            },
        }
    }

    fn window(&self, seen: &InstanceSeen, needed: bool) -> Row {
        let what = self.what("recovery window");
        match seen.window {
            Some((earliest, latest)) => Row::good(what, format!("from {earliest:.0} to {latest:.0}")),
            None => {
                let outcome = if needed { Outcome::Failed } else { Outcome::Warning };
                Row::new(what, outcome, "its log is not kept: it can be brought back to backups and exports only")
                    .remedy(self.patch("--enable-point-in-time-recovery"))
            }
        }
    }

    /// Who shares the instance waits for the others when they begin together.
    fn schedules(&self, needs: &Needs) -> Option<Row> {
        if needs.exports.len() < 2 {
            return None;
        }
        let what = self.what("schedules");
        let when = |(name, timing): &(EnvironmentName, Timing)| {
            let moved = match &timing.because {
                Because::Moved { other, .. } => format!(", apart from {other}"),
                Because::Written | Because::Objective => String::new(),
            };
            format!("{name} at `{}`{moved}", timing.schedule.expression())
        };
        let detail = needs.exports.iter().map(when).collect::<Vec<_>>().join("; ");
        if needs.together.is_empty() {
            return Some(Row::good(what, detail));
        }
        let names: Vec<&str> = needs.together.iter().map(EnvironmentName::as_str).collect();
        let detail = format!("{} begin at the same minute, and one waits for the other: {detail}", names.join(", "));
        let remedy = "leave `schedule` out of their policies: their minutes are chosen apart then";
        Some(Row::warning(what, detail).remedy(remedy))
    }

    fn automatic_backups(&self, seen: &InstanceSeen) -> Row {
        let what = self.what("automatic backups");
        if seen.automatic_backups {
            return Row::good(what, "every day");
        }
        Row::warning(what, "off: only dxdr's own exports are there if the instance is lost")
            .remedy(self.patch("--backup-start-time 02:00"))
    }

    fn deletion_protection(&self, seen: &InstanceSeen) -> Row {
        let what = self.what("deletion protection");
        if seen.deletion_protection {
            return Row::good(what, "on");
        }
        Row::warning(what, "off: one command removes it").remedy(self.patch("--deletion-protection"))
    }

    fn database(&self, examined: &InstanceExamined, name: &str) -> Row {
        let what = self.what(&format!("database {name}"));
        let instance = &self.used.instance;
        if !examined.seen.databases.iter().any(|there| there == name) {
            return Row::failed(what, "it is not there").remedy(format!(
                "`gcloud sql databases list --instance {} --project {}` lists those there are",
                instance.instance, instance.project
            ));
        }
        match examined.databases.get(name) {
            None => Row::good(what, "it is there"),
            Some(Err(trouble)) => {
                let row = Row::warning(what, format!("it is there, and cannot be looked into: {}", trouble.message));
                Row { remedies: trouble.hints.clone(), ..row }
            }
            Some(Ok(DatabaseSeen { extensions, .. })) if extensions.is_empty() => Row::good(what, "it is there"),
            Some(Ok(DatabaseSeen { extensions, .. })) => {
                let extensions: Vec<String> = extensions.iter().map(|(name, version)| format!("{name} {version}")).collect();
                Row::good(what, format!("it is there, with {}", extensions.join(", ")))
            }
        }
    }

    fn sharing(&self) -> Option<Row> {
        let used = self.used;
        let what = self.what("sharing");
        let names = |names: &[&EnvironmentName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some((database, owners)) = used.contested().into_iter().next() {
            let detail = format!("database `{database}` belongs to more than one environment: {}", names(&owners));
            let remedy = "give each environment a database of its own: restoring one would replace the other's data";
            return Some(Row::failed(what, detail).remedy(remedy));
        }
        if !used.is_shared() {
            return None;
        }
        let all: Vec<_> = used.environments().into_iter().collect();
        if let Some(Part { environment, .. }) = used.parts.iter().find(|part| part.databases.is_empty()) {
            let detail = format!("{environment} says that all of it is its own, and others are there: {}", names(&all));
            return Some(Row::failed(what, detail).remedy("name its databases in the manifest: `cloudSql.databases`"));
        }
        let detail = format!("by {}: they wait for one another, and nothing that touches all of it is done", names(&all));
        Some(Row::good(what, detail))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dxdr_environment::InstanceName;
    use dxdr_policy::Schedule;
    use jiff::Timestamp;

    use super::*;
    use crate::{
        instance::{Fault, Operation},
        readiness::Trouble,
    };

    fn used(parts: &[(&str, &[&str])]) -> InstanceUse {
        let parts = parts.iter().map(|(environment, databases)| Part {
            environment: EnvironmentName::parse(environment).unwrap(),
            name: "orders".to_owned(),
            databases: databases.iter().map(|name| (*name).to_owned()).collect(),
        });
        InstanceUse { instance: InstanceName::new("p", "i"), parts: parts.collect() }
    }

    fn export(status: OperationStatus) -> Operation {
        Operation {
            name: "o".to_owned(),
            work: Work::Export { uri: "gs://b/one.sql.gz".to_owned(), offloaded: true },
            status,
            user: "somebody".to_owned(),
            accepted: None,
            started: None,
            ended: Some(Timestamp::UNIX_EPOCH),
        }
    }

    fn failed(refused_by_bucket: bool) -> OperationStatus {
        OperationStatus::Failed(Box::new(Fault { message: "no access".to_owned(), hint: None, refused_by_bucket }))
    }

    fn seen() -> InstanceSeen {
        InstanceSeen {
            version: "POSTGRES_15".to_owned(),
            state: "RUNNABLE".to_owned(),
            stopped: false,
            region: "europe-west1".to_owned(),
            service_account: "a@b".to_owned(),
            deletion_protection: true,
            automatic_backups: true,
            statements_allowed: true,
            account_login: true,
            window: Some((Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)),
            databases: vec!["a".to_owned(), "b".to_owned()],
            operations: vec![export(OperationStatus::Succeeded)],
        }
    }

    fn database() -> DatabaseSeen {
        DatabaseSeen {
            account: "dxdr@p.iam".to_owned(),
            administrator: true,
            version: "15.4".to_owned(),
            size: 7,
            extensions: vec![("plpgsql".to_owned(), "1.0".to_owned())],
        }
    }

    fn examined(seen: InstanceSeen) -> InstanceExamined {
        let databases = ["a", "b"].map(|name| (name.to_owned(), Ok(database())));
        InstanceExamined {
            granted: Ok(PERMISSIONS.iter().map(|(permission, _)| (*permission).to_owned()).collect()),
            users: Ok(vec!["postgres".to_owned(), "dxdr@p.iam".to_owned()]),
            administration: Some(Ok(database())),
            buckets: BTreeMap::new(),
            databases: BTreeMap::from(databases),
            seen,
        }
    }

    fn needs() -> Needs {
        Needs { window: true, buckets: BTreeSet::from(["b".to_owned()]), ..Needs::default() }
    }

    fn trouble() -> Trouble {
        Trouble { message: "why not".to_owned(), hints: vec!["mend it".to_owned()], unreachable: false }
    }

    fn judged(parts: &[(&str, &[&str])], examined: InstanceExamined) -> InstanceRows {
        cloud_rows(&used(parts), &Ok(examined), &needs())
    }

    fn outcomes(rows: &InstanceRows) -> Vec<(&str, Outcome)> {
        let all = rows.instance.iter().chain(rows.databases.iter().map(|(_, row)| row));
        all.map(|row| (row.what.rsplit(": ").next().unwrap(), row.outcome)).collect()
    }

    fn row<'a>(rows: &'a InstanceRows, what: &str) -> &'a Row {
        let mut all = rows.instance.iter().chain(rows.databases.iter().map(|(_, row)| row));
        all.find(|row| row.what == format!("projects/p/instances/i: {what}")).unwrap()
    }

    #[test]
    fn an_instance_as_it_should_be_is_good_in_every_row() {
        let rows = judged(&[("staging", &["a"]), ("dev", &["b"])], examined(seen()));
        assert!(outcomes(&rows).iter().all(|(_, outcome)| *outcome == Outcome::Good), "{rows:?}");
        let whats: Vec<&str> = outcomes(&rows).into_iter().map(|(what, _)| what).collect();
        assert_eq!(
            whats,
            [
                "instance",
                "permissions",
                "statements",
                "users",
                "bucket b",
                "recovery window",
                "automatic backups",
                "deletion protection",
                "sharing",
                "database a",
                "database b"
            ]
        );
    }

    #[test]
    fn everything_that_is_wrong_has_a_remedy() {
        let stopped = judged(&[("staging", &["a"])], examined(InstanceSeen { stopped: true, ..seen() }));
        assert_eq!(outcomes(&stopped), [("instance", Outcome::Failed)]);
        let wrong = InstanceSeen {
            state: "MAINTENANCE".to_owned(),
            deletion_protection: false,
            automatic_backups: false,
            statements_allowed: false,
            window: None,
            databases: Vec::new(),
            operations: vec![export(failed(true))],
            ..seen()
        };
        let wrong = InstanceExamined { granted: Ok(Vec::new()), users: Err(trouble()), ..examined(wrong) };
        let rows = judged(&[("staging", &["a"])], wrong);
        assert_eq!(
            outcomes(&rows),
            [
                ("instance", Outcome::Failed),
                ("permissions", Outcome::Warning),
                ("statements", Outcome::Failed),
                ("users", Outcome::Unknown),
                ("bucket b", Outcome::Failed),
                ("recovery window", Outcome::Failed),
                ("automatic backups", Outcome::Warning),
                ("deletion protection", Outcome::Warning),
                ("database a", Outcome::Failed),
            ]
        );
        assert!(rows.instance.iter().chain(rows.databases.iter().map(|(_, row)| row)).all(|row| !row.remedies.is_empty()));
        let permissions = &row(&rows, "permissions").detail;
        assert!(permissions.contains("to back up: `cloudsql.instances.export`, `cloudsql.backupRuns.create`, "), "{permissions}");
    }

    #[test]
    fn who_may_not_rename_databases_is_told_what_to_allow() {
        let of = |examined: InstanceExamined| {
            let rows = judged(&[("staging", &["a"])], examined);
            let row = row(&rows, "statements").clone();
            (row.outcome, row.remedies.join("; "))
        };
        let told = |examined: InstanceExamined, outcome: Outcome, remedy: &str| {
            let (found, remedies) = of(examined);
            assert!(found == outcome && remedies.contains(remedy), "{found:?} {remedies}");
        };
        told(
            examined(InstanceSeen { account_login: false, ..seen() }),
            Outcome::Failed,
            "--database-flags cloudsql.iam_authentication=on",
        );
        let nobody = Some(Ok(DatabaseSeen { administrator: false, ..database() }));
        let nobody = InstanceExamined { administration: nobody, ..examined(seen()) };
        told(nobody, Outcome::Failed, "`GRANT cloudsqlsuperuser TO \"dxdr@p.iam\"`");
        let refused = InstanceExamined { administration: Some(Err(trouble())), ..examined(seen()) };
        told(refused, Outcome::Failed, "mend it; `gcloud sql users create ACCOUNT --instance i --project p");
        told(examined(InstanceSeen { version: "MYSQL_8_0".to_owned(), ..seen() }), Outcome::Warning, "by hand");
    }

    #[test]
    fn only_an_export_says_whether_the_instance_may_write_the_bucket() {
        let of = |operations: Vec<Operation>| {
            let rows = judged(&[("staging", &["a"])], examined(InstanceSeen { operations, ..seen() }));
            row(&rows, "bucket b").outcome
        };
        assert_eq!(of(vec![export(OperationStatus::Succeeded), export(failed(true))]), Outcome::Good, "the newest counts");
        assert_eq!(of(vec![export(failed(true)), export(OperationStatus::Succeeded)]), Outcome::Failed);
        assert_eq!(of(vec![export(failed(false)), export(OperationStatus::Succeeded)]), Outcome::Good, "for another reason");
        let elsewhere = Work::Export { uri: "gs://b-2/one.sql.gz".to_owned(), offloaded: true };
        assert_eq!(of(vec![Operation { work: elsewhere, ..export(OperationStatus::Succeeded) }]), Outcome::Unknown);
    }

    #[test]
    fn before_the_first_export_the_policy_of_the_bucket_tells() {
        let of = |answer: Option<Answer<Vec<(&str, bool)>>>, operations: Vec<Operation>| {
            let mut examined = examined(InstanceSeen { operations, ..seen() });
            let owned =
                |roles: Vec<(&str, bool)>| roles.into_iter().map(|(role, conditional)| (role.to_owned(), conditional)).collect();
            examined.buckets = answer.into_iter().map(|answer| ("b".to_owned(), answer.map(owned))).collect();
            let row = row(&judged(&[("staging", &["a"])], examined), "bucket b").clone();
            (row.outcome, row.detail)
        };
        let user = "roles/storage.objectUser";
        assert_eq!(of(Some(Ok(vec![(user, false)])), Vec::new()).0, Outcome::Good);
        assert_eq!(of(Some(Ok(vec![("roles/storage.objectCreator", false)])), Vec::new()).0, Outcome::Warning);
        assert_eq!(of(Some(Ok(vec![(user, false)])), vec![export(failed(true))]).0, Outcome::Failed, "an export knows better");
        for (answer, why) in [
            (Some(Ok(vec![(user, true)])), "has a condition"),
            (Some(Ok(Vec::new())), "does not name it"),
            (Some(Err(trouble())), "cannot be read (why not)"),
            (None, "there was none yet"),
        ] {
            let (outcome, detail) = of(answer, Vec::new());
            assert!(outcome == Outcome::Unknown && detail.contains(why), "{detail}");
        }
    }

    #[test]
    fn who_begins_together_is_named_and_who_was_moved_says_from_whom() {
        let name = |name: &str| EnvironmentName::parse(name).unwrap();
        let timing = |expression: &str, because| Timing { schedule: Schedule::parse(expression, None).unwrap(), because };
        let other = Because::Moved { instance: InstanceName::new("p", "i"), other: name("staging") };
        let exports = vec![(name("staging"), timing("7 * * * *", Because::Written)), (name("dev"), timing("17 * * * *", other))];
        let of = |together: Vec<EnvironmentName>| {
            let needs = Needs { exports: exports.clone(), together, ..needs() };
            row(&cloud_rows(&used(&[("staging", &["a"])]), &Ok(examined(seen())), &needs), "schedules").clone()
        };
        let apart = of(Vec::new());
        assert_eq!(
            (apart.outcome, apart.detail.as_str()),
            (Outcome::Good, "staging at `7 * * * *`; dev at `17 * * * *`, apart from staging")
        );
        let together = of(vec![name("dev"), name("staging")]);
        assert!(together.outcome == Outcome::Warning && together.detail.starts_with("dev, staging begin at the same minute"));
        assert!(!together.remedies.is_empty());
    }

    #[test]
    fn what_cannot_be_asked_is_unknown_and_a_database_that_cannot_be_looked_into_is_there() {
        let mut examined = InstanceExamined { granted: Err(trouble()), users: Err(trouble()), ..examined(seen()) };
        examined.databases = BTreeMap::from([("a".to_owned(), Err(trouble()))]);
        let rows = judged(&[("staging", &["a", "b"])], examined);
        assert_eq!(row(&rows, "permissions").outcome, Outcome::Unknown);
        assert_eq!((row(&rows, "users").outcome, &row(&rows, "users").remedies), (Outcome::Unknown, &vec!["mend it".to_owned()]));
        let database = row(&rows, "database a");
        assert!(database.outcome == Outcome::Warning && database.detail.ends_with("cannot be looked into: why not"));
        assert_eq!(row(&rows, "database b").outcome, Outcome::Good);
    }

    #[test]
    fn only_what_somebody_stopped_is_told_to_be_started() {
        let remedy = |state: &str, stopped| {
            let seen = InstanceSeen { state: state.to_owned(), stopped, ..seen() };
            row(&judged(&[("staging", &["a"])], examined(seen)), "instance").remedies.join("; ")
        };
        assert!(remedy("RUNNABLE", true).contains("--activation-policy ALWAYS"));
        for (state, stopped, part) in [
            ("MAINTENANCE", false, "wait: it comes back by itself"),
            ("FAILED", false, "gcloud sql operations list --instance i"),
            ("SUSPENDED", true, "gcloud sql instances describe i"),
        ] {
            let text = remedy(state, stopped);
            assert!(text.contains(part) && !text.contains("--activation-policy"), "{state}: {text}");
        }
    }

    #[test]
    fn whoever_shares_says_what_is_its_own_and_nobody_elses() {
        let sharing = |parts: &[(&str, &[&str])]| row(&judged(parts, examined(seen())), "sharing").clone();
        let contested = sharing(&[("staging", &["a"]), ("dev", &["a"])]);
        assert_eq!(contested.outcome, Outcome::Failed);
        assert!(contested.detail.contains("`a` belongs to more than one environment: dev, staging"), "{}", contested.detail);
        let whole = sharing(&[("staging", &[]), ("dev", &["a"])]);
        assert!(whole.outcome == Outcome::Failed && whole.detail.starts_with("staging says that all of it is its own"));
    }
}
