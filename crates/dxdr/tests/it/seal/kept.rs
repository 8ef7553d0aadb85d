//! What `seal set` and `--merge-into` leave as it is: everything else.

use super::*;

const FILE: &str = "# The database of the shop.\r\n---\r\nkind: SealedSecret   # since March\r\napiVersion: bitnami.com/v1alpha1\r\nmetadata:\r\n    name: db\r\n    namespace: staging\r\nspec:\r\n    template: {metadata: {annotations: {a: \"b\"}}}\r\n    encryptedData:\r\n        # rotated by hand\r\n        password: \"AgAA\"   # twelve characters\r\n        user: 'AgBB'\r\n\r\n---\r\nkind: ConfigMap\r\n";

#[test]
fn an_item_is_given_another_value_and_nothing_else_changes() {
    let place = place();
    place.write("db.yaml", FILE);
    let said = piped(&place, &["seal", "set", "db.yaml", "password", "--cert", "first.pem"], &format!("{MARKER}\n")).exits(0);
    assert_eq!(said.stderr, "db.yaml: password of staging/db (strict) sealed anew.\n");
    let text = read(&place, "db.yaml");
    let (before, after) = FILE.split_once("AgAA").unwrap();
    let sealed = text.strip_prefix(before).unwrap().strip_suffix(after).unwrap();
    assert_eq!(Key::first().opens("staging/db", sealed).unwrap(), MARKER.as_bytes(), "without the newline of the shell");

    place.write("db.yaml", FILE);
    piped(&place, &["seal", "set", "db.yaml", "token", "--cert", "first.pem", "--from-file", "first.key"], "").exits(0);
    let text = read(&place, "db.yaml");
    let (before, after) = FILE.split_once("        user: 'AgBB'\r\n").unwrap();
    let added = text.strip_prefix(before).unwrap().strip_suffix(after).unwrap();
    let added = added.strip_prefix("        user: 'AgBB'\r\n        token: ").unwrap().strip_suffix("\r\n").unwrap();
    assert_eq!(Key::first().opens("staging/db", added).unwrap(), Key::first().private.as_bytes());

    let kept = read(&place, "db.yaml");
    let empty = piped(&place, &["seal", "set", "db.yaml", "token", "--cert", "first.pem"], "\n").refuses(4);
    assert!(empty.stderr.contains("the value is empty"), "{}", empty.stderr);
    piped(&place, &["seal", "set", "db.yaml", "token", "--cert", "first.pem", "--dry-run"], "v").exits(0);
    assert_eq!(read(&place, "db.yaml"), kept);
}

#[cfg(unix)]
#[test]
fn a_file_keeps_its_permissions_and_its_link() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let place = place();
    place.write("real/db.yaml", FILE);
    let real = place.path().join("real/db.yaml");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real/db.yaml", place.path().join("db.yaml")).unwrap();
    piped(&place, &["seal", "set", "db.yaml", "password", "--cert", "first.pem"], "v").exits(0);
    assert!(place.path().join("db.yaml").is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert_ne!(fs::read_to_string(&real).unwrap(), FILE);
    assert_eq!(fs::read_dir(place.path().join("real")).unwrap().count(), 1, "nothing is left beside it");
    // What is no file stays what it is: a device, a pipe, a folder, a link that leads nowhere.
    symlink("nowhere", place.path().join("dangling")).unwrap();
    symlink("/dev/null", place.path().join("null")).unwrap();
    let seal = |file: &str| piped(&place, &["seal", "--cert", "first.pem", "-w", file], SECRET);
    seal("null").exits(0);
    assert!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o777 == 0o666);
    assert!(place.path().join("null").is_symlink());
    for file in ["dangling", "real"] {
        assert!(seal(file).refuses(1).stderr.contains("cannot write"), "{file}");
    }
    assert!(place.path().join("dangling").is_symlink());
    let printed = seal("/dev/stdout").exits(0).stdout;
    assert!(printed.starts_with("---\napiVersion: bitnami.com"), "{printed}");
}

#[test]
fn what_cannot_be_changed_safely_is_refused_and_left() {
    let place = place();
    let set = |file: &str, flags: &[&str]| {
        piped(&place, &[&["seal", "set", file, "password", "--cert", "first.pem"][..], flags].concat(), "v")
    };
    let two = format!("{FILE}---\n{}", FILE.replace("name: db", "name: other"));
    for (text, flags, message) in [
        (&*FILE.replace("\"AgAA\"", "[AgAA]"), &[][..], "spec.encryptedData.password is no text"),
        (&FILE.replace("encryptedData:", "encryptedData: &x\r\n        <<: *x"), &[], "merge keys"),
        (&FILE.replace("    namespace: staging\r\n", ""), &[], "does not say its namespace"),
        (&FILE.replace("kind: SealedSecret", "kind: Secret"), &[], "there is no SealedSecret"),
        (FILE, &["--name", "nobody"], "there is no SealedSecret called nobody"),
        ("{{ template }}", &[], "db.yaml:1:2: "),
    ] {
        place.write("db.yaml", text);
        assert!(set("db.yaml", flags).refuses(8).stderr.contains(message), "{message}\n{text}");
        assert_eq!(read(&place, "db.yaml"), text);
    }
    place.write("db.yaml", &two);
    assert!(set("db.yaml", &[]).refuses(2).stderr.contains("more than one SealedSecret"));
    set("db.yaml", &["--name", "other"]).exits(0);
    assert!(read(&place, "db.yaml").starts_with(FILE));
    assert!(
        place.run(&["seal", "set", "db.yaml", "a b", "--cert", "first.pem"]).refuses(2).stderr.contains("no name of an item")
    );
}

#[test]
fn an_item_that_is_one_text_with_another_is_not_set() {
    let place = place();
    let text = "kind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {name: db, namespace: staging}\nspec: {encryptedData: {first: &same AgAA, second: *same}}\n";
    place.write("db.yaml", text);
    for item in ["first", "second"] {
        let said = piped(&place, &["seal", "set", "db.yaml", item, "--cert", "first.pem"], "v").refuses(8);
        assert!(said.stderr.contains("are one text, by an anchor and an alias"), "{}", said.stderr);
        assert_eq!(read(&place, "db.yaml"), text);
    }
}

#[cfg(unix)]
#[test]
fn a_file_keeps_its_owner_and_one_of_two_names_is_refused() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let place = place();
    place.write("db.yaml", FILE);
    let file = place.path().join("db.yaml");
    let set = || piped(&place, &["seal", "set", "db.yaml", "password", "--cert", "first.pem"], "v");
    fs::hard_link(&file, place.path().join("other.yaml")).unwrap();
    assert!(set().refuses(8).stderr.contains("has 2 names (hard links)"));
    assert_eq!((read(&place, "db.yaml"), read(&place, "other.yaml")), (FILE.to_owned(), FILE.to_owned()));
    fs::remove_file(place.path().join("other.yaml")).unwrap();
    // Only root gives files away.
    let given = chown(&file, Some(12_345), Some(12_346)).is_ok();
    set().exits(0);
    let metadata = fs::metadata(&file).unwrap();
    assert!(!given || (metadata.uid(), metadata.gid()) == (12_345, 12_346));
    assert_ne!(read(&place, "db.yaml"), FILE);
}

#[test]
fn items_are_merged_under_the_identity_of_the_file() {
    let place = place();
    let wide = FILE.replace(
        "    namespace: staging\r\n",
        "    namespace: staging\r\n    annotations: {sealedsecrets.bitnami.com/namespace-wide: \"true\"}\r\n",
    );
    place.write("db.yaml", &wide);
    let said = piped(&place, &["seal", "--merge-into", "db.yaml", "--cert", "first.pem"], SECRET).exits(0);
    assert!(said.stderr.contains("labels, annotations and type are not merged"), "{}", said.stderr);
    let text = read(&place, "db.yaml");
    let sealed = &documents(&text)[0]["spec"]["encryptedData"];
    assert_eq!(Key::first().opens("staging", sealed["password"].as_str().unwrap()).unwrap(), MARKER.as_bytes());
    assert_eq!(Key::first().opens("staging", sealed["user"].as_str().unwrap()).unwrap(), b"shop");
    assert_eq!(documents(&text).len(), 2, "the other document is still there");
    assert!(text.contains("# rotated by hand") && text.contains("   # twelve characters"));
    let merge = |flags: &[&str], secret: &str| {
        piped(&place, &[&["seal", "--merge-into", "db.yaml", "--cert", "first.pem"][..], flags].concat(), secret)
    };
    let kept = read(&place, "db.yaml");
    assert!(merge(&["--scope", "strict"], SECRET).refuses(8).stderr.contains("is namespace-wide, and strict was asked for"));
    assert!(merge(&[], &SECRET.replace("staging", "other")).refuses(8).stderr.contains("its metadata.namespace is other"));
    assert!(merge(&[], &SECRET.replace("name: db", "name: x")).refuses(8).stderr.contains("no SealedSecret called x"));
    assert!(merge(&[], &format!("{SECRET}---\n{SECRET}")).refuses(8).stderr.contains("more than one Secret"));
    assert_eq!(read(&place, "db.yaml"), kept);
}
