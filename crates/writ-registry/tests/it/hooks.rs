//! Deliveries of webhooks are remembered, also by a restored store, and forgotten after their time.

use writ_model::{Digest, Span};
use writ_registry::directory::Alias;

use crate::common::{Place, each_database};

each_database!(deliveries_are_remembered);

pub async fn deliveries_are_remembered(place: Place) {
    let store = place.create().await;
    let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
    let find = async |id: &str, body, by_body| {
        let found = store.hook_delivery("git", id, body, by_body).await;
        found.unwrap().map(|found| (found.id, found.answer))
    };
    assert_eq!(find("a", one, true).await, None);
    for answer in ["first", "second"] {
        store
            .keep_hook_delivery("git", "a", one, answer)
            .await
            .unwrap();
    }
    let first = Some(("a".to_owned(), "first".to_owned()));
    assert_eq!(find("a", one, false).await, first);
    assert_eq!(find("a", other, false).await, first, "the caller compares");
    assert_eq!(find("b", one, true).await, first);
    assert_eq!(find("b", one, false).await, None);
    assert_eq!(find("b", other, true).await, None);
    let elsewhere = store.hook_delivery("lab", "a", one, true).await.unwrap();
    assert_eq!(elsewhere, None, "ids are of one webhook");
    let long = "x".repeat(300);
    assert!(
        store
            .keep_hook_delivery("git", &long, one, "")
            .await
            .is_err()
    );

    assert_eq!(
        store.hooks_heard().await.unwrap(),
        [("git".to_owned(), store.now())]
    );
    let before = store.now();
    place.clock.advance(60);
    store
        .keep_hook_delivery("git", "b", other, "later")
        .await
        .unwrap();
    let forgotten = store
        .forget_hook_deliveries(before.plus(Span::from_secs(1)))
        .await;
    assert_eq!(forgotten.unwrap(), 1);
    assert_eq!(find("a", one, true).await, None);
    assert!(find("b", other, false).await.is_some());

    // One account is one pseudonym, whatever its case; of two systems it is two.
    let who = |system: &str, name: &str| store.outside_principal(system, name).unwrap();
    assert_eq!(who("github", "Octo-Cat"), who("github", " octo-cat"));
    assert_ne!(who("github", "octo-cat"), who("gitlab", "octo-cat"));
    let bound = |text: &str| store.alias_id(&Alias::parse(text).unwrap()).unwrap();
    assert_eq!(who("github", "octo-cat"), bound("github:octo-cat"));
    assert_eq!(who("mail", "Ada@Example.org"), bound("ada@example.org"));
    assert_eq!(who("other", "gitlab:ada"), bound("gitlab:ada"));
    assert_ne!(who("other", "local:ada"), bound("local:ada"));
    assert_ne!(who("other", "ada"), who("another", "ada"));
    store.close().await.unwrap();
}
