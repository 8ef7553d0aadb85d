//! `seal reencrypt` and `seal verify` over a repository with every style of YAML.

use rustix::process::Signal;
use serde_json::Value;

use super::*;
use crate::{
    gated::{Held, World},
    objects,
};

/// Sealed with the first key, a value each.
fn sealed(label: &str, value: &str) -> String {
    let certificate = dxdr_sealing::SealingCertificate::from_pem(&Key::first().certificate).unwrap();
    certificate.seal(label, value.as_bytes()).unwrap().to_base64()
}

/// Lines of 64 characters, indented.
fn wrapped(text: &str, indentation: &str) -> String {
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| format!("{indentation}{}", String::from_utf8_lossy(line))).collect();
    lines.join("\n")
}

const HEAD: &str = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: staging}\n";

/// Files, and how many items each has; `staging/db` is what they are sealed for.
fn corpus() -> Vec<(&'static str, String, usize)> {
    let item = |value: &str| sealed("staging/db", value);
    let literal = item("literal");
    let json = format!(
        "{{\"apiVersion\": \"bitnami.com/v1alpha1\",\n \"kind\":\"SealedSecret\", \"metadata\": {{\"name\": \"db\", \"namespace\": \"staging\"}},\n\t\"spec\": {{\"encryptedData\": {{\"a\":\"{}\" , \"b\": \"{}\"}}}} }}",
        item("a"),
        item("b")
    );
    vec![
        (
            "plain.yaml",
            format!("# top\n{HEAD}spec:\n  encryptedData:\n    a: {}   # why\n\n    b: {}\n# end", item("a"), item("b")),
            2,
        ),
        (
            "quoted.yml",
            format!(
                "%YAML 1.2\n---\n{HEAD}spec:\n  encryptedData:\n    'a': '{}'\n    \"b\": \"{}\"\n...\n---\n{HEAD}spec: {{encryptedData: {{c: {}}}}}\n",
                item("a"),
                item("b"),
                item("c")
            ),
            3,
        ),
        (
            "literal.yaml",
            format!(
                "{HEAD}spec:\n  encryptedData:\n    a: |\n{}\n\n    b: |-\n      {}\n    c: >-\n      {}\n    d: >+\n      {}\n\n  template:\n    data:\n      x: |\n        ---\n        kind: not a document\n",
                wrapped(&literal, "      "),
                item("b"),
                item("c"),
                item("d")
            ),
            4,
        ),
        (
            "crlf.yaml",
            format!("\u{feff}{HEAD}spec:\n  encryptedData:\n    a: {}\n    b: |\n      {}\n", item("a"), item("b"))
                .replace('\n', "\r\n"),
            2,
        ),
        (
            "anchors.yaml",
            format!(
                "{HEAD}spec:\n  encryptedData:\n    a: &a {}\n    b: *a\n    ? c\n    : !!str \"{}\"\n",
                item("a"),
                item("c")
            ),
            3,
        ),
        (
            "list.yaml",
            format!(
                "apiVersion: v1\nkind: List\nitems:\n- {}  spec:\n    encryptedData: {{a: {}}}\n- kind: ConfigMap\n  apiVersion: v1\n",
                HEAD.replace('\n', "\n  ").trim_end_matches("  "),
                item("a")
            ),
            1,
        ),
        (
            "indicated.yaml",
            format!(
                "{HEAD}spec:\n  encryptedData:\n    a: |2\n      {}\n    b: |+\n      {}\n\n    c: >2-\n{}\n    d: \"{}\\\n      {}\"\n",
                item("a"),
                item("b"),
                format_args!("      {}", item("c")),
                &literal[..64],
                &literal[64..]
            ),
            4,
        ),
        ("two.json", format!("{}\n{}", json, json), 4),
        (
            "flow.yaml",
            format!(
                "{{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: {{name: db, namespace: staging}}, spec: {{encryptedData: {{a: {}}}}}}}\n",
                item("a")
            ),
            1,
        ),
        ("deep/one-line.json", json, 2),
    ]
}

const KEYS: [&str; 4] = ["--recovery-private-key", "keys.yaml", "--cert", "second.pem"];

fn reencrypt(place: &Place, flags: &[&str]) -> Said {
    place.run(&[&["seal", "reencrypt", ".", "-o", "json"][..], &KEYS, flags].concat())
}

fn counts(said: &Said) -> Value {
    serde_json::from_str::<Value>(&said.stdout).unwrap()["counts"].take()
}

/// The text with every ciphertext, and the line breaks in it, taken out.
fn without_ciphertexts(text: &str) -> String {
    // One that goes on behind a break in quotation marks is written on one line.
    let text = regex::Regex::new(r"\\\n *").unwrap().replace_all(text, "");
    let lines = regex::Regex::new(r"(\r?\n *[A-Za-z0-9+/=]{20,64})+").unwrap();
    regex::Regex::new(r"[A-Za-z0-9+/]{40,}={0,2}").unwrap().replace_all(&lines.replace_all(&text, "…"), "…").into_owned()
}

#[test]
fn every_item_is_moved_and_nothing_but_ciphertexts_changes() {
    let place = place();
    let corpus = corpus();
    let total: usize = corpus.iter().map(|(_, _, items)| items).sum();
    for (file, text, _) in &corpus {
        place.write(file, text);
    }
    place.write("other.yaml", "kind: SealedSecretNotReally\n");
    let check = reencrypt(&place, &["--check"]).exits(3);
    assert_eq!(counts(&check)["old"], total);
    reencrypt(&place, &["--dry-run"]).exits(0);
    for (file, text, _) in &corpus {
        assert_eq!(&read(&place, file), text, "{file} is not written yet");
    }
    let said = reencrypt(&place, &[]).exits(0);
    assert_eq!(counts(&said)["reencrypted"], total);
    for (file, before, _) in &corpus {
        let after = read(&place, file);
        assert_ne!(&after, before, "{file}");
        assert_eq!(without_ciphertexts(&after), without_ciphertexts(before), "{file}");
        for (old, new) in documents(before).iter().zip(documents(&after)) {
            let items =
                |document: &Value| dxdr_sealing::SealedObject::all_in(document, None).into_iter().flat_map(|object| object.items);
            for (old, new) in items(old).zip(items(&new)) {
                let (old, new) = (old.content.unwrap().to_base64(), new.content.unwrap().to_base64());
                let value = Key::first().opens("staging/db", &old).unwrap();
                assert_eq!(Key::second().opens("staging/db", &new), Some(value), "{file}");
                assert_eq!(Key::first().opens("staging/db", &new), None);
            }
        }
    }
    let texts: Vec<String> = corpus.iter().map(|(file, ..)| read(&place, file)).collect();
    let again = reencrypt(&place, &[]).exits(0);
    assert_eq!(counts(&again), serde_json::json!({"current": total, "old": 0, "reencrypted": 0, "unopened": 0}));
    reencrypt(&place, &["--check"]).exits(0);
    assert_eq!(texts, corpus.iter().map(|(file, ..)| read(&place, file)).collect::<Vec<_>>());
}

#[test]
fn whoever_is_stopped_leaves_every_file_whole_and_goes_on_later() {
    const FILES: usize = 300;
    let place = place();
    let text = |number: usize| {
        let items: String =
            (0..4).map(|item| format!("    i{item}: {}\n", sealed("staging/db", &format!("{number}/{item}")))).collect();
        format!("# {number}\n{HEAD}spec:\n  encryptedData:\n{items}")
    };
    let before: Vec<String> = (0..FILES).map(text).collect();
    let file = |number: usize| format!("apps/{number}.yaml");
    before.iter().enumerate().for_each(|(number, text)| place.write(&file(number), text));
    let mut child = place.command(&[&["seal", "reencrypt", "apps"][..], &KEYS].concat()).stdout(Stdio::null()).spawn().unwrap();
    let is_moved = |number: usize| read(&place, &file(number)) != before[number];
    while !(0..FILES).any(is_moved) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it moved anything");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    let moved = (0..FILES).filter(|number| is_moved(*number)).count();
    // On a machine that is busy with something else all may be done by then.
    assert_eq!(code, Some(if moved < FILES { 130 } else { 0 }), "{moved} of {FILES} were moved");
    for (number, before) in before.iter().enumerate() {
        let after = read(&place, &file(number));
        assert_eq!(without_ciphertexts(&after), without_ciphertexts(before));
        let key = if after == *before { Key::first() } else { Key::second() };
        for item in 0..4 {
            let sealed = documents(&after)[0]["spec"]["encryptedData"][format!("i{item}")].as_str().unwrap().to_owned();
            assert_eq!(key.opens("staging/db", &sealed).unwrap(), format!("{number}/{item}").as_bytes());
        }
    }
    assert_eq!(fs::read_dir(place.path().join("apps")).unwrap().count(), FILES, "nothing is left beside the files");
    let again = place.run(&[&["seal", "reencrypt", "apps", "-o", "json"][..], &KEYS].concat()).exits(0);
    let left = (FILES - moved) * 4;
    assert_eq!((&counts(&again)["reencrypted"], &counts(&again)["current"]), (&left.into(), &(moved * 4).into()));
    place.run(&[&["seal", "reencrypt", "apps", "--check"][..], &KEYS].concat()).exits(0);
}

#[test]
fn what_does_not_open_stays_and_the_rest_is_moved() {
    let place = place();
    let text = format!(
        "{HEAD}spec:\n  encryptedData:\n    good: {}\n    moved: {}\n    broken: Ag==\n",
        sealed("staging/db", "v"),
        sealed("other/db", "v")
    );
    place.write("db.yaml", &text);
    place.write("broken.yaml", "kind: SealedSecret\na: {\n");
    let said = reencrypt(&place, &[]).exits(3);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["counts"], serde_json::json!({"current": 0, "old": 0, "reencrypted": 1, "unopened": 2}));
    assert!(document["problems"][0].as_str().unwrap().starts_with("broken.yaml:2:4: "), "{document}");
    let after = read(&place, "db.yaml");
    let kept = text.split_once("    moved").unwrap().1;
    assert!(after.ends_with(kept), "{after}");
}

#[test]
fn a_target_that_is_not_the_newest_or_cannot_be_proved_is_refused() {
    let place = place();
    place.write("db.yaml", &format!("{HEAD}spec: {{encryptedData: {{a: {}}}}}\n", sealed("staging/db", "v")));
    let run = |flags: &[&str]| place.run(&[&["seal", "reencrypt", "db.yaml"][..], flags].concat());
    let older = run(&["--recovery-private-key", "keys.yaml", "--cert", "first.pem"]).refuses(4);
    assert!(older.stderr.contains("is newer"), "{}", older.stderr);
    let unproved = run(&["--recovery-private-key", "first.key", "--cert", "second.pem"]).refuses(4);
    assert!(unproved.stderr.contains("is not among the keys"), "{}", unproved.stderr);
    run(&["--recovery-private-key", "first.key", "--cert", "second.pem", "--unproved"]).exits(0);
    assert!(
        run(&["--recovery-private-key", "first.key", "--cert", "second.pem", "--unproved"])
            .exits(3)
            .stdout
            .contains("1 cannot be opened")
    );
}

#[test]
fn a_single_text_is_moved_where_kubeseal_would_put_it() {
    let place = place();
    let text = format!("# kept\n{HEAD}spec: {{encryptedData: {{a: {}}}}}\n", sealed("staging/db", "v"));
    let flags = [&["seal", "--re-encrypt"][..], &KEYS].concat();
    let out = piped(&place, &flags, &text).exits(0).stdout;
    assert_eq!(without_ciphertexts(&out), without_ciphertexts(&text));
    place.write("db.yaml", &text);
    place.run(&[&flags[..], &["-f", "db.yaml", "-w", "new.yaml"]].concat()).exits(0);
    assert_eq!(read(&place, "db.yaml"), text);
    place.run(&[&flags[..], &["-f", "db.yaml"]].concat()).exits(0);
    assert_eq!(without_ciphertexts(&read(&place, "db.yaml")), without_ciphertexts(&text));
    assert_ne!(read(&place, "db.yaml"), text);
    let unopened =
        piped(&place, &[&["seal", "--re-encrypt"][..], &KEYS[2..], &["--recovery-private-key", "second.key"]].concat(), &text);
    assert!(unopened.refuses(8).stderr.contains("no key opens it"));
}

#[test]
fn which_key_opens_what_is_said_and_why_something_does_not() {
    let place = place();
    let wide =
        HEAD.replace("namespace: staging", "namespace: staging, annotations: {sealedsecrets.bitnami.com/cluster-wide: \"true\"}");
    place.write("db.yaml", &format!("{HEAD}spec: {{encryptedData: {{a: {}}}}}\n", sealed("staging/db", "v")));
    place.write("wide.yaml", &format!("{wide}spec: {{encryptedData: {{a: {}}}}}\n", sealed("staging/db", "v")));
    let verify = |paths: &[&str]| place.run(&[&["seal", "verify", "--recovery-private-key", "keys.yaml"][..], paths].concat());
    assert!(verify(&["db.yaml"]).exits(0).stdout.ends_with("1 of 1 item open\n"));
    let said = verify(&["."]).exits(3);
    assert!(said.stdout.contains("it was sealed with scope strict"), "{}", said.stdout);
    assert!(said.stdout.contains("and the object says cluster-wide"), "{}", said.stdout);
    place.write("empty.yaml", "kind: ConfigMap\n");
    assert!(
        place.run(&["seal", "verify", ".", "--recovery-private-key", "empty.yaml"]).refuses(8).stderr.contains("no private key")
    );
    let curve = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    place.write("curve.key", &curve.serialize_pem());
    assert!(place.run(&["seal", "verify", ".", "--recovery-private-key", "curve.key"]).refuses(8).stderr.contains("curve.key"));
}

/// Of the form that today's kubeseal neither makes nor opens: a whole Secret in one ciphertext.
#[test]
fn a_secret_that_was_sealed_as_a_whole_is_opened_and_moved() {
    let place = place();
    let secret = format!(
        "{{\"kind\":\"Secret\",\"metadata\":{{\"name\":\"old\"}},\"type\":\"Opaque\",\"data\":{{\"password\":\"{}\"}}}}",
        STANDARD.encode(MARKER)
    );
    let certificate = dxdr_sealing::SealingCertificate::from_pem(&Key::first().certificate).unwrap();
    let sealed = certificate.seal("staging/db", secret.as_bytes()).unwrap().to_base64();
    let text = format!(
        "# of 2018\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {{name: db, namespace: staging}}\nspec:\n  data: {sealed}  # whole\n"
    );
    place.write("db.yaml", &text);
    let verified = place.run(&["seal", "verify", "db.yaml", "--recovery-private-key", "first.key"]).exits(0);
    assert!(verified.stdout.ends_with("1 of 1 item open\n"), "{}", verified.stdout);
    place.run(&["seal", "reencrypt", ".", "--recovery-private-key", "first.key,second.key", "--cert", "second.pem"]).exits(0);
    let moved = read(&place, "db.yaml");
    let (before, after) = text.split_once(&sealed).unwrap();
    let now = moved.strip_prefix(before).unwrap().strip_suffix(after).unwrap();
    assert_eq!(Key::second().opens("staging/db", now).unwrap(), secret.as_bytes());
    let unsealed =
        place.run(&["seal", "--recovery-unseal", "-f", "db.yaml", "--recovery-private-key", "second.key"]).exits(0).stdout;
    let unsealed = &documents(&unsealed)[0];
    assert_eq!((&unsealed["metadata"]["name"], &unsealed["metadata"]["namespace"]), (&"db".into(), &"staging".into()));
    assert_eq!((&unsealed["data"]["password"], &unsealed["type"]), (&STANDARD.encode(MARKER).into(), &"Opaque".into()));
    assert!(
        piped(&place, &["seal", "set", "db.yaml", "token", "--cert", "second.pem"], "v").refuses(8).stderr.contains("spec.data")
    );
    assert_eq!(read(&place, "db.yaml"), moved);
}

#[cfg(unix)]
#[test]
fn a_file_that_is_reached_over_two_ways_is_moved_once() {
    let place = place();
    let text = format!("{HEAD}spec: {{encryptedData: {{a: {}}}}}\n", sealed("staging/db", "a"));
    place.write("apps/db.yaml", &text);
    std::os::unix::fs::symlink("db.yaml", place.path().join("apps/again.yaml")).unwrap();
    let said = place
        .run(&[
            "seal",
            "reencrypt",
            "apps",
            "apps/db.yaml",
            "--recovery-private-key",
            "keys.yaml",
            "--cert",
            "second.pem",
            "-o",
            "json",
        ])
        .exits(0);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&document["changed"], &document["counts"]["reencrypted"]), (&serde_json::json!(["apps/db.yaml"]), &1.into()));
    assert!(place.path().join("apps/again.yaml").is_symlink());
}

#[test]
fn what_is_asked_for_and_cannot_be_is_refused() {
    let place = place();
    place.write("nothing.yaml", "kind: ConfigMap\napiVersion: v1\n");
    let verify = place.run(&["seal", "verify", "nothing.yaml", "--recovery-private-key", "keys.yaml"]).refuses(8);
    assert!(verify.stderr.contains("there is no SealedSecret in what was named"), "{}", verify.stderr);
    let text = format!("{HEAD}spec: {{encryptedData: {{a: {}}}}}\n", sealed("staging/db", "a"));
    let again = ["seal", "--re-encrypt", "--recovery-private-key", "keys.yaml", "--cert", "second.pem", "--format"];
    let said = piped(&place, &[&again[..], &["json"]].concat(), &text).refuses(2);
    assert!(said.stderr.contains("stays as it is written"), "{}", said.stderr);
    piped(&place, &[&again[..], &["yaml"]].concat(), &text).exits(0);
    let said = piped(&place, &["seal", "--validate", "-n", "other"], &text).refuses(8);
    assert!(said.stderr.contains("its metadata.namespace is staging, and other was asked for"), "{}", said.stderr);
}

/// A SealedSecret of a cluster.
fn standing(name: &str) -> dxdr_environment::ObjectReference {
    objects::reference("bitnami.com", "v1alpha1", "SealedSecret", "sealedsecrets", Some("staging"), name)
}

#[test]
fn who_stops_moving_a_cluster_leaves_each_sealed_secret_as_it_was_or_done_and_the_next_goes_on() {
    let world = World::of(0);
    write_keys(&world.place);
    let (definition, object) = super::recovered::definition();
    world.create(&definition, &object);
    let names = ["a", "b", "c"];
    for name in names {
        let object = serde_json::json!({
            "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": name, "namespace": "staging"},
            "spec": {"encryptedData": {"value": sealed(&format!("staging/{name}"), name)}},
        });
        world.create(&standing(name), &object);
    }
    let opens = |key: &Key, name: &str| {
        let live = world.get(&standing(name)).unwrap();
        key.opens(&format!("staging/{name}"), live["spec"]["encryptedData"]["value"].as_str().unwrap())
    };
    let mut command = vec!["seal", "reencrypt", "--cluster", "--namespace", "staging", "--yes", "--cert", "second.pem"];
    command.extend(["--recovery-private-key", "keys.yaml"]);
    // While the second of the three is being written.
    world.hold(Held { writes: true, path: "/sealedsecrets/b", behind: 0 });
    let moving = world.start(&command);
    world.until_somebody_waits();
    moving.signal(Signal::INT);
    moving.until_it_says("stopping at the next safe place");
    world.open();
    let (code, said) = moving.ends();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("the same command goes on"), "{said}");
    for (name, moved) in [("a", true), ("b", true), ("c", false)] {
        let (key, other) = if moved { (Key::second(), Key::first()) } else { (Key::first(), Key::second()) };
        assert_eq!(opens(key, name).as_deref(), Some(name.as_bytes()), "{name}");
        assert_eq!(opens(other, name), None, "{name}");
    }
    let (untouched, writes) = (world.get(&standing("a")), world.writes());
    let said = world.place.run(&command).exits(0).stdout;
    assert!(said.contains("1 moved to it in 1 SealedSecret"), "{said}");
    assert_eq!(world.writes(), writes + 1, "what is done is not written again");
    assert_eq!(world.get(&standing("a")), untouched);
    for name in names {
        assert_eq!(opens(Key::second(), name).as_deref(), Some(name.as_bytes()), "{name}");
    }
}
