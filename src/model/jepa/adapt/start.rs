//! The network that an adaptation begins with, and the model that it becomes.

use super::{AdaptConfig, AdaptMethod, watched::Watched};
use crate::{
    Error, Result,
    data::{Condition, Dataset, Perturbation, TrainingCells},
    model::jepa::{
        CollapseAlarm, Jepa, OnCollapse, Pretraining,
        model::{identity, standardising},
        response::{
            Beyond, Decoder, DecoderNet, Embedded, Encoder, EndToEnd, Measured, Predictor, Reference, Response,
            ResponseConfig, Share, begin_decoder,
        },
    },
    nn::{Adapted, EmaMomentum, hash_of},
    train::{Run, TrainConfig, portable},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, Axis, concatenate};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// The teacher follows within ten steps: a short training ends before a slower one has moved.
const MOMENTUM: EmaMomentum = EmaMomentum::Constant { momentum: 0.9 };
/// Control cells that offsets are set by, and how often they are corrected.
const OFFSET_CELLS: usize = 1_000;
const OFFSET_STEPS: usize = 3;

/// What is trained.
pub(super) type NetOn<D> = Adapted<D, Watched<D>>;
pub(super) type Net = NetOn<Cpu>;

portable!(NetOn);

/// An adaptation before its training.
pub(super) struct Start<'a> {
    pub base: &'a Jepa,
    pub cells: &'a TrainingCells,
    pub net: Net,
    /// What the base measured, with the target's contexts and rows.
    pub measured: Measured,
    pub target_sum: f32,
    pub with_remainder: bool,
    /// SHA-256 of the base's weights.
    pub hash: String,
    method: AdaptMethod,
}

/// Encoder, predictor and decoder.
struct Parts {
    encoder: Encoder,
    student: crate::model::jepa::heads::Backbone<Cpu>,
    predictor: Predictor<Cpu>,
    decoder: DecoderNet<Cpu>,
}

impl<'a> Start<'a> {
    /// For the training cells of a target.
    pub fn new(base: &'a Jepa, cells: &'a TrainingCells, config: &AdaptConfig, run: &Run<'_>) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        let response = base.trained()?;
        let mut parts = Parts {
            encoder: base.encoder.clone(),
            student: base.encoder.backbone.clone(),
            predictor: response.predictor.clone(),
            decoder: response.decoder.net().clone(),
        };
        let hash = hash_of(&(
            base.encoder.backbone.clone(),
            base.encoder.standard.clone(),
            parts.predictor.clone(),
            parts.decoder.clone(),
        ))?;
        if config.method == AdaptMethod::Film && response.predictor.response.film().is_none() {
            return Err(Error::config(
                "--method film: the base was trained with another conditioning than film; use lora or adapter",
            ));
        }
        if config.method == AdaptMethod::Scratch {
            parts = fresh(base, cells, run, &mut rng)?;
        }
        // A base that was itself adapted so has its adapters trained further.
        if config.method == AdaptMethod::Adapter && parts.predictor.response.bottleneck().is_none() {
            parts.student.encoder.add_adapters(config.bottleneck, &mut rng)?;
            parts.encoder.backbone = parts.student.clone();
            parts.predictor.response.add_adapter(config.bottleneck, &mut rng)?;
        }
        let z = Embedded::of(&parts.encoder, &cells.data, &cells.split.train)?;
        let measured = response.measured.with_target(&cells.conditions, &cells.split.train, &z)?;
        meet_controls(&mut parts.decoder, cells, &z)?;
        let (target_sum, with_remainder) = (parts.encoder.target_sum, response.decoder.with_remainder());
        let mut mask = config.method.mask();
        let waits = (config.unfreeze * config.training.epochs as f64).round() as usize;
        mask.from_epoch.extend((waits > 0).then(|| ("student".to_owned(), waits)));
        let response_config =
            ResponseConfig { train_encoder: config.method.trains_encoder(), ..base.settings.response.clone() };
        let alarm = CollapseAlarm { then: OnCollapse::Ignore, ..base.settings.encoder.alarm };
        let towers = (parts.student, parts.encoder.backbone);
        let settings = (&response_config, MOMENTUM);
        let net = EndToEnd::new(towers, parts.encoder.standard, parts.predictor, parts.decoder, settings, alarm);
        let net = Watched::new(net, response_config.weights);
        let net = Adapted::new(net, &Cpu::seed_from_u64(run.seed), mask, config.lora, &mut rng)?;
        Ok(Self { base, cells, net, measured, target_sum, with_remainder, hash, method: config.method })
    }

    /// The model with a trained network.
    pub fn finish(&self, net: Net, note: String, seed: u64) -> Result<Jepa> {
        let EndToEnd { student, standard, predictor, decoder, .. } = net.model.into_inner();
        let target_sum = self.target_sum;
        let encoder = Encoder { backbone: student, standard: standard.0, target_sum, device: self.base.encoder.device };
        let (data, train) = (&*self.cells.data, &self.cells.split.train);
        let z = Embedded::of(&encoder, data, train)?;
        let of_base = self.base.trained()?;
        let measured = of_base.measured.with_target(&self.cells.conditions, train, &z)?;
        let mean_shift = z.mean_shift(&measured);
        let measured = measured.without_rows();
        let own = Reference::of(data, &self.cells.conditions, train, seed)?;
        let mut response = Response {
            measured,
            predictor,
            interactions: of_base.interactions.clone(),
            similar: of_base.similar.clone(),
            transfers: Vec::new(),
            share: Share { contexts: None, ..of_base.share },
            beyond: of_base.beyond.clone(),
            decoder: Decoder::new(decoder),
            reference: joined(&of_base.reference, &own)?,
            mean_shift,
            // Weights of trained genes, whose responses are the adapted ones.
            unseen: of_base.unseen.clone(),
        };
        if self.method == AdaptMethod::Scratch {
            // What was learned of combinations belongs to the base's embedding.
            response.interactions = Vec::new();
            response.similar = None;
            response.beyond = Beyond::none(encoder.width());
            response.unseen = None;
            response.share = Share { factor: 1.0, interaction: 0.0, similar: 1.0, ..response.share };
        }
        Ok(Jepa { encoder, response: Some(response), begun: Some(note), ..self.base.clone() })
    }
}

/// Networks of random weights of the base's sizes, trained in phase A on the target's cells; a perturbation that was not
/// measured there begins at the mean effect of those that were.
fn fresh(base: &Jepa, cells: &TrainingCells, run: &Run<'_>, rng: &mut ChaCha8Rng) -> Result<Parts> {
    let (data, split) = (&cells.data, &cells.split);
    let mut pretrained = Pretraining::new(data, split, base.settings.encoder.clone(), run.seed)?;
    let training = TrainConfig { seed: run.seed, ..base.settings.pretraining.clone() };
    pretrained.fit_with(data, split, &training, &mut Run { dir: None, ..run.part("scratch") })?;
    let target_sum = pretrained.target_sum;
    let (student, teacher) = pretrained.net.into_towers();
    let standard = identity(base.settings.encoder.width)?;
    let mut encoder = Encoder { backbone: teacher, standard, target_sum, device: run.device };
    encoder.standard = standardising(&encoder.embed(data, &split.train)?)?;

    let (response, width) = (base.trained()?, encoder.width());
    let z = Embedded::of(&encoder, data, &split.train)?;
    let known = &response.measured;
    let here = known.with_target(&cells.conditions, &split.train, &z)?;
    let mut shifts: Vec<(String, Array1<f64>)> = Vec::new();
    for condition in here.conditions() {
        if let [gene] = condition.perturbation.genes() {
            let shift = z.mean(here.rows(condition)) - z.mean(here.controls(condition.context.as_deref())?);
            shifts.push((gene.clone(), shift));
        }
    }
    let mean_of = |wanted: &dyn Fn(&str) -> bool| -> Option<Array1<f64>> {
        let of: Vec<&Array1<f64>> = shifts.iter().filter(|(gene, _)| wanted(gene)).map(|(_, shift)| shift).collect();
        (!of.is_empty()).then(|| of.iter().fold(Array1::zeros(width), |sum, shift| sum + *shift) / of.len() as f64)
    };
    let usual = mean_of(&|_| true).unwrap_or_else(|| Array1::zeros(width));
    let of_gene = |gene: &String| mean_of(&|known| known == gene).unwrap_or_else(|| usual.clone());
    let rows = |genes: &mut dyn Iterator<Item = &String>| -> Array2<f64> {
        let mut rows = Array2::zeros((0, width));
        genes.for_each(|gene| rows.push_row(of_gene(gene).view()).expect("one width"));
        rows
    };
    let (config, columns) = (&base.settings.response, response.predictor.columns().to_vec());
    let mut predictor = Predictor::new(&Cpu::default(), known.shape(width, config), columns, config, rng)?;
    predictor.begin_library(response.predictor.library_scale());
    predictor.begin_with(&rows(&mut known.effects.iter().map(|(gene, _)| gene)), &rows(&mut known.genes.iter()));
    let shape = (width, config.decoder, data.n_genes());
    let mut decoder = DecoderNet::new(&Cpu::default(), shape, response.decoder.with_remainder(), rng)?;
    begin_decoder(&mut decoder, &encoder, data, &split.train, rng)?;
    Ok(Parts { encoder, student, predictor, decoder })
}

/// Sets the offset of each gene so that the target's control cells are met.
fn meet_controls(decoder: &mut DecoderNet<Cpu>, cells: &TrainingCells, z: &Embedded) -> Result<()> {
    let is_control = |&row: &usize| cells.conditions[row].perturbation.is_control();
    let mut controls: Vec<usize> = cells.split.train.iter().copied().filter(is_control).collect();
    let step = controls.len().div_ceil(OFFSET_CELLS).max(1);
    controls = controls.into_iter().step_by(step).collect();
    if controls.is_empty() {
        return Err(Error::data("no cell is labelled as control, and an effect is a difference to control"));
    }
    let mut met = Decoder::new(decoder.clone());
    for _ in 0..OFFSET_STEPS {
        met.meet_controls(&cells.data, (&z.pick(&controls), &controls))?;
    }
    *decoder = met.net().clone();
    Ok(())
}

/// The control cells of both, with the same genes.
fn joined(first: &Reference, second: &Reference) -> Result<Reference> {
    let dense = |data: &Dataset| data.counts.to_dense();
    let counts = concatenate(Axis(0), &[dense(&first.data).view(), dense(&second.data).view()])
        .map_err(|_| Error::shape("control cells", first.data.n_genes(), second.data.n_genes()))?;
    let library = first.data.library_size.iter().chain(&second.data.library_size).copied().collect();
    let contexts = first.contexts.iter().chain(&second.contexts).cloned().collect();
    Reference::from_parts(&counts, first.data.gene_names(), library, contexts)
}

/// The control condition of a context.
pub(super) fn control_in(context: Option<&String>) -> Condition {
    Condition { perturbation: Perturbation::control(), context: context.cloned() }
}
