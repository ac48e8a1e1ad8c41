//! Differences between two runs, for people: the place, then what was there and what is there now.

use serde_json::Value;

use super::output::printable;
use crate::recording::Difference;

/// Lines of one value; a longer one is cut.
const VALUE_LINES_MAX: usize = 20;

/// One difference after the other, `-` before what was and `+` before what is.
pub fn render(differences: &[Difference]) -> String {
    differences.iter().map(one).collect()
}

fn one(difference: &Difference) -> String {
    let side = |sign: &str, value: &Option<Value>| value.as_ref().map_or_else(String::new, |value| lines(sign, value));
    format!(
        "  {}\n{}{}",
        printable(&difference.place),
        side("-", &difference.before),
        side("+", &difference.after)
    )
}

fn lines(sign: &str, value: &Value) -> String {
    let text = format!("{value:#}");
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        if number == VALUE_LINES_MAX {
            out.push_str(&format!("    {sign} …\n"));
            break;
        }
        out.push_str(&format!("    {sign} {}\n", printable(line)));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_both_sides() {
        let differences = [
            Difference {
                place: "output/n".into(),
                before: Some(json!(1)),
                after: Some(json!("x")),
            },
            Difference {
                place: "record Issue 7".into(),
                before: None,
                after: Some(json!({"id": 7})),
            },
        ];
        let expected = "  output/n\n    - 1\n    + \"x\"\n  record Issue 7\n    + {\n    +   \"id\": 7\n    + }\n";
        assert_eq!(render(&differences), expected);
    }
}
