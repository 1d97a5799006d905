//! What the buttons write.

use serde_json::{Value, json};

use crate::browser::Site;
use crate::world::APPS;

/// A site whose application waits after this group.
async fn waiting(group: i64) -> Site {
    let site = Site::new().await;
    site.world.deploy(1).await;
    let status = json!({"phase": "WaitingForConfirmation", "groups": [
        {"index": group, "name": format!("group-{group}"), "phase": "WaitingForConfirmation"}]});
    site.world.patch(&APPS, ("default", "web"), "status", json!({"status": status})).await;
    site
}

async fn press(site: &Site, verb: &str, body: &str) -> (u16, Value) {
    let answer = site.call("POST", &format!("/api/release/default/web/{verb}"), body).await;
    (answer.code, answer.json())
}

#[tokio::test]
async fn each_button_writes_its_field_and_no_other() {
    let site = waiting(0).await;
    let (before, confirmed) = (site.world.app().await, "cafe.sofastack.io/upgrade-confirmed");
    assert_eq!(press(&site, "confirm", r#"{"group": 0}"#).await.0, 200);
    assert_eq!(press(&site, "pause", "").await.0, 200);
    let app = site.world.app().await;
    assert_eq!(
        (&app["metadata"]["annotations"][confirmed], &app["spec"]["strategy"]["pause"]),
        (&json!("true"), &json!(true))
    );
    assert_eq!(press(&site, "continue", "").await.0, 200);
    assert_eq!(press(&site, "rollback", "").await.0, 200);
    let mut app = site.world.app().await;
    assert_eq!(
        app["metadata"]["annotations"],
        json!({confirmed: "true", "knarr.dev/rollback-to": "previous"})
    );
    assert_eq!(app["spec"]["strategy"]["pause"], false);
    app["spec"]["strategy"].as_object_mut().unwrap().remove("pause");
    assert_eq!((&app["spec"], &app["status"]), (&before["spec"], &before["status"]));
}

#[tokio::test]
async fn a_second_press_does_not_confirm_the_group_that_was_not_seen() {
    let site = waiting(1).await;
    let (code, answer) = press(&site, "confirm", r#"{"group": 0}"#).await;
    assert_eq!(code, 409);
    assert_eq!(answer["error"], "group-1 waits now, which is not what you saw: look again");
    assert!(site.world.app().await["metadata"].get("annotations").is_none());
}

#[tokio::test]
async fn nothing_is_confirmed_while_nothing_waits() {
    let site = Site::new().await;
    site.world.deploy(1).await;
    assert_eq!(press(&site, "confirm", "").await.0, 409);
}

#[tokio::test]
async fn buttons_pressed_at_once_all_count_however_they_meet() {
    let site = waiting(0).await;
    let presses = ["pause", "confirm", "rollback"].map(|verb| press(&site, verb, ""));
    let [a, b, c] = presses;
    let codes = tokio::join!(a, b, c);
    assert_eq!([codes.0.0, codes.1.0, codes.2.0], [200; 3]);
    let app = site.world.app().await;
    assert_eq!(app["metadata"]["annotations"].as_object().unwrap().len(), 2);
    assert_eq!(app["spec"]["strategy"]["pause"], true);
}
