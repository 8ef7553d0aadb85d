//! `dxdr seal`, offline: keys and certificates are made here, and what is sealed is opened again.

mod adopted;
mod apart;
mod checked;
mod flags;
mod kept;
mod moved;
mod recovered;
mod secrecy;
mod shared;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
    sync::OnceLock,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_sealing::{Ciphertext, OpeningKey};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::place::{Place, Said};

/// Of the value, and of nothing else that is ever written.
const MARKER: &str = "hunter2-of-the-tests";

/// A sealing key and its certificate.
struct Key {
    private: String,
    certificate: String,
}

impl Key {
    /// The same in every test: making one takes a while.
    fn first() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| Self::made((2026, 1), (2046, 1)))
    }

    /// Newer than the first.
    fn second() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| Self::made((2026, 2), (2046, 1)))
    }

    fn ended() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| Self::made((2015, 1), (2025, 1)))
    }

    fn made(from: (i32, u8), to: (i32, u8)) -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.not_before = rcgen::date_time_ymd(from.0, from.1, 1);
        parameters.not_after = rcgen::date_time_ymd(to.0, to.1, 1);
        let certificate = parameters.self_signed(&pair).unwrap().pem();
        Self { private: pair.serialize_pem(), certificate }
    }

    /// What the value of an item is.
    fn opens(&self, label: &str, sealed: &str) -> Option<Vec<u8>> {
        let key = OpeningKey::from_pem(&self.private).unwrap();
        Some(key.open(label, &Ciphertext::from_base64(sealed).unwrap())?.expose().to_vec())
    }

    /// As the controller stores it.
    fn secret(&self, name: &str) -> String {
        let (key, certificate) = (STANDARD.encode(&self.private), STANDARD.encode(&self.certificate));
        format!(
            "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: {name}, namespace: kube-system}}\ndata: {{tls.key: {key}, tls.crt: {certificate}}}\n"
        )
    }
}

/// A folder with certificates and keys in it.
fn place() -> Place {
    let place = Place::empty();
    write_keys(&place);
    place
}

pub(crate) fn write_keys(place: &Place) {
    for (name, key) in [("first", Key::first()), ("second", Key::second()), ("ended", Key::ended())] {
        place.write(&format!("{name}.pem"), &key.certificate);
        place.write(&format!("{name}.key"), &key.private);
    }
    place.write("keys.yaml", &format!("---\n{}---\n{}", Key::first().secret("one"), Key::second().secret("two")));
}

/// Runs with something on standard input.
pub(crate) fn piped(place: &Place, arguments: &[&str], input: &str) -> Said {
    Said::of(arguments, &piped_bytes(place, arguments, input.as_bytes()))
}

fn piped_bytes(place: &Place, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = place.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn read(place: &Place, file: &str) -> String {
    fs::read_to_string(place.path().join(file)).unwrap()
}

/// Every file below a folder.
fn each_file(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { each_file(&path, look) } else { look(&path, &fs::read(&path).unwrap()) }
    }
}

/// Every document of YAML or JSON that was printed.
pub(crate) fn documents(text: &str) -> Vec<serde_json::Value> {
    let documents = dxdr_api::yaml::read(&dxdr_api::SourceText { name: "printed", text }).unwrap();
    documents.iter().map(|document| document.value().clone()).collect()
}

pub(crate) const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: staging, labels: {app: db}}\nstringData: {password: hunter2-of-the-tests}\ndata: {user: c2hvcA==}\n";

#[test]
fn a_secret_is_sealed_in_the_form_that_it_came_in() {
    let place = place();
    let yaml = piped(&place, &["seal", "--cert", "first.pem"], SECRET).exits(0).stdout;
    assert!(yaml.starts_with("---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\n"), "{yaml}");
    let sealed = &documents(&yaml)[0];
    let item = |name: &str| sealed["spec"]["encryptedData"][name].as_str().unwrap();
    assert_eq!(Key::first().opens("staging/db", item("password")).unwrap(), MARKER.as_bytes());
    assert_eq!(Key::first().opens("staging/db", item("user")).unwrap(), b"shop");
    assert_eq!(Key::first().opens("staging/other", item("user")), None);
    assert_eq!(sealed["spec"]["template"]["metadata"]["labels"]["app"], "db");
    assert!(sealed["metadata"]["labels"].is_null());

    let json = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"db\",\"namespace\":\"a\"},\"data\":{\"k\":\"dg==\"}}";
    let two = piped(&place, &["seal", "--cert", "first.pem"], &format!("{json}\n{json}")).exits(0).stdout;
    assert!(two.starts_with("{\n  \"kind\": \"SealedSecret\",\n  \"apiVersion\": "), "{two}");
    assert_eq!(documents(&two).len(), 2);
    let asked = [["-o", "yaml"], ["--format", "yaml"]];
    for flags in asked {
        let text = piped(&place, &[&["seal", "--cert", "first.pem"][..], &flags].concat(), json).exits(0).stdout;
        assert!(text.starts_with("---\napiVersion"), "{flags:?}: {text}");
    }
}

#[test]
fn lists_documents_line_ends_and_marks_are_read_as_people_write_them() {
    let place = place();
    let list = format!("\u{feff}apiVersion: v1\r\nkind: List\r\nitems:\r\n- {}", SECRET.trim_end().replace('\n', "\r\n  "));
    let anchors =
        "---\nx: &v c2hvcA==\napiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b}\ndata: {one: *v, two: *v}\n";
    let both = piped(&place, &["seal", "--cert", "first.pem"], &format!("{list}\n{anchors}---\n# nothing\n")).exits(0).stdout;
    let sealed = documents(&both);
    assert_eq!(sealed.len(), 2);
    assert_eq!(Key::first().opens("b/a", sealed[1]["spec"]["encryptedData"]["two"].as_str().unwrap()).unwrap(), b"shop");
}

#[test]
fn nothing_is_written_when_anything_is_wrong() {
    let place = place();
    let wrong = [
        ("kind: ConfigMap\napiVersion: v1\ndata: {a: YQ==}\n", ":1:1: it is a ConfigMap of v1"),
        (
            "kind: Secret\napiVersion: v1\nmetadata: {name: a, namespace: b}\nstringData: {p: 5}\n",
            ":4:14: stringData.p is a number",
        ),
        (
            "kind: Secret\napiVersion: v1\nmetadata: {name: a, namespace: b}\ndata: {p: hunter2-of-the-tests}\n",
            ":4:8: data.p is not base64",
        ),
        (
            "kind: Secret\napiVersion: v1\nmetadata: {name: a, namespace: b}\nstringData: {p: *hunter2-of-the-tests}\n",
            "an alias refers",
        ),
        (
            "kind: Secret\napiVersion: v1\nmetadata: {name: a, namespace: b}\nstringData: {p: !hunter2-of-the-tests x}\n",
            "tags are not",
        ),
        (
            "kind: Secret\napiVersion: v1\nmetadata: {name: a, namespace: b}\nstringData: {p: a, p: b}\n",
            "field `p` stands here twice",
        ),
        ("kind: Secret\napiVersion: v1\nmetadata: {name: a, namespace: b}\n", "it has no items"),
        ("kind: Secret\napiVersion: v1\nmetadata: {name: a}\nstringData: {p: a}\n", "it has no metadata.namespace"),
        ("kind: Secret\napiVersion: v1\nmetadata: {namespace: b}\nstringData: {p: a}\n", "it has no metadata.name"),
        ("{\"kind\": \"Secret\", \"kind\": \"Secret\"}", "field `kind` stands here twice"),
        ("{\"kind\": \"Secret\",, }", "this is not valid JSON"),
        ("", "there is no manifest in standard input"),
        ("{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": []}", "there is no Secret in standard input"),
    ];
    for (manifest, message) in wrong {
        let input = if manifest.starts_with('{') || manifest.is_empty() {
            manifest.to_owned()
        } else {
            format!("{manifest}---\n{SECRET}")
        };
        let said = piped(&place, &["seal", "--cert", "first.pem", "-w", "out.yaml"], &input).refuses(8);
        assert!(said.stderr.contains(message), "{manifest}\n{}", said.stderr);
        assert!(!said.stderr.contains(MARKER), "{}", said.stderr);
        assert!(said.stdout.is_empty());
        assert!(!place.path().join("out.yaml").exists());
    }
    let binary = Said::of(&[], &piped_bytes(&place, &["seal", "--cert", "first.pem"], b"kind: \xff\xfe"));
    assert!(binary.refuses(8).stderr.contains("is no text in UTF-8"));
}

#[test]
fn the_scope_that_is_asked_for_is_the_scope_that_is_sealed() {
    let place = place();
    let wide = SECRET.replace("labels: {app: db}", "annotations: {sealedsecrets.bitnami.com/cluster-wide: \"true\"}");
    let sealed = |flags: &[&str]| {
        let said = piped(&place, &[&["seal", "--cert", "first.pem"][..], flags].concat(), &wide).exits(0);
        documents(&said.stdout).remove(0)
    };
    let item = |sealed: &serde_json::Value| sealed["spec"]["encryptedData"]["user"].as_str().unwrap().to_owned();
    let as_it_says = sealed(&[]);
    assert!(Key::first().opens("", &item(&as_it_says)).is_some());
    let strict = sealed(&["--scope", "strict"]);
    assert!(Key::first().opens("staging/db", &item(&strict)).is_some());
    assert!(strict["metadata"]["annotations"].is_null() && strict["spec"]["template"]["metadata"]["annotations"].is_null());
    let renamed = sealed(&["--scope", "namespace-wide", "--name", "other"]);
    assert!(Key::first().opens("staging", &item(&renamed)).is_some());
    assert_eq!(renamed["metadata"]["name"], "other");
    let refused = piped(&place, &["seal", "--cert", "first.pem", "-n", "elsewhere"], SECRET).refuses(8);
    assert!(refused.stderr.contains("its metadata.namespace is staging, and elsewhere was asked for"), "{}", refused.stderr);
}

#[test]
fn a_namespace_that_nobody_names_is_that_of_the_context() {
    let place = place();
    let secret = SECRET.replace(", namespace: staging", "");
    place.write(
        ".kube/config",
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u, namespace: shop}}, {name: d, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: \"https://127.0.0.1:1\"}}]\nusers: [{name: u, user: {}}]\n",
    );
    for (flags, namespace) in [(&[][..], "shop"), (&["--context", "d"], "default"), (&["-n", "x"], "x")] {
        let said = piped(&place, &[&["seal", "--cert", "first.pem"][..], flags].concat(), &secret).exits(0);
        let sealed = &documents(&said.stdout)[0];
        assert_eq!(sealed["metadata"]["namespace"], namespace);
        let item = sealed["spec"]["encryptedData"]["user"].as_str().unwrap();
        assert!(Key::first().opens(&format!("{namespace}/db"), item).is_some());
    }
}

#[test]
fn one_value_is_sealed_as_it_is() {
    let place = place();
    let raw = |flags: &[&str], input: &str| piped(&place, &[&["seal", "raw", "--cert", "first.pem"][..], flags].concat(), input);
    let strict = raw(&["--name", "a", "--namespace", "b"], "v\n").exits(0);
    assert!(!strict.stdout.ends_with('\n'));
    assert!(strict.stderr.contains("ends in a newline"), "{}", strict.stderr);
    assert_eq!(Key::first().opens("b/a", &strict.stdout).unwrap(), b"v\n");
    let wide = raw(&["--scope", "namespace-wide", "-n", "b"], "").exits(0);
    assert_eq!(Key::first().opens("b", &wide.stdout).unwrap(), b"");
    assert_eq!(wide.stderr, "");
    let from_file =
        place.run(&["seal", "--raw", "--cert", "first.pem", "--scope", "cluster-wide", "--from-file", "x=first.key"]).exits(0);
    assert_eq!(Key::first().opens("", &from_file.stdout).unwrap(), Key::first().private.as_bytes());
    assert!(raw(&["--namespace", "b"], "v").refuses(2).stderr.contains("--name NAME"));
    assert!(raw(&["--name", "b"], "v").refuses(2).stderr.contains("--namespace NAME"));
    assert!(raw(&["--scope", "wide"], "v").exits(2).stderr.contains("possible values: strict, namespace-wide, cluster-wide"));
}

#[test]
fn a_certificate_is_pinned_and_then_sealed_with() {
    let place = place();
    let no_cluster = piped(&place, &["seal"], SECRET).refuses(8);
    assert!(no_cluster.stderr.contains("--cert FILE"), "{}", no_cluster.stderr);
    let pin = |flags: &[&str]| place.run(&[&["seal", "certificate"][..], flags].concat());
    let first = pin(&["--cert", "first.pem", "--dry-run"]).exits(0);
    assert!(first.stdout.contains("would be pinned"), "{}", first.stdout);
    assert!(!place.path().join(".dxdr").exists());
    pin(&["--cert", "first.pem"]).exits(0);
    assert_eq!(documents(&piped(&place, &["seal"], SECRET).exits(0).stdout).len(), 1);
    assert!(pin(&["--cert", "first.pem"]).exits(0).stdout.contains("is pinned already"));
    let other = pin(&["--cert", "second.pem"]).refuses(4);
    assert!(other.stderr.contains("holds another key's certificate"), "{}", other.stderr);
    let replaced: serde_json::Value =
        serde_json::from_str(&pin(&["--cert", "second.pem", "--replace", "-o", "json"]).exits(0).stdout).unwrap();
    assert_eq!(replaced["state"], "replaced");
    assert!(replaced["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    assert_eq!(
        place.run(&["seal", "--fetch-cert", "--cert", "second.pem"]).exits(0).stdout.trim(),
        Key::second().certificate.trim()
    );
    let below = place.path().join("apps/db");
    fs::create_dir_all(&below).unwrap();
    let mut command = place.command(&["seal", "raw", "--scope", "cluster-wide"]);
    let output = command.current_dir(below).output().unwrap();
    assert!(output.status.success(), "a folder above has it");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Sealing with the certificate pinned in ") && said.contains("SHA256:"), "{said}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused() {
    let place = place();
    let refused = piped(&place, &["seal", "--cert", "ended.pem"], SECRET).refuses(4);
    assert!(refused.stderr.contains("ended on 2025-01-01"), "{}", refused.stderr);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    place.write("curve.pem", &CertificateParams::default().self_signed(&key).unwrap().pem());
    place.write("no.pem", "nothing\n");
    for (file, message) in [
        ("curve.pem", "is not RSA"),
        ("no.pem", "no PEM certificate"),
        ("missing.pem", "No such file"),
        ("http:///x", "is no URL"),
    ] {
        let said = piped(&place, &["seal", "--cert", file], SECRET);
        let code = if file.starts_with("http") { 2 } else { 8 };
        assert!(said.refuses(code).stderr.contains(message), "{file}");
    }
}

#[test]
fn a_secret_that_was_sealed_is_opened_with_the_key_alone() {
    let place = place();
    let typed = SECRET.replace("kind: Secret\n", "kind: Secret\ntype: example.com/x\nimmutable: true\n");
    let sealed = piped(&place, &["seal", "--cert", "first.pem"], &typed).exits(0).stdout;
    let unseal = ["seal", "--recovery-unseal", "--recovery-private-key"];
    let opened = piped(&place, &[&unseal[..], &["keys.yaml"]].concat(), &sealed).exits(0).stdout;
    let secret = &documents(&opened)[0];
    assert_eq!(secret["data"]["password"], STANDARD.encode(MARKER));
    assert_eq!((&secret["type"], &secret["immutable"]), (&"example.com/x".into(), &true.into()));
    assert_eq!(secret["metadata"]["labels"]["app"], "db");
    assert!(secret["metadata"]["ownerReferences"].is_null());
    let moved = sealed.replacen("name: db", "name: other", 1);
    let refused = piped(&place, &[&unseal[..], &["first.key,second.key"]].concat(), &moved).refuses(8);
    assert!(refused.stderr.contains("opens with none of the keys, as staging/other (strict)"), "{}", refused.stderr);
    assert!(refused.stdout.is_empty());
}
