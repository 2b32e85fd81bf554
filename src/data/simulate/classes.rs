//! The interaction classes of Norman 2019: how the effect of a double relates to the effects of its two singles.
//!
//! Norman et al. (Science 2019, doi 10.1126/science.aax4438) fit the effect of a double as
//!
//! ```text
//! d_ab = c_a d_a + c_b d_b + residual
//! ```
//!
//! and name the interaction by the size of the coefficients, by how unequal they are, by how similar the two singles
//! are, and by how much the residual holds. The simulation turns this around: each class *is* a choice of
//! coefficients, of the similarity of the two singles, and of a residual direction that neither single has.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How the effect of a double relates to those of its singles, `d_ab = c_a d_a + c_b d_b + residual`
/// (Norman et al. 2019), in log expression.
///
/// | class | `c_a` | `c_b` | residual | the two singles |
/// |---|---|---|---|---|
/// | additive | 1 | 1 | 0 | unrelated |
/// | synergy, similar phenotype | 1.4 | 1.4 | 0 | similar |
/// | synergy, dissimilar phenotype | 1.4 | 1.4 | 0 | unrelated |
/// | suppression | 0.4 | 0.4 | 0 | unrelated |
/// | epistasis | 1 | 0.1 | 0 | unrelated; `a` hides `b` |
/// | redundancy | 0.5 | 0.5 | 0 | similar, so that `d_ab` is about `d_a` and about `d_b` |
/// | potentiation | 2 | 0.5 | 0 | `b` alone does little, but strengthens `a` |
/// | neomorphism | 0.5 | 0.5 | 1 | unrelated |
///
/// The residual is orthogonal to both singles, in units of their mean root-mean-square effect. The activation of the
/// two perturbed genes themselves is no part of `d_a` and `d_b` here: both guides are in the cell whatever the class,
/// so a double always has both activations in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InteractionClass {
    /// The sum of the two effects.
    Additive,
    /// More than the sum of two similar effects.
    SynergySimilar,
    /// More than the sum of two unrelated effects.
    SynergyDissimilar,
    /// Less than the sum.
    Suppression,
    /// One effect hides the other.
    Epistasis,
    /// Two similar effects that are not stronger together than alone.
    Redundancy,
    /// A perturbation that does little by itself strengthens the other.
    Potentiation,
    /// An effect that neither single has.
    Neomorphism,
}

/// What makes a double of its two singles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recipe {
    /// Coefficient of the first single's effect.
    pub first: f64,
    /// Coefficient of the second single's effect.
    pub second: f64,
    /// Root-mean-square of the residual direction, relative to the mean of the two singles'.
    pub residual: f64,
}

/// Which two singles a class combines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairing {
    /// Two singles of one family, whose effects are correlated.
    Similar,
    /// Two singles of different families.
    Unrelated,
    /// A strong single and a weak one.
    StrongAndWeak,
}

impl InteractionClass {
    /// All classes.
    pub const ALL: [Self; 8] = [
        Self::Additive,
        Self::SynergySimilar,
        Self::SynergyDissimilar,
        Self::Suppression,
        Self::Epistasis,
        Self::Redundancy,
        Self::Potentiation,
        Self::Neomorphism,
    ];

    /// The class's name in files: `synergy_similar`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Additive => "additive",
            Self::SynergySimilar => "synergy_similar",
            Self::SynergyDissimilar => "synergy_dissimilar",
            Self::Suppression => "suppression",
            Self::Epistasis => "epistasis",
            Self::Redundancy => "redundancy",
            Self::Potentiation => "potentiation",
            Self::Neomorphism => "neomorphism",
        }
    }

    /// The class of that name, as written here ([`InteractionClass::name`]) or in GEARS' tables of Norman 2019
    /// (`SYNERGY_SIMILAR_PHENO`, `SUPPRESSOR`, `NEOMORPHIC`, ...). `None` for anything else, such as `UNLABELLED`.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.trim_end_matches("_pheno").trim_end_matches("_phenotype");
        match name {
            "suppressor" => Some(Self::Suppression),
            "redundant" => Some(Self::Redundancy),
            "neomorphic" => Some(Self::Neomorphism),
            _ => Self::ALL.into_iter().find(|class| class.name() == name),
        }
    }

    pub(super) fn recipe(self) -> Recipe {
        let (first, second, residual) = match self {
            Self::Additive => (1.0, 1.0, 0.0),
            Self::SynergySimilar | Self::SynergyDissimilar => (1.4, 1.4, 0.0),
            Self::Suppression => (0.4, 0.4, 0.0),
            Self::Epistasis => (1.0, 0.1, 0.0),
            Self::Redundancy => (0.5, 0.5, 0.0),
            Self::Potentiation => (2.0, 0.5, 0.0),
            Self::Neomorphism => (0.5, 0.5, 1.0),
        };
        Recipe { first, second, residual }
    }

    pub(super) fn pairing(self) -> Pairing {
        match self {
            Self::SynergySimilar | Self::Redundancy => Pairing::Similar,
            Self::Potentiation => Pairing::StrongAndWeak,
            _ => Pairing::Unrelated,
        }
    }
}

impl fmt::Display for InteractionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
