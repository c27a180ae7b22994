//! Tokens of programs in both databases, and in a backup.

use writ_model::Span;
use writ_registry::backup::{BackupOptions, RestoreOptions, restore};
use writ_registry::{NewToken, Store, TokenCheck};

use crate::common::{Place, each_database};

fn wanted(name: &str) -> NewToken {
    NewToken {
        name: name.to_owned(),
        services: vec!["payments".to_owned(), "org/orders".to_owned()],
        actions: vec!["record-evidence".to_owned()],
        life: Span::from_secs(86_400),
        owner: None,
    }
}

each_database!(a_token_is_kept_by_its_hash_and_comes_back_with_a_backup);
pub async fn a_token_is_kept_by_its_hash_and_comes_back_with_a_backup(place: Place) {
    let store = place.create().await;
    let (_, secret) = store.new_token(wanted("ci")).await.unwrap();
    let gone = store.new_token(wanted("old")).await.unwrap().0;
    store.revoke_token(&gone.id).await.unwrap();
    let TokenCheck::Good(found, who) = store.check_token(&secret).await.unwrap() else {
        panic!("it counts")
    };
    assert_eq!(found.services, ["payments", "org/orders"]);
    assert_eq!(found.actions, ["record-evidence"]);
    assert!(who.0.starts_with("p_"));

    let backup = place.dir.path().join("backup");
    // A backup that recorded itself would be one entry behind the head that this machine has seen.
    let unrecorded = BackupOptions {
        record: false,
        ..BackupOptions::default()
    };
    store
        .backup(&backup, unrecorded, &mut |_, _, _| {})
        .await
        .unwrap();
    let before = store.tokens().await.unwrap();
    store.close().await.unwrap();
    // Nobody finds a token in what is stored.
    let secret_part = secret.as_str();
    for folder in [place.directory(), backup.clone()] {
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes
                    .windows(64)
                    .any(|part| part == &secret_part.as_bytes()[5..69]);
                assert!(!found, "{}", path.display());
            }
        }
    }
    let to = place.dir.path().join("restored");
    let options = RestoreOptions {
        clock: place.clock.clone(),
        ..RestoreOptions::new(place.trust())
    };
    restore(&backup, &to, &options, &mut |_, _, _| {})
        .await
        .unwrap();
    let store = Store::open(&to, place.options()).await.unwrap();
    assert_eq!(store.tokens().await.unwrap(), before);
    assert!(matches!(
        store.check_token(&secret).await.unwrap(),
        TokenCheck::Good(..)
    ));
}
