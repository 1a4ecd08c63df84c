//! Tells a lack of descriptors from other errors. It passes when something else is closed, so a job
//! waits for that.
//!
//! It is known by the system's error alone, and never by a text: a file may have any name.

use std::error::Error as _;
use std::fs::File;
use std::io;

use nix::errno::Errno;

/// Whether an error is a lack of descriptors, in this process or on the machine. It may have words of ours around it.
#[must_use]
pub(crate) fn is_meant(error: &io::Error) -> bool {
    let inner = error.source().and_then(|inner| inner.downcast_ref::<io::Error>());
    let code = inner.unwrap_or(error).raw_os_error();
    [Errno::EMFILE, Errno::ENFILE].iter().any(|errno| code == Some(*errno as i32))
}

/// Returns the system's error if no descriptor can be opened at this moment. A library that opens
/// files may not say why it could not.
#[must_use]
pub(crate) fn now() -> Option<io::Error> {
    File::open("/dev/null").err().filter(is_meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_is_known_by_its_number_and_not_by_its_words() {
        for (errno, meant) in [(Errno::EMFILE, true), (Errno::ENFILE, true), (Errno::ENOENT, false)] {
            assert_eq!(is_meant(&errno.into()), meant, "{errno}");
        }
        let text = io::Error::from(Errno::EMFILE).to_string();
        assert!(!is_meant(&io::Error::other(text)));
        assert!(now().is_none());
    }
}
