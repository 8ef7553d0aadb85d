//! CustomResourceDefinitions that the demonstration's environments use, with as much schema as their objects need.

use serde_json::{Value, json};

/// Sealed Secrets, cert-manager, Traefik and the demonstration's own `Tenant`.
pub(crate) fn definitions() -> Vec<Value> {
    vec![
        definition("bitnami.com", "v1alpha1", "SealedSecret", "sealedsecrets", free()),
        definition("cert-manager.io", "v1", "Certificate", "certificates", free()),
        definition("cert-manager.io", "v1", "Issuer", "issuers", free()),
        definition("traefik.io", "v1alpha1", "IngressRoute", "ingressroutes", free()),
        definition("traefik.io", "v1alpha1", "Middleware", "middlewares", free()),
        definition("shop.example.org", "v1", "Tenant", "tenants", tenant()),
    ]
}

/// A specification nobody describes: every field is kept.
fn free() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A specification with types, bounds and a default, as operators write them.
fn tenant() -> Value {
    json!({
        "type": "object",
        "required": ["plan"],
        "properties": {
            "plan": {"type": "string", "enum": ["free", "team", "enterprise"]},
            "seats": {"type": "integer", "minimum": 1, "default": 5},
            "domains": {"type": "array", "items": {"type": "string"}}
        }
    })
}

fn definition(group: &str, version: &str, kind: &str, plural: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
            "scope": "Namespaced",
            "versions": [{
                "name": version, "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": spec,
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
                }}}
            }]
        }
    })
}
