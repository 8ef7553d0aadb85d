//! Commands that pods ask for around the snapshots of their volumes, by Velero's own annotations: what it would run, dxdr runs.

use dxdr_policy::VolumeMethod;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::BackupPlan;
use crate::selection::EXCLUDE_LABEL;

/// Where a pod says nothing of it; Velero's own.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

/// A command in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookPlan {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether it runs before the snapshots or after them.
    pub when: HookTime,
    /// Whether its failure costs the point the pod's volumes.
    pub fatal: bool,
    /// How long it may take.
    pub timeout: SignedDuration,
    /// The pod's claims.
    pub claims: Vec<String>,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookTime {
    /// Before the snapshots.
    Before,
    /// After the snapshots, whatever became of them.
    After,
}

impl HookTime {
    /// `pre`, as in the annotations.
    pub fn word(self) -> &'static str {
        match self {
            Self::Before => "pre",
            Self::After => "post",
        }
    }
}

impl HookPlan {
    /// `pre hook of pod staging/db-0`
    pub fn what(&self) -> String {
        format!("{} hook of pod {}/{}", self.when.word(), self.namespace, self.pod)
    }
}

impl BackupPlan {
    /// The same plan with the hooks of `pods`, where snapshots are taken: without, nothing has to hold still.
    pub fn with_hooks(mut self, pods: &[Value]) -> Self {
        if self.volume_policy.method == VolumeMethod::CsiSnapshot && self.snapshots().next().is_some() {
            self.hooks = pods.iter().flat_map(of_pod).collect();
            self.hooks.sort_by(|left, right| (&left.namespace, &left.pod).cmp(&(&right.namespace, &right.pod)));
            self.lay_out();
        }
        self
    }

    /// The hooks of one time, in the order of their pods.
    pub fn hooks(&self, when: HookTime) -> impl Iterator<Item = &HookPlan> {
        self.hooks.iter().filter(move |hook| hook.when == when)
    }
}

/// Hooks of a pod that runs; in any other there is nobody to run them.
fn of_pod(pod: &Value) -> Vec<HookPlan> {
    let excluded = pod.pointer("/metadata/labels").and_then(|labels| labels.get(EXCLUDE_LABEL)) == Some(&json!("true"));
    let running = pod.pointer("/status/phase") == Some(&json!("Running"));
    if excluded || !running || pod.pointer("/metadata/deletionTimestamp").is_some() {
        return Vec::new();
    }
    // Without `pre.` is how they were called before there were two times.
    let before =
        hook(pod, "pre.hook.backup.velero.io", HookTime::Before).or_else(|| hook(pod, "hook.backup.velero.io", HookTime::Before));
    [before, hook(pod, "post.hook.backup.velero.io", HookTime::After)].into_iter().flatten().collect()
}

fn hook(pod: &Value, prefix: &str, when: HookTime) -> Option<HookPlan> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
    let annotation = |name: &str| {
        pod.pointer("/metadata/annotations")?.get(format!("{prefix}/{name}"))?.as_str().filter(|text| !text.is_empty())
    };
    let command = command(annotation("command")?);
    let first = text("/spec/containers/0/name").unwrap_or_default();
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let claims = volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str().map(str::to_owned));
    Some(HookPlan {
        namespace: text("/metadata/namespace")?.to_owned(),
        pod: text("/metadata/name")?.to_owned(),
        container: annotation("container").unwrap_or(first).to_owned(),
        command,
        when,
        fatal: annotation("on-error") != Some("Continue"),
        timeout: annotation("timeout").and_then(duration).unwrap_or(TIMEOUT),
        claims: claims.collect(),
    })
}

/// A list in JSON, or the name of a program.
fn command(text: &str) -> Vec<String> {
    let list: Option<Vec<String>> = text
        .starts_with('[')
        .then(|| text.parse::<Value>().ok())
        .flatten()
        .and_then(|value| value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect());
    list.unwrap_or_else(|| vec![text.to_owned()])
}

/// `1m30s`, as Go writes durations; whole seconds.
fn duration(text: &str) -> Option<SignedDuration> {
    let (mut seconds, mut rest) = (0_i64, text);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit())?);
        let unit = match after.chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<i64>().ok()?.checked_mul(unit)?)?;
        rest = after.get(1..)?;
    }
    (seconds > 0).then(|| SignedDuration::from_secs(seconds))
}

/// For the journal; [`recorded`] reads it.
pub(super) fn parameters(hooks: &[HookPlan]) -> Value {
    hooks
        .iter()
        .map(|hook| {
            json!({
                "namespace": hook.namespace, "pod": hook.pod, "container": hook.container, "command": hook.command,
                "when": hook.when.word(), "fatal": hook.fatal, "timeout": hook.timeout.as_secs(), "claims": hook.claims,
            })
        })
        .collect()
}

/// What a journal has; `None` where something is missing.
pub(super) fn recorded(value: &Value) -> Option<Vec<HookPlan>> {
    let hook = |record: &Value| {
        let text = |key: &str| record.get(key)?.as_str().map(str::to_owned);
        let list = |key: &str| -> Option<Vec<String>> {
            record.get(key)?.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
        };
        Some(HookPlan {
            namespace: text("namespace")?,
            pod: text("pod")?,
            container: text("container")?,
            command: list("command")?,
            when: [HookTime::Before, HookTime::After].into_iter().find(|when| text("when").as_deref() == Some(when.word()))?,
            fatal: record.get("fatal")?.as_bool()?,
            timeout: SignedDuration::from_secs(record.get("timeout")?.as_i64()?),
            claims: list("claims")?,
        })
    };
    value.as_array()?.iter().map(hook).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotations: Value) -> Value {
        json!({
            "metadata": {"namespace": "staging", "name": "db-0", "annotations": annotations},
            "spec": {
                "containers": [{"name": "db"}, {"name": "tools"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}, {"name": "tmp", "emptyDir": {}}]
            },
            "status": {"phase": "Running"}
        })
    }

    #[test]
    fn hooks_are_what_velero_would_run() {
        let hooks = of_pod(&pod(json!({
            "pre.hook.backup.velero.io/command": r#"["/sbin/fsfreeze", "--freeze", "/data"]"#,
            "pre.hook.backup.velero.io/container": "tools",
            "pre.hook.backup.velero.io/on-error": "Continue",
            "pre.hook.backup.velero.io/timeout": "1m30s",
            "post.hook.backup.velero.io/command": "/thaw",
        })));
        let [before, after] = hooks.as_slice() else { panic!("{hooks:?}") };
        assert_eq!(before.command, ["/sbin/fsfreeze", "--freeze", "/data"]);
        assert_eq!((before.container.as_str(), before.fatal, before.timeout.as_secs()), ("tools", false, 90));
        assert_eq!((after.command.as_slice(), after.when), (["/thaw".to_owned()].as_slice(), HookTime::After));
        assert_eq!((after.container.as_str(), after.fatal, after.timeout), ("db", true, TIMEOUT));
        assert_eq!(after.claims, ["data-db-0"]);
        assert_eq!(recorded(&parameters(&hooks)), Some(hooks));
        let old = of_pod(&pod(json!({"hook.backup.velero.io/command": "[not JSON", "hook.backup.velero.io/timeout": "soon"})));
        assert_eq!(
            (old[0].when, old[0].command.as_slice(), old[0].timeout),
            (HookTime::Before, ["[not JSON".to_owned()].as_slice(), TIMEOUT)
        );
    }

    #[test]
    fn where_nobody_can_run_them_there_are_none() {
        let annotations = json!({"pre.hook.backup.velero.io/command": "/freeze"});
        for (pointer, field, value) in [
            ("/status", "phase", json!("Pending")),
            ("/metadata", "deletionTimestamp", json!("2024-05-01T10:00:00Z")),
            ("/metadata", "labels", json!({EXCLUDE_LABEL: "true"})),
        ] {
            let mut pod = pod(annotations.clone());
            pod.pointer_mut(pointer).unwrap()[field] = value;
            assert_eq!(of_pod(&pod), [], "{field}");
        }
        assert_eq!(of_pod(&pod(annotations)).len(), 1);
    }
}
