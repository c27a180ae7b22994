//! `writ witness`: remember other logs, and cosign only what extends them.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use writ_evidence::key::passphrase::Environment;
use writ_evidence::key::{
    Algorithm, LocalSigner, PassphraseSource as _, Signer as _, open_private_key, passphrase,
    save_private_key, save_sealed_key,
};
use writ_ledger::note::cosignature_message;
use writ_ledger::witness::cosignature_line;
use writ_ledger::witness::keeper::{Cosigner, Witness};
use writ_ledger::{KeyKind, NoteError, NoteSigner, NoteVerifier, SystemClock};
use writ_render::{EdgeError, Format};
use writ_server::witness::{Limits, log_to_stderr, serve};

use crate::args::WitnessArgs;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::emit;

/// How a note key begins.
const NOTE_KEY: &[u8] = b"PRIVATE+KEY+";

/// Largest key file, in bytes.
const MAX_KEY: u64 = 64 << 10;

/// Runs the witness until it is told to stop (SIGTERM or Ctrl-C).
///
/// # Errors
///
/// The key, what it remembers or the address cannot be used.
pub async fn run(context: &Context, args: &WitnessArgs) -> Result<u8, EdgeError> {
    let cosigner = cosigner(args)?;
    let logs = args
        .log
        .iter()
        .map(|vkey| {
            NoteVerifier::parse(vkey).map_err(|error| {
                edge::usage("the key of a log cannot be read")
                    .at(format!("--log {vkey}"))
                    .because(error)
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let witness =
        Witness::open(&args.state, cosigner, logs, Arc::new(SystemClock)).map_err(|error| {
            edge::cannot_tell("the witness cannot start").because(edge::chain(&error))
        })?;
    let failed = |error: std::io::Error| {
        edge::cannot_tell("cannot listen")
            .at(args.listen)
            .because(error)
    };
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let vkey = witness.verifier().to_vkey();
    let logs = witness.logs();
    emit::emit(context, |sink| match sink.format {
        Format::Json | Format::Jsonl => {
            let logs: Vec<_> = logs
                .iter()
                .map(|(origin, size)| json!({"origin": origin, "cosigned": size}))
                .collect();
            let value = json!({
                "schema": "writ.witness/1", "address": address, "vkey": vkey, "logs": logs,
            });
            format!("{value}\n")
        }
        _ => {
            let mut out = format!("listening  http://{address}\nkey        {vkey}\n");
            for (origin, size) in &logs {
                let known = size.map_or("nothing yet".to_owned(), |size| format!("size {size}"));
                out.push_str(&format!("log        {origin}: {known}\n"));
            }
            out
        }
    })?;
    log_to_stderr();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(failed)?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    serve(Arc::new(witness), listener, Limits::default(), stop).await;
    Ok(0)
}

fn cosigner(args: &WitnessArgs) -> Result<Box<dyn Cosigner>, EdgeError> {
    let unusable = |error: &dyn std::fmt::Display| {
        edge::usage("the witness's key cannot be used")
            .at(args.key.display())
            .because(error)
    };
    if is_note_key(&args.key) {
        let text = read_note_key(&args.key).map_err(|e| unusable(&e))?;
        let signer = NoteSigner::parse(text.trim()).map_err(|e| unusable(&e))?;
        return Ok(Box::new(signer));
    }
    let name = args.name.as_deref().ok_or_else(|| {
        edge::usage("the witness needs a name").try_this("--name witness.example/w1")
    })?;
    let signer = if args.key.exists() {
        open_private_key(&args.key, &Environment).map_err(|e| unusable(&edge::chain(&e)))?
    } else {
        make(&args.key).map_err(|e| unusable(&edge::chain(&e)))?
    };
    let public = signer
        .public_key()
        .ed25519_bytes()
        .ok_or_else(|| unusable(&"it is not an Ed25519 key"))?;
    let verifier =
        NoteVerifier::new(name, KeyKind::Cosignature, &public).map_err(|e| unusable(&e))?;
    Ok(Box::new(KeyFile { signer, verifier }))
}

/// A new key, sealed where a passphrase is given.
fn make(path: &Path) -> Result<LocalSigner, writ_evidence::key::KeyError> {
    let signer = LocalSigner::generate(Algorithm::Ed25519)?;
    match Environment.passphrase(passphrase::Ask::Seal(path))? {
        Some(_) => save_sealed_key(&signer, path, &Environment)?,
        None => save_private_key(&signer, path)?,
    }
    Ok(signer)
}

fn is_note_key(path: &Path) -> bool {
    use std::io::Read as _;
    let mut first = [0_u8; NOTE_KEY.len()];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut first))
        .is_ok_and(|()| first == NOTE_KEY)
}

/// A note key is a secret in the clear: only its owner may read the file.
fn read_note_key(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    let file = std::fs::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(std::io::Error::other(
            "others may read it; make it readable for its owner only (chmod 600)",
        ));
    }
    let mut text = String::new();
    file.take(MAX_KEY).read_to_string(&mut text)?;
    Ok(text)
}

/// A key file in the form that all of Writ's keys have.
struct KeyFile {
    signer: LocalSigner,
    verifier: NoteVerifier,
}

impl Cosigner for KeyFile {
    fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    fn cosign(&self, body: &str, time: u64) -> Result<String, NoteError> {
        let message = cosignature_message(body, time);
        let signature =
            self.signer
                .sign(message.as_bytes())
                .map_err(|error| NoteError::Signer {
                    name: self.verifier.name().to_owned(),
                    key_id: String::new(),
                    reason: error.to_string(),
                })?;
        Ok(cosignature_line(&self.verifier, time, &signature))
    }
}
