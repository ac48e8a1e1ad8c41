//! Figures, their targets, and how they are shown.

use serde_json::{Value, json};

/// Something measured.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub value: f64,
    pub target: Target,
    /// What it was made of, for people.
    pub detail: String,
}

#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    #[must_use]
    pub fn is_reached(&self) -> bool {
        match self.target {
            Target::AtLeast(target) => self.value >= target,
            Target::AtMost(target) => self.value <= target,
        }
    }
}

/// One line for each figure.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:<45} {:>14} {:>14}  {:<6} {}\n",
        "FIGURE", "MEASURED", "TARGET", "", "DETAIL"
    );
    for figure in figures {
        let target = match figure.target {
            Target::AtLeast(target) => format!(">= {}", number(target, figure.unit)),
            Target::AtMost(target) => format!("<= {}", number(target, figure.unit)),
        };
        let verdict = if figure.is_reached() { "pass" } else { "MISS" };
        let value = number(figure.value, figure.unit);
        text.push_str(&format!(
            "{:<45} {value:>14} {target:>14}  {verdict:<6} {}\n",
            figure.name, figure.detail
        ));
    }
    text
}

#[must_use]
pub fn json(figures: &[Figure]) -> Value {
    let figure = |figure: &Figure| {
        let (bound, target) = match figure.target {
            Target::AtLeast(target) => ("at_least", target),
            Target::AtMost(target) => ("at_most", target),
        };
        json!({
            "name": figure.name, "unit": figure.unit, "value": figure.value, bound: target,
            "reached": figure.is_reached(), "detail": figure.detail,
        })
    };
    json!({"figures": figures.iter().map(figure).collect::<Vec<_>>()})
}

fn number(value: f64, unit: &str) -> String {
    if value >= 100.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.2} {unit}")
    }
}

/// The middle value; the mean of the two middle ones of an even number.
///
/// # Panics
///
/// Without values.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}
