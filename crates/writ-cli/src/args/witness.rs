//! What may be typed after `writ witness`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// `writ witness`
#[derive(Debug, Args)]
pub struct WitnessArgs {
    /// The witness's private key: Ed25519 as PEM, sealed or open, or a note key (PRIVATE+KEY+…). Made when it is not there.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Name of the witness, such as witness.example/w1; a note key has its own.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
    /// Address to listen on; put a proxy with TLS in front of it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8091")]
    pub listen: SocketAddr,
    /// Folder of what was cosigned; never restore it from a copy.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Key of a log to witness; its name is the log's origin. Repeatable.
    #[arg(long, value_name = "VKEY", required = true, value_parser = NonEmptyStringValueParser::new())]
    pub log: Vec<String>,
}
