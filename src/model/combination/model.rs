//! The combination model: fitting and predictions.

use super::{
    CombinationConfig, Mixture, UnseenChoice,
    kernel_ridge::KernelRidge,
    network::{Lesson, Member},
    scaled_sum::{Combinations, ScaledSum},
    singles::Singles,
    unseen::Unseen,
};
use crate::{
    Error, Result,
    data::{Condition, EffectTable, GeneSets, part_of, shuffle},
    math::seeds::{derived, stream},
    train::{History, Run},
};
use ndarray::{Array1, Array2, Axis};
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
    pub(super) genes: Arc<[String]>,
    pub(super) config: CombinationConfig,
    pub(super) singles: Singles,
    pub(super) scaled_sum: ScaledSum,
    pub(super) kernel_ridge: KernelRidge,
    pub(super) ensemble: Vec<Member>,
    pub(super) mixture: Mixture,
    pub(super) history: Vec<History>,
}

/// The interaction residuals of left-out combinations and the two estimates of them, `(combinations, genes)` each.
struct LeftOut {
    residuals: Array2<f64>,
    estimates: [Array2<f64>; 2],
}

impl CombinationModel {
    /// Fits to a table of mean effects. Of `run` the seed, the folder (each network has its own in it), whether to resume
    /// there, and the interruption. [`Model::fit`](crate::model::Model::fit) does
    /// the same for [`TrainingData`](crate::data::TrainingData).
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
