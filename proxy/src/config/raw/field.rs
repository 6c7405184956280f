//! Fields with their position, which do not read as `Invalid` instead of ending the reading. Knows no configuration.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::config::{decode, node::Pos};

/// A field that may be absent, given, or given but not readable (which is already reported).
#[derive(Clone, Debug, Default)]
pub(crate) enum Field<T> {
    #[default]
    Absent,
    Invalid,
    Given(T, Pos),
}

impl<T> Field<T> {
    /// The value, where it is given and reads.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Given(value, _) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// The value with its position.
    pub(crate) fn spot(self) -> Option<(T, Pos)> {
        match self {
            Self::Given(value, pos) => Some((value, pos)),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// The value, or a default where it is absent (or wrong, which is already reported).
    pub(crate) fn or(self, default: T) -> T {
        self.value().unwrap_or(default)
    }

    /// Its position.
    pub(crate) const fn pos(&self) -> Option<Pos> {
        match self {
            Self::Given(_, pos) => Some(*pos),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether nothing was written.
    pub(crate) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(decode::FIELD, FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Field<T>, A::Error> {
        let mut number = || Ok(parts.next_element::<u32>()?.unwrap_or_default());
        let pos = Pos { line: number()?, column: number()?, length: number()? };
        Ok(parts.next_element()?.map_or(Field::Invalid, |value| Field::Given(value, pos)))
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A map from names to values, in the order written.
#[derive(Clone, Debug)]
pub(crate) struct Entries<T>(pub(crate) Vec<(String, Pos, Field<T>)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, value)) = map.next_entry::<Field<String>, Field<T>>()? {
            if let Some((key, pos)) = key.spot()
                && seen.insert(key.clone())
            {
                entries.push((key, pos, value));
            }
        }
        Ok(Entries(entries))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum OneOrMany<T> {
    Text(T),
    List(Vec<Field<T>>),
}

impl<T> Field<OneOrMany<T>> {
    /// The values that read, each with its position.
    pub(crate) fn many(self) -> Vec<(T, Pos)> {
        match self {
            Self::Given(OneOrMany::Text(value), pos) => vec![(value, pos)],
            Self::Given(OneOrMany::List(values), _) => values.into_iter().filter_map(Field::spot).collect(),
            Self::Absent | Self::Invalid => Vec::new(),
        }
    }
}
