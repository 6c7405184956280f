//! Reads serde types from a [`Node`], and collects everything that is wrong instead of stopping at the first: unknown
//! fields are reported and skipped, and a [`Field`] that does not read becomes `Invalid`. Knows no syntax and no
//! configuration.
//!
//! Three names steer it: a newtype called [`FIELD`] also wants its position, one called [`TEXT`] takes numbers and
//! booleans as they were written, and an enum of the variants `text`, `list`, `map` is chosen by the shape of the value.

mod fault;

use std::cell::RefCell;

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
        Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

pub(crate) use fault::Fault;

use super::{
    node::{Key, Node, Pos, Value},
    suggest,
};

/// The name of the newtype that wants the position of its value.
pub(crate) const FIELD: &str = "$field";
/// The name of the newtype that takes any scalar as text.
pub(crate) const TEXT: &str = "$text";

/// Reads a `T`, `None` where it does not read at all, and everything that is wrong with it.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node) -> (Option<T>, Vec<Fault>) {
    let faults = RefCell::default();
    let value = T::deserialize(Decoder { node, faults: &faults });
    let mut faults = faults.into_inner();
    let value = value.map_err(|fault| faults.push(fault.or_at(node.pos))).ok();
    (value, faults)
}

const NOTHING_HINT: &str = "write a value, or remove the field";

#[derive(Clone, Copy)]
struct Decoder<'de> {
    node: &'de Node,
    faults: &'de RefCell<Vec<Fault>>,
}

impl<'de> Decoder<'de> {
    fn seq(self, items: &'de [Node]) -> Items<'de> {
        Items { items: items.iter(), faults: self.faults }
    }

    fn map(self, entries: &'de [(Key, Node)], known: Option<&'static [&'static str]>) -> Entries<'de> {
        Entries { entries, next: 0, value: None, known, faults: self.faults }
    }

    fn hinting<V: Visitor<'de>>(self, visitor: V, hint: &str) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor).map_err(|fault| match fault.code {
            "wrong-type" => fault.or_hint(hint),
            _ => fault,
        })
    }

    /// What this should have been and is not.
    fn mismatch(self, expected: &str) -> Fault {
        let fault = Fault::new("wrong-type", format!("expected {expected}, found {}", self.node.kind()));
        match self.node.value {
            Value::Null => fault.or_at(self.node.pos).or_hint(NOTHING_HINT),
            _ => fault.or_at(self.node.pos),
        }
    }

    /// The variant of a by-shape enum that this node's shape calls for.
    fn shape(self, variants: &[&'static str]) -> Result<&'static str, Fault> {
        let shape = match &self.node.value {
            Value::Text(_) | Value::Number(..) | Value::Bool(..) => "text",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Null => "nothing",
        };
        variants.iter().find(|variant| **variant == shape).copied().ok_or_else(|| {
            let named = |variant: &&str| if *variant == "text" { "text".into() } else { format!("a {variant}") };
            self.mismatch(&variants.iter().map(named).collect::<Vec<_>>().join(" or "))
        })
    }
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value, _) => visitor.visit_bool(*value),
            Value::Number(number, _) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (.., number) => visitor.visit_f64(number.unwrap_or_default()),
            },
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(self.seq(items)),
            Value::Map(entries) => visitor.visit_map(self.map(entries, None)),
        };
        value.map_err(|fault| match self.node.value {
            Value::Null => fault.or_at(self.node.pos).or_hint(NOTHING_HINT),
            _ => fault.or_at(self.node.pos),
        })
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Number(..) | Value::Bool(..) => self.hinting(visitor, "put it in quotes to make it text"),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.hinting(visitor, "write `true` or `false`, without quotes")
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Text(_) | Value::Number(..) => self.hinting(visitor, "put it in brackets to make a list of one"),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match (name, &self.node.value) {
            (FIELD, _) => {
                visitor.visit_seq(Positioned { pos: self.node.pos, next: 0, value: self, faults: self.faults })
            }
            (TEXT, Value::Number(_, text) | Value::Bool(_, text)) => {
                visitor.visit_newtype_struct(StrDeserializer::new(text))
            }
            _ => visitor.visit_newtype_struct(self),
        }
        .map_err(|fault| fault.or_at(self.node.pos))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Map(entries) => {
                visitor.visit_map(self.map(entries, Some(fields))).map_err(|fault| fault.or_at(self.node.pos))
            }
            _ => Err(self.mismatch("a map")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let by_shape = variants.iter().all(|variant| matches!(*variant, "text" | "list" | "map"));
        let variant = match &self.node.value {
            _ if by_shape => self.shape(variants)?,
            Value::Text(text) => text,
            _ => {
                let listed = variants.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                return Err(self.mismatch(&format!("one of {listed}")));
            }
        };
        visitor.visit_enum(Variant { name: variant, value: self }).map_err(|fault| fault.or_at(self.node.pos))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct map identifier
    }
}

struct Variant<'de> {
    name: &'de str,
    value: Decoder<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Fault;
    type Variant = Decoder<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Decoder<'de>), Fault> {
        Ok((seed.deserialize(StrDeserializer::new(self.name))?, self.value))
    }
}

impl<'de> VariantAccess<'de> for Decoder<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_struct("", fields, visitor)
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Node>,
    faults: &'de RefCell<Vec<Fault>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.items.next().map(|node| seed.deserialize(Decoder { node, faults: self.faults })).transpose()
    }
}

struct Entries<'de> {
    entries: &'de [(Key, Node)],
    next: usize,
    value: Option<&'de Node>,
    known: Option<&'static [&'static str]>,
    faults: &'de RefCell<Vec<Fault>>,
}

impl Entries<'_> {
    /// Whether the entry at `position` is one that a struct with these fields reads. A repeated key was reported when
    /// the document was read; the first one counts.
    fn is_read(&self, position: usize, known: &[&'static str]) -> bool {
        let (key, _) = &self.entries[position];
        if known.contains(&&*key.text) {
            return !self.entries[..position].iter().any(|(earlier, _)| earlier.text == key.text);
        }
        let mut fault = Fault::new("unknown-field", format!("unknown field `{}`", key.text)).or_at(key.pos);
        fault.hint = Some(match suggest::nearest(&key.text, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("the fields here are {}", suggest::listed(known.iter().copied())),
        });
        self.faults.borrow_mut().push(fault);
        false
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        while let Some((key, value)) = self.entries.get(self.next) {
            self.next += 1;
            if self.known.is_none_or(|known| self.is_read(self.next - 1, known)) {
                self.value = Some(value);
                return seed.deserialize(KeyDecoder { key, faults: self.faults }).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        match self.value.take() {
            Some(node) => seed.deserialize(Decoder { node, faults: self.faults }),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

#[derive(Clone, Copy)]
struct KeyDecoder<'de> {
    key: &'de Key,
    faults: &'de RefCell<Vec<Fault>>,
}

impl<'de> Deserializer<'de> for KeyDecoder<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(&self.key.text).map_err(|fault: Fault| fault.or_at(self.key.pos))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match name {
            FIELD => visitor.visit_seq(Positioned { pos: self.key.pos, next: 0, value: self, faults: self.faults }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Line, column, length, value: what a [`FIELD`] reads. A value that does not read is recorded and left out.
struct Positioned<'de, D> {
    pos: Pos,
    next: u8,
    value: D,
    faults: &'de RefCell<Vec<Fault>>,
}

impl<'de, D: Deserializer<'de, Error = Fault> + Copy> SeqAccess<'de> for Positioned<'de, D> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next += 1;
        let number: u32 = match self.next {
            1 => self.pos.line,
            2 => self.pos.column,
            3 => self.pos.length,
            _ => {
                let value = seed.deserialize(self.value).map_err(|fault| fault.or_at(self.pos));
                return Ok(value.map_err(|fault| self.faults.borrow_mut().push(fault)).ok());
            }
        };
        seed.deserialize(number.into_deserializer()).map(Some)
    }
}
