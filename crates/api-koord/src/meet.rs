//! Our words for nodes: which applications may meet on one, by what they strain and when. Koordinator has none for this.
//!
//! | annotation of a pod | values | meaning |
//! |---|---|---|
//! | `knarr.dev/profile` | `cpu-heavy,peak-night` | what it strains, and when; any words, compared as they are |
//! | `knarr.dev/profile-apart` | `Avoid` (default), `Forbid` | pods with a word in common on one node; `Forbid` holds both ways |
//! | `knarr.dev/host` | `Shared` (default), `Exclusive` | whether pods of other applications may be on its node; pods of DaemonSets always may |

use std::collections::BTreeSet;

use api_core::Pod;

use crate::apart::word;
use crate::{Unreadable, names};

/// What a pod says about whom it meets on its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meeting {
    /// What it strains, and when.
    pub profile: BTreeSet<String>,
    /// Nobody with a word in common may be on its node.
    pub forbids: bool,
    /// No other application may be on its node.
    pub is_exclusive: bool,
}

impl Meeting {
    /// Reads the annotations of a pod; nothing when it says nothing.
    ///
    /// # Errors
    /// The first word that is none of those supported, or an empty one.
    pub fn of(pod: &Pod) -> Result<Option<Meeting>, Unreadable> {
        let annotations = &pod.metadata.annotations;
        let said = annotations.get(names::PROFILE).filter(|text| !text.is_empty());
        let profile: BTreeSet<String> =
            said.into_iter().flat_map(|text| text.split(',')).map(|w| w.trim().to_owned()).collect();
        if profile.contains("") {
            return Err(Unreadable::new(names::PROFILE, "must be words with commas between"));
        }
        let forbids = word(annotations, names::PROFILE_APART, &[("Avoid", false), ("Forbid", true)])?;
        let exclusive = word(annotations, names::HOST, &[("Shared", false), ("Exclusive", true)])?;
        let meeting = Meeting {
            forbids: forbids.unwrap_or(false) && !profile.is_empty(),
            profile,
            is_exclusive: exclusive.unwrap_or(false),
        };
        Ok((meeting != Meeting::default()).then_some(meeting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meeting(annotations: Value) -> Result<Option<Meeting>, Unreadable> {
        Meeting::of(&serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap())
    }

    #[test]
    fn words_about_meetings_are_read_or_refused_by_name() {
        let said = meeting(
            json!({"knarr.dev/profile": "cpu-heavy, peak-night", "knarr.dev/profile-apart": "Forbid"}),
        );
        let said = said.unwrap().unwrap();
        assert!(said.forbids && !said.is_exclusive && said.profile.contains("peak-night"));
        assert_eq!(meeting(json!({"knarr.dev/host": "Shared"})), Ok(None));
        assert!(meeting(json!({"knarr.dev/host": "Exclusive"})).unwrap().unwrap().is_exclusive);
        assert_eq!(meeting(json!({"knarr.dev/host": "Mine"})).unwrap_err().key, "knarr.dev/host");
        assert!(meeting(json!({"knarr.dev/profile": "a,,b"})).is_err());
    }
}
