//! `.github/workflows/*.yml`.

use serde_json::Value;

use super::{DefinitionFindingKind as Kind, Notes, is_pinned};

pub(super) fn read(yaml: &Value, notes: &mut Notes<'_>) {
    let Some(Value::Object(jobs)) = yaml.get("jobs") else {
        notes.add(Kind::Unreadable, "", "has no jobs".into());
        return;
    };
    for (name, job) in jobs {
        if let Some(uses) = job.get("uses").and_then(Value::as_str) {
            read_uses(uses, name, notes);
        }
        let mut commands = Vec::new();
        for step in job
            .get("steps")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(uses) = step.get("uses").and_then(Value::as_str) {
                read_uses(uses, name, notes);
                if uses.contains("deploy") {
                    notes.add(
                        Kind::DeployAround,
                        name,
                        format!("the action {uses} deploys without `writ deploy`"),
                    );
                }
            }
            commands.extend(step.get("run").and_then(Value::as_str));
        }
        notes.commands(name, &commands, job.get("environment").is_some());
    }
}

fn read_uses(uses: &str, job: &str, notes: &mut Notes<'_>) {
    if uses.starts_with("./") {
        return;
    }
    let pinned = match uses.strip_prefix("docker://") {
        Some(image) => image
            .rsplit_once('@')
            .is_some_and(|(_, digest)| is_pinned(digest)),
        None => uses
            .rsplit_once('@')
            .is_some_and(|(_, reference)| is_pinned(reference)),
    };
    if !pinned {
        notes.add(
            Kind::Unpinned,
            job,
            format!("{uses} is not pinned to a commit"),
        );
    }
}
