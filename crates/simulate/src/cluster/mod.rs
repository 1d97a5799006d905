//! Clusters: manifests with times and recordings of live clusters, replayed through the scheduler's own core.
//!
//! Every pod is placed anew, in the order of its arrival, by the rules that `knarr up` and `knarr run --role scheduler` use;
//! devices are one more filter and one more score. Time is that of the story: decisions take none of it.

mod account;
mod devices;
mod manifests;
mod placer;
mod recording;
mod run;
mod stacking;
mod story;

pub use manifests::story as from_manifests;
pub use recording::{Recorded, Recorder, story as from_recording};
pub use run::{Settings, run};
pub use story::{Event, Moment, Story};
