//! The guide's examples are tests.
//!
//! And it shows the clippy settings as they are:
//! ```
//! let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
//! let read = |file| std::fs::read_to_string(format!("{workspace}/{file}")).unwrap();
//! assert!(read("docs/guide.md").contains(&read("clippy.toml")));
//! ```
#![doc = include_str!("../../../docs/guide.md")]
#![doc = include_str!("../../../docs/guide/concurrency.md")]
