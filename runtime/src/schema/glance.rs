//! A first look at a record: whether it surely fits its schema. It is read once, from its text, without a tree being built of it, which
//! costs a fraction of what a validator does. It knows the keywords that schemas of plain data are made of; a schema with others has no
//! glance, and what a glance is not sure of is for the validator to judge. So it decides nothing but that a validator need not look.
//!
//! Keywords are those of JSON Schema 2020-12, in which `format` asserts nothing unless one asks for it.

mod look;
mod make;

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use look::Look;

/// References and alternatives within each other before something of the value itself is asked for.
const HOPS_MAX: u32 = 16;
/// From here on not every integer is a number of its own.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A schema made ready to be glanced with. The first node is the whole.
#[derive(Debug)]
pub(super) struct Glance {
    nodes: Vec<Node>,
    /// The node that everything fits, if there is one.
    anything: Option<Id>,
}

type Id = usize;

#[derive(Debug)]
enum Node {
    /// What fits, by the type of the value.
    Rules(Rules),
    /// It fits one of these, or exactly one.
    Alternatives {
        nodes: Vec<Id>,
        exactly_one: bool,
    },
    Same(Id),
}

#[derive(Debug, Default)]
struct Rules {
    null: bool,
    boolean: bool,
    number: Option<Bounds>,
    string: Option<Words>,
    /// What its items fit.
    array: Option<Id>,
    object: Option<Members>,
}

#[derive(Debug)]
struct Bounds {
    only_integers: bool,
    min: f64,
    max: f64,
}

#[derive(Debug)]
enum Words {
    Any,
    These(Vec<Box<str>>),
}

#[derive(Debug)]
struct Members {
    /// Sorted by name.
    known: Vec<(Box<str>, Member)>,
    /// What all that have to be there make together.
    required: u64,
    /// What those that are not known fit.
    others: Id,
}

#[derive(Debug)]
struct Member {
    node: Id,
    /// One bit if it has to be there, else none.
    bit: u64,
}

impl Glance {
    /// None for a schema that has something in it that is not known here.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        make::glance(schema)
    }

    /// False when it does not fit or is no JSON, and also when that cannot be told here.
    pub(super) fn surely_fits(&self, json: &str) -> bool {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let look = Look { glance: self, node: 0 };
        matches!(look.deserialize(&mut deserializer), Ok(true)) && deserializer.end().is_ok()
    }

    /// Whether `fits` is true of the rules of a node, where there are alternatives of one or exactly one.
    fn scalar(&self, node: Id, hops_left: u32, fits: &impl Fn(&Rules) -> bool) -> bool {
        let Some(hops_left) = hops_left.checked_sub(1) else {
            return false;
        };
        match self.nodes.get(node) {
            Some(Node::Rules(rules)) => fits(rules),
            Some(Node::Same(node)) => self.scalar(*node, hops_left, fits),
            Some(Node::Alternatives { nodes, exactly_one }) => {
                let fitting = nodes.iter().filter(|node| self.scalar(**node, hops_left, fits)).count();
                fitting == 1 || (fitting > 1 && !exactly_one)
            }
            None => false,
        }
    }

    /// What a node says of arrays or of objects, where only one alternative allows them: what is in them can be looked at only once.
    fn only<'g, T>(&'g self, node: Id, hops_left: u32, part: &impl Fn(&'g Rules) -> Option<T>) -> Only<T> {
        let Some(hops_left) = hops_left.checked_sub(1) else {
            return Only::Several;
        };
        match self.nodes.get(node) {
            Some(Node::Rules(rules)) => part(rules).map_or(Only::None, Only::One),
            Some(Node::Same(node)) => self.only(*node, hops_left, part),
            Some(Node::Alternatives { nodes, .. }) => {
                let mut only = Only::None;
                for node in nodes {
                    only = match (only, self.only(*node, hops_left, part)) {
                        (found, Only::None) => found,
                        (Only::None, found) => found,
                        (Only::One(_) | Only::Several, Only::One(_) | Only::Several) => Only::Several,
                    };
                }
                only
            }
            None => Only::None,
        }
    }
}

enum Only<T> {
    None,
    One(T),
    Several,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            only_integers: false,
            min: f64::NEG_INFINITY,
            max: f64::INFINITY,
        }
    }
}

impl Bounds {
    fn fit(&self, number: f64, is_integer: bool) -> bool {
        // Floats below are as exact as their text; integers above are compared by somebody else.
        let is_bounded = self.min.is_finite() || self.max.is_finite();
        (is_integer || !self.only_integers)
            && (!is_bounded || (number.abs() < EXACT_MAX && self.min <= number && number <= self.max))
    }
}

impl Members {
    fn find(&self, name: &str) -> Option<&Member> {
        let place = self.known.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.known.get(place).map(|(_, member)| member)
    }
}

impl Words {
    fn have(&self, word: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(words) => words.iter().any(|known| **known == *word),
        }
    }
}

#[cfg(test)]
mod tests;
