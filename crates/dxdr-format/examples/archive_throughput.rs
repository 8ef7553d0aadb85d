//! How fast archives are written and read: `cargo run -p dxdr-format --example archive_throughput -- [ITEMS] [BYTES]`.
//!
//! Items have distinct names and content that compresses about as well as Kubernetes objects do.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for people who measure")]

use std::time::Instant;

use dxdr_format::velero::archive::{ArchiveReader, ArchiveWriter, ItemPath, Limits};
use jiff::Timestamp;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().unwrap());
    let (items, size) = (arguments.next().unwrap_or(20_000), arguments.next().unwrap_or(2_000));
    let begin = Instant::now();
    let mut writer = ArchiveWriter::new(Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
    let mut state = 1u64;
    let mut bytes = 0;
    for number in 0..items {
        let mut json = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"item-{number}","namespace":"load"}},"data":{{"#
        );
        while json.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            json.push_str(&format!(r#""key-{}":"some words that repeat and a number {state}","#, json.len()));
        }
        json.push_str(r#""end":""}}"#);
        bytes += json.len();
        let path = ItemPath {
            group_resource: "configmaps".to_owned(),
            version: Some("v1".to_owned()),
            namespace: Some("load".to_owned()),
            name: format!("item-{number}"),
        };
        writer.append(&path, json.as_bytes()).unwrap();
    }
    let archive = writer.finish().unwrap();
    report("written", begin, bytes, archive.len());
    let begin = Instant::now();
    let mut reader = ArchiveReader::new(&archive[..], Limits::default());
    while reader.next_item().unwrap().is_some() {}
    assert_eq!(reader.summary().items, items as u64);
    report("read", begin, bytes, archive.len());
}

/// `bytes` are of the objects; the archive holds each twice.
fn report(what: &str, begin: Instant, bytes: usize, compressed: usize) {
    let seconds = begin.elapsed().as_secs_f64();
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{what}: {megabytes:.1} MB of objects ({:.1} MB compressed) in {seconds:.2} s: {:.0} MB/s of objects, {:.0} MB/s of tar",
        compressed as f64 / 1e6,
        megabytes / seconds,
        2.0 * megabytes / seconds
    );
}
