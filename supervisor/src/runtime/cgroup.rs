//! A cgroup of its own for each worker, where systemd lets the service make them
//! (`Delegate=`, cgroup v2). What `RLIMIT_DATA` does not count (the programs of a
//! `map` job, page cache, mapped files) is then bounded as well, and a worker that
//! the kernel kills for want of memory goes with all its children and nothing else.
//!
//! It is an addition: without it everything works as on the command line, where
//! there are no leaves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::cpus;

/// Where the supervisor itself goes: a cgroup that has controllers for its children may hold no processes.
const OWN: &str = "supervisor";

/// What a worker may use beside what it may allocate: its program, page cache, the kernel's buffers for its
/// connections. Its own limit is thereby reached first, and says which input it was.
const MEMORY_BESIDE_BYTES: u64 = 64 * 1024 * 1024;

/// Set by systemd on a cgroup that is ours to divide. Being allowed to write is no permission: root always is.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Why there are no leaves.
#[derive(Debug, thiserror::Error)]
pub enum NoLeaves {
    /// There is no cgroup v2, or it is not mounted.
    #[error("there is no cgroup v2 here")]
    NoCgroup,
    /// Nobody gave us the cgroup to divide.
    #[error("{} is not delegated to the service (Delegate=yes)", .0.display())]
    NotDelegated(PathBuf),
    /// The memory controller belongs to cgroup v1, or was not delegated.
    #[error("{} has no memory controller", .0.display())]
    NoMemory(PathBuf),
    /// The kernel refused.
    #[error("{path}: {source}", path = .0.display(), source = .1)]
    Refused(PathBuf, #[source] io::Error),
}

impl NoLeaves {
    /// Whether somebody meant us to have some: systemd has delegated the cgroup.
    #[must_use]
    pub const fn is_a_surprise(&self) -> bool {
        match self {
            Self::NoCgroup | Self::NotDelegated(_) => false,
            Self::NoMemory(_) | Self::Refused(..) => true,
        }
    }
}

/// The service's cgroup, divided.
#[derive(Debug, Clone)]
pub struct Leaves(Arc<Divided>);

#[derive(Debug)]
struct Divided {
    root: PathBuf,
    memory_bytes_max: Option<u64>,
    made: AtomicU64,
    /// Leaves that could not be removed at once, since what was in them was still dying.
    left: Mutex<Vec<PathBuf>>,
}

impl Leaves {
    /// Divides the cgroup of this process; before the first worker is started, for only this process is moved.
    ///
    /// # Errors
    /// [`NoLeaves`]; nothing has changed then that matters.
    pub fn open(worker_memory_bytes: Option<u64>) -> Result<Self, NoLeaves> {
        let root = cpus::own_cgroup().ok_or(NoLeaves::NoCgroup)?;
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

    /// A leaf for one worker, empty.
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
    /// Removes what could not be removed before.
    fn sweep(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|path| fs::remove_dir(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound));
    }
}

/// One worker's cgroup. Dropping it ends whatever is still in it.
#[derive(Debug)]
pub struct Leaf {
    path: PathBuf,
    divided: Arc<Divided>,
}

impl Leaf {
    /// Takes in a process; its children to come are in it too.
    ///
    /// # Errors
    /// [`NoLeaves::Refused`].
    pub fn adopt(&self, pid: u32) -> Result<(), NoLeaves> {
        write(&self.path.join("cgroup.procs"), &pid.to_string())
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        // Kernels before 5.14 lack it; what is left then keeps its leaf until the service ends.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        if fs::remove_dir(&self.path).is_err() {
            let mut left = self.divided.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.push(std::mem::take(&mut self.path));
        }
    }
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

/// Makes a cgroup; one that a service before us left is as good.
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

    /// A directory that looks like a cgroup with `controllers`. Nothing in it obeys.
    fn drawn(controllers: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cgroup.controllers"), controllers).unwrap();
        directory
    }

    #[test]
    fn a_worker_has_its_limit_and_room_beside_it() {
        let root = drawn("cpu memory pids\n");
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
    fn without_a_limit_none_is_set() {
        let root = drawn("memory\n");
        let _leaf = Leaves::divide(root.path(), None).unwrap().leaf().unwrap();
        assert!(root.path().join("worker-0/memory.oom.group").exists());
        assert!(!root.path().join("worker-0/memory.max").exists());
    }

    #[test]
    fn without_the_memory_controller_nothing_is_touched() {
        let root = drawn("cpu hugetlb\n");
        let refused = Leaves::divide(root.path(), None).unwrap_err();
        assert!(matches!(refused, NoLeaves::NoMemory(_)), "{refused}");
        assert!(!root.path().join(OWN).exists());
    }

    #[test]
    fn what_cannot_be_removed_at_once_is_removed_later() {
        let root = drawn("memory\n");
        let leaves = Leaves::divide(root.path(), None).unwrap();
        let leaf = leaves.leaf().unwrap();
        let path = leaf.path.clone();
        drop(leaf);
        assert_eq!(contents(path.join("cgroup.kill")), "1");
        // Here the files keep it, as processes keep a cgroup.
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let _next = leaves.leaf().unwrap();
        assert!(!path.exists());
    }

    /// A cgroup that a test may divide, or why there is none.
    struct Real(PathBuf);

    impl Real {
        fn make() -> Result<Self, String> {
            let own = cpus::own_cgroup().ok_or("no cgroup v2")?;
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
        // Both wait for a line, so that they are in their leaves before they do anything.
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
        until("its children go with it", || contents(path.join("cgroup.procs")).is_empty());
        assert!(other.try_wait().unwrap().is_none());
        drop(greedy);
        until("its leaf goes", || {
            leaves.0.sweep();
            !path.exists()
        });

        drop(modest);
        assert_eq!(other.wait().unwrap().signal(), Some(libc::SIGKILL), "whoever is left in a leaf is ended");
        leaves.0.sweep();
    }
}
