//! The status of a PodGroup.

use api_koord::gang::PodGroupStatus;
use stdx::Time;

use crate::gangs::{Gangs, State};

impl Gangs {
    /// The next status of a gang's PodGroup, one step of Koordinator's controller: `running`, `succeeded` and `failed` count its pods,
    /// `owner` is `namespace/name` of what made them.
    pub fn status(
        &self,
        gang: &str,
        old: &PodGroupStatus,
        (running, succeeded, failed): (i32, i32, i32),
        owner: &str,
        now: Time,
    ) -> PodGroupStatus {
        let mut new = old.clone();
        let members = self.members_of(gang).count();
        let min = self.words(gang).map_or(0, |w| w.min);
        match old.phase.as_str() {
            "" => "Pending".clone_into(&mut new.phase),
            "Pending" => {
                if min > 0 && members >= usize::try_from(min).unwrap_or(usize::MAX) {
                    "PreScheduling".clone_into(&mut new.phase);
                    owner.clone_into(&mut new.occupied_by);
                }
            }
            _ if members == 0 => "Pending".clone_into(&mut new.phase),
            _ => {
                let bound = self.members_of(gang).filter(|(_, m)| m.state == State::Bound).count();
                (new.running, new.succeeded, new.failed) = (running, succeeded, failed);
                new.scheduled = i32::try_from(bound).unwrap_or(i32::MAX);
                phase(gang_min(min), &mut new, now);
            }
        }
        new
    }
}

fn gang_min(min: u32) -> i32 {
    i32::try_from(min).unwrap_or(i32::MAX)
}

/// The phase that follows from the counts; later ones win.
fn phase(min: i32, status: &mut PodGroupStatus, now: Time) {
    let ended_well = status.succeeded.saturating_add(status.running);
    let mut phase = "Scheduled";
    if status.scheduled < min {
        phase = "Scheduling";
        status.schedule_start_time = status.schedule_start_time.or(Some(now.whole_secs()));
    } else if ended_well >= min {
        phase = "Running";
    }
    if status.failed != 0 && ended_well.saturating_add(status.failed) >= min {
        phase = "Failed";
    }
    if status.succeeded >= min {
        phase = "Finished";
    }
    phase.clone_into(&mut status.phase);
}
