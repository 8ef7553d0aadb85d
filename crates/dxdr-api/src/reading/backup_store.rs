//! `BackupStore` into the model.

use dxdr_environment::FieldPath;
use dxdr_policy::{BackupStore, GcsLocation, S3Location, SnapshotLocation, StoreLocation, VeleroLocation};

use super::{Reading, below, field_path};
use crate::specification::backup_store::{BackupStoreSpec, SnapshotLocationSpec, VeleroCredentialSpec};

impl Reading<'_> {
    /// The store; only to be used when there are no problems.
    pub(crate) fn backup_store(&mut self, name: &str, spec: &BackupStoreSpec) -> Option<BackupStore> {
        self.name(name, "store name");
        let location = match (&spec.s3, &spec.gcs, &spec.directory) {
            (Some(s3), None, None) => {
                let at = field_path!["spec", "s3"];
                self.bucket(&at, &s3.bucket);
                if let Some(endpoint) = &s3.endpoint {
                    self.endpoint(&below(&at, "endpoint"), endpoint);
                }
                StoreLocation::S3(S3Location {
                    bucket: s3.bucket.clone(),
                    prefix: self.prefix(&at, s3.prefix.as_deref()),
                    region: s3.region.clone(),
                    endpoint: s3.endpoint.clone(),
                    force_path_style: s3.force_path_style,
                    kms_key: s3.kms_key.clone(),
                    profile: s3.profile.clone(),
                    certificate_authority: self.certificate_authority(&at, s3.certificate_authority.as_deref()),
                })
            }
            (None, Some(gcs), None) => {
                let at = field_path!["spec", "gcs"];
                self.bucket(&at, &gcs.bucket);
                let prefix = self.prefix(&at, gcs.prefix.as_deref());
                StoreLocation::Gcs(GcsLocation { bucket: gcs.bucket.clone(), prefix, kms_key: gcs.kms_key.clone() })
            }
            (None, None, Some(directory)) => StoreLocation::Directory { path: (&directory.path).into() },
            // The shape says that exactly one is there.
            _ => return None,
        };
        let velero = spec.velero.as_ref().map(|velero| VeleroLocation {
            name: velero.location.clone(),
            credential: velero.credential.as_ref().map(credential),
            snapshot_locations: self.snapshot_locations(&velero.snapshot_locations),
        });
        Some(BackupStore { name: name.to_owned(), location, velero })
    }

    /// One of a provider: Velero refuses a backup that names two.
    fn snapshot_locations(&mut self, specs: &[SnapshotLocationSpec]) -> Vec<SnapshotLocation> {
        let at = field_path!["spec", "velero", "snapshotLocations"];
        for (index, spec) in specs.iter().enumerate() {
            let (earlier, at) = (&specs[..index], below(&at, index));
            if earlier.iter().any(|other| other.name == spec.name) {
                self.report(self.wrong(&below(&at, "name"), format!("there is another snapshot location named `{}`", spec.name)));
            } else if let Some(other) = earlier.iter().find(|other| other.provider == spec.provider) {
                let message = format!("`{}` is of the provider `{}` already", other.name, spec.provider);
                let problem = self.wrong(&below(&at, "provider"), message);
                self.report(problem.hint("a backup of Velero's has at most one snapshot location of each provider"));
            }
        }
        let location = |spec: &SnapshotLocationSpec| SnapshotLocation {
            name: spec.name.clone(),
            provider: spec.provider.clone(),
            config: spec.config.clone(),
            credential: spec.credential.as_ref().map(credential),
        };
        specs.iter().map(location).collect()
    }

    /// Certificates, and nothing that only their owner may have.
    fn certificate_authority(&mut self, at: &FieldPath, pem: Option<&str>) -> Option<String> {
        let pem = pem?;
        let path = below(at, "certificateAuthority");
        if pem.contains("PRIVATE KEY") {
            // The value is a secret: it is not repeated.
            let problem = self.wrong(&path, format!("`{path}` holds a private key"));
            self.report(
                problem
                    .hint("put the authority's certificate there, and nothing else; the key is known to whoever read this file"),
            );
        } else if !(pem.contains("-----BEGIN CERTIFICATE-----") && pem.contains("-----END CERTIFICATE-----")) {
            let problem = self.wrong(&path, format!("`{path}` has no certificate in it"));
            self.report(problem.expected("PEM: lines from `-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----`"));
        }
        Some(pem.to_owned())
    }

    fn bucket(&mut self, at: &FieldPath, bucket: &str) {
        let path = below(at, "bucket");
        if bucket.contains("://") || bucket.contains('/') {
            let problem = self.wrong(&path, format!("`{path}` is not the name of a bucket")).found(format!("`{bucket}`"));
            self.report(problem.hint("a folder in the bucket is its `prefix`"));
        }
    }

    /// Without slashes at its ends, which would make folders without a name.
    fn prefix(&mut self, at: &FieldPath, prefix: Option<&str>) -> String {
        let prefix = prefix.unwrap_or_default();
        let trimmed = prefix.trim_matches('/');
        if trimmed.split('/').any(|folder| folder.is_empty() || folder == "." || folder == "..") && !trimmed.is_empty() {
            let path = below(at, "prefix");
            let problem = self.wrong(&path, format!("`{path}` is not a folder in a bucket")).found(format!("`{prefix}`"));
            self.report(problem.expected("names separated by `/`, such as `velero` or `backups/cluster-1`"));
        }
        trimmed.to_owned()
    }

    fn endpoint(&mut self, path: &FieldPath, endpoint: &str) {
        let authority = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        let Some(authority) =
            authority.filter(|rest| !rest.trim_end_matches('/').is_empty() && !rest.contains(char::is_whitespace))
        else {
            let problem = self.wrong(path, format!("`{path}` is not a URL")).found(format!("`{endpoint}`"));
            self.report(problem.expected("an address such as `https://s3.example.org` or `http://127.0.0.1:8333`"));
            return;
        };
        if authority.contains('@') {
            // The value may hold a password: it is not repeated.
            let problem = self.wrong(path, format!("`{path}` holds credentials"));
            self.report(problem.hint("credentials come from the environment, a profile, or the workload's identity"));
        }
    }
}

fn credential(spec: &VeleroCredentialSpec) -> (String, String) {
    (spec.name.clone(), spec.key.clone())
}
