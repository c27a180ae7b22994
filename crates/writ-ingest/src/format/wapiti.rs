//! wapiti JSON. Fields: <https://github.com/wapiti-scanner/wapiti/blob/master/wapitiCore/report/jsonreportgenerator.py>.
//!
//! Findings are listed by category name; the address they belong to comes last, in `infos`, so they are held.

use std::collections::HashMap;

use serde::Deserialize;
use writ_model::{Category, Location, Severity};

use super::{Format, Yield, common};
use crate::error::IngestError;
use crate::fingerprint::Basis;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Held, Int, Json, Text};
use crate::out::{Out, blank};
use crate::redact::{Action, JsonRule, Redaction};
use crate::report::Binding;
use crate::text;

/// The format.
pub struct Wapiti;

#[derive(Deserialize)]
struct Issue<'a> {
    #[serde(borrow, default)]
    method: Text<'a>,
    #[serde(borrow, default)]
    path: Text<'a>,
    #[serde(borrow, default)]
    info: Text<'a>,
    #[serde(borrow, default)]
    level: Text<'a>,
    #[serde(borrow, default)]
    parameter: Text<'a>,
}

#[derive(Deserialize)]
struct RawClass<'a> {
    #[serde(borrow, default)]
    sol: Text<'a>,
    #[serde(borrow, default, rename = "ref")]
    references: HashMap<String, Text<'a>>,
}

#[derive(Deserialize, Default)]
struct Infos<'a> {
    #[serde(borrow, default)]
    target: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(default)]
    crawled_pages_nbr: Int,
}

/// What is known about a category.
#[derive(Default)]
struct Class {
    solution: String,
    weaknesses: Vec<String>,
}

impl Format for Wapiti {
    fn id(&self) -> &'static str {
        "wapiti"
    }

    fn title(&self) -> &'static str {
        "wapiti JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.wapiti.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let begins = head.has("classifications");
        super::certain_if(begins || head.has_all(&["vulnerabilities", "anomalies"]))
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("wapiti", "");
        let mut json = Json::new(input);
        let mut classes: HashMap<String, Class> = HashMap::new();
        let mut held: Vec<Held> = Vec::new();
        let mut target = None;
        json.object(|json, key| match key {
            "classifications" => json.object(|json, name| {
                if let Some(raw) = json.element::<RawClass<'_>>()?
                    && classes.len() < 1_000
                {
                    classes.insert(name.to_owned(), raw.into());
                }
                Ok(())
            }),
            "vulnerabilities" | "anomalies" | "additionals" => {
                json.hold().map(|value| held.push(value))
            }
            "infos" => {
                let infos: Infos<'_> = json.value::<Option<_>>()?.unwrap_or_default();
                let version = infos
                    .version
                    .strip_prefix("Wapiti ")
                    .unwrap_or(&infos.version);
                out.tool("wapiti", version);
                if let Some(pages) = infos.crawled_pages_nbr.0 {
                    out.report.add_looked_at("pages", pages);
                }
                out.report.bind(Binding::Target(text::url(&infos.target)));
                target = Some(infos.target.to_string());
                Ok(())
            }
            _ => json.skip(),
        })?;
        json.finish()?;
        let Some(target) = target else {
            return Err(json.not_this("there are no 'infos'"));
        };
        for value in held {
            let bad = value.replay(|json| {
                json.object(|json, name| {
                    let class = classes.get(name);
                    json.array(|json| match json.element::<Issue<'_>>()? {
                        Some(issue) => issue.emit(name, class, &target, out),
                        None => Ok(()),
                    })
                })?;
                Ok(json.take_bad())
            })?;
            json.add_bad(bad);
        }
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[
            JsonRule("*/*/*/http_request", Action::Mask),
            JsonRule("*/*/*/curl_command", Action::Mask),
            JsonRule("*/*/*/detail", Action::Mask),
            JsonRule("infos/auth", Action::Mask),
            JsonRule("infos/detailed_report", Action::Mask),
        ])
    }
}

impl From<RawClass<'_>> for Class {
    fn from(raw: RawClass<'_>) -> Self {
        let mut weaknesses: Vec<String> = raw
            .references
            .keys()
            .filter(|name| name.starts_with("CWE-"))
            .map(|name| text::one_line(name, 60))
            .collect();
        weaknesses.sort_unstable();
        weaknesses.truncate(10);
        Self {
            solution: text::one_line(&raw.sol, 500),
            weaknesses,
        }
    }
}

impl Issue<'_> {
    fn emit(
        &self,
        name: &str,
        class: Option<&Class>,
        target: &str,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        let severity = match &*self.level {
            "0" => Severity::Info,
            "1" => Severity::Low,
            "2" => Severity::Medium,
            "3" => Severity::High,
            "4" => Severity::Critical,
            _ => Severity::Unknown,
        };
        let mut finding = blank(Category::Dynamic, name, &self.info, severity);
        finding.raw_severity = text::one_line(&self.level, 10);
        finding.message = text::block(&self.info, 2_000);
        if let Some(class) = class {
            let mut ids = Identifiers::default();
            for weakness in &class.weaknesses {
                ids.add_cwe(weakness);
            }
            finding.identifiers = ids.finish();
            finding.fix = common::advice(&class.solution);
        }
        let url = text::url(&join(target, &self.path));
        let parameter = text::one_line(&self.parameter, 200);
        finding.location = Location::Url {
            url: url.clone(),
            method: (!self.method.is_empty()).then(|| text::one_line(&self.method, 20)),
            parameter: (!parameter.is_empty()).then(|| parameter.clone()),
        };
        // Several header checks share a category and a page: the module's words tell them apart.
        let rule = if parameter.is_empty() && name != &*self.info {
            format!("{name}: {}", &*self.info)
        } else {
            name.to_owned()
        };
        let basis = Basis::Url {
            rule: &rule,
            url: &url,
            parameter: &parameter,
        };
        out.finding(finding, &basis)
    }
}

/// The site of `target` with another path.
fn join(target: &str, path: &str) -> String {
    if path.contains("://") {
        return path.to_owned();
    }
    let after = target.find("://").map_or(0, |at| at + 3);
    let site = target[after..]
        .find('/')
        .map_or(target, |at| &target[..after + at]);
    format!("{site}/{}", path.trim_start_matches('/'))
}
