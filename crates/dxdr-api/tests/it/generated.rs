use dxdr_api::{SourceText, schema};

#[test]
fn generated_definitions_are_yaml_that_reads_back() {
    for file in schema::custom_resource_definitions() {
        // They are no manifests of dxdr, and that is the only thing wrong with them.
        let problems = dxdr_api::parse(&SourceText { name: &file.name, text: &file.text }).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{problems}");
        assert!(problems.0[0].message.starts_with("`apiVersion` is not one that dxdr reads"), "{problems}");
    }
}

#[test]
fn every_field_of_every_kind_is_described() {
    fn check(path: &str, schema: &serde_json::Value) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let metadata = path.contains(".metadata.");
            assert!(
                metadata || property["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{path} has no description"
            );
            check(&path, property);
            check(&path, &property["items"]);
        }
    }
    for file in schema::json_schemas().iter().filter(|file| file.name != "manifest.json") {
        let schema: serde_json::Value = serde_json::from_str(&file.text).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        check(&file.name, &schema);
    }
}

#[test]
fn definitions_are_structural_schemas() {
    for file in schema::custom_resource_definitions() {
        for word in ["$ref", "$defs", "additionalProperties: false", "nullable"] {
            assert!(!file.text.contains(word), "{} contains {word}", file.name);
        }
    }
    insta::assert_snapshot!("definition-of-backup-stores", schema::custom_resource_definitions()[1].text);
}

#[test]
fn a_custom_resource_is_read_as_if_it_stood_in_a_file() {
    let object = serde_json::json!({
        "apiVersion": "dxdr.io/v1alpha1",
        "kind": "BackupStore",
        "metadata": {
            "name": "primary", "uid": "2f0c", "resourceVersion": "7", "generation": 1,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
        },
        "spec": {"directory": {"path": "/var/backups"}},
        "status": {"ready": true}
    });
    let document = dxdr_api::custom_resource("backupstores.dxdr.io primary", &object).unwrap();
    assert_eq!((document.kind(), document.name()), (dxdr_api::Kind::BackupStore, "primary"));
}

#[test]
fn a_text_with_nothing_in_it_has_no_documents_and_no_problems() {
    for text in ["", "# nothing\n", "---\n---\n", "\u{feff}# nothing"] {
        assert_eq!(dxdr_api::parse(&SourceText { name: "empty.yaml", text }).map(|documents| documents.len()), Ok(0), "{text:?}");
    }
}
