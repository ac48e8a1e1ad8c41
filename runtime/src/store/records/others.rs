//! What others changed of a model while a run writes it. Changes of a model have one order, and each write learns of the one before it,
//! so that what a run did not change itself lies in few spans of that order.

use crate::store::sql::Sql;

/// Spans that one run keeps apart. Beyond that the earliest are joined: what the run itself wrote between them then counts as
/// changed by others.
const SPANS_MAX: usize = 64;

/// Changes by others since a run began to look: they are not overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OthersChanges {
    /// The last change that is accounted for.
    known_until_us: i64,
    /// After the first, up to and with the second.
    spans: Vec<(i64, i64)>,
}

impl OthersChanges {
    /// Of changes after that moment.
    #[must_use]
    pub fn after(last_change_us: i64) -> Self {
        Self {
            known_until_us: last_change_us,
            spans: Vec::new(),
        }
    }

    /// The run is about to write; the last change before is that of `before_us`.
    pub(super) fn learn(&mut self, before_us: i64) {
        if before_us <= self.known_until_us {
            return;
        }
        self.spans.push((self.known_until_us, before_us));
        self.known_until_us = before_us;
        if let [(start, _), (_, end), ..] = self.spans[..]
            && self.spans.len() > SPANS_MAX
        {
            self.spans.splice(..2, [(start, end)]);
        }
    }

    /// The run has written.
    pub(super) fn wrote(&mut self, modified_at_us: i64) {
        self.known_until_us = modified_at_us;
    }

    /// Adds that a record was changed by others.
    pub(super) fn push_changed(&self, sql: &mut Sql) {
        sql.push(" AND (1 = 0");
        for (after_us, until_us) in &self.spans {
            sql.push(" OR (records.modified_at_us > ").bind(*after_us);
            sql.push(" AND records.modified_at_us <= ").bind(*until_us).push(")");
        }
        sql.push(")");
    }

    /// Adds that a record was not changed by others.
    pub(super) fn push_unchanged(&self, sql: &mut Sql) {
        for (after_us, until_us) in &self.spans {
            sql.push(" AND NOT (records.modified_at_us > ").bind(*after_us);
            sql.push(" AND records.modified_at_us <= ").bind(*until_us).push(")");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_changes_lie_between_spans() {
        let mut others = OthersChanges::after(10);
        others.learn(10);
        others.wrote(11);
        others.learn(11);
        assert!(others.spans.is_empty());
        others.learn(14);
        others.learn(14);
        others.wrote(15);
        others.learn(16);
        assert_eq!(others.spans, [(11, 14), (15, 16)]);
    }

    #[test]
    fn there_are_few_spans() {
        let mut others = OthersChanges::after(0);
        for change in 0..1_000 {
            others.learn(change * 2 + 1);
            others.wrote(change * 2 + 2);
        }
        assert_eq!(others.spans.len(), SPANS_MAX);
        assert_eq!(others.spans.first().unwrap().0, 0);
        assert_eq!(others.spans.last().unwrap(), &(1_998, 1_999));
    }
}
