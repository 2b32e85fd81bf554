//! What a trained model can be asked.

use super::{
    gaussian::LevelLoss,
    generator::Generator,
    given::given,
    held_out::{OfCondition, TIMES, score},
    model::JepaDiffusion,
};
use crate::{
    Error, Result,
    data::{Condition, ContextColumns, Dataset, shuffle},
    math::seeds::{derived, stream},
    model::{
        Abilities, Generated, HeldOutScore, Model, Sampling, State, Trained, diffusion::gaussian_noise,
        jepa::StartCells,
    },
};
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::{borrow::Cow, collections::BTreeMap};

/// Seed of the residuals whose mean is taken, the same for every draw.
const MEAN_SEED: u64 = 0x6d65_616e;
/// Purposes of random streams.
const COUNTS: u64 = 1;
const HELD_OUT: u64 = 2;

impl JepaDiffusion {
    /// Points for control cells under a condition, at these library sizes.
    fn points(
        &self,
        generator: &Generator,
        condition: &Condition,
        (start, library_size): (&StartCells, &[f32]),
        seed: u64,
    ) -> Result<Array2<f32>> {
        let r = generator.draw(&given(&self.jepa, condition, start, library_size)?, seed)?;
        self.placed(generator, condition, &r)
    }

    /// The same for control cells of embeddings z, which are of a context that it knows, or else of a new one: these cells then
    /// stand for the control cells of the context.
    fn knowing(&self, condition: &Condition, (z, library_size): (&Array2<f32>, &[f32])) -> Result<Cow<'_, Self>> {
        Ok(match self.jepa.knowing(&condition.context, z)? {
            Cow::Borrowed(_) => Cow::Borrowed(self),
            Cow::Owned(jepa) => {
                let kept = self.kept.clone().with_context(&condition.context, z, library_size);
                Cow::Owned(Self { jepa, kept, ..self.clone() })
            }
        })
    }

    /// Residuals as points, with what was chosen in training.
    fn placed(&self, generator: &Generator, condition: &Condition, r: &Array2<f32>) -> Result<Array2<f32>> {
        let m = self.kept.mean(&self.jepa, condition)?;
        let usual = generator.draw(&self.kept.given(&self.jepa, condition)?, MEAN_SEED)?.mapv(f64::from);
        let mean = usual.mean_axis(Axis(0)).expect("a context has a control cell");
        let share = if self.baseline.knows(condition) { self.chosen.mean } else { 0.0 };
        Ok(self.chosen.points(&m, &mean, share, r))
    }

    fn drawn(
        &self,
        generator: &Generator,
        (data, rows): (&Dataset, &[usize]),
        condition: &Condition,
        seed: u64,
    ) -> Result<Array2<f32>> {
        let z = self.embed(data, rows)?;
        let library: Vec<f32> = rows.iter().map(|&row| data.library_size[row]).collect();
        let known = self.knowing(condition, (&z, &library))?;
        known.points(generator, condition, (&StartCells::new(z, library.iter().copied()), &library), seed)
    }

    /// What the observed cells `rows` of `data`, of condition `from`, would be under `to`: the residual of each is taken back
    /// to the noise that it comes from, and forward again under the other condition; its library size is kept. Which control
    /// cell it was is not known; the centre of its context stands for it.
    ///
    /// # Errors
    /// As [`Trained::cells_from`], for both conditions.
    pub fn counterfactual(
        &self,
        data: &Dataset,
        rows: &[usize],
        (from, to): (&Condition, &Condition),
        seed: u64,
    ) -> Result<Generated> {
        let r = self.counterfactual_residuals(data, rows, (from, to))?;
        let points = self.placed(&self.generator, to, &r)?;
        self.jepa.decoded(&points, to, (data, rows), seed)
    }

    /// The embeddings of the same cells under `to`, `(rows, width)`, as the teacher would see them: without the factors that
    /// were chosen for decoding. Where `to` is `from`, those of the cells themselves, but for the steps of the solver.
    ///
    /// # Errors
    /// As [`Self::counterfactual`].
    pub fn counterfactual_embeddings(
        &self,
        data: &Dataset,
        rows: &[usize],
        (from, to): (&Condition, &Condition),
    ) -> Result<Array2<f32>> {
        let r = self.counterfactual_residuals(data, rows, (from, to))?.mapv(f64::from);
        Ok((r + &self.kept.mean(&self.jepa, to)?).mapv(|v| v as f32))
    }

    fn counterfactual_residuals(
        &self,
        data: &Dataset,
        rows: &[usize],
        (from, to): (&Condition, &Condition),
    ) -> Result<Array2<f32>> {
        let z = self.embed(data, rows)?.mapv(f64::from);
        let library: Vec<f32> = rows.iter().map(|&row| data.library_size[row]).collect();
        let k = |condition: &Condition| {
            let centre = self.jepa.centre(&condition.context)?;
            let centres = centre.broadcast((rows.len(), centre.len())).expect("one row for all").to_owned();
            given(&self.jepa, condition, &StartCells::new(centres, library.iter().copied()), &library)
        };
        let r = (z - &self.kept.mean(&self.jepa, from)?).mapv(|v| v as f32);
        self.generator.counterfactual(&r, &k(from)?, &k(to)?)
    }

    /// Losses of held-out cells at each noise level; those of conditions that were not trained on are left out, because the
    /// Gaussian has no mean of them. `None` for a flow, or without such cells.
    ///
    /// # Errors
    /// Genes of `data` that are not the model's.
    pub fn denoising_losses(
        &self,
        data: &Dataset,
        rows: &[usize],
        seed: u64,
    ) -> Result<Option<(Vec<LevelLoss>, usize)>> {
        let Generator::Diffusion(net, _) = &self.generator else { return Ok(None) };
        let contexts = self.jepa.context_columns().of_cells(data)?;
        let mut rows_of: BTreeMap<Condition, Vec<usize>> = BTreeMap::new();
        for &row in rows {
            let (perturbation, context) = (data.perturbation_of(row).clone(), contexts[row].clone());
            let condition = Condition { perturbation, context };
            if self.baseline.knows(&condition) {
                rows_of.entry(condition).or_default().push(row);
            }
        }
        let mut rng = stream(seed, HELD_OUT, 0);
        let mut errors = [[0.0_f64; 3]; TIMES.len()];
        let mut cells = 0;
        for (condition, rows) in &rows_of {
            cells += rows.len();
            let z = self.embed(data, rows)?.mapv(f64::from);
            let library_size: Vec<f32> = rows.iter().map(|&row| data.library_size[row]).collect();
            let kept = self.kept.rows(condition)?;
            let chosen: Vec<usize> = rows.iter().map(|_| kept[(rng.next_u64() % kept.len() as u64) as usize]).collect();
            let k = given(&self.jepa, condition, &self.kept.start(&chosen), &library_size)?;
            let m = self.kept.mean(&self.jepa, condition)?;
            let (n, dims) = z.dim();
            let held_out = OfCondition { condition, z, library_size };
            for (sums, &t) in errors.iter_mut().zip(&TIMES) {
                let (a, s) = (net.sde().mean(t), net.sde().std(t));
                let noise = gaussian_noise(n, dims, s, &mut rng);
                let x = &held_out.z * a + &noise;
                let denoised = net.denoised(&(&x - &(&m * a)), &k, t)? + &m;
                sums[0] += (&held_out.z - denoised).mapv(|d| d * d).sum();
                let [plain, with_library] = self.baseline.squared_errors(&held_out, &x, (a, s));
                sums[1] += plain;
                sums[2] += with_library;
            }
        }
        if cells == 0 {
            return Ok(None);
        }
        let size = (cells * self.jepa.width()) as f64;
        let levels = errors.iter().zip(&TIMES).map(|(&[network, gaussian, with_library], &time)| LevelLoss {
            time,
            noise_to_signal: net.sde().std(time) / net.sde().mean(time),
            network: network / size,
            gaussian: gaussian / size,
            ratio: network / gaussian,
            ratio_to_gaussian_with_library: network / with_library,
        });
        Ok(Some((levels.collect(), cells)))
    }
}

impl Trained for JepaDiffusion {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        // The mean of what it draws is the JEPA's, which is measured in this space under its own name.
        let predicted_embeddings = false;
        Abilities { cells: true, cells_from: true, sampler: true, predicted_embeddings, ..self.jepa.abilities() }
    }

    fn genes(&self) -> &[String] {
        self.jepa.genes()
    }

    fn contexts(&self) -> Vec<String> {
        Trained::contexts(&self.jepa)
    }

    fn context_columns(&self) -> ContextColumns {
        self.jepa.context_columns()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.jepa.perturbs(gene)
    }

    fn rests_on(&self, gene: &str) -> Option<String> {
        self.jepa.rests_on(gene)
    }

    fn check(&self, conditions: &[Condition]) -> Result<()> {
        self.jepa.check(conditions)
    }

    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.jepa.embed(data, rows)
    }

    /// Each for a control cell of the training that the JEPA keeps; each of these is taken once before any is taken again.
    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        let generator = self.generator.with_sampling(sampling.steps, sampling.guidance)?;
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        let mut kept = self.kept.rows(condition)?.to_vec();
        shuffle(&mut kept, &mut rng);
        let chosen: Vec<usize> = kept.into_iter().cycle().take(sampling.cells).collect();
        let (reference, _) = self.jepa.reference()?;
        let mut data = reference.select_cells(&chosen);
        if let Some(size) = sampling.library_size {
            if !(size.is_finite() && size > 0.0) {
                return Err(Error::config(format!(
                    "the library size is {size}; it must be a positive number of counts"
                )));
            }
            let factors: Vec<f32> = data.library_size.iter().map(|library| size / library.max(1.0)).collect();
            data.counts = data.counts.scale_rows(&factors);
            data.library_size.fill(size);
        }
        let start = self.kept.start(&chosen);
        let points = self.points(&generator, condition, (&start, &data.library_size), rng.next_u64())?;
        let rows: Vec<usize> = (0..chosen.len()).collect();
        self.jepa.decoded(&points, condition, (&data, &rows), rng.next_u64())
    }

    /// As the JEPA, and none where what it misses of training conditions is added to its means.
    fn without_combinations(&self) -> Option<Box<dyn Trained>> {
        let apart = self.jepa.without_combinations().is_some() && self.chosen.mean == 0.0;
        apart.then(|| Box::new(self.clone()) as Box<dyn Trained>)
    }

    fn cells_of_noise(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        self.jepa.cells_of_noise(condition, sampling)
    }

    fn cells_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Generated> {
        let points = self.drawn(&self.generator, (data, rows), condition, seed)?;
        self.jepa.decoded(&points, condition, (data, rows), derived(seed, COUNTS, 0))
    }

    /// Of drawn points, without the noise of drawn counts.
    fn mean_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Array1<f64>> {
        let points = self.drawn(&self.generator, (data, rows), condition, seed)?;
        self.jepa.decoded_mean(&points, condition, (data, rows))
    }

    fn why_mean_is_fixed(&self, condition: &Condition) -> Option<String> {
        let known = self.baseline.knows(condition);
        (!known).then(|| "the mean is that of the jepa, which does not say how far it may be off".to_owned())
    }

    fn adjusted(&self) -> Option<String> {
        self.jepa.adjusted()
    }

    fn notes(&self) -> Vec<String> {
        let chosen = self.chosen;
        // The JEPA's other note, on the validation cells, does not hold here.
        let of_jepa = self.jepa.note_of_choices();
        let own = format!(
            "drawn embeddings: {:.1} times the deviation, {:.0} % of the mean residual of trained conditions; E-distance of \
             decoded training cells {:.3}, of the jepa's own {:.3}",
            chosen.width,
            100.0 * chosen.mean,
            chosen.energy_distance,
            chosen.energy_distance_of_jepa
        );
        self.adjusted().into_iter().chain([of_jepa]).chain(self.jepa.note_of_unseen()).chain([own]).collect()
    }

    fn choices(&self) -> serde_json::Value {
        serde_json::json!({ "jepa": self.jepa.choices(), "diffusion": self.chosen })
    }

    fn held_out(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutScore>> {
        Ok(self.denoising_losses(data, rows, seed)?.map(|(levels, cells)| score(&levels, cells)))
    }

    fn state(&self) -> Result<State> {
        self.saved()
    }
}
