//! What a stage leaves behind: the image and its digest.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use writ_model::Digest;

use crate::record::ImageFact;

/// An image that a stage made.
#[derive(Debug, Clone)]
pub(super) struct ProducedImage {
    pub fact: ImageFact,
    /// Archive or layout, when there is one here.
    pub archive: Option<PathBuf>,
    /// Digest of the archive's bytes.
    pub archive_digest: Option<Digest>,
}

/// Why a produced image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It cannot be read.
    #[error("{path}: {cause}")]
    Read {
        /// File.
        path: String,
        /// Cause.
        cause: String,
    },
    /// It is none of the known forms.
    #[error(
        "{path}: {cause}; expected a text file with [NAME@]sha256:…, an OCI layout with one image, or an image archive"
    )]
    Form {
        /// File.
        path: String,
        /// What is wrong.
        cause: String,
    },
}

/// Largest index inside an archive, in bytes.
const MAX_INDEX: u64 = 4 << 20;
/// Most entries of an archive that are looked at.
const MAX_ENTRIES: u32 = 1_000_000;

/// Reads the digest of an image from what a stage produced: a text file, an OCI layout or an archive.
/// The second part is the archive or layout for tools that scan it.
///
/// # Errors
/// When it cannot be read or is none of these.
pub fn read_image(path: &Path) -> Result<(ImageFact, Option<PathBuf>), ImageError> {
    let read = |error: std::io::Error| ImageError::Read {
        path: path.display().to_string(),
        cause: error.to_string(),
    };
    let form = |cause: &str| ImageError::Form {
        path: path.display().to_string(),
        cause: cause.to_owned(),
    };
    let meta = std::fs::metadata(path).map_err(read)?;
    if meta.is_dir() {
        let index = std::fs::read(path.join("index.json")).map_err(read)?;
        let digest = single_manifest(&index).map_err(|cause| form(&cause))?;
        return Ok((ImageFact { name: None, digest }, Some(path.to_owned())));
    }
    if meta.len() <= 4096 {
        let text = std::fs::read_to_string(path).map_err(read)?;
        let word = text.split_whitespace().next().unwrap_or("");
        let (name, digest) = word
            .rsplit_once('@')
            .map_or((None, word), |(name, digest)| {
                (Some(name.to_owned()), digest)
            });
        let digest = digest.parse().map_err(|_| form("holds no digest"))?;
        // A build that writes the digest beside the archive needs no second setting.
        let archive = ["tar", "oci.tar"]
            .iter()
            .map(|end| path.with_extension(end))
            .find(|file| file.is_file());
        return Ok((ImageFact { name, digest }, archive));
    }
    let (mut index, mut manifest) = (None, None);
    each_entry(path, |name, content| {
        match name {
            "index.json" | "./index.json" => index = Some(content),
            "manifest.json" | "./manifest.json" => manifest = Some(content),
            _ => {}
        }
        index.is_some() && manifest.is_some()
    })
    .map_err(|cause| form(&cause))?;
    let digest = match (index, manifest) {
        (Some(index), _) => single_manifest(&index).map_err(|cause| form(&cause))?,
        (None, Some(manifest)) => {
            docker_config(&manifest).ok_or_else(|| form("manifest.json names no single image"))?
        }
        (None, None) => return Err(form("is an archive without index.json and manifest.json")),
    };
    Ok((ImageFact { name: None, digest }, Some(path.to_owned())))
}

fn single_manifest(index: &[u8]) -> Result<Digest, String> {
    let index: serde_json::Value =
        serde_json::from_slice(index).map_err(|error| format!("index.json: {error}"))?;
    let manifests = index
        .get("manifests")
        .and_then(|m| m.as_array())
        .ok_or("index.json lists no manifests")?;
    match manifests.as_slice() {
        [one] => one
            .get("digest")
            .and_then(|digest| digest.as_str())
            .and_then(|digest| digest.parse().ok())
            .ok_or_else(|| "index.json names no digest".into()),
        many => Err(format!(
            "index.json lists {} images; scanners would silently take the first",
            many.len()
        )),
    }
}

/// `docker save` without an OCI index: the configuration's digest is the image id.
fn docker_config(manifest: &[u8]) -> Option<Digest> {
    let list: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    let [one] = list.as_array()?.as_slice() else {
        return None;
    };
    let config = one.get("Config")?.as_str()?;
    config
        .trim_end_matches(".json")
        .rsplit('/')
        .next()?
        .parse()
        .ok()
}

/// Walks a tar file and hands on the small entries whose names are asked for; stops when told.
fn each_entry(path: &Path, mut visit: impl FnMut(&str, Vec<u8>) -> bool) -> Result<(), String> {
    let mut file =
        std::io::BufReader::new(std::fs::File::open(path).map_err(|error| error.to_string())?);
    let mut header = [0_u8; 512];
    for _ in 0..MAX_ENTRIES {
        if file.read_exact(&mut header).is_err() || header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        if &header[257..262] != b"ustar" {
            return Err("is no tar archive".into());
        }
        let name = String::from_utf8_lossy(&header[..100])
            .trim_end_matches('\0')
            .to_owned();
        let digits = String::from_utf8_lossy(&header[124..136])
            .trim_matches(['\0', ' '])
            .to_owned();
        let size =
            u64::from_str_radix(&digits, 8).map_err(|_| "has an entry of unreadable size")?;
        let padded = size.div_ceil(512) * 512;
        let wanted = name.ends_with("index.json") || name.ends_with("manifest.json");
        if wanted && size <= MAX_INDEX {
            let mut content = Vec::new();
            std::io::Read::take(&mut file, size)
                .read_to_end(&mut content)
                .map_err(|error| error.to_string())?;
            std::io::copy(
                &mut std::io::Read::take(&mut file, padded - size),
                &mut std::io::sink(),
            )
            .map_err(|error| error.to_string())?;
            if visit(&name, content) {
                return Ok(());
            }
        } else {
            let offset = i64::try_from(padded).map_err(|_| "has an entry of impossible size")?;
            std::io::BufReader::seek_relative(&mut file, offset)
                .map_err(|error| error.to_string())?;
        }
    }
    Err("has too many entries".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_come_from_text_layout_and_archive() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"manifest");
        let text = folder.path().join("image.digest");
        std::fs::write(&text, format!("registry/app@{digest}\n")).unwrap();
        let (fact, archive) = read_image(&text).unwrap();
        assert_eq!(
            (fact.name.as_deref(), fact.digest, archive),
            (Some("registry/app"), digest, None)
        );
        let index = format!("{{\"manifests\":[{{\"digest\":\"{digest}\"}}]}}");
        let layout = folder.path().join("layout");
        std::fs::create_dir(&layout).unwrap();
        std::fs::write(layout.join("index.json"), &index).unwrap();
        assert_eq!(read_image(&layout).unwrap().0.digest, digest);
        std::fs::write(layout.join("filler"), vec![b'x'; 9000]).unwrap();
        let tar = folder.path().join("image.tar");
        let made = std::process::Command::new("tar")
            .arg("-C")
            .arg(&layout)
            .args(["-cf"])
            .arg(&tar)
            .args(["filler", "index.json"])
            .status()
            .unwrap();
        assert!(made.success());
        assert_eq!(read_image(&tar).unwrap().0.digest, digest);
        // The text form finds the archive beside it.
        assert_eq!(read_image(&text).unwrap().1, Some(tar.clone()));
        let two =
            format!("{{\"manifests\":[{{\"digest\":\"{digest}\"}},{{\"digest\":\"{digest}\"}}]}}");
        std::fs::write(layout.join("index.json"), two).unwrap();
        assert!(
            read_image(&layout)
                .unwrap_err()
                .to_string()
                .contains("lists 2 images")
        );
        std::fs::write(&tar, vec![b'x'; 9000]).unwrap();
        assert!(
            read_image(&tar)
                .unwrap_err()
                .to_string()
                .contains("no tar archive")
        );
    }
}
