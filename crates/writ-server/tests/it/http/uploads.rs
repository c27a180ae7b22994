//! Large files in parts, ahead of the statement that names them.

use reqwest::Method;
use serde_json::Value;
use writ_model::Digest;

use super::Server;

async fn part(
    server: &Server,
    digest: Digest,
    offset: usize,
    length: usize,
    bytes: &[u8],
) -> (u16, Value) {
    let path =
        format!("/api/v1/uploads/{digest}?offset={offset}&length={length}&mediaType=text%2Fplain");
    let request = server
        .request(Method::POST, &path)
        .header("content-type", "application/octet-stream");
    let answer = request.body(bytes.to_vec()).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_file_comes_in_parts_and_an_interruption_costs_only_its_part() {
    let server = Server::empty(|config| config.limits.upload_bytes = 1_000).await;
    let bytes: Vec<u8> = (0..900_u32).map(|at| at.to_le_bytes()[0]).collect();
    let digest = Digest::of(&bytes);
    let path = format!("/api/v1/uploads/{digest}");
    assert_eq!(server.json(&path).await.1["offset"], 0);
    let (status, here) = part(&server, digest, 0, 900, &bytes[..400]).await;
    assert_eq!(
        (status, &here["offset"], &here["stored"]),
        (200, &400.into(), &false.into())
    );
    // Twice the same part, and one that leaves a gap: both learn where to go on.
    for offset in [0, 500] {
        let (status, problem) =
            part(&server, digest, offset, 900, &bytes[offset..offset + 100]).await;
        assert_eq!(status, 409, "{problem}");
        assert_eq!(problem["type"], "urn:writ:problem:upload-offset");
        assert_eq!(problem["found"][0], "400 bytes are here");
    }
    // More than was said is not taken; what came before stays.
    assert_eq!(part(&server, digest, 400, 900, &[0; 600]).await.0, 413);
    assert_eq!(server.json(&path).await.1["offset"], 400);
    assert!(!server.app.store.has_blob(digest).await.unwrap());
    let (status, whole) = part(&server, digest, 400, 900, &bytes[400..]).await;
    assert_eq!((status, &whole["stored"]), (201, &true.into()), "{whole}");
    assert!(server.app.store.has_blob(digest).await.unwrap());
    // Once more is no work.
    let (status, again) = part(&server, digest, 0, 900, &bytes[..10]).await;
    assert_eq!((status, &again["stored"]), (200, &true.into()));
    let left = std::fs::read_dir(server.app.store.paths().root.join("uploads")).unwrap();
    assert_eq!(left.count(), 0);
    server.end().await;
}

#[tokio::test]
async fn what_is_not_the_file_is_refused_and_forgotten() {
    let server = Server::empty(|config| config.limits.upload_bytes = 1_000).await;
    let digest = Digest::of(b"what was promised");
    let (status, problem) = part(&server, digest, 0, 9, b"something").await;
    assert_eq!(
        (status, &problem["type"]),
        (422, &"urn:writ:problem:refused".into())
    );
    assert_eq!(
        server.json(&format!("/api/v1/uploads/{digest}")).await.1["offset"],
        0
    );
    assert!(!server.app.store.has_blob(digest).await.unwrap());

    let (status, problem) = part(&server, digest, 0, 1_001, b"x").await;
    assert_eq!(
        (status, &problem["type"]),
        (413, &"urn:writ:problem:too-large".into())
    );
    let (status, _) = server.json("/api/v1/uploads/..%2F..%2Fetc").await;
    assert_eq!(status, 404);
    let bare = format!("/api/v1/uploads/{digest}?offset=0");
    let answer = server.request(Method::POST, &bare).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    server.end().await;
}
