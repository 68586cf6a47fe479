//! The one source of chance of a simulation.

/// Where numbers come from.
#[derive(Clone, Debug)]
pub enum Random {
    /// SplitMix64: small, and good enough to draw faults from. Not fastrand, as in other tests:
    /// the seeds that are named in tests and documents depend on this very stream.
    Seeded(u64),
    /// Bytes that somebody else has chosen, as a fuzzer does; when they are used up, zeros.
    Chosen { bytes: Vec<u8>, at: usize },
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self::Seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    pub fn chosen(bytes: &[u8]) -> Self {
        Self::Chosen { bytes: bytes.to_vec(), at: 0 }
    }

    /// Nothing was chosen beyond this.
    pub fn is_used_up(&self) -> bool {
        matches!(self, Self::Chosen { bytes, at } if *at >= bytes.len())
    }

    fn next(&mut self, bound: u64) -> u64 {
        match self {
            Self::Seeded(state) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                z ^ (z >> 31)
            }
            Self::Chosen { bytes, at } => {
                // As few bytes as the bound needs, so that changing one changes one decision.
                let count = (u64::BITS - (bound - 1).leading_zeros()).div_ceil(8) as usize;
                let taken = &bytes[(*at).min(bytes.len())..(*at + count).min(bytes.len())];
                *at += count;
                taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
        }
    }

    /// Less than `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next(bound) % bound
    }

    /// In so many of a thousand cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len() as u64) as usize) }
    }
}
