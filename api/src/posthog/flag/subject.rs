//! Whom a flag is evaluated for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::text::{Given, NativeDate};

/// Whom flags are evaluated for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The id that person flags are bucketed by; also read as the property
    /// `distinct_id` unless `properties` has one.
    pub distinct_id: &'a str,
    /// The id that device flags are bucketed by.
    pub device_id: Option<&'a str>,
    /// Person properties.
    pub properties: &'a Map<String, Value>,
    /// Group type to group key.
    pub groups: &'a BTreeMap<String, String>,
    /// Group type to that group's properties. A group flag is undecided without an entry.
    pub group_properties: &'a BTreeMap<String, Map<String, Value>>,
    /// Person properties that are dates rather than text; JSON cannot carry them.
    pub(super) dates: Option<&'a BTreeMap<String, NativeDate>>,
}

static NO_GROUPS: BTreeMap<String, String> = BTreeMap::new();
static NO_GROUP_PROPERTIES: BTreeMap<String, Map<String, Value>> = BTreeMap::new();

impl<'a> Subject<'a> {
    /// A person with properties, without a device or groups.
    pub const fn person(distinct_id: &'a str, properties: &'a Map<String, Value>) -> Self {
        Self {
            distinct_id,
            device_id: None,
            properties,
            groups: &NO_GROUPS,
            group_properties: &NO_GROUP_PROPERTIES,
            dates: None,
        }
    }

    /// The same subject on a device.
    #[must_use]
    pub const fn on_device(self, device_id: Option<&'a str>) -> Self {
        Self { device_id, ..self }
    }

    /// The same subject as a member of groups.
    #[must_use]
    pub const fn in_groups(
        self,
        groups: &'a BTreeMap<String, String>,
        group_properties: &'a BTreeMap<String, Map<String, Value>>,
    ) -> Self {
        Self {
            groups,
            group_properties,
            ..self
        }
    }

    pub(super) const fn person_properties(&self) -> Properties<'a> {
        Properties {
            json: self.properties,
            dates: self.dates,
            distinct_id: Some(self.distinct_id),
        }
    }
}

/// The properties one condition is matched against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Properties<'a> {
    json: &'a Map<String, Value>,
    dates: Option<&'a BTreeMap<String, NativeDate>>,
    /// Read as `distinct_id` where `json` has none.
    distinct_id: Option<&'a str>,
}

impl<'a> Properties<'a> {
    /// Properties of a group.
    pub(super) const fn of_group(json: &'a Map<String, Value>) -> Self {
        Self {
            json,
            dates: None,
            distinct_id: None,
        }
    }

    /// Without the subject's id as a property.
    pub(super) const fn only_given(self) -> Self {
        Self {
            distinct_id: None,
            ..self
        }
    }

    pub(super) fn get(self, key: &str) -> Option<Given<'a>> {
        if let Some(date) = self.dates.and_then(|dates| dates.get(key)) {
            return Some(Given::Date(*date));
        }
        match self.json.get(key) {
            Some(value) => Some(Given::from(value)),
            None if key == "distinct_id" => self.distinct_id.map(Given::Text),
            None => None,
        }
    }
}
