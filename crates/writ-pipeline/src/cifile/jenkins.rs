//! `Jenkinsfile`: Groovy is a programming language, so only `sh` steps and libraries are looked at.

use regex::Regex;

use super::{DefinitionFindingKind as Kind, Notes, is_pinned};

pub(super) fn read(text: &str, notes: &mut Notes<'_>) {
    let Ok(library) = Regex::new(r#"@Library\(\s*\[?\s*['"]([^'"]+)['"]"#) else {
        return;
    };
    for found in library.captures_iter(text) {
        let name = &found[1];
        let reference = name.rsplit_once('@').map_or("", |(_, reference)| reference);
        if !is_pinned(reference) {
            notes.add(
                Kind::Unpinned,
                "library",
                format!("{name} is not pinned to a commit"),
            );
        }
    }
    let Ok(step) = Regex::new(
        r#"(?s)\b(?:sh|bat|powershell)\b\s*\(?\s*(?:script\s*:\s*)?(?:'''(.*?)'''|"""(.*?)"""|'([^'\n]*)'|"([^"\n]*)")"#,
    ) else {
        return;
    };
    let mut commands: Vec<&str> = Vec::new();
    for found in step.captures_iter(text) {
        commands.extend(
            (1..=4)
                .filter_map(|group| found.get(group))
                .map(|group| group.as_str()),
        );
    }
    notes.commands("sh", &commands, false);
}
