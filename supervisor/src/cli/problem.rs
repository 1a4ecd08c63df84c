//! Why flags are refused.

/// Why flags that were each well formed are refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// They make no sense together.
    Usage(String),
    /// They make sense, and cannot be done here and now.
    Impossible(String),
}
