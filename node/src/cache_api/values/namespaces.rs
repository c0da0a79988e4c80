//! The namespaces of values.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::{CacheApi, Error};

/// The namespace of values that name none.
pub const VALUES: &str = "values";

impl CacheApi {
    /// Every namespace in which there may be something: of routes with a cache, and of values.
    pub(in super::super) fn namespaces(&self) -> BTreeSet<Arc<str>> {
        let in_force = self.config.in_force();
        let of_values = in_force.config.cache.namespaces.iter();
        let of_values = of_values.map(|name| name.as_str().into());
        let routing = self.routing.load();
        let caches = routing
            .routes
            .iter()
            .filter_map(|route| route.cache.as_ref());
        caches
            .map(|cache| Arc::clone(&cache.namespace))
            .chain(of_values)
            .chain([VALUES.into()])
            .collect()
    }

    /// The namespace of a value.
    pub(super) fn value_namespace(
        &self,
        field: &'static str,
        asked: &str,
    ) -> Result<Arc<str>, Error> {
        if asked.is_empty() {
            return Ok(VALUES.into());
        }
        let mut all = self.namespaces().into_iter();
        all.find(|name| **name == *asked).ok_or_else(|| {
            let why = format!(
                "`{asked}` is neither `{VALUES}` nor in cache.namespaces nor of a route with a cache"
            );
            Error::invalid(field, why)
        })
    }
}
