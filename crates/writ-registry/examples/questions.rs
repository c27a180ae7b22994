//! How long the index takes for what the pages about findings ask, in a store that `estate` made.
//!
//! ```text
//! cargo run --release -p writ-registry --example questions -- DIRECTORY
//! ```
//!
//! Per question: the first time, the median of the next seven, and what came out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use writ_model::{Severity, Span};
use writ_registry::{FindingsFilter, Standing, Store, StoreOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Prints how long a question takes.
async fn time<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Outcome<T>,
    say: impl Fn(&T) -> String,
) -> Outcome<()> {
    let mut took: Vec<Duration> = Vec::new();
    let mut said = String::new();
    for _ in 0..8 {
        let start = Instant::now();
        let answer = ask().await?;
        took.push(start.elapsed());
        said = say(&answer);
    }
    let first = took.remove(0);
    took.sort_unstable();
    println!(
        "{what:<44} first {:>9.2} ms, then {:>9.2} ms: {said}",
        first.as_secs_f64() * 1e3,
        took[took.len() / 2].as_secs_f64() * 1e3
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let place = PathBuf::from(std::env::args().nth(1).ok_or("DIRECTORY is missing")?);
    let start = Instant::now();
    let store = Store::open(place.join("store"), StoreOptions::new(place.join("trust"))).await?;
    let size = store.extent().await?.indexed;
    println!(
        "opened in {:.2} s, {size} entries",
        start.elapsed().as_secs_f64()
    );
    let page = FindingsFilter {
        below: Some(size),
        limit: 50,
        ..FindingsFilter::default()
    };
    let of_service = FindingsFilter {
        service: Some("service-7".to_owned()),
        ..page.clone()
    };
    let name = store
        .findings_listed(&page)
        .await?
        .items
        .pop()
        .map(|item| (item.name, item.fingerprint));
    let (name, fingerprint) = name.ok_or("there is no finding")?;
    let now = store.now();
    let ago = |days: i64| now.plus(Span::from_secs(-days * 86_400));
    let lists = [
        ("list", page.clone()),
        (
            "list, severe",
            FindingsFilter {
                severities: vec![Severity::Critical, Severity::High],
                ..page.clone()
            },
        ),
        (
            "list, fixed",
            FindingsFilter {
                standing: Standing::Fixed,
                ..page.clone()
            },
        ),
        (
            "list, all",
            FindingsFilter {
                standing: Standing::All,
                ..page.clone()
            },
        ),
        (
            "list, with a fix",
            FindingsFilter {
                fixable: Some(true),
                ..page.clone()
            },
        ),
        (
            "list, of an age",
            FindingsFilter {
                seen_from: Some(ago(300)),
                ..page.clone()
            },
        ),
        ("list, of a service", of_service.clone()),
        (
            "list, of a tool",
            FindingsFilter {
                tool: Some("trivy".to_owned()),
                ..page.clone()
            },
        ),
        (
            "list, of a name",
            FindingsFilter {
                name: Some(name.clone()),
                ..page.clone()
            },
        ),
        (
            "list, of a fingerprint",
            FindingsFilter {
                fingerprint: Some(fingerprint.to_hex()),
                ..page.clone()
            },
        ),
        (
            "list, with a text that is rare",
            FindingsFilter {
                text: Some("no such text".to_owned()),
                ..page.clone()
            },
        ),
        (
            "list, with a text, of a service",
            FindingsFilter {
                text: Some("no such text".to_owned()),
                ..of_service.clone()
            },
        ),
        (
            "list, half way back",
            FindingsFilter {
                below: Some(size / 2),
                ..page.clone()
            },
        ),
        (
            "list, half way back, of a service",
            FindingsFilter {
                below: Some(2),
                ..of_service.clone()
            },
        ),
    ];
    for (what, filter) in &lists {
        time(
            what,
            async || Ok(store.findings_listed(filter).await?),
            |part| format!("{} of {:?}", part.items.len(), part.total),
        )
        .await?;
    }
    let since = [7, 30, 90].map(ago);
    for (what, filter) in [
        ("ages", &page),
        ("ages, of a service", &of_service),
        ("ages, half way back", &lists[12].1),
    ] {
        time(
            what,
            async || Ok(store.finding_ages(filter, &since).await?),
            |ages| {
                let all: u64 = ages.rows.iter().flat_map(|row| &row.counts).sum();
                format!("{all}, looked at {:?}", ages.looked)
            },
        )
        .await?;
    }
    let search = FindingsFilter {
        standing: Standing::All,
        name: Some(name),
        ..page.clone()
    };
    for (what, filter) in [
        ("names", &page),
        ("names, of a service", &of_service),
        ("names, severe", &lists[1].1),
        ("name that is searched for", &search),
    ] {
        time(
            what,
            async || Ok(store.finding_groups(filter).await?),
            |groups| {
                format!(
                    "{} names, looked at {:?}",
                    groups.items.len(),
                    groups.looked
                )
            },
        )
        .await?;
    }
    time(
        "services",
        async || Ok(store.services(size).await?),
        |all| all.len().to_string(),
    )
    .await?;
    store.close().await?;
    Ok(())
}
