//! What is wrong with manifests before anybody opens anything: no key is needed, and no cluster.

use std::collections::BTreeSet;

use dxdr_environment::{
    FieldPath, Scope,
    sealed_secret::{API_VERSION, CLUSTER_WIDE, KIND, NAMESPACE_WIDE},
};
use serde_json::Value;

use crate::{
    manifest::{LAST_APPLIED, is_item_name},
    sealed::{SealedObject, below, is_sealed_secret, kind_of, objects},
};

/// What certificates are known: those whose keys a ciphertext may have been sealed with. Empty where nobody says.
#[derive(Debug, Clone, Default)]
pub struct KnownKeys {
    /// Bytes of their moduli.
    pub modulus_lengths: BTreeSet<usize>,
}

/// Something that is wrong with a manifest. No value of a Secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, in a word that scripts can count on.
    pub rule: Rule,
    /// Where in the document.
    pub path: FieldPath,
    /// The object: kind, namespace and name.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A value stands in clear.
    PlainSecret,
    /// A ciphertext, or the object that holds it, is not what it should be.
    Malformed,
    /// What the object says of itself is not what its ciphertexts can have been sealed for.
    Scope,
    /// It was sealed with a key of another size than any that is known.
    UnknownKey,
    /// Something of a cluster's was left in it.
    Leftover,
    /// A value of the Secret to come stands in the template, in clear.
    TemplateValue,
}

impl Rule {
    /// The word for scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlainSecret => "plain-secret",
            Self::Malformed => "malformed",
            Self::Scope => "scope",
            Self::UnknownKey => "unknown-key",
            Self::Leftover => "leftover",
            Self::TemplateValue => "template-value",
        }
    }

    /// Whether it must be mended; anything else is worth a look.
    pub fn is_error(self) -> bool {
        !matches!(self, Self::Leftover | Self::TemplateValue)
    }
}

/// Everything that is wrong with a document.
pub fn document(document: &Value, known: &KnownKeys) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, object) in objects(document) {
        let mut of_object = Findings { path: &path, object, found: &mut findings };
        let kind = object["kind"].as_str().unwrap_or_default();
        match (object["apiVersion"].as_str().unwrap_or_default(), kind) {
            ("v1", "Secret") => of_object.secret(),
            _ if kind == KIND => of_object.sealed_secret(known),
            (version, "Kustomization") if version.is_empty() || version.starts_with("kustomize.config.k8s.io/") => {
                of_object.kustomization();
            }
            ("", "") => of_object.kustomization(),
            _ => {}
        }
    }
    findings
}

struct Findings<'a> {
    path: &'a FieldPath,
    object: &'a Value,
    found: &'a mut Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, rule: Rule, at: &[&str], message: impl Into<String>) -> &mut Finding {
        let metadata = &self.object["metadata"];
        let names = [&metadata["namespace"], &metadata["name"]].into_iter().filter_map(Value::as_str);
        let names = names.collect::<Vec<_>>().join("/");
        let kind = self.object["kind"].as_str().unwrap_or("Kustomization");
        self.found.push(Finding {
            rule,
            path: below(self.path, at),
            object: format!("{kind} {names}").trim_end().to_owned(),
            message: message.into(),
            hint: None,
        });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    fn secret(&mut self) {
        // Values that SOPS has encrypted say so.
        let encrypted = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("ENC["));
        let by_sops = self.object["sops"].is_object();
        for field in ["data", "stringData"] {
            let object = self.object;
            let values = object[field].as_object().into_iter().flatten();
            let in_clear: Vec<&str> =
                values.filter(|(_, value)| !(by_sops && encrypted(value))).map(|(name, _)| name.as_str()).collect();
            if !in_clear.is_empty() {
                let message = format!("a Secret in clear: {field} holds {}", in_clear.join(", "));
                let hint =
                    "seal it (`dxdr seal -f FILE`), commit what comes out, and take the value that was in clear out of use";
                self.add(Rule::PlainSecret, &[field], message).hint = Some(hint.to_owned());
            }
        }
        self.last_applied(&["metadata"]);
    }

    fn kustomization(&mut self) {
        let generators = self.object["secretGenerator"].as_array().map(Vec::as_slice).unwrap_or_default();
        if generators.iter().any(|generator| generator["literals"].as_array().is_some_and(|literals| !literals.is_empty())) {
            let hint = "seal the Secret, and name the SealedSecret under resources";
            self.add(Rule::PlainSecret, &["secretGenerator"], "values in clear: a secretGenerator has literals").hint =
                Some(hint.to_owned());
        }
    }

    fn sealed_secret(&mut self, known: &KnownKeys) {
        let object = self.object;
        if !is_sealed_secret(object) {
            self.add(Rule::Malformed, &["apiVersion"], format!("no controller knows it: expected apiVersion {API_VERSION}"));
            return;
        }
        self.identity();
        self.items(known);
        self.last_applied(&["metadata"]);
        self.last_applied(&["spec", "template", "metadata"]);
        self.template_values();
        for name in ["resourceVersion", "uid", "managedFields"] {
            if !object["metadata"][name].is_null() {
                let message = format!("metadata.{name} was left from a cluster");
                self.add(Rule::Leftover, &["metadata", name], message).hint = Some("take it out".to_owned());
            }
        }
    }

    /// Values of a template refer to items that are sealed; one that refers to nothing stands there as it is.
    fn template_values(&mut self) {
        let object = self.object;
        let values = object["spec"]["template"]["data"].as_object().into_iter().flatten();
        for (name, _) in values.filter(|(_, value)| value.as_str().is_some_and(|text| !text.is_empty() && !text.contains("{{"))) {
            let message =
                format!("spec.template.data.{name} is no template: it stands in clear, and becomes part of the Secret as it is");
            let hint = "fine for what is no secret; anything else belongs under encryptedData";
            self.add(Rule::TemplateValue, &["spec", "template", "data", name], message).hint = Some(hint.to_owned());
        }
    }

    fn identity(&mut self) {
        let object = self.object;
        let (own, template) = (&object["metadata"], &object["spec"]["template"]["metadata"]);
        let scope_of = |metadata: &Value| {
            let annotations = metadata["annotations"].clone();
            Scope::of_annotations(|name| (annotations[name] == "true").then_some("true"))
        };
        let scope = scope_of(own);
        for (at, metadata) in [(&["metadata"][..], own), (&["spec", "template", "metadata"][..], template)] {
            for name in [NAMESPACE_WIDE, CLUSTER_WIDE] {
                let value = &metadata["annotations"][name];
                if !value.is_null() && value != "true" && value != "false" {
                    let message = format!("annotation {name} is not the text \"true\", and so means nothing");
                    self.add(Rule::Scope, &[at, &["annotations", name][..]].concat(), message);
                }
            }
        }
        let from_template = scope_of(template);
        let says_one = [NAMESPACE_WIDE, CLUSTER_WIDE].iter().any(|name| !template["annotations"][*name].is_null());
        if from_template != scope && says_one {
            let message = format!(
                "it is {scope} itself, and its template says {from_template}: what was sealed as {from_template} does not open"
            );
            let hint = "the scope that counts is that of metadata.annotations; kubeseal and dxdr write it in both places";
            let at = &["spec", "template", "metadata", "annotations"];
            self.add(Rule::Scope, at, message).hint = Some(hint.to_owned());
        }
        let name = own["name"].as_str().filter(|name| !name.is_empty());
        if name.is_none() {
            self.add(Rule::Malformed, &["metadata"], "it has no metadata.name");
        }
        let namespace = own["namespace"].as_str().filter(|namespace| !namespace.is_empty());
        if namespace.is_none() && template["namespace"].is_null() && scope != Scope::ClusterWide {
            let message = format!("it has no metadata.namespace, to which ciphertexts of scope {scope} are bound");
            self.add(Rule::Scope, &["metadata"], message).hint =
                Some("write the namespace that it was sealed for into it".to_owned());
        }
        let sealed_for = |field: &str| template[field].as_str().filter(|text| !text.is_empty());
        if let (Some(name), Some(sealed)) = (name, sealed_for("name"))
            && name != sealed
            && scope == Scope::Strict
        {
            let message =
                format!("it is called {name}, and was sealed for {sealed}: strict ciphertexts do not open under another name");
            self.add(Rule::Scope, &["metadata", "name"], message).hint = Some("seal it again, under its name".to_owned());
        }
        if let (Some(namespace), Some(sealed)) = (namespace, sealed_for("namespace"))
            && namespace != sealed
            && scope != Scope::ClusterWide
        {
            let message = format!("it is in {namespace}, and was sealed for {sealed}: {scope} ciphertexts do not open elsewhere");
            self.add(Rule::Scope, &["metadata", "namespace"], message).hint = Some("seal it again, for its namespace".to_owned());
        }
    }

    fn items(&mut self, known: &KnownKeys) {
        let object = self.object;
        let (items, legacy) = (&object["spec"]["encryptedData"], &object["spec"]["data"]);
        match (items, legacy) {
            (Value::Object(_), Value::Null) => {}
            (Value::Object(items), _) if !items.is_empty() => {
                let message = "it has both spec.encryptedData and the deprecated spec.data, which the controller refuses";
                self.add(Rule::Malformed, &["spec", "data"], message);
            }
            (Value::Null | Value::Object(_), Value::String(_)) => {
                self.add(Rule::Leftover, &["spec", "data"], "it has the deprecated spec.data, which kubeseal no longer opens")
                    .hint = Some("seal it again".to_owned());
                return;
            }
            (Value::Null, _) => {
                self.add(Rule::Malformed, &["spec"], "it has no spec.encryptedData");
            }
            (other, _) => {
                let message = format!("spec.encryptedData is {}; expected a map", kind_of(other));
                self.add(Rule::Malformed, &["spec", "encryptedData"], message);
            }
        }
        for item in SealedObject::all_in(object, None).into_iter().flat_map(|sealed| sealed.items) {
            let at = &["spec", "encryptedData", item.name.as_str()];
            if !is_item_name(&item.name) {
                self.add(Rule::Malformed, at, "it is no name of an item: expected letters, digits, `-`, `_` and `.`");
            }
            match item.content {
                Err(problem) => {
                    let message = format!("item {} is no ciphertext: {problem}", item.name);
                    self.add(Rule::Malformed, at, message);
                }
                Ok(ciphertext) if !known.modulus_lengths.is_empty() => {
                    let length = ciphertext.modulus_length();
                    if !known.modulus_lengths.contains(&length) {
                        let sizes: Vec<String> = known.modulus_lengths.iter().map(|length| (length * 8).to_string()).collect();
                        let message = format!(
                            "item {} was sealed with an RSA key of {} bits, and the certificates that are known have {}",
                            item.name,
                            length * 8,
                            sizes.join(", ")
                        );
                        self.add(Rule::UnknownKey, at, message);
                    }
                }
                Ok(_) => {}
            }
        }
    }

    /// kubectl's copy of the whole object: of a Secret, its values in clear.
    fn last_applied(&mut self, metadata: &[&str]) {
        let object = self.object;
        let annotations = metadata.iter().fold(object, |value, name| &value[*name])["annotations"].clone();
        for name in LAST_APPLIED {
            let Some(applied) = annotations[name].as_str() else { continue };
            let at = [metadata, &["annotations", name][..]].concat();
            if applied.contains("\"kind\":\"SealedSecret\"") {
                self.add(Rule::Leftover, &at, format!("annotation {name} was left from a cluster")).hint =
                    Some("take it out".to_owned());
            } else {
                let hint = "take it out, and the values that it holds out of use";
                self.add(Rule::PlainSecret, &at, format!("annotation {name} holds a Secret in clear")).hint =
                    Some(hint.to_owned());
            }
        }
    }
}
