use std::{fs, path::Path};

use dxdr_api::SourceText;

#[test]
fn every_shipped_policy_parses_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<_> =
        files.iter().map(|path| (path.file_name().unwrap().to_str().unwrap(), fs::read_to_string(path).unwrap())).collect();
    let sources: Vec<_> = texts.iter().map(|(name, text)| SourceText { name, text }).collect();
    let model = dxdr_api::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(model.warnings, []);
    let names: Vec<_> = model.environments.iter().map(|environment| environment.name.as_str()).collect();
    assert_eq!(names, ["dev", "staging", "production"]);
    assert_eq!(model.stores.len(), 2);
    assert_eq!(model.policies.len(), 2);
}
