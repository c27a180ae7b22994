//! `writ version`: what judges here.

use serde_json::{Map, json};
use writ_gate::ENGINE;
use writ_render::{EdgeError, Format};

use crate::commands::{listing, place};
use crate::context::Context;
use crate::store;

/// Runs the command.
///
/// # Errors
///
/// A bundle that cannot be read.
pub fn run(context: &Context) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ version", &[Format::Human, Format::Json])?;
    let bundle = store::bundle(context)?;
    let catalogue = place::catalogue()?;
    let version = env!("CARGO_PKG_VERSION");
    let (name, reference) = (&bundle.reference.name, &bundle.reference);
    let formats = writ_ingest::FORMATS.len();
    let tools = catalogue.iter().count();
    listing::write(context, |sink| match sink.format {
        Format::Json => listing::document(
            "writ.version/1",
            Map::from_iter([
                ("version".to_owned(), json!(version)),
                ("engine".to_owned(), json!(ENGINE)),
                (
                    "bundle".to_owned(),
                    json!({
                        "name": name,
                        "version": reference.version,
                        "digest": reference.digest,
                        "controls": bundle.controls.len(),
                    }),
                ),
                ("reportFormats".to_owned(), json!(formats)),
                ("tools".to_owned(), json!(tools)),
            ]),
        ),
        _ => format!(
            "writ     {version}\nengine   {ENGINE}\nbundle   {name} {}, {} controls\n         {}\nreads    {formats} report formats\nknows    {tools} tools\n",
            reference.version,
            bundle.controls.len(),
            reference.digest,
        ),
    })?;
    Ok(0)
}
