//! Scalars: quantities, durations, moments, octets, selectors, shares, and the texts that CEL knows.

use api_meta::{FieldSelector, IntOrPercent, LabelSelector, Quantity, Round, Selector, Written};
use api_schema::{canonical_base64, canonical_micro_time, canonical_quantity, canonical_time};
use api_schema::{go_duration, parse_go_duration};
use cel_rules::{Amount, Cidr, Moment, Semver, Url};
use stdx::Time;

use super::{Target, seeds};
use crate::parts::{texts, tree};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "quantity",
            run: quantity,
            seeds: || {
                seeds(&["1", "-1.5", "100m", "1Ki", "3e9", "+.5E-3", "999999999999999999999n", "1k", "12Ei"])
            },
            words: &[
                "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e-", "E+",
                ".",
            ],
        },
        Target {
            name: "moment",
            run: moment,
            seeds: || {
                seeds(&[
                    "2020-01-01T00:00:00Z",
                    "2020-02-29T23:59:60.123456+01:00",
                    "1h30m0.5s",
                    "-3µs",
                    "2562047h47m16.854775807s",
                    "0001-01-01T00:00:00Z",
                    "2020-01-01",
                ])
            },
            words: &["h", "m", "s", "ms", "us", "µs", "ns", "T", "Z", "+00:00", "-23:59", ".000000"],
        },
        Target {
            name: "selector",
            run: selector,
            seeds: || {
                seeds(&[
                    "a=b,c!=d,e in (f,g),h notin (),!i,j,k>1,l<2",
                    "metadata.name=a,spec.nodeName!=b",
                    "a\\=b==c\\,d",
                    r#"{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"c","operator":"In","values":["d"]}]}"#,
                ])
            },
            words: &[
                " in ", " notin ", "=", "==", "!=", "(", ")", ",", "!", ">", "<", "\\", "operator", "Exists",
            ],
        },
        Target {
            name: "octets",
            run: octets,
            seeds: || seeds(&["", "YQ==", "YWJj\n", "50%", "-7%", "12"]),
            words: &["=", "==", "\r\n", "+", "/", "%"],
        },
        Target {
            name: "cel-words",
            run: cel_words,
            seeds: || {
                seeds(&[
                    "1.2.3-rc.1+b",
                    "10.0.0.0/8",
                    "::ffff:1.2.3.4/96",
                    "https://u:p@h.example:8443/a/b?c=d&e#f",
                    "https://[::1%25eth0]:80/%20",
                ])
            },
            words: &["://", "::", "[", "]", "%", "@", "?", "#", "-", "+", "0", "."],
        },
    ]
}

fn quantity(data: &[u8]) {
    let Some([text]) = texts(data) else { return };
    let written = Written::read(text).is_some();
    let canonical = canonical_quantity(text);
    assert!(written || canonical.is_none(), "{text:?} is canonical and cannot be taken apart");
    if let Some(canonical) = &canonical {
        assert_eq!(canonical_quantity(canonical).as_ref(), Some(canonical), "of {text:?}");
        assert!(canonical.parse::<Quantity>().is_ok(), "{canonical:?} of {text:?}");
    }
    if let Ok(quantity) = text.parse::<Quantity>() {
        let _ = (quantity.milli(), quantity.units());
        let shown = quantity.to_string();
        assert_eq!(shown.parse::<Quantity>().as_ref().ok(), Some(&quantity), "{shown:?} of {text:?}");
    }
    let _ = Amount::parse(text);
}

fn moment(data: &[u8]) {
    let Some([text]) = texts(data) else { return };
    if let Some(nanos) = parse_go_duration(text) {
        let shown = go_duration(nanos);
        let again = parse_go_duration(&shown);
        assert_eq!(again.map(go_duration), Some(shown), "of {text:?}");
    }
    let _ = cel_rules::duration(text);
    if let Ok(canonical) = canonical_time(text) {
        assert_eq!(canonical_time(&canonical).as_ref(), Ok(&canonical), "of {text:?}");
    }
    if let Ok(canonical) = canonical_micro_time(text) {
        assert_eq!(canonical_micro_time(&canonical).as_ref(), Ok(&canonical), "of {text:?}");
    }
    if let Ok(time) = text.parse::<Time>() {
        let shown = time.to_micro_string();
        assert_eq!(shown.parse::<Time>().ok(), Some(time), "{shown:?} of {text:?}");
    }
    if let Some(moment) = Moment::parse(text) {
        let shown = moment.to_string();
        assert_eq!(Moment::parse(&shown).map(|m| m.to_string()), Some(shown), "of {text:?}");
    }
    let _ = Moment::parse_date(text);
}

fn selector(data: &[u8]) {
    let labels = [("a".into(), "b".into()), ("k".into(), "7".into())];
    if let Some(label) = tree(data).and_then(|v| serde_json::from_value::<LabelSelector>(v).ok())
        && let Ok(selector) = label.selector()
    {
        let _ = selector.matches(&labels[..]);
    }
    let Some([text]) = texts(data) else { return };
    if let Ok(selector) = Selector::parse(text) {
        let _ = (selector.matches(&labels[..]), selector.is_empty());
    }
    if let Ok(fields) = FieldSelector::parse(text) {
        let _ = fields.matches(|field| if field == "a" { "b" } else { "" });
    }
}

fn octets(data: &[u8]) {
    let Some([text]) = texts(data) else { return };
    if let Ok(clean) = canonical_base64(text) {
        assert_eq!(canonical_base64(&clean).as_ref(), Ok(&clean));
    }
    if let Some(share) = IntOrPercent::parse_percent(text) {
        for total in [0, 1, 7, i32::MAX] {
            let (down, up) = (share.of(total, Round::Down), share.of(total, Round::Up));
            assert!(down <= up, "{text:?} of {total}: {down} and {up}");
        }
    }
}

fn cel_words(data: &[u8]) {
    let Some([text]) = texts(data) else { return };
    let _ = (Semver::parse(text), Url::parse(text));
    if let Some(cidr) = Cidr::parse(text) {
        let shown = cidr.to_string();
        assert_eq!(Cidr::parse(&shown).map(|c| c.to_string()), Some(shown), "of {text:?}");
    }
}
