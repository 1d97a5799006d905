//! What the files of an instance say, checked against the processes that are there.

use std::time::Duration;

use node_core::{Exit, Instance, InstanceState};
use rustix::fs::{Mode, OFlags};
use stdx::Time;

use crate::procfs;
use crate::records::{self, ExitRecord, InstanceConfig, InstanceDir, StartRecord, now};

/// How long a shim may take to say that it has started something.
pub(crate) const START_MAX: Duration = Duration::from_secs(10);
/// What a container that vanished without a record ended with, as the kubelet says it.
const VANISHED: i32 = 137;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Creating,
    Running,
    Exited,
}

/// What the files say of one instance.
pub(crate) enum Observed {
    Creating,
    Running(StartRecord),
    Exited(ExitRecord),
}

impl Observed {
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Observed::Creating => Stage::Creating,
            Observed::Running(_) => Stage::Running,
            Observed::Exited(_) => Stage::Exited,
        }
    }
}

/// What the files say, checked against the processes that are there. Nothing when there is no instance.
pub(crate) fn observe(dir: &InstanceDir) -> Option<Observed> {
    if let Some(exit) = records::read(&dir.exit()).ok().flatten() {
        return Some(Observed::Exited(exit));
    }
    let start: Option<StartRecord> = records::read(&dir.start()).ok().flatten();
    if let Some(start) = &start
        && (procfs::is_alive(start.pid, start.ticks) || procfs::is_alive(start.shim_pid, start.shim_ticks))
    {
        return Some(Observed::Running(start.clone()));
    }
    let config: InstanceConfig = records::read(&dir.config()).ok().flatten()?;
    let is_fresh = now().since(Time::from_micros(config.created_micros)) < START_MAX;
    if start.is_none() && is_fresh {
        return Some(Observed::Creating);
    }
    // Written between the first look and now?
    if let Some(exit) = records::read(&dir.exit()).ok().flatten() {
        return Some(Observed::Exited(exit));
    }
    let exit = vanished(start.as_ref());
    let _ = records::write(&dir.exit(), &exit);
    Some(Observed::Exited(exit))
}

/// The record of an instance whose shim left none.
fn vanished(start: Option<&StartRecord>) -> ExitRecord {
    let (reason, message) = match start {
        Some(_) => ("ContainerStatusUnknown", "the container and its shim ended without a record"),
        None => ("StartError", "the shim ended before it started anything"),
    };
    ExitRecord {
        code: VANISHED,
        signal: None,
        reason: reason.to_owned(),
        message: message.to_owned(),
        started_micros: start.map(|s| s.started_micros),
        finished_micros: now().micros(),
    }
}

pub(crate) fn instance(dir: &InstanceDir, attempt: u32) -> Option<Instance> {
    let observed = observe(dir)?;
    let config: InstanceConfig = records::read(&dir.config()).ok().flatten()?;
    let state = match observed {
        Observed::Creating => InstanceState::Creating,
        Observed::Running(start) => InstanceState::Running { since: Time::from_micros(start.started_micros) },
        Observed::Exited(exit) => InstanceState::Exited(Box::new(Exit {
            code: exit.code,
            signal: exit.signal,
            reason: exit.reason,
            message: exit.message,
            started: exit.started_micros.map(Time::from_micros),
            finished: Time::from_micros(exit.finished_micros),
        })),
    };
    Some(Instance {
        id: config.id.into(),
        attempt,
        image: config.image.into(),
        image_id: config.image_id.into(),
        state,
        resources: config.resources.into(),
    })
}

/// Wakes the shim so that it reads `stop.json`; a shim that is not yet there reads it when it comes.
pub(crate) fn poke(dir: &InstanceDir) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(pipe) = rustix::fs::open(dir.control(), flags, Mode::empty()) {
        let _ = rustix::io::write(&pipe, b"\n");
    }
}
