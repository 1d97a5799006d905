//! May the members of a gang be tried at all?

use api_koord::gang::Match;

use crate::gangs::Gangs;

/// Why a pod is not tried yet. Texts are Koordinator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The pod is not known.
    #[error("pod is not a member of any gang")]
    NoMember,
    /// Nothing describes its gang: no object, and no member that names a minimum.
    #[error("gang has not init, gangName: {gang}, podName: {pod}")]
    NoGang {
        /// The gang.
        gang: String,
        /// The pod.
        pod: String,
    },
    /// Gangs of its group are missing, not described or too small.
    #[error("gangGroup [{group}] basic check: {why}, current gang: {gang}, podName: {pod}")]
    Short {
        /// All gangs of the group.
        group: String,
        /// What is wrong with which.
        why: String,
        /// The pod's gang.
        gang: String,
        /// The pod.
        pod: String,
    },
}

impl Gangs {
    /// Whether a pod may be tried: every gang of its group is there, described, and has at least its minimum of members. A gang that has
    /// started and may be followed, and a member that follows alone, always may.
    pub fn ready(&self, uid: &str) -> Result<(), NotReady> {
        let member = self.members.get(uid).ok_or(NotReady::NoMember)?;
        let (gang, pod) = (member.gang.clone(), member.name.clone());
        let Some(words) = self.words(&gang) else { return Err(NotReady::NoGang { gang, pod }) };
        let may_follow = words.counts == Match::OnceSatisfied && self.has_started(&gang);
        if member.is_released || may_follow {
            return Ok(());
        }
        let group = self.group_of(&gang);
        let why = self.missing(&group);
        if why.is_empty() {
            return Ok(());
        }
        Err(NotReady::Short { group: group.join(" "), why, gang, pod })
    }

    fn missing(&self, group: &[String]) -> String {
        let is_known = |g: &&String| self.knows(g);
        let is_short = |g: &&String| {
            self.words(g).is_some_and(|w| self.size(g) < usize::try_from(w.min).unwrap_or(usize::MAX))
        };
        let list = |gangs: Vec<&String>| gangs.into_iter().cloned().collect::<Vec<_>>().join(" ");
        let absent: Vec<&String> = group.iter().filter(|g| !is_known(g)).collect();
        let mute: Vec<&String> = group.iter().filter(|g| is_known(g) && self.words(g).is_none()).collect();
        let mut told = Vec::new();
        if !absent.is_empty() {
            told.push(format!("memberGangs [{}] doesn't exists", list(absent)));
        }
        if !mute.is_empty() {
            told.push(format!("memberGangs [{}] has not init", list(mute)));
        }
        if group.iter().any(|g| is_short(&g)) {
            // Upstream names the whole group here.
            told.push(format!("memberGangs [{}] child pod not collect enough", group.join(" ")));
        }
        told.join(", ")
    }
}
