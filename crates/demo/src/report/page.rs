//! The page around the drawings.

use stdx::Time;

use super::Conditions;
use super::chart::{self, Axis, Cost};
use super::series::{bars, lanes, seconds, steps, versions};
use super::svg::escape;
use crate::facts::{Chronicle, SECOND};
use crate::judge::Verdict;
use crate::steps::{SHOP, StepId};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn page(
    seen: &Chronicle,
    verdicts: &[Verdict],
    loose: &[String],
    conditions: &Conditions,
) -> String {
    let is_whole = verdicts.len() == conditions.steps.len();
    let holds = is_whole && loose.is_empty() && verdicts.iter().all(Verdict::holds);
    let parts = [
        head(holds, verdicts, conditions),
        table(verdicts, loose),
        drawings(seen, verdicts, conditions),
        controls(seen, verdicts),
        about(conditions),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Knarr: a release by cells</title><style>{STYLE}</style></head><body><main>{}</main></body></html>\n",
        parts.join("\n")
    )
}

fn head(holds: bool, verdicts: &[Verdict], conditions: &Conditions) -> String {
    let sum = |is_control: bool, of: fn(&Verdict) -> u64| -> u64 {
        verdicts.iter().filter(|v| v.step.is_control() == is_control).map(of).sum()
    };
    let (class, word) = if holds { ("yes", "all held") } else { ("no", "not all held") };
    let zero = if sum(false, Verdict::charged) == 0 { "good" } else { "bad" };
    let numbers = [
        ("", sum(false, |v| v.requests), "requests to the drained application in its steps"),
        (zero, sum(false, Verdict::charged), "of them failed"),
        ("", sum(false, |v| v.excused), "open in the dead cell at the kill, counted apart"),
        ("bad", sum(true, |v| v.failed), "failed in the two negative controls"),
    ];
    let numbers: String = numbers
        .into_iter()
        .map(|(class, n, what)| {
            format!("<div><b class=\"{class}\">{}</b><span class=\"soft\">{what}</span></div>", grouped(n))
        })
        .collect();
    let began = Time::from_micros(conditions.began);
    format!(
        "<h1>A release by cells, under load</h1>\
         <p class=\"soft\"><span class=\"verdict {class}\">{word}</span> Knarr {}, {began}, {} simulated nodes beside it</p>\
         <div class=\"big\">{numbers}</div>",
        escape(&conditions.version),
        conditions.nodes
    )
}

fn table(verdicts: &[Verdict], loose: &[String]) -> String {
    let rows: String = verdicts.iter().enumerate().map(|(i, v)| row(i + 1, v)).collect();
    let loose = list(loose, "why");
    format!(
        "<section class=\"card\"><h2>Steps</h2><div class=\"scroll\"><table><thead><tr><th>#</th><th>step</th>\
         <th class=\"n\">requests</th><th class=\"n\">failed</th><th>expected</th><th>verdict</th></tr></thead>\
         <tbody>{rows}</tbody></table></div>{loose}</section>"
    )
}

fn row(number: usize, verdict: &Verdict) -> String {
    let step = verdict.step.step();
    let failed = match verdict.excused {
        0 => grouped(verdict.failed),
        excused => format!("{} + {excused} open at the kill", grouped(verdict.charged())),
    };
    let (class, word) = if verdict.holds() { ("good", "held") } else { ("bad", "did not hold") };
    format!(
        "<tr><td>{number}</td><td><b>{}</b><br><span class=\"soft\">{}</span>{}{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{failed}</td><td>{}</td><td class=\"{class}\">{word}</td></tr>",
        escape(step.name),
        escape(step.what),
        list(&verdict.remarks, ""),
        list(&verdict.complaints, "why"),
        grouped(verdict.requests),
        escape(step.expected)
    )
}

fn list(lines: &[String], class: &str) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|l| format!("<li>{}</li>", escape(l))).collect();
    format!("<ul class=\"{class}\">{items}</ul>")
}

fn drawings(seen: &Chronicle, verdicts: &[Verdict], conditions: &Conditions) -> String {
    let told: Vec<StepId> = verdicts.iter().map(|v| v.step).collect();
    let (begin, end) = seen.bounds();
    let axis = Axis { begin, end, steps: steps(seen, &told) };
    let all = seconds(seen, SHOP, begin, end);
    let lanes = lanes(seen, SHOP);
    let mut versions = versions(&all);
    // Those that never answered have pods all the same.
    for version in lanes.iter().flat_map(|l| l.stretches.iter().map(|s| &s.version)) {
        if !versions.contains(version) {
            versions.push(version.clone());
        }
    }
    let traffic = chart::traffic(&axis, &all, conditions.rate);
    let shares = chart::shares(&axis, &all, &versions);
    let pods = chart::pods(&axis, &lanes, &bars(seen, SHOP), &versions);
    let shades: Vec<(String, &str)> =
        versions.iter().enumerate().map(|(i, v)| (format!("v{}", i % 5), v.as_str())).collect();
    let named = |rest: &[(&str, &str)]| {
        let rest = rest.iter().map(|(class, word)| ((*class).to_owned(), *word));
        keys(shades.iter().cloned().chain(rest))
    };
    let states = [
        ("draining", "gate closed, draining"),
        ("out", "out of service"),
        ("failed", "its process fails"),
        ("group", "group on its way"),
    ];
    format!(
        "<section class=\"card\"><h2>Requests</h2><p class=\"soft\">What {SHOP} answered in each second, as an independent \
         open-loop load saw it. Numbers above are the steps.</p>{traffic}{}</section>\
         <section class=\"card\"><h2>Versions</h2><p class=\"soft\">Which version answered.</p>{shares}{}</section>\
         <section class=\"card\"><h2>Groups and pods</h2><p class=\"soft\">Every pod by cell. A pod leaves service before \
         its process is replaced, and keeps its row: it is the same pod.</p>{pods}{}</section>",
        keys(
            [("ok", "answered per second"), ("failed", "failed"), ("p99", "99 of 100 answered within")]
                .map(|(c, w)| (c.to_owned(), w))
        ),
        named(&[]),
        named(&states)
    )
}

fn keys<'a>(all: impl IntoIterator<Item = (String, &'a str)>) -> String {
    let items: String = all
        .into_iter()
        .map(|(class, word)| format!("<span><i class=\"{class}\"></i>{}</span>", escape(word)))
        .collect();
    format!("<div class=\"keys\">{items}</div>")
}

/// The same release three times: with draining, without, and as a stock Deployment does it.
fn controls(seen: &Chronicle, verdicts: &[Verdict]) -> String {
    let order = [StepId::Release, StepId::Undrained, StepId::Stock];
    let told = order.into_iter().filter(|id| verdicts.iter().any(|v| v.step == *id));
    let costs: Vec<Cost<'_>> = told
        .filter_map(|id| {
            let (span, step) = (seen.span(id)?, id.step());
            let seconds = seconds(seen, step.app, span.begin, span.end);
            let (name, note) = match id {
                StepId::Undrained => ("draining off", "same release, no draining"),
                StepId::Stock => ("stock Deployment", "rolling update"),
                _ => ("with draining", "beta, confirmation, groups"),
            };
            Some(Cost { name, note, seconds })
        })
        .collect();
    if costs.len() < 2 {
        return String::new();
    }
    format!(
        "<section class=\"card\"><h2>What draining is worth</h2><p class=\"soft\">The same image behind the same proxy, under \
         the same load: failures in each second. The example server takes 20 ms for a request and exits on SIGTERM without \
         finishing open ones, as many do. Without the lower rows the zero above would mean nothing.</p>{}</section>",
        chart::costs(&costs)
    )
}

fn about(c: &Conditions) -> String {
    let minutes = (c.ended - c.began) / SECOND;
    let rows = [
        (
            "machine",
            format!("{} × {}, {}", c.cpus, if c.cpu.is_empty() { "processor" } else { &c.cpu }, c.memory),
        ),
        ("kernel", c.kernel.clone()),
        ("nodes", format!("{} simulated, {} with local processes in two cells", c.nodes, c.process_nodes)),
        (
            "load",
            format!(
                "{:.0} requests/s due at fixed times, {} keep-alive connections to begin with; a request fails when it cannot connect, is cut off, is not answered 2xx, or takes 2 s from when it was due; nothing is repeated",
                c.rate, c.connections
            ),
        ),
        (
            "counted",
            "requests to the tick of 200 ms, failures to the microsecond at which the request was due"
                .to_owned(),
        ),
        ("seed", c.seed.to_string()),
        ("length", format!("{minutes} s, with start and clearing away")),
    ];
    let rows: String =
        rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(value))).collect();
    format!("<section class=\"card\"><h2>Conditions</h2><dl>{rows}</dl></section>")
}

/// A number with its thousands apart.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
