//! The JSON form. Numbers are strings; `site` is a list, in old versions one object.

use serde::Deserialize;

use super::Alert;
use crate::error::IngestError;
use crate::input::Input;
use crate::json::{Items, Json, Text};
use crate::out::Out;
use crate::redact::{Action, JsonRule};
use crate::report::Binding;
use crate::text;

/// Where requests, attacks and answers stand.
pub const MASKED: &[JsonRule] = &[
    JsonRule("**/attack", Action::Mask),
    JsonRule("**/evidence", Action::Mask),
    JsonRule("**/otherinfo", Action::Mask),
    JsonRule("**/request-header", Action::Mask),
    JsonRule("**/request-body", Action::Mask),
    JsonRule("**/response-header", Action::Mask),
    JsonRule("**/response-body", Action::Mask),
    JsonRule("sequences", Action::Mask),
];

#[derive(Deserialize)]
struct RawAlert<'a> {
    #[serde(borrow, default)]
    pluginid: Text<'a>,
    #[serde(borrow, default)]
    alert: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    riskcode: Text<'a>,
    #[serde(borrow, default)]
    confidence: Text<'a>,
    #[serde(borrow, default)]
    desc: Text<'a>,
    #[serde(borrow, default)]
    solution: Text<'a>,
    #[serde(borrow, default)]
    cweid: Text<'a>,
    #[serde(borrow, default)]
    instances: Items<Instance<'a>>,
}

#[derive(Deserialize)]
struct Instance<'a> {
    #[serde(borrow, default)]
    uri: Text<'a>,
    #[serde(borrow, default)]
    method: Text<'a>,
    #[serde(borrow, default)]
    param: Text<'a>,
}

pub fn read(input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    let mut json = Json::new(input);
    let mut seen = false;
    json.object(|json, key| match key {
        "@version" => {
            let version = json.text()?;
            out.tool("zap", &version);
            Ok(())
        }
        "created" => {
            out.report.observed_at = json.text()?.parse().ok();
            Ok(())
        }
        "site" => {
            seen = true;
            if json.peek()? == b'{' {
                site(json, out)
            } else {
                json.array(|json| site(json, out))
            }
        }
        _ => json.skip(),
    })?;
    if !seen {
        return Err(json.not_this("there is no 'site'"));
    }
    json.finish()?;
    out.bad_entries(&json.take_bad());
    Ok(())
}

fn site(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    out.report.add_looked_at("sites", 1);
    json.object(|json, key| match key {
        "@name" => {
            let name = json.text()?;
            out.report.bind(Binding::Target(text::url(&name)));
            Ok(())
        }
        "alerts" => json.array(|json| match json.element::<RawAlert<'_>>()? {
            Some(raw) => alert(&raw, out),
            None => Ok(()),
        }),
        _ => json.skip(),
    })
}

fn alert(raw: &RawAlert<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    let alert = Alert {
        plugin: raw.pluginid.to_string(),
        name: if raw.alert.is_empty() {
            &raw.name
        } else {
            &raw.alert
        }
        .to_string(),
        risk: raw.riskcode.to_string(),
        confidence: raw.confidence.to_string(),
        description: raw.desc.to_string(),
        solution: raw.solution.to_string(),
        cwe: raw.cweid.to_string(),
    };
    if raw.instances.is_empty() {
        return alert.emit(None, out);
    }
    for instance in raw.instances.iter() {
        alert.emit(
            Some((&instance.uri, &instance.method, &instance.param)),
            out,
        )?;
    }
    Ok(())
}
