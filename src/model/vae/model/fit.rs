//! The training of the count VAE, and a model read from its file.

use super::{CountVae, NETWORK, on_device};
use crate::{
    Result,
    data::{DataKind, Dataset, TrainingData},
    device::Device,
    math::seeds::stream,
    model::{
        Model, ModelConfig, State,
        vae::{
            batch::{CellSource, EffectSource, VaeBatch},
            config::VaeSettings,
            description::Description,
            reference::REFERENCE_CELLS,
        },
    },
    nn::ops,
    train::{BatchSource, History, Run, fit, has_checkpoint},
};
use dfdx::prelude::NoneTape;

/// Purpose of the random numbers that choose the reference cells.
const REFERENCE: u64 = 0x5265_6665_7265_6e63;

impl CountVae {
    fn train<S: BatchSource<Batch = VaeBatch>>(
        &mut self,
        train: &S,
        validation: &S,
        settings: &VaeSettings,
        run: &mut Run<'_>,
    ) -> Result<History> {
        let validation = (!validation.is_empty()).then_some(validation);
        let config = settings.training(run.seed, validation.is_some());
        // Interrupted before the end of its first epoch, a training has no checkpoint to go on from: it begins anew.
        let resume = run.resume;
        run.resume = resume && run.dir.as_ref().is_some_and(|dir| has_checkpoint(dir));
        let history = on_device!(&mut self.net, net => {
            let device = net.device().clone();
            fit(net, train, validation, &device, &config, run)
        });
        run.resume = resume;
        history
    }

    /// Chooses the control cells that predictions start from: a sample of the training controls, or of all training
    /// cells (read as control) where there is no control among them.
    fn keep_reference(&mut self, data: &Dataset, rows: &[usize], seed: u64) -> Result<()> {
        let controls: Vec<usize> =
            rows.iter().copied().filter(|&row| data.perturbations[data.labels[row] as usize].is_control()).collect();
        let from = if controls.is_empty() { rows } else { &controls };
        let mut rng = stream(seed, REFERENCE, 0);
        // With fewer cells than places, every cell is taken once before any is taken twice.
        let mut chosen: Vec<usize> = if from.len() >= REFERENCE_CELLS {
            rand::seq::index::sample(&mut rng, from.len(), REFERENCE_CELLS).iter().map(|i| from[i]).collect()
        } else {
            from.iter().copied().cycle().take(REFERENCE_CELLS).collect()
        };
        chosen.sort_unstable();
        let source = CellSource::new(data, &chosen, &self.vocabulary, self.view())?;
        let batch = source.batch(&(0..chosen.len()).collect::<Vec<_>>())?.as_control();
        let library: Vec<f32> = chosen.iter().map(|&row| data.library_size[row]).collect();
        let lanes: Vec<f32> = batch.condition.lanes.iter().map(|&lane| lane as f32).collect();
        on_device!(&mut self.net, net => {
            let condition = net.condition(&batch.condition, NoneTape)?;
            let posterior = net.encode(&batch.input, &condition)?;
            net.reference.mu = posterior.mu;
            net.reference.logvar = posterior.logvar;
            net.reference.size_factor.copy_from(&batch.library_size);
            net.reference.library_size.copy_from(&library);
            net.reference.lane.copy_from(&lanes);
            let covariates = ops::upload(net.device(), &batch.condition.covariates)?;
            if let Some(kept) = &mut net.reference.covariates {
                kept.values = covariates;
            }
        });
        Ok(())
    }
}

impl Model for CountVae {
    const KIND: &'static str = "vae";
    const ABOUT: &'static str = "cells and their counts, or mean effects: a conditional variational autoencoder with a \
                                 negative binomial decoder";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells, DataKind::Effects];
    const TRAINS_ON_GPU: bool = true;
    const PREDICTS_ON_GPU: bool = true;
    const TAKES_DOSES: bool = true;
    const TRAINS_ON_CUDA: bool = true;
    const PREDICTS_ON_CUDA: bool = true;
    type Config = VaeSettings;

    fn fit(data: &TrainingData, settings: &VaeSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        settings.validate()?;
        data.require_counts(Self::KIND)?;
        let Some(cells) = &data.cells else {
            let (train, validation) = settings.divide_effects(data, run.seed)?;
            let mut model = Self::for_effects(&train, settings, run)?;
            let train = EffectSource::new(&train, &model.vocabulary)?;
            let validation = EffectSource::new(&validation, &model.vocabulary)?;
            let history = model.train(&train, &validation, settings, run)?;
            return Ok((model, history));
        };
        let (data, mut split) = (&cells.data, settings.divide_cells(cells, run.seed)?);
        let mut model = Self::for_cells(cells, &split.train, settings, run)?;
        split.validation = model.vocabulary.covariates.known_rows(data, &split.validation)?;
        let view = model.view();
        let train = CellSource::new(data, &split.train, &model.vocabulary, view)?;
        let validation = CellSource::new(data, &split.validation, &model.vocabulary, view)?;
        let history = model.train(&train, &validation, settings, run)?;
        model.keep_reference(data, &split.train, run.seed)?;
        Ok((model, history))
    }

    fn restore(state: State, device: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        saved.check(state.n_values())?;
        let mut model = Self::build(saved, 0, device)?;
        on_device!(&mut model.net, net => state.fill(NETWORK, net))?;
        Ok(model)
    }

    fn check_device(device: Device) -> Result<()> {
        device.check()
    }
}
