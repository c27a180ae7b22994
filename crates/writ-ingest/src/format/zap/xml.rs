//! The XML form: `OWASPZAPReport/site/alerts/alertitem`.

use super::Alert;
use crate::error::IngestError;
use crate::input::Input;
use crate::out::Out;
use crate::report::Binding;
use crate::text;
use crate::xml::{Node, Xml};

/// Elements whose text may hold credentials.
pub const MASKED: &[&str] = &[
    "attack",
    "evidence",
    "otherinfo",
    "requestheader",
    "requestbody",
    "responseheader",
    "responsebody",
];

/// Instances of one alert kept until its end: the XML may name them before the alert's own fields.
const MAX_INSTANCES: usize = 100_000;

pub fn read(input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    let mut xml = Xml::new(input);
    let mut alert = Alert::default();
    let mut instances: Vec<[String; 3]> = Vec::new();
    let mut inside_instance = false;
    let mut rooted = false;
    loop {
        match xml.next()? {
            Node::Start(element) if !rooted => {
                if element.name != "OWASPZAPReport" {
                    return Err(xml.wrong_root("'OWASPZAPReport'"));
                }
                rooted = true;
                out.tool("zap", element.get("version"));
            }
            Node::Start(element) => match &*element.name {
                "site" => {
                    out.report.add_looked_at("sites", 1);
                    let name = text::url(element.get("name"));
                    out.report.bind(Binding::Target(name));
                }
                "alertitem" => {
                    alert = Alert::default();
                    instances.clear();
                }
                "instance" => {
                    if instances.len() >= MAX_INSTANCES {
                        return Err(xml.limit("instances of one alert", MAX_INSTANCES as u64));
                    }
                    inside_instance = true;
                    instances.push(Default::default());
                }
                "uri" | "method" | "param" if inside_instance => {
                    let words = xml.text(2_000)?;
                    let at = match &*element.name {
                        "uri" => 0,
                        "method" => 1,
                        _ => 2,
                    };
                    if let Some(instance) = instances.last_mut() {
                        instance[at] = words;
                    }
                }
                "pluginid" => alert.plugin = xml.text(100)?,
                "alert" => alert.name = xml.text(300)?,
                "name" if alert.name.is_empty() => alert.name = xml.text(300)?,
                "riskcode" => alert.risk = xml.text(10)?,
                "confidence" => alert.confidence = xml.text(10)?,
                "desc" => alert.description = xml.text(4_000)?,
                "solution" => alert.solution = xml.text(4_000)?,
                "cweid" => alert.cwe = xml.text(10)?,
                "alerts" | "instances" => {}
                _ => xml.skip()?,
            },
            Node::End(name) => match &*name {
                "instance" => inside_instance = false,
                "alertitem" => {
                    if instances.is_empty() {
                        alert.emit(None, out)?;
                    }
                    for [uri, method, parameter] in &instances {
                        alert.emit(Some((uri, method, parameter)), out)?;
                    }
                }
                _ => {}
            },
            Node::Text(_) => {}
            Node::Eof => return Ok(()),
        }
    }
}
