//! The backup that a running server gives.

use apiserver::User;
use bytes::Bytes;

use crate::fixture::{MAPS, World, config_map};

#[tokio::test(start_paused = true)]
async fn a_running_server_gives_a_whole_backup_to_masters_alone() {
    let w = World::new().await;
    for i in 0..700 {
        w.post(MAPS, config_map(&format!("m{i}"), "x")).await.created();
    }
    let response = w.send("GET", "/knarr/backup", &[], Bytes::new()).await;
    assert_eq!(response.status(), 200);
    let bytes = response.into_body().collect().await.unwrap();
    let found = store::verify_backup(&mut bytes.as_ref()).unwrap();
    assert_eq!(found.live["configmaps"], 700);
    assert_eq!(found.head.0, w.revision());
    let other = w.as_user(User::new("somebody", &[]));
    other.get("/knarr/backup").await.refused(403);
}
