//! Where values must never be: files, messages, arguments, and copies that others could take of the process.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::Child,
    thread,
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use super::*;

#[test]
fn a_value_is_nowhere_but_where_it_was_asked_for() {
    let place = place();
    let encoded = STANDARD.encode(MARKER);
    let private: String = Key::first().private.lines().nth(3).unwrap().to_owned();
    let mut said = String::new();
    let mut note = |output: Said| said.push_str(&format!("{}{}", output.stdout, output.stderr));
    note(piped(&place, &["seal", "--cert", "first.pem", "-w", "db.yaml", "-vv"], SECRET).exits(0));
    note(piped(&place, &["seal", "set", "db.yaml", "password", "--cert", "first.pem", "-vv"], MARKER).exits(0));
    note(piped(&place, &["seal", "raw", "--cert", "first.pem", "--scope", "cluster-wide", "-vv"], MARKER).exits(0));
    note(
        piped(&place, &["seal", "--merge-into", "db.yaml", "--cert", "first.pem", "--log-format", "json", "-vv"], SECRET)
            .exits(0),
    );
    note(
        place
            .run(&[
                "seal",
                "reencrypt",
                "db.yaml",
                "--recovery-private-key",
                "first.key,second.key",
                "--cert",
                "second.pem",
                "-vv",
            ])
            .exits(0),
    );
    note(
        place.run(&["seal", "verify", "db.yaml", "--recovery-private-key", "first.key,second.key", "-o", "json", "-vv"]).exits(0),
    );
    let broken = SECRET.replace("c2hvcA==", &format!("{MARKER}!"));
    note(piped(&place, &["seal", "--cert", "first.pem", "-vv", "-o", "json"], &broken).exits(8));
    note(piped(&place, &["seal", "--cert", "first.pem", "-vv"], &format!("{SECRET}  {MARKER}: [")).exits(8));
    for secret in [MARKER, &encoded, &private] {
        assert!(!said.contains(secret), "{said}");
        each_file(place.path(), &mut |path, bytes| {
            let is_key = path.extension().is_some_and(|extension| extension == "key");
            let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(is_key || !holds, "{} holds it", path.display());
        });
    }
}

/// The process has done what it does before it reads: its answer to a wait for input.
#[cfg(target_os = "linux")]
#[test]
fn the_process_leaves_no_copy_of_its_memory_to_others() {
    let place = place();
    let mut command = place.command(&["seal", "raw", "--cert", "first.pem", "--scope", "cluster-wide"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(MARKER.as_bytes()).unwrap();
    let process = format!("/proc/{}", child.id());
    assert!(wait_for(|| leaves_no_core(child.id()).then_some(())).is_some(), "core dumps are limited to nothing");
    for file in ["cmdline", "environ"] {
        // Unreadable is as good: that is what a process that must not be dumped is to others of its account.
        let bytes = fs::read(format!("{process}/{file}")).unwrap_or_default();
        assert!(!bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()), "{file}");
    }
    drop(stdin);
    assert!(child.wait_with_output().unwrap().status.success());
}

/// Whether a process may leave no copy of its memory when it crashes.
#[cfg(target_os = "linux")]
fn leaves_no_core(process: u32) -> bool {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    core.split_whitespace().collect::<Vec<_>>()[4..6] == ["0", "0"]
}

/// A backup opens what is sealed in the namespace, so it takes the controller's keys.
#[cfg(target_os = "linux")]
#[test]
fn a_backup_that_takes_keys_leaves_no_copy_of_its_memory_either() {
    use crate::gated::{Held, World};
    let world = World::of(1);
    let capture = Held { writes: false, path: "/configmaps", behind: 0 };
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    let policy = format!(
        "---\nkind: SealingPolicy\nmetadata: {{name: default}}\nspec: {{environments: [staging], escrow: {{recipients: [{recipient}], store: primary}}}}\n"
    );
    world.declare("staging, sealing: {controller: {namespace: seals, name: sealed-secrets}}", &policy);
    world.hold(capture);
    let backup = world.start(&["backup", "now", "staging"]);
    world.until_somebody_waits();
    assert!(leaves_no_core(backup.id()));
    world.open();
    assert_eq!(backup.ends().0, Some(0));
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    (0..200).find_map(|_| {
        let found = look();
        if found.is_none() {
            thread::sleep(Duration::from_millis(25));
        }
        found
    })
}

/// `seal set` on a terminal of its own, with the terminal's other end.
fn on_a_terminal(place: &Place) -> (Child, File, File) {
    running_on_a_terminal(place, &["seal", "set", "db.yaml", "password", "--cert", "first.pem"])
}

/// The program on a terminal of its own, with the terminal's other end.
pub(super) fn running_on_a_terminal(place: &Place, arguments: &[&str]) -> (Child, File, File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = place.command(arguments);
    let same = || terminal.try_clone().unwrap();
    let child = command.stdin(same()).stdout(same()).stderr(same()).spawn().unwrap();
    (child, File::from(controller), terminal)
}

/// Waits until the terminal shows a text.
pub(super) fn shown(controller: &mut File, seen: &mut String, text: &str) {
    let mut block = [0; 4096];
    while !seen.contains(text) {
        let length = controller.read(&mut block).unwrap();
        seen.push_str(&String::from_utf8_lossy(&block[..length]));
    }
}

#[test]
fn a_value_that_is_typed_is_not_shown_and_asked_for_twice() {
    let place = place();
    piped(&place, &["seal", "--cert", "first.pem", "-w", "db.yaml"], SECRET).exits(0);
    let before = read(&place, "db.yaml");
    let (mut child, mut controller, _terminal) = on_a_terminal(&place);
    let mut seen = String::new();
    shown(&mut controller, &mut seen, "Value of password: ");
    controller.write_all(b"typed-by-hand\n").unwrap();
    shown(&mut controller, &mut seen, "The same again: ");
    controller.write_all(b"typed-by-hand\n").unwrap();
    shown(&mut controller, &mut seen, "sealed anew.");
    assert!(child.wait().unwrap().success());
    assert!(!seen.contains("typed-by-hand"), "{seen}");
    let sealed = documents(&read(&place, "db.yaml")).remove(0);
    let item = sealed["spec"]["encryptedData"]["password"].as_str().unwrap();
    assert_eq!(Key::first().opens("staging/db", item).unwrap(), b"typed-by-hand");
    assert_ne!(read(&place, "db.yaml"), before);
}

#[test]
fn whoever_changes_their_mind_gets_the_terminal_and_the_file_back() {
    let place = place();
    piped(&place, &["seal", "--cert", "first.pem", "-w", "db.yaml"], SECRET).exits(0);
    let before = read(&place, "db.yaml");
    for (typed, code) in [(&b"half a val\x03"[..], 130), (b"\x04", 130), (b"one\n", 4)] {
        let (mut child, mut controller, terminal) = on_a_terminal(&place);
        let mut seen = String::new();
        shown(&mut controller, &mut seen, "Value of password: ");
        assert!(!tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO));
        controller.write_all(typed).unwrap();
        if code == 4 {
            shown(&mut controller, &mut seen, "The same again: ");
            controller.write_all(b"two\n").unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let modes = tcgetattr(&terminal).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ISIG));
        assert_eq!(read(&place, "db.yaml"), before);
    }
}

#[test]
fn the_rest_of_what_was_pasted_does_not_reach_the_shell() {
    let place = place();
    piped(&place, &["seal", "--cert", "first.pem", "-w", "db.yaml"], SECRET).exits(0);
    let (mut child, mut controller, terminal) = on_a_terminal(&place);
    let mut seen = String::new();
    shown(&mut controller, &mut seen, "Value of password: ");
    controller.write_all(b"one\ntwo\nthe rest of a key\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(rustix::io::ioctl_fionread(&terminal).unwrap(), 0, "nothing is left for whoever reads next");
}
