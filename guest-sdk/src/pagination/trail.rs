//! Where a pagination has been, so that it does not go in circles for ever.

use std::collections::VecDeque;

/// Pages a circle may be long to be noticed. Longer ones end at the maximum of pages.
const CIRCLE_PAGES_MAX: usize = 1_000;

/// Digests of the last cursors or links. Two different ones share a digest once in 2⁶⁴.
#[derive(Debug, Default)]
pub(super) struct Trail {
    digests: VecDeque<u64>,
}

impl Trail {
    /// Notes that the pagination goes there; false when it was there before.
    pub(super) fn goes_on(&mut self, to: &str) -> bool {
        let digest = digest(to);
        if self.digests.contains(&digest) {
            return false;
        }
        if self.digests.len() == CIRCLE_PAGES_MAX {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
        true
    }
}

/// FNV-1a with 64 bits, which is small. That somebody could make up two texts with one digest only costs him his own run.
pub(super) fn digest(text: &str) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    text.bytes()
        .fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_fnv_1a() {
        assert_eq!(digest(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn repeats_and_circles_are_noticed() {
        let mut trail = Trail::default();
        assert!(trail.goes_on("a"));
        assert!(!trail.goes_on("a"));
        for step in 1..CIRCLE_PAGES_MAX {
            assert!(trail.goes_on(&step.to_string()), "{step}");
        }
        assert!(!trail.goes_on("a"), "the longest circle that is noticed");
        assert!(trail.goes_on("new"));
        assert_eq!(trail.digests.len(), CIRCLE_PAGES_MAX);
        assert!(trail.goes_on("a"), "what is kept is bounded");
    }
}
