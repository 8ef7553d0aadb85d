//! Buckets: creating, settings, the lock of a retention policy, permissions.

use axum::body::Body;
use http::{Method, Response};
use serde_json::{Value, json};

use super::{Call, Trouble, answer, document, no_content};
use crate::{
    bucket::{Bucket, retention},
    failure::Failure,
    identity::Permission,
};

pub(super) async fn operate(call: &Call, rest: &[&str], body: Body) -> Result<Response<Body>, Trouble> {
    let now = call.shared.now();
    if rest.get(1..) != Some(&["iam", "testPermissions"]) {
        call.caller.may(Permission::Bucket)?;
    }
    match (&call.method, rest) {
        (&Method::GET, []) => {
            let store = call.shared.store();
            let items: Vec<Value> = store.buckets().map(|(name, bucket)| bucket.json(name, &call.shared.base)).collect();
            Ok(answer(&json!({"kind": "storage#buckets", "items": items})))
        }
        (&Method::POST, []) => {
            let document = document(body).await?;
            let name = document["name"].as_str().filter(|name| is_name(name));
            let name = name.ok_or_else(|| Failure::invalid(format!("Invalid bucket name: {}", document["name"])))?;
            let settings = Bucket {
                retention: retention(&document["retentionPolicy"], None)?,
                default_event_based_hold: document["defaultEventBasedHold"].as_bool().unwrap_or(false),
                default_kms_key: document["encryption"]["defaultKmsKeyName"].as_str().map(str::to_owned),
                roles: Vec::new(),
            };
            call.shared.store().create_bucket(name, settings, now)?;
            json_of(call, name)
        }
        (&Method::GET, [name]) => json_of(call, name),
        (&Method::PATCH, [name]) => {
            let change = document(body).await?;
            call.shared.store().bucket_mut(name)?.patch(&change, now)?;
            json_of(call, name)
        }
        (&Method::DELETE, [name]) => {
            call.shared.store().delete_bucket(name)?;
            Ok(no_content())
        }
        (&Method::POST, [name, "lockRetentionPolicy"]) => {
            let wanted: i64 = call
                .query
                .number("ifMetagenerationMatch")?
                .ok_or_else(|| Failure::new(400, "required", "Required parameter: ifMetagenerationMatch"))?;
            {
                let mut store = call.shared.store();
                let bucket = store.bucket_mut(name)?;
                if bucket.metageneration != wanted {
                    return Err(Failure::condition().into());
                }
                bucket.lock()?;
            }
            json_of(call, name)
        }
        (&Method::GET, [name, "iam"]) => {
            let store = call.shared.store();
            let roles = store.bucket(name)?.settings.roles.iter();
            let bindings: Vec<Value> = roles.map(|(role, member)| json!({"role": role, "members": [member]})).collect();
            Ok(answer(&json!({"kind": "storage#policy", "version": 3, "bindings": bindings})))
        }
        (&Method::GET, [name, "iam", "testPermissions"]) => {
            call.shared.store().bucket(name)?;
            let permissions = [
                ("storage.objects.get", Permission::Get),
                ("storage.objects.list", Permission::List),
                ("storage.objects.create", Permission::Create),
                ("storage.objects.update", Permission::Update),
                ("storage.objects.delete", Permission::Delete),
                ("storage.buckets.get", Permission::Bucket),
            ];
            let asked = |name: &str| call.query.all("permissions").any(|asked| asked == name);
            let granted: Vec<&str> = permissions
                .into_iter()
                .filter(|(name, permission)| asked(name) && call.caller.may(*permission).is_ok())
                .map(|(name, _)| name)
                .collect();
            Ok(answer(&json!({"kind": "storage#testIamPermissionsResponse", "permissions": granted})))
        }
        _ => Err(Failure::new(404, "notFound", "Not Found").into()),
    }
}

fn json_of(call: &Call, name: &str) -> Result<Response<Body>, Trouble> {
    let json = call.shared.store().bucket(name)?.json(name, &call.shared.base);
    Ok(answer(&json))
}

fn is_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.ends_with(|last: char| last.is_ascii_alphanumeric())
}
