//! The brake, in front of a server that has the kind Guard.

use expect_test::expect;

use crate::fixture::World;

#[tokio::test(start_paused = true)]
async fn the_brake_is_set_and_released_and_each_may_be_said_twice() {
    let w = World::cluster("brake").await;
    assert_eq!(w.out("brake status").await, "the brake is off\n");
    assert_eq!(w.out("brake off").await, "the brake is off already\n");
    let on =
        "the brake is on: no controller restarts, removes or destroys anything until `knarr brake off`\n";
    assert_eq!(w.out("brake on --reason fire-drill").await, on);
    let guard = w.object("guard default").await;
    expect![[r#"{"by":"admin","on":true,"reason":"fire-drill"}"#]]
        .assert_eq(&guard["spec"]["brake"].to_string());
    assert_eq!(w.out("brake on").await, "the brake is on already by admin: fire-drill\n");
    assert_eq!(w.unfinished("brake status").await, "the brake is on by admin: fire-drill\n");
    assert_eq!(w.out("brake on --reason other").await, on, "another reason is news");
    let json: serde_json::Value = serde_json::from_str(&w.unfinished("brake status -o json").await).unwrap();
    assert_eq!((&json["on"], &json["reason"]), (&true.into(), &"other".into()));
    assert_eq!(w.out("brake off").await, "the brake is off\n");
    expect![[r#"{"on":false}"#]].assert_eq(&w.object("guard default").await["spec"]["brake"].to_string());
}

#[tokio::test(start_paused = true)]
async fn a_server_without_guards_is_told_apart_from_a_brake_that_is_off() {
    let w = World::new("no-brake").await;
    expect![[r#"
        error: the server has no kind Guard, so that there is no brake: `knarr install` prints its definition, and its controllers must run with the guard
    "#]]
    .assert_eq(&w.err("brake on").await);
}
