//! Putting a server together in one file.

pub mod config;
