//! Reasons to refuse a command line.

/// A reason to refuse flags that are each well formed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The flags contradict each other.
    Usage(String),
    /// The flags are right, but the job cannot be done on this machine now.
    Impossible(String),
    /// The same, because descriptors are short, which others will close.
    Short(String),
}
