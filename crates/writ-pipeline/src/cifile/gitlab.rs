//! `.gitlab-ci.yml`.

use serde_json::Value;

use super::{DefinitionFindingKind as Kind, Notes, is_pinned, strings};

/// Keys at the top that are no jobs.
const NOT_JOBS: &[&str] = &[
    "stages",
    "variables",
    "workflow",
    "default",
    "include",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
    "spec",
    "pages",
];

pub(super) fn read(yaml: &Value, notes: &mut Notes<'_>) {
    let Value::Object(top) = yaml else {
        notes.add(Kind::Unreadable, "", "is no map of jobs".into());
        return;
    };
    let includes: Vec<&Value> = match top.get("include") {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
    };
    for include in includes {
        read_include(include, notes);
    }
    for key in ["before_script", "after_script"] {
        if let Some(script) = top.get(key) {
            notes.commands(key, &strings(script), false);
        }
    }
    for (name, job) in top {
        let Value::Object(job) = job else { continue };
        // Hidden jobs are templates: their scripts run where they are extended.
        if NOT_JOBS.contains(&name.as_str()) && name != "pages" && name != "default" {
            continue;
        }
        let mut commands = Vec::new();
        for key in ["before_script", "script", "after_script"] {
            commands.extend(job.get(key).map(strings).unwrap_or_default());
        }
        let deploys = job.contains_key("environment")
            && job
                .get("environment")
                .and_then(|e| e.get("action"))
                .is_none();
        notes.commands(name, &commands, deploys);
        if let Some(Value::Object(trigger)) = job.get("trigger")
            && let Some(include) = trigger.get("include")
        {
            match include {
                Value::Array(list) => list.iter().for_each(|one| read_include(one, notes)),
                one => read_include(one, notes),
            }
        }
    }
}

fn read_include(include: &Value, notes: &mut Notes<'_>) {
    match include {
        Value::String(place) if place.contains("://") => notes.add(
            Kind::Unpinned,
            "include",
            format!("{place} is not pinned to a commit"),
        ),
        Value::Object(map) => {
            let text = |key: &str| map.get(key).and_then(Value::as_str);
            if let Some(remote) = text("remote") {
                if text("integrity").is_none() {
                    notes.add(
                        Kind::Unpinned,
                        "include",
                        format!("{remote} has no integrity hash"),
                    );
                }
            } else if let Some(project) = text("project") {
                let reference = text("ref").unwrap_or("HEAD");
                if !is_pinned(reference) {
                    notes.add(
                        Kind::Unpinned,
                        "include",
                        format!("{project} at {reference} is not pinned to a commit"),
                    );
                }
            } else if let Some(component) = text("component") {
                let version = component
                    .rsplit_once('@')
                    .map_or("", |(_, version)| version);
                if !is_pinned(version) {
                    notes.add(
                        Kind::Unpinned,
                        "include",
                        format!("{component} is not pinned to a commit"),
                    );
                }
            } else if let Some(template) = text("template") {
                notes.add(
                    Kind::Unpinned,
                    "include",
                    format!("template {template} changes with the server"),
                );
            }
        }
        _ => {}
    }
}
