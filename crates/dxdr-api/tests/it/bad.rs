//! `tests/bad/NAME.yaml` (or a folder of files that are loaded together) and the problems it has, in `tests/bad/NAME.txt`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dxdr_api::SourceText;

#[test]
fn every_bad_manifest_gets_the_answer_that_stands_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut entries: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for path in entries.iter().filter(|path| path.extension().is_none_or(|extension| extension == "yaml" || extension == "json"))
    {
        let texts = texts(path);
        let sources: Vec<_> = texts.iter().map(|(name, text)| SourceText { name, text }).collect();
        let answer = match dxdr_api::load(&sources) {
            Ok(model) => dxdr_api::Problems(model.warnings).to_string(),
            Err(problems) => problems.to_string(),
        };
        assert!(!answer.is_empty(), "{} has no problem", path.display());
        settings.bind(|| insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), answer));
    }
}

fn texts(path: &Path) -> Vec<(String, String)> {
    let files = if path.is_dir() {
        let mut files: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    } else {
        vec![path.to_owned()]
    };
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}
