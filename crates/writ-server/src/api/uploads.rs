//! `/api/v1/uploads/{digest}`: large files behind a statement, in parts that an interruption does not lose.
//!
//! Each asker's file waits beside the store until it is whole. Then it is compared with its digest and put into
//! the locker, where the statement that is handed in next finds it. A file that nobody continues for a day is
//! forgotten. Parts go to one process: with several servers, another one begins anew.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use schemars::JsonSchema;
use serde::Deserialize;
use writ_model::Digest;
use writ_model::wire::Upload;

use crate::access::Principal;
use crate::http::{Code, Problem, Query};
use crate::ledger::None as NoQuery;
use crate::state::{App, Shared};

/// Files of all askers that may wait at the same time.
const AT_ONCE: usize = 64;

/// After which a file that nobody continues is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

/// Longest media type, in bytes.
const MAX_MEDIA_TYPE: usize = 200;

/// A part of a file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PartQuery {
    /// Bytes that are there already: where this part begins.
    pub offset: Option<u64>,
    /// Bytes of the whole file.
    pub length: Option<u64>,
    /// Media type of the file.
    pub media_type: Option<String>,
}

/// How much of a file is here.
///
/// # Errors
/// The address names no digest.
pub async fn get(
    State(state): State<Shared>,
    principal: Principal,
    Path(digest): Path<String>,
    _: Query<NoQuery>,
) -> Result<Json<Upload>, Problem> {
    let digest = parse(&digest)?;
    let stored = state.store.has_blob(digest).await?;
    let waiting = place(&state, &principal, digest);
    Ok(Json(Upload {
        digest,
        // There may be none yet.
        offset: std::fs::metadata(waiting).map_or(0, |file| file.len()),
        stored,
    }))
}

/// Takes the next part; the last one puts the file into the locker.
///
/// # Errors
/// The part does not begin where the file ends, is too large, or the whole has another digest.
pub async fn part(
    State(state): State<Shared>,
    principal: Principal,
    Path(digest): Path<String>,
    Query(query): Query<PartQuery>,
    body: Body,
) -> Result<Response, Problem> {
    let digest = parse(&digest)?;
    let missing = |name: &str| {
        Problem::new(Code::Query, format!("the parameter {name} is missing"))
            .required("offset, length and mediaType")
    };
    let offset = query.offset.ok_or_else(|| missing("offset"))?;
    let length = query.length.ok_or_else(|| missing("length"))?;
    let media_type = query
        .media_type
        .filter(|kind| (1..=MAX_MEDIA_TYPE).contains(&kind.len()))
        .ok_or_else(|| missing("mediaType"))?;
    let most = state.config.limits.upload_bytes;
    if length > most {
        return Err(
            Problem::new(Code::TooLarge, format!("the file has {length} bytes"))
                .required(format!("at most {most}"))
                .fix("Let the operator raise limits.upload_bytes"),
        );
    }
    let answer = |status: StatusCode, offset: u64, stored: bool| {
        let upload = Upload {
            digest,
            offset,
            stored,
        };
        (status, Json(upload)).into_response()
    };
    if state.store.has_blob(digest).await? {
        return Ok(answer(StatusCode::OK, length, true));
    }
    let path = place(&state, &principal, digest);
    let mut file = open(&state, &path)?;
    let there = file.metadata().map_err(|e| failed(&e))?.len();
    if offset != there {
        return Err(
            Problem::new(Code::Offset, format!("the part begins at {offset}"))
                .found(format!("{there} bytes are here"))
                .required(format!("a part that begins at {there}"))
                .fix("Ask this address how much is here, and go on from there"),
        );
    }
    let there = take(&mut file, body, there, length).await?;
    if there < length {
        return Ok(answer(StatusCode::OK, there, false));
    }
    let put = state.store.put_blob(path.clone(), digest, media_type).await;
    // Whole: it is in the locker, or not what it should be.
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(%error, "an uploaded file cannot be removed");
    }
    put?;
    Ok(answer(StatusCode::CREATED, length, true))
}

fn parse(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|error| {
        Problem::new(
            Code::NotFound,
            format!("the address names no digest: {error}"),
        )
        .required("sha256: and 64 hexadecimal digits")
    })
}

fn folder(app: &App) -> PathBuf {
    app.store.paths().root.join("uploads")
}

/// A file of its own for each asker: nobody can spoil another's.
fn place(app: &App, principal: &Principal, digest: Digest) -> PathBuf {
    let name = Digest::of(format!("{}\n{digest}", principal.id.0).as_bytes());
    folder(app).join(name.to_hex())
}

fn failed(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "an uploaded file cannot be kept");
    Problem::new(Code::Busy, "the server cannot keep the file now")
        .fix("Try again later; what is here stays")
}

/// Opens the file of an upload for this request alone.
fn open(app: &App, path: &FilePath) -> Result<File, Problem> {
    let folder = folder(app);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|e| failed(&e))?;
    if !path.exists() {
        room(&folder)?;
    }
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| failed(&e))?;
    file.try_lock().map_err(|_| {
        Problem::new(Code::Offset, "another request brings this file now")
            .fix("Wait for its end, then ask this address how much is here")
    })?;
    file.seek(SeekFrom::End(0)).map_err(|e| failed(&e))?;
    Ok(file)
}

/// Forgets what nobody continues, and refuses when too many files wait.
fn room(folder: &FilePath) -> Result<(), Problem> {
    let mut waiting = 0;
    for entry in std::fs::read_dir(folder).map_err(|e| failed(&e))? {
        let entry = entry.map_err(|e| failed(&e))?;
        let age = entry
            .metadata()
            .and_then(|file| file.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        match age {
            Some(age) if age > FORGOTTEN => {
                // Whoever continues it begins anew.
                let _ = std::fs::remove_file(entry.path());
            }
            _ => waiting += 1,
        }
    }
    match waiting < AT_ONCE {
        true => Ok(()),
        false => Err(
            Problem::new(Code::Busy, format!("{waiting} files are being uploaded"))
                .required(format!("fewer than {AT_ONCE}"))
                .fix("Try again when some have ended"),
        ),
    }
}

/// Appends what comes, also what came before a connection broke; gives the new length.
async fn take(file: &mut File, body: Body, mut there: u64, length: u64) -> Result<u64, Problem> {
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(Code::Slow, "the part ended early")
                .fix("Ask this address how much is here, and go on from there")
        })?;
        if there + chunk.len() as u64 > length {
            return Err(Problem::new(
                Code::TooLarge,
                "more bytes came than the file is said to have",
            )
            .required(format!("{length} bytes in all")));
        }
        if let Err(error) = file.write_all(&chunk) {
            // A piece of a chunk would shift what follows.
            let _ = file.set_len(there);
            return Err(failed(&error));
        }
        there += chunk.len() as u64;
    }
    Ok(there)
}
