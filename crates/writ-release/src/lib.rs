//! People and releases: who may say yes to what, and what an emergency owes afterwards.
//!
//! What decides here is pure: it reads evidence and takes the time as an argument. What records
//! goes through [`writ_registry::Store::record`], as everything does.

pub mod admission;
pub mod approval;
pub mod authorise;
pub mod breakglass;
pub mod deploy;
pub mod drift;
pub mod exemption;
pub mod observe;
