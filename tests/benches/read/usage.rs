//! What processes use, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// A process, as `/proc/<pid>/stat` tells it.
struct Stat {
    pid: u32,
    parent: u32,
    /// User and system time, its own and that of the children it outlived.
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in brackets and may hold spaces.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |range: std::ops::Range<usize>| -> Option<u64> {
            fields
                .get(range)?
                .iter()
                .map(|text| text.parse::<u64>().ok())
                .sum()
        };
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            ticks: ticks(11..15)?,
        })
    }
}

/// A process and all that it started.
#[derive(Clone, Copy)]
pub(crate) struct Family(pub u32);

impl Family {
    fn members(self) -> anyhow::Result<Vec<Stat>> {
        let all: Vec<Stat> = fs::read_dir("/proc")?
            .filter_map(|entry| Stat::read(entry.ok()?.file_name().to_str()?.parse().ok()?))
            .collect();
        let mut mine = vec![self.0];
        let mut at = 0;
        while let Some(parent) = mine.get(at).copied() {
            mine.extend(
                all.iter()
                    .filter(|stat| stat.parent == parent)
                    .map(|stat| stat.pid),
            );
            at += 1;
        }
        Ok(all
            .into_iter()
            .filter(|stat| mine.contains(&stat.pid))
            .collect())
    }
    /// The processor's time that it has used.
    pub(crate) fn cpu(self) -> anyhow::Result<Duration> {
        let ticks: u64 = self.members()?.iter().map(|stat| stat.ticks).sum();
        let a_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis(ticks * 1_000 / a_second))
    }
    /// Memory that is its own or shared, in bytes; the sum over its processes.
    pub(crate) fn rss_bytes(self) -> anyhow::Result<u64> {
        let mut kib = 0;
        for stat in self.members()? {
            let status = fs::read_to_string(format!("/proc/{}/status", stat.pid))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let line = line.context("a process has no memory")?;
            kib += line.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
        Ok(kib * 1024)
    }
    /// The parent of a process.
    pub(crate) fn of_parent(pid: u32) -> anyhow::Result<Self> {
        let stat = Stat::read(pid).context("the database server runs on another machine")?;
        Ok(Self(stat.parent))
    }
}
