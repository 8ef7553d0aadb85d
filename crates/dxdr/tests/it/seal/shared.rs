//! Threshold escrow: an identity that nobody has, and shares of it that together open what is in escrow.

use std::io::Write as _;

use serde_json::{Value, json};

use super::{
    secrecy::{running_on_a_terminal, shown},
    *,
};
use crate::{objects, served::Served};

fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap()
}

/// Lets the escrow be for a recipient.
fn declare(served: &Served, recipient: &str) {
    served.place.write(
        "policies/sealing.yaml",
        &format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: sealed}}\nspec: {{namespace: sealed, tier: non-production, sealing: {{controller: {{namespace: seals, name: sealed-secrets}}}}}}\n---\nkind: SealingPolicy\nmetadata: {{name: default}}\nspec: {{environments: [sealed], escrow: {{recipients: [{recipient}], store: primary}}}}\n"
        ),
    );
}

/// Shares as plain files, any two of three, and a policy for what they open; the public key.
fn shared(served: &Served, folder: &str) -> String {
    let made =
        served.run(&["seal", "escrow", "shares", "--threshold", "2", "--of", "3", "--out", folder, "--plain", "-o", "json"]);
    json_of(&made.exits(0))["recipient"].as_str().unwrap().to_owned()
}

fn served() -> Served {
    let served = Served::new();
    served.create(objects::namespace("seals"));
    let recipient = shared(&served, "shares");
    declare(&served, &recipient);
    served
}

/// Every file with a key, a share or what opens them.
fn is_secret(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.starts_with("share-") || name == "typed.txt"
}

#[test]
fn as_many_shares_as_it_takes_do_whatever_an_identity_does() {
    let served = served();
    let mut said = String::new();
    let mut run = |arguments: &[&str], code: i32| {
        let output = served.run(&[&["seal"][..], arguments, &["-vv"]].concat()).exits(code);
        said.push_str(&format!("{}{}", output.stdout, output.stderr));
        output
    };
    let two = ["--share", "shares/share-1.txt", "--share", "shares/share-3.txt"];
    let rotated = run(&[&["rotate", "--yes", "-o", "json"][..], &two].concat(), 3);
    let rotated = json_of(&rotated);
    assert_eq!(rotated["provedWithIdentity"], true);
    let name = rotated["secret"]["name"].as_str().unwrap().to_owned();
    let tested = run(&[&["escrow", "test"][..], &two].concat(), 0);
    assert!(tested.stdout.contains("1 of 1 key open"), "{}", tested.stdout);
    assert!(tested.stderr.contains("Shares 1, 3 of set "), "{}", tested.stderr);
    let secret = served.get(&objects::core("Secret", Some("seals"), &name)).unwrap();
    let certificate = STANDARD.decode(secret["data"]["tls.crt"].as_str().unwrap()).unwrap();
    served.place.write("newest.pem", &String::from_utf8(certificate).unwrap());
    piped(&served.place, &["seal", "--cert", "newest.pem", "-w", "db.yaml"], SECRET).exits(0);
    let verified = run(&[&["verify", "db.yaml"][..], &two].concat(), 0);
    assert!(verified.stdout.ends_with("2 of 2 items open\n"), "{}", verified.stdout);
    run(&[&["verify", "db.yaml", "--recovery-private-key", "x"][..], &two].concat(), 2);
    run(&["verify", "db.yaml", "--policy", "default"], 2);

    // Other recipients: the escrow alone has the key, and the shares open it.
    served.delete(&objects::core("Secret", Some("seals"), &name));
    let recipient = shared(&served, "others");
    declare(&served, &recipient);
    assert!(run(&["escrow"], 3).stderr.contains("`--share FILE` as often as it takes"));
    assert!(run(&[&["escrow"][..], &two].concat(), 0).stdout.contains("encrypted anew"));
    run(&[&["escrow", "test"][..], &two].concat(), 9);
    run(&["restore-keys", "--yes"], 2);
    let piped_in: String = ["others/share-2.txt", "others/share-1.txt"].map(|file| read(&served.place, file)).concat();
    let mut restore = served.place.command(&["seal", "restore-keys", "--yes", "--share", "-", "-vv"]);
    let mut child = restore.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let arguments = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    child.stdin.take().unwrap().write_all(piped_in.as_bytes()).unwrap();
    let output = Said::of(&["seal", "restore-keys"], &child.wait_with_output().unwrap()).exits(0);
    assert!(output.stdout.contains("1 key written"), "{}", output.stdout);
    said.push_str(&format!("{}{}{}", output.stdout, output.stderr, String::from_utf8_lossy(&arguments)));
    let restored = served.get(&objects::core("Secret", Some("seals"), &name)).unwrap();
    assert_eq!(restored["data"], secret["data"]);

    // What is secret is where it was put, and nowhere else.
    let private = String::from_utf8(STANDARD.decode(secret["data"]["tls.key"].as_str().unwrap()).unwrap()).unwrap();
    let mut markers =
        vec![private.lines().nth(5).unwrap().to_owned(), secret["data"]["tls.key"].as_str().unwrap()[80..160].to_owned()];
    for file in ["shares/share-1.txt", "shares/share-2.txt", "others/share-3.txt"] {
        let text = read(&served.place, file);
        markers.push(text.lines().last().unwrap()[40..70].to_owned());
    }
    markers.push("AGE-SECRET-KEY-1".to_owned());
    for marker in markers {
        assert!(!said.contains(&marker), "{said}");
        each_file(served.place.path(), &mut |path, bytes| {
            let holds = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
            assert!(is_secret(path) || !holds, "{} holds {marker}", path.display());
        });
    }
}

#[test]
fn shares_that_do_not_make_an_identity_are_named_and_nothing_is_opened() {
    let served = served();
    served.run(&["seal", "rotate", "--yes"]).exits(3);
    shared(&served, "others");
    let test = |shares: &[&str]| {
        let flags: Vec<&str> = shares.iter().flat_map(|share| ["--share", share]).collect();
        served.run(&[&["seal", "escrow", "test"][..], &flags].concat())
    };
    let one = "shares/share-1.txt";
    assert!(test(&[one]).refuses(8).stderr.contains("it takes 2 shares of set "));
    assert!(test(&[one, one]).refuses(8).stderr.contains("share 2 is number 1 of its set, and share 1 is, too"));
    let mixed = test(&[one, "shares/share-2.txt", "others/share-3.txt"]).refuses(8);
    assert!(mixed.stderr.contains("share 3 is of set "), "{}", mixed.stderr);
    let text = read(&served.place, one);
    let mistyped = text.trim_end().to_owned();
    let (before, last) = mistyped.split_at(mistyped.len() - 1);
    served.place.write("typed.txt", &format!("{before}{}", if last == "Q" { "P" } else { "Q" }));
    let said = test(&["typed.txt", "shares/share-2.txt"]).refuses(8);
    assert!(said.stderr.contains("typed.txt: it is mistyped: character 2 of group 14"), "{}", said.stderr);
    served.place.write("typed.txt", "nothing\n");
    assert!(test(&["typed.txt"]).refuses(8).stderr.contains("it is no share"));
    assert!(test(&["missing.txt"]).refuses(8).stderr.contains("cannot read missing.txt"));
    // Those of another set make an identity, which opens nothing here.
    test(&["others/share-1.txt", "others/share-2.txt"]).exits(9);
    test(&[one, "shares/share-2.txt", "shares/share-3.txt"]).exits(0);
}

#[test]
fn each_share_is_encrypted_for_its_person() {
    let served = Served::new();
    served.create(objects::namespace("seals"));
    let people = ["alice", "bob", "carol"];
    let recipients: Vec<String> =
        people.iter().map(|name| format!("{name}={}", super::apart::identity(&served, &format!("{name}.txt")))).collect();
    let shares = |flags: &[&str]| {
        let named = recipients.iter().flat_map(|recipient| ["--recipient", recipient]);
        let arguments: Vec<&str> =
            ["seal", "escrow", "shares", "--threshold", "2", "-o", "json"].into_iter().chain(named).collect();
        served.run(&[&arguments[..], flags].concat())
    };
    let dry = json_of(&shares(&["--out", "shares", "--dry-run"]).exits(0));
    assert_eq!((&dry["recipient"], dry["shares"][2]["person"].as_str()), (&Value::Null, Some("carol")));
    assert!(!served.place.path().join("shares").exists());
    shares(&[]).exits(2);
    shares(&["--out", "shares", "--plain"]).exits(2);
    shares(&["--out", "shares", "--of", "4"]).exits(2);
    let made = json_of(&shares(&["--out", "shares"]).exits(0));
    assert_eq!(made["shares"][1], json!({"number": 2, "person": "bob", "file": "shares/share-2-bob.age"}));
    assert_eq!(made["threshold"], 2);
    // A folder that has shares is not written into, and those stay.
    let before = read(&served.place, "shares/share-1-alice.age");
    assert!(shares(&["--out", "shares"]).exits(1).stderr.contains("share-1-alice.age"));
    assert_eq!(read(&served.place, "shares/share-1-alice.age"), before);
    assert!(before.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") && !before.contains("DXDRSHARE"));

    declare(&served, made["recipient"].as_str().unwrap());
    served.run(&["seal", "rotate", "--yes"]).exits(3);
    let test = |flags: &[&str]| served.run(&[&["seal", "escrow", "test"][..], flags].concat());
    let two = ["--share", "shares/share-1-alice.age", "--share", "shares/share-3-carol.age"];
    assert!(test(&two).refuses(8).stderr.contains("is encrypted for a person"));
    let alice = ["--identity", "alice.txt"];
    assert!(test(&[&two[..], &alice].concat()).refuses(4).stderr.contains("share-3-carol.age cannot be opened"));
    test(&[&two[..], &alice, &["--identity", "carol.txt"]].concat()).exits(0);
    // Their own identity alone opens nothing.
    test(&alice).exits(9);
}

#[test]
fn shares_are_not_made_where_nobody_could_take_them() {
    let place = Place::empty();
    let shares = |flags: &[&str]| place.run(&[&["seal", "escrow", "shares"][..], flags].concat());
    let none = shares(&["--threshold", "2", "--of", "3"]).refuses(4);
    assert!(none.stderr.contains("and this is none") && none.stderr.contains("--recipient NAME=KEY"), "{}", none.stderr);
    for flags in [["--threshold", "1", "--of", "3"], ["--threshold", "4", "--of", "3"]] {
        assert!(shares(&flags).refuses(2).stderr.contains("shares cannot be"));
    }
    shares(&["--threshold", "2"]).exits(2);
    let private = "alice=AGE-SECRET-KEY-1QQQQ";
    let said = shares(&["--threshold", "2", "--out", "x", "--recipient", private, "--recipient", private]).refuses(2);
    assert!(!said.stderr.contains("QQQQ"), "{}", said.stderr);
    let all = shares(&["--threshold", "2", "--of", "2", "--out", "x", "--plain"]).exits(0);
    assert!(all.stderr.contains("every share is needed"), "{}", all.stderr);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(place.path().join("x/share-1.txt")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn shares_are_shown_one_by_one_and_typed_from_what_was_written_down() {
    let served = Served::new();
    served.create(objects::namespace("seals"));
    let arguments = ["seal", "escrow", "shares", "--threshold", "2", "--of", "2"];
    let (mut child, mut controller, _terminal) = running_on_a_terminal(&served.place, &arguments);
    let mut typed = Vec::new();
    let mut all = String::new();
    for number in 1..=2 {
        let mut seen = String::new();
        shown(&mut controller, &mut seen, "everybody else has looked away: ");
        let share = seen.lines().find(|line| line.starts_with("DXDRSHARE1-")).unwrap().trim().to_owned();
        // It stands on a screen of its own, which is taken away before anybody types.
        assert!(seen.find("\u{1b}[?1049h").unwrap() < seen.find(&share).unwrap());
        controller.write_all(b"\n").unwrap();
        let mut seen = String::new();
        shown(&mut controller, &mut seen, &format!("Share {number} of 2, typed from what was written down: "));
        assert!(seen.contains("\u{1b}[?1049l") && !seen.contains("DXDRSHARE1-"), "{seen}");
        if number == 1 {
            // Typed wrong, it is shown again.
            controller.write_all(format!("{}\n", &share[..share.len() - 1]).as_bytes()).unwrap();
            shown(&mut controller, &mut seen, "it is shown again");
            shown(&mut controller, &mut seen, "everybody else has looked away: ");
            controller.write_all(b"\n").unwrap();
            let mut again = String::new();
            shown(&mut controller, &mut again, "typed from what was written down: ");
        }
        controller.write_all(format!("{}\n", share.to_lowercase()).as_bytes()).unwrap();
        all.push_str(&seen);
        typed.push(share);
    }
    let mut seen = String::new();
    shown(&mut controller, &mut seen, "any 2 of the 2 shares open");
    shown(&mut controller, &mut seen, "Next: ");
    assert!(child.wait().unwrap().success());
    let recipient = seen.lines().find(|line| line.starts_with("age1")).unwrap().trim().to_owned();
    declare(&served, &recipient);
    served.run(&["seal", "rotate", "--yes"]).exits(3);

    // And asked for when they are needed, without echo.
    let (mut child, mut controller, _terminal) =
        running_on_a_terminal(&served.place, &["seal", "escrow", "test", "--share", "-"]);
    let mut seen = String::new();
    for (question, text) in
        [("Share 1: ", typed[1].as_str()), ("Share 2 of 2: ", "x"), ("Share 2 of 2: ", &typed[1]), ("Share 2 of 2: ", &typed[0])]
    {
        let mut now = String::new();
        shown(&mut controller, &mut now, question);
        controller.write_all(format!("{text}\n").as_bytes()).unwrap();
        seen.push_str(&now);
    }
    shown(&mut controller, &mut seen, "1 of 1 key open");
    assert!(child.wait().unwrap().success());
    assert!(seen.contains("it is no share") && seen.contains("share 2 is there already"), "{seen}");
    assert!(!seen.contains(&typed[0][12..30]) && !seen.contains(&typed[1][12..30]), "{seen}");
}
