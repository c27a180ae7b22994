//! `writ spool …`, and where the spool is.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

/// Where the spool is, and how much it may hold.
#[derive(Debug, Args)]
pub struct SpoolPlace {
    /// Record into this spool instead of a store, to be delivered later [default place:
    /// $XDG_STATE_HOME/writ/spool].
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        env = "WRIT_SPOOL",
        num_args = 0..=1,
        require_equals = true
    )]
    pub spool: Option<Option<PathBuf>>,
    /// Most that the spool may hold, such as 500M or 4G; what does not fit is refused [default: 1G].
    #[arg(long, value_name = "SIZE", global = true, env = "WRIT_SPOOL_LIMIT", value_parser = size)]
    pub spool_limit: Option<u64>,
}

/// `writ spool …`
#[derive(Debug, Subcommand)]
pub enum SpoolCommand {
    /// List what waits, in the order of delivery.
    #[command(
        after_help = "Examples:\n  writ spool list\n  writ spool list --spool=/mnt/stick/spool\n  writ spool list -f json"
    )]
    List,
    /// Deliver what waits into the store, in order, each once; the gap is recorded as evidence.
    #[command(
        after_help = "Examples:\n  writ spool deliver\n  writ spool deliver --store /var/lib/writ/store --trust /etc/writ/trust"
    )]
    Deliver,
    /// Write everything that waits into one file, such as a CI job's artefact; the spool keeps it.
    #[command(
        after_help = "Examples:\n  writ spool export evidence.spool\n  writ run --spool=.spool && writ spool export evidence.spool --spool=.spool"
    )]
    Export {
        /// The file; an existing one is replaced.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Queue what an exported file holds; what waits here already is not queued twice.
    #[command(after_help = "Examples:\n  writ spool import evidence.spool && writ spool deliver")]
    Import {
        /// The file that `writ spool export` wrote.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Move a statement that its store refuses out of the way; kept, and told with the next delivery.
    #[command(
        name = "set-aside",
        after_help = "Examples:\n  writ spool set-aside 7 --reason \"signed by the key of a job that was deleted\""
    )]
    SetAside {
        /// Its number, as `writ spool list` shows it.
        #[arg(value_name = "NUMBER")]
        number: u64,
        /// Why, in a sentence that an auditor will read.
        #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
}

/// Reads `500M`, `4G`, or bytes.
fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'M', 'G', 'T']) {
        Some(digits) => (digits, text.chars().last().unwrap_or_default()),
        None => (text, 'B'),
    };
    let factor = match unit {
        'K' => 1 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        'T' => 1 << 40,
        _ => 1_u64,
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "give a size such as 500M, 4G or a number of bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_and_nonsense_is_not() {
        assert_eq!(size("500M"), Ok(500 << 20));
        assert_eq!(size("4G"), Ok(4 << 30));
        assert_eq!(size("123"), Ok(123));
        for text in ["", "0", "G", "-1", "1.5G", "4GB", "99999999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
