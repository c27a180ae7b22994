//! Detection by content, then whatever parser it chooses.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| writ_fuzz::detected(data));
