//! Flags that scripts have for kubeseal, and what becomes of what they print.

use super::*;

const EMPTY: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: staging}\n";

#[test]
fn what_is_printed_goes_where_w_says() {
    let place = place();
    let to_file = |arguments: &[&str], input: &str| {
        let said = piped(&place, &[arguments, &["-w", "out"]].concat(), input).exits(0);
        assert_eq!(said.stdout, "", "{arguments:?}");
        let text = read(&place, "out");
        fs::remove_file(place.path().join("out")).unwrap();
        text
    };
    assert_eq!(to_file(&["seal", "--fetch-cert", "--cert", "first.pem"], "").trim(), Key::first().certificate.trim());
    for raw in [&["seal", "--raw"][..], &["seal", "raw"]] {
        let sealed = to_file(&[raw, &["--cert", "first.pem", "--scope", "cluster-wide"]].concat(), "v");
        assert_eq!(Key::first().opens("", &sealed).unwrap(), b"v");
    }
    // Values in clear go nowhere but where they are seen.
    let unseal = ["seal", "--recovery-unseal", "--recovery-private-key", "first.key", "-w", "out"];
    piped(&place, &unseal, SECRET).exits(2);
    assert!(!place.path().join("out").exists());
}

#[test]
fn a_secret_that_holds_nothing_is_sealed_only_where_that_is_asked_for() {
    let place = place();
    let seal = ["seal", "--cert", "first.pem"];
    assert!(piped(&place, &seal, EMPTY).refuses(8).stderr.contains("it has no items"));
    let said = piped(&place, &[&seal[..], &["--allow-empty-data"]].concat(), EMPTY).exits(0);
    let sealed = documents(&said.stdout).remove(0);
    assert_eq!((&sealed["kind"], &sealed["metadata"]["name"]), (&"SealedSecret".into(), &"db".into()));
}

#[test]
fn a_variable_says_what_its_flag_says_and_nonsense_is_an_error() {
    let with = |variables: &[(&'static str, &str)]| {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let place = Place::with_environment(variables.collect());
        write_keys(&place);
        place
    };
    let place = with(&[
        ("SEALED_SECRETS_CERT", "first.pem"),
        ("SEALED_SECRETS_SCOPE", "namespace-wide"),
        ("SEALED_SECRETS_NAMESPACE", "shop"),
        ("SEALED_SECRETS_NAME", "other"),
        ("SEALED_SECRETS_FORMAT", "json"),
        ("SEALED_SECRETS_SEALED_SECRET_FILE", "out.json"),
    ]);
    let secret = SECRET.replace(", namespace: staging", "");
    assert_eq!(piped(&place, &["seal"], &secret).exits(0).stdout, "");
    let text = read(&place, "out.json");
    assert!(text.starts_with('{'), "{text}");
    let sealed = documents(&text).remove(0);
    assert_eq!((&sealed["metadata"]["name"], &sealed["metadata"]["namespace"]), (&"other".into(), &"shop".into()));
    let item = sealed["spec"]["encryptedData"]["user"].as_str().unwrap();
    assert_eq!(Key::first().opens("shop", item).unwrap(), b"shop");
    // The command line counts before the variable.
    let said = piped(&place, &["seal", "--scope", "cluster-wide", "-w", "wide.json"], &secret).exits(0);
    assert_eq!(said.stdout, "");
    let sealed = documents(&read(&place, "wide.json")).remove(0);
    assert!(Key::first().opens("", sealed["spec"]["encryptedData"]["user"].as_str().unwrap()).is_some());

    let place = with(&[("SEALED_SECRETS_CERT", "first.pem"), ("SEALED_SECRETS_ALLOW_EMPTY_DATA", "true")]);
    piped(&place, &["seal"], EMPTY).exits(0);
    let place = with(&[("SEALED_SECRETS_CERT", "first.pem"), ("SEALED_SECRETS_SECRET_FILE", "secret.yaml")]);
    place.write("secret.yaml", SECRET);
    assert_eq!(documents(&place.run(&["seal"]).exits(0).stdout).len(), 1);
    for (name, nonsense) in
        [("SEALED_SECRETS_SCOPE", "wide"), ("SEALED_SECRETS_FORMAT", "toml"), ("SEALED_SECRETS_ALLOW_EMPTY_DATA", "perhaps")]
    {
        let said = piped(&with(&[("SEALED_SECRETS_CERT", "first.pem"), (name, nonsense)]), &["seal"], SECRET).exits(2);
        assert!(said.stderr.contains(nonsense), "{name}: {}", said.stderr);
        assert_eq!(said.stdout, "");
    }
}
