//! git-secrets reports.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| writ_fuzz::report("git-secrets", data));
