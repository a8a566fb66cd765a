//! Scanned codes.
