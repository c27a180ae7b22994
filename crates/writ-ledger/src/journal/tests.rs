use proptest::prelude::*;
use tempfile::TempDir;

use super::read::parse_segment;
use super::*;

/// Chunks of these entry sizes, written to a new journal.
fn written(frames: &[Vec<usize>], limit: u64) -> (TempDir, Vec<Chunk>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, found) = Journal::open(dir.path(), 0, limit).unwrap();
    assert!(found.is_empty());
    let mut chunks = Vec::new();
    let mut first = 0;
    for sizes in frames {
        let mut chunk = Chunk::new(first, 0);
        for size in sizes {
            chunk.push(*size, |out| out.resize(out.len() + size, b'e'));
        }
        journal.append(&mut chunk).unwrap();
        first = chunk.end();
        chunks.push(chunk);
    }
    (dir, chunks)
}

fn newest(dir: &TempDir) -> PathBuf {
    list(dir.path()).unwrap().pop().unwrap().1
}

/// Opens, and checks that exactly `expected` is there and that writing goes on.
fn reopens_with(dir: &TempDir, limit: u64, expected: &[Chunk]) {
    let (mut journal, found) = Journal::open(dir.path(), 0, limit).unwrap();
    assert_eq!(found, expected);
    let mut more = Chunk::new(expected.last().map_or(0, Chunk::end), 0);
    more.push(3, |out| out.extend(b"new"));
    journal.append(&mut more).unwrap();
    drop(journal);
    let (_, found) = Journal::open(dir.path(), 0, limit).unwrap();
    assert_eq!(found.len(), expected.len() + 1);
    assert_eq!(found.last(), Some(&more));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_journal_cut_anywhere_keeps_every_whole_frame(
        frames in prop::collection::vec(prop::collection::vec(0usize..900, 1..4), 1..6),
        cut in any::<prop::sample::Index>(),
        small in any::<bool>(),
    ) {
        let limit = if small { 600 } else { 1 << 20 };
        let (dir, chunks) = written(&frames, limit);
        let path = newest(&dir);
        let segment = read_from(dir.path(), 0).unwrap().pop().unwrap();
        let keep = cut.index(segment.good as usize + 1) as u64;
        OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
        let whole = |(at, chunk): &&(u64, Chunk)| at + chunk.bytes.len() as u64 <= keep;
        let left = chunks.len() - segment.frames.len() + segment.frames.iter().filter(whole).count();
        reopens_with(&dir, limit, &chunks[..left]);
    }

    #[test]
    fn what_lies_beyond_is_the_same_from_any_mark(
        frames in prop::collection::vec(prop::collection::vec(0usize..900, 1..4), 1..9),
        sizes in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        small in any::<bool>(),
    ) {
        let (dir, chunks) = written(&frames, if small { 600 } else { 1 << 20 });
        let end = chunks.last().map_or(0, Chunk::end);
        let mut sizes: Vec<u64> = sizes.iter().map(|at| at.index(end as usize + 1) as u64).collect();
        sizes.sort_unstable();
        let mut mark = None;
        for size in sizes {
            let expected: Vec<Chunk> = chunks.iter().filter(|c| c.end() > size).cloned().collect();
            let found = read_beyond(dir.path(), size, mark).unwrap().unwrap();
            prop_assert_eq!(&found.chunks, &expected, "beyond {} from {:?}", size, mark);
            mark = found.mark;
        }
        // A mark of another file leads astray nobody: all of it is read then.
        let path = newest(&dir);
        let first = list(dir.path()).unwrap().pop().unwrap().0;
        fs::remove_file(&path).unwrap();
        fs::write(&path, segment_header(first)).unwrap();
        let found = read_beyond(dir.path(), end, mark).unwrap().unwrap();
        prop_assert!(found.chunks.is_empty());
    }

    #[test]
    fn sectors_that_were_never_written_are_a_torn_tail(
        frames in prop::collection::vec(prop::collection::vec(0usize..900, 1..4), 1..4),
        sector in any::<prop::sample::Index>(),
        to_the_end in any::<bool>(),
    ) {
        let (dir, chunks) = written(&frames, 1 << 20);
        let path = newest(&dir);
        let mut bytes = fs::read(&path).unwrap();
        let (start, _) = *read_from(dir.path(), 0).unwrap()[0].frames.last().unwrap();
        let start = start as usize;
        // Sector pieces of the last frame; one of them, or all from it on.
        let mut cuts: Vec<usize> = (start..bytes.len()).filter(|at| *at == start || at % SECTOR == 0).collect();
        cuts.push(bytes.len());
        let piece = sector.index(cuts.len() - 1);
        let end = if to_the_end { bytes.len() } else { cuts[piece + 1] };
        bytes[cuts[piece]..end].fill(0);
        fs::write(&path, &bytes).unwrap();
        reopens_with(&dir, 1 << 20, &chunks[..chunks.len() - 1]);
    }

    #[test]
    fn a_changed_byte_is_never_taken_for_a_torn_tail(
        frames in prop::collection::vec(prop::collection::vec(0usize..900, 1..4), 1..4),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (dir, _) = written(&frames, 1 << 20);
        let path = newest(&dir);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        match Journal::open(dir.path(), 0, 1 << 20) {
            Err(LedgerError::Damaged(damage)) => {
                prop_assert_eq!(&damage.file, &path);
                prop_assert!(damage.bytes.contains(&(at as u64)), "{}", damage);
            }
            other => prop_assert!(false, "byte {}: {:?}", at, other.map(|(_, chunks)| chunks.len())),
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), header in any::<bool>()) {
        let mut segment = Vec::new();
        if header {
            let (dir, _) = written(&[vec![1]], 1);
            segment = fs::read(newest(&dir)).unwrap()[..SEGMENT_HEADER].to_vec();
        }
        segment.extend(bytes);
        let _ = parse_segment(Path::new("s"), 0, segment.clone(), true);
        let _ = parse_segment(Path::new("s"), 0, segment, false);
    }
}

#[test]
fn a_frame_that_another_follows_is_damaged_not_torn() {
    let (dir, _) = written(&[vec![2_000], vec![10]], 1 << 20);
    let path = newest(&dir);
    let mut bytes = fs::read(&path).unwrap();
    bytes[512..1024].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        Journal::open(dir.path(), 0, 1),
        Err(LedgerError::Damaged(_))
    ));
}

#[test]
fn a_cut_segment_before_the_newest_is_damaged() {
    let (dir, _) = written(&[vec![100], vec![100], vec![100]], 1);
    let (_, path) = list(dir.path()).unwrap()[1].clone();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(60)
        .unwrap();
    match Journal::open(dir.path(), 0, 1) {
        Err(LedgerError::Damaged(damage)) => assert_eq!(damage.file, path),
        other => panic!("{other:?}"),
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        Journal::open(dir.path(), 0, 1),
        Err(LedgerError::Damaged(_))
    ));
}

#[test]
fn opening_reads_only_what_the_checkpoint_does_not_cover() {
    let (dir, chunks) = written(&[vec![1], vec![2], vec![3], vec![4]], 1);
    // Damage below the checkpoint does not even get read.
    let (_, first) = list(dir.path()).unwrap()[0].clone();
    fs::write(first, b"not a segment").unwrap();
    let (mut journal, found) = Journal::open(dir.path(), 2, 1).unwrap();
    assert_eq!(found, chunks[2..]);
    journal.remove_below(3).unwrap();
    assert_eq!(
        list(dir.path())
            .unwrap()
            .iter()
            .map(|(first, _)| *first)
            .collect::<Vec<_>>(),
        [3]
    );
}

#[test]
fn a_journal_that_does_not_reach_the_checkpoint_is_damaged() {
    let (dir, _) = written(&[vec![1], vec![2]], 1 << 20);
    assert!(matches!(
        Journal::open(dir.path(), 3, 1),
        Err(LedgerError::Damaged(_))
    ));
    let (dir, _) = written(&[vec![1], vec![2]], 1);
    fs::remove_file(&list(dir.path()).unwrap()[0].1).unwrap();
    assert!(matches!(
        Journal::open(dir.path(), 0, 1),
        Err(LedgerError::Damaged(_))
    ));
}
