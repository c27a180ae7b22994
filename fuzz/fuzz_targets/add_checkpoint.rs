//! Requests to a witness: any bytes end, what is read is written back the same, and nobody's key signs nothing.

#![no_main]

use writ_ledger::LogKeys;
use writ_ledger::witness::{AddCheckpoint, judge};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(request) = AddCheckpoint::parse(data) else { return };
    assert_eq!(request.to_text().as_bytes(), data);
    assert!(judge(&request, Some(&LogKeys::default()), None).is_err());
    assert!(judge(&request, None, None).is_err());
});
