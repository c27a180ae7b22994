//! What GitLab reads: code quality (the merge-request widget, in every tier) and the security
//! reports `gl-*-report.json`.

pub mod quality;
pub mod security;
