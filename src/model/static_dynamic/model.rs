//! Training and files.

use super::{
    StaticDynamicSettings,
    coder::{ProfileCoder, ProfileScores},
    net::VelocityNet,
    sequences::{Material, SequenceSet, TokenSequence, lengths},
};
use crate::{
    Error, Result,
    data::{Condition, Controls, DataKind, Dataset, Perturbation, TrainingData},
    device::Device,
    model::{
        Abilities, CoursePrediction, CourseQuery, HeldOutScore, Model, ModelConfig, State, Trained,
        world::{LinearDynamics, ObservedCourses, Space, SpaceFacts},
    },
    train::{History, Run, TrainConfig, fit_on},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A latent that does not vary is not scaled up beyond this.
const SMALLEST_SPREAD: f64 = 1e-3;

/// Static profiles and time courses in one latent space: see the [module](super).
#[derive(Debug, Clone)]
pub struct StaticDynamic {
    pub(super) settings: StaticDynamicSettings,
    pub(super) genes: Vec<String>,
    /// The space that held-out courses are judged in, and where courses start.
    pub(super) world: ObservedCourses,
    /// What the encoder reads. Its interval is the longest training time.
    pub(super) space: Space,
    pub(super) coder: ProfileCoder<Cpu>,
    /// Mean and spread of each number of a latent over the training profiles, `(latent,)`.
    pub(super) standard: [Array1<f64>; 2],
    pub(super) net: VelocityNet<Cpu>,
    pub(super) linear: LinearDynamics,
    /// Training sequences of each length.
    lengths: BTreeMap<usize, usize>,
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: StaticDynamicSettings,
    genes: Vec<String>,
    times: Vec<f64>,
    contexts: Vec<Option<String>>,
    judged_in: SpaceFacts,
    space: SpaceFacts,
    components: usize,
    lengths: BTreeMap<usize, usize>,
}

impl StaticDynamic {
    /// Tokens of no profile yet.
    pub(super) fn empty_tokens(&self, name: String) -> TokenSequence {
        let genes = self.space.facts.perturbed.len();
        TokenSequence {
            name,
            latents: Array2::zeros((0, self.coder.latent())),
            times: Vec::new(),
            doses: Array2::zeros((0, genes)),
        }
    }

    /// Adds a token to a sequence.
    pub(super) fn push_token(
        &self,
        tokens: &mut TokenSequence,
        (perturbation, dose): (&Perturbation, f64),
        time: Option<f64>,
        latent: ArrayView1<'_, f32>,
    ) -> Result<()> {
        // At time 0 nothing has acted.
        let dose = if time == Some(0.0) { 0.0 } else { dose };
        let action = self.space.action(perturbation, dose, time.unwrap_or(0.0))?;
        let (doses, share) = action.view().split_at(Axis(0), action.len() - 1);
        tokens.doses.push_row(doses).expect("one number per perturbed gene");
        tokens.latents.push_row(latent).expect("one width of latents");
        tokens.times.push(time.map(|_| share[0]));
        Ok(())
    }

    fn tokens(&self, material: &Material) -> Result<Vec<Arc<TokenSequence>>> {
        let mut all = Vec::new();
        let control = Perturbation::control();
        for course in &material.courses {
            let mut tokens = self.empty_tokens(course.name.clone());
            let start = self.latents(course.start.view().insert_axis(Axis(0)))?;
            self.push_token(&mut tokens, (&control, 0.0), Some(0.0), start.row(0))?;
            let latents = self.latents(course.profiles.view())?;
            for (step, latent) in latents.rows().into_iter().enumerate() {
                let of = (&course.condition.perturbation, course.doses[step]);
                self.push_token(&mut tokens, of, Some(course.times[step]), latent)?;
            }
            all.push(Arc::new(tokens));
        }
        for known in &material.statics {
            let mut tokens = self.empty_tokens(known.name.clone());
            let context = known.condition.context.as_deref();
            if self.settings.flow.static_after_control && self.world.controls.of(context).is_some() {
                let start = self.latents(self.world.start(context).view().insert_axis(Axis(0)))?;
                self.push_token(&mut tokens, (&control, 0.0), Some(0.0), start.row(0))?;
            }
            let latent = self.latents(known.profile.view().insert_axis(Axis(0)))?;
            self.push_token(&mut tokens, (&known.condition.perturbation, known.dose), None, latent.row(0))?;
            all.push(Arc::new(tokens));
        }
        Ok(all)
    }
}

impl StaticDynamic {
    /// Trains the autoencoder, and standardises its latents.
    fn fit_coder(&mut self, training: &Material, validation: &Material, run: &mut Run<'_>) -> Result<()> {
        let scores = |material: &Material| {
            let (profiles, names) = material.profiles(self.genes.len());
            ProfileScores { scores: self.space.states(profiles.view()), names }
        };
        let (train, watched) = (scores(training), scores(validation));
        let stopped = self.settings.profiles_train.early_stopping.filter(|_| !watched.names.is_empty());
        let settings = TrainConfig { seed: run.seed, early_stopping: stopped, ..self.settings.profiles_train.clone() };
        let mut part = run.part("profiles");
        fit_on(&mut self.coder, &train, Some(&watched), &settings, &mut part)?;
        let latents = self.coder.encode(&train.scores)?.mapv(f64::from);
        let mean = latents.mean_axis(Axis(0)).ok_or_else(|| Error::data("there is no profile to learn from"))?;
        let spread = latents.std_axis(Axis(0), 0.0).mapv(|spread| spread.max(SMALLEST_SPREAD));
        self.standard = [mean, spread];
        Ok(())
    }
}

impl Model for StaticDynamic {
    const KIND: &'static str = "static-dynamic";
    const ABOUT: &'static str = "static profiles and time courses in one latent space, and rectified flow over sequences of them: courses of unseen perturbations";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const KNOWS_CONTEXTS: bool = true;
    const LEARNS_COURSES: bool = true;
    const TAKES_STATIC: bool = true;
    const NEEDS_COUNTS: bool = false;
    const TRAINS_ON_CUDA: bool = true;
    type Config = StaticDynamicSettings;

    fn fit(data: &TrainingData, config: &StaticDynamicSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        config.validate()?;
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no times to learn a course from"));
        };
        let (world, judged, _) = ObservedCourses::of(cells, &config.courses, run.seed)?;
        let linear = LinearDynamics::fit(&judged)?;
        let parts = (config.courses.replicates, run.seed);
        let training = Material::of(cells, &cells.split.train, config, &world, parts)?.keep(config.flow.kinds)?;
        let longest = world.times.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let (space, variances) = training.space(cells.data.n_genes(), config.profiles.components, longest)?;
        let known = |row: &usize| cells.conditions[*row].perturbation.genes().iter().all(|gene| space.knows(gene));
        let rows: Vec<usize> = cells.split.validation.iter().copied().filter(known).collect();
        let validation = Material::of(cells, &rows, config, &world, (1, run.seed))?;

        let device = Cpu::default();
        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        let coder = ProfileCoder::new(&device, &variances, &config.profiles, &mut rng)?;
        let size = (coder.latent(), space.facts.perturbed.len());
        let net = VelocityNet::new(&device, size, &config.flow, &mut rng)?;
        let genes = cells.data.gene_names().to_vec();
        let unit = [Array1::zeros(coder.latent()), Array1::ones(coder.latent())];
        let mut model = Self {
            settings: config.clone(),
            genes,
            world,
            space,
            coder,
            standard: unit,
            net,
            linear,
            lengths: BTreeMap::new(),
        };
        model.fit_coder(&training, &validation, run)?;
        run.check_interrupt()?;
        let sequences = model.tokens(&training)?;
        model.lengths = lengths(sequences.iter().map(|tokens| &**tokens));
        let watched = model.tokens(&validation)?;
        let repeats = config.flow.repeats;
        let (train, watched) =
            (SequenceSet { sequences, repeats }, SequenceSet { sequences: watched, repeats: 4 * repeats });
        let stopped = config.train.early_stopping.filter(|_| !watched.sequences.is_empty());
        let settings = TrainConfig { seed: run.seed, early_stopping: stopped, ..config.train.clone() };
        let mut part = Run { progress: run.progress, ..run.part("flow") };
        let history = fit_on(&mut model.net, &train, Some(&watched), &settings, &mut part)?;
        Ok((model, history))
    }

    fn restore(state: State, device: Device) -> Result<Self> {
        Self::check_device(device)?;
        let Description { settings, genes, times, contexts, judged_in, space, components, lengths } =
            state.description()?;
        settings.validate()?;
        let n = genes.len();
        let controls = state.array("controls", Some(contexts.len()), Some(n))?.mapv(|value| value as f32);
        if contexts.is_empty() || times.is_empty() || !space.perturbed.is_sorted() || !judged_in.perturbed.is_sorted() {
            return Err(Error::data("its parts do not fit together; train again"));
        }
        let judged_components = state.array("judged_in.components", None, Some(n))?;
        let (dims, actions) = (judged_components.nrows(), judged_in.perturbed.len() + 1);
        let judged_in =
            Space { mean: state.vector("judged_in.mean", n)?, components: judged_components, facts: judged_in };
        let space = Space {
            mean: state.vector("space.mean", n)?,
            components: state.array("space.components", Some(components), Some(n))?,
            facts: space,
        };
        let linear = LinearDynamics {
            weights: state.array("linear.weights", Some(dims + actions), Some(dims))?,
            offset: state.vector("linear.offset", dims)?,
        };
        let (cpu, mut rng) = (Cpu::default(), ChaCha8Rng::seed_from_u64(0));
        let mut coder = ProfileCoder::new(&cpu, &Array1::ones(components), &settings.profiles, &mut rng)?;
        state.fill("profiles", &mut coder)?;
        let latent = coder.latent();
        let standard = [state.vector("latent.mean", latent)?, state.vector("latent.spread", latent)?];
        let mut net = VelocityNet::new(&cpu, (latent, space.facts.perturbed.len()), &settings.flow, &mut rng)?;
        state.fill("flow", &mut net)?;
        let world = ObservedCourses { space: judged_in, controls: Controls { contexts, profiles: controls }, times };
        Ok(Self { settings, genes, world, space, coder, standard, net, linear, lengths })
    }
}

impl Trained for StaticDynamic {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities { courses: true, embeddings: Some("X_static_dynamic"), ..Abilities::default() }
    }

    fn genes(&self) -> &[String] {
        &self.genes
    }

    fn contexts(&self) -> Vec<String> {
        self.world.controls.contexts.iter().flatten().cloned().collect()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.space.knows(gene)
    }

    fn times(&self) -> &[f64] {
        &self.world.times
    }

    fn course(&self, condition: &Condition, query: &CourseQuery) -> Result<CoursePrediction> {
        self.course_of(condition, query)
    }

    fn state(&self) -> Result<State> {
        let description = Description {
            settings: self.settings.clone(),
            genes: self.genes.clone(),
            times: self.world.times.clone(),
            contexts: self.world.controls.contexts.clone(),
            judged_in: self.world.space.facts.clone(),
            space: self.space.facts.clone(),
            components: self.space.dims(),
            lengths: self.lengths.clone(),
        };
        State::new(&description)
            .with_vector("judged_in.mean", &self.world.space.mean)
            .with_array("judged_in.components", &self.world.space.components)
            .with_vector("space.mean", &self.space.mean)
            .with_array("space.components", &self.space.components)
            .with_array("controls", &self.world.controls.profiles.mapv(f64::from))
            .with_array("linear.weights", &self.linear.weights)
            .with_vector("linear.offset", &self.linear.offset)
            .with_vector("latent.mean", &self.standard[0])
            .with_vector("latent.spread", &self.standard[1])
            .with_network("profiles", &self.coder)?
            .with_network("flow", &self.net)
    }

    fn notes(&self) -> Vec<String> {
        let of_length = |(length, count): (&usize, &usize)| format!("{count} of {length}");
        let lengths: Vec<String> = self.lengths.iter().map(of_length).collect();
        vec![
            format!(
                "profiles in {} latents, read from {} principal components ({:.0} % of the variance of the training profiles)",
                self.coder.latent(),
                self.space.dims(),
                100.0 * self.space.facts.explained
            ),
            format!("training sequences by their number of profiles: {}", lengths.join(", ")),
        ]
    }

    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.latents(self.expression(data)?.select_cells(rows).to_dense().view())
    }

    fn held_out(&self, data: &Dataset, rows: &[usize], _: u64) -> Result<Option<HeldOutScore>> {
        self.score(data, rows)
    }
}
