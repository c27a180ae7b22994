//! What may be typed after `writ serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// `writ serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address to listen on; only this machine's own can be used yet.
    #[arg(long, value_name = "ADDRESS", env = "WRIT_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Settings [default: /etc/writ/server.toml where it is there].
    #[arg(
        id = "config",
        long = "config",
        value_name = "FILE",
        env = "WRIT_SERVER_CONFIG"
    )]
    pub settings: Option<PathBuf>,
    /// Fill a temporary store with an invented year of six services; every page says so.
    #[arg(long)]
    pub demo: bool,
}
