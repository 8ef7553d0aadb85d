//! What can be decided only when all items were seen: duplicates, owners, needs, definitions.

use std::collections::{HashMap, HashSet};

use dxdr_environment::ResourceKind;

use super::{
    finding::Finding,
    plan::{Action, LeftOutReason},
    planner::{Detail, Item, Need, RestorePlanner, Verdict},
};

impl RestorePlanner {
    /// Of several items of one name the last one counts, as with Velero.
    pub(super) fn leave_out_duplicates(&mut self) {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        let key = |item: &Item| {
            let reference = &item.target;
            (
                reference.kind.plural.clone(),
                reference.kind.group.clone(),
                reference.namespace.clone(),
                item.renamed_from.clone(),
                reference.name.clone(),
            )
        };
        let same = |left: &Item, right: &Item| {
            let (left_kind, right_kind) = (&left.target.kind, &right.target.kind);
            left.target.name == right.target.name
                && left.renamed_from == right.renamed_from
                && left.target.namespace == right.target.namespace
                && left_kind.plural == right_kind.plural
                && left_kind.group == right_kind.group
        };
        // Archives are mostly in order already, so that this is one pass.
        order.sort_by(|&left, &right| {
            let (left_item, right_item) = (&self.items[left], &self.items[right]);
            if same(left_item, right_item) {
                left_item.index.cmp(&right_item.index)
            } else {
                key(left_item).cmp(&key(right_item))
            }
        });
        for pair in order.windows(2) {
            if let [earlier, later] = *pair
                && same(&self.items[earlier], &self.items[later])
            {
                self.items[earlier].verdict = Verdict::LeftOut(LeftOutReason::Duplicate);
            }
        }
    }

    /// Leaves to owners what they make again, if they are restored, or are made again themselves.
    pub(super) fn leave_to_owners(&mut self) {
        let by_uid: HashMap<u128, usize> = self
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| !matches!(item.verdict, Verdict::LeftOut(LeftOutReason::Duplicate)))
            .filter_map(|(position, item)| Some((item.uid?, position)))
            .collect();
        let mut comes_back: Vec<Option<bool>> = vec![None; self.items.len()];
        let mut secrets_of_sealed = HashSet::new();
        for position in 0..self.items.len() {
            let item = &self.items[position];
            let reason = match &item.detail {
                Detail::Owned { uid, by, makes_again: true } => {
                    let owner = by_uid.get(uid).copied();
                    if let Some(owner) = owner
                        && matches!(self.items[owner].detail, Detail::Sealed)
                    {
                        secrets_of_sealed.insert(owner);
                    }
                    let returns = owner.is_some_and(|owner| self.comes_back(owner, &by_uid, &mut comes_back));
                    returns.then(|| LeftOutReason::Owned { by: by.clone() })
                }
                Detail::OfService => self
                    .selecting_services
                    .contains(&item.target.name)
                    .then(|| LeftOutReason::Owned { by: format!("Service {}", item.target.name) }),
                Detail::Sealed => Some(LeftOutReason::SealedForNamespace),
                _ => None,
            };
            let through_velero = matches!(self.items[position].verdict, Verdict::LeftOut(LeftOutReason::ThroughVelero { .. }));
            if let Some(reason) = reason
                && (through_velero || matches!(self.items[position].verdict, Verdict::Restore { .. }))
            {
                let claim = &self.items[position].target;
                self.through_velero.retain(|volume| !through_velero || volume.claim != *claim);
                self.items[position].verdict = Verdict::LeftOut(reason);
            } else if let Detail::Owned { makes_again: false, .. } = &self.items[position].detail
                && matches!(self.items[position].verdict, Verdict::Restore { action: Action::Create, .. })
            {
                let target = self.items[position].target.clone();
                self.findings.of(Finding::Orphans, &target);
            }
        }
        for (position, item) in self.items.iter().enumerate() {
            if matches!(item.verdict, Verdict::LeftOut(LeftOutReason::SealedForNamespace)) {
                let finding = if secrets_of_sealed.contains(&position) { Finding::Sealed } else { Finding::SealedWithoutSecret };
                self.findings.of(finding, &item.target);
            }
        }
    }

    /// Whether the item is in the target afterwards: restored, or made again by an owner that is.
    fn comes_back(&self, position: usize, by_uid: &HashMap<u128, usize>, known: &mut Vec<Option<bool>>) -> bool {
        if let Some(answer) = known[position] {
            return answer;
        }
        // Owners in a circle make nothing again.
        known[position] = Some(false);
        let item = &self.items[position];
        let answer = match (&item.verdict, &item.detail) {
            (Verdict::LeftOut(LeftOutReason::Owned { .. }), _) => true,
            (Verdict::LeftOut(_), _) | (_, Detail::Sealed) => false,
            (Verdict::Restore { .. }, Detail::Owned { uid, makes_again: true, .. }) => {
                // Either its own owner makes it again, or it is restored itself.
                if let Some(owner) = by_uid.get(uid).copied() {
                    self.comes_back(owner, by_uid, known);
                }
                true
            }
            (Verdict::Restore { .. }, _) => true,
        };
        known[position] = Some(answer);
        answer
    }

    /// Leaves out cluster-scoped objects that nothing restored needs.
    pub(super) fn leave_out_unneeded(&mut self) {
        let restored: HashSet<String> = self
            .items
            .iter()
            .filter(|item| matches!(item.verdict, Verdict::Restore { .. }))
            .map(|item| item.target.kind.group_resource())
            .collect();
        for item in &mut self.items {
            let Detail::Needed(need) = &item.detail else { continue };
            let name = item.renamed_from.as_ref().unwrap_or(&item.target.name);
            let needed = match need {
                Need::Definition => restored.contains(name),
                Need::PriorityClass => self.priority_classes.contains(name),
                Need::ClusterRole => self.cluster_roles.contains(name),
            };
            if !needed && matches!(item.verdict, Verdict::Restore { .. }) {
                item.verdict = Verdict::LeftOut(LeftOutReason::NotNeeded);
            }
        }
    }

    /// Leaves out what the target cannot take, not even after the archive's definitions are restored.
    pub(super) fn leave_out_unserved(&mut self) {
        let Some(served) = &self.served else { return };
        let restored_definitions: HashSet<String> = self
            .items
            .iter()
            .filter(|item| item.target.kind.plural == "customresourcedefinitions")
            .filter(|item| matches!(item.verdict, Verdict::Restore { action: Action::Create | Action::Update { .. }, .. }))
            .map(|item| item.target.name.clone())
            .collect();
        for item in &mut self.items {
            if !matches!(item.verdict, Verdict::Restore { .. }) {
                continue;
            }
            let kind = &item.target.kind;
            let name = kind.group_resource();
            let versions: &[String] = match served.get(&name) {
                Some(kind) => &kind.served_versions,
                None if restored_definitions.contains(&name) => self.definitions.get(&name).map_or(&[], Vec::as_slice),
                None => &[],
            };
            if versions.contains(&kind.version) || served.get(&name).is_some_and(|found| found.kind.version == kind.version) {
                continue;
            }
            let served = versions.iter().map(|version| ResourceKind { version: version.clone(), ..kind.clone() }.api_version());
            let served = served.collect::<Vec<_>>().join(", ");
            self.findings.of(
                Finding::NotServed { kind: format!("{} {}", kind.api_version(), kind.kind), served: served.clone() },
                &item.target,
            );
            item.verdict = Verdict::LeftOut(LeftOutReason::NotServed { served });
        }
    }

    /// Names ClusterRoles that a binding needs and nobody has: what it is to allow is not allowed.
    pub(super) fn look_for_roles(&mut self) {
        const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
        let Some(live) = self.live.as_ref().filter(|live| !live.unknown.contains_key(ROLES)) else { return };
        let comes = |item: &&Item| {
            let made = matches!(item.verdict, Verdict::Restore { .. } | Verdict::LeftOut(LeftOutReason::MadeByCluster));
            made && item.target.kind.group_resource() == ROLES
        };
        let restored: HashSet<&str> = self.items.iter().filter(comes).map(|item| item.target.name.as_str()).collect();
        for item in &self.items {
            if let (Verdict::Restore { action: Action::Create | Action::Update { .. }, .. }, Some(role)) =
                (&item.verdict, self.bound_roles.get(&item.index))
                && !restored.contains(role.as_str())
                && live.get(ROLES, None, role).is_none()
            {
                self.findings.of(Finding::NoClusterRole { role: role.clone() }, &item.target);
            }
        }
    }
}
