//! A spool as one file: carried elsewhere it delivers the same; a hostile one is refused whole.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tar::{EntryType, Header};
use writ_evidence::key::Signer;
use writ_model::{Severity, Timestamp};
use writ_registry::spool::{Spool, SpoolError, SpoolOptions};
use writ_registry::{Query, Trust};

use crate::common::{Place, START, TestClock, finding, scan};

fn options() -> SpoolOptions {
    SpoolOptions {
        clock: TestClock::new(),
        ..SpoolOptions::default()
    }
}

struct Made {
    place: Place,
    trust: Trust,
    signer: Arc<dyn Signer>,
    spool: Spool,
}

/// A spool with three statements, two of which share a file.
fn made() -> Made {
    let place = Place::new();
    let trust = Trust::open(&place.trust(), true).unwrap();
    let signer = trust.producer(Timestamp::from_micros(START)).unwrap();
    let spool = Spool::open(place.dir.path().join("spool"), options()).unwrap();
    for (service, name) in [("one", "CVE-1"), ("two", "CVE-1"), ("three", "CVE-2")] {
        let record = scan(service, START, &[finding(name, Severity::High)]);
        spool.record(&record, &signer, &trust.keys()).unwrap();
    }
    Made {
        place,
        trust,
        signer,
        spool,
    }
}

impl Made {
    fn other(&self, name: &str) -> Spool {
        Spool::open(self.place.dir.path().join(name), options()).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.place.dir.path().join(name)
    }
}

/// The entries of an archive: name and bytes.
fn entries(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let mut reader = tar::Archive::new(std::fs::File::open(archive).unwrap());
    reader
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, bytes)
        })
        .collect()
}

fn header(name: &[u8], size: u64, kind: EntryType) -> Header {
    let mut header = Header::new_ustar();
    let field = &mut header.as_old_mut().name;
    field[..name.len()].copy_from_slice(name);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

fn write(path: &Path, entries: &[(String, Vec<u8>)]) {
    let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in entries {
        let header = header(name.as_bytes(), bytes.len() as u64, EntryType::Regular);
        builder.append(&header, bytes.as_slice()).unwrap();
    }
    builder.finish().unwrap();
}

fn ids(spool: &Spool) -> Vec<String> {
    let listed = spool.list().unwrap();
    listed.iter().map(|one| one.id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_elsewhere_and_delivered_once() {
    let made = made();
    let archive = made.file("evidence.spool");
    let exported = made.spool.export(&archive).unwrap();
    assert_eq!(exported.items, 3);
    assert_eq!(exported.bytes, std::fs::metadata(&archive).unwrap().len());
    assert_eq!(ids(&made.spool).len(), 3, "exporting keeps what is there");

    let other = made.other("other");
    let before = scan("zero", START, &[]);
    other
        .record(&before, &made.signer, &made.trust.keys())
        .unwrap();
    let imported = other.import(&archive).unwrap();
    assert_eq!((imported.items, imported.already_there), (3, 0));
    assert_eq!(ids(&other)[1..], ids(&made.spool));
    let again = other.import(&archive).unwrap();
    assert_eq!((again.items, again.already_there), (0, 3));

    let store = made.place.create().await;
    other.deliver(&store, &made.signer).await.unwrap();
    // The one that was exported is delivered too: everything is there already.
    let twice = made.spool.deliver(&store, &made.signer).await.unwrap();
    assert!(twice.delivered.iter().all(|one| one.already_there));
    let items = store.evidence(&Query::default()).await.unwrap().items;
    let scans = items.iter().filter(|item| item.tool.is_some()).count();
    assert_eq!(scans, 4);
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
}

#[test]
fn two_exports_of_one_spool_are_the_same_bytes() {
    let made = made();
    let (one, two) = (made.file("one"), made.file("two"));
    made.spool.export(&one).unwrap();
    made.spool.export(&two).unwrap();
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
}

#[test]
fn hostile_archives_are_refused_whole() {
    let made = made();
    let archive = made.file("good");
    made.spool.export(&archive).unwrap();
    let good = entries(&archive);
    let target = made.other("target");
    let bad = made.file("bad");
    let refuse = |what: &str| {
        let error = target.import(&bad).unwrap_err();
        assert!(
            matches!(error, SpoolError::Archive { .. }),
            "{what}: {error}"
        );
        assert_eq!(ids(&target), Vec::<String>::new(), "{what}");
        let left = std::fs::read_dir(target.path().join("blobs"))
            .unwrap()
            .count();
        assert_eq!(left, 0, "{what} left files behind");
        let left = std::fs::read_dir(target.path().join("tmp"))
            .unwrap()
            .count();
        assert_eq!(left, 0, "{what} left files behind");
        error.to_string()
    };

    // Names that lead out of the spool, or belong nowhere.
    for name in [
        "../escape",
        "/etc/escape",
        "items/../../escape",
        "blobs/../escape",
        "items/00000000000000000001-zz.item",
        "blobs/ABCDEF",
        "state",
        "items/",
        "",
    ] {
        let mut entries = good.clone();
        entries.push((name.to_owned(), b"x".to_vec()));
        write(&bad, &entries);
        refuse(name);
    }
    assert!(!made.file("escape").exists());

    // Links, directories, devices, long names and sparse files.
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Directory,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
        EntryType::GNUSparse,
    ] {
        let mut builder = tar::Builder::new(std::fs::File::create(&bad).unwrap());
        for (name, bytes) in &good {
            let header = header(name.as_bytes(), bytes.len() as u64, EntryType::Regular);
            builder.append(&header, bytes.as_slice()).unwrap();
        }
        let mut link = header(good[1].0.as_bytes(), 0, kind);
        link.set_link_name("/etc/passwd").unwrap();
        link.set_cksum();
        builder.append(&link, std::io::empty()).unwrap();
        builder.finish().unwrap();
        refuse(&format!("{kind:?}"));
    }

    // Parts that are missing, in another order, twice, or not what their name says.
    for at in 0..good.len() {
        let mut entries = good.clone();
        let (name, _) = entries.remove(at);
        write(&bad, &entries);
        refuse(&format!("without {name}"));
    }
    let mut swapped = good.clone();
    let last = swapped.len() - 1;
    swapped.swap(last, last - 1);
    write(&bad, &swapped);
    assert!(refuse("swapped").contains("out of order"));
    let mut doubled = good.clone();
    doubled.push(good[last].clone());
    write(&bad, &doubled);
    refuse("one item twice");
    let mut exchanged = good.clone();
    exchanged[last].1 = good[last - 1].1.clone();
    write(&bad, &exchanged);
    refuse("an item under another name");
    write(&bad, &[]);
    assert!(refuse("nothing").contains("empty"));

    // A declared size that nobody could keep.
    let mut builder = tar::Builder::new(std::fs::File::create(&bad).unwrap());
    let (name, bytes) = &good[0];
    let first = header(name.as_bytes(), bytes.len() as u64, EntryType::Regular);
    builder.append(&first, bytes.as_slice()).unwrap();
    let huge = header(good[1].0.as_bytes(), 1 << 33, EntryType::Regular);
    builder.append(&huge, std::io::empty()).unwrap();
    builder.finish().unwrap();
    assert!(refuse("a huge file").contains("--spool-limit"));

    // A link in place of the archive itself.
    std::fs::remove_file(&bad).unwrap();
    std::os::unix::fs::symlink(&archive, &bad).unwrap();
    assert!(target.import(&bad).is_err());
    target.import(&archive).unwrap();
    assert_eq!(ids(&target).len(), 3);
}

#[test]
fn an_archive_that_is_too_large_for_the_spool_is_refused() {
    let made = made();
    let archive = made.file("good");
    made.spool.export(&archive).unwrap();
    let small = SpoolOptions {
        max_items: 2,
        ..options()
    };
    let small = Spool::open(made.file("small"), small).unwrap();
    let error = small.import(&archive).unwrap_err();
    assert!(matches!(error, SpoolError::Full { .. }), "{error}");
    assert_eq!(ids(&small), Vec::<String>::new());
}

#[test]
fn something_else_is_not_taken_for_a_spool() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letters.txt"), "dear").unwrap();
    let error = Spool::open(dir.path(), options()).unwrap_err();
    assert!(matches!(error, SpoolError::NotASpool { .. }), "{error}");
    assert!(
        Spool::open_existing(dir.path().join("none"), options())
            .unwrap()
            .is_none()
    );
    assert!(!dir.path().join("none").exists());
    use std::os::unix::fs::PermissionsExt as _;
    let spool = Spool::open(dir.path().join("new"), options()).unwrap();
    let mode = std::fs::metadata(spool.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// One changed byte, or a cut, never lets anything be queued that was not exported.
    #[test]
    fn a_changed_archive_never_brings_other_statements(at in any::<prop::sample::Index>(), flip in 1..=255_u8, cut in any::<bool>()) {
        use std::sync::OnceLock;
        static MADE: OnceLock<(Vec<u8>, Vec<String>)> = OnceLock::new();
        let (good, exported) = MADE.get_or_init(|| {
            let made = made();
            let archive = made.file("good");
            made.spool.export(&archive).unwrap();
            (std::fs::read(archive).unwrap(), ids(&made.spool))
        });
        let dir = tempfile::tempdir().unwrap();
        let bad = dir.path().join("bad");
        let at = at.index(good.len());
        let mut bytes = good.clone();
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        std::fs::write(&bad, bytes).unwrap();
        let spool = Spool::open(dir.path().join("spool"), options()).unwrap();
        // Bytes of padding say nothing; then everything is there. Otherwise nothing is.
        match spool.import(&bad) {
            Ok(_) => prop_assert_eq!(&ids(&spool), exported),
            Err(_) => prop_assert_eq!(ids(&spool), Vec::<String>::new()),
        }
    }
}
