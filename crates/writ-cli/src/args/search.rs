//! `writ search`

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// `writ search`
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Words that the evidence must hold, all of them; `paym*` finds what begins so.
    #[arg(required = true, value_name = "WORD", value_parser = NonEmptyStringValueParser::new())]
    pub words: Vec<String>,
    /// Only evidence of this kind; repeatable.
    #[arg(long, value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
    pub kind: Vec<String>,
    /// Rows of a page.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub limit: u16,
    /// Where the page before ended: what its `next` said.
    #[arg(long, value_name = "CURSOR", value_parser = NonEmptyStringValueParser::new())]
    pub cursor: Option<String>,
}
