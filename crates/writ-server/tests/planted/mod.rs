//! A store full of planted scripts: the demonstration's own statements, with every text that the
//! door lets anybody choose replaced by something that must never run.
//!
//! Fields are found, not listed: each string of each statement and finding is tried, and stays
//! planted where the predicate still accepts it. A new free-text field is planted without a change here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use writ_evidence::predicate::PredicateType;
use writ_model::{Digest, EvidenceId, Finding, Timestamp};
use writ_registry::directory::roster;
use writ_registry::{Blob, NewRecord, Query, Store, StoreOptions, findings};
use writ_server::demo;

/// What is planted. `writXss` is the mark that a script leaves when it runs, `data-planted` the one
/// of an element that became part of a page.
pub const PLANTED: [&str; 20] = [
    "<script>window.writXss1=1;alert(1)</script>",
    "\"><img src=x data-planted onerror=\"window.writXss2=1\">",
    "'><svg data-planted onload=window.writXss3=1>",
    "javascript:window.writXss4=1//",
    "=HYPERLINK(\"http://evil.example\",\"x\")",
    "[x](javascript:alert(1)) ![i](https://evil.example/i.png)",
    "a|b|\n# head\n- list <b data-planted>",
    "\u{202e}gnp.exe\u{2066}",
    "\u{1b}[2J\u{1b}]8;;http://evil.example\u{7}link",
    "{{7*7}}${7*7}<%= 7 %>",
    "<math><mtext data-planted><style>@import'//evil.example'</style>",
    "data:text/html,<script>window.writXss12=1</script>",
    "//evil.example/x",
    "@SUM(1+1)*cmd|'/C calc'!A0",
    "+1+1",
    "-2+3",
    "\t=1+1",
    "</title></textarea></style></script><script>window.writXss18=1</script>",
    "../../../etc/passwd?%00#'\"",
    "x\" autofocus onfocus=\"window.writXss20=1\" data-planted=\"",
];

/// Statements that were planted and those that the door refused.
#[derive(Debug, Default)]
pub struct Sown {
    /// Fields that took a planted text, by predicate.
    pub fields: BTreeMap<String, usize>,
    /// Why statements were refused.
    pub refused: Vec<String>,
}

/// The text that takes the place of another: always the same one for the same, so that what
/// belonged together still does.
fn planted(text: &str) -> String {
    let sum = text.bytes().fold(7_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    });
    let mark: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(12)
        .collect();
    format!("{}{mark}", PLANTED[sum % PLANTED.len()])
}

/// Replaces each text that `accepts` lets go, and counts them.
fn sow(
    value: &mut Value,
    ids: &BTreeMap<String, String>,
    accepts: &dyn Fn(&Value) -> bool,
) -> usize {
    let mut places = Vec::new();
    collect(value, &mut String::new(), &mut places);
    let mut count = 0;
    for place in places {
        // Words of a list that the index reads where the predicate is somebody else's.
        if ["evidenceType", "outcome", "origin", "producerClass"]
            .iter()
            .any(|word| place.ends_with(word))
        {
            continue;
        }
        let Some(Value::String(text)) = value.pointer(&place).cloned() else {
            continue;
        };
        let other = match ids.get(&text) {
            Some(id) => id.clone(),
            None => planted(&text),
        };
        if let Some(slot) = value.pointer_mut(&place) {
            *slot = Value::String(other);
        }
        if accepts(value) {
            count += 1;
        } else if let Some(slot) = value.pointer_mut(&place) {
            *slot = Value::String(text);
        }
    }
    count
}

/// Addresses of all texts.
fn collect(value: &Value, here: &mut String, places: &mut Vec<String>) {
    let length = here.len();
    match value {
        Value::String(_) => places.push(here.clone()),
        Value::Array(list) => {
            for (at, one) in list.iter().enumerate() {
                here.push_str(&format!("/{at}"));
                collect(one, here, places);
                here.truncate(length);
            }
        }
        Value::Object(map) => {
            for (name, one) in map {
                here.push('/');
                here.push_str(&name.replace('~', "~0").replace('/', "~1"));
                collect(one, here, places);
                here.truncate(length);
            }
        }
        _ => {}
    }
}

/// Makes the store in `place`, from the last two weeks of the demonstration.
pub async fn store(place: &Path, now: Timestamp) -> (Arc<Store>, Sown) {
    let filled = demo::fill(now, 2).await.unwrap();
    let options = StoreOptions::new(place.join("trust")).create();
    let store = Arc::new(Store::open(place.join("store"), options).await.unwrap());
    // What people are called is planted as well.
    for name in &PLANTED[..3] {
        store.local_principal(name).await.unwrap();
    }
    // People of lists have names too, and teams; accounts are anything that an account can be.
    let by = writ_evidence::predicate::Actor {
        principal: store.local_principal("root").await.unwrap(),
        role: None,
        assurance: writ_model::Assurance::LocalUser,
        assertion: None,
    };
    for (at, name) in PLANTED.iter().enumerate() {
        let list = serde_json::json!({"people": [{
            "id": name.trim(), "name": name.trim(), "teams": [name.trim()],
            "accounts": [format!("local:{name}")],
        }, {"id": format!("p-{at}")}]});
        // What no name can be is refused.
        if let Ok(list) = roster::parse(list.to_string().as_bytes()) {
            store.import_roster(&list, &by).await.unwrap();
        }
    }
    assert!(store.persons().await.unwrap().len() > PLANTED.len());
    let mut sown = Sown::default();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let all = filled.store.evidence(&Query::default()).await.unwrap();
    assert!(all.next.is_none(), "more entries than one page");
    for item in all.items.into_iter().rev() {
        let old = filled.store.get(&item.id.to_string()).await.unwrap();
        let mut statement = serde_json::to_value(&old.statement).unwrap();
        let kind = old.statement.predicate_type.clone();
        let mut blobs = Vec::new();
        if let Some(digest) = item.findings {
            let read = filled.store.findings(digest).await.unwrap();
            let encoded =
                findings::encode(&read.into_iter().map(finding).collect::<Vec<_>>()).unwrap();
            ids.insert(digest.to_string(), Digest::of(&encoded).to_string());
            blobs.push(Blob::bytes(encoded, findings::MEDIA_TYPE));
        }
        if let Some(report) = statement
            .pointer("/predicate/report/digest")
            .and_then(Value::as_str)
        {
            let bytes = PLANTED.join("\n").into_bytes();
            ids.insert(report.to_owned(), Digest::of(&bytes).to_string());
            statement["predicate"]["report"]["size"] = bytes.len().into();
            blobs.push(Blob::bytes(bytes, "text/html"));
        }
        let known = PredicateType::find(&kind);
        let count = sow(&mut statement["predicate"], &ids, &|predicate| {
            known.is_none_or(|known| (known.check)(predicate).is_ok())
        });
        for subject in statement["subject"].as_array_mut().into_iter().flatten() {
            if let Some(name) = subject["name"].as_str().map(planted) {
                subject["name"] = name.into();
            }
            for value in subject["digest"]
                .as_object_mut()
                .into_iter()
                .flat_map(|map| map.values_mut())
            {
                if let Some(id) = value.as_str().and_then(|text| ids.get(text)) {
                    *value = id.as_str().into();
                }
            }
        }
        if let Some(facts) = statement
            .pointer_mut("/predicate/facts")
            .and_then(Value::as_object_mut)
        {
            facts.insert(PLANTED[1].to_owned(), PLANTED[0].into());
        }
        for digest in digests(&statement) {
            if let Ok(bytes) = filled.store.locker().get_bytes(digest, 64 << 20) {
                blobs.push(Blob::bytes(bytes, "application/json"));
            }
        }
        let payload = writ_evidence::canonical::to_vec(&statement).unwrap();
        let id = EvidenceId::of_payload(&payload);
        let mut record = NewRecord::payload(payload);
        for blob in blobs {
            record = record.with(blob);
        }
        match store.record(record).await {
            Ok(_) => {
                ids.insert(item.id.to_string(), id.to_string());
                ids.insert(item.id.digest().to_string(), id.digest().to_string());
                ids.insert(item.id.digest().to_hex(), id.digest().to_hex());
                *sown.fields.entry(kind).or_default() += count;
            }
            Err(error) => sown.refused.push(format!("{kind}: {error}")),
        }
    }
    store.settle().await.unwrap();
    (store, sown)
}

/// A finding with everything planted that its type lets be chosen.
fn finding(finding: Finding) -> Finding {
    let mut value = serde_json::to_value(&finding).unwrap();
    sow(&mut value, &BTreeMap::new(), &|value| {
        serde_json::from_value::<Finding>(value.clone()).is_ok()
    });
    serde_json::from_value(value).unwrap()
}

/// Everything in a statement that looks like a digest.
fn digests(value: &Value) -> Vec<Digest> {
    let mut places = Vec::new();
    collect(value, &mut String::new(), &mut places);
    places
        .iter()
        .filter_map(|place| value.pointer(place)?.as_str()?.parse().ok())
        .collect()
}
