//! Ways in which the pool could be subtly wrong. The simulator's tests switch
//! them on one by one to show that each would be found; in a build that is not
//! a test, none of them exists: [`Pool::is`](super::Pool::is) is then `false`, a constant.

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Word from a process that is gone is taken for word from its successor.
    NoGenerationCheck,
}
