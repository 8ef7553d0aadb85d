//! `seal check`, as a hook before a commit runs it.

use serde_json::Value;

use super::*;

fn findings(place: &Place, code: i32, flags: &[&str]) -> Vec<(String, String, u64)> {
    let said = place.run(&[&["seal", "check", ".", "-o", "json", "--exclude", "keys.yaml"][..], flags].concat()).exits(code);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["valid"], code == 0);
    let rows = document["findings"].as_array().unwrap().iter();
    rows.map(|row| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("file"), text("rule"), row["line"].as_u64().unwrap())
    })
    .collect()
}

fn found(file: &str, rule: &str, line: u64) -> (String, String, u64) {
    (file.to_owned(), rule.to_owned(), line)
}

#[test]
fn a_repository_that_is_in_order_is_said_to_be() {
    let place = place();
    piped(&place, &["seal", "--cert", "first.pem", "-w", "apps/db.yaml"], SECRET).refuses(1);
    fs::create_dir(place.path().join("apps")).unwrap();
    piped(&place, &["seal", "--cert", "first.pem", "-w", "apps/db.yaml"], SECRET).exits(0);
    place.write("apps/token.yaml", "kind: Secret\napiVersion: v1\nmetadata: {name: t, annotations: {kubernetes.io/service-account.name: x}}\ntype: kubernetes.io/service-account-token\n");
    place.write("apps/sops.yaml", "kind: Secret\napiVersion: v1\nmetadata: {name: t}\nstringData: {a: \"ENC[AES256_GCM,data:x]\"}\nsops: {version: 3.9.0}\n");
    place.write("chart/templates/x.yaml", "kind: Deployment\nspec: {{ .Values.x }}\n");
    place.write("secret.yaml", SECRET);
    place.write(".gitignore", "secret.yaml\n");
    let said = place.run(&["seal", "check", ".", "--exclude", "keys.yaml"]).exits(0);
    assert_eq!(said.stdout, "4 files, 1 SealedSecret, 2 items: nothing that must be mended\n");
    assert_eq!(findings(&place, 0, &["--cert", "first.pem"]), []);
    place.run(&["seal", "check", "missing"]).refuses(8);
}

#[test]
fn everything_that_cannot_be_committed_is_named_with_its_place() {
    let place = place();
    let sealed = piped(&place, &["seal", "--cert", "first.pem"], SECRET).exits(0).stdout;
    let changed = |from: &str, to: &str| {
        let text = sealed.replacen(from, to, 1);
        assert_ne!(text, sealed, "{from}");
        text
    };
    place.write("secret.yaml", SECRET);
    place.write(
        "list.json",
        r#"{"kind":"List","apiVersion":"v1","items":[{"kind":"Secret","apiVersion":"v1","data":{"a":"YQ=="}}]}"#,
    );
    place.write("kustomization.yaml", "secretGenerator:\n- name: x\n  literals: [a=b]\n");
    place.write("renamed.yaml", &changed("name: db", "name: other"));
    place.write("moved.yaml", &changed("namespace: staging", "namespace: other"));
    // Its template says where it was sealed for.
    place.write("nowhere.yaml", &changed("  namespace: staging\n", ""));
    place.write("short.yaml", &changed("user: A", "user: QQ== #"));
    place.write("base64.yaml", &changed("user: A", "user: \"?\" #"));
    place.write("number.yaml", &changed("user: A", "user: 5 #"));
    place.write("version.yaml", &changed("v1alpha1", "v1"));
    place.write(
        "scope.yaml",
        &changed("metadata:\n", "metadata:\n  annotations: {sealedsecrets.bitnami.com/cluster-wide: \"True\"}\n"),
    );
    place.write(
        "applied.yaml",
        &changed(
            "    metadata:\n",
            "    metadata:\n      annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"kind\":\"Secret\"}'}\n",
        ),
    );
    place.write("template.yaml", "kind: SealedSecret\nmetadata: {{ x }}\n");
    fs::write(
        place.path().join("utf16.yaml"),
        "\u{feff}kind: Secret\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
    )
    .unwrap();
    place.write("broken.yaml", "kind: SealedSecret\nmetadata: {a\n");
    let mut seen = findings(&place, 8, &["--cert", "ended.pem"]);
    seen.sort();
    assert_eq!(
        seen,
        [
            found("applied.yaml", "plain-secret", 13),
            found("base64.yaml", "malformed", 10),
            found("broken.yaml", "malformed", 2),
            found("ended.pem", "certificate", 1),
            found("kustomization.yaml", "plain-secret", 1),
            found("list.json", "plain-secret", 1),
            found("moved.yaml", "scope", 6),
            found("number.yaml", "malformed", 10),
            found("renamed.yaml", "scope", 5),
            found("scope.yaml", "scope", 5),
            found("secret.yaml", "plain-secret", 4),
            found("secret.yaml", "plain-secret", 5),
            found("short.yaml", "malformed", 10),
            found("template.yaml", "malformed", 2),
            found("utf16.yaml", "malformed", 1),
            found("version.yaml", "malformed", 2),
        ]
    );
    let said = place.run(&["seal", "check", "."]).exits(8);
    assert!(!(said.stdout + &said.stderr).contains(MARKER));
}

#[test]
fn a_ciphertext_of_another_size_of_key_is_found() {
    let place = place();
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072).unwrap();
    place.write("large.pem", &CertificateParams::default().self_signed(&pair).unwrap().pem());
    piped(&place, &["seal", "--cert", "first.pem", "-w", "db.yaml"], SECRET).exits(0);
    let rules: Vec<String> = findings(&place, 8, &["--cert", "large.pem"]).into_iter().map(|(_, rule, _)| rule).collect();
    assert_eq!(rules, ["unknown-key", "unknown-key"]);
    assert_eq!(findings(&place, 0, &["--cert", "large.pem", "--cert", "first.pem"]), []);
}

#[test]
fn what_is_excluded_is_passed_over_when_it_is_named_too() {
    let place = place();
    place.write("apps/testdata/secret.yaml", SECRET);
    place.write("apps/secret.yaml", SECRET);
    let absolute = place.path().join("apps/testdata/secret.yaml");
    let check = |paths: &[&str], glob: &str| place.run(&[&["seal", "check", "--exclude", glob][..], paths].concat());
    for path in ["apps/testdata/secret.yaml", "./apps/testdata/secret.yaml", absolute.to_str().unwrap(), "apps/testdata"] {
        for glob in ["**/testdata/**", "secret.yaml", "*.yaml"] {
            // A folder that is named is where its patterns begin.
            if path != "apps/testdata" || glob != "**/testdata/**" {
                check(&[path], glob).exits(0);
            }
        }
    }
    let said = check(&["apps/testdata/secret.yaml", "apps/secret.yaml"], "testdata").refuses(8);
    assert!(said.stdout.contains("apps/secret.yaml:") && !said.stdout.contains("testdata"), "{}", said.stdout);
}

#[test]
fn a_value_of_a_template_that_stands_in_clear_is_worth_a_look() {
    let place = place();
    let sealed = piped(&place, &["seal", "--cert", "first.pem"], SECRET).exits(0).stdout;
    let template = "  template:\n    data: {url: \"postgres://{{ .user }}:{{ .password }}@db\", token: in clear, empty: \"\"}\n";
    let text = sealed.replacen("  template:\n", template, 1);
    assert_ne!(text, sealed);
    place.write("db.yaml", &text);
    let line = text.lines().position(|line| line.contains("token: in clear")).unwrap() as u64 + 1;
    assert_eq!(findings(&place, 0, &[]), [found("db.yaml", "template-value", line)]);
}
