//! The XML form: components. Its vulnerabilities are counted as not read.

use writ_model::finding::Component;

use crate::error::IngestError;
use crate::input::Input;
use crate::out::Out;
use crate::report::{Binding, ProblemKind};
use crate::text;
use crate::xml::{Node, Xml};

/// People.
pub const MASKED: &[&str] = &["authors", "contact", "declarations"];

pub fn read(input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    let mut xml = Xml::new(input);
    // Names of the open elements, and the components among them.
    let mut path: Vec<String> = Vec::new();
    let mut open: Vec<Component> = Vec::new();
    loop {
        match xml.next()? {
            Node::Start(element) => {
                let parent = path.last().map_or("", String::as_str);
                if path.is_empty() {
                    if element.name != "bom" {
                        return Err(xml.wrong_root("'bom'"));
                    }
                    let space = element.get("xmlns");
                    let version = space.rsplit('/').next().unwrap_or_default();
                    if !space.contains("cyclonedx.org") || !super::version_known(version) {
                        return Err(xml.wrong_root("CycloneDX 1.2 to 1.7"));
                    }
                } else if element.name == "component" {
                    open.push(Component {
                        name: String::new(),
                        version: None,
                        purl: None,
                        licenses: Vec::new(),
                    });
                } else if element.name == "vulnerability" {
                    xml.skip()?;
                    let words = "vulnerabilities of CycloneDX XML are not read: use the JSON form";
                    out.report.problem(ProblemKind::BadEntry, words, None);
                    continue;
                } else if let Some(component) = open.last_mut()
                    && take(&element.name, parent, component, &mut xml)?
                {
                    continue;
                } else if element.name == "timestamp" && parent == "metadata" {
                    out.report.observed_at = xml.text(60)?.parse().ok();
                    continue;
                }
                path.push(element.name);
            }
            Node::End(name) => {
                path.pop();
                if name == "component"
                    && let Some(component) = open.pop()
                {
                    finish(component, &path, out)?;
                }
            }
            Node::Text(_) => {}
            Node::Eof => return Ok(()),
        }
    }
}

/// Reads a field of a component; true when the element was consumed.
fn take(
    name: &str,
    parent: &str,
    component: &mut Component,
    xml: &mut Xml<'_>,
) -> Result<bool, IngestError> {
    match (parent, name) {
        ("component", "name") => component.name = text::one_line(&xml.text(1_000)?, 300),
        ("component", "version") => {
            component.version = Some(text::one_line(&xml.text(1_000)?, 300))
        }
        ("component", "purl") => component.purl = Some(text::one_line(&xml.text(2_000)?, 1_000)),
        ("license", "id" | "name") | ("licenses", "expression") => {
            let license = text::one_line(&xml.text(1_000)?, 300);
            if component.licenses.len() < 50 && !license.is_empty() {
                component.licenses.push(license);
            }
        }
        // Evidence, properties, hashes: nothing of them is used, and they may be large.
        (
            "component",
            "evidence" | "properties" | "hashes" | "externalReferences" | "description"
            | "pedigree",
        ) => xml.skip()?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// A component belongs to the inventory unless it stands in the metadata.
fn finish(component: Component, path: &[String], out: &mut Out<'_>) -> Result<(), IngestError> {
    if !path.iter().any(|name| name == "metadata") {
        return out.component(component);
    }
    if path.iter().any(|name| name == "tools") {
        if out.report.tool.version.is_empty() {
            out.tool(
                &component.name,
                component.version.as_deref().unwrap_or_default(),
            );
        }
    } else {
        out.report.bind(Binding::Target(component.name));
    }
    Ok(())
}
