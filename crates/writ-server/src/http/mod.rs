//! The edge: who asks, what they may do, what every answer carries, and how a refusal looks.

pub mod ask;
pub mod confirm;
pub mod cursor;
pub mod etag;
pub mod export;
pub mod layers;
pub mod problem;
pub mod query;
pub mod repeated;
pub mod seen;
pub mod site;
pub mod suffix;

pub use ask::{Ask, Form};

pub use problem::{Code, Problem};
pub use query::Query;
