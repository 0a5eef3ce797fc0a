//! The broker in this process does what every transport must do.

use crate::transport::Memory;

crate::conformance!(Memory::new());
