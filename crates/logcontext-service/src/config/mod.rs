//! Configuration: a file, the environment and the command line, the later wins.
#![doc = include_str!("config.md")]

mod args;
mod bus_url;
mod check;
mod database_url;
mod de;
mod error;
mod faults;
mod file;
mod keys;
mod layers;
mod load;
mod loaded;
mod message;
mod node;
mod origin;
mod schema;
mod secret;
mod secret_files;
mod section;
mod shape;
mod show;
mod size;
mod sources;
mod text;
mod text_or;
mod text_values;
mod time;
mod typed_text;
mod unknown;

pub use bus_url::BusUrl;
pub use check::{Check, Faults};
pub use database_url::{DatabaseUrl, without_passwords};
pub use error::{ConfigError, ConfigErrors};
pub use faults::SchemaFaults;
pub use loaded::Config;
pub use origin::Origin;
pub use schema::Schema;
pub use secret::Secret;
pub use size::Size;
pub use sources::Sources;
pub use text_or::TextOr;
pub use time::{PositiveTime, Time};
pub use typed_text::TextError;
pub(crate) use typed_text::typed_text;
