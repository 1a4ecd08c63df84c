//! Tests of the pool through its public interface.
