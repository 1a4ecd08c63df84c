//! Tells a lack of descriptors from other errors. It passes when something else is closed, so a job
//! waits for that.

use std::fs::File;
use std::io;

use nix::errno::Errno;

/// Whether a message is about a lack of descriptors, in this process or on the machine. It may be the
/// message of any part of a job, in which the system's error is only text.
#[must_use]
pub(crate) fn is_meant(message: &str) -> bool {
    let codes = [Errno::EMFILE, Errno::ENFILE];
    codes.iter().any(|code| message.contains(&format!("(os error {})", *code as i32)))
}

/// Returns the system's error if no descriptor can be opened at this moment. A library that opens
/// files may not say why it could not.
#[must_use]
pub(crate) fn now() -> Option<io::Error> {
    let error = File::open("/dev/null").err()?;
    is_meant(&error.to_string()).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_is_known_by_its_message() {
        for (errno, meant) in [(Errno::EMFILE, true), (Errno::ENFILE, true), (Errno::ENOENT, false)] {
            let message = format!("cannot open a: {}", io::Error::from(errno));
            assert_eq!(is_meant(&message), meant, "{message}");
        }
        assert!(now().is_none());
    }
}
