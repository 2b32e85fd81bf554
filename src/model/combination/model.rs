//! The combination model: fitting, predictions, and the contract of all models.

use super::{
    CombinationConfig, CombinationSettings, Mixture, UnseenChoice,
    effects::{Singles, Unseen},
    kernel_ridge::KernelRidge,
    network::{Lesson, Member, Net, Space},
    scaled_sum::{COLUMNS, Combinations, ScaledSum},
};
use crate::{
    Error, Result,
    data::{Condition, DataKind, EffectTable, GeneSets, TrainingData, part_of, shuffle},
    device::Device,
    math::seeds::{derived, stream},
    model::{Abilities, Model, State, Trained},
    train::{History, Run},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// Fewer training combinations are too few to learn an interaction residual from and to choose the shares by.
const FEWEST_COMBINATIONS: usize = 6;
/// Purpose of the random streams that divide the combinations, see [`stream`].
const DIVISION: u64 = 1;
/// Purpose of the seeds of the networks, see [`derived`].
const NETWORK: u64 = 2;

/// A fitted combination model: see the equations of its module.
#[derive(Debug, Clone)]
pub struct CombinationModel {
    genes: Arc<[String]>,
    config: CombinationConfig,
    singles: Singles,
    scaled_sum: ScaledSum,
    kernel_ridge: KernelRidge,
    ensemble: Vec<Member>,
    mixture: Mixture,
    history: Vec<History>,
}

/// The interaction residuals of left-out combinations and the two estimates of them, `(combinations, genes)` each.
struct LeftOut {
    residuals: Array2<f64>,
    estimates: [Array2<f64>; 2],
}

impl CombinationModel {
    /// Fits to a table of mean effects. Of `run` the seed, the folder (each network has its own in it), whether to resume
    /// there, and the interruption. [`Model::fit`] does the same for [`TrainingData`].
    ///
    /// # Errors
    /// Settings that no model can be trained with; a GMT file that cannot be read; a loss that is not finite; effects that
    /// are all zero ([`ErrorKind::Inapplicable`](crate::ErrorKind)); an interruption.
    pub fn fit_table(data: &EffectTable, config: &CombinationConfig, run: &Run<'_>) -> Result<Self> {
        if data.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        config.validate()?;
        let sets = config.gene_sets.as_ref().map(GeneSets::open).transpose()?;
        let unseen = Unseen::fit(data, &config.features, sets.as_ref(), run)?;
        let singles = Singles::new(data, unseen);
        let all = Combinations::new(data, &singles, config.half_trust);
        let scaled_sum = ScaledSum::fit(&singles, &all, config)?;
        let width = config.kernel_width * singles.norm;
        let mut fitted = Self {
            genes: Arc::clone(&data.genes),
            config: config.clone(),
            kernel_ridge: KernelRidge::fit(all.sums.clone(), &all.residuals(&scaled_sum), &all.trust, width)?,
            scaled_sum,
            singles,
            ensemble: Vec::new(),
            mixture: Mixture::NONE,
            history: Vec::new(),
        };
        if all.len() < FEWEST_COMBINATIONS {
            return Ok(fitted);
        }
        let zeros = || Array2::zeros(all.effects.dim());
        let mut left_out = LeftOut { residuals: zeros(), estimates: [zeros(), zeros()] };
        for ensemble in 0..config.ensembles {
            let mut order: Vec<usize> = (0..all.len()).collect();
            shuffle(&mut order, &mut stream(run.seed, DIVISION, ensemble as u64));
            let folds = config.folds.min(all.len());
            for fold in 0..folds {
                run.check_interrupt()?;
                fitted.fit_without(&part_of(&order, fold, folds), data, &all, run, &mut left_out)?;
            }
        }
        let share = 1.0 / config.ensembles as f64;
        left_out.residuals *= share;
        left_out.estimates.iter_mut().for_each(|estimate| *estimate *= share);
        let allowed = [config.kernel_ridge, config.network];
        fitted.mixture = Mixture::choose(&left_out.residuals, &left_out.estimates, &all.trust, allowed);
        Ok(fitted)
    }

    /// Fits everything without the combinations `left_out`, adds the residuals of these and their estimates to `sums`, and
    /// keeps the network.
    fn fit_without(
        &mut self,
        left_out: &[usize],
        data: &EffectTable,
        all: &Combinations,
        run: &Run<'_>,
        sums: &mut LeftOut,
    ) -> Result<()> {
        let kept: Vec<usize> = (0..all.len()).filter(|row| !left_out.contains(row)).collect();
        let (train, judged) = (all.select(&kept), all.select(left_out));
        let rows: Vec<usize> =
            (0..data.len()).filter(|&row| !judged.conditions.contains(&data.conditions[row])).collect();
        let scaled_sum = ScaledSum::fit(&self.singles, &train, &self.config)?;
        let residuals = train.residuals(&scaled_sum);
        let width = self.config.kernel_width * self.singles.norm;
        let kernel_ridge = KernelRidge::fit(train.sums.clone(), &residuals, &train.trust, width)?;

        let number = self.ensemble.len();
        let lesson = Lesson { table: &data.select(&rows), combinations: &train, residuals: &residuals };
        let mut part =
            Run { seed: derived(run.seed, NETWORK, number as u64), ..run.part(&format!("network-{number}")) };
        let (member, history) = Member::train(&self.singles, &lesson, &self.config, &mut part)?;
        let by_network = member.residuals(&self.singles, &judged.conditions, &judged.singles)?;
        let truth = judged.residuals(&scaled_sum);
        for (place, &row) in left_out.iter().enumerate() {
            let add = |to: &mut Array2<f64>, values: Array1<f64>| {
                let mut to = to.row_mut(row);
                to += &values;
            };
            add(&mut sums.residuals, truth.row(place).to_owned());
            add(&mut sums.estimates[0], kernel_ridge.predict(judged.sums.row(place)));
            add(&mut sums.estimates[1], by_network.row(place).to_owned());
        }
        self.ensemble.push(member);
        self.history.push(history);
        Ok(())
    }

    /// The effect of a condition, `(genes,)`: zero for control, the single effect for one gene.
    ///
    /// # Errors
    /// Genes without effect and features, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn effect(&self, condition: &Condition) -> Result<Array1<f64>> {
        Ok(self.effects(std::slice::from_ref(condition))?.row(0).to_owned())
    }

    /// The effects of conditions, `(conditions, genes)`.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.check(conditions)?;
        let mut effects = Array2::zeros((conditions.len(), self.genes.len()));
        let (mut rows, mut combinations, mut single_effects) = (Vec::new(), Vec::new(), Vec::new());
        for (row, condition) in conditions.iter().enumerate() {
            let singles = self.singles.of_condition(condition)?;
            let sum = singles.sum_axis(Axis(0));
            if singles.nrows() < 2 {
                effects.row_mut(row).assign(&sum);
                continue;
            }
            let mut effect = self.scaled_sum.predict(&singles);
            effect.scaled_add(self.mixture.kernel_ridge, &self.kernel_ridge.predict(sum.view()));
            effects.row_mut(row).assign(&effect);
            rows.push(row);
            combinations.push(condition.clone());
            single_effects.push(singles);
        }
        if self.mixture.network > 0.0 && !rows.is_empty() {
            let share = self.mixture.network / self.ensemble.len() as f64;
            for member in &self.ensemble {
                let residuals = member.residuals(&self.singles, &combinations, &single_effects)?;
                for (&row, residual) in rows.iter().zip(residuals.rows()) {
                    effects.row_mut(row).scaled_add(share, &residual);
                }
            }
        }
        Ok(effects)
    }

    /// The plain sums of the single effects, `(conditions, genes)`: the additive prediction.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn sums(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.check(conditions)?;
        let mut sums = Array2::zeros((conditions.len(), self.genes.len()));
        for (mut row, condition) in sums.rows_mut().into_iter().zip(conditions) {
            row.assign(&self.singles.of_condition(condition)?.sum_axis(Axis(0)));
        }
        Ok(sums)
    }

    /// Whether a gene can be perturbed: it was perturbed alone in training, or has features.
    pub fn represents(&self, gene: &str) -> bool {
        self.singles.seen(gene) || self.singles.unseen.place.contains_key(gene)
    }

    /// Checks that every gene of `conditions` can be represented.
    ///
    /// # Errors
    /// Those that cannot, all named.
    pub fn check(&self, conditions: &[Condition]) -> Result<()> {
        let genes = conditions.iter().flat_map(|condition| condition.perturbation.genes());
        let unknown: BTreeSet<&str> = genes.filter(|gene| !self.represents(gene)).map(String::as_str).collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(Error::inapplicable(format!(
                "{} cannot be represented: never perturbed alone in training, {}",
                unknown.into_iter().collect::<Vec<_>>().join(", "),
                self.singles.unseen.lacks()
            ))),
        }
    }

    /// Gene names, one per column of an effect.
    pub fn genes(&self) -> &[String] {
        &self.genes
    }

    /// The genes that were perturbed alone in training, sorted.
    pub fn perturbed(&self) -> impl Iterator<Item = &String> {
        self.singles.genes()
    }

    /// The genes that have features, sorted: their perturbation can be predicted though it was never measured.
    pub fn featured(&self) -> impl Iterator<Item = &String> {
        self.singles.unseen.place.keys()
    }

    /// The settings.
    pub fn config(&self) -> &CombinationConfig {
        &self.config
    }

    /// The shares of kernel ridge and networks, chosen on left-out training combinations.
    pub fn mixture(&self) -> Mixture {
        self.mixture
    }

    /// How genes that were never perturbed are represented.
    pub fn unseen(&self) -> &UnseenChoice {
        &self.singles.unseen.choice
    }

    /// The training of each network.
    pub fn history(&self) -> &[History] {
        &self.history
    }
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: CombinationConfig,
    genes: Vec<String>,
    /// Perturbed gene and context of each single effect.
    singles: Vec<(String, Option<String>)>,
    /// The genes with features.
    featured: Vec<String>,
    unseen: UnseenChoice,
    mixture: Mixture,
    kernel_width: f64,
    /// Scale of the scores of each network.
    scales: Vec<f64>,
}

impl Trained for CombinationModel {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities { effects: true, ..Abilities::default() }
    }

    fn genes(&self) -> &[String] {
        &self.genes
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.represents(gene)
    }

    fn check(&self, conditions: &[Condition]) -> Result<()> {
        self.check(conditions)
    }

    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.effects(conditions)
    }

    fn notes(&self) -> Vec<String> {
        let mixture = self.mixture;
        vec![match (mixture.scaled_sum_l2, mixture.left_out_l2) {
            (Some(scaled_sum), Some(l2)) => format!(
                "left-out training combinations: L2 {scaled_sum:.3} of the scaled sum, {l2:.3} with {:.0} % of the kernel ridge \
                 and {:.0} % of the networks",
                100.0 * mixture.kernel_ridge,
                100.0 * mixture.network
            ),
            _ => "too few training combinations to learn an interaction residual from: combinations are predicted by the \
                  scaled sum"
                .to_owned(),
        }]
    }

    fn choices(&self) -> serde_json::Value {
        serde_json::json!({ "mixture": self.mixture, "unseen_genes": self.unseen() })
    }

    fn state(&self) -> Result<State> {
        let unseen = &self.singles.unseen;
        let mut featured: Vec<(&String, &usize)> = unseen.place.iter().collect();
        featured.sort_unstable_by_key(|(_, row)| **row);
        let mut state = State::new(&Description {
            config: self.config.clone(),
            genes: self.genes.to_vec(),
            singles: self.singles.names.clone(),
            featured: featured.into_iter().map(|(gene, _)| gene.clone()).collect(),
            unseen: unseen.choice.clone(),
            mixture: self.mixture,
            kernel_width: self.kernel_ridge.width,
            scales: self.ensemble.iter().map(|member| member.space.scale).collect(),
        })
        .with_array("singles", &self.singles.effects)
        .with_array("unseen.features", &unseen.features)
        .with_array("unseen.map", &unseen.map)
        .with_vector("unseen.mean", &unseen.mean)
        .with_vector("scaled_sum.coefficients", &self.scaled_sum.coefficients)
        .with_vector("scaled_sum.factors", &self.scaled_sum.factors)
        .with_array("scaled_sum.components", &self.scaled_sum.components)
        .with_array("kernel_ridge.points", &self.kernel_ridge.points)
        .with_array("kernel_ridge.weights", &self.kernel_ridge.weights);
        for (number, member) in self.ensemble.iter().enumerate() {
            state = state
                .with_array(&format!("space.{number}"), &member.space.components)
                .with_network(&format!("network.{number}"), &member.net)?;
        }
        Ok(state)
    }
}

impl Model for CombinationModel {
    const KIND: &'static str = "combination";
    const ABOUT: &'static str = "mean effects: a scaled sum of single effects, kernel ridge over similar combinations, and \
                                 optionally small networks, whose share is chosen and often zero";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Effects, DataKind::Cells];
    type Config = CombinationSettings;

    fn fit(data: &TrainingData, config: &Self::Config, run: &mut Run<'_>) -> Result<(Self, History)> {
        let model = Self::fit_table(&data.effects_with_validation()?, &config.model, run)?;
        let history = History::mean(model.history());
        Ok((model, history))
    }

    fn restore(state: State, _: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        saved.config.validate()?;
        let (n, n_singles, n_featured) = (saved.genes.len(), saved.singles.len(), saved.featured.len());
        let features = state.array("unseen.features", Some(n_featured), None)?;
        let map_rows = features.ncols();
        let unseen = Unseen {
            place: saved.featured.into_iter().zip(0..).collect(),
            mean: state.vector("unseen.mean", n)?,
            map: state.array("unseen.map", Some(map_rows), Some(n))?,
            choice: saved.unseen,
            features,
        };
        let singles = Singles::from_parts(saved.singles, state.array("singles", Some(n_singles), Some(n))?, unseen);
        let scaled_sum = ScaledSum {
            coefficients: state.vector("scaled_sum.coefficients", COLUMNS)?,
            factors: state.vector("scaled_sum.factors", n)?,
            components: state.array("scaled_sum.components", None, Some(n))?,
            mean: singles.mean.clone(),
        };
        let points = state.array("kernel_ridge.points", None, Some(n))?;
        let kernel_ridge = KernelRidge {
            weights: state.array("kernel_ridge.weights", Some(points.nrows()), Some(n))?,
            width: saved.kernel_width,
            points,
        };
        let mut ensemble = Vec::new();
        for (number, &scale) in saved.scales.iter().enumerate() {
            let space = Space { components: state.array(&format!("space.{number}"), None, Some(n))?, scale };
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let (width, genes) = (space.components.nrows(), singles.n_genes());
            let mut net = Net::new(&Cpu::seed_from_u64(0), width, genes, &saved.config, &mut rng)?;
            state.fill(&format!("network.{number}"), &mut net)?;
            ensemble.push(Member { net, space });
        }
        let (config, mixture) = (saved.config, saved.mixture);
        Ok(Self {
            genes: saved.genes.into(),
            config,
            singles,
            scaled_sum,
            kernel_ridge,
            ensemble,
            mixture,
            history: Vec::new(),
        })
    }
}
