//! Contexts ride on tracing's spans.

#[path = "../common/mod.rs"]
mod common;

mod carrying;
mod cpu;
mod edges;
mod nesting;
mod order;
mod roots;
mod services;
mod support;
