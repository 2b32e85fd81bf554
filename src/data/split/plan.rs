//! The plans: what is held out, every setting with its default, and the name on the command line.

use super::Split;
use crate::{
    Error, Result,
    data::{Conditions, DATASET_COLUMN, Dataset},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What is held out, and by which rule.
///
/// All plans but `Stratified` hold out conditions. Draws are our own (ChaCha8 and a Fisher-Yates shuffle that is
/// written out) over sorted names, so that a plan and its seed mean the same split on every machine, for any order of
/// the file's rows and any number of threads. The protocols of others are followed in their rules, not in their random
/// streams: the same seed does not give the very conditions that numpy or Python would draw.
///
/// Guides of one gene (`EGR1_1`, `EGR1_2`) count as that gene where genes are held out (`Simulation`,
/// `Perturbations`), and so do doses of one name: a gene is not unseen while another guide or dose of it is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "plan", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SplitPlan {
    /// Cells at random within each condition, so that every one (control too) with at least
    /// [`MIN_CELLS_TO_DIVIDE`](super::MIN_CELLS_TO_DIVIDE) cells stands in each part of a positive fraction. Nothing is
    /// unseen here: it says how well cells are modelled, not how well a perturbation is predicted.
    Stratified {
        /// Fraction of each condition's cells that stop the training, 0 to 1; 0.1 unless given.
        #[serde(default = "tenth")]
        validation: f64,
        /// Fraction of each condition's cells that the model is judged by, 0 to 1; 0.1 unless given.
        #[serde(default = "tenth")]
        test: f64,
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
    /// Perturbations of two genes held out: all singles are trained on, and a part of the doubles. A double without
    /// both singles among the measured ones cannot be added up, so it is not judged; it stays in training.
    Doubles {
        /// Fraction of the doubles whose two singles were measured that the model is judged by, above 0 and up to 1;
        /// 0.5 unless given.
        #[serde(default = "half")]
        test: f64,
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
    /// Perturbations of three genes held out: all singles and doubles are trained on. A triple without its three singles among the
    /// measured ones cannot be added up, so it is not judged; it stays in training. The groups say how many of the three doubles of a
    /// triple were measured, and are trained on: `doubles2of3`.
    Triples {
        /// Fraction of the triples whose three singles were measured that the model is judged by, above 0 and up to 1; 1 unless given.
        #[serde(default = "whole")]
        test: f64,
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
    /// The protocol of Ahlmann-Eltze et al. 2025 (const-ae, `prepare_perturbation_data.py`) for any number `n` of
    /// doubles (theirs: 124): all singles and `n / 2` doubles are trained on. The others are theirs in two parts, `test`
    /// (half, rounded down) and `validation`, **and both are scored**; here both are judged and no predictor sees
    /// either, the parts are groups. Their numpy draw is not reproduced. As in `Doubles`, a double without both
    /// singles stays in training; their data has none.
    Constae {
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
    /// The `simulation` split of GEARS (Roohani et al. 2023, `get_simulation_split`): a part of the genes is seen.
    /// Singles of seen genes and a part of the combinations of seen genes are trained on; judged are, in groups, the
    /// other combinations of seen genes (`seen2`), those with one seen gene (`seen1`), with none (`seen0`), and the
    /// singles of unseen genes (`unseen_single`). Of three genes or more the groups are `seen2of3` and so on. The same
    /// rule on what is left takes the validation conditions.
    Simulation {
        /// Fraction of genes that are seen, rounded down; 0.75 unless given.
        #[serde(default = "three_quarters")]
        seen_genes: f64,
        /// Fraction of the combinations of seen genes that are trained on, rounded down; 0.75 unless given.
        #[serde(default = "three_quarters")]
        trained_combinations: f64,
        /// Both fractions when the training conditions are divided again for validation; 0.9 unless given, 1 for none.
        #[serde(default = "nine_tenths")]
        validation_seen: f64,
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
    /// Unseen perturbations: a part of the genes is held out, and every condition with such a gene. Groups as in
    /// `Simulation`.
    Perturbations {
        /// Fraction of genes that are held out, above 0 and below 1; 0.25 unless given, what GEARS holds out.
        #[serde(default = "quarter")]
        test: f64,
        /// Fraction of genes whose conditions (without a held-out gene) are for validation; 0 unless given.
        #[serde(default)]
        validation: f64,
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
    /// The combinations of PerturBench (Wu et al. 2024, `split_combinations`): a part of the conditions of two genes
    /// or more is held out, half of it (rounded up) to judge, half for validation. A part of the control cells of each
    /// context trains, half of the others (rounded up) goes to test, half to validation.
    Combos {
        /// Fraction of the combinations that is held out, rounded down; 0.7 unless given.
        #[serde(default = "seven_tenths")]
        held_out: f64,
        /// Fraction of the control cells that are trained on, rounded down; 0.5 unless given.
        #[serde(default = "half")]
        control_train: f64,
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
    /// Unseen doses: of every name at several doses, one dose is judged, all others are trained on. Combinations are trained on.
    Doses {
        /// Which dose.
        #[serde(default)]
        held_out: HeldOutDose,
        /// Chooses among the middle doses of each name.
        seed: u64,
    },
    /// A value of a column of cells held out (a lane, replicate, stimulation, cell type): its control cells are
    /// trained on, its perturbations are judged, all other cells are trained on. The groups say whether the
    /// perturbation is trained on in another context (`seen_elsewhere`) or not (`unseen_elsewhere`).
    Context {
        /// The column.
        column: String,
        /// The value that is held out. Without it each value that has control cells and perturbed ones is held out in
        /// turn: of `n` such values, sorted, number `seed mod n`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// Fraction of the held-out context's perturbations that are trained on all the same, 0 to below 1; 0 unless
        /// given.
        #[serde(default)]
        keep: f64,
        /// Chooses the value, and the perturbations that are kept.
        seed: u64,
    },
    /// Trained on one dataset, judged on another: [`SplitPlan::joined`] puts the two together on the genes that they
    /// share by name, with the control cells of both and the perturbations of the other that this one has, too; then
    /// the other is the held-out context, as in `Context`.
    CrossDataset {
        /// The file of the dataset that is judged.
        file: PathBuf,
        /// As in `Context`.
        #[serde(default)]
        keep: f64,
        /// Chooses the perturbations that are kept.
        seed: u64,
    },
}

/// Which dose of a name is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldOutDose {
    /// One between the lowest and the highest, of names at three doses or more: to interpolate.
    #[default]
    Middle,
    /// The highest, of names at two doses or more: to extrapolate.
    Highest,
}

impl fmt::Display for HeldOutDose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Middle => "middle",
            Self::Highest => "highest",
        })
    }
}

fn tenth() -> f64 {
    0.1
}
fn quarter() -> f64 {
    0.25
}
fn half() -> f64 {
    0.5
}
fn whole() -> f64 {
    1.0
}
fn seven_tenths() -> f64 {
    0.7
}
fn three_quarters() -> f64 {
    0.75
}
fn nine_tenths() -> f64 {
    0.9
}

impl Default for SplitPlan {
    /// 80 % training, 10 % validation, 10 % test, seed 0.
    fn default() -> Self {
        Self::Stratified { validation: tenth(), test: tenth(), seed: 0 }
    }
}

impl SplitPlan {
    /// [`SplitPlan::Stratified`] with its defaults.
    pub fn stratified(seed: u64) -> Self {
        Self::Stratified { validation: tenth(), test: tenth(), seed }
    }

    /// [`SplitPlan::Doubles`], half of them judged.
    pub fn doubles(seed: u64) -> Self {
        Self::Doubles { test: half(), seed }
    }

    /// [`SplitPlan::Triples`], all of them judged.
    pub fn triples(seed: u64) -> Self {
        Self::Triples { test: whole(), seed }
    }

    /// [`SplitPlan::Simulation`] with the fractions of GEARS.
    pub fn simulation(seed: u64) -> Self {
        Self::Simulation {
            seen_genes: three_quarters(),
            trained_combinations: three_quarters(),
            validation_seen: nine_tenths(),
            seed,
        }
    }

    /// [`SplitPlan::Perturbations`] with its defaults.
    pub fn perturbations(seed: u64) -> Self {
        Self::Perturbations { test: quarter(), validation: 0.0, seed }
    }

    /// [`SplitPlan::Combos`] with the fractions of PerturBench.
    pub fn combos(seed: u64) -> Self {
        Self::Combos { held_out: seven_tenths(), control_train: half(), seed }
    }

    /// [`SplitPlan::Context`] with nothing kept for training.
    pub fn context(column: &str, value: Option<&str>, seed: u64) -> Self {
        Self::Context { column: column.to_owned(), value: value.map(str::to_owned), keep: 0.0, seed }
    }

    /// [`SplitPlan::CrossDataset`] with nothing kept for training.
    pub fn cross_dataset(file: impl Into<PathBuf>, seed: u64) -> Self {
        Self::CrossDataset { file: file.into(), keep: 0.0, seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        match *self {
            Self::Stratified { seed, .. }
            | Self::Doubles { seed, .. }
            | Self::Triples { seed, .. }
            | Self::Constae { seed }
            | Self::Simulation { seed, .. }
            | Self::Perturbations { seed, .. }
            | Self::Combos { seed, .. }
            | Self::Doses { seed, .. }
            | Self::Context { seed, .. }
            | Self::CrossDataset { seed, .. } => seed,
        }
    }

    /// The column of cells that the conditions must be made with: [`Conditions::of`].
    pub fn context_column(&self) -> Option<&str> {
        match self {
            Self::Context { column, .. } => Some(column),
            Self::CrossDataset { .. } => Some(DATASET_COLUMN),
            _ => None,
        }
    }

    /// The dataset that is judged, where it is another file: see [`SplitPlan::joined`].
    pub fn other_file(&self) -> Option<&Path> {
        match self {
            Self::CrossDataset { file, .. } => Some(file),
            _ => None,
        }
    }

    /// Divides the cells of `dataset`: [`SplitPlan::divide`], as lists of rows.
    ///
    /// # Errors
    /// As [`SplitPlan::divide`].
    pub fn apply(&self, dataset: &Dataset) -> Result<Split> {
        let conditions = Conditions::of(dataset, self.context_column())?;
        self.divide(&conditions)?.split(&conditions)
    }
}

impl Dataset {
    /// Divides the cells: [`SplitPlan::apply`].
    ///
    /// # Errors
    /// As [`SplitPlan::apply`].
    pub fn split(&self, plan: &SplitPlan) -> Result<Split> {
        plan.apply(self)
    }
}

impl SplitPlan {
    /// What [`SplitPlan::parse`] reads, and what each plan holds out.
    pub const NAMES: [(&str, &str); 10] = [
        ("stratified", "a tenth of the cells of each perturbation; nothing is unseen"),
        ("doubles[:FRACTION]", "half (or FRACTION) of the doubles whose two singles were measured"),
        (
            "triples[:FRACTION]",
            "all (or FRACTION) of the triples whose three singles were measured; doubles are trained on",
        ),
        ("constae", "half of the doubles, by the protocol of Ahlmann-Eltze et al. 2025"),
        ("simulation", "a quarter of the genes and of the doubles of the others, as in GEARS"),
        ("perturbations[:FRACTION]", "a quarter (or FRACTION) of the genes and every condition with one of them"),
        ("combos", "35 % of the combinations (35 % more for validation), half of the controls, as in PerturBench"),
        (
            "doses[:middle|highest]",
            "a middle dose (or the highest) of every name at several doses; `perturbations` holds names out at all doses",
        ),
        (
            "context:COLUMN[=VALUE]",
            "the perturbed cells with a value of a column; without VALUE each value in turn; COLUMN+COLUMN for combinations of values",
        ),
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
            "triples" => with(Self::triples(seed), &|test| Self::Triples { test, seed }),
            "constae" => alone(Self::Constae { seed }),
            "simulation" => alone(Self::simulation(seed)),
            "perturbations" => {
                with(Self::perturbations(seed), &|test| Self::Perturbations { test, validation: 0.0, seed })
            }
            "combos" => alone(Self::combos(seed)),
            "doses" => {
                let held_out = match detail.map(str::trim) {
                    None | Some("middle") => HeldOutDose::Middle,
                    Some("highest") => HeldOutDose::Highest,
                    Some(other) => {
                        return Err(Error::config(format!(
                            "the split {name:?} holds out {other:?}; write doses:middle or doses:highest, or perturbations for all \
                             doses of a name"
                        )));
                    }
                };
                Ok(Self::Doses { held_out, seed })
            }
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
            Self::Triples { test, .. } => write!(f, "triples:{test}"),
            Self::Constae { .. } => f.write_str("constae"),
            Self::Simulation { .. } => f.write_str("simulation"),
            Self::Perturbations { test, .. } => write!(f, "perturbations:{test}"),
            Self::Combos { .. } => f.write_str("combos"),
            Self::Doses { held_out, .. } => write!(f, "doses:{held_out}"),
            Self::Context { column, value: None, .. } => write!(f, "context:{column}"),
            Self::Context { column, value: Some(value), .. } => write!(f, "context:{column}={value}"),
            Self::CrossDataset { file, .. } => write!(f, "cross-dataset:{}", file.display()),
        }
    }
}
