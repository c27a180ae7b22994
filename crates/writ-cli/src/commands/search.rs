//! `writ search`: evidence by its words.

use serde_json::{Map, json};
use writ_model::EvidenceItem;
use writ_registry::Search;
use writ_render::EdgeError;

use crate::args::SearchArgs;
use crate::commands::attest::kind_of_word;
use crate::commands::listing::{self, Column, Listing, Row};
use crate::context::Context;
use crate::store;

/// Runs `writ search WORD…`. Answers 0, also when nothing is found.
///
/// # Errors
///
/// There is no word, an unknown kind, a cursor of something else (2), or no index to read (3).
pub async fn run(context: &Context, args: &SearchArgs) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ search", &listing::FORMATS)?;
    let types = args
        .kind
        .iter()
        .map(|word| kind_of_word(word))
        .collect::<Result<_, _>>()?;
    let store = store::open_read_only(context).await?;
    let below = match context.at {
        Some(at) => Some(
            store
                .size_at(at)
                .await
                .map_err(|error| store::registry_error(&error))?,
        ),
        None => None,
    };
    let search = Search {
        words: args.words.join(" "),
        service: context.service.clone(),
        types,
        below,
        limit: usize::from(args.limit),
        cursor: args.cursor.clone(),
    };
    let found = store
        .search(&search)
        .await
        .map_err(|error| store::registry_error(&error))?;
    let mut fields = Map::new();
    fields.insert("next".to_owned(), json!(found.next));
    let footer = match (&found.next, found.items.is_empty()) {
        (Some(next), _) => vec![format!("more: add --cursor {next}")],
        (None, true) => vec!["nothing holds all of these words".to_owned()],
        (None, false) => Vec::new(),
    };
    let listing = Listing {
        schema: "writ.search/1",
        line_schema: "writ.search-found/1",
        key: "evidence",
        columns: vec![
            Column::new("evidence"),
            Column::new("recorded"),
            Column::new("kind"),
            Column::new("service"),
            Column::new("tool"),
            Column::flexible("about"),
        ],
        rows: found.items.iter().map(row).collect(),
        footer,
        fields,
    };
    listing::write(context, |sink| listing.render(context, sink))?;
    Ok(0)
}

fn row(item: &EvidenceItem) -> Row {
    let tool = item.tool.as_ref();
    let about = item.subject.commit.clone().or_else(|| {
        let artifact = item.subject.artifact?;
        Some(format!("sha256:{artifact}"))
    });
    let about = about
        .or_else(|| item.subject.environment.clone())
        .unwrap_or_default();
    Row {
        cells: vec![
            item.id.short(),
            item.recorded_at.to_string(),
            item.evidence_type.word().to_owned(),
            item.service.clone(),
            tool.map_or_else(String::new, |tool| tool.name.clone()),
            about,
        ],
        below: Vec::new(),
        fields: vec![
            ("id", json!(item.id)),
            ("index", json!(item.index)),
            ("recordedAt", json!(item.recorded_at)),
            ("kind", json!(item.evidence_type)),
            ("predicateType", json!(item.predicate_type)),
            ("service", json!(item.service)),
            ("tool", json!(tool.map(|tool| &tool.name))),
            ("outcome", json!(item.outcome)),
            ("commit", json!(item.subject.commit)),
            ("artifact", json!(item.subject.artifact)),
            ("environment", json!(item.subject.environment)),
        ],
    }
}
