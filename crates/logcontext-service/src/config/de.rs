//! Reading a [`Node`] into a type: text becomes what the type asks for, and an error knows its node.

use std::fmt::Display;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

use super::message::{Kind, ReadError};
use super::node::{Node, Value};

impl Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Kind::Custom(message.to_string()).into()
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Kind::Expected(expected.to_string()).into()
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Kind::Expected(expected.to_string()).into()
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Kind::Expected(expected.to_string()).into()
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Kind::Word(known).into()
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Kind::Unknown(known).into()
    }

    fn missing_field(field: &'static str) -> Self {
        Kind::Missing(field).into()
    }

    fn duplicate_field(field: &'static str) -> Self {
        Kind::Custom(format!("{field} is given twice")).into()
    }
}

impl<'de> IntoDeserializer<'de, ReadError> for &Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match &self.value {
                Value::Text(text) => match text.trim().parse::<i128>() {
                    Ok(number) => visit_integer(number, visitor),
                    Err(_) => Err(Error::invalid_type(Unexpected::Str(text), &visitor)),
                },
                _ => return self.deserialize_any(visitor),
            }
            .map_err(|error: ReadError| error.at(self))
        })*
    };
}

macro_rules! floats {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match &self.value {
                Value::Text(text) => match text.trim().parse() {
                    Ok(number) => visitor.visit_f64(number),
                    Err(_) => Err(Error::invalid_type(Unexpected::Str(text), &visitor)),
                },
                _ => return self.deserialize_any(visitor),
            }
            .map_err(|error: ReadError| error.at(self))
        })*
    };
}

impl<'de> Deserializer<'de> for &Node {
    type Error = ReadError;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    floats! { deserialize_f32 deserialize_f64 }

    forward_to_deserialize_any! { char str string bytes byte_buf identifier map struct }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) | Value::String(text) | Value::Datetime(text) => visitor.visit_str(text),
            Value::Integer(number) => visit_integer(*number, visitor),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(is) => visitor.visit_bool(*is),
            Value::List(list) => visit_list(list, visitor),
            Value::Table(table) => visitor.visit_map(Entries { entries: table.iter(), next: None }),
        }
        .map_err(|error: ReadError| error.at(self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) => match text.trim() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                text => Err(Error::invalid_type(Unexpected::Str(text), &visitor)),
            },
            _ => return self.deserialize_any(visitor),
        }
        .map_err(|error: ReadError| error.at(self))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
        .map_err(|error: ReadError| error.at(self))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) if text.is_empty() => visitor.visit_unit().map_err(|e: ReadError| e.at(self)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self).map_err(|error: ReadError| error.at(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) => visit_list(&super::text_values::items(text, self), visitor),
            _ => return self.deserialize_any(visitor),
        }
        .map_err(|error: ReadError| error.at(self))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) | Value::String(text) => {
                visitor.visit_enum(StrDeserializer::<ReadError>::new(text.trim()))
            }
            Value::Table(table) if table.len() == 1 => {
                let entries = Entries { entries: table.iter(), next: None };
                visitor.visit_enum(MapAccessDeserializer::new(entries))
            }
            _ => Err(Error::invalid_type(Unexpected::Other("that"), &visitor)),
        }
        .map_err(|error: ReadError| error.at(self))
    }

    /// Only who does not know a key ignores its value.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ReadError> {
        Err(ReadError::from(Kind::Unknown(&[])).at(self))
    }
}

fn visit_integer<'de, V: Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value, ReadError> {
    if let Ok(number) = i64::try_from(number) {
        visitor.visit_i64(number)
    } else if let Ok(number) = u64::try_from(number) {
        visitor.visit_u64(number)
    } else {
        visitor.visit_i128(number)
    }
}

fn visit_list<'de, V: Visitor<'de>>(list: &[Node], visitor: V) -> Result<V::Value, ReadError> {
    let mut items = Items(list.iter());
    let value = visitor.visit_seq(&mut items)?;
    match items.0.len() {
        0 => Ok(value),
        more => Err(Kind::Expected(format!("no more than {} items", list.len() - more)).into()),
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for &mut Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        self.0.next().map(|node| seed.deserialize(node).map_err(|error| error.at(node))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Entries<'a> {
    entries: std::collections::btree_map::Iter<'a, String, Node>,
    next: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        self.next = Some(node);
        let key = Node::new(node.path.clone(), node.origin.clone(), Value::Text(key.clone()));
        seed.deserialize(&key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        match self.next.take() {
            // What a type says of a value that it has read already is of this value too.
            Some(node) => seed.deserialize(node).map_err(|error| error.at(node)),
            None => Err(Error::custom("the value of a key was asked for before the key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}
