//! Style sheets, fonts and scripts, embedded in the binary, under names that carry their digest.
//!
//! A name never changes its bytes, so browsers may keep it for ever. Third-party files are as
//! published; `assets/VENDORED` lists their origins and digests and a test compares them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use writ_model::Digest;

use crate::http::Problem;

#[derive(rust_embed::RustEmbed)]
#[folder = "assets"]
#[exclude = "licences/*"]
#[exclude = "VENDORED"]
struct Files;

struct Asset {
    bytes: Bytes,
    media_type: &'static str,
}

struct Assets {
    /// Plain name to name with digest.
    names: BTreeMap<String, String>,
    by_name: BTreeMap<String, Asset>,
}

static ASSETS: LazyLock<Assets> = LazyLock::new(load);

fn load() -> Assets {
    let mut assets = Assets {
        names: BTreeMap::new(),
        by_name: BTreeMap::new(),
    };
    let mut names: Vec<String> = Files::iter().map(|name| name.into_owned()).collect();
    // Style sheets name fonts, so they come last, with the names of the fonts put in.
    names.sort_by_key(|name| (name.ends_with(".css"), name.clone()));
    for name in names {
        let Some(file) = Files::get(&name) else {
            continue;
        };
        let bytes = match std::str::from_utf8(&file.data) {
            Ok(text) if name.ends_with(".css") => {
                let mut text = text.to_owned();
                for (plain, hashed) in &assets.names {
                    text = text.replace(&format!("url({plain})"), &format!("url({hashed})"));
                }
                Bytes::from(text)
            }
            _ => Bytes::from(file.data.into_owned()),
        };
        let file_name = name.rsplit('/').next().unwrap_or(&name);
        let (stem, ending) = file_name.rsplit_once('.').unwrap_or((file_name, ""));
        let hashed = format!("{stem}-{}.{ending}", Digest::of(&bytes).short());
        let media_type = match ending {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            "woff2" => "font/woff2",
            _ => "application/octet-stream",
        };
        assets.names.insert(name, hashed.clone());
        assets.by_name.insert(hashed, Asset { bytes, media_type });
    }
    assets
}

/// The address of an embedded file.
#[must_use]
pub fn href(name: &str) -> String {
    match ASSETS.names.get(name) {
        Some(hashed) => format!("/assets/{hashed}"),
        // A test asks for every name that pages use.
        None => format!("/assets/{name}"),
    }
}

/// Serves an embedded file.
///
/// # Errors
/// There is none of this name.
pub async fn get(Path(name): Path<String>) -> Result<Response, Problem> {
    let asset = ASSETS
        .by_name
        .get(&name)
        .ok_or_else(|| Problem::not_found("file", &name))?;
    let mut response = asset.bytes.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(asset.media_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that pages ask for.
    const USED: [&str; 5] = [
        "app.css",
        "app.js",
        "passkey.js",
        "htmx.min.js",
        "favicon.svg",
    ];

    #[test]
    fn what_pages_use_is_there_and_style_sheets_name_hashed_fonts() {
        for name in USED {
            let href = href(name);
            assert!(
                ASSETS
                    .by_name
                    .contains_key(href.strip_prefix("/assets/").unwrap()),
                "{name}"
            );
        }
        let css = &ASSETS.by_name[&ASSETS.names["app.css"]];
        let css = std::str::from_utf8(&css.bytes).unwrap();
        for url in css.split("url(").skip(1) {
            let name = url.split(')').next().unwrap();
            assert!(ASSETS.by_name.contains_key(name), "{name}");
        }
    }

    #[test]
    fn vendored_files_are_as_published() {
        let list = include_str!("../assets/VENDORED");
        let mut counted = 0;
        for line in list
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [digest, file, package, licence] = fields[..] else {
                panic!("{line}");
            };
            let bytes = Files::get(file).unwrap_or_else(|| panic!("{file}")).data;
            assert_eq!(Digest::of(&bytes).to_hex(), digest, "{file} of {package}");
            assert!(
                std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("assets/licences")
                    .join(licence)
                    .exists(),
                "{licence}"
            );
            counted += 1;
        }
        let third_party = Files::iter()
            .filter(|name| name.starts_with("fonts/") || name.ends_with(".min.js"))
            .count();
        assert_eq!(counted, third_party, "every vendored file is listed");
    }
}
