//! What /proc tells of processes and of sockets.

use std::collections::BTreeSet;
use std::fs;

/// Whether the process that was started then still runs.
pub(crate) fn is_alive(pid: i32, ticks: u64) -> bool {
    pid > 0 && os::start_ticks(pid) == Some(ticks)
}

/// Fields from the third on: the name before them may hold anything.
fn fields(stat: &str) -> Option<Vec<&str>> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    (fields.len() > 19).then_some(fields)
}

/// All processes of a session.
pub(crate) fn session(leader: i32) -> Vec<i32> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_member = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        fields(&stat).is_some_and(|f| f[3].parse() == Ok(leader))
    };
    pids.filter(is_member).collect()
}

/// Direct children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    lists.flat_map(|l| l.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<i32>>()).collect()
}

/// Ports on which somebody listens on all addresses, with the inode of the socket.
pub(crate) fn wildcard_listeners() -> Vec<(u16, u64)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| wildcards(table)).collect()
}

fn wildcards(table: &str) -> Vec<(u16, u64)> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        let is_wildcard = address.bytes().all(|b| b == b'0');
        const LISTEN: &str = "0A";
        if !is_wildcard || *fields.get(3)? != LISTEN {
            return None;
        }
        Some((u16::from_str_radix(port, 16).ok()?, fields.get(9)?.parse().ok()?))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Inodes of the sockets a process holds.
pub(crate) fn sockets(pid: i32) -> BTreeSet<u64> {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let inode = |target: std::path::PathBuf| {
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    fds.flatten().filter_map(|fd| inode(fs::read_link(fd.path()).ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_another_start_is_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let ticks = os::start_ticks(pid).unwrap();
        assert!(is_alive(pid, ticks));
        assert!(!is_alive(pid, ticks + 1));
    }

    #[test]
    fn names_with_brackets_do_not_confuse() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(fields(stat).unwrap()[19], "4711");
    }

    #[test]
    fn listeners_on_all_addresses_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0\n\
             1: 0140407F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 43 1 0\n\
             2: 00000000:1F91 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 44 1 0\n";
        assert_eq!(wildcards(table), [(8080, 42)]);
    }
}
