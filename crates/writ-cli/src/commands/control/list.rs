//! `writ control list`: one line per control.

use serde_json::{Map, json};
use writ_gate::{Bundle, Control, Profile};
use writ_render::EdgeError;
use writ_render::text::plural;

use super::{mode_word, phase_word, profiles_of, unknown};
use crate::commands::listing::{self, Column, Listing, Row};

use crate::context::Context;
use crate::store;

pub fn run(
    context: &Context,
    profile: Option<&str>,
    framework: Option<&str>,
) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ control list", &listing::FORMATS)?;
    let bundle = store::bundle(context)?;
    let profile = profile
        .map(|name| {
            bundle.profiles.get(name).ok_or_else(|| {
                let known: Vec<&str> = bundle.profiles.keys().map(String::as_str).collect();
                let list = format!("one of {}", known.join(", "));
                unknown("profile", name, known.iter().copied(), &list)
            })
        })
        .transpose()?;
    if let Some(key) = framework
        && !bundle.frameworks.contains_key(key)
    {
        let known: Vec<&str> = bundle.frameworks.keys().map(String::as_str).collect();
        let list = format!("one of {}", known.join(", "));
        return Err(unknown("framework", key, known.iter().copied(), &list));
    }
    let listing = table(&bundle, profile, framework);
    listing::write(context, |sink| listing.render(context, sink))?;
    Ok(0)
}

fn table(bundle: &Bundle, profile: Option<&Profile>, framework: Option<&str>) -> Listing {
    let chosen: Vec<&Control> = bundle
        .controls
        .values()
        .filter(|control| {
            profile.is_none_or(|profile| !environments(profile, &control.id).is_empty())
        })
        .filter(|control| {
            framework.is_none_or(|key| control.maps.get(key).is_some_and(|list| !list.is_empty()))
        })
        .collect();
    let mut columns = vec![
        Column::new("control"),
        Column::new("phase"),
        Column::new("mode"),
        Column::flexible("title"),
    ];
    if let Some(key) = framework {
        let title = bundle
            .frameworks
            .get_key_value(key)
            .map_or("requirements", |_| "requirements");
        columns.insert(3, Column::new(title));
    }
    let rows = chosen
        .iter()
        .map(|control| row(bundle, control, profile, framework))
        .collect();
    let whole = bundle.controls.len();
    let count = if chosen.len() == whole {
        plural(whole as u64, "control")
    } else {
        format!("{} of {}", chosen.len(), plural(whole as u64, "control"))
    };
    Listing {
        schema: "writ.controls/1",
        line_schema: "writ.control/1",
        key: "controls",
        columns,
        rows,
        footer: vec![format!(
            "{count} in {} {}; writ control show ID explains one",
            bundle.reference.name, bundle.reference.version
        )],
        fields: Map::from_iter([(
            "bundle".to_owned(),
            json!({
                "name": bundle.reference.name,
                "version": bundle.reference.version,
                "digest": bundle.reference.digest,
            }),
        )]),
    }
}

/// The environments of a profile in which a control binds.
fn environments<'p>(profile: &'p Profile, id: &str) -> Vec<&'p str> {
    profile
        .environment
        .iter()
        .filter(|(_, binding)| binding.controls.iter().any(|bound| bound == id))
        .map(|(name, _)| name.as_str())
        .collect()
}

fn row(
    bundle: &Bundle,
    control: &Control,
    profile: Option<&Profile>,
    framework: Option<&str>,
) -> Row {
    let mode = profile
        .and_then(|profile| profile.control.get(&control.id)?.mode)
        .unwrap_or(control.mode);
    let mut cells = vec![
        control.id.clone(),
        phase_word(control.phase).to_owned(),
        mode_word(mode).to_owned(),
        control.title.clone(),
    ];
    if let Some(list) = framework.and_then(|key| control.maps.get(key)) {
        cells.insert(3, list.join(" "));
    }
    let evidence: Vec<&str> = control.evidence.iter().map(|kind| kind.word()).collect();
    let mut fields = vec![
        ("id", json!(control.id)),
        ("title", json!(control.title)),
        ("owner", json!(control.owner)),
        ("version", json!(control.version)),
        ("phase", json!(phase_word(control.phase))),
        ("mode", json!(mode_word(mode))),
        ("rule", json!(control.rule)),
        ("evidence", json!(evidence)),
        ("profiles", json!(profiles_of(bundle, &control.id))),
    ];
    if let Some(profile) = profile {
        let environments = environments(profile, &control.id);
        fields.push(("environments", json!(environments)));
    }
    if let Some(key) = framework {
        fields.push(("requirements", json!(control.maps.get(key))));
    }
    Row {
        cells,
        below: Vec::new(),
        fields,
    }
}
