//! The page of a workload: its counts, how far its release has come and why it waits.

use serde_json::Value;
use stdx::Time;

use super::Related;
use super::meta::{conditions, controlled_by, head, selector, text};
use super::page::Page;
use super::template::{containers, labels, volumes};
use crate::{CONFIRMED, Progress, Release, Stage, bar, human_duration, progress, release, waits};

pub(super) fn write(page: &mut Page, object: &Value, related: Related<'_>, now: Time) {
    let spec = &object["spec"];
    head(page, object);
    page.field("CreationTimestamp", text(&object["metadata"]["creationTimestamp"]));
    controlled_by(page, object);
    page.field("Selector", selector(&spec["selector"]));
    if let Some(p) = progress(object) {
        counts(page, object, &p);
        if !p.is_done() {
            let why = waits(object, related.pods, related.events, now);
            page.list("Waits For", why.iter().map(ToString::to_string));
        }
    }
    if let Some(release) = release(object) {
        groups(page, object, &release, now);
    }
    strategy(page, spec);
    page.section("Pod Template", |page| {
        let template = &spec["template"];
        labels(page, "Labels", &template["metadata"]["labels"]);
        let pod = &template["spec"];
        containers(page, "Init Containers", &pod["initContainers"], &Value::Null);
        containers(page, "Containers", &pod["containers"], &Value::Null);
        volumes(page, &pod["volumes"]);
    });
    conditions(page, object);
}

/// The release by groups and cells, and what a person has to do about it.
fn groups(page: &mut Page, object: &Value, release: &Release, now: Time) {
    page.some("Phase", Some(&release.phase));
    if let Some(w) = &release.waits_for {
        let since = w.since.map_or(String::new(), |t| format!(" (for {})", human_duration(now.since(t))));
        page.field("Release Waits For", format!("{}{since}", w.message));
    }
    if release.unconfirmed().is_some() {
        let name = text(&object["metadata"]["name"]);
        page.field("To Go On", format!("knarr release confirm {name} (or annotate {CONFIRMED}=true)"));
    }
    if !release.groups.is_empty() {
        page.section("Groups", |page| page.block(&release.group_table(now).text()));
    }
    if !release.cells.is_empty() {
        page.section("Cells", |page| page.block(&release.cell_table(false).text()));
    }
}

fn counts(page: &mut Page, object: &Value, p: &Progress) {
    page.field(
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            p.desired,
            p.updated,
            p.replicas,
            p.available,
            (p.replicas - p.available).max(0)
        ),
    );
    if p.target != p.desired {
        page.field(
            "Batch",
            format!("{} of {} pods at the new revision, the rest held by the partition", p.target, p.desired),
        );
    }
    let status = &object["status"];
    page.some("Update Revision", status["updateRevision"].as_str());
    page.some("Current Revision", status["currentRevision"].as_str());
    let stage = match &p.stage {
        Stage::Unseen => "waiting for the controller to see the newest spec".to_owned(),
        Stage::Rolling(what) => what.clone(),
        Stage::Paused => "paused".to_owned(),
        Stage::Failed(why) => format!("failed: {why}"),
        Stage::Done => "complete".to_owned(),
    };
    page.field("Rollout", format!("[{}] {stage}", bar(p.updated_available, p.target, 20)));
}

fn strategy(page: &mut Page, spec: &Value) {
    let strategy =
        if spec["updateStrategy"].is_object() { &spec["updateStrategy"] } else { &spec["strategy"] };
    let Some(map) = strategy.as_object() else { return };
    page.section("Update Strategy", |page| {
        for (name, value) in map {
            match value.as_object() {
                Some(below) => below.iter().for_each(|(n, v)| field(page, n, v)),
                None => field(page, name, value),
            }
        }
    });
    page.some("Min Ready Seconds", Some(&text(&spec["minReadySeconds"])));
}

fn field(page: &mut Page, name: &str, value: &Value) {
    let empty = value.as_object().is_some_and(serde_json::Map::is_empty) || value.is_null();
    if !empty {
        page.field(name, text(value));
    }
}
