//! A cgroup for each worker, if systemd delegates its cgroup to the service (`Delegate=`, cgroup v2).
//!
//! These cgroups also limit the memory that `RLIMIT_DATA` does not count: the programs of a `map` job, page cache,
//! mapped files. If the OOM killer kills a worker, it kills the worker's children too, and nothing else.
//!
//! They are optional: without them the service works like the command line, which never has any.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use procfs::process::{MountInfo, Process};

/// The child cgroup that the supervisor moves to. A cgroup whose children have controllers must not hold processes.
const OWN: &str = "supervisor";

/// Memory a worker may use beyond its own limit: its program, page cache, the kernel's buffers for its connections.
/// With this margin the worker reaches its own limit first, and can then say which input it was working on.
const MEMORY_BESIDE_BYTES: u64 = 64 * 1024 * 1024;

/// Attributes that systemd sets on a cgroup it delegates. Write permission proves nothing: root always has it.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Why there are no leaves.
#[derive(Debug, thiserror::Error)]
pub enum NoLeaves {
    /// There is no cgroup v2, or it is not mounted.
    #[error("cgroup v2 is not mounted")]
    NoCgroup,
    /// systemd has not delegated the cgroup.
    #[error("{} is not delegated to the service (Delegate=yes)", .0.display())]
    NotDelegated(PathBuf),
    /// The memory controller belongs to cgroup v1, or was not delegated.
    #[error("{} has no memory controller", .0.display())]
    NoMemory(PathBuf),
    /// The kernel refused.
    #[error("cannot use {path}: {source}", path = .0.display(), source = .1)]
    Refused(PathBuf, #[source] io::Error),
}

impl NoLeaves {
    /// Whether cgroups were expected, because systemd has delegated the service's own.
    #[must_use]
    pub const fn is_a_surprise(&self) -> bool {
        match self {
            Self::NoCgroup | Self::NotDelegated(_) => false,
            Self::NoMemory(_) | Self::Refused(..) => true,
        }
    }
}

/// The service's cgroup, with a child for each worker.
#[derive(Debug, Clone)]
pub struct Leaves(Arc<Divided>);

#[derive(Debug)]
struct Divided {
    root: PathBuf,
    memory_bytes_max: Option<u64>,
    made: AtomicU64,
    /// Leaves that could not be removed at once, because processes in them were still exiting.
    left: Mutex<Vec<PathBuf>>,
}

impl Leaves {
    /// Divides the cgroup of this process. Call it before the first worker starts: it moves only this process.
    ///
    /// # Errors
    /// [`NoLeaves`]. The service can run on without leaves.
    pub fn open(worker_memory_bytes: Option<u64>) -> Result<Self, NoLeaves> {
        let root = own().ok_or(NoLeaves::NoCgroup)?;
        if !DELEGATED.iter().any(|name| is_set(&root, name)) {
            return Err(NoLeaves::NotDelegated(root));
        }
        Self::divide(&root, worker_memory_bytes)
    }

    fn divide(root: &Path, worker_memory_bytes: Option<u64>) -> Result<Self, NoLeaves> {
        let controllers = read(&root.join("cgroup.controllers"))?;
        if !controllers.split_ascii_whitespace().any(|controller| controller == "memory") {
            return Err(NoLeaves::NoMemory(root.to_owned()));
        }
        let own = root.join(OWN);
        make(&own)?;
        write(&own.join("cgroup.procs"), &std::process::id().to_string())?;
        write(&root.join("cgroup.subtree_control"), "+memory")?;
        Ok(Self(Arc::new(Divided {
            root: root.to_owned(),
            memory_bytes_max: worker_memory_bytes.map(|bytes| bytes.saturating_add(MEMORY_BESIDE_BYTES)),
            made: AtomicU64::new(0),
            left: Mutex::new(Vec::new()),
        })))
    }

    /// Makes an empty leaf for one worker.
    ///
    /// # Errors
    /// [`NoLeaves::Refused`].
    pub fn leaf(&self) -> Result<Leaf, NoLeaves> {
        let divided = &self.0;
        divided.sweep();
        let number = divided.made.fetch_add(1, Ordering::Relaxed);
        let path = divided.root.join(format!("worker-{number}"));
        make(&path)?;
        let leaf = Leaf { path, divided: Arc::clone(divided) };
        write(&leaf.path.join("memory.oom.group"), "1")?;
        if let Some(bytes) = divided.memory_bytes_max {
            write(&leaf.path.join("memory.max"), &bytes.to_string())?;
        }
        Ok(leaf)
    }
}

impl Divided {
    /// Removes leaves that could not be removed before.
    fn sweep(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|path| fs::remove_dir(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound));
    }
}

/// One worker's cgroup. Dropping it kills every process that is still in it.
#[derive(Debug)]
pub struct Leaf {
    path: PathBuf,
    divided: Arc<Divided>,
}

impl Leaf {
    /// Moves a process into this leaf. Its future children start in the leaf too.
    ///
    /// # Errors
    /// [`NoLeaves::Refused`].
    pub fn adopt(&self, pid: u32) -> Result<(), NoLeaves> {
        write(&self.path.join("cgroup.procs"), &pid.to_string())
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        // Kernels before 5.14 have no `cgroup.kill`; there, a surviving process keeps the leaf until the service ends.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        if fs::remove_dir(&self.path).is_err() {
            let mut left = self.divided.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.push(std::mem::take(&mut self.path));
        }
    }
}

/// Memory that this process's cgroup may still take, in bytes; `None` if nothing limits it. The limits of all its
/// ancestors apply. What the page cache takes is given back when it is needed.
pub fn available_memory() -> Option<u64> {
    let own = own()?;
    let left = own.ancestors().filter_map(|group| {
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim_end().parse::<u64>().ok();
        let cache = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cache = cache.lines().find_map(|line| line.strip_prefix("file ")?.parse().ok()).unwrap_or(0);
        Some(number("memory.max")?.saturating_sub(number("memory.current")?.saturating_sub(cache)))
    });
    left.min()
}

/// The directory of the cgroup v2 that this process is in.
pub(super) fn own() -> Option<PathBuf> {
    let process = Process::myself().ok()?;
    let group = process.cgroups().ok()?.into_iter().find(|group| group.hierarchy == 0)?;
    process.mountinfo().ok()?.into_iter().find_map(|mount| directory(&mount, Path::new(&group.pathname)))
}

/// The directory of the cgroup `path` below `mount`, if the mount shows it.
///
/// The path and the mount's root are relative to the cgroup namespace of this process. So either may begin with
/// `..`, and a mount made outside a container may show only cgroups above the container's own.
fn directory(mount: &MountInfo, path: &Path) -> Option<PathBuf> {
    let below = path.strip_prefix(&mount.root).ok().filter(|below| !below.starts_with(".."))?;
    (mount.fs_type == "cgroup2").then(|| mount.mount_point.join(below))
}

fn is_set(directory: &Path, attribute: &str) -> bool {
    let mut value = [0_u8; 1];
    rustix::fs::getxattr(directory, attribute, &mut value).is_ok_and(|length| length == 1) && value == *b"1"
}

fn read(path: &Path) -> Result<String, NoLeaves> {
    fs::read_to_string(path).map_err(|error| NoLeaves::Refused(path.to_owned(), error))
}

fn write(path: &Path, value: &str) -> Result<(), NoLeaves> {
    fs::write(path, value).map_err(|error| NoLeaves::Refused(path.to_owned(), error))
}

/// Makes a cgroup, or takes one that an earlier run of the service left.
fn make(path: &Path) -> Result<(), NoLeaves> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(NoLeaves::Refused(path.to_owned(), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use nix::libc;
    use shared::clock;

    use super::*;

    fn contents(path: PathBuf) -> String {
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A plain directory with the files of a cgroup that has `controllers`.
    fn fake(controllers: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cgroup.controllers"), controllers).unwrap();
        directory
    }

    #[test]
    fn a_leaf_allows_the_worker_limit_and_a_margin() {
        let root = fake("cpu memory pids\n");
        let leaves = Leaves::divide(root.path(), Some(100 << 20)).unwrap();
        let pid = std::process::id().to_string();
        assert_eq!(contents(root.path().join("supervisor/cgroup.procs")), pid);
        assert_eq!(contents(root.path().join("cgroup.subtree_control")), "+memory");

        let leaf = leaves.leaf().unwrap();
        leaf.adopt(4711).unwrap();
        assert_eq!(contents(root.path().join("worker-0/memory.max")), (164_u64 << 20).to_string());
        assert_eq!(contents(root.path().join("worker-0/memory.oom.group")), "1");
        assert_eq!(contents(root.path().join("worker-0/cgroup.procs")), "4711");
    }

    #[test]
    fn a_leaf_without_a_limit_sets_no_memory_max() {
        let root = fake("memory\n");
        let _leaf = Leaves::divide(root.path(), None).unwrap().leaf().unwrap();
        assert!(root.path().join("worker-0/memory.oom.group").exists());
        assert!(!root.path().join("worker-0/memory.max").exists());
    }

    #[test]
    fn without_the_memory_controller_nothing_changes() {
        let root = fake("cpu hugetlb\n");
        let refused = Leaves::divide(root.path(), None).unwrap_err();
        assert!(matches!(refused, NoLeaves::NoMemory(_)), "{refused}");
        assert!(!root.path().join(OWN).exists());
    }

    #[test]
    fn a_leaf_that_is_still_in_use_is_removed_later() {
        let root = fake("memory\n");
        let leaves = Leaves::divide(root.path(), None).unwrap();
        let leaf = leaves.leaf().unwrap();
        let path = leaf.path.clone();
        drop(leaf);
        assert_eq!(contents(path.join("cgroup.kill")), "1");
        // A directory with files cannot be removed, like a cgroup with processes.
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let _next = leaves.leaf().unwrap();
        assert!(!path.exists());
    }

    /// A real cgroup that the test may divide.
    struct Real(PathBuf);

    impl Real {
        fn make() -> Result<Self, String> {
            let own = own().ok_or("no cgroup v2")?;
            let top = own.ancestors().take_while(|path| path.join("cgroup.procs").exists()).last();
            let top = top.ok_or("no cgroup v2")?;
            let controllers = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
            if !controllers.contains("memory") {
                return Err("cgroup v2 has no memory controller".to_owned());
            }
            fs::write(top.join("cgroup.subtree_control"), "+memory").map_err(|error| error.to_string())?;
            let root = top.join(format!("muster-test-{}", std::process::id()));
            fs::create_dir(&root).map_err(|error| error.to_string())?;
            Ok(Self(root))
        }
    }

    impl Drop for Real {
        fn drop(&mut self) {
            let _ = fs::write(self.0.join("../cgroup.procs"), std::process::id().to_string());
            let _ = fs::remove_dir(self.0.join(OWN));
            let _ = fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn the_cgroup_of_a_process_is_found_below_its_mount() {
        let table = [
            ("cgroup2", "/", "/", Some("/cgroup")),
            ("cgroup2", "/", "/a/b", Some("/cgroup/a/b")),
            ("cgroup2", "/docker/1", "/docker/1", Some("/cgroup")),
            ("cgroup2", "/docker/1", "/docker/1/app", Some("/cgroup/app")),
            ("cgroup2", "/docker/1", "/docker/12", None),
            ("cgroup2", "/docker/1", "/", None),
            ("cgroup2", "/..", "/../sibling", Some("/cgroup/sibling")),
            ("cgroup2", "/../..", "/", None),
            ("cgroup2", "/", "/../sibling", None),
            ("cgroup", "/", "/a", None),
        ];
        for (kind, root, path, expected) in table {
            let line = format!("30 23 0:26 {root} /cgroup rw,nosuid shared:4 - {kind} cgroup2 rw,nsdelegate");
            let mount = MountInfo::from_line(&line).unwrap();
            let found = directory(&mount, Path::new(path));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{path} in a mount of {root}");
        }
    }

    fn until(what: &str, holds: impl Fn() -> bool) {
        let deadline = clock::now() + Duration::from_secs(10);
        while !holds() {
            assert!(clock::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_worker_that_takes_too_much_dies_with_its_children_and_alone() {
        let root = match Real::make() {
            Ok(root) => root,
            Err(why) => return eprintln!("skipped, {why}: a_worker_that_takes_too_much_dies"),
        };
        let leaves = Leaves::divide(&root.0, Some(1 << 20)).unwrap();
        let (greedy, modest) = (leaves.leaf().unwrap(), leaves.leaf().unwrap());
        let start = |script: &str| {
            Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        };
        // Both wait for a line or the end of stdin, so that they are in their leaves before they do anything.
        let mut other = start("read line; read line");
        modest.adopt(other.id()).unwrap();
        let mut child = start("read line; sleep 1000 & x=$(head -c 300m /dev/zero | tr '\\0' x)");
        greedy.adopt(child.id()).unwrap();
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
        let events = contents(greedy.path.join("memory.events"));
        assert!(
            events.lines().any(|line| line.starts_with("oom_group_kill ") && line != "oom_group_kill 0"),
            "{events}"
        );
        let path = greedy.path.clone();
        until("its children die with it", || contents(path.join("cgroup.procs")).is_empty());
        assert!(other.try_wait().unwrap().is_none());
        drop(greedy);
        until("its leaf is removed", || {
            leaves.0.sweep();
            !path.exists()
        });

        drop(modest);
        assert_eq!(
            other.wait().unwrap().signal(),
            Some(libc::SIGKILL),
            "dropping a leaf kills what is in it"
        );
        leaves.0.sweep();
    }
}
