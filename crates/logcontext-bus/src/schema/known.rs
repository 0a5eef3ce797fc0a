//! The checks of the types that a bus sends and gets: made once each.

use std::any::TypeId;
use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::FxHashMap;
use schemars::JsonSchema;

use super::check::Check;
use super::shape;

/// The checks of the types that a bus sends and gets.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    by_type: RwLock<FxHashMap<TypeId, Arc<Check>>>,
}

impl Checks {
    /// For what is read or written as this type.
    pub(crate) fn of<T: JsonSchema + 'static>(&self) -> Arc<Check> {
        let id = TypeId::of::<T>();
        let known = self.by_type.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        known.unwrap_or_else(|| {
            let check = Arc::new(Check::beyond_the_type(shape::of::<T>().as_value()));
            let mut by_type = self.by_type.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(by_type.entry(id).or_insert(check))
        })
    }
}
