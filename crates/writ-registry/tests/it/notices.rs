//! What is said outside: once on each channel, later where a channel is away.

use writ_model::{Span, Timestamp};
use writ_registry::Store;
use writ_registry::notices::{Notice, NoticeState};

use crate::common::Place;

/// Queues a notice about an entry on one channel; how many were new.
pub async fn said(store: &Store, position: u64) -> u64 {
    let notice = about(position);
    let looked = position + 1;
    let queued = store.queue_notices(&[(notice, "security")], looked).await;
    queued.unwrap()
}

fn about(position: u64) -> Notice {
    Notice {
        key: format!("break-glass/{position}"),
        position: Some(position),
        event: "break-glass-opened".to_owned(),
        service: "payments-api".to_owned(),
        title: "The glass was broken".to_owned(),
        body: "{}".to_owned(),
    }
}

/// Runs on both databases.
pub async fn a_notice_is_said_once_on_each_channel(place: Place) {
    let store = place.create().await;
    assert_eq!(store.notices_looked().await.unwrap(), None);
    let both = [(about(3), "security"), (about(3), "mail")];
    assert_eq!(store.queue_notices(&both, 7).await.unwrap(), 2);
    assert_eq!(store.queue_notices(&both, 8).await.unwrap(), 0);
    assert_eq!(store.notices_looked().await.unwrap(), Some(8));
    let due = store.due_notices(10).await.unwrap();
    assert_eq!(due.len(), 2);
    assert_eq!(due[0].notice, about(3));
    // One channel is away, the other takes it.
    let later = store.now().plus(Span::from_secs(60));
    store
        .notice_tried(&due[0], NoticeState::Waiting, later, "no answer")
        .await
        .unwrap();
    store
        .notice_tried(&due[1], NoticeState::Sent, later, "200")
        .await
        .unwrap();
    assert!(store.due_notices(10).await.unwrap().is_empty());
    // A late answer changes nothing that has ended.
    store
        .notice_tried(&due[1], NoticeState::GivenUp, later, "late")
        .await
        .unwrap();
    let all = store.notices(None, 10).await.unwrap();
    let of = |channel: &str| all.iter().find(|one| one.channel == channel).unwrap();
    let (mail, security) = (of(&due[0].channel), of(&due[1].channel));
    assert_eq!((mail.state, mail.tries), (NoticeState::Waiting, 1));
    assert_eq!(
        (mail.note.as_str(), mail.due_at, mail.ended_at),
        ("no answer", later, None)
    );
    assert_eq!((security.state, security.tries), (NoticeState::Sent, 1));
    assert!(security.ended_at.is_some());
    let one = store.notices(Some(&due[1].channel), 10).await.unwrap();
    assert_eq!(one.len(), 1);
    let far = Timestamp::from_micros(i64::MAX);
    assert_eq!(store.forget_notices(far).await.unwrap(), 1);
    assert_eq!(store.notices(None, 10).await.unwrap().len(), 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn in_a_file() {
    a_notice_is_said_once_on_each_channel(Place::new()).await;
}
