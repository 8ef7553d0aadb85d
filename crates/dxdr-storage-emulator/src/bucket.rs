//! Buckets and what they ask of their objects.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Objects may be neither deleted nor replaced before they have this age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Whole seconds.
    pub period: SignedDuration,
    /// It can be made longer, and never shorter, nor taken away.
    pub locked: bool,
}

/// What a bucket asks of its objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// How long objects are kept at least.
    pub retention: Option<RetentionPolicy>,
    /// New objects are held until their event-based hold is released.
    pub default_event_based_hold: bool,
    /// The key that encrypts objects which name none.
    pub default_kms_key: Option<String>,
    /// Roles that its policy says somebody has, each with who: `serviceAccount:NAME`. They are shown; who may do what is said by identities.
    pub roles: Vec<(String, String)>,
}

/// A bucket as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) settings: Bucket,
    pub(crate) created: Timestamp,
    pub(crate) retention_since: Option<Timestamp>,
    pub(crate) metageneration: i64,
}

impl Held {
    pub(crate) fn new(settings: Bucket, now: Timestamp) -> Self {
        let retention_since = settings.retention.map(|_| now);
        Self { settings, created: now, retention_since, metageneration: 1 }
    }

    pub(crate) fn configure(&mut self, settings: Bucket, now: Timestamp) {
        if settings.retention != self.settings.retention {
            self.retention_since = settings.retention.map(|_| now);
        }
        self.settings = settings;
        self.metageneration += 1;
    }

    pub(crate) fn json(&self, name: &str, base: &str) -> Value {
        let mut json = json!({
            "kind": "storage#bucket",
            "id": name,
            "selfLink": format!("{base}/storage/v1/b/{name}"),
            "name": name,
            "metageneration": self.metageneration.to_string(),
            "location": "US",
            "locationType": "multi-region",
            "storageClass": "STANDARD",
            "timeCreated": stamp(self.created),
            "updated": stamp(self.created),
            "defaultEventBasedHold": self.settings.default_event_based_hold,
        });
        if let Some(retention) = self.settings.retention {
            let mut policy = json!({
                "retentionPeriod": retention.period.as_secs().to_string(),
                "effectiveTime": stamp(self.retention_since.unwrap_or(self.created)),
            });
            if retention.locked {
                policy["isLocked"] = true.into();
            }
            json["retentionPolicy"] = policy;
        }
        if let Some(key) = &self.settings.default_kms_key {
            json["encryption"] = json!({"defaultKmsKeyName": key});
        }
        json
    }

    /// Changes the settings that a PATCH names.
    pub(crate) fn patch(&mut self, change: &Value, now: Timestamp) -> Result<(), Failure> {
        let mut settings = self.settings.clone();
        if let Some(policy) = change.get("retentionPolicy") {
            settings.retention = retention(policy, settings.retention)?;
        }
        if let Some(hold) = change.get("defaultEventBasedHold") {
            settings.default_event_based_hold = hold.as_bool().unwrap_or(false);
        }
        if let Some(encryption) = change.get("encryption") {
            settings.default_kms_key = encryption["defaultKmsKeyName"].as_str().map(str::to_owned);
        }
        let was_locked = self.settings.retention.filter(|policy| policy.locked);
        if let Some(locked) = was_locked
            && settings.retention.is_none_or(|policy| policy.period < locked.period)
        {
            return Err(Failure::new(403, "forbidden", "Cannot reduce the duration of a locked retention policy."));
        }
        self.configure(settings, now);
        Ok(())
    }

    /// Locks the retention policy for good.
    pub(crate) fn lock(&mut self) -> Result<(), Failure> {
        match &mut self.settings.retention {
            Some(retention) => retention.locked = true,
            None => return Err(Failure::invalid("Bucket has no retention policy.")),
        }
        self.metageneration += 1;
        Ok(())
    }
}

/// The policy of a JSON document; `before` is the one in force.
pub(crate) fn retention(policy: &Value, before: Option<RetentionPolicy>) -> Result<Option<RetentionPolicy>, Failure> {
    if policy.is_null() {
        return Ok(None);
    }
    let period = &policy["retentionPeriod"];
    let seconds = period.as_str().and_then(|text| text.parse().ok()).or_else(|| period.as_i64());
    match seconds {
        Some(seconds) if seconds > 0 => Ok(Some(RetentionPolicy {
            period: SignedDuration::from_secs(seconds),
            locked: before.is_some_and(|before| before.locked),
        })),
        _ => Err(Failure::invalid("Invalid retention period.")),
    }
}

/// A time as Google writes it.
pub(crate) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_policy_is_only_made_longer() {
        let mut bucket = Held::new(Bucket::default(), Timestamp::UNIX_EPOCH);
        let period = |seconds: &str| json!({"retentionPolicy": {"retentionPeriod": seconds}});
        assert!(bucket.lock().is_err());
        bucket.patch(&period("100"), Timestamp::UNIX_EPOCH).unwrap();
        bucket.patch(&period("50"), Timestamp::UNIX_EPOCH).unwrap();
        bucket.lock().unwrap();
        assert_eq!(bucket.patch(&period("49"), Timestamp::UNIX_EPOCH).unwrap_err().status, 403);
        assert_eq!(bucket.patch(&json!({"retentionPolicy": null}), Timestamp::UNIX_EPOCH).unwrap_err().status, 403);
        bucket.patch(&period("60"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(bucket.json("b", "")["retentionPolicy"]["isLocked"], true);
        assert_eq!(bucket.json("b", "")["retentionPolicy"]["retentionPeriod"], "60");
    }

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(stamp("2024-05-01T10:00:00.1239Z".parse().unwrap()), "2024-05-01T10:00:00.123Z");
    }
}
