//! A disk that is soon full.

use std::path::PathBuf;
use std::process::Command;

use nix::unistd::geteuid;

use super::TestCommand;

/// A small file system; gone with the value.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    /// `None` without the right to mount one.
    pub(crate) fn mount(at: PathBuf, kib: u32) -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        std::fs::create_dir(&at).unwrap();
        let size = format!("size={kib}k");
        TestCommand::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&at).run().exits(0);
        Some(Self(at))
    }

    /// Makes room.
    pub(crate) fn grow(&self) {
        TestCommand::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).run().exits(0);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
