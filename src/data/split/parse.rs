//! How a plan is called on the command line.

use super::SplitPlan;
use crate::{Error, Result};
use std::fmt;

impl SplitPlan {
    /// What [`SplitPlan::parse`] reads, and what each plan holds out.
    pub const NAMES: [(&str, &str); 8] = [
        ("stratified", "a tenth of the cells of each perturbation; nothing is unseen"),
        ("doubles[:FRACTION]", "half (or FRACTION) of the doubles whose two singles were measured"),
        ("constae", "half of the doubles, by the protocol of Ahlmann-Eltze et al. 2025"),
        ("simulation", "a quarter of the genes and of the doubles of the others, as in GEARS"),
        ("perturbations[:FRACTION]", "a quarter (or FRACTION) of the genes and every condition with one of them"),
        ("combos", "35 % of the combinations (35 % more for validation), half of the controls, as in PerturBench"),
        ("context:COLUMN[=VALUE]", "the perturbed cells with a value of a column; without VALUE each value in turn"),
        ("cross-dataset:FILE", "the perturbed cells of another dataset"),
    ];

    /// Reads the name of a plan: see [`SplitPlan::NAMES`]. All that it does not say has its default.
    ///
    /// # Errors
    /// An unknown name (the message lists all), a missing or malformed part after the colon.
    pub fn parse(name: &str, seed: u64) -> Result<Self> {
        let (plan, detail) = match name.split_once(':') {
            Some((plan, detail)) => (plan, Some(detail)),
            None => (name, None),
        };
        let with = |default: Self, detailed: &dyn Fn(f64) -> Self| match detail {
            None => Ok(default),
            Some(text) => fraction(name, text).map(detailed),
        };
        let alone = |plan: Self| match detail {
            None => Ok(plan),
            Some(_) => {
                Err(Error::config(format!("the split {name:?} has something after the colon; it takes nothing")))
            }
        };
        let needed = |what: &str| match detail.map(str::trim) {
            Some(detail) if !detail.is_empty() => Ok(detail),
            _ => Err(Error::config(format!("the split {name:?} must say {what}"))),
        };
        match plan.trim() {
            "stratified" => alone(Self::stratified(seed)),
            "doubles" => with(Self::doubles(seed), &|test| Self::Doubles { test, seed }),
            "constae" => alone(Self::Constae { seed }),
            "simulation" => alone(Self::simulation(seed)),
            "perturbations" => {
                with(Self::perturbations(seed), &|test| Self::Perturbations { test, validation: 0.0, seed })
            }
            "combos" => alone(Self::combos(seed)),
            "context" => {
                let detail = needed("which column of cells: context:COLUMN or context:COLUMN=VALUE")?;
                let (column, value) = match detail.split_once('=') {
                    Some((_, "")) => return Err(Error::config(format!("the split {name:?} has no value after the ="))),
                    Some((column, value)) => (column, Some(value)),
                    None => (detail, None),
                };
                Ok(Self::context(column, value, seed))
            }
            "cross-dataset" | "cross_dataset" => {
                Ok(Self::cross_dataset(needed("which file: cross-dataset:FILE")?, seed))
            }
            _ => Err(Error::config(format!(
                "there is no split {name:?}; there are {}",
                Self::NAMES.map(|(name, _)| name).join(", ")
            ))),
        }
    }
}

fn fraction(name: &str, text: &str) -> Result<f64> {
    text.trim().parse().ok().filter(|fraction| *fraction > 0.0 && *fraction <= 1.0).ok_or_else(|| {
        Error::config(format!(
            "the split {name:?} gives {text:?} as a fraction; it must be a number above 0 and up to 1"
        ))
    })
}

impl fmt::Display for SplitPlan {
    /// As [`SplitPlan::parse`] reads it, without the seed and without what it cannot say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stratified { .. } => f.write_str("stratified"),
            Self::Doubles { test, .. } => write!(f, "doubles:{test}"),
            Self::Constae { .. } => f.write_str("constae"),
            Self::Simulation { .. } => f.write_str("simulation"),
            Self::Perturbations { test, .. } => write!(f, "perturbations:{test}"),
            Self::Combos { .. } => f.write_str("combos"),
            Self::Context { column, value: None, .. } => write!(f, "context:{column}"),
            Self::Context { column, value: Some(value), .. } => write!(f, "context:{column}={value}"),
            Self::CrossDataset { file, .. } => write!(f, "cross-dataset:{}", file.display()),
        }
    }
}
