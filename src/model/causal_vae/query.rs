//! What a trained causal VAE is asked.

use super::{
    loss::stacked,
    model::CausalVae,
    net::{Pass, Read},
};
use crate::{
    Error, Result,
    data::{Condition, Dataset, NORMALISED_TOTAL, Perturbation},
    math::seeds::derived,
    model::{
        Abilities, CountModel, Generated, Model, Sampling, State, Trained, jepa::size_factors, sample_counts,
        vae::standard_normal,
    },
    nn::ops,
};
use dfdx::prelude::NoneTape;
use ndarray::{Array1, Array2, Axis, concatenate, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Cells per pass through the network.
const BLOCK: usize = 256;
/// Purpose of random streams.
const COUNTS: u64 = 1;

/// Posterior means of cells by block, `(cells, width)` each.
#[derive(Debug, Clone)]
pub struct Latents {
    /// No perturbation changes it.
    pub identity: Array2<f32>,
    /// Perturbations shift it.
    pub state: Array2<f32>,
    /// Lane.
    pub technical: Array2<f32>,
}

/// What the encoder makes of cells, `(cells, latent)` each.
struct HostRead {
    mu: Array2<f32>,
    logvar: Array2<f32>,
}

impl CausalVae {
    /// The cells as the encoder reads them when it is not told of any perturbation.
    fn read(&self, data: &Dataset, rows: &[usize]) -> Result<HostRead> {
        if data.genes.names != self.vocabulary.genes {
            return Err(Error::data("the genes of the cells are not those of the model, in its order"));
        }
        if rows.is_empty() {
            return Err(Error::data("no cells were chosen"));
        }
        let mut net = self.net.clone();
        let (mut mu, mut logvar) = (Vec::new(), Vec::new());
        for rows in rows.chunks(BLOCK) {
            let counts = Arc::new(data.counts.select_cells(rows));
            let library: Vec<f32> =
                rows.iter().map(|&row| self.vocabulary.standardise(data.library_size[row])).collect();
            let read: Read<_, NoneTape> = net.read(&counts, &library, NoneTape, Pass::Still)?;
            mu.push(ops::download(&read.mu));
            logvar.push(ops::download(&read.logvar));
        }
        Ok(HostRead { mu: stacked(&mu), logvar: stacked(&logvar) })
    }

    /// The shift of a set of perturbed genes, the sum of those of its genes, `(state,)`; zero for control.
    ///
    /// # Errors
    /// A gene that was not perturbed in training.
    pub fn shift(&self, perturbation: &Perturbation) -> Result<Array1<f32>> {
        let sets = Arc::new(crate::nn::IndexSets::from_sets(self.vocabulary.encode(perturbation)?.sets));
        Ok(ops::download(&self.net.shift::<NoneTape>(&sets)?).row(0).to_owned())
    }

    /// Adds to the state of every row of z `(cells, latent)`.
    fn move_state(&self, z: &mut Array2<f32>, by: &Array1<f32>) {
        let [_, state, _] = self.net.blocks();
        let mut block = z.slice_mut(s![.., state]);
        block += by;
    }

    /// What the encoder takes off the state where it is told of a shift, `(state,)`.
    fn told(&self, shift: &Array1<f32>) -> Result<Array1<f32>> {
        let shift = ops::upload(&self.net.device, &shift.clone().insert_axis(Axis(0)))?;
        Ok(ops::download(&self.net.explained(shift)?).row(0).to_owned())
    }

    /// The posterior means of cells by block. Where the encoder is not `told` the perturbations of the cells, the state is
    /// what can be read from the counts; else it is the basal state plus the shift of the cell's perturbation.
    ///
    /// # Errors
    /// No cells; genes of `data` that are not the model's; where it is told, a perturbation of genes that were not perturbed
    /// in training.
    pub fn latents(&self, data: &Dataset, rows: &[usize], told: bool) -> Result<Latents> {
        let mut z = self.read(data, rows)?.mu;
        let [identity, state, technical] = self.net.blocks();
        if told {
            for (mut z, &row) in z.rows_mut().into_iter().zip(rows) {
                let shift = self.shift(data.perturbation_of(row))?;
                let mut block = z.slice_mut(s![state.clone()]);
                block += &(self.told(&shift)? + shift);
            }
        }
        let block = |columns: std::ops::Range<usize>| z.slice(s![.., columns]).to_owned();
        Ok(Latents { identity: block(identity), state: block(state), technical: block(technical) })
    }

    /// z of the cells `rows` under a perturbation: one draw of the basal cell from the posterior, and the shift.
    /// `(rows, latent)`. Each cell is read as what its own perturbation made of it, and control cells as control.
    fn abducted(&self, data: &Dataset, rows: &[usize], to: &Perturbation, seed: u64) -> Result<Array2<f32>> {
        let HostRead { mut mu, logvar } = self.read(data, rows)?;
        let [_, state, _] = self.net.blocks();
        for (mut z, &row) in mu.rows_mut().into_iter().zip(rows) {
            let own = data.perturbation_of(row);
            if !own.is_control() {
                let mut block = z.slice_mut(s![state.clone()]);
                block += &self.told(&self.shift(own)?)?;
            }
        }
        let noise = standard_normal(mu.nrows(), mu.ncols(), &mut ChaCha8Rng::seed_from_u64(seed));
        let mut z = mu + logvar.mapv(|v| (v / 2.0).exp()) * noise;
        self.move_state(&mut z, &self.shift(to)?);
        Ok(z)
    }

    /// The decoder's distributions for z `(cells, latent)`.
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn decoded(&self, z: &Array2<f32>) -> Result<CountModel> {
        let mut net = self.net.clone();
        let h = net.decode(ops::upload(&self.net.device, z)?, Pass::Still)?;
        let logits = net.logits(h)?;
        let log_theta = Array1::from_vec(self.net.log_theta.as_vec()).insert_axis(Axis(0));
        Ok(CountModel::negative_binomial(ops::download(&logits), log_theta))
    }

    /// What each of the cells `rows` would be under a perturbation, as drawn counts: its basal state is abducted from its
    /// counts and its own perturbation, the shift of `to` is added, and counts are drawn at its library size.
    ///
    /// # Errors
    /// As [`Self::latents`]; genes of `to` that were not perturbed in training.
    pub fn counterfactual(&self, data: &Dataset, rows: &[usize], to: &Perturbation, seed: u64) -> Result<Generated> {
        let z = self.abducted(data, rows, to, seed)?;
        let sizes = size_factors(data, rows, self.net.with_remainder);
        let mut rng = ChaCha8Rng::seed_from_u64(derived(seed, COUNTS, 0));
        let (mut blocks, mut at) = (Vec::new(), 0);
        for z in z.axis_chunks_iter(Axis(0), BLOCK) {
            let sizes = &sizes[at..at + z.nrows()];
            blocks.push(sample_counts(&self.decoded(&z.to_owned())?, sizes, self.net.with_remainder, &mut rng));
            at += z.nrows();
        }
        let library_size = rows.iter().map(|&row| data.library_size[row]).collect();
        Ok(Generated { values: stacked(&blocks), library_size, are_counts: true })
    }

    /// The effect of a perturbation on log rates, `(genes,)`: ln of the mean expected share of each gene over the kept control
    /// cells under the perturbation, less the same as control.
    ///
    /// # Errors
    /// Genes that were not perturbed in training.
    pub fn log_fold_change(&self, perturbation: &Perturbation) -> Result<Array1<f64>> {
        let rows: Vec<usize> = (0..self.kept.contexts.len()).collect();
        let basal = self.read(&self.kept.data, &rows)?.mu;
        let shares = |shift: &Array1<f32>| {
            let mut z = basal.clone();
            self.move_state(&mut z, shift);
            let rates = self.decoded(&z)?.mean(&vec![1.0; rows.len()], self.net.with_remainder).mapv(f64::from);
            Ok::<_, Error>(rates.mean_axis(Axis(0)).expect("there are control cells").mapv(f64::ln))
        };
        let shift = self.shift(perturbation)?;
        Ok(shares(&shift)? - shares(&Array1::zeros(shift.len()))?)
    }
}

impl Trained for CausalVae {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            cells: true,
            cells_from: true,
            embeddings: Some("X_causal_vae"),
            predicted_embeddings: true,
            ..Abilities::default()
        }
    }

    fn genes(&self) -> &[String] {
        &self.vocabulary.genes
    }

    fn contexts(&self) -> Vec<String> {
        self.contexts.clone()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.vocabulary.perturbs(gene)
    }

    fn check(&self, conditions: &[Condition]) -> Result<()> {
        self.vocabulary.check(conditions.iter().map(|condition| &condition.perturbation))
    }

    fn state(&self) -> Result<State> {
        self.saved()
    }

    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        if sampling.steps.is_some() || sampling.guidance.is_some() || sampling.library_size.is_some() {
            return Err(Error::inapplicable(
                "a causal-vae has no sampler with steps or guidance, and draws library sizes from those of control cells",
            ));
        }
        let of_context = |&row: &usize| self.kept.contexts[row] == condition.context;
        let rows: Vec<usize> = (0..self.kept.contexts.len()).filter(of_context).collect();
        if rows.is_empty() {
            return Err(Error::inapplicable(format!("{condition}: no control cell of its context was trained on")));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        let draw = |_| rows[rand::Rng::random_range(&mut rng, 0..rows.len())];
        let chosen: Vec<usize> = (0..sampling.cells).map(draw).collect();
        self.cells_from(&self.kept.data, &chosen, condition, derived(sampling.seed, COUNTS, 1))
    }

    fn cells_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Generated> {
        self.counterfactual(data, rows, &condition.perturbation, seed)
    }

    /// Of drawn points, without the noise of drawn counts.
    fn mean_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Array1<f64>> {
        let z = self.abducted(data, rows, &condition.perturbation, seed)?;
        let mut sum = Array1::<f64>::zeros(data.n_genes());
        for (z, rows) in z.axis_chunks_iter(Axis(0), BLOCK).zip(rows.chunks(BLOCK)) {
            let sizes = size_factors(data, rows, self.net.with_remainder);
            let scale = |&row: &usize| f64::from(NORMALISED_TOTAL / data.library_size[row].max(1.0));
            let scales: Vec<f64> = rows.iter().map(scale).collect();
            sum += &self.decoded(&z.to_owned())?.expected_log1p(&sizes, &scales, self.net.with_remainder);
        }
        Ok(sum / rows.len() as f64)
    }

    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        let Latents { identity, state, technical } = self.latents(data, rows, false)?;
        Ok(concatenate![Axis(1), identity, state, technical])
    }

    fn predicted_embeddings(&self, data: &Dataset, rows: &[usize], condition: &Condition) -> Result<Array2<f32>> {
        let mut z = self.embed(data, rows)?;
        self.move_state(&mut z, &self.shift(&condition.perturbation)?);
        Ok(z)
    }
}
