//! What a person can do about a reason.

use view::{Answer, Reason};

use super::chain::Link;
use crate::output::name;
use crate::scene::key_of;
use crate::words::namespace_flag;

/// Adds advice for each reason that a person has a say in.
pub(super) fn give(subject: &Link, out: &mut Answer) {
    let at = namespace_flag(&key_of(&subject.object).namespace);
    let reasons: Vec<Reason> = out.held.iter().chain(&out.waits_for).cloned().collect();
    for reason in &reasons {
        if let Some(advice) = for_reason(reason, &out.object, &at) {
            out.advise(advice);
        }
    }
    if view::progress(&subject.object).is_some_and(|p| p.stage == view::Stage::Paused) {
        out.advise(format!("let it go on: knarr release continue {}{at}", name(&subject.object)));
    }
}

fn for_reason(reason: &Reason, subject: &str, at: &str) -> Option<String> {
    let by = if reason.by.is_empty() { subject } else { &reason.by };
    let says = |word: &str| reason.message.contains(word);
    Some(match reason.reason.as_str() {
        "Confirmation" => {
            let cafe = if by.starts_with("cafedeployment") { by } else { subject };
            format!("look at the group that is done, then: knarr release confirm {cafe}{at}")
        }
        "Paused" => format!("let it go on: knarr release continue {by}{at}"),
        "NoRoom" => {
            "make room in that cell, or let its quota move: topology.autoReschedule.enable".to_owned()
        }
        "CellLost" => "bring the nodes of that cell back; the other cells go on meanwhile".to_owned(),
        _ if says("the release is held") => {
            format!("mend the template and apply it, or go back: knarr release abort {by}{at}")
        }
        "Partition" => format!("let more pods follow: lower the partition (kubectl edit {by}{at})"),
        "UpdateHeld" if says("paused") => format!("let it go on: knarr release continue {by}{at}"),
        "UpdateHeld" if says("OnDelete") => {
            format!("delete the pods when it suits, or choose RollingUpdate (kubectl edit {by}{at})")
        }
        "UpdateHeld" | "DeleteLimited" if says("unavailable") => {
            "make the unavailable pods well (`knarr why pod/NAME` for each), or raise maxUnavailable"
                .to_owned()
        }
        "ScaleUpLimited" => {
            "make the unavailable pods well, or raise scaleStrategy.maxUnavailable".to_owned()
        }
        "PreDeleteHook" | "InPlaceUpdateHook" => {
            "whoever declared the hook takes its label or finalizer off the pod when it is ready".to_owned()
        }
        "Held" if says("brake") => "release the brake when it is safe: knarr brake off".to_owned(),
        "Cordoned" => format!("let pods come again: kubectl uncordon {}", by.trim_start_matches("node/")),
        "Finalizer" if says("taken off") => {
            "find out why its owner has not taken it off; taking it off by hand skips that owner's work"
                .to_owned()
        }
        _ => return None,
    })
}
