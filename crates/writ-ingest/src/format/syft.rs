//! syft's own JSON. Fields: <https://github.com/anchore/syft/tree/main/schema/json>.

use serde::Deserialize;
use writ_model::finding::Component;

use super::{Format, Yield};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::json::{Json, Text};
use crate::out::Out;
use crate::report::Binding;
use crate::text;

/// The format.
pub struct Syft;

#[derive(Deserialize)]
struct Artifact<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    purl: Text<'a>,
    #[serde(borrow, default)]
    licenses: Vec<License<'a>>,
}

/// An object since schema 8, a word before.
#[derive(Deserialize)]
#[serde(untagged)]
enum License<'a> {
    Object {
        #[serde(borrow, default)]
        value: Text<'a>,
    },
    Word(#[serde(borrow)] Text<'a>),
}

impl Format for Syft {
    fn id(&self) -> &'static str {
        "syft"
    }

    fn title(&self) -> &'static str {
        "syft JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.syft+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Components]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        super::certain_if(
            head.has("artifacts")
                && (head.has("artifacts/[]/foundBy")
                    || head.has("artifactRelationships")
                    || head.has("descriptor")),
        )
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("syft", "");
        let mut json = Json::new(input);
        let mut seen = false;
        json.object(|json, key| match key {
            "artifacts" => {
                seen = true;
                json.array(|json| match json.element::<Artifact<'_>>()? {
                    Some(artifact) => out.component(artifact.into()),
                    None => Ok(()),
                })
            }
            "source" => source(json, out),
            "descriptor" => json.object(|json, key| match key {
                "version" => {
                    let version = json.text()?;
                    out.tool("syft", &version);
                    Ok(())
                }
                _ => json.skip(),
            }),
            _ => json.skip(),
        })?;
        if !seen {
            return Err(json.not_this("there are no 'artifacts'"));
        }
        json.finish()?;
        let components = out.report.components;
        out.report.add_looked_at("components", components);
        out.bad_entries(&json.take_bad());
        Ok(())
    }
}

fn source(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    json.object(|json, key| match key {
        "name" => {
            let name = json.text()?;
            out.report.bind(Binding::Target(name));
            Ok(())
        }
        "metadata" => json.object(|json, key| {
            match key {
                "imageID" => out.report.bind(Binding::ImageId(json.text()?)),
                "repoDigests" => json.array(|json| {
                    let digest = json.text()?;
                    out.report.bind(Binding::RepoDigest(digest));
                    Ok(())
                })?,
                _ => json.skip()?,
            }
            Ok(())
        }),
        _ => json.skip(),
    })
}

impl From<Artifact<'_>> for Component {
    fn from(artifact: Artifact<'_>) -> Self {
        Self {
            name: text::one_line(&artifact.name, 300),
            version: artifact.version.some(),
            purl: artifact.purl.some(),
            licenses: artifact
                .licenses
                .iter()
                .take(50)
                .map(|license| match license {
                    License::Object { value } | License::Word(value) => text::one_line(value, 200),
                })
                .filter(|license| !license.is_empty())
                .collect(),
        }
    }
}
