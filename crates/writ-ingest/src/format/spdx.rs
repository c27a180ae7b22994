//! SPDX JSON 2.2 and 2.3. Specification: <https://spdx.github.io/spdx-spec/v2.3/>. Version 3 has another shape
//! and is refused.

use serde::Deserialize;
use writ_model::finding::Component;

use super::{Format, Yield};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::json::{Items, Json, Text};
use crate::out::Out;
use crate::redact::{Action, JsonRule, Redaction};
use crate::report::Binding;
use crate::text;

/// The format.
pub struct Spdx;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version_info: Text<'a>,
    #[serde(borrow, default)]
    license_concluded: Text<'a>,
    #[serde(borrow, default)]
    license_declared: Text<'a>,
    #[serde(borrow, default)]
    external_refs: Items<Reference<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    #[serde(borrow, default)]
    reference_type: Text<'a>,
    #[serde(borrow, default)]
    reference_locator: Text<'a>,
}

impl Format for Spdx {
    fn id(&self) -> &'static str {
        "spdx"
    }

    fn title(&self) -> &'static str {
        "SPDX JSON 2.2, 2.3"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/spdx+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Components]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let third = head
            .value("@context")
            .is_some_and(|context| context.contains("spdx.org"));
        super::certain_if(head.has("spdxVersion") || third)
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        let mut json = Json::new(input);
        let mut version = String::new();
        json.object(|json, key| match key {
            "spdxVersion" => json.text().map(|text| version = text),
            "name" => {
                let name = json.text()?;
                out.report.bind(Binding::Target(name));
                Ok(())
            }
            "creationInfo" => creation(json, out),
            "packages" => json.array(|json| match json.element::<Package<'_>>()? {
                Some(package) => out.component(package.into()),
                None => Ok(()),
            }),
            _ => json.skip(),
        })?;
        if !matches!(&*version, "SPDX-2.2" | "SPDX-2.3") {
            return Err(json.not_this("only SPDX-2.2 and SPDX-2.3 are known"));
        }
        json.finish()?;
        let components = out.report.components;
        out.report.add_looked_at("components", components);
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[
            JsonRule("creationInfo/creators/*", Action::MaskIf("Person:")),
            JsonRule("packages/*/supplier", Action::MaskIf("Person:")),
            JsonRule("packages/*/originator", Action::MaskIf("Person:")),
            JsonRule(
                "packages/*/annotations/*/annotator",
                Action::MaskIf("Person:"),
            ),
            JsonRule("annotations/*/annotator", Action::MaskIf("Person:")),
        ])
    }
}

fn creation(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    json.object(|json, key| match key {
        "created" => {
            out.report.observed_at = json.text()?.parse().ok();
            Ok(())
        }
        "creators" => json.array(|json| {
            let creator = json.text()?;
            if let Some(tool) = creator.strip_prefix("Tool: ") {
                // `syft-1.18.1`, `trivy-0.76.0`, sometimes with a word behind.
                let (name, version) = tool.rsplit_once('-').unwrap_or((tool, ""));
                out.tool(name, version);
            }
            Ok(())
        }),
        _ => json.skip(),
    })
}

impl From<Package<'_>> for Component {
    fn from(package: Package<'_>) -> Self {
        let licenses = [&package.license_declared, &package.license_concluded]
            .into_iter()
            .find(|license| !license.is_empty() && !matches!(&***license, "NOASSERTION" | "NONE"))
            .map(|license| text::one_line(license, 500));
        Self {
            name: text::one_line(&package.name, 300),
            version: package.version_info.some(),
            purl: package
                .external_refs
                .iter()
                .find(|reference| &*reference.reference_type == "purl")
                .and_then(|reference| reference.reference_locator.some()),
            licenses: licenses.into_iter().collect(),
        }
    }
}
