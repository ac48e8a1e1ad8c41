//! Looks at values while the parser reads them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Bounds, Glance, HOPS_MAX, Id, Member, Members, Only, Rules};

/// Looks at one value.
#[derive(Clone, Copy)]
pub(super) struct Look<'g> {
    pub(super) glance: &'g Glance,
    pub(super) node: Id,
}

impl Look<'_> {
    fn scalar<E>(self, fits: impl Fn(&Rules) -> bool) -> Result<bool, E> {
        Ok(self.glance.scalar(self.node, HOPS_MAX, &fits))
    }

    fn at(self, node: Id) -> Self {
        Self { node, ..self }
    }

    fn is_anything(self) -> bool {
        self.glance.anything == Some(self.node)
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.is_anything() {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| true);
        }
        deserializer.deserialize_any(self)
    }
}

/// What does not fit is left at once, with the rest unread: the parser takes that for an error, which means the same.
impl<'de> Visitor<'de> for Look<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        self.scalar(|rules| rules.null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        self.scalar(|rules| rules.boolean)
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers beyond what is exact fit no bounds")]
    fn visit_i64<E>(self, number: i64) -> Result<bool, E> {
        let number = number as f64;
        self.scalar(|rules| rules.number.as_ref().is_some_and(|bounds| bounds.fit(number, true)))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers beyond what is exact fit no bounds")]
    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        let number = number as f64;
        self.scalar(|rules| rules.number.as_ref().is_some_and(|bounds| bounds.fit(number, true)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        let fits = |bounds: &Bounds| bounds.fit(number, number.fract() == 0.0);
        self.scalar(|rules| rules.number.as_ref().is_some_and(fits))
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        self.scalar(|rules| rules.string.as_ref().is_some_and(|words| words.have(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let Only::One(node) = self.glance.only(self.node, HOPS_MAX, &|rules| rules.array) else {
            return Ok(false);
        };
        while let Some(fits) = items.next_element_seed(self.at(node))? {
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let Only::One(members) = self.glance.only(self.node, HOPS_MAX, &|rules| rules.object.as_ref()) else {
            return Ok(false);
        };
        let mut there = 0;
        while let Some(member) = map.next_key_seed(Name(members))? {
            let (node, bit) = member.map_or((members.others, 0), |member| (member.node, member.bit));
            if !map.next_value_seed(self.at(node))? {
                return Ok(false);
            }
            there |= bit;
        }
        Ok(there == members.required)
    }
}

/// Looks up a member by its name.
struct Name<'g>(&'g Members);

impl<'de, 'g> DeserializeSeed<'de> for Name<'g> {
    type Value = Option<&'g Member>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'g> Visitor<'_> for Name<'g> {
    type Value = Option<&'g Member>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(name))
    }
}
