//! Components that all pages are made of: small functions that give markup.
//!
//! Texts are escaped by the template; nothing here writes raw text into a page, and nothing uses
//! inline style or script, which the content policy forbids.

pub mod chart;
pub mod chip;
pub mod dag;
pub mod empty;
pub mod failure;
pub mod form;
pub mod frame;
pub mod glyph;
pub mod ident;
pub mod passkey;
pub mod strip;
pub mod table;
pub mod time;

pub use empty::Empty;
pub use table::{Cell, Column, Row, Table};
