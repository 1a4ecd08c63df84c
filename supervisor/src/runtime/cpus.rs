//! How many CPUs this process may really use: its affinity *and* its cgroups' quota.
//!
//! In a container with two CPUs' worth of a 64-CPU machine the affinity says 64;
//! 64 workers would then spend most of each period throttled. The parsing is
//! pure; whatever cannot be read or understood counts as no quota.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// The CPUs of this process: its affinity or its CPU quota rounded up, whichever is less.
#[must_use]
pub fn usable_cpus() -> NonZeroU32 {
    let quota = quota_cpus(Path::new("/")).unwrap_or(NonZeroU32::MAX);
    affinity_cpus().min(quota)
}

fn affinity_cpus() -> NonZeroU32 {
    // Fails only on machines with more CPUs than the set has bits (1024).
    rustix::thread::sched_getaffinity(None)
        .ok()
        .and_then(|set| NonZeroU32::new(set.count()))
        .or_else(|| std::thread::available_parallelism().ok()?.try_into().ok())
        .unwrap_or(NonZeroU32::MIN)
}

/// The directory of the cgroup v2 that this process is in.
pub(super) fn own_cgroup() -> Option<PathBuf> {
    let cgroups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let group = groups(&cgroups, &mounts).into_iter().find(|group| group.version == Version::V2)?;
    group.directories(Path::new("/")).pop().map(|(_, directory)| directory)
}

/// The smallest quota of the cgroups this process is in, for the file system at `root`.
fn quota_cpus(root: &Path) -> Option<NonZeroU32> {
    let cgroups = read(&root.join("proc/self/cgroup"))?;
    let mounts = read(&root.join("proc/self/mountinfo"))?;
    groups(&cgroups, &mounts).iter().flat_map(|group| group.directories(root)).filter_map(cpus_of).min()
}

fn read(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The quota that one cgroup's directory states.
fn cpus_of((version, directory): (Version, PathBuf)) -> Option<NonZeroU32> {
    match version {
        Version::V1 => {
            cpus_v1(&read(&directory.join("cpu.cfs_quota_us"))?, &read(&directory.join("cpu.cfs_period_us"))?)
        }
        Version::V2 => cpus_v2(&read(&directory.join("cpu.max"))?),
    }
}

/// `cpu.max`: `QUOTA PERIOD` in microseconds, or `max PERIOD`.
fn cpus_v2(cpu_max: &str) -> Option<NonZeroU32> {
    let mut words = cpu_max.split_ascii_whitespace();
    cpus_v1(words.next()?, words.next()?)
}

/// Quota and period in microseconds; no quota is -1.
fn cpus_v1(quota_us: &str, period_us: &str) -> Option<NonZeroU32> {
    let quota_us: u64 = quota_us.trim().parse().ok()?;
    let period_us: u64 = period_us.trim().parse().ok().filter(|&us| us > 0)?;
    // Up, not down: with a quota of 1.5 a second worker still has half a CPU to use.
    NonZeroU32::new(u32::try_from(quota_us.div_ceil(period_us).max(1)).ok()?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// A hierarchy of its own for the `cpu` controller, perhaps with others.
    V1,
    /// The one hierarchy for all.
    V2,
}

/// A cgroup of this process, as far as a mount shows it.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    version: Version,
    mount_point: String,
    /// The names that lead from the mount point to the group.
    names: Vec<String>,
}

impl Group {
    /// The group's directory and every ancestor's up to the mount point: all their quotas hold.
    fn directories(&self, root: &Path) -> Vec<(Version, PathBuf)> {
        let mut directory = root.join(self.mount_point.trim_start_matches('/'));
        let mut directories = vec![(self.version, directory.clone())];
        for name in &self.names {
            directory.push(name);
            directories.push((self.version, directory.clone()));
        }
        directories
    }
}

/// The groups that `/proc/self/cgroup` names, under each mount of `/proc/self/mountinfo` that shows them.
fn groups(cgroups: &str, mountinfo: &str) -> Vec<Group> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(Mount::parse).collect();
    let mut groups = Vec::new();
    for (version, path) in cgroups.lines().filter_map(membership) {
        for mount in mounts.iter().filter(|mount| mount.version == version) {
            if let Some(names) = below(&mount.root, path) {
                groups.push(Group { version, mount_point: mount.point.clone(), names });
            }
        }
    }
    groups
}

/// `ID:CONTROLLERS:PATH`, if it is the hierarchy that may limit the CPU.
fn membership(line: &str) -> Option<(Version, &str)> {
    let mut parts = line.splitn(3, ':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    match id {
        "0" if controllers.is_empty() => Some((Version::V2, path)),
        _ if has(controllers, "cpu") => Some((Version::V1, path)),
        _ => None,
    }
}

fn has(list: &str, name: &str) -> bool {
    list.split(',').any(|item| item == name)
}

#[derive(Debug)]
struct Mount {
    version: Version,
    /// The cgroup that the mount point shows.
    root: String,
    point: String,
}

impl Mount {
    /// `ID PARENT DEVICE ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER_OPTIONS`
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (unescape(before.next()?), unescape(before.next()?));
        let mut after = after.split(' ');
        let (kind, _source, options) = (after.next()?, after.next()?, after.next()?);
        let version = match kind {
            "cgroup2" => Version::V2,
            "cgroup" if has(options, "cpu") => Version::V1,
            _ => return None,
        };
        Some(Self { version, root, point })
    }
}

/// Undoes the kernel's `\040` for blanks and the like.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The names from the cgroup `root` down to the cgroup `path`; `None` if it is not in there.
///
/// Both are relative to this process's cgroup namespace, so either may begin with `..`: a mount made
/// outside a container has a root above the container's own.
fn below(root: &str, path: &str) -> Option<Vec<String>> {
    let split = |path: &str| -> (usize, Vec<String>) {
        let mut names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let up = names.iter().take_while(|name| *name == "..").count();
        (up, names.split_off(up))
    };
    let (root_up, root_names) = split(root);
    let (path_up, path_names) = split(path);
    if root_up > path_up && root_names.is_empty() {
        // Above us by names that the namespace hides: of that hierarchy we can tell the top only.
        return Some(Vec::new());
    }
    let rest = path_names.strip_prefix(root_names.as_slice())?;
    (root_up == path_up).then(|| rest.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1_MOUNTS: &str = "\
        33 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        34 32 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
        35 32 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn cpus(count: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(count)
    }

    #[test]
    fn quotas_are_rounded_up() {
        let table = [
            ("max 100000\n", None),
            ("200000 100000\n", cpus(2)),
            ("150000 100000\n", cpus(2)),
            ("200001 100000\n", cpus(3)),
            ("1000 100000\n", cpus(1)),
            ("0 100000\n", cpus(1)),
            ("50000 10000\n", cpus(5)),
            ("-1 100000\n", None),
            ("100000 0\n", None),
            ("99999999999999999999 1\n", None),
            ("100000\n", None),
            ("", None),
        ];
        for (cpu_max, expected) in table {
            assert_eq!(cpus_v2(cpu_max), expected, "{cpu_max:?}");
        }
        assert_eq!(cpus_v1("-1\n", "100000\n"), None);
        assert_eq!(cpus_v1("250000\n", "100000\n"), cpus(3));
    }

    #[test]
    fn a_group_is_found_below_its_mounts_root() {
        let table: [(&str, &str, Option<&[&str]>); 12] = [
            ("/", "/", Some(&[])),
            ("/", "/a/b", Some(&["a", "b"])),
            ("/docker/1", "/docker/1", Some(&[])),
            ("/docker/1", "/docker/1/app", Some(&["app"])),
            ("/docker/1", "/docker/12", None),
            ("/docker/1", "/", None),
            ("/../..", "/", Some(&[])),
            ("/../..", "/a", Some(&[])),
            ("/..", "/../sibling", Some(&["sibling"])),
            ("/", "/../..", None),
            ("/", "/../sibling", None),
            ("/../other", "/", None),
        ];
        for (root, path, expected) in table {
            let expected = expected.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            assert_eq!(below(root, path), expected, "{path} in a mount of {root}");
        }
    }

    #[test]
    fn mount_points_are_read_from_mountinfo() {
        type Found = &'static [(Version, &'static str)];
        let table: [(&str, &str, Found); 6] = [
            ("0::/a\n", V2_MOUNT, &[(Version::V2, "/sys/fs/cgroup")]),
            (
                "9:name=systemd:/\n4:cpu,cpuacct:/a\n3:cpuset:/\n0::/\n",
                V1_MOUNTS,
                &[(Version::V1, "/sys/fs/cgroup/cpu,cpuacct"), (Version::V2, "/sys/fs/cgroup/unified")],
            ),
            (
                "1:cpu:/a:b\n",
                "1 2 0:1 / /cpu\\040is\\134here rw - cgroup none rw,cpu\n",
                &[(Version::V1, "/cpu is\\here")],
            ),
            ("2:cpuacct:/\n1:cpuset:/\n", V1_MOUNTS, &[]),
            ("0::/\n", "nonsense\n1 2 0:1 / - cgroup2\n22 1 0:5 / /proc rw - proc proc rw\n", &[]),
            ("nonsense\n", V2_MOUNT, &[]),
        ];
        for (cgroups, mountinfo, expected) in table {
            let groups = groups(cgroups, mountinfo);
            let found: Vec<_> =
                groups.iter().map(|group| (group.version, group.mount_point.as_str())).collect();
            assert_eq!(found, expected, "{cgroups:?}");
        }
    }

    /// A file system with the given files, read for its quota.
    fn quota_of(cgroups: &str, mountinfo: &str, files: &[(&str, &str)]) -> Option<NonZeroU32> {
        let root = tempfile::tempdir().unwrap();
        for &(path, text) in
            [("proc/self/cgroup", cgroups), ("proc/self/mountinfo", mountinfo)].iter().chain(files)
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        quota_cpus(root.path())
    }

    #[test]
    fn the_smallest_quota_up_to_the_mount_holds() {
        let (own, parent) = ("sys/fs/cgroup/a/b/cpu.max", "sys/fs/cgroup/a/cpu.max");
        let table: [(&[(&str, &str)], _); 5] = [
            (&[(own, "max 100000")], None),
            (&[(own, "300000 100000"), (parent, "max 100000")], cpus(3)),
            (&[(own, "max 100000"), (parent, "200000 100000")], cpus(2)),
            (&[(own, "300000 100000"), (parent, "120000 100000")], cpus(2)),
            (&[(own, "400000 100000"), ("sys/fs/cgroup/a/other/cpu.max", "1 100000")], cpus(4)),
        ];
        for (files, expected) in table {
            assert_eq!(quota_of("0::/a/b\n", V2_MOUNT, files), expected, "{files:?}");
        }
    }

    #[test]
    fn a_container_on_v1_sees_its_group_at_the_mount_point() {
        let mount = "40 39 0:32 /docker/1 /sys/fs/cgroup/cpu ro master:11 - cgroup cgroup rw,cpu\n";
        let files = [
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota_of("5:cpu:/docker/1\n", mount, &files), cpus(2));
        let unlimited = [("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"), files[1]];
        assert_eq!(quota_of("5:cpu:/docker/1\n", mount, &unlimited), None);
    }

    #[test]
    fn on_a_hybrid_machine_the_hierarchy_with_the_controller_counts() {
        let dir = "sys/fs/cgroup/cpu,cpuacct/a";
        let (quota, period) = (format!("{dir}/cpu.cfs_quota_us"), format!("{dir}/cpu.cfs_period_us"));
        let files = [(quota.as_str(), "500000\n"), (period.as_str(), "100000\n")];
        assert_eq!(quota_of("4:cpu,cpuacct:/a\n0::/a\n", V1_MOUNTS, &files), cpus(5));
    }

    #[test]
    fn without_proc_there_is_no_quota() {
        assert_eq!(quota_cpus(tempfile::tempdir().unwrap().path()), None);
    }

    #[test]
    fn this_machine_has_no_more_cpus_than_the_standard_library_sees() {
        // The standard library rounds a quota down, so it may be one below.
        let seen = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
        assert!((seen..=seen + 1).contains(&usable_cpus().get()));
    }
}
