//! JSON read as a stream: a structural scanner finds where values end, elements of the large lists
//! are parsed as borrowed slices, and everything else is skipped without being kept.

mod cursor;
mod held;
mod lenient;
mod scan;

pub use cursor::{BadEntries, Json};
pub use held::Held;
pub use lenient::{Int, Items, Text};
