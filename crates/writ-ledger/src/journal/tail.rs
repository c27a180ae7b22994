//! What the journal holds beyond the tiles, without reading what they cover.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::read::{
    Segment, be32, be64, follows, list, parse_frames, parse_segment, segment_header,
};
use super::{Chunk, FRAME_HEADER, FRAME_MAGIC, MAX_FRAME_BYTES, MAX_SEGMENT_BYTES, SEGMENT_HEADER};
use crate::error::LedgerError;
use crate::store::read_bounded;

/// Where a frame of the journal begins: a place from which the next reading can go on. A frame that
/// was acknowledged never moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalMark {
    /// First entry of the segment.
    segment: u64,
    /// Byte offset in it.
    offset: u64,
    /// The entry that begins there.
    entry: u64,
}

/// What the journal holds beyond a size.
#[derive(Debug, Default)]
pub(crate) struct Beyond {
    /// The entries, and some before them of the same frame.
    pub chunks: Vec<Chunk>,
    /// Where they begin, if there is a segment.
    pub mark: Option<JournalMark>,
}

/// The entries from `size` on that the journal in `dir` holds. `mark` may say where a smaller size began. `None` when the journal
/// has no segment that could hold entry `size`.
pub(crate) fn read_beyond(
    dir: &Path,
    size: u64,
    mark: Option<JournalMark>,
) -> Result<Option<Beyond>, LedgerError> {
    let listed = list(dir)?;
    let Some(needed) = listed.iter().rposition(|(first, _)| *first <= size) else {
        return Ok(listed.is_empty().then(Beyond::default));
    };
    let mut segments: Vec<Segment> = Vec::new();
    let mut begins = None;
    for (at, (first, path)) in listed.iter().enumerate().skip(needed) {
        let last = at + 1 == listed.len();
        let segment = if at == needed {
            let known = mark.filter(|mark| mark.segment == *first && mark.entry <= size);
            let (segment, mark) = from_mark(path, *first, size, known, last)?;
            begins = mark;
            segment
        } else {
            whole(path, *first, last)?
        };
        // A reader without the lock may see a segment vanish: its entries are in tiles by then, and
        // the caller looks again.
        let Some(segment) = segment else { continue };
        follows(segments.last(), *first)?;
        segments.push(segment);
    }
    let frames = segments.into_iter().flat_map(|segment| segment.frames);
    let chunks = frames.map(|(_, chunk)| chunk);
    Ok(Some(Beyond {
        chunks: chunks.filter(|chunk| chunk.end() > size).collect(),
        mark: begins,
    }))
}

fn whole(path: &Path, first: u64, last: bool) -> Result<Option<Segment>, LedgerError> {
    match read_bounded(path, MAX_SEGMENT_BYTES)? {
        Some(bytes) => Ok(Some(parse_segment(path, first, bytes, last)?)),
        None => Ok(None),
    }
}

/// A segment from the frame on that holds entry `size`, or would.
fn from_mark(
    path: &Path,
    first: u64,
    size: u64,
    mark: Option<JournalMark>,
    last: bool,
) -> Result<(Option<Segment>, Option<JournalMark>), LedgerError> {
    let failed = |e| LedgerError::io("read", path, e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((None, None)),
        Err(e) => return Err(failed(e)),
    };
    let length = file.metadata().map_err(failed)?.len();
    let begin = mark.unwrap_or(JournalMark {
        segment: first,
        offset: SEGMENT_HEADER as u64,
        entry: first,
    });
    let found = skip(&file, length, begin, size).map_err(failed)?;
    let Some(found) = found.filter(|found| length - found.offset <= MAX_SEGMENT_BYTES) else {
        // Headers that do not fit one another: whoever reads all of it says what is wrong.
        return Ok((whole(path, first, last)?, None));
    };
    let mut bytes = vec![0; usize::try_from(length - found.offset).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, found.offset)
        .map_err(failed)?;
    match parse_frames(path, (found.offset, found.entry), &bytes, last) {
        Ok(segment) => Ok((Some(segment), Some(found))),
        // The mark may be of a file that was replaced since.
        Err(_) if mark.is_some() => Ok((whole(path, first, last)?, None)),
        Err(error) => Err(error),
    }
}

/// Goes over whole frames that hold nothing from `size` on, by their headers alone. `None` where no
/// frame begins at `mark`.
fn skip(
    file: &File,
    length: u64,
    mut mark: JournalMark,
    size: u64,
) -> std::io::Result<Option<JournalMark>> {
    if mark.offset == SEGMENT_HEADER as u64 {
        let mut header = [0; SEGMENT_HEADER];
        if length < mark.offset {
            return Ok(None);
        }
        file.read_exact_at(&mut header, 0)?;
        if header != segment_header(mark.segment) {
            return Ok(None);
        }
    }
    while mark.entry < size {
        let mut header = [0; FRAME_HEADER];
        let body = mark.offset + FRAME_HEADER as u64;
        if body > length {
            break;
        }
        file.read_exact_at(&mut header, mark.offset)?;
        let (count, bytes) = (be32(&header[12..16]), be32(&header[16..20]));
        if header[..4] != *FRAME_MAGIC
            || be32(&header[24..]) != crc32fast::hash(&header[..24])
            || be64(&header[4..12]) != mark.entry
            || bytes as usize > MAX_FRAME_BYTES
        {
            return Ok(None);
        }
        let (end, next) = (body + u64::from(bytes), mark.entry + u64::from(count));
        if end > length || next > size {
            break;
        }
        mark = JournalMark {
            offset: end,
            entry: next,
            ..mark
        };
    }
    // The segment may be shorter than a mark says: then it is another one.
    Ok((mark.offset <= length).then_some(mark))
}
