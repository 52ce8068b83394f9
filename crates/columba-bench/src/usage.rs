//! Owns what a process has used so far, read from /proc. Never changes anything about it.

use std::fs;

/// What a process has used, and what it holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Seconds of CPU, user and system together.
    pub(crate) cpu: f64,
    /// Bytes in memory now (resident set).
    pub(crate) memory: u64,
    /// The most there have ever been.
    pub(crate) peak: u64,
}

/// What a process has used by now; `None` without such a process, or without /proc.
pub(crate) fn sample(pid: u32) -> Option<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let cpu = ticks(pid)?.max(nanoseconds(pid).unwrap_or(0.0));
    Some(Sample { cpu, memory: kilobytes(&status, "VmRSS:")?, peak: kilobytes(&status, "VmHWM:")? })
}

/// User and system time, in seconds, of which the last hundredth is cut off.
fn ticks(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks_in(&stat)?;
    Some(ticks as f64 / ticks_per_second())
}

/// Fields 14 and 15; the second one is a name in brackets that may hold anything.
fn ticks_in(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The same without the cut, but also without threads that have ended, and not on every kernel.
fn nanoseconds(pid: u32) -> Option<f64> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        total += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(total as f64 / 1e9)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(target_os = "linux")]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(not(target_os = "linux"))]
fn ticks_per_second() -> f64 {
    100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0";
        assert_eq!(ticks_in(stat), Some(300));
        assert_eq!(ticks_in("7"), None);
        assert_eq!(kilobytes("VmPeak:\t  9 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234 * 1024));
        assert_eq!(kilobytes("", "VmRSS:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_is_there() {
        let own = sample(std::process::id()).unwrap();
        assert!(own.memory > 100_000 && own.peak >= own.memory, "{own:?}");
        assert!(sample(u32::MAX).is_none());
    }
}
