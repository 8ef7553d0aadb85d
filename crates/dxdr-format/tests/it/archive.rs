//! Archives: round trips, damage, and attacks.

use std::io::{Read, Write};

use dxdr_format::velero::archive::{ArchiveError, ArchiveReader, ArchiveWriter, Compression, ItemPath, Limits, Summary};
use flate2::{read::MultiGzDecoder, write::GzEncoder};
use jiff::Timestamp;
use proptest::prelude::*;

type Items = Vec<(ItemPath, Vec<u8>)>;

fn item(group_resource: &str, namespace: Option<&str>, name: &str) -> ItemPath {
    ItemPath {
        group_resource: group_resource.to_owned(),
        version: Some("v1".to_owned()),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

fn few() -> Items {
    vec![
        (item("namespaces", None, "shop"), br#"{"apiVersion":"v1","kind":"Namespace"}"#.to_vec()),
        (item("configmaps", Some("shop"), "settings"), br#"{"data":{"a":"\u003cb\u003e"}}"#.to_vec()),
        (item("configmaps", Some("shop"), &"n".repeat(200)), vec![b'x'; 700]),
        (item("clusterroles.rbac.authorization.k8s.io", None, "größer:als"), vec![b'y'; 512]),
        (item("secrets", Some("shop"), "empty"), Vec::new()),
    ]
}

fn write(items: &Items) -> Vec<u8> {
    let mut writer = ArchiveWriter::new(Vec::new(), Timestamp::from_second(1_714_557_600).unwrap()).unwrap();
    for (path, json) in items {
        writer.append(path, json).unwrap();
    }
    writer.finish().unwrap()
}

fn read_with(bytes: &[u8], limits: Limits) -> Result<(Items, Summary), ArchiveError> {
    let mut reader = ArchiveReader::new(bytes, limits);
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push((item.path.clone(), item.json.to_vec()));
    }
    let summary = reader.summary().clone();
    assert!(reader.into_inner().is_empty(), "the source is read to its end");
    Ok((items, summary))
}

fn read(bytes: &[u8]) -> Result<Items, ArchiveError> {
    read_with(bytes, Limits::default()).map(|(items, _)| items)
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// An archive made by another program's hand: any path, any type.
struct Other(tar::Builder<Vec<u8>>);

impl Other {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(mut self, path: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    /// The path as it is: the builder refuses some.
    fn raw(mut self, kind: tar::EntryType, path: &[u8], content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn finish(self) -> Vec<u8> {
        gzip(&self.0.into_inner().unwrap())
    }
}

#[test]
fn what_is_written_is_read_again_with_its_version() {
    let items = few();
    let (found, summary) = read_with(&write(&items), Limits::default()).unwrap();
    assert_eq!(found, items);
    assert_eq!(summary.format_version.as_deref(), Some("1.1.0"));
    assert_eq!((summary.items, summary.unknown, summary.other_versions), (5, 0, 0));
}

#[test]
fn the_same_items_make_the_same_bytes() {
    assert_eq!(write(&few()), write(&few()));
}

#[test]
fn another_program_reads_both_copies_of_everything() {
    let items = few();
    let content = gunzip(&write(&items));
    let mut archive = tar::Archive::new(&content[..]);
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mode().unwrap(), 0o755);
        assert_eq!(entry.header().mtime().unwrap(), 1_714_557_600);
        assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.push((path, content));
    }
    let mut expected = vec![("metadata/version".to_owned(), b"1.1.0\n".to_vec())];
    for (path, json) in &items {
        expected.push((path.unversioned(), json.clone()));
        expected.push((path.preferred().unwrap(), json.clone()));
    }
    assert_eq!(found, expected);
}

#[test]
fn the_compressed_header_is_veleros() {
    assert_eq!(write(&few())[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
}

#[test]
fn an_empty_archive_is_whole() {
    assert_eq!(read(&write(&Vec::new())).unwrap(), Vec::new());
}

#[test]
fn any_level_is_read() {
    for level in 0..=9 {
        let mut writer = ArchiveWriter::with_compression(Vec::new(), Timestamp::UNIX_EPOCH, Compression(level)).unwrap();
        for (path, json) in few() {
            writer.append(&path, &json).unwrap();
        }
        assert_eq!(read(&writer.finish().unwrap()).unwrap(), few());
    }
}

#[test]
fn an_archive_of_one_style_alone_is_read() {
    let unversioned = Other::new().file("resources/pods/namespaces/a/b.json", b"{}").finish();
    let expected = ItemPath { version: None, ..item("pods", Some("a"), "b") };
    assert_eq!(read(&unversioned).unwrap(), [(expected, b"{}".to_vec())]);
    let versioned = Other::new().file("resources/pods/v1-preferredversion/namespaces/a/b.json", b"{}").finish();
    assert_eq!(read(&versioned).unwrap(), [(item("pods", Some("a"), "b"), b"{}".to_vec())]);
}

#[test]
fn copies_are_one_item_wherever_they_are() {
    let long = format!("resources/configmaps/namespaces/a/{}.json", "n".repeat(180));
    let bytes = Other::new()
        .raw(tar::EntryType::Directory, b"./resources/", b"")
        .raw(tar::EntryType::Regular, b"resources/pods/", b"")
        .file("resources/pods/v1-preferredversion/namespaces/a/b.json", b"{}")
        .file("resources/pods/namespaces/a/b.json", b"{}")
        .file("resources/pods/namespaces/a/c.json", b"[]")
        .file("resources/pods/v2/namespaces/a/b.json", b"{ }")
        .file("resources/pods/v1-preferredversion/namespaces/a/c.json", b"[]")
        .file(&long, b"{}")
        .file("./resources/pods/namespaces/a/b.json", b"{}")
        .file("resources/readme.txt", b"hello")
        .finish();
    let (items, summary) = read_with(&bytes, Limits::default()).unwrap();
    let names: Vec<&str> = items.iter().map(|(path, _)| path.name.as_str()).collect();
    assert_eq!(names, ["b", "c", &"n".repeat(180)]);
    assert_eq!(items[0].0.version.as_deref(), Some("v1"));
    assert_eq!((summary.items, summary.other_versions, summary.unknown, summary.format_version), (3, 1, 1, None));
}

#[test]
fn copies_that_differ_are_an_error() {
    let (one, two) = ("resources/pods/namespaces/a/b.json", "resources/pods/v1-preferredversion/namespaces/a/b.json");
    for bytes in [
        Other::new().file(one, b"{}").file(two, b"[]").finish(),
        Other::new().file(one, b"{}").file("resources/pods/namespaces/a/c.json", b"{}").file(one, b"[]").finish(),
    ] {
        assert!(matches!(read(&bytes), Err(ArchiveError::DuplicateEntry { .. })));
    }
}

#[test]
fn an_archive_cut_off_anywhere_is_an_error() {
    let bytes = write(&few());
    for end in 0..bytes.len() {
        let error = read(&bytes[..end]).expect_err(&format!("cut off at {end} of {}", bytes.len()));
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn a_content_cut_off_anywhere_is_an_error() {
    let content = gunzip(&write(&few()));
    for end in (0..content.len()).step_by(64).chain([content.len() - 1]) {
        let error = read(&gzip(&content[..end])).expect_err(&format!("cut off at {end} of {}", content.len()));
        assert!(matches!(error, ArchiveError::Truncated { .. }), "{error}");
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_means_nothing() {
    let bytes = write(&few());
    let items = few();
    for position in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[position / 8] ^= 1 << (position % 8);
        if let Ok(found) = read(&damaged) {
            // Time, level and operating system in gzip's header, and codes that deflate declares and never uses.
            assert_eq!(found, items, "bit {position}");
        }
    }
}

#[test]
fn hostile_and_broken_archives_are_refused() {
    use tar::EntryType;
    let path = "resources/pods/namespaces/a/b.json";
    let plain = gunzip(&write(&few()));
    let whole = write(&few());
    let mut padded = plain.clone();
    padded.extend_from_slice(&[0; 4096]);
    assert!(read(&gzip(&padded)).is_ok(), "zeros behind the end are other programs' way to fill a record");
    let mut trailing = plain.clone();
    trailing.extend_from_slice(&plain);
    let mut checksum = plain.clone();
    checksum[1024 + 10] ^= 1;
    let with = |bytes: &[u8]| [&whole[..], bytes].concat();
    type Check = fn(&ArchiveError) -> bool;
    let table: Vec<(&str, Vec<u8>, Check)> = vec![
        ("absolute path", Other::new().raw(EntryType::Regular, b"/etc/passwd", b"x").finish(), |e| {
            matches!(e, ArchiveError::UnsafePath { .. })
        }),
        ("path upwards", Other::new().raw(EntryType::Regular, b"resources/../../x", b"x").finish(), |e| {
            matches!(e, ArchiveError::UnsafePath { .. })
        }),
        ("directory upwards", Other::new().raw(EntryType::Directory, b"../", b"").finish(), |e| {
            matches!(e, ArchiveError::UnsafePath { .. })
        }),
        ("path that is no text", Other::new().raw(EntryType::Regular, b"resources/\xff", b"x").finish(), |e| {
            matches!(e, ArchiveError::UnsafePath { .. })
        }),
        ("symbolic link", Other::new().raw(EntryType::Symlink, path.as_bytes(), b"").finish(), |e| {
            matches!(e, ArchiveError::Forbidden { .. })
        }),
        ("hard link", Other::new().raw(EntryType::Link, path.as_bytes(), b"").finish(), |e| {
            matches!(e, ArchiveError::Forbidden { .. })
        }),
        ("character device", Other::new().raw(EntryType::Char, path.as_bytes(), b"").finish(), |e| {
            matches!(e, ArchiveError::Forbidden { .. })
        }),
        ("block device", Other::new().raw(EntryType::Block, path.as_bytes(), b"").finish(), |e| {
            matches!(e, ArchiveError::Forbidden { .. })
        }),
        ("FIFO", Other::new().raw(EntryType::Fifo, path.as_bytes(), b"").finish(), |e| {
            matches!(e, ArchiveError::Forbidden { .. })
        }),
        ("sparse file", Other::new().raw(EntryType::GNUSparse, path.as_bytes(), b"").finish(), |e| {
            matches!(e, ArchiveError::Forbidden { .. })
        }),
        ("unknown type", Other::new().raw(EntryType::new(b'V'), path.as_bytes(), b"").finish(), |e| {
            matches!(e, ArchiveError::Forbidden { .. })
        }),
        ("huge extension", Other::new().raw(EntryType::GNULongName, b"x", &[b'a'; 70_000]).finish(), |e| {
            matches!(e, ArchiveError::Header { .. })
        }),
        (
            "long path",
            Other::new().raw(EntryType::GNULongName, b"x", &[b'a'; 3_000]).raw(EntryType::Regular, b"x", b"").finish(),
            |e| matches!(e, ArchiveError::Limit { .. }),
        ),
        (
            "path upwards in a record",
            Other::new().raw(EntryType::XHeader, b"x", b"13 path=../x\n").raw(EntryType::Regular, b"x", b"").finish(),
            |e| matches!(e, ArchiveError::UnsafePath { .. }),
        ),
        ("path for all", Other::new().raw(EntryType::XGlobalHeader, b"x", b"10 path=x\n").finish(), |e| {
            matches!(e, ArchiveError::Header { .. })
        }),
        (
            "size in a record",
            Other::new().raw(EntryType::XHeader, b"x", b"22 size=9999999999999\n").raw(EntryType::Regular, b"x", b"").finish(),
            |e| matches!(e, ArchiveError::Limit { .. }),
        ),
        ("directory with content", Other::new().raw(EntryType::Directory, b"a/", b"x").finish(), |e| {
            matches!(e, ArchiveError::Header { .. })
        }),
        ("no path", Other::new().raw(EntryType::Regular, b".", b"").finish(), |e| matches!(e, ArchiveError::Header { .. })),
        ("wrong checksum", gzip(&checksum), |e| matches!(e, ArchiveError::Header { .. })),
        ("second archive behind", gzip(&trailing), |e| matches!(e, ArchiveError::Trailing)),
        ("second stream behind", with(&whole), |e| matches!(e, ArchiveError::Trailing)),
        ("something behind", with(b"something"), |e| matches!(e, ArchiveError::Damaged { .. })),
        ("a byte behind", with(b"\x1f"), |e| matches!(e, ArchiveError::Damaged { .. })),
        ("zeros behind", with(&[0; 8]), |e| matches!(e, ArchiveError::Damaged { .. })),
        ("nothing", Vec::new(), |e| matches!(e, ArchiveError::NotGzip { .. })),
        ("not compressed", plain.clone(), |e| matches!(e, ArchiveError::NotGzip { .. })),
        ("not a tar file", gzip(&[b'x'; 2048]), |e| matches!(e, ArchiveError::Header { .. })),
        ("empty inside", gzip(b""), |e| matches!(e, ArchiveError::Truncated { .. })),
        ("later format", Other::new().file("metadata/version", b"2.0.0\n").finish(), |e| {
            matches!(e, ArchiveError::Future { .. })
        }),
    ];
    for (what, bytes, expected) in table {
        let error = read(&bytes).expect_err(what);
        assert!(expected(&error), "{what}: {error:?}");
    }
}

#[test]
fn limits_are_kept() {
    let few = write(&few());
    let limits = Limits::default();
    for (what, limits) in [
        ("entries", Limits { entries: 5, ..limits.clone() }),
        ("bytes of one object", Limits { entry_bytes: 600, ..limits.clone() }),
        ("bytes of content", Limits { total_bytes: 5000, ..limits.clone() }),
        ("bytes of a path", Limits { path_bytes: 50, ..limits.clone() }),
    ] {
        match read_with(&few, limits) {
            Err(ArchiveError::Limit { what: found, .. }) => assert_eq!(found, what),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_bomb_is_recognised_by_its_ratio() {
    let mut writer = ArchiveWriter::new(Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
    for number in 0..12 {
        writer.append(&item("configmaps", Some("a"), &format!("bomb-{number}")), &vec![0; 8 << 20]).unwrap();
    }
    let bomb = writer.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    assert!(matches!(read(&bomb), Err(ArchiveError::Limit { what: "bytes of content for each compressed byte", .. })));
}

#[test]
fn a_source_that_fails_is_not_a_damaged_archive() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::Error::other("connection reset"));
            }
            let count = into.len().min(self.0.len()).min(7);
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }
    let bytes = write(&few());
    let mut reader = ArchiveReader::new(Failing(&bytes[..bytes.len() / 2]), Limits::default());
    let error = loop {
        match reader.next_item() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ArchiveError::Read { .. }), "{error:?}");
    assert!(matches!(reader.next_item(), Err(ArchiveError::Spent)));
}

#[test]
fn an_object_that_cannot_be_archived_does_not_spoil_the_archive() {
    let mut writer = ArchiveWriter::new(Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
    assert!(matches!(writer.append(&item("pods", Some("a"), "../b"), b"{}"), Err(ArchiveError::Item { .. })));
    writer.append(&item("pods", Some("a"), "b"), b"{}").unwrap();
    assert_eq!(read(&writer.finish().unwrap()).unwrap().len(), 1);
}

#[test]
fn a_target_that_fails_spoils_the_archive() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0 = self.0.saturating_sub(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut writer = ArchiveWriter::with_compression(Full(100_000), Timestamp::UNIX_EPOCH, Compression(0)).unwrap();
    let result = (0..10).try_for_each(|number| writer.append(&item("pods", None, &number.to_string()), &[0; 100_000]));
    assert!(matches!(result, Err(ArchiveError::Write(_))));
    assert!(matches!(writer.append(&item("pods", None, "next"), b"{}"), Err(ArchiveError::Spent)));
    assert!(matches!(writer.finish(), Err(ArchiveError::Spent)));
}

fn any_items() -> impl Strategy<Value = Items> {
    let name = "[a-z0-9:ü.-]{1,250}".prop_filter("a file name", |name| name != "." && name != "..");
    let path = ("[a-z]{1,30}(\\.[a-z.]{1,60})?", "v[1-9]((alpha|beta)[1-9])?", prop::option::of("[a-z0-9-]{1,63}"), name);
    let json = prop::collection::vec(any::<u8>(), 0..2000);
    prop::collection::btree_map(path, json, 0..12).prop_map(|items| {
        let mut items: Items = items
            .into_iter()
            .map(|((group_resource, version, namespace, name), json)| {
                (ItemPath { group_resource, version: Some(version), namespace, name }, json)
            })
            .collect();
        // One object has one version.
        items.dedup_by(|(one, _), (two, _)| {
            (&one.group_resource, &one.namespace, &one.name) == (&two.group_resource, &two.namespace, &two.name)
        });
        items
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_items_come_back(items in any_items()) {
        prop_assert_eq!(read(&write(&items)).unwrap(), items);
    }

    #[test]
    fn arbitrary_bytes_are_an_error_and_nothing_worse(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(read(&gzip(&bytes)).is_err());
    }

    #[test]
    fn a_tar_file_with_damaged_blocks_is_read_or_refused(positions in prop::collection::vec((0..8000usize, any::<u8>()), 1..8)) {
        let mut content = gunzip(&write(&few()));
        for (position, byte) in positions {
            let length = content.len();
            content[position % length] = byte;
        }
        let _ = read(&gzip(&content));
    }
}
