//! How much memory this process has, and may have, so that the API server refuses before the kernel kills.

/// Of what the machine grants, the part that the server takes at most unless told otherwise.
const PART: (u64, u64) = (9, 10);

/// Unit of the kernel's CPU times, the same on every Linux that programs see.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident bytes of this process; 0 when the system does not tell.
pub(crate) fn resident() -> u64 {
    field("/proc/self/status", "VmRSS:")
}

/// Bytes that this process may have: as told, or nine tenths of what its control group or else the machine has.
pub(crate) fn cap(told_mib: Option<u64>) -> u64 {
    if let Some(mib) = told_mib {
        return mib.saturating_mul(1 << 20);
    }
    let machine = Some(field("/proc/meminfo", "MemTotal:")).filter(|bytes| *bytes > 0);
    let granted = group().unwrap_or(u64::MAX).min(machine.unwrap_or(u64::MAX));
    granted / PART.1 * PART.0
}

/// The limit of the control group; nothing without one.
fn group() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?.trim().parse().ok()
}

/// A field in KiB of a file of the kernel, in bytes; 0 when it is not there.
fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Figures of this process under the names that Prometheus' own clients use.
pub(crate) fn figures() -> String {
    use std::fmt::Write as _;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: fields 14 and 15 of all are the ticks in user and system mode.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    #[allow(clippy::cast_precision_loss, reason = "a figure")]
    let seconds = (ticks(11) + ticks(12)) as f64 / TICKS_PER_SECOND;
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let mut out = String::new();
    let mut tell = |name: &str, help: &str, kind: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    tell("process_cpu_seconds_total", "CPU time of this process", "counter", &seconds);
    tell("process_resident_memory_bytes", "resident memory of this process", "gauge", &resident());
    tell("process_open_fds", "open files of this process", "gauge", &open);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_counts_else_what_there_is() {
        assert_eq!(cap(Some(3)), 3 << 20);
        let all = field("/proc/meminfo", "MemTotal:");
        assert!(cap(None) > 0 && cap(None) < all);
        assert!(resident() > 0 && resident() < all);
    }
}
