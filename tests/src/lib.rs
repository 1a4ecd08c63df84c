//! End-to-end tests: the real executables against a real server on loopback.
